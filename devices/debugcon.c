/*
 * One I/O port: a byte that is written to it is output; a read gives 0xe9, by which a
 * guest knows that it is there.
 */
#include "devices/debugcon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PRESENT 0xe9

struct debugcon {
	struct device dev;
	struct chardev *chr;
};

static void debugcon_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			  size_t len)
{
	(void)dev, (void)win, (void)off;
	memset(buf, PRESENT, len);
}

static void debugcon_write(struct device *dev, unsigned win, uint64_t off,
			   const void *buf, size_t len)
{
	(void)win, (void)off;
	chardev_write(((struct debugcon *)dev)->chr, buf, len);
}

static void debugcon_free(struct device *dev)
{
	free(dev);
}

static int debugcon_create(const void *cfg, const struct dev_host *host,
			   struct device **ret_dev, struct err *err)
{
	const struct debugcon_cfg *c = cfg;
	struct debugcon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&d->dev, &debugcon_class, host);
	d->chr = c->chr;
	r = host->ops->map(host->ctx, &d->dev, 0, DEV_PIO, c->port, 1);
	if (r < 0) {
		debugcon_free(&d->dev);
		return err_set(err, r,
			       "%s: debugcon-port=0x%x: other devices are there",
			       host->name, c->port);
	}
	*ret_dev = &d->dev;
	return 0;
}

const struct dev_class debugcon_class = {
	.name = "debugcon",
	.help = "a debug console",
	.flags = DEV_REPEAT,
	.cfg_size = sizeof(struct debugcon_cfg),
	.create = debugcon_create,
	.read = debugcon_read,
	.write = debugcon_write,
	.free = debugcon_free,
};
