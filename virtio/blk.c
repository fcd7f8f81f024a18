/*
 * virtio block device (virtio 1.2 section 5.2) over a disk image: the device's life,
 * its configuration and its options. Requests are in blk_io.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "virtio/blk_io.h"

#define BLK_ID 2
#define BLK_QUEUE_SIZE 256
#define BLK_SEG_MAX (VQ_MAX_SEGS - 2) /* without header and status */

/* Device configuration, section 5.2.4: offsets of what is offered. */
enum {
	CONFIG_CAPACITY = 0,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_NUM_QUEUES = 34,
	CONFIG_MAX_DISCARD_SECTORS = 36,
	CONFIG_MAX_DISCARD_SEG = 40,
	CONFIG_DISCARD_SECTOR_ALIGNMENT = 44,
	CONFIG_MAX_WRITE_ZEROES_SECTORS = 48,
	CONFIG_MAX_WRITE_ZEROES_SEG = 52,
	CONFIG_WRITE_ZEROES_MAY_UNMAP = 56,
	CONFIG_LEN = 60,
};

/* Of what Linux makes its granularity: 64 KiB. */
#define DISCARD_SECTOR_ALIGNMENT 128

/* --- start and stop -------------------------------------------------------- */

static void blk_kick(struct virtio_dev *v, unsigned n)
{
	blk_serve((struct blk *)v, n);
}

/* io_lock held. */
static void blk_stop(struct virtio_dev *v)
{
	struct blk *b = (struct blk *)v;

	blk_quiesce(b);
	b->waiting = 0;
}

static void blk_suspend(struct virtio_dev *v)
{
	blk_quiesce((struct blk *)v);
}

static void blk_resume(struct virtio_dev *v)
{
	blk_come_back((struct blk *)v);
}

static const struct virtio_ops blk_ops = {
	.id = BLK_ID,
	.pci_class = 0x018000, /* mass storage, other */
	.kick = blk_kick,
	.stop = blk_stop,
	.suspend = blk_suspend,
	.resume = blk_resume,
};

static int blk_prepare(struct device *dev, struct err *err)
{
	struct blk *b = (struct blk *)dev;
	int r = engine_new((enum engine_kind)b->executor, &b->engine, err);

	if (r == 0)
		r = disk_attach(b->disk, b->engine, err);
	if (r < 0)
		return err_prefix(err, r, "%s", dev->host->name);
	log_debug(dev->host->name, "image %s: %s, %s", b->disk->name,
		  b->disk->ops->name, engine_name(b->engine));
	return 0;
}

static int blk_thread_start(struct device *dev, struct err *err)
{
	struct blk *b = (struct blk *)dev;
	int r = engine_start(b->engine, err);

	if (r < 0)
		return r;
	AUTO_LOCK(&b->v.io_lock);
	b->thread = pthread_self();
	b->has_thread = true;
	return loop_add(dev->host->loop, engine_fd(b->engine), EPOLLIN | EPOLLET,
			blk_complete, b, &b->watch, err);
}

/* Whoever resets the device now has nothing to wait for. */
static void blk_thread_stop(struct device *dev)
{
	struct blk *b = (struct blk *)dev;
	AUTO_LOCK(&b->v.io_lock);

	b->paused = true;
	if (!b->has_thread)
		return;
	/* The VM ends: its guest may have asked for terabytes. */
	engine_cancel(b->engine);
	blk_quiesce(b);
	loop_del(TAKE_PTR(b->watch));
	engine_stop(b->engine);
	b->has_thread = false;
}

static void blk_free(struct device *dev)
{
	struct blk *b = (struct blk *)dev;

	virtio_free(&b->v);
	loop_del(b->watch);
	engine_free(b->engine);
	disk_close(b->disk);
	pthread_cond_destroy(&b->idle);
	free(b->reqs);
	free(b);
}

int virtio_blk_resize(struct device *dev, uint64_t size, struct err *err)
{
	struct blk *b = (struct blk *)dev;
	int r;

	if (size % b->block_size)
		return err_set(err, -EINVAL,
			       "image %s: %llu is not a multiple of block-size=%u",
			       b->disk->name, (unsigned long long)size, b->block_size);
	AUTO_LOCK(&dev->lock);
	pthread_mutex_lock(&b->v.io_lock);
	b->paused = true;
	blk_quiesce(b);
	r = disk_resize(b->disk, size, err);
	b->paused = false;
	/* What came meanwhile was left in the queues. */
	blk_come_back(b);
	pthread_mutex_unlock(&b->v.io_lock);
	if (r < 0)
		return r;
	le64_put(b->v.config + CONFIG_CAPACITY, size / 512);
	virtio_config_changed(&b->v);
	return 0;
}

/* --- creation -------------------------------------------------------------- */

