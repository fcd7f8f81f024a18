/*
 * A VM's sockets in its manager: with descriptors, where the test is vmm, honest or
 * taken over, and by vhost, where the kernel's part is played here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/connector.h"
#include "service/common/vm_config.h"
#include "service/virtmgr/vsock.h"
#include "service/virtmgr/vsock_backend.h"

#define CID 5000u

struct env {
	sd_event *event;
	struct vsock *vsock;
	int vmm; /* the end that was given to vmm */
	char arg[128]; /* and how */
	/* What the agent told, and what came of connecting. */
	unsigned told;
	int code;
	char text[256];
	unsigned done;
	int stream;
	struct err err;
};

static struct env *now;

/* --- in place of launch.c, sd-event's clock and the kernel ----------------------- */

struct launch {
	char unused;
};

int launch_fd(struct launch *l, int fd)
{
	(void)l;
	now->vmm = fd;
	return 7;
}

int launch_arg(struct launch *l, const char *fmt, ...)
{
	size_t len = strlen(now->arg);
	va_list ap;

	(void)l;
	va_start(ap, fmt);
	vsnprintf(now->arg + len, sizeof(now->arg) - len, fmt, ap);
	va_end(ap);
	return 0;
}

/* Seconds are milliseconds. */
int sd_event_add_time_relative(sd_event *e, sd_event_source **s, clockid_t clock,
			       uint64_t usec, uint64_t accuracy,
			       sd_event_time_handler_t callback, void *userdata)
{
	uint64_t t;

	assert_true(sd_event_now(e, clock, &t) >= 0);
	return sd_event_add_time(e, s, clock, t + usec / 1000, accuracy, callback,
				 userdata);
}

static struct {
	int in_use; /* errno of setting the CID */
	uint64_t cid;
	uint32_t listens_at; /* the port */
	unsigned peer; /* the CID of who connects */
	char address[108]; /* abstract, where AF_VSOCK is */
	int result; /* of connect() */
} kernel;

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request != VHOST_VSOCK_SET_GUEST_CID)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	kernel.cid = *(uint64_t *)arg;
	errno = kernel.in_use;
	return kernel.in_use ? -1 : 0;
}

int socket(int domain, int type, int protocol)
{
	return (int)syscall(SYS_socket, domain == AF_VSOCK ? AF_UNIX : domain, type,
			    protocol);
}

static struct sockaddr_un address(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "test_service_vsock.%d",
		 getpid());
	return addr;
}

int bind(int fd, const struct sockaddr *to, socklen_t len)
{
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)to;
	const struct sockaddr_un addr = address();

	if (to->sa_family != AF_VSOCK)
		return (int)syscall(SYS_bind, fd, to, len);
	assert_int_equal(vm->svm_cid, VMADDR_CID_HOST);
	kernel.listens_at = vm->svm_port;
	return (int)syscall(SYS_bind, fd, &addr, sizeof(addr));
}

/* The guest is a listener of the same address, since there is one of them only. */
int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	const struct sockaddr_vm *vm = (const struct sockaddr_vm *)to;
	const struct sockaddr_un addr = address();

	if (to->sa_family != AF_VSOCK)
		return (int)syscall(SYS_connect, fd, to, len);
	assert_int_equal(vm->svm_cid, CID);
	if (kernel.result) {
		errno = kernel.result;
		return -1;
	}
	return (int)syscall(SYS_connect, fd, &addr, sizeof(addr));
}

int getpeername(int fd, struct sockaddr *restrict to, socklen_t *restrict len)
{
	struct sockaddr_vm *vm = (struct sockaddr_vm *)to;

	(void)fd;
	assert_true(*len >= sizeof(*vm));
	*vm = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = kernel.peer };
	return 0;
}

/* --- helpers --------------------------------------------------------------------- */

static void on_payload(void *userdata, enum payload_event event, int32_t code,
		       const char *message)
{
	struct env *e = userdata;

	e->told |= 1u << event;
	e->code = code;
	snprintf(e->text, sizeof(e->text), "%s", message);
}

