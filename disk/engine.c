/*
 * What both kinds of engine share: files, and the steps of a request; see
 * engine.h and engine_impl.h.
 *
 * Zeroing tries to give space back where that is allowed (the hole reads as
 * zeroes), then ZERO_RANGE, then writes zeroes in bounded pieces. Block devices
 * take the same calls: Linux maps them to the device's own commands.
 */
#include "disk/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "disk/engine_impl.h"

/* Zeroes to write from, again and again: aligned as direct I/O wants it anywhere. */
#define ZEROES_LEN 4096u
#define ZEROES_COUNT 256u
static const unsigned char zeroes[ZEROES_LEN] __attribute__((aligned(4096)));

/* disk_req.step of a DISK_ZERO: the way that is tried. */
enum { ZERO_PUNCH, ZERO_RANGE, ZERO_WRITE };

int engine_new(enum engine_kind kind, struct engine **ret_engine, struct err *err)
{
	if (kind != ENGINE_SYNC) {
		int r = engine_uring_new(ret_engine, err);

		if (r == 0 || kind == ENGINE_URING)
			return r;
	}
	return engine_sync_new(ret_engine, err);
}

void engine_init(struct engine *e, const struct backend *backend)
{
	e->backend = backend;
	e->fd = -1;
	e->last = &e->first;
}

void engine_free(struct engine *e)
{
	if (!e)
		return;
	assert(e->under_way == 0);
	free(e->files);
	e->backend->free(e);
}

const char *engine_name(const struct engine *e)
{
	return e->backend->name;
}

int engine_fd(const struct engine *e)
{
	return e->fd;
}

int engine_file(struct engine *e, int fd, struct err *err)
{
	if (e->n_files == e->max_files) {
		unsigned max = e->max_files ? 2 * e->max_files : 4;
		struct engine_file *files = realloc(e->files, max * sizeof(*files));

		if (!files)
			return err_sys(err, -ENOMEM, "disk engine");
		e->files = files;
		e->max_files = max;
	}
	e->files[e->n_files] = (struct engine_file){ .fd = fd };
	return (int)e->n_files++;
}

int engine_start(struct engine *e, struct err *err)
{
	return e->backend->start(e, err);
}

void engine_stop(struct engine *e)
{
	assert(e->under_way == 0);
	if (e->backend->stop)
		e->backend->stop(e);
}

unsigned engine_poll(struct engine *e)
{
	return e->backend->poll(e, false);
}

void engine_drain(struct engine *e)
{
	while (e->under_way > 0)
		e->backend->poll(e, true);
}

/* --- steps ----------------------------------------------------------------- */

static void enqueue(struct engine *e, struct disk_req *req)
{
	req->next = NULL;
	*e->last = req;
	e->last = &req->next;
}

void engine_submit(struct engine *e, unsigned file, struct disk_req *req)
{
	assert(file < e->n_files);
	req->file = file;
	req->at = 0;
	req->step = ZERO_PUNCH;
	e->under_way++;
	enqueue(e, req);
}

static void transfer_step(struct disk_req *req, struct step *s)
{
	uint64_t skip = req->at;
	unsigned i = 0;

	s->op = req->op == DISK_READ ? STEP_READ : STEP_WRITE;
	while (skip > 0 && skip >= req->iov[i].iov_len)
		skip -= req->iov[i++].iov_len;
	if (skip > 0) {
		req->rest.iov_base = (char *)req->iov[i].iov_base + skip;
		req->rest.iov_len = req->iov[i].iov_len - skip;
		s->iov = &req->rest;
		s->n_iov = 1;
		return;
	}
	/* Empty buffers may stand before the first that is not. */
	while (i + 1 < req->n_iov && req->iov[i].iov_len == 0)
		i++;
	s->iov = req->iov + i;
	s->n_iov = req->n_iov - i < IOV_MAX ? req->n_iov - i : IOV_MAX;
}

