/*
 * The io_uring engine; see engine.h and engine_impl.h.
 *
 * The ring is made disabled and enabled for good by the thread that uses it. It
 * takes only the operations below, only on registered files, and no other files: a
 * thread that was taken over gains nothing from it.
 *
 * What a ring refuses for want of a worker (-ECANCELED, where the user may have no
 * more processes) or because the file was inherited non-blocking (-EAGAIN) is done
 * by a system call instead.
 */
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "disk/engine_impl.h"

/* At most so many are in the ring; the others wait in the engine's queue. */
#define ENTRIES 256u

/* A few rounds of finding more to do, then the loop has its turn. */
#define ROUNDS 4

struct uring {
	struct engine e; /* first */
	struct io_uring ring;
	unsigned in_ring; /* taken by the ring, result not seen yet */
	struct slot *free;
	struct slot {
		struct disk_req *req;
		struct slot *next;
		struct step step;
	} slots[ENTRIES];
};

static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction r[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
		/* Neither descriptors of the process, nor links, drains, buffers. */
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		  .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
		  .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_FILES },
	};

	return io_uring_register_restrictions(ring, r, ARRAY_SIZE(r));
}

static int uring_start(struct engine *e, struct err *err)
{
	struct uring *u = (struct uring *)e;
	int *fds = calloc(e->n_files, sizeof(*fds)), r = 0;

	if (!fds && e->n_files)
		return err_sys(err, -ENOMEM, "io_uring");
	for (unsigned i = 0; i < e->n_files; i++)
		fds[i] = e->files[i].fd;
	if (e->n_files)
		r = io_uring_register_files(&u->ring, fds, e->n_files);
	free(fds);
	if (r == 0)
		r = restrict_ring(&u->ring);
	if (r == 0)
		r = io_uring_register_eventfd(&u->ring, e->fd);
	if (r == 0)
		r = io_uring_enable_rings(&u->ring);
	return r < 0 ? err_sys(err, r, "io_uring") : 0;
}

static void uring_stop(struct engine *e)
{
	struct uring *u = (struct uring *)e;

	if (e->n_files)
		(void)io_uring_unregister_files(&u->ring);
}

static void prepare(struct io_uring_sqe *sqe, const struct step *s)
{
	int file = (int)s->file;
	unsigned len;

	switch (s->op) {
	case STEP_READ:
	case STEP_WRITE:
		if (s->n_iov > 1) {
			if (s->op == STEP_READ)
				io_uring_prep_readv(sqe, file, s->iov, s->n_iov,
						    s->off);
			else
				io_uring_prep_writev(sqe, file, s->iov, s->n_iov,
						     s->off);
			break;
		}
		/* One buffer needs no vector for the kernel to copy. The rest is
		 * continued, as after any short transfer. */
		len = s->iov->iov_len < 1u << 30 ? (unsigned)s->iov->iov_len : 1u << 30;
		if (s->op == STEP_READ)
			io_uring_prep_read(sqe, file, s->iov->iov_base, len, s->off);
		else
			io_uring_prep_write(sqe, file, s->iov->iov_base, len, s->off);
		break;
	case STEP_SYNC:
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		break;
	case STEP_ALLOCATE:
		io_uring_prep_fallocate(sqe, file, s->mode, (off_t)s->off,
					(off_t)s->len);
		break;
	}
	sqe->flags = IOSQE_FIXED_FILE;
}

/* Move what waits into the ring, as far as there is room. */
static void fill(struct uring *u)
{
	while (u->free && u->e.first) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
		struct slot *slot = u->free;

		if (!sqe)
			return;
		u->free = slot->next;
		slot->req = engine_next(&u->e, &slot->step);
		prepare(sqe, &slot->step);
		io_uring_sqe_set_data(sqe, slot);
	}
}

