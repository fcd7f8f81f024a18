/* Requests that go on as several; see split.h. */
#include "disk/split.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Most guests send up to 64 buffers; most ranges that cross an edge cross one. */
#define POOL_SPLITS 16
#define POOL_PIECES 3
#define POOL_IOV 72

struct split {
	struct disk_req *parent;
	struct split_pool *pool; /* where it returns to; NULL: free() */
	struct split *next; /* in the pool */
	split_done_fn *done;
	unsigned pending; /* pieces that are not done, and the submitter */
	int result;

	unsigned n_pieces, max_pieces;
	struct split_piece *pieces;
	/* The pieces' buffers: the parent's, cut at the edges. */
	struct iovec *iov;
	unsigned n_iov, max_iov;
	/* How far the parent's buffers are dealt out. */
	const struct iovec *from;
	size_t skip; /* bytes of *from */
};

/* A split with its arrays behind it. */
struct pooled {
	struct split split;
	struct split_piece pieces[POOL_PIECES];
	struct iovec iov[POOL_IOV];
};

int split_pool_init(struct split_pool *pool)
{
	struct pooled *p = calloc(POOL_SPLITS, sizeof(*p));

	if (!p)
		return -ENOMEM;
	pool->memory = p;
	pool->free = NULL;
	for (unsigned i = 0; i < POOL_SPLITS; i++) {
		p[i].split.pieces = p[i].pieces;
		p[i].split.max_pieces = POOL_PIECES;
		p[i].split.iov = p[i].iov;
		p[i].split.max_iov = POOL_IOV;
		p[i].split.next = pool->free;
		pool->free = &p[i].split;
	}
	return 0;
}

void split_pool_free(struct split_pool *pool)
{
	free(pool->memory);
	*pool = (struct split_pool){ 0 };
}

static struct split *new_large(unsigned n_pieces, unsigned n_iov)
{
	size_t pieces = n_pieces * sizeof(struct split_piece);
	struct split *s = malloc(sizeof(*s) + pieces + n_iov * sizeof(struct iovec));

	if (!s)
		return NULL;
	s->pieces = (struct split_piece *)(s + 1);
	s->max_pieces = n_pieces;
	s->iov = (struct iovec *)(s->pieces + n_pieces);
	s->max_iov = n_iov;
	return s;
}

struct split *split_new(struct split_pool *pool, struct disk_req *parent,
			unsigned n_pieces, split_done_fn *done)
{
	bool data = parent->op == DISK_READ || parent->op == DISK_WRITE;
	/* An edge makes two buffers of the one that it cuts. */
	unsigned n_iov = data ? parent->n_iov + n_pieces : 0;
	bool small = n_pieces <= POOL_PIECES && n_iov <= POOL_IOV;
	struct split *s = small ? pool->free : NULL;

	if (s) {
		pool->free = s->next;
		s->pool = pool;
	} else {
		s = new_large(n_pieces, n_iov);
		if (!s)
			return NULL;
		s->pool = NULL;
	}
	s->parent = parent;
	s->done = done;
	s->pending = 1;
	s->result = 0;
	s->n_pieces = 0;
	s->n_iov = 0;
	s->from = data ? parent->iov : NULL;
	s->skip = 0;
	return s;
}

/* The next stretch of the parent's buffers, of at most @len bytes. */
static struct iovec take(struct split *s, uint64_t len)
{
	struct iovec v;

	while (s->skip == s->from->iov_len) {
		s->from++;
		s->skip = 0;
	}
	v.iov_base = (char *)s->from->iov_base + s->skip;
	v.iov_len = s->from->iov_len - s->skip;
	if (v.iov_len > len)
		v.iov_len = (size_t)len;
	s->skip += v.iov_len;
	return v;
}

struct split_piece *split_add(struct split *s, struct disk *disk, uint64_t off,
			      uint64_t len)
{
	struct split_piece *p = &s->pieces[s->n_pieces++];

	assert(s->n_pieces <= s->max_pieces);
	*p = (struct split_piece){
		.req = { .op = s->parent->op,
			 .unmap = s->parent->unmap,
			 .off = off,
			 .len = len },
		.split = s,
		.disk = disk,
	};
	if (!s->from)
		return p;
	p->req.iov = &s->iov[s->n_iov];
	while (len > 0) {
		struct iovec v = take(s, len);

		assert(s->n_iov < s->max_iov);
		s->iov[s->n_iov++] = v;
		p->req.n_iov++;
		len -= v.iov_len;
	}
	return p;
}

void split_fill(struct split *s, uint64_t len, const uint8_t pattern[4], unsigned phase)
{
	bool same = pattern[0] == pattern[1] && pattern[0] == pattern[2] &&
		    pattern[0] == pattern[3];

	while (len > 0) {
		struct iovec v = take(s, len);
		uint8_t *p = v.iov_base;

		if (same)
			memset(p, pattern[0], v.iov_len);
		else
			for (size_t i = 0; i < v.iov_len; i++)
				p[i] = pattern[phase++ & 3];
		len -= v.iov_len;
	}
}

static void put(struct split *s)
{
	struct disk_req *parent = s->parent;
	int result = s->result;

	if (--s->pending > 0)
		return;
	if (s->pool) {
		s->next = s->pool->free;
		s->pool->free = s;
	} else {
		free(s);
	}
	parent->done(parent, result);
}

static void piece_done(struct disk_req *req, int result)
{
	struct split_piece *p = (struct split_piece *)req;
	struct split *s = p->split;

	if (s->done)
		s->done(p, result);
	if (s->result == 0)
		s->result = result;
	put(s);
}

void split_submit(struct split *s)
{
	unsigned n = s->n_pieces;

	s->pending += n;
	for (unsigned i = 0; i < n; i++) {
		s->pieces[i].req.done = piece_done;
		disk_submit(s->pieces[i].disk, &s->pieces[i].req);
	}
	put(s);
}
