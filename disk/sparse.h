/*
 * Android sparse images (AOSP system/core/libsparse/sparse_format.h): an image in
 * chunks that hold data, repeat four bytes, or hold nothing. Read-only.
 */
#pragma once

#include "disk/disk.h"

/* 0xed26ff3a, little-endian. */
#define SPARSE_MAGIC "\x3a\xff\x26\xed"

/*
 * Errors: -EROFS unless cfg->read_only, -EINVAL with what is wrong with it, and those
 * of raw_open(). cfg->direct is not followed: chunks stand at any offset.
 */
int sparse_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err);