/* Hand over what is in the ring, and wait for @wait completions. */
static void enter(struct uring *u, unsigned wait)
{
	for (;;) {
		unsigned waiting = io_uring_sq_ready(&u->ring);
		int r;

		if (wait)
			r = io_uring_submit_and_wait(&u->ring, wait);
		else if (waiting)
			r = io_uring_submit_and_get_events(&u->ring);
		else
			return;
		u->in_ring += waiting - io_uring_sq_ready(&u->ring);
		/*
		 * -EAGAIN (no memory) and -EBUSY pass; completions bring us back to
		 * what was left, if there will be any.
		 */
		if (r >= 0 || u->in_ring > 0 || !io_uring_sq_ready(&u->ring))
			return;
		sched_yield();
	}
}

static void reap(struct uring *u)
{
	struct io_uring_cqe *cqes[32];
	unsigned n;

	/* This also enters the kernel where it holds completions back for us. */
	while ((n = io_uring_peek_batch_cqe(&u->ring, cqes, ARRAY_SIZE(cqes))) > 0) {
		for (unsigned i = 0; i < n; i++) {
			struct slot *slot = io_uring_cqe_get_data(cqes[i]);
			struct disk_req *req = slot->req;
			int64_t result = cqes[i]->res;

			if (result == -ECANCELED || result == -EAGAIN ||
			    result == -EINTR)
				result = engine_step(&slot->step);
			slot->next = u->free;
			u->free = slot;
			u->in_ring--;
			engine_result(&u->e, req, result);
		}
		io_uring_cq_advance(&u->ring, n);
	}
}

/* Whether completions are there, or in the kernel for us to fetch. */
static bool has_completions(struct uring *u)
{
	unsigned flags = __atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED);

	return io_uring_cq_ready(&u->ring) > 0 ||
	       (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static unsigned uring_poll(struct engine *e, bool wait)
{
	struct uring *u = (struct uring *)e;
	unsigned before = e->finished;

	io_uring_cq_eventfd_toggle(&u->ring, false);
	/* Completions make more: continued transfers, what done() submits. */
	for (unsigned i = 0; i < ROUNDS; i++) {
		fill(u);
		enter(u, wait && i == 0);
		reap(u);
		if (!e->first || !u->free)
			break;
	}
	fill(u);
	enter(u, 0);
	io_uring_cq_eventfd_toggle(&u->ring, true);
	/* Either we see what came meanwhile, or the kernel sees our wish. */
	__sync_synchronize();
	if (has_completions(u))
		(void)eventfd_write(e->fd, 1);
	return e->finished - before;
}

static void uring_free(struct engine *e)
{
	struct uring *u = (struct uring *)e;

	io_uring_queue_exit(&u->ring);
	cleanup_close(&e->fd);
	free(u);
}

static const struct backend uring_backend = {
	.name = "io_uring",
	.start = uring_start,
	.stop = uring_stop,
	.poll = uring_poll,
	.free = uring_free,
};

int engine_uring_new(struct engine **ret_engine, struct err *err)
{
	/* The best that the kernel has: Linux 6.1, 5.19, 5.10. */
	static const unsigned flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
			IORING_SETUP_SUBMIT_ALL,
		0,
	};
	struct uring *u = calloc(1, sizeof(*u));
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r = -EINVAL;

	if (fd < 0)
		r = -errno;
	if (!u)
		r = -ENOMEM;
	for (unsigned i = 0; i < ARRAY_SIZE(flags) && r == -EINVAL; i++) {
		struct io_uring_params p = { .flags = flags[i] |
						      IORING_SETUP_R_DISABLED };

		r = io_uring_queue_init_params(ENTRIES, &u->ring, &p);
	}
	if (r < 0) {
		cleanup_close(&fd);
		free(u);
		return err_sys(err, r, "io_uring");
	}
	engine_init(&u->e, &uring_backend);
	u->e.fd = fd;
	for (unsigned i = 0; i < ENTRIES; i++) {
		u->slots[i].next = u->free;
		u->free = &u->slots[i];
	}
	*ret_engine = &u->e;
	return 0;
}
