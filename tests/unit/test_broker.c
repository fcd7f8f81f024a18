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

#include "base/connector.h"

struct env {
	char dir[32], path[64], served[80];
	char second[64]; /* another name that it removes */
	int listener, second_listener, server; /* at PATH, at @second and at PATH_7 */
	struct unix_name server_name;
	struct broker broker;
	int fd; /* the device's */
};

static int listen_at(const char *path, struct unix_name *ret_name)
{
	struct err err;
	int fd = unix_listen("socket", path, SOCK_STREAM, ret_name, &err);

	if (fd < 0)
		fail_msg("%s", err.msg);
	return fd;
}

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	struct unix_name name;
	struct err err;

	strcpy(e->dir, "/tmp/test_broker.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->path, sizeof(e->path), "%s/s", e->dir);
	snprintf(e->served, sizeof(e->served), "%s_7", e->path);
	snprintf(e->second, sizeof(e->second), "%s/second", e->dir);
	broker_init(&e->broker);
	e->server = listen_at(e->served, &e->server_name);
	e->listener = listen_at(e->path, &name);
	broker_add_name(&e->broker, &name);
	e->second_listener = listen_at(e->second, &name);
	broker_add_name(&e->broker, &name);
	assert_int_equal(broker_connector(&e->broker, e->path, &e->fd, &err), 0);
	if (broker_start(&e->broker, true, &err) < 0)
		fail_msg("%s", err.msg);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	if (e->fd >= 0)
		close(e->fd);
	broker_free(&e->broker);
	close(e->listener);
	close(e->second_listener);
	close(e->server);
	unix_remove(&e->server_name);
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

/* Nobody holds its channel any more. */
static void end_vm(struct env *e)
{
	close(e->fd);
	close(e->broker.fd);
	e->fd = e->broker.fd = -1;
}

/* Its exit status, now that it ends. */
static int status_of(struct env *e)
{
	int status;

	assert_int_equal(waitpid(e->broker.pid, &status, 0), e->broker.pid);
	e->broker.pid = 0;
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
	theirs = accept(e->server, NULL, NULL);
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
	close(e->server);
	e->server = -1;
	assert_int_equal(connector_ask(e->fd, 7, 7), 0);
	assert_int_equal(answer(e, 7), -ECONNREFUSED);
}

static void it_ends_with_the_vm_and_removes_the_socket(void **state)
{
	struct env *e = *state;

	/* Signals of a terminal are not meant for it. */
	kill(e->broker.pid, SIGINT);
	kill(e->broker.pid, SIGTERM);
	assert_int_equal(connector_ask(e->fd, 1, 8), 0);
	assert_int_equal(answer(e, 1), -ENOENT);
	end_vm(e);
	assert_int_equal(status_of(e), 0);
	assert_int_equal(access(e->path, F_OK), -1);
	assert_int_equal(access(e->second, F_OK), -1);
	assert_int_equal(access(e->served, F_OK), 0);
}

static void it_leaves_a_socket_that_is_not_the_vms_any_more(void **state)
{
	struct env *e = *state;
	struct unix_name name;

	close(e->listener);
	usleep(20000); /* so that the next one is younger */
	e->listener = listen_at(e->path, &name);
	end_vm(e);
	assert_int_equal(status_of(e), 0);
	assert_int_equal(access(e->path, F_OK), 0);
	assert_int_equal(access(e->second, F_OK), -1);
	unix_remove(&name);
}

static void a_request_of_another_shape_ends_it(void **state)
{
	struct env *e = *state;

	assert_int_equal(send(e->fd, "short", 5, 0), 5);
	assert_int_equal(status_of(e), 0);
	assert_int_equal(connector_ask(e->fd, 1, 7), -EPIPE);
}

/* When the VM does not come to be. */
static void free_waits_until_the_sockets_are_gone(void **state)
{
	struct env *e = *state;

	close(e->fd);
	e->fd = -1;
	broker_free(&e->broker);
	assert_int_equal(access(e->path, F_OK), -1);
	assert_int_equal(access(e->second, F_OK), -1);
}

static void without_a_process_free_removes_the_sockets(void **state)
{
	struct broker b;
	struct unix_name name;
	char path[64];
	int fd;

	(void)state;
	strcpy(path, "/tmp/test_broker.XXXXXX");
	assert_non_null(mkdtemp(path));
	strcat(path, "/s");
	broker_init(&b);
	fd = listen_at(path, &name);
	broker_add_name(&b, &name);
	assert_int_equal(name.dir_fd, -1);
	broker_free(&b);
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
}

static void with_nothing_to_do_there_is_none(void **state)
{
	struct unix_name inherited = { .dir_fd = -1 };
	struct broker b;
	struct err err;

	(void)state;
	broker_init(&b);
	broker_add_name(&b, &inherited);
	assert_int_equal(broker_start(&b, true, &err), 0);
	assert_int_equal(b.pid, 0);
}

/* A VM without a vsock has a channel, too. */
static void without_a_prefix_it_connects_to_nothing(void **state)
{
	struct env *e = *state;
	struct unix_name name;
	struct broker b;
	struct err err;
	uint64_t id;
	int sock, fd;

	broker_init(&b);
	close(e->listener);
	e->listener = listen_at(e->path, &name);
	broker_add_name(&b, &name);
	assert_int_equal(chdir(e->dir), 0);
	fd = listen_at("_7", &name);
	assert_int_equal(broker_start(&b, true, &err), 0);
	assert_int_equal(connector_ask(b.fd, 1, 7), 0);
	assert_int_equal(poll(&(struct pollfd){ b.fd, POLLIN, 0 }, 1, 10000), 1);
	assert_int_equal(connector_hear(b.fd, &id, &sock), 1);
	assert_int_equal(sock, -ECONNREFUSED);
	assert_int_equal(chdir("/"), 0);
	close(fd);
	unix_remove(&name);
	broker_free(&b);
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
		TEST(free_waits_until_the_sockets_are_gone),
		TEST(without_a_prefix_it_connects_to_nothing),
		cmocka_unit_test(without_a_process_free_removes_the_sockets),
		cmocka_unit_test(with_nothing_to_do_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
