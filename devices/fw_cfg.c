/*
 * QEMU's firmware configuration device: docs/specs/fw_cfg.rst of QEMU. An item is
 * selected by its number at one port, and read byte by byte from the next one; behind
 * its end there are zeroes. The guest can write nothing, and there is no DMA.
 */
#include "devices/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"

#define BASE 0x510
#define NUM_PORTS 2
#define OFF_DATA 1

/* Items. */
#define KEY_SIGNATURE 0x00
#define KEY_FEATURES 0x01
#define KEY_CPUS 0x05
#define KEY_MAX_CPUS 0x0f
#define KEY_DIRECTORY 0x19
#define KEY_FILES 0x20
#define KEY_FOR_WRITING 0x4000 /* means nothing since QEMU 2.4 */

#define FEATURE_PORTS 1 /* the ports, and not DMA */

/* The directory, whose numbers are big-endian. */
struct entry {
	uint32_t size;
	uint16_t key;
	uint16_t reserved;
	char name[FW_CFG_NAME_MAX + 1];
};

struct directory {
	uint32_t n;
	struct entry entries[FW_CFG_MAX_FILES];
};
_Static_assert(sizeof(struct entry) == 64, "an entry as in QEMU's");

struct fw_cfg {
	struct device dev;
	const struct fw_cfg_cfg *cfg;
	uint8_t features[4], cpus[2];
	struct directory directory;
	struct fw_cfg_file item; /* the selected one, without a name */
	uint32_t at; /* in it */
};

static void item_select(struct fw_cfg *f, unsigned key)
{
	const struct fw_cfg_cfg *c = f->cfg;
	struct fw_cfg_file item = { 0 };

	switch (key) {
	case KEY_SIGNATURE:
		item = (struct fw_cfg_file){ .data = "QEMU", .size = 4 };
		break;
	case KEY_FEATURES:
		item = (struct fw_cfg_file){ .data = f->features, .size = 4 };
		break;
	case KEY_CPUS:
	case KEY_MAX_CPUS:
		item = (struct fw_cfg_file){ .data = f->cpus, .size = 2 };
		break;
	case KEY_DIRECTORY:
		item = (struct fw_cfg_file){ .data = &f->directory,
					     .size = sizeof(f->directory) };
		break;
	default:
		if (key >= KEY_FILES && key - KEY_FILES < c->n_files)
			item = c->files[key - KEY_FILES];
	}
	f->item = item;
	f->at = 0;
}

static uint8_t next_byte(struct fw_cfg *f)
{
	return f->at < f->item.size ? ((const uint8_t *)f->item.data)[f->at++] : 0;
}

static void fw_cfg_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			size_t len)
{
	struct fw_cfg *f = (struct fw_cfg *)dev;
	uint8_t *bytes = buf;

	(void)win;
	for (size_t i = 0; i < len; i++)
		bytes[i] = off + i == OFF_DATA ? next_byte(f) : 0xff;
}

static void fw_cfg_write(struct device *dev, unsigned win, uint64_t off,
			 const void *buf, size_t len)
{
	(void)win;
	if (off == 0 && len == 2)
		item_select((struct fw_cfg *)dev, le16_get(buf) & ~KEY_FOR_WRITING);
}

static void fw_cfg_reset(struct device *dev)
{
	item_select((struct fw_cfg *)dev, KEY_SIGNATURE);
}

static void fw_cfg_free(struct device *dev)
{
	free(dev);
}

static void make_directory(struct directory *d, const struct fw_cfg_cfg *c)
{
	d->n = htobe32((uint32_t)c->n_files);
	for (size_t i = 0; i < c->n_files; i++) {
		struct entry *e = &d->entries[i];

		e->size = htobe32(c->files[i].size);
		e->key = htobe16((uint16_t)(KEY_FILES + i));
		strncpy(e->name, c->files[i].name, FW_CFG_NAME_MAX);
	}
}

static int fw_cfg_create(const void *cfg, const struct dev_host *host,
			 struct device **ret_dev, struct err *err)
{
	struct fw_cfg *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&f->dev, &fw_cfg_class, host);
	f->cfg = cfg;
	le32_put(f->features, FEATURE_PORTS);
	le16_put(f->cpus, (uint16_t)f->cfg->n_cpus);
	make_directory(&f->directory, f->cfg);
	fw_cfg_reset(&f->dev);
	r = host->ops->map(host->ctx, &f->dev, 0, DEV_PIO, BASE, NUM_PORTS);
	if (r < 0) {
		fw_cfg_free(&f->dev);
		return err_sys(err, r, "%s: I/O port 0x%x", host->name, BASE);
	}
	*ret_dev = &f->dev;
	return 0;
}

const struct dev_class fw_cfg_class = {
	.name = "fw-cfg",
	.help = "what firmware made for QEMU asks of its machine",
	.cfg_size = sizeof(struct fw_cfg_cfg),
	.create = fw_cfg_create,
	.read = fw_cfg_read,
	.write = fw_cfg_write,
	.reset = fw_cfg_reset,
	.free = fw_cfg_free,
};
