/* vmm/status.c: the status object arrives, or vmm goes on without */
#include "vmm/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE (1 << 20) /* more than any pipe holds */

static char *large_text(void)
{
	char *text = malloc(LARGE + 1);

	assert_non_null(text);
	memset(text, 'x', LARGE);
	text[LARGE] = '\0';
	return text;
}

static void number_is_an_inherited_descriptor(void **state)
{
	char where[16], got[8] = "";
	struct err err;
	int p[2], fd;

	(void)state;
	assert_int_equal(pipe(p), 0);
	snprintf(where, sizeof(where), "%d", p[1]);
	fd = status_open(where, &err);
	assert_true(fd >= 0 && fd != p[1]);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(status_write(fd, "object\n", &err), 0);
	assert_int_equal(read(p[0], got, sizeof(got)), 7);
	assert_string_equal(got, "object\n");
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */
	close(p[0]);
	close(p[1]);
	fd = status_open(where, &err);
	assert_int_equal(fd, -EBADF);
	assert_non_null(strstr(err.msg, "status object"));
}

static void file_is_emptied_when_it_is_opened(void **state)
{
	char path[] = "/tmp/test_status.XXXXXX";
	int old = mkstemp(path), fd;
	struct err err;
	char got[8];

	(void)state;
	assert_int_equal(write(old, "something old", 13), 13);
	fd = status_open(path, &err);
	assert_true(fd >= 0);
	assert_int_equal(pread(old, got, sizeof(got), 0), 0);
	assert_int_equal(status_write(fd, "new", &err), 0);
	assert_int_equal(pread(old, got, sizeof(got), 0), 3);
	close(old);
	unlink(path);
}

static void reader_that_left_is_an_error(void **state)
{
	struct err err;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	close(p[0]);
	assert_int_equal(status_write(p[1], "object\n", &err), -EPIPE);
	assert_non_null(strstr(err.msg, "lost"));
}

static void *read_late(void *arg)
{
	static char buf[4096];
	size_t *got = arg;
	ssize_t n;
	int fd = (int)*got;

	*got = 0;
	usleep(300000); /* the writer has to wait by now */
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		*got += (size_t)n;
	return NULL;
}

static void slow_reader_gets_all(void **state)
{
	char *text = large_text();

	(void)state;
	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		struct err err;
		pthread_t t;
		size_t got;
		int p[2];

		assert_int_equal(pipe2(p, 0), 0);
		assert_int_equal(fcntl(p[1], F_SETFL, flags), 0);
		got = (size_t)p[0];
		assert_int_equal(pthread_create(&t, NULL, read_late, &got), 0);
		assert_int_equal(status_write(p[1], text, &err), 0);
		pthread_join(t, NULL);
		assert_int_equal(got, LARGE);
		close(p[0]);
	}
	free(text);
}

static void reader_that_does_not_read_is_given_up(void **state)
{
	char *text = large_text();
	struct err err;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_int_equal(status_write(p[1], text, &err), -ETIMEDOUT);
	close(p[0]);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(number_is_an_inherited_descriptor),
		cmocka_unit_test(file_is_emptied_when_it_is_opened),
		cmocka_unit_test(reader_that_left_is_an_error),
		cmocka_unit_test(slow_reader_gets_all),
		cmocka_unit_test(reader_that_does_not_read_is_given_up),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
