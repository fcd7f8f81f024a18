/*
 * Disks in unit tests: an engine for a disk, and requests that are waited for.
 *
 *	io_attach(d, ENGINE_URING);	a skip where io_uring is refused
 *	assert_int_equal(io_write(d, 0, buf, 512), 0);
 *	io_close(d);			the disk, and the engine with it
 *
 * One disk at a time.
 */
#pragma once

#include "disk/engine.h"

extern struct engine *io_engine; /* of the disk that is attached */

void io_attach(struct disk *d, enum engine_kind kind);
void io_close(struct disk *d);

/* The results are those of done(); what is not submitted by io_* may be under way. */
int io_request(struct disk *d, struct disk_req *req);
int io_vector(struct disk *d, enum disk_op op, uint64_t off, const struct iovec *iov,
	      unsigned n);
int io_read(struct disk *d, uint64_t off, void *buf, size_t len);
int io_write(struct disk *d, uint64_t off, const void *buf, size_t len);
int io_range(struct disk *d, enum disk_op op, bool unmap, uint64_t off, uint64_t len);
int io_flush(struct disk *d);
