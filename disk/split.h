/*
 * A request that goes on as several: the parts of a range that lie on different
 * disks, or at different places of one. It is done when all of its pieces are, and
 * its result is that of the first piece that failed.
 *
 * For formats whose submit() is on the path of every request: those that need not be
 * split should be passed on as they are. Small splits come from a pool that is
 * allocated with the disk; larger ones are allocated each.
 *
 *	s = split_new(&pool, req, pieces, NULL);
 *	split_fill() and split_add() for the whole of the range, in ascending order
 *	split_submit(s);
 */
#pragma once

#include "disk/disk.h"

struct split;

struct split_piece {
	struct disk_req req; /* what the disk below gets */
	struct split *split;
	struct disk *disk;
	/* The format's. */
	void *part;
	uint64_t seq;
};

/* Called when a piece is done, before the parent may be. */
typedef void split_done_fn(struct split_piece *piece, int result);

struct split_pool {
	struct split *free;
	void *memory;
};

int split_pool_init(struct split_pool *pool);
void split_pool_free(struct split_pool *pool); /* harmless on a struct of zeroes */

/* Room for up to @n_pieces; NULL: no memory. @done may be NULL. */
struct split *split_new(struct split_pool *pool, struct disk_req *parent,
			unsigned n_pieces, split_done_fn *done);

/* The next @len bytes of the parent are @disk's at @off. */
struct split_piece *split_add(struct split *s, struct disk *disk, uint64_t off,
			      uint64_t len);

/*
 * The next @len bytes of the parent, a DISK_READ, are the four bytes at @pattern again
 * and again, beginning with number @phase.
 */
void split_fill(struct split *s, uint64_t len, const uint8_t pattern[4],
		unsigned phase);

/* Hand the pieces down. The parent may be done, and the split gone, when it returns. */
void split_submit(struct split *s);
