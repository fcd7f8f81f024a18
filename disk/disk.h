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
	uint64_t size; /* bytes, a multiple of 512 */
	bool read_only;
	uint32_t align; /* offsets and lengths must be multiples of this: 1 to 4096 */
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
 * when somebody else holds a conflicting lock.
 */
int disk_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err);
void disk_close(struct disk *d); /* takes NULL */

/* -EINVAL beyond the end, -EROFS when read-only, otherwise what the host said. */
int disk_read(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n);
int disk_write(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n);

/*
 * Put all completed writes on stable storage. A failure is reported by this
 * call and by every later one: what was lost stays lost.
 */
int disk_flush(struct disk *d);