static const struct iovec *zero_buffers(struct disk_req *req, unsigned *ret_n)
{
	/* Only read from. */
	static const struct iovec many[ZEROES_COUNT] = {
		[0 ... ZEROES_COUNT - 1] = { (void *)(uintptr_t)zeroes, ZEROES_LEN },
	};
	uint64_t left = req->len - req->at;

	if (left >= ZEROES_LEN) {
		uint64_t n = left / ZEROES_LEN;

		*ret_n = n < ZEROES_COUNT ? (unsigned)n : ZEROES_COUNT;
		return many;
	}
	req->rest = many[0];
	req->rest.iov_len = left;
	*ret_n = 1;
	return &req->rest;
}

static void zero_step(const struct engine_file *f, struct disk_req *req, struct step *s)
{
	if (req->step == ZERO_PUNCH && (!req->unmap || f->no_punch))
		req->step = ZERO_RANGE;
	if (req->step == ZERO_RANGE && f->no_zero)
		req->step = ZERO_WRITE;
	if (req->step == ZERO_WRITE) {
		s->op = STEP_WRITE;
		s->iov = zero_buffers(req, &s->n_iov);
		return;
	}
	s->op = STEP_ALLOCATE;
	s->len = req->len;
	s->mode = FALLOC_FL_KEEP_SIZE |
		  (req->step == ZERO_PUNCH ? FALLOC_FL_PUNCH_HOLE
					   : FALLOC_FL_ZERO_RANGE);
}

struct disk_req *engine_next(struct engine *e, struct step *ret_step)
{
	struct disk_req *req = e->first;
	const struct engine_file *f;
	struct step *s = ret_step;

	if (!req)
		return NULL;
	e->first = req->next;
	if (!e->first)
		e->last = &e->first;
	f = &e->files[req->file];
	*s = (struct step){ .fd = f->fd, .file = req->file };
	s->off = req->off + req->at;
	switch (req->op) {
	case DISK_READ:
	case DISK_WRITE:
		transfer_step(req, s);
		break;
	case DISK_FLUSH:
		s->op = STEP_SYNC;
		break;
	case DISK_DISCARD:
		s->op = STEP_ALLOCATE;
		s->len = req->len;
		s->mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
		break;
	case DISK_ZERO:
		zero_step(f, req, s);
		break;
	}
	return req;
}

static void finish(struct engine *e, struct disk_req *req, int result)
{
	e->under_way--;
	e->finished++;
	req->done(req, result);
}

/* One more step is needed. */
static void again(struct engine *e, struct disk_req *req)
{
	if (e->cancelled)
		finish(e, req, -ECANCELED);
	else
		enqueue(e, req);
}

void engine_cancel(struct engine *e)
{
	struct disk_req *req;
	struct step unused;

	e->cancelled = true;
	while ((req = engine_next(e, &unused)))
		finish(e, req, -ECANCELED);
}

/* What fallocate() says where a file system or device has no such operation. */
static bool cannot(int64_t result)
{
	return result == -EOPNOTSUPP || result == -EINVAL || result == -ENOSYS ||
	       result == -ENODEV;
}

void engine_result(struct engine *e, struct disk_req *req, int64_t result)
{
	struct engine_file *f = &e->files[req->file];
	bool bytes = req->op == DISK_READ || req->op == DISK_WRITE ||
		     (req->op == DISK_ZERO && req->step == ZERO_WRITE);

	if (bytes && result >= 0) {
		req->at += (uint64_t)result;
		if (req->at >= req->len)
			finish(e, req, 0);
		else if (result == 0) /* the file has shrunk */
			finish(e, req, -EIO);
		else
			again(e, req);
		return;
	}
	/* -EINVAL may be this range's: it is no reason not to try the next one. */
	if (req->op == DISK_DISCARD && cannot(result)) {
		result = 0;
	} else if (req->op == DISK_ZERO && !bytes && cannot(result)) {
		if (result != -EINVAL)
			*(req->step == ZERO_PUNCH ? &f->no_punch : &f->no_zero) = true;
		req->step++;
		again(e, req);
		return;
	}
	finish(e, req, (int)result);
}
