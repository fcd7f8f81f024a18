/* Both kinds of engine: many requests at once, and what a ring lets through. */
#include "disk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "disk/raw.h"
#include "tests/unit/disk_io.h"

#define SIZE (4u << 20)
#define BLOCK 1024u
#define BLOCKS (SIZE / BLOCK)

static enum engine_kind kind;

struct env {
	int fd;
	unsigned char *map;
	struct disk *disk;
};

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	char path[32];
	struct disk_cfg cfg = { .path = path, .sparse = true };

	e->fd = memfd_create("image", 0);
	assert_int_equal(ftruncate(e->fd, SIZE), 0);
	e->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", e->fd);
	assert_int_equal(raw_open(&cfg, &e->disk, NULL), 0);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	if (io_engine)
		io_close(e->disk);
	munmap(e->map, SIZE);
	close(e->fd);
	free(e);
	return 0;
}

/* --- many requests --------------------------------------------------------- */

struct job {
	struct disk_req req; /* first */
	struct env *env;
	struct iovec iov[3];
	unsigned char data[BLOCK];
	unsigned again; /* submit it so many more times when it is done */
	unsigned done;
};

static unsigned n_done, n_failed;

static void submit(struct job *j)
{
	disk_submit(j->env->disk, &j->req);
}

static void on_done(struct disk_req *req, int result)
{
	struct job *j = (struct job *)req;

	n_done++;
	n_failed += result < 0;
	j->done++;
	if (j->again-- > 0)
		submit(j);
	else
		j->again = 0;
}

static struct job *make_jobs(struct env *e, enum disk_op op)
{
	struct job *jobs = calloc(BLOCKS, sizeof(*jobs));

	for (unsigned i = 0; i < BLOCKS; i++) {
		struct job *j = &jobs[i];

		j->env = e;
		j->iov[0] = (struct iovec){ j->data, 100 };
		j->iov[1] = (struct iovec){ j->data, 0 };
		j->iov[2] = (struct iovec){ j->data + 100, BLOCK - 100 };
		j->req = (struct disk_req){
			.op = op,
			.off = (uint64_t)i * BLOCK,
			.len = BLOCK,
			.iov = j->iov,
			.n_iov = 3,
			.done = on_done,
		};
		memset(j->data, (int)(i * 7 + 1), BLOCK);
	}
	n_done = n_failed = 0;
	return jobs;
}

static void more_than_fit_are_all_done_once(void **state)
{
	struct env *e = *state;
	struct job *jobs;

	io_attach(e->disk, kind);
	jobs = make_jobs(e, DISK_WRITE);
	for (unsigned i = 0; i < BLOCKS; i++)
		submit(&jobs[i]);
	assert_int_equal(n_done, 0); /* they are taken only */
	engine_drain(io_engine);
	assert_int_equal(n_done, BLOCKS);
	assert_int_equal(n_failed, 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		assert_int_equal(jobs[i].done, 1);
		assert_memory_equal(e->map + i * BLOCK, jobs[i].data, BLOCK);
	}
	free(jobs);
}

static void requests_that_lead_to_requests_are_done(void **state)
{
	struct env *e = *state;
	struct job *jobs;

	io_attach(e->disk, kind);
	for (unsigned i = 0; i < SIZE; i++)
		e->map[i] = (unsigned char)(i / BLOCK * 3);
	jobs = make_jobs(e, DISK_READ);
	for (unsigned i = 0; i < 300; i++) {
		jobs[i].again = 20;
		submit(&jobs[i]);
	}
	engine_drain(io_engine);
	assert_int_equal(n_done, 300 * 21);
	assert_int_equal(n_failed, 0);
	for (unsigned i = 0; i < 300; i++)
		assert_memory_equal(e->map + i * BLOCK, jobs[i].data, BLOCK);
	free(jobs);
}

/* As the device's thread does it: poll the fd, never wait in the engine. */
static void the_fd_tells_when_there_is_something_to_do(void **state)
{
	struct env *e = *state;
	struct pollfd p = { .events = POLLIN };
	struct job *jobs;
	eventfd_t n;

	io_attach(e->disk, kind);
	p.fd = engine_fd(io_engine);
	assert_int_equal(poll(&p, 1, 0), 0);
	jobs = make_jobs(e, DISK_WRITE);
	for (unsigned i = 0; i < 2000; i++) {
		jobs[i].again = i % 3;
		submit(&jobs[i]);
	}
	engine_poll(io_engine);
	while (n_done < 3999) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(eventfd_read(p.fd, &n), 0);
		engine_poll(io_engine);
	}
	engine_drain(io_engine);
	assert_int_equal(n_done, 3999);
	free(jobs);
}

