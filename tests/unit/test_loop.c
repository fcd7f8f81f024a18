/* base/loop.c */
#include "base/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

struct seen {
	struct loop *loop;
	struct loop_watch *watch, *other;
	int calls;
	uint32_t events;
};

static void count(void *arg, uint32_t events)
{
	struct seen *s = arg;

	s->calls++;
	s->events = events;
}

static void count_and_stop(void *arg, uint32_t events)
{
	struct seen *s = arg;

	count(arg, events);
	loop_stop(s->loop);
}

static void remove_both(void *arg, uint32_t events)
{
	struct seen *s = arg;

	count(arg, events);
	loop_del(s->watch);
	loop_del(s->other);
}

static void pause_both(void *arg, uint32_t events)
{
	struct seen *s = arg;

	count(arg, events);
	loop_set(s->watch, 0);
	loop_set(s->other, 0);
}

static int setup(void **state)
{
	return loop_new((struct loop **)state, NULL);
}

static int teardown(void **state)
{
	loop_free(*state);
	return 0;
}

static void watch_is_called_while_ready(void **state)
{
	struct loop *loop = *state;
	struct seen s = { .loop = loop };
	int fd = eventfd(1, 0);

	assert_int_equal(loop_add(loop, fd, EPOLLIN, count, &s, &s.watch, NULL), 0);
	assert_int_equal(loop_poll(loop), 1);
	assert_int_equal(loop_poll(loop), 1);
	assert_int_equal(s.calls, 2);
	assert_int_equal(s.events, EPOLLIN);
	loop_del(s.watch);
	assert_int_equal(loop_poll(loop), 0);
	close(fd);
}

static void run_ends_at_stop(void **state)
{
	struct loop *loop = *state;
	struct seen s = { .loop = loop };
	int fd = eventfd(1, 0);

	assert_int_equal(loop_add(loop, fd, EPOLLIN, count_and_stop, &s, NULL, NULL),
			 0);
	assert_int_equal(loop_run(loop, NULL), 0);
	assert_true(s.calls >= 1);
	/* And again. */
	s.calls = 0;
	assert_int_equal(loop_run(loop, NULL), 0);
	assert_true(s.calls >= 1);
	close(fd);
}

static void stop_before_run_counts(void **state)
{
	loop_stop(*state);
	assert_int_equal(loop_run(*state, NULL), 0);
}

static void hang_up_does_not_wake_a_paused_watch(void **state)
{
	struct loop *loop = *state;
	struct seen s = { .loop = loop };
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(loop_add(loop, p[0], 0, count, &s, &s.watch, NULL), 0);
	close(p[1]);
	assert_int_equal(loop_poll(loop), 0);
	loop_set(s.watch, EPOLLIN);
	assert_int_equal(loop_poll(loop), 1);
	assert_true(s.events & EPOLLHUP);
	loop_set(s.watch, 0);
	loop_set(s.watch, 0);
	assert_int_equal(loop_poll(loop), 0);
	assert_int_equal(s.calls, 1);
	close(p[0]);
}

static void callback_may_remove_others_of_its_batch(void **state)
{
	struct loop *loop = *state;
	struct seen s = { .loop = loop };
	int a = eventfd(1, 0), b = eventfd(1, 0);

	assert_int_equal(loop_add(loop, a, EPOLLIN, remove_both, &s, &s.watch, NULL),
			 0);
	assert_int_equal(loop_add(loop, b, EPOLLIN, remove_both, &s, &s.other, NULL),
			 0);
	assert_int_equal(loop_poll(loop), 2);
	assert_int_equal(s.calls, 1);
	assert_int_equal(loop_poll(loop), 0);
	close(a);
	close(b);
}

static void callback_may_pause_others_of_its_batch(void **state)
{
	struct loop *loop = *state;
	struct seen s = { .loop = loop };
	int a = eventfd(1, 0), b = eventfd(1, 0);

	assert_int_equal(loop_add(loop, a, EPOLLIN, pause_both, &s, &s.watch, NULL), 0);
	assert_int_equal(loop_add(loop, b, EPOLLIN, pause_both, &s, &s.other, NULL), 0);
	assert_int_equal(loop_poll(loop), 2);
	assert_int_equal(s.calls, 1);
	assert_int_equal(loop_poll(loop), 0);
	close(a);
	close(b);
}

static void regular_file_cannot_be_watched(void **state)
{
	char path[] = "/tmp/test_loop.XXXXXX";
	struct seen s = { 0 };
	struct err err;
	int fd = mkstemp(path);

	unlink(path);
	assert_int_equal(loop_add(*state, fd, EPOLLIN, count, &s, &s.watch, &err),
			 -EPERM);
	assert_null(s.watch);
	assert_int_equal(loop_add(*state, fd, 0, count, &s, &s.watch, &err), -EPERM);
	close(fd);
}

static void bad_fd_is_an_error(void **state)
{
	struct err err;

	assert_int_equal(loop_add(*state, 9999, EPOLLIN, count, NULL, NULL, &err),
			 -EBADF);
	assert_string_equal(err.msg, "cannot watch fd 9999: Bad file descriptor");
}

static void nothing_is_freed_twice(void **state)
{
	(void)state;
	loop_del(NULL);
	loop_free(NULL);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(watch_is_called_while_ready),
		LOOP_TEST(run_ends_at_stop),
		LOOP_TEST(stop_before_run_counts),
		LOOP_TEST(hang_up_does_not_wake_a_paused_watch),
		LOOP_TEST(callback_may_remove_others_of_its_batch),
		LOOP_TEST(callback_may_pause_others_of_its_batch),
		LOOP_TEST(regular_file_cannot_be_watched),
		LOOP_TEST(bad_fd_is_an_error),
		cmocka_unit_test(nothing_is_freed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
