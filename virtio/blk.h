/*
 * virtio block device: --block PATH,key=value,... (virtio 1.2 section 5.2).
 */
#pragma once

#include "devices/device.h"

struct virtio_blk_cfg {
	char *path;
	char *id; /* what GET_ID tells, at most 20 bytes; NULL: empty */
	bool read_only, direct, lock;
	uint64_t block_size;
};

extern const struct dev_class virtio_blk_class;
