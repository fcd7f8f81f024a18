/*
 * The virtio devices, in the order in which they take PCI slots: guests rely on
 * it, so it is crosvm's, and a new device goes where crosvm has it. To add one:
 * write virtio/foo.c with a struct dev_class, declare that in virtio/foo.h,
 * include it here and add a line.
 *
 * Included at the top of a file it declares the classes; with DEVICE_CLASS(class)
 * defined, as for devices/list.h, it expands that for each of them.
 */
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/rng.h"

#ifdef DEVICE_CLASS
DEVICE_CLASS(virtio_console_class) /* made by --serial hardware=virtio-console */
DEVICE_CLASS(virtio_blk_class)
DEVICE_CLASS(virtio_rng_class)
#endif
