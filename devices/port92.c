/*
 * System control port A of a PC, 0x92: whether address line 20 is open, and a reset.
 * The line is always open here, for KVM has no way to close it; boot software asks
 * for it to be open, and only wants to read back what it has written. IBM PS/2
 * Hardware Interface Technical Reference.
 */
#include "devices/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORT 0x92

#define FAST_RESET 0x01
#define A20_OPEN 0x02

struct port92 {
	struct device dev;
	uint8_t value;
};

static void port92_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			size_t len)
{
	(void)win, (void)off;
	memset(buf, ((struct port92 *)dev)->value, len);
}

static void port92_write(struct device *dev, unsigned win, uint64_t off,
			 const void *buf, size_t len)
{
	struct port92 *p = (struct port92 *)dev;

	(void)win, (void)off, (void)len;
	p->value = *(const uint8_t *)buf;
	if (p->value & FAST_RESET)
		dev->host->ops->end(dev->host->ctx, VM_END_REBOOT, 0);
}

static void port92_reset(struct device *dev)
{
	((struct port92 *)dev)->value = A20_OPEN;
}

static void port92_free(struct device *dev)
{
	free(dev);
}

static int port92_create(const void *cfg, const struct dev_host *host,
			 struct device **ret_dev, struct err *err)
{
	struct port92 *p = calloc(1, sizeof(*p));
	int r;

	(void)cfg;
	if (!p)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&p->dev, &port92_class, host);
	port92_reset(&p->dev);
	r = host->ops->map(host->ctx, &p->dev, 0, DEV_PIO, PORT, 1);
	if (r < 0) {
		port92_free(&p->dev);
		return err_sys(err, r, "%s: I/O port 0x%x", host->name, PORT);
	}
	*ret_dev = &p->dev;
	return 0;
}

const struct dev_class port92_class = {
	.name = "port92",
	.help = "address line 20 and a reset, as PC firmware wants them",
	.create = port92_create,
	.read = port92_read,
	.write = port92_write,
	.reset = port92_reset,
	.free = port92_free,
};
