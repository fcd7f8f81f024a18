/*
 * Raw images: the bytes of a regular file or block device, as they are.
 */
#pragma once

#include "disk/disk.h"

/*
 * As disk_open(), but any size and alignment will do: cfg->block_size is not
 * looked at.
 */
int raw_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err);
