/*
 * virtio block device (virtio 1.2 section 5.2) over a disk image.
 *
 * Everything but start-up runs on the device's own thread, one request at a
 * time with io_lock held: what is in flight when a reset comes is complete when
 * the reset has the lock. What the guest asks for in vain, by rights or not,
 * ends in a status byte; only a request without room for one breaks the device.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "disk/disk.h"
#include "virtio/virtio.h"

#define BLK_ID 2
#define BLK_QUEUES 16
#define BLK_QUEUE_SIZE 256
#define BLK_SEG_MAX (VQ_MAX_SEGS - 2) /* without header and status */

#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_MQ (1ull << 12)

/* Section 5.2.6. */
enum { BLK_T_IN = 0, BLK_T_OUT = 1, BLK_T_FLUSH = 4, BLK_T_GET_ID = 8 };
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };
#define BLK_HEADER_LEN 16 /* le32 type, le32 reserved, le64 sector */
#define BLK_ID_LEN 20

/* Device configuration, section 5.2.4: offsets of what is offered. */
enum {
	CONFIG_CAPACITY = 0,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_NUM_QUEUES = 34,
	CONFIG_LEN = 36,
};

struct blk {
	struct virtio_dev v; /* first */
	struct disk *disk;
	unsigned char id[BLK_ID_LEN];
	/* The request at hand; too large for a stack. Under io_lock. */
	struct vq_chain chain;
	struct iovec data[VQ_MAX_SEGS];
	struct log_limit failed;
};

/* Where the request's data goes or comes from; its sector as an offset. */
static int find_data(struct blk *b, bool writable, uint64_t skip, uint64_t len,
		     uint64_t sector, uint64_t *ret_off, unsigned *ret_n)
{
	if (sector > UINT64_MAX / 512 || len % 512)
		return -EINVAL;
	*ret_off = sector * 512;
	*ret_n = vq_slices(&b->chain, writable, skip, len, b->data);
	return 0;
}

static int blk_in(struct blk *b, uint64_t sector, uint64_t len)
{
	uint64_t off;
	unsigned n;
	int r = find_data(b, true, 0, len, sector, &off, &n);

	return r < 0 ? r : disk_read(b->disk, off, b->data, n);
}

static int blk_out(struct blk *b, uint64_t sector, uint64_t len)
{
	uint64_t off;
	unsigned n;
	int r = find_data(b, false, BLK_HEADER_LEN, len, sector, &off, &n);

	if (r == 0)
		r = disk_write(b->disk, off, b->data, n);
	/* To a driver that does not know of flushes, done means stable (5.2.6.2). */
	if (r == 0 && !(b->v.acked & BLK_F_FLUSH))
		r = disk_flush(b->disk);
	return r;
}

/* Carry out b->chain. Returns the status; *ret_filled: bytes before it. */
static uint8_t blk_request(struct blk *b, uint32_t *ret_filled)
{
	const struct vq_chain *c = &b->chain;
	uint64_t in_len = c->in_len - 1; /* the status byte is the last one */
	unsigned char header[BLK_HEADER_LEN];
	uint32_t type;
	uint64_t sector;
	int r;

	*ret_filled = 0;
	if (vq_read(c, 0, header, sizeof(header)) < sizeof(header)) {
		log_guest(&b->failed, b->v.dev.host->name, "request header too short");
		return BLK_S_IOERR;
	}
	type = le32_get(header);
	sector = le64_get(header + 8);

	switch (type) {
	case BLK_T_IN:
		r = blk_in(b, sector, in_len);
		if (r == 0)
			*ret_filled = (uint32_t)in_len;
		break;
	case BLK_T_OUT:
		r = blk_out(b, sector, c->out_len - BLK_HEADER_LEN);
		break;
	case BLK_T_FLUSH:
		r = disk_flush(b->disk);
		break;
	case BLK_T_GET_ID:
		*ret_filled = in_len < BLK_ID_LEN ? (uint32_t)in_len : BLK_ID_LEN;
		vq_write(c, 0, b->id, *ret_filled);
		r = 0;
		break;
	default:
		return BLK_S_UNSUPP;
	}
	if (r == 0)
		return BLK_S_OK;
	log_guest(&b->failed, b->v.dev.host->name, "request %u at sector %llu: %s",
		  type, (unsigned long long)sector, strerrordesc_np(-r));
	return BLK_S_IOERR;
}

