/*
 * The requests of the block device; see blk_io.h. What the guest asks for in vain,
 * by rights or not, ends in a status byte; only a request without room for one
 * breaks the device.
 */
#include "virtio/blk_io.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* Section 5.2.6. */
enum {
	BLK_T_IN = 0,
	BLK_T_OUT = 1,
	BLK_T_FLUSH = 4,
	BLK_T_GET_ID = 8,
	BLK_T_DISCARD = 11,
	BLK_T_WRITE_ZEROES = 13,
};
enum { BLK_S_OK = 0, BLK_S_IOERR = 1, BLK_S_UNSUPP = 2 };
#define BLK_HEADER_LEN 16 /* le32 type, le32 reserved, le64 sector */
#define BLK_RANGE_LEN 16 /* le64 sector, le32 number of sectors, le32 flags */
#define BLK_RANGE_UNMAP 1u

/* So many of one queue, then it is the next one's turn. */
#define TURN 16
/* So many in all, then it is the turn of whoever else waits for the thread. */
#define BUDGET (2 * BLK_MAX_IN_FLIGHT)

/* --- ends ------------------------------------------------------------------ */

static void complete(struct blk_req *r, uint8_t status)
{
	struct blk *b = r->blk;

	*r->status = status;
	vq_push(&b->v.queues[r->queue], r->head,
		(status == BLK_S_OK ? r->filled : 0) + 1);
	b->to_signal |= 1u << r->queue;
	r->next = b->free;
	b->free = r;
	if (--b->in_flight == 0)
		pthread_cond_broadcast(&b->idle);
}

static void fail(struct blk_req *r, int error)
{
	log_guest(&r->blk->failed, r->blk->v.dev.host->name,
		  "request %u at sector %llu: %s", r->type,
		  (unsigned long long)r->sector, strerrordesc_np(-error));
	complete(r, BLK_S_IOERR);
}

static void signal_queues(struct blk *b)
{
	while (b->to_signal) {
		unsigned n = (unsigned)__builtin_ctz(b->to_signal);

		b->to_signal &= b->to_signal - 1;
		virtio_signal(&b->v, n);
	}
}

static void submit_range(struct blk_req *r);

static void on_done(struct disk_req *req, int result)
{
	struct blk_req *r = (struct blk_req *)req;

	if (result < 0) {
		fail(r, result);
	} else if (r->range < r->n_ranges) {
		if (loop_stopping(r->blk->v.dev.host->loop))
			fail(r, -ECANCELED);
		else
			submit_range(r);
	} else if (r->flushes) {
		r->flushes = false;
		r->req.op = DISK_FLUSH;
		disk_submit(r->blk->disk, &r->req);
	} else {
		complete(r, BLK_S_OK);
	}
}

/* --- starts ---------------------------------------------------------------- */

static void submit_range(struct blk_req *r)
{
	const struct blk_range *range = &r->ranges[r->range++];

	r->req.op = r->type == BLK_T_DISCARD ? DISK_DISCARD : DISK_ZERO;
	r->req.unmap = range->flags & BLK_RANGE_UNMAP;
	r->req.off = range->sector * 512;
	r->req.len = range->count * 512ull;
	disk_submit(r->blk->disk, &r->req);
}

/* A request changes what it names altogether or not at all, if it is the guest's fault.
 */
static void start_ranges(struct blk_req *r, uint64_t len)
{
	struct blk *b = r->blk;
	uint32_t known = r->type == BLK_T_DISCARD ? 0 : BLK_RANGE_UNMAP;
	unsigned char raw[BLK_MAX_RANGES * BLK_RANGE_LEN];
	bool fits = true;

	if (len == 0 || len % BLK_RANGE_LEN || len > sizeof(raw)) {
		fail(r, -EINVAL);
		return;
	}
	vq_read(&b->chain, BLK_HEADER_LEN, raw, len);
	r->n_ranges = (unsigned)(len / BLK_RANGE_LEN);
	for (unsigned i = 0; i < r->n_ranges; i++) {
		const unsigned char *p = raw + (size_t)i * BLK_RANGE_LEN;
		struct blk_range *range = &r->ranges[i];

		range->sector = le64_get(p);
		range->count = le32_get(p + 8);
		range->flags = le32_get(p + 12);
		/* Section 5.2.6.2: also unmap, which a discard means anyway. */
		if (range->flags & ~known) {
			complete(r, BLK_S_UNSUPP);
			return;
		}
		if (!range_within(range->sector, range->count, b->disk->size / 512))
			fits = false;
	}
	if (!fits) {
		fail(r, -EINVAL);
		return;
	}
	/* Zeroes are data too: see start_transfer(). */
	r->flushes = r->type == BLK_T_WRITE_ZEROES && !(b->v.acked & BLK_F_FLUSH);
	submit_range(r);
}

static void start_transfer(struct blk_req *r, bool in, uint64_t skip, uint64_t len)
{
	struct blk *b = r->blk;

	if (r->sector > UINT64_MAX / 512 || len % 512) {
		fail(r, -EINVAL);
		return;
	}
	r->req.op = in ? DISK_READ : DISK_WRITE;
	r->req.off = r->sector * 512;
	r->req.len = len;
	r->req.iov = r->iov;
	r->req.n_iov = vq_slices(&b->chain, in, skip, len, r->iov);
	r->filled = in ? (uint32_t)len : 0;
	/* To a driver that does not know of flushes, done means stable (5.2.6.2). */
	r->flushes = !in && !(b->v.acked & BLK_F_FLUSH);
	disk_submit(b->disk, &r->req);
}

