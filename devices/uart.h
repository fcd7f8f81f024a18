/*
 * The serial ports COM1 to COM4: 16550A UARTs. The machine makes them itself,
 * from --serial.
 */
#pragma once

#include "devices/chardev.h"
#include "devices/device.h"

struct uart_cfg {
	unsigned num; /* 1 to 4 */
	struct chardev *chr; /* stays the caller's; NULL: a sink without input */
};

extern const struct dev_class uart_class;

/* The first I/O port of COM@num. */
uint16_t uart_port(unsigned num);