static const struct vsock_ops ops = { on_payload };

static void on_connected(void *arg, int fd, const struct err *err)
{
	struct env *e = arg;

	e->done++;
	e->stream = fd;
	e->err = fd < 0 ? *err : (struct err){ "" };
}

static void run(struct env *e)
{
	unsigned turns = 0;

	while (sd_event_run(e->event, 0) > 0)
		assert_true(turns++ < 100000); /* it must come to rest */
}

/* Until @done calls have ended, however long. */
static void run_until(struct env *e, unsigned done)
{
	while (e->done < done)
		assert_true(sd_event_run(e->event, UINT64_MAX) >= 0);
}

static void make(struct env *e, int mode)
{
	struct err err;

	if (vsock_new(e->event, mode, CID, &ops, e, &e->vsock, &err) < 0)
		fail_msg("%s", err.msg);
}

static void launch(struct env *e)
{
	struct launch l;
	struct err err;

	if (vsock_launch(e->vsock, &l, &err) < 0)
		fail_msg("%s", err.msg);
}

static int call(struct env *e, uint32_t port)
{
	return vsock_connect(e->vsock, port, on_connected, e, &e->err);
}

static void *new_env(void)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_true(sd_event_new(&e->event) >= 0);
	e->vmm = e->stream = -1;
	memset(&kernel, 0, sizeof(kernel));
	now = e;
	return e;
}

static int set_up_alone(void **state)
{
	*state = new_env();
	return 0;
}

static int set_up(void **state)
{
	struct env *e = new_env();

	make(e, VSOCK_UNIX);
	launch(e);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	vsock_free(e->vsock);
	sd_event_unref(e->event);
	cleanup_close(&e->vmm);
	free(e);
	return 0;
}

/* What the manager answers to vmm's request. */
static int asks(struct env *e, uint32_t port)
{
	const uint64_t id = CONNECTOR_FIRST_ID + 3;
	uint64_t got;
	int sock;

	assert_int_equal(connector_ask(e->vmm, id, port), 0);
	run(e);
	assert_int_equal(connector_hear(e->vmm, &got, &sock), 1);
	assert_int_equal(got, id);
	return sock;
}

/* The stream that the manager offers to vmm. */
static int offered(struct env *e, uint32_t port)
{
	uint64_t id;
	int sock;

	assert_int_equal(connector_hear(e->vmm, &id, &sock), 1);
	assert_int_equal(id, port);
	assert_true(sock >= 0);
	assert_true(fcntl(sock, F_GETFL) & O_NONBLOCK);
	return sock;
}

static void says(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void reads(int fd, const char *text)
{
	char buf[64] = "";

	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), strlen(text));
	assert_string_equal(buf, text);
}

static bool is_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* --- the unix backend ------------------------------------------------------------ */

static void vmm_is_told_of_its_descriptor(void **state)
{
	struct env *e = *state;

	assert_string_equal(vsock_kind(e->vsock), "unix");
	assert_string_equal(e->arg, "--vsockcid=5000,backend=unix,fd=7");
}

static void the_agent_is_heard(void **state)
{
	struct env *e = *state;
	int agent = asks(e, CID);

	assert_true(agent >= 0);
	says(agent, "started\nrea");
	run(e);
	assert_int_equal(e->told, 1u << PAYLOAD_STARTED);
	says(agent, "dy\nerror -7 no disk\n");
	run(e);
	assert_int_equal(e->told, 1u << PAYLOAD_STARTED | 1u << PAYLOAD_READY |
					  1u << PAYLOAD_ERROR);
	assert_int_equal(e->code, -7);
	assert_string_equal(e->text, "no disk");
	says(agent, "finished 3\n");
	run(e);
	assert_int_equal(e->code, 3);
	assert_false(is_closed(agent));
	says(agent, "finished?\n");
	run(e);
	assert_true(is_closed(agent));
	close(agent);
}

