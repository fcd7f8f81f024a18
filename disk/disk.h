/*
 * A disk image: bytes that can be read and written at an offset.
 *
 * One struct disk_ops per format; a format or filter may hold a next disk and
 * work through it. Offsets and lengths are in bytes; a request lies within
 * [0, size) or fails with -EINVAL. Requests are complete when the call returns
 * 0, and have failed otherwise; there are no short counts. A disk is used by
 * one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct disk;

/* Called by disk_read() and so on, which have checked range, alignment and mode. */
struct disk_ops {
	const char *name; /* of the format */
	int (*read)(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n);
	int (*write)(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n);
	int (*flush)(struct disk *d);
	void (*close)(struct disk *d);
};

/* Embedded as the first member of every format's struct. */
struct disk {
	const struct disk_ops *ops;
	uint64_t size; /* bytes; disk_open() grants a multiple of the block size */
	bool read_only;
	uint32_t align; /* of offsets and lengths: a power of two, 1 to 4096 */
	int flush_err; /* the first failure of a flush, or 0 */
};

struct disk_cfg {
	const char *path; /* or /proc/self/fd/N */
	bool read_only;
	bool direct; /* O_DIRECT */
	bool lock; /* flock(2): shared when read-only, else exclusive */
	uint32_t block_size; /* what the guest is told: 512 to 4096, a power of two */
};

/*
 * Open an image. Errors: -errno with a sentence that names the path; -EBUSY
 * when somebody else holds a conflicting lock; -EINVAL, too, when size or
 * alignment of the image do not fit the block size.
 */
int disk_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err);
void disk_close(struct disk *d); /* takes NULL */

/*
 * -EINVAL beyond the end or against the alignment, -EROFS when read-only,
 * otherwise what the host said. A failed read may have filled part of the
 * buffers, a failed write may have changed part of the range.
 */
int disk_read(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n);
int disk_write(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n);

/*
 * Put all completed writes on stable storage. A failure is reported by this
 * call and by every later one: what was lost stays lost. Nothing to do, and so
 * no failure, on a read-only disk.
 */
int disk_flush(struct disk *d);
