/*
 * The engine for hosts that refuse io_uring: the worker waits for each request.
 * A few at a time, so that it looks at its other work in between.
 *
 * System calls: preadv, pwritev, fdatasync, fallocate, and write for the eventfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disk/engine_impl.h"

#define STEPS_AT_ONCE 16

static int64_t one_call(const struct step *s)
{
	off_t off = (off_t)s->off;
	int64_t r = 0;

	switch (s->op) {
	case STEP_READ:
		r = preadv(s->fd, s->iov, (int)s->n_iov, off);
		break;
	case STEP_WRITE:
		r = pwritev(s->fd, s->iov, (int)s->n_iov, off);
		break;
	case STEP_SYNC:
		r = fdatasync(s->fd);
		break;
	case STEP_ALLOCATE:
		r = fallocate(s->fd, s->mode, off, (off_t)s->len);
		break;
	}
	return r < 0 ? -errno : r;
}

int64_t engine_step(const struct step *step)
{
	int64_t r;

	do
		r = one_call(step);
	while (r == -EINTR);
	return r;
}

static int sync_start(struct engine *e, struct err *err)
{
	(void)e, (void)err;
	return 0;
}

static unsigned sync_poll(struct engine *e, bool wait)
{
	unsigned before = e->finished;
	struct disk_req *req;
	struct step step;

	for (unsigned i = 0; i < STEPS_AT_ONCE || wait; i++) {
		req = engine_next(e, &step);
		if (!req)
			break;
		engine_result(e, req, engine_step(&step));
	}
	if (e->first)
		(void)eventfd_write(e->fd, 1);
	return e->finished - before;
}

static void sync_free(struct engine *e)
{
	cleanup_close(&e->fd);
	free(e);
}

static const struct backend sync_backend = {
	.name = "sync",
	.start = sync_start,
	.poll = sync_poll,
	.free = sync_free,
};

int engine_sync_new(struct engine **ret_engine, struct err *err)
{
	struct engine *e = calloc(1, sizeof(*e));
	int fd;

	if (!e)
		return err_sys(err, -ENOMEM, "disk engine");
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0) {
		free(e);
		return err_sys(err, -errno, "disk engine");
	}
	engine_init(e, &sync_backend);
	e->fd = fd;
	*ret_engine = e;
	return 0;
}
