/*
 * A port for test guests: what is written to it ends the VM and becomes part of
 * vmm's exit status (64 + value).
 */
#include "devices/list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

#define MAX_VALUE 63
#define NUM_PORTS 4 /* so that writes of every width start at the first */

struct debug_exit_cfg {
	uint64_t iobase;
};

static const struct opt debug_exit_opts[] = {
	{ .key = "iobase",
	  .type = OPT_U64,
	  .flags = OPT_HEX,
	  .offset = offsetof(struct debug_exit_cfg, iobase),
	  .max = 0x10000 - NUM_PORTS,
	  .def = 0xf4,
	  .arg = "PORT",
	  .help = "I/O port to listen on" },
	{ 0 },
};

static void debug_exit_write(struct device *dev, unsigned win, uint64_t off,
			     const void *buf, size_t len)
{
	uint8_t bytes[8] = { 0 };
	uint64_t v;

	(void)win;
	if (off != 0)
		return;
	memcpy(bytes, buf, len);
	v = le64_get(bytes);
	if (v > MAX_VALUE) {
		log_debug(dev->host->name, "guest: wrote %" PRIu64 ", taken as %d", v,
			  MAX_VALUE);
		v = MAX_VALUE;
	}
	dev->host->ops->end(dev->host->ctx, VM_END_DEBUG_EXIT, (unsigned)v);
}

static void debug_exit_free(struct device *dev)
{
	free(dev);
}

static int debug_exit_create(const void *cfg, const struct dev_host *host,
			     struct device **ret_dev, struct err *err)
{
	const struct debug_exit_cfg *c = cfg;
	struct device *dev = calloc(1, sizeof(*dev));
	int r;

	if (!dev)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(dev, &debug_exit_class, host);
	r = host->ops->map(host->ctx, dev, 0, DEV_PIO, c->iobase, NUM_PORTS);
	if (r < 0) {
		free(dev);
		return err_set(err, r,
			       "%s: iobase=0x%" PRIx64 ": other devices are there",
			       host->name, c->iobase);
	}
	*ret_dev = dev;
	return 0;
}

const struct dev_class debug_exit_class = {
	.name = "debug-exit",
	.help = "let the guest end the VM with a status of its own",
	.flags = DEV_BARE,
	.opts = debug_exit_opts,
	.cfg_size = sizeof(struct debug_exit_cfg),
	.create = debug_exit_create,
	.write = debug_exit_write,
	.free = debug_exit_free,
};
