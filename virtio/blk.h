/*
 * virtio block device: --block PATH,key=value,... (virtio 1.2 section 5.2).
 */
#pragma once

#include "devices/device.h"

struct disk;

struct virtio_blk_cfg {
	char *path;
	char *id; /* what GET_ID tells, at most 20 bytes; NULL: empty */
	bool read_only, direct, lock, sparse;
	bool root; /* the machine tells the kernel; nothing to the device */
	int format; /* enum disk_format */
	int executor; /* enum engine_kind */
	uint64_t block_size;
};

extern const struct dev_class virtio_blk_class;

/*
 * The device over a disk that is open already, which it takes, also on failure;
 * of @cfg only id, executor and block_size are looked at.
 */
int virtio_blk_new(const struct virtio_blk_cfg *cfg, struct disk *disk,
		   const struct dev_host *host, struct device **ret_dev,
		   struct err *err);

/*
 * Change the size of a disk while the guest runs, and tell the guest. Waits for what
 * is in flight. Any thread, dev->lock not held. Errors: as disk_resize(), and -EINVAL
 * for a size that is not a multiple of the block size.
 */
int virtio_blk_resize(struct device *dev, uint64_t size, struct err *err);
