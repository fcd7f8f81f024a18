/*
 * A disk image: bytes that are read and written at an offset, by requests that
 * complete later.
 *
 * One struct disk_ops for each format; a format or filter may hold further disks
 * and work through them (composite over raw, fault injection over anything). At
 * the bottom a raw image hands its requests to an engine (disk/engine.h), which
 * the worker's thread owns: io_uring, or plain system calls where that is
 * refused.
 *
 * Life: disk_open() before the process forks; disk_attach() in the VM's own
 * process, before it is jailed, gives the disk the engine of its thread; then
 * disk_submit() on that thread only. A request belongs to the disk from
 * disk_submit() until its done() is called, on the same thread, perhaps within
 * disk_submit(). Nothing of a request, and no guest memory, is touched after
 * done().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct disk;
struct engine;

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH, /* all writes that are done are on stable storage */
	DISK_DISCARD, /* the range's content does not matter any more */
	DISK_ZERO, /* the range reads as zeroes */
};

/* What the submitter does not set is zero. */
struct disk_req {
	enum disk_op op;
	bool unmap; /* DISK_ZERO: space may be given back */
	uint64_t off, len; /* bytes; layers may change them on the way down */
	const struct iovec
		*iov; /* DISK_READ, DISK_WRITE: len bytes; lives until done */
	unsigned n_iov;
	void (*done)(struct disk_req *req, int result); /* 0 or -errno, once */
	void *owner; /* the submitter's */

	/* disk_submit()'s, which sees how a flush ends. */
	struct disk *flushed;
	void (*flush_done)(struct disk_req *req, int result);

	/* For whoever holds the request: lists, and the engine's progress. */
	struct disk_req *next;
	uint64_t at; /* bytes completed so far */
	unsigned file, step;
	struct iovec rest; /* of a buffer that was filled in part */
};

struct disk_ops {
	const char *name; /* of the format */
	int (*attach)(struct disk *d, struct engine *engine, struct err *err);
	/*
	 * The request is within the disk, and allowed: disk_submit() has checked. The
	 * format may pass it on to a disk below by disk_submit(), or make its own.
	 */
	void (*submit)(struct disk *d, struct disk_req *req);
	/* NULL: this format cannot be resized. */
	int (*resize)(struct disk *d, uint64_t size, struct err *err);
	void (*close)(struct disk *d); /* frees d, but not d->name */
	/* Failed flushes are remembered by the disks below, where they fail. */
	bool flushes_below;
};

/* Embedded as the first member of every format's struct. */
struct disk {
	const struct disk_ops *ops;
	uint64_t size; /* bytes */
	bool read_only;
	bool sparse; /* DISK_DISCARD and unmapping give space back */
	uint32_t align; /* offsets and lengths must be multiples of it: 1 to 4096 */
	int flush_err; /* of the first flush that failed; disk_submit()'s */
	char *name; /* for messages: the path as given, allocated; disk_close() frees it
		     */
};

enum disk_format { DISK_AUTO, DISK_RAW, DISK_COMPOSITE, DISK_SPARSE };

struct disk_cfg {
	const char *path; /* or /proc/self/fd/N */
	int format; /* enum disk_format */
	bool read_only;
	bool direct; /* O_DIRECT */
	bool lock; /* flock(2): shared when read-only, else exclusive */
	bool sparse; /* discards punch holes; false: they are ignored */
	uint32_t block_size; /* what the guest is told: 512 to 4096, a power of two */
};

/*
 * Open an image. Errors: -errno with a sentence that names the path; -EBUSY
 * when somebody else holds a conflicting lock.
 */
int disk_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err);
void disk_close(struct disk *d); /* takes NULL; no request may be under way */

/* Give the disk, and all below it, their engine; before engine_start(). */
int disk_attach(struct disk *d, struct engine *engine, struct err *err);

/*
 * Submit a request. What cannot be is completed at once: -EINVAL beyond the end
 * or misaligned, -EROFS for a change of a read-only disk. So is what has nothing to
 * do: an empty request, a flush of a read-only disk, a discard of one that is not
 * sparse. Requests may complete in any order; a FLUSH covers the writes whose done()
 * was called before it was submitted. A failed flush is remembered: every later
 * one fails as well, for what was lost stays lost.
 */
void disk_submit(struct disk *d, struct disk_req *req);

/*
 * Change the size; the owner tells the guest. Nothing may be under way. -ENOTSUP,
 * -EROFS, -EINVAL for a size that is 0 or misaligned, or the host's.
 */
int disk_resize(struct disk *d, uint64_t size, struct err *err);
