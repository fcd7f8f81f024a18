/*
 * The debug console of Bochs and QEMU, which boot firmware knows: what is written to
 * its port comes out. The machine makes it, from --serial hardware=debugcon.
 */
#pragma once

#include "devices/chardev.h"
#include "devices/device.h"

#define DEBUGCON_PORT 0x402 /* unless it is told otherwise */

struct debugcon_cfg {
	uint16_t port;
	struct chardev *chr; /* stays the caller's */
};

extern const struct dev_class debugcon_class;
