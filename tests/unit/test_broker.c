/* The broker, in its jail, with a device's end of the connector. */
#include "vmm/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/listen.h"
#include "devices/connector.h"

struct env {
	char dir[32], path[64], served[80];
	struct listener made, server; /* at PATH, and at PATH_7 */
	pid_t pid;
	int fd;
};

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	struct broker_cfg cfg = { .prefix = e->path, .made = e->path, .jail = true };
	struct err err;

	strcpy(e->dir, "/tmp/test_broker.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->path, sizeof(e->path), "%s/s", e->dir);
	snprintf(e->served, sizeof(e->served), "%s_7", e->path);
	assert_int_equal(listen_unix("socket", e->path, &e->made, &err), 0);
	assert_int_equal(listen_unix("socket", e->served, &e->server, &err), 0);
	if (broker_start(&cfg, &e->pid, &e->fd, &err) < 0)
		fail_msg("%s", err.msg);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	if (e->fd >= 0)
		close(e->fd);
	close(e->made.fd);
	close(e->server.fd);
	unlink(e->served);
	unlink(e->path);
	assert_int_equal(rmdir(e->dir), 0);
	free(e);
	return 0;
}

/* The answer to request @id: a socket, or -errno. */
static int answer(struct env *e, uint64_t id)
{
	struct pollfd p = { .fd = e->fd, .events = POLLIN };
	uint64_t got;
	int sock;

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(connector_hear(e->fd, &got, &sock), 1);
	assert_int_equal(got, id);
	return sock;
}

/* Its exit status, now that it ends. */
static int status_of(struct env *e)
{
	int status;

	assert_int_equal(waitpid(e->pid, &status, 0), e->pid);
	return status;
}

static void it_connects_to_a_port(void **state)
{
	struct env *e = *state;
	int ours, theirs;
	char c = 0;

	assert_int_equal(connector_ask(e->fd, 1ull << 40 | 3, 7), 0);
	ours = answer(e, 1ull << 40 | 3);
	assert_true(ours >= 0);
	theirs = accept(e->server.fd, NULL, NULL);
	assert_int_equal(write(ours, "x", 1), 1);
	assert_int_equal(read(theirs, &c, 1), 1);
	assert_int_equal(c, 'x');
	assert_int_equal(fcntl(ours, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(ours, F_GETFL) & O_NONBLOCK);
	/* The broker has kept nothing of it. */
	close(ours);
	assert_int_equal(read(theirs, &c, 1), 0);
	close(theirs);
}

static void it_says_why_not(void **state)
{
	struct env *e = *state;

	assert_int_equal(connector_ask(e->fd, 5, 8), 0);
	assert_int_equal(connector_ask(e->fd, 6, UINT32_MAX), 0);
	assert_int_equal(answer(e, 5), -ENOENT);
	assert_int_equal(answer(e, 6), -ENOENT);
	close(e->server.fd);
	e->server.fd = -1;
	assert_int_equal(connector_ask(e->fd, 7, 7), 0);
	assert_int_equal(answer(e, 7), -ECONNREFUSED);
}

static void it_ends_with_the_vm_and_removes_the_socket(void **state)
{
	struct env *e = *state;

	/* Signals of a terminal are not meant for it. */
	kill(e->pid, SIGINT);
	kill(e->pid, SIGTERM);
	assert_int_equal(connector_ask(e->fd, 1, 8), 0);
	assert_int_equal(answer(e, 1), -ENOENT);
	close(e->fd);
	e->fd = -1;
	assert_int_equal(status_of(e), 0);
	assert_int_equal(access(e->path, F_OK), -1);
	assert_int_equal(access(e->served, F_OK), 0);
}

static void it_leaves_a_socket_that_is_not_the_vms_any_more(void **state)
{
	struct env *e = *state;
	struct err err;

	close(e->made.fd);
	assert_int_equal(listen_unix("socket", e->path, &e->made, &err), 0);
	close(e->fd);
	e->fd = -1;
	assert_int_equal(status_of(e), 0);
	assert_int_equal(access(e->path, F_OK), 0);
}

static void a_request_of_another_shape_ends_it(void **state)
{
	struct env *e = *state;

	assert_int_equal(send(e->fd, "short", 5, 0), 5);
	assert_int_equal(status_of(e), 0);
	assert_int_equal(connector_ask(e->fd, 1, 7), -EPIPE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_connects_to_a_port),
		TEST(it_says_why_not),
		TEST(it_ends_with_the_vm_and_removes_the_socket),
		TEST(it_leaves_a_socket_that_is_not_the_vms_any_more),
		TEST(a_request_of_another_shape_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
