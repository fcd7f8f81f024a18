/*
 * The virtio devices, in the order in which they take PCI slots: guests rely on
 * it, so it is crosvm's, and a new device goes where crosvm has it. To add one:
 * write virtio/foo.c with a struct dev_class virtio_foo_class, and add a line.
 * How it is included: see devices/list.h.
 */
#ifndef DEVICE_CLASS
#include "devices/device.h"
#define DEVICE_CLASS(class) extern const struct dev_class class;
#define VIRTIO_LIST_DECLARES
#endif

DEVICE_CLASS(virtio_console_class) /* made by --serial hardware=virtio-console */
DEVICE_CLASS(virtio_blk_class)
DEVICE_CLASS(virtio_rng_class)
DEVICE_CLASS(virtio_balloon_class)
DEVICE_CLASS(virtio_net_class)
DEVICE_CLASS(virtio_vsock_class)

#ifdef VIRTIO_LIST_DECLARES
#undef VIRTIO_LIST_DECLARES
#undef DEVICE_CLASS
#endif
