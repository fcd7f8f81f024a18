/*
 * virtio console (virtio 1.2 section 5.3): one port, which is hvc0, hvc1, ... in
 * Linux. It has no option of its own: --serial hardware=virtio-console makes it.
 */
#pragma once

#include "devices/chardev.h"
#include "devices/device.h"

struct virtio_console_cfg {
	unsigned num; /* as in --serial num=, from 1 */
	struct chardev *chr; /* stays the machine's; outlives the device */
	uint16_t queue_size[2]; /* of input and output; 0: as usual */
};

extern const struct dev_class virtio_console_class;