static void errors_are_those_of_their_requests(void **state)
{
	struct env *e = *state;
	struct job *jobs;

	io_attach(e->disk, kind);
	assert_int_equal(ftruncate(e->fd, SIZE / 2), 0);
	jobs = make_jobs(e, DISK_READ);
	for (unsigned i = 0; i < BLOCKS; i++)
		submit(&jobs[i]);
	engine_drain(io_engine);
	assert_int_equal(n_done, BLOCKS);
	assert_int_equal(n_failed, BLOCKS / 2);
	assert_int_equal(ftruncate(e->fd, SIZE), 0);
	free(jobs);
}

/* --- the kinds ------------------------------------------------------------- */

static void the_kind_is_what_was_asked_for(void **state)
{
	struct env *e = *state;

	io_attach(e->disk, kind);
	assert_string_equal(engine_name(io_engine),
			    kind == ENGINE_URING ? "io_uring" : "sync");
}

/* No fd left stands for all the ways in which a host refuses a ring. */
static void a_host_without_rings_is_served_by_system_calls(void **state)
{
	struct env *e = *state;
	struct engine *engine = NULL;
	struct rlimit old, none;
	struct err err;
	int uring, other;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	uring = engine_new(ENGINE_URING, &engine, &err);
	other = engine_new(ENGINE_AUTO, &engine, NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(uring < 0);
	assert_non_null(strstr(err.msg, "io_uring"));
	assert_true(other < 0); /* an eventfd was not to be had either */
	assert_null(engine);
	disk_close(e->disk);
}

/* What a thread that was taken over might try with its ring. */
static int64_t try(struct io_uring *ring, void (*prepare)(struct io_uring_sqe *, int),
		   int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int64_t r;

	assert_non_null(sqe);
	prepare(sqe, fd);
	assert_true(io_uring_submit_and_wait(ring, 1) >= 0);
	assert_int_equal(io_uring_peek_cqe(ring, &cqe), 0);
	r = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return r;
}

static char buffer[16];

static void read_fixed(struct io_uring_sqe *sqe, int fd)
{
	(void)fd;
	io_uring_prep_read(sqe, 0, buffer, 16, 0);
	sqe->flags = IOSQE_FIXED_FILE;
}

static void read_any(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_read(sqe, fd, buffer, 16, 0);
}

static void read_linked(struct io_uring_sqe *sqe, int fd)
{
	read_fixed(sqe, fd);
	sqe->flags |= IOSQE_IO_LINK;
}

static void open_path(struct io_uring_sqe *sqe, int fd)
{
	(void)fd;
	io_uring_prep_openat(sqe, AT_FDCWD, "/dev/null", O_RDONLY, 0);
}

static void receive(struct io_uring_sqe *sqe, int fd)
{
	(void)fd;
	io_uring_prep_recv(sqe, 0, buffer, 16, 0);
	sqe->flags = IOSQE_FIXED_FILE;
}

static int find_ring(void)
{
	char path[32], target[64] = "";

	for (int fd = 0; fd < 100; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof(target) - 1) > 0 &&
		    strstr(target, "[io_uring]"))
			return fd;
	}
	return -1;
}

static void a_ring_takes_nothing_but_disk_requests(void **state)
{
	struct env *e = *state;
	struct io_uring_params p = { 0 };
	struct io_uring other, ring;
	int fd, ring_fd, more;

	io_attach(e->disk, ENGINE_URING);
	ring_fd = find_ring();
	/* The rings lie where they lie in any ring of that size. */
	assert_int_equal(io_uring_queue_init_params(256, &other, &p), 0);
	assert_int_equal(io_uring_queue_mmap(ring_fd, &p, &ring), 0);
	io_uring_queue_exit(&other);
	fd = dup(e->fd);
	assert_int_equal(try(&ring, read_fixed, fd), 16);
	assert_int_equal(try(&ring, read_any, fd), -EACCES);
	assert_int_equal(try(&ring, read_linked, fd), -EACCES);
	assert_int_equal(try(&ring, open_path, fd), -EACCES);
	assert_int_equal(try(&ring, receive, fd), -EACCES);
	more = io_uring_register_files_update(&ring, 0, &fd, 1);
	assert_int_equal(more, -EACCES);
	assert_int_equal(
		syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_PROBE, NULL, 0),
		-1);
	assert_int_equal(errno, EACCES);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest both[] = {
		TEST(more_than_fit_are_all_done_once),
		TEST(requests_that_lead_to_requests_are_done),
		TEST(the_fd_tells_when_there_is_something_to_do),
		TEST(errors_are_those_of_their_requests),
		TEST(the_kind_is_what_was_asked_for),
	};
	const struct CMUnitTest one[] = {
		TEST(a_host_without_rings_is_served_by_system_calls),
		TEST(a_ring_takes_nothing_but_disk_requests),
	};
	int failed;

	kind = ENGINE_URING;
	failed = cmocka_run_group_tests(both, NULL, NULL);
	kind = ENGINE_SYNC;
	failed += cmocka_run_group_tests(both, NULL, NULL);
	return failed + cmocka_run_group_tests(one, NULL, NULL);
}
