/*
 * Of the keyboard controller only the reset line, which is how PCs without
 * ACPI reboot, and port 0x61 beside it (system control port B), which guests ask
 * why an NMI came and whether timer 2 has run out. No keyboard: the controller
 * is never busy and never has data. IBM PC AT Technical Reference, 8042.
 */
#include "devices/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BASE 0x60
#define NUM_PORTS 5

#define OFF_DATA 0
#define OFF_PORT_B 1
#define OFF_COMMAND 4

#define COMMAND_PULSE_RESET 0xfe

#define PORT_B_WRITABLE 0x0f
#define PORT_B_REFRESH 0x10 /* toggles all the time: old delay loops count it */
/* Always on: a guest that waits for a timer which is not there must not hang. */
#define PORT_B_TIMER2_OUT 0x20

struct i8042 {
	struct device dev;
	uint8_t port_b;
};

static void i8042_read(struct device *dev, unsigned win, uint64_t off, void *buf,
		       size_t len)
{
	struct i8042 *k = (struct i8042 *)dev;
	uint8_t *p = buf;

	(void)win;
	memset(p, 0xff, len);
	if (off == OFF_DATA || off == OFF_COMMAND) {
		*p = 0;
	} else if (off == OFF_PORT_B) {
		k->port_b ^= PORT_B_REFRESH;
		*p = k->port_b | PORT_B_TIMER2_OUT;
	}
}

static void i8042_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
			size_t len)
{
	struct i8042 *k = (struct i8042 *)dev;
	uint8_t v = *(const uint8_t *)buf;

	(void)win;
	(void)len;
	if (off == OFF_COMMAND && v == COMMAND_PULSE_RESET)
		dev->host->ops->end(dev->host->ctx, VM_END_REBOOT, 0);
	else if (off == OFF_PORT_B)
		k->port_b = (k->port_b & PORT_B_REFRESH) | (v & PORT_B_WRITABLE);
}

static void i8042_reset(struct device *dev)
{
	((struct i8042 *)dev)->port_b = 0;
}

static void i8042_free(struct device *dev)
{
	free(dev);
}

static int i8042_create(const void *cfg, const struct dev_host *host,
			struct device **ret_dev, struct err *err)
{
	struct i8042 *k = calloc(1, sizeof(*k));
	int r;

	(void)cfg;
	if (!k)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&k->dev, &i8042_class, host);
	r = host->ops->map(host->ctx, &k->dev, 0, DEV_PIO, BASE, NUM_PORTS);
	if (r < 0) {
		free(k);
		return err_sys(err, r, "%s: I/O port 0x%x", host->name, BASE);
	}
	*ret_dev = &k->dev;
	return 0;
}

const struct dev_class i8042_class = {
	.name = "i8042",
	.help = "the keyboard controller, by which a guest can reset",
	.flags = DEV_DEFAULT,
	.create = i8042_create,
	.read = i8042_read,
	.write = i8042_write,
	.reset = i8042_reset,
	.free = i8042_free,
};
