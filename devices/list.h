/*
 * The devices that are not virtio. To add one: write devices/foo.c with a
 * struct dev_class foo_class, add a line below, and test it against the fake
 * machine in tests/unit/test_foo.c. Its flags say whether every machine has it or
 * --foo asks for it. (UARTs and the PCI host bridge are made by the machine.)
 *
 * Included at the top of a file it declares the classes; with DEVICE_CLASS(class)
 * defined it expands that for each of them, in the order of creation.
 */
#ifndef DEVICE_CLASS
#include "devices/device.h"
#define DEVICE_CLASS(class) extern const struct dev_class class;
#define DEVICE_LIST_DECLARES
#endif

DEVICE_CLASS(rtc_class)
DEVICE_CLASS(i8042_class)
DEVICE_CLASS(acpi_pm_class)
DEVICE_CLASS(debug_exit_class)
DEVICE_CLASS(debugcon_class) /* made by --serial hardware=debugcon */
/* What a PC's firmware wants: made by --firmware-compat. */
DEVICE_CLASS(port92_class)
DEVICE_CLASS(fw_cfg_class)

/* PCI functions behind virtio's (virtio/list.h); the order is that of their slots. */
DEVICE_CLASS(pvpanic_class)
DEVICE_CLASS(i6300esb_class)

#ifdef DEVICE_LIST_DECLARES
#undef DEVICE_LIST_DECLARES
#undef DEVICE_CLASS
#endif
