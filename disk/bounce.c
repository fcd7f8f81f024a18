/* Bounce buffers for direct I/O; see bounce.h. */
#include "disk/bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define ALIGN 4096u
#define BUFFER_SIZE (256u << 10) /* a multiple of ALIGN */
#define BUFFERS 4

struct buffer {
	struct disk_req piece;
	struct iovec v; /* the buffer, as long as the piece */
	struct bounce *bounce;
	struct buffer *next; /* free */
	struct disk_req *outer; /* whose piece is under way */
	const struct iovec *iov; /* where the next piece begins in it */
	size_t skip;
};

struct bounce {
	struct engine *engine;
	unsigned file;
	unsigned char *memory;
	struct buffer buffers[BUFFERS];
	struct buffer *free;
	struct disk_req *first, **last; /* that wait for a buffer */
};

int bounce_new(struct engine *engine, unsigned file, struct bounce **ret_bounce)
{
	struct bounce *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->engine = engine;
	b->file = file;
	b->last = &b->first;
	b->memory = aligned_alloc(ALIGN, (size_t)BUFFERS * BUFFER_SIZE);
	if (!b->memory) {
		free(b);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < BUFFERS; i++) {
		struct buffer *buf = &b->buffers[i];

		buf->bounce = b;
		buf->v.iov_base = b->memory + (size_t)i * BUFFER_SIZE;
		buf->next = b->free;
		b->free = buf;
	}
	*ret_bounce = b;
	return 0;
}

void bounce_free(struct bounce *b)
{
	if (!b)
		return;
	free(b->memory);
	free(b);
}

/* Copy between the buffer and the request's memory, from where it stands. */
static void copy(struct buffer *buf, bool gather)
{
	unsigned char *p = buf->v.iov_base;
	size_t len = buf->v.iov_len;

	while (len > 0) {
		unsigned char *q = (unsigned char *)buf->iov->iov_base + buf->skip;
		size_t part = buf->iov->iov_len - buf->skip;

		if (part > len)
			part = len;
		if (gather)
			memcpy(p, q, part);
		else
			memcpy(q, p, part);
		p += part;
		len -= part;
		buf->skip += part;
		if (buf->skip == buf->iov->iov_len) {
			buf->iov++;
			buf->skip = 0;
		}
	}
}

static void piece_done(struct disk_req *piece, int result);

static void next_piece(struct buffer *buf)
{
	const struct disk_req *outer = buf->outer;
	uint64_t left = outer->len - outer->at;

	buf->v.iov_len = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
	buf->piece = (struct disk_req){
		.op = outer->op,
		.off = outer->off + outer->at,
		.len = buf->v.iov_len,
		.iov = &buf->v,
		.n_iov = 1,
		.done = piece_done,
		.owner = buf,
	};
	if (outer->op == DISK_WRITE)
		copy(buf, true);
	engine_submit(buf->bounce->engine, buf->bounce->file, &buf->piece);
}

static void start(struct buffer *buf, struct disk_req *req)
{
	buf->outer = req;
	buf->iov = req->iov;
	buf->skip = 0;
	req->at = 0;
	next_piece(buf);
}

static void piece_done(struct disk_req *piece, int result)
{
	struct buffer *buf = piece->owner;
	struct disk_req *outer = buf->outer;
	struct bounce *b = buf->bounce;

	if (result == 0) {
		if (outer->op == DISK_READ)
			copy(buf, false);
		outer->at += piece->len;
		if (outer->at < outer->len) {
			next_piece(buf);
			return;
		}
	}
	if (b->first) {
		struct disk_req *req = b->first;

		b->first = req->next;
		if (!b->first)
			b->last = &b->first;
		start(buf, req);
	} else {
		buf->next = b->free;
		b->free = buf;
	}
	outer->done(outer, result);
}

void bounce_submit(struct bounce *b, struct disk_req *req)
{
	struct buffer *buf = b->free;

	if (buf) {
		b->free = buf->next;
		start(buf, req);
		return;
	}
	req->next = NULL;
	*b->last = req;
	b->last = &req->next;
}