/* Carry out b->chain, which has a status byte. */
static void start(struct blk_req *r)
{
	struct blk *b = r->blk;
	const struct vq_chain *c = &b->chain;
	uint64_t in_len = c->in_len - 1; /* the status byte is the last one */
	unsigned char header[BLK_HEADER_LEN];

	if (vq_read(c, 0, header, sizeof(header)) < sizeof(header)) {
		log_guest(&b->failed, b->v.dev.host->name, "request header too short");
		complete(r, BLK_S_IOERR);
		return;
	}
	r->type = le32_get(header);
	r->sector = le64_get(header + 8);
	switch (r->type) {
	case BLK_T_IN:
		start_transfer(r, true, 0, in_len);
		return;
	case BLK_T_OUT:
		start_transfer(r, false, BLK_HEADER_LEN, c->out_len - BLK_HEADER_LEN);
		return;
	case BLK_T_FLUSH:
		r->req.op = DISK_FLUSH;
		disk_submit(b->disk, &r->req);
		return;
	case BLK_T_GET_ID:
		r->filled = in_len < BLK_ID_LEN ? (uint32_t)in_len : BLK_ID_LEN;
		vq_write(c, 0, b->id, r->filled);
		complete(r, BLK_S_OK);
		return;
	case BLK_T_DISCARD:
	case BLK_T_WRITE_ZEROES:
		if (b->v.acked &
		    (r->type == BLK_T_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES)) {
			start_ranges(r, c->out_len - BLK_HEADER_LEN);
			return;
		}
	}
	complete(r, BLK_S_UNSUPP);
}

/* --- taking them ----------------------------------------------------------- */

static bool has_room(const struct blk *b)
{
	return b->free || b->touched < BLK_MAX_IN_FLIGHT;
}

static struct blk_req *new_req(struct blk *b, unsigned n)
{
	struct blk_req *r = b->free;
	const struct vq_chain *c = &b->chain;
	const struct iovec *last = &c->iov[c->n_out + c->n_in - 1];

	if (r)
		b->free = r->next;
	else
		r = &b->reqs[b->touched++];
	b->in_flight++;
	r->req = (struct disk_req){ .done = on_done };
	r->blk = b;
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->queue = (uint16_t)n;
	r->head = c->head;
	r->filled = 0;
	r->flushes = false;
	r->range = r->n_ranges = 0;
	return r;
}

/* A turn of queue @n; false: the device is broken. */
static bool take(struct blk *b, unsigned n)
{
	struct vq *q = &b->v.queues[n];

	/* A VM that ends must not wait for all that its guest has queued. */
	for (unsigned i = 0;
	     i < TURN && has_room(b) && !loop_stopping(b->v.dev.host->loop); i++) {
		int r = vq_pop(q, &b->chain);

		if (r < 0) {
			virtio_broken(&b->v, q->why);
			return false;
		}
		if (r == 0) {
			if (!vq_kicks(q, true))
				b->waiting &= ~(1u << n);
			return true;
		}
		if (b->chain.in_len == 0) {
			virtio_broken(&b->v, "request without a status byte");
			return false;
		}
		start(new_req(b, n));
	}
	return true;
}

/* The first waiting queue from b->turn on. */
static unsigned next_queue(const struct blk *b)
{
	uint32_t rest = b->waiting & ~0u << b->turn;

	return (unsigned)__builtin_ctz(rest ? rest : b->waiting);
}

static bool may_take(const struct blk *b)
{
	return b->waiting && has_room(b) && b->v.running && !b->paused;
}

/* Take requests and finish requests, until there is nothing to do or it is enough. */
static void work(struct blk *b)
{
	unsigned done = 0, finished;
	bool took;

	do {
		took = may_take(b);
		if (took) {
			unsigned n = next_queue(b);

			b->turn = (n + 1) % BLK_QUEUES;
			if (!take(b, n))
				b->waiting = 0;
			done += TURN;
		}
		/*
		 * Handed over turn by turn: the disk works on the first of a long queue
		 * while the rest is read. What needs no waiting completes in here.
		 */
		finished = engine_poll(b->engine);
	} while (b->waiting && done < BUDGET && (took || finished > 0));
	signal_queues(b);
	/* Where contexts are lacking, their completion brings us back. */
	if (may_take(b))
		blk_come_back(b);
}

void blk_come_back(struct blk *b)
{
	/* A queue that has become empty is not looked at then, so its kicks count. */
	for (unsigned n = 0; n < BLK_QUEUES; n++)
		if (b->waiting & 1u << n)
			vq_kicks(&b->v.queues[n], true);
	b->waiting = 0;
	(void)eventfd_write(b->v.kick_fd, 1);
}

void blk_serve(struct blk *b, unsigned n)
{
	if (b->paused)
		return;
	b->waiting |= 1u << n;
	vq_kicks(&b->v.queues[n], false);
	work(b);
}

void blk_complete(void *arg, uint32_t events)
{
	struct blk *b = arg;
	AUTO_LOCK(&b->v.io_lock);

	(void)events;
	work(b);
}

void blk_quiesce(struct blk *b)
{
	bool ours = b->has_thread && pthread_equal(b->thread, pthread_self());

	while (b->in_flight > 0) {
		if (ours)
			engine_drain(b->engine);
		else
			pthread_cond_wait(&b->idle, &b->v.io_lock);
	}
	signal_queues(b);
}