static void no_other_port_of_the_host_is_there(void **state)
{
	struct env *e = *state;
	const uint32_t ports[] = { 0, 1, 22, CID - 1, CID + 1, UINT32_MAX };

	for (size_t i = 0; i < 6; i++)
		assert_int_equal(asks(e, ports[i]), -ECONNREFUSED);
}

static void the_agent_has_a_few_streams(void **state)
{
	struct env *e = *state;
	int agents[4];

	for (int i = 0; i < 4; i++) {
		agents[i] = asks(e, CID);
		assert_true(agents[i] >= 0);
	}
	assert_int_equal(asks(e, CID), -ECONNREFUSED);
	close(agents[1]);
	run(e);
	agents[1] = asks(e, CID);
	assert_true(agents[1] >= 0);
	for (int i = 0; i < 4; i++)
		close(agents[i]);
}

static void a_client_gets_a_clean_stream(void **state)
{
	struct env *e = *state;
	int guest;

	assert_int_equal(call(e, 2000), 0);
	assert_int_equal(e->done, 0);
	guest = offered(e, 2000);
	run(e);
	assert_int_equal(e->done, 0);
	says(guest, "OK 1073741824\nhello");
	run(e);
	assert_int_equal(e->done, 1);
	assert_true(e->stream >= 0);
	assert_false(fcntl(e->stream, F_GETFL) & O_NONBLOCK);
	reads(e->stream, "hello");
	says(e->stream, "OK\n");
	reads(guest, "OK\n");
	close(guest);
	run(e);
	assert_true(is_closed(e->stream));
	close(e->stream);
	assert_int_equal(e->done, 1);
}

static void a_port_that_refuses_is_an_error(void **state)
{
	struct env *e = *state;

	assert_int_equal(call(e, 2000), 0);
	close(offered(e, 2000));
	run(e);
	assert_int_equal(e->done, 1);
	assert_int_equal(e->stream, -ECONNREFUSED);
	assert_string_equal(e->err.msg,
			    "vsock: port 2000 of the guest: nobody listens");
}

static void another_greeting_is_an_error(void **state)
{
	static const char *const greetings[] = { "OK",
						 "OK \n",
						 "OK 1",
						 "NO 1\n",
						 "OK 12345678901\n",
						 "ok 1\n",
						 "OK 1\r\n",
						 "OK -1\n",
						 "OK 1073741824 and\n" };
	struct env *e = *state;

	for (unsigned i = 0; i < sizeof(greetings) / sizeof(*greetings); i++) {
		int guest;

		assert_int_equal(call(e, 2000), 0);
		guest = offered(e, 2000);
		says(guest, greetings[i]);
		run(e);
		assert_int_equal(e->done, i + 1);
		assert_int_equal(e->stream, -ECONNREFUSED);
		close(guest);
	}
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
	struct env *e = *state;
	int guest;

	assert_int_equal(call(e, 2000), 0);
	guest = offered(e, 2000);
	run_until(e, 1);
	assert_int_equal(e->stream, -ETIMEDOUT);
	assert_true(is_closed(guest));
	close(guest);
}

static void calls_end_with_the_vsock(void **state)
{
	struct env *e = *state;

	assert_int_equal(call(e, 2000), 0);
	assert_int_equal(call(e, 2001), 0);
	vsock_free(TAKE_PTR(e->vsock));
	assert_int_equal(e->done, 2);
	assert_int_equal(e->stream, -ECONNRESET);
}

static void only_so_many_calls_wait(void **state)
{
	struct env *e = *state;

	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(call(e, 2000), 0);
	assert_int_equal(call(e, 2000), -EDQUOT);
	assert_string_equal(e->err.msg,
			    "vsock: 64 connections to the guest are under way");
	/* Its queue goes with vmm, and what is in it. */
	close(TAKE_FD(e->vmm));
	run(e);
	assert_int_equal(e->done, 64);
	assert_int_equal(e->stream, -ECONNREFUSED);
	assert_int_equal(call(e, 2000), -ECONNRESET);
}