static void set_config(struct blk *b)
{
	const struct disk *disk = b->disk;
	uint8_t *c = b->v.config;

	b->v.offered = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_MQ;
	if (disk->read_only)
		b->v.offered |= BLK_F_RO;
	else
		b->v.offered |= BLK_F_FLUSH | BLK_F_WRITE_ZEROES;
	if (!disk->read_only && disk->sparse)
		b->v.offered |= BLK_F_DISCARD;
	b->v.n_queues = BLK_QUEUES;
	for (unsigned i = 0; i < BLK_QUEUES; i++)
		b->v.queue_size[i] = BLK_QUEUE_SIZE;
	b->v.config_len = CONFIG_LEN;
	le64_put(c + CONFIG_CAPACITY, disk->size / 512);
	le32_put(c + CONFIG_SEG_MAX, BLK_SEG_MAX);
	le32_put(c + CONFIG_BLK_SIZE, b->block_size);
	le16_put(c + CONFIG_NUM_QUEUES, BLK_QUEUES);
	if (b->v.offered & BLK_F_DISCARD) {
		le32_put(c + CONFIG_MAX_DISCARD_SECTORS, UINT32_MAX);
		le32_put(c + CONFIG_MAX_DISCARD_SEG, BLK_MAX_RANGES);
		le32_put(c + CONFIG_DISCARD_SECTOR_ALIGNMENT, DISCARD_SECTOR_ALIGNMENT);
	}
	if (b->v.offered & BLK_F_WRITE_ZEROES) {
		le32_put(c + CONFIG_MAX_WRITE_ZEROES_SECTORS, UINT32_MAX);
		le32_put(c + CONFIG_MAX_WRITE_ZEROES_SEG, BLK_MAX_RANGES);
		c[CONFIG_WRITE_ZEROES_MAY_UNMAP] = disk->sparse;
	}
}

int virtio_blk_new(const struct virtio_blk_cfg *cfg, struct disk *disk,
		   const struct dev_host *host, struct device **ret_dev,
		   struct err *err)
{
	size_t id_len = cfg->id ? strlen(cfg->id) : 0;
	struct blk *b = calloc(1, sizeof(*b));
	int r;

	if (!b) {
		disk_close(disk);
		return err_sys(err, -ENOMEM, "%s", host->name);
	}
	b->disk = disk;
	b->executor = cfg->executor;
	b->block_size = (uint32_t)cfg->block_size;
	pthread_cond_init(&b->idle, NULL);
	if (id_len > 0)
		memcpy(b->id, cfg->id, id_len < BLK_ID_LEN ? id_len : BLK_ID_LEN);
	set_config(b);
	/* A megabyte, of which only what a guest's depth needs is ever touched. */
	b->reqs = calloc(BLK_MAX_IN_FLIGHT, sizeof(*b->reqs));
	if (b->reqs)
		r = virtio_init(&b->v, &virtio_blk_class, &blk_ops, host, err);
	else
		r = err_sys(err, -ENOMEM, "%s", host->name);
	if (r < 0) {
		blk_free(&b->v.dev);
		return r;
	}
	*ret_dev = &b->v.dev;
	return 0;
}

static int blk_create(const void *cfg_, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	const struct virtio_blk_cfg *cfg = cfg_;
	const struct disk_cfg disk_cfg = {
		.path = cfg->path,
		.format = cfg->format,
		.read_only = cfg->read_only,
		.direct = cfg->direct,
		.lock = cfg->lock,
		.sparse = cfg->sparse,
		.block_size = (uint32_t)cfg->block_size,
	};
	struct disk *disk;
	int r = disk_open(&disk_cfg, &disk, err);

	return r < 0 ? r : virtio_blk_new(cfg, disk, host, ret_dev, err);
}

static const char *const formats[] = {
	[DISK_AUTO] = "auto",
	[DISK_RAW] = "raw",
	[DISK_COMPOSITE] = "composite",
	[DISK_SPARSE] = "sparse",
	NULL,
};
static const char *const executors[] = {
	[ENGINE_AUTO] = "auto",
	[ENGINE_URING] = "uring",
	[ENGINE_SYNC] = "epoll",
	NULL,
};

static const struct opt blk_opts[] = {
	{ .key = "path",
	  .type = OPT_STR,
	  .flags = OPT_FIRST | OPT_REQUIRED,
	  .offset = offsetof(struct virtio_blk_cfg, path),
	  .arg = "PATH",
	  .help = "image: a file or block device whose size is a multiple of block-size" },
	{ .key = "ro",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct virtio_blk_cfg, read_only),
	  .help = "the guest may only read" },
	{ .key = "root",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct virtio_blk_cfg, root),
	  .help = "tell the kernel that / is on it: root=/dev/vdX and ro or rw" },
	{ .key = "format",
	  .type = OPT_ENUM,
	  .offset = offsetof(struct virtio_blk_cfg, format),
	  .names = formats,
	  .def = DISK_AUTO,
	  .help = "what the image is; auto recognises composite and sparse in read-only images only, see vmm(1)" },
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
	{ .key = "sparse",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct virtio_blk_cfg, sparse),
	  .def = 1,
	  .help = "what the guest discards becomes holes in the image" },
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
	{ .key = "async-executor",
	  .type = OPT_ENUM,
	  .offset = offsetof(struct virtio_blk_cfg, executor),
	  .names = executors,
	  .def = ENGINE_AUTO,
	  .help = "uring: by io_uring; epoll: by one system call after the other; auto: by io_uring where the host has it" },
	{ .key = NULL },
};

const struct dev_class virtio_blk_class = {
	.name = "block",
	.help = "a disk",
	.flags = DEV_REPEAT | DEV_THREAD,
	.opts = blk_opts,
	.cfg_size = sizeof(struct virtio_blk_cfg),
	.create = blk_create,
	.prepare = blk_prepare,
	.thread_start = blk_thread_start,
	.thread_stop = blk_thread_stop,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = blk_free,
};
