/*
 * Composite disks: ranges of other disks, put end to end.
 *
 * Each component has a slot of the disk: from its offset to the next component's, or
 * to the disk's end. Nothing else is known about it; a component may be shorter than
 * its slot, and requests that touch what it lacks fail with -EIO, as do those before
 * the first slot. So a request is carried out as a whole or not begun, unless the
 * host fails a part of it.
 *
 * A request within one component is passed on as it is; one that crosses edges is
 * split. Only components that were written since they were last flushed are flushed.
 */
#pragma once

#include "disk/disk.h"

#define COMPOSITE_MAGIC "composite_disk\x1d"
#define COMPOSITE_MAGIC_LEN (sizeof(COMPOSITE_MAGIC) - 1)

/* A slot: @disk's bytes from @file_offset on stand at @offset. */
struct composite_part {
	struct disk *disk;
	uint64_t offset, file_offset;
};

/*
 * A composite of @n disks, in ascending order of offset; @size: where the last slot
 * ends. Takes over the disks and @fd (or -1), which stays open as long as the disk,
 * unless it fails. -EINVAL: no disks, equal offsets, an end before the last slot's
 * begin, numbers beyond 2^63, or a slot that is not aligned as its disk needs.
 */
int composite_new(const char *name, const struct composite_part *parts, size_t n,
		  uint64_t size, bool read_only, int fd, struct disk **ret_disk,
		  struct err *err);

/*
 * Whether a disk of this alignment can fill the slot of @len bytes: direct I/O cannot
 * be cut anywhere.
 */
bool composite_fits(uint32_t align, uint64_t offset, uint64_t file_offset,
		    uint64_t len);

/*
 * Open an image that begins with COMPOSITE_MAGIC, at nesting depth @depth. @told: the
 * user said that it is one; otherwise it may name inherited descriptors only. A
 * relative path is relative to the image's folder. A component is writable when the
 * image says so and @cfg does not say read_only; one that the image calls writable is
 * always raw, for its content is the guest's, even in a read-only disk.
 */
int composite_open(const struct disk_cfg *cfg, int depth, bool told,
		   struct disk **ret_disk, struct err *err);