static void ports_have_a_range(void **state)
{
	struct env *e = *state;

	assert_int_equal(call(e, 1023), -EINVAL);
	assert_int_equal(call(e, UINT32_MAX), -EINVAL);
	assert_string_equal(e->err.msg,
			    "vsock: port 4294967295: must be 1024 to 4294967294");
	assert_int_equal(call(e, 1024), 0);
	assert_int_equal(call(e, UINT32_MAX - 1), 0);
}

static void without_vmm_nobody_can_be_reached(void **state)
{
	struct env *e = *state;

	make(e, VSOCK_UNIX);
	assert_int_equal(call(e, 2000), -EBADFD);
	vsock_free(e->vsock);
	make(e, VSOCK_NONE);
	launch(e);
	assert_string_equal(vsock_kind(e->vsock), "none");
	assert_string_equal(e->arg, "");
	assert_int_equal(call(e, 2000), -ENOTSUP);
	assert_string_equal(e->err.msg, "vsock: the VM is configured without");
}

/* --- a vmm that was taken over --------------------------------------------------- */

static void descriptors_that_nobody_asked_for_are_closed(void **state)
{
	struct env *e = *state;
	uint64_t request[2] = { CONNECTOR_FIRST_ID, CID };
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { .buf = { 0 } };
	struct iovec iov = { request, sizeof(request) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(c), (int[]){ pipes[1], pipes[1] }, 2 * sizeof(int));
	assert_int_equal(sendmsg(e->vmm, &msg, 0), sizeof(request));
	close(pipes[1]);
	assert_false(is_closed(pipes[0]));
	run(e);
	assert_true(is_closed(pipes[0]));
	close(pipes[0]);
}

static void a_message_that_is_none_is_the_last(void **state)
{
	static const size_t sizes[] = { 0, 1, 15, 17, 4096 };
	struct env *e = *state;
	static char junk[4096];

	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(send(e->vmm, junk, sizes[i], 0), sizes[i]);
		run(e);
		assert_true(is_closed(e->vmm));
		assert_int_equal(call(e, 2000), -ECONNRESET);
		vsock_free(e->vsock);
		close(e->vmm);
		make(e, VSOCK_UNIX);
		launch(e);
	}
}

/* Without a turn for others, or memory for the answers. */
static void who_does_not_read_is_not_heard_until_he_does(void **state)
{
	struct env *e = *state;
	unsigned asked = 0, heard = 0;
	uint64_t id;
	int sock, r;

	for (unsigned i = 0; i < 20; i++) {
		while (connector_ask(e->vmm, CONNECTOR_FIRST_ID + asked, 1) == 0)
			asked++;
		run(e);
	}
	assert_int_equal(connector_ask(e->vmm, CONNECTOR_FIRST_ID, 1), -EAGAIN);
	do {
		r = connector_hear(e->vmm, &id, &sock);
		heard += r > 0;
		if (r == 0)
			run(e);
	} while (heard < asked);
	assert_int_equal(connector_hear(e->vmm, &id, &sock), 0);
	assert_int_equal(asks(e, 1), -ECONNREFUSED);
}

static void an_agent_that_floods_is_cut_off(void **state)
{
	struct env *e = *state;
	int agent = asks(e, CID);

	for (unsigned i = 0; i < 300; i++)
		(void)!send(agent, "ready\n", 6, MSG_NOSIGNAL);
	run(e);
	assert_true(is_closed(agent));
	assert_int_equal(asks(e, CID), -ECONNREFUSED);
	close(agent);
}

/* --- vhost ----------------------------------------------------------------------- */

static bool takes(void *arg)
{
	(void)arg;
	return true;
}

static void take_agent(void *arg, int fd)
{
	((struct env *)arg)->stream = fd;
}

static int make_vhost(struct env *e, const char *device, struct vsock_backend **ret)
{
	int r = vsock_vhost_new(e->event, device, CID, ret, &e->err);

	if (r == 0) {
		(*ret)->takes = takes;
		(*ret)->agent = take_agent;
		(*ret)->arg = e;
	}
	return r;
}