static void blk_kick(struct virtio_dev *v, unsigned n)
{
	struct blk *b = (struct blk *)v;
	struct vq *q = &v->queues[n];
	/* Then let other queues, and whoever waits for io_lock, have a turn. */
	unsigned budget = q->size;
	int r;

	do {
		vq_kicks(q, false);
		while ((r = vq_pop(q, &b->chain)) > 0) {
			uint32_t filled;
			uint8_t status;

			if (loop_stopping(v->dev.host->loop))
				return;
			if (b->chain.in_len == 0) {
				virtio_broken(v, "request without a status byte");
				return;
			}
			status = blk_request(b, &filled);
			vq_write(&b->chain, b->chain.in_len - 1, &status, 1);
			vq_push(q, b->chain.head, filled + 1);
			virtio_signal(v, n);
			if (--budget == 0) {
				if (vq_kicks(q, true))
					eventfd_write(v->kick_fd, 1);
				return;
			}
		}
		if (r < 0) {
			virtio_broken(v, q->why);
			return;
		}
	} while (vq_kicks(q, true));
}

static const struct virtio_ops blk_ops = {
	.id = BLK_ID,
	.pci_class = 0x018000, /* mass storage, other */
	.kick = blk_kick,
};

static void blk_free(struct device *dev)
{
	struct blk *b = (struct blk *)dev;

	virtio_free(&b->v);
	disk_close(b->disk);
	free(b);
}

static int blk_create(const void *cfg_, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	const struct virtio_blk_cfg *cfg = cfg_;
	const struct disk_cfg disk_cfg = {
		.path = cfg->path,
		.read_only = cfg->read_only,
		.direct = cfg->direct,
		.lock = cfg->lock,
		.block_size = (uint32_t)cfg->block_size,
	};
	size_t id_len = cfg->id ? strlen(cfg->id) : 0;
	struct disk *disk;
	struct blk *b;
	int r;

	r = disk_open(&disk_cfg, &disk, err);
	if (r < 0)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b) {
		disk_close(disk);
		return err_sys(err, -ENOMEM, "image %s", cfg->path);
	}
	b->disk = disk;
	if (id_len > 0)
		memcpy(b->id, cfg->id, id_len < BLK_ID_LEN ? id_len : BLK_ID_LEN);

	b->v.offered = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_MQ |
		       (disk->read_only ? BLK_F_RO : BLK_F_FLUSH);
	b->v.n_queues = BLK_QUEUES;
	for (unsigned i = 0; i < BLK_QUEUES; i++)
		b->v.queue_size[i] = BLK_QUEUE_SIZE;
	b->v.config_len = CONFIG_LEN;
	le64_put(b->v.config + CONFIG_CAPACITY, disk->size / 512);
	le32_put(b->v.config + CONFIG_SEG_MAX, BLK_SEG_MAX);
	le32_put(b->v.config + CONFIG_BLK_SIZE, disk_cfg.block_size);
	le16_put(b->v.config + CONFIG_NUM_QUEUES, BLK_QUEUES);

	r = virtio_init(&b->v, &virtio_blk_class, &blk_ops, host, err);
	if (r < 0) {
		blk_free(&b->v.dev);
		return r;
	}
	*ret_dev = &b->v.dev;
	return 0;
}

static const struct opt blk_opts[] = {
	{ .key = "path",
	  .type = OPT_STR,
	  .flags = OPT_FIRST | OPT_REQUIRED,
	  .offset = offsetof(struct virtio_blk_cfg, path),
	  .arg = "PATH",
	  .help = "raw image: a file or block device whose size is a multiple of block-size" },
	{ .key = "ro",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct virtio_blk_cfg, read_only),
	  .help = "the guest may only read" },
	{ .key = "id",
	  .type = OPT_STR,
	  .offset = offsetof(struct virtio_blk_cfg, id),
	  .max = BLK_ID_LEN,
	  .arg = "ID",
	  .help = "serial number that the guest sees, at most 20 bytes" },
	{ .key = "direct",
	  .alias = "o_direct",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct virtio_blk_cfg, direct),
	  .help = "go past the host's page cache" },
	{ .key = "lock",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct virtio_blk_cfg, lock),
	  .def = 1,
	  .help = "lock the image by flock(2): shared with ro, else exclusively" },
	{ .key = "block-size",
	  .type = OPT_U64,
	  .flags = OPT_POW2,
	  .offset = offsetof(struct virtio_blk_cfg, block_size),
	  .min = 512,
	  .max = 4096,
	  .def = 512,
	  .arg = "BYTES",
	  .help = "logical block size that the guest sees: a power of two" },
	{ .key = NULL },
};

const struct dev_class virtio_blk_class = {
	.name = "block",
	.help = "a disk",
	.flags = DEV_REPEAT | DEV_THREAD,
	.opts = blk_opts,
	.cfg_size = sizeof(struct virtio_blk_cfg),
	.create = blk_create,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.free = blk_free,
};
