/*
 * Which format an image has: what the user said, or, where that is safe, what the image
 * begins with.
 *
 * A guest can write any header into a disk of its own, so that the next start would
 * take the disk for something else, a composite of the host's files, say. So a magic
 * is believed only where no guest can have put it: in an image that is opened
 * read-only, or whose inherited descriptor is open read-only; a composite that is
 * believed may name inherited descriptors only. In a writable image a magic is an error
 * that tells the word to add. Formats that we do not read are refused by name.
 */
#pragma once

#include "disk/disk.h"

/* Composites in composites: the image itself counts as 0. */
#define FORMAT_MAX_DEPTH 10

/* disk_open() without the checks of size and alignment that only a guest's disk needs.
 */
int format_open(const struct disk_cfg *cfg, int depth, struct disk **ret_disk,
		struct err *err);