static void vhost_gives_vmm_the_device_with_its_cid(void **state)
{
	struct env *e = *state;
	struct vsock_backend *b;
	struct launch l;

	assert_int_equal(make_vhost(e, "/dev/null", &b), 0);
	assert_int_equal(kernel.cid, CID);
	assert_int_equal(kernel.listens_at, CID);
	assert_int_equal(b->ops->launch(b, &l, NULL), 0);
	assert_string_equal(e->arg, "--vsockcid=5000,device=/proc/self/fd/7");
	assert_true(fcntl(e->vmm, F_GETFD) >= 0);
	b->ops->free(b);
	assert_true(fcntl(e->vmm, F_GETFD) >= 0);
}

static void a_cid_in_use_is_told(void **state)
{
	struct env *e = *state;
	struct vsock_backend *b;

	kernel.in_use = EADDRINUSE;
	assert_int_equal(make_vhost(e, "/dev/null", &b), -EADDRINUSE);
	assert_string_equal(e->err.msg,
			    "vsock: /dev/null: CID 5000: Address already in use");
	kernel.in_use = 0;
	assert_int_equal(make_vhost(e, "/dev/null", &b), 0);
	/* The port of the agent counts, too. */
	assert_int_equal(make_vhost(e, "/dev/null", &(struct vsock_backend *){ 0 }),
			 -EADDRINUSE);
	b->ops->free(b);
	assert_int_equal(make_vhost(e, "/dev/none", &b), -ENOENT);
}

static void only_the_guest_is_taken_for_its_agent(void **state)
{
	struct env *e = *state;
	const struct sockaddr_un addr = address();
	struct vsock_backend *b;
	int agent;

	assert_int_equal(make_vhost(e, "/dev/null", &b), 0);
	kernel.peer = CID + 1;
	agent = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(agent, (const void *)&addr, sizeof(addr)), 0);
	run(e);
	assert_int_equal(e->stream, -1);
	assert_true(is_closed(agent));
	close(agent);
	kernel.peer = CID;
	agent = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(agent, (const void *)&addr, sizeof(addr)), 0);
	run(e);
	assert_true(e->stream >= 0);
	close(e->stream);
	close(agent);
	b->ops->free(b);
}

static void a_stream_of_vhost_blocks_like_any(void **state)
{
	struct env *e = *state;
	struct vsock_backend *b;
	int fd;

	assert_int_equal(make_vhost(e, "/dev/null", &b), 0);
	fd = b->ops->connect(b, 2000);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(b->ops->connected(fd), 1);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	kernel.result = ENETUNREACH;
	assert_int_equal(b->ops->connect(b, 2000), -ENETUNREACH);
	b->ops->free(b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define ALONE(f) cmocka_unit_test_setup_teardown(f, set_up_alone, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(vmm_is_told_of_its_descriptor),
		TEST(the_agent_is_heard),
		TEST(no_other_port_of_the_host_is_there),
		TEST(the_agent_has_a_few_streams),
		TEST(a_client_gets_a_clean_stream),
		TEST(a_port_that_refuses_is_an_error),
		TEST(another_greeting_is_an_error),
		TEST(a_guest_that_does_not_answer_is_given_up),
		TEST(calls_end_with_the_vsock),
		TEST(only_so_many_calls_wait),
		TEST(ports_have_a_range),
		ALONE(without_vmm_nobody_can_be_reached),
		TEST(descriptors_that_nobody_asked_for_are_closed),
		TEST(a_message_that_is_none_is_the_last),
		TEST(who_does_not_read_is_not_heard_until_he_does),
		TEST(an_agent_that_floods_is_cut_off),
		ALONE(vhost_gives_vmm_the_device_with_its_cid),
		ALONE(a_cid_in_use_is_told),
		ALONE(only_the_guest_is_taken_for_its_agent),
		ALONE(a_stream_of_vhost_blocks_like_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
