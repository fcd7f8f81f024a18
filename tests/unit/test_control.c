/* vmm/control.c: peers that behave, and many that do not */
#include "vmm/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix.h"

struct rig {
	struct loop *loop;
	struct control *control;
	struct unix_name name;
	char dir[64], path[96];
	unsigned n_requests;
	struct control_request last;
	struct control_conn *waiting; /* of the last BalloonCommand Stats */
	bool keep_fd;
	int kept_fd;
};

static void on_request(void *ctx, struct control_conn *conn,
		       struct control_request *request)
{
	struct rig *r = ctx;
	struct err why;

	r->n_requests++;
	r->last = *request;
	if (r->keep_fd)
		r->kept_fd = TAKE_FD(request->fd);
	switch (request->kind) {
	case CONTROL_BALLOON_STATS:
		r->waiting = conn;
		control_later(conn);
		return;
	case CONTROL_STATUS:
		control_reply(conn, json_pack("{s:{s:i}}", "Status", "pid", 42));
		return;
	case CONTROL_DISK_RESIZE:
		err_set(&why, -ENODEV, "disk 0: there is none");
		control_fail(conn, &why);
		return;
	default:
		control_reply(conn, NULL);
	}
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int fd;

	strcpy(r->dir, "/tmp/vmm-control-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/s", r->dir);
	assert_int_equal(loop_new(&r->loop, NULL), 0);
	fd = unix_listen("", r->path, SOCK_SEQPACKET, &r->name, NULL);
	assert_return_code(fd, errno);
	assert_int_equal(
		control_new(r->loop, fd, false, on_request, r, &r->control, NULL), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	control_free(r->control);
	loop_free(r->loop);
	unix_remove(&r->name);
	rmdir(r->dir);
	free(r);
	return 0;
}

static void run(struct rig *r)
{
	/* One event of one watch may make another ready. */
	for (int idle = 0; idle < 2;)
		idle = loop_poll(r->loop) > 0 ? 0 : idle + 1;
}

static int new_client(struct rig *r)
{
	int fd = unix_connect("", r->path, SOCK_SEQPACKET,
			      &(struct unix_patience){ .seconds = 5 }, NULL);

	assert_return_code(fd, errno);
	return fd;
}

static void put(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What the server has sent; "" : nothing so far, "gone": it has hung up. */
static const char *get(int fd)
{
	static char text[CONTROL_MAX_PACKET + 1];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		return "gone";
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static const char *ask(struct rig *r, int fd, const char *text)
{
	put(fd, text);
	run(r);
	return get(fd);
}

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void requests_are_answered_in_order(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);

	put(fd, "\"Powerbtn\"");
	put(fd, "\"Status\"");
	put(fd, "{\"DiskCommand\":{\"disk_index\":0,\"command\":{\"Resize\":{"
		"\"new_size\":1}}}}");
	put(fd, "\"Nonsense\"");
	put(fd, "\"Exit\"");
	run(r);
	assert_string_equal(get(fd), "\"Ok\"");
	assert_string_equal(get(fd), "{\"Status\":{\"pid\":42}}");
	assert_string_equal(get(fd), "{\"ErrString\":\"disk 0: there is none\"}");
	assert_non_null(strstr(get(fd), "unknown"));
	assert_string_equal(get(fd), "\"Ok\"");
	assert_int_equal(r->last.kind, CONTROL_EXIT);
	close(fd);
}

static void an_answer_may_come_later(void **state)
{
	struct rig *r = *state;
	int slow = new_client(r), other = new_client(r);

	put(slow, "{\"BalloonCommand\":\"Stats\"}");
	put(slow, "\"Status\"");
	run(r);
	assert_string_equal(get(slow), "");
	/* Nobody else waits for it. */
	assert_string_equal(ask(r, other, "\"Powerbtn\""), "\"Ok\"");
	control_reply(r->waiting, json_pack("{s:i}", "Later", 1));
	assert_string_equal(get(slow), "{\"Later\":1}");
	run(r);
	assert_string_equal(get(slow), "{\"Status\":{\"pid\":42}}");
	close(slow);
	close(other);
}

static void who_leaves_before_a_late_answer_does_no_harm(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);

	put(fd, "{\"BalloonCommand\":\"Stats\"}");
	run(r);
	close(fd);
	run(r);
	control_reply(r->waiting, NULL);
	run(r);
	fd = new_client(r);
	assert_string_equal(ask(r, fd, "\"Powerbtn\""), "\"Ok\"");
	close(fd);
}

static void an_oversized_request_is_refused(void **state)
{
	static char text[2 * CONTROL_MAX_PACKET];
	struct rig *r = *state;
	int fd = new_client(r);

	memset(text, ' ', sizeof(text));
	memcpy(text, "\"Exit\"", 6);
	assert_int_equal(send(fd, text, CONTROL_MAX_PACKET + 1, 0),
			 CONTROL_MAX_PACKET + 1);
	run(r);
	assert_non_null(strstr(get(fd), "more than 65536 bytes"));
	assert_int_equal(r->n_requests, 0);
	/* Just as large as may be. */
	assert_int_equal(send(fd, text, CONTROL_MAX_PACKET, 0), CONTROL_MAX_PACKET);
	run(r);
	assert_string_equal(get(fd), "\"Ok\"");
	close(fd);
}

static void a_request_in_two_packets_is_two_bad_ones(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);

	assert_non_null(strstr(ask(r, fd, "\"Ex"), "not JSON"));
	assert_non_null(strstr(ask(r, fd, "it\""), "not JSON"));
	assert_int_equal(r->n_requests, 0);
	close(fd);
}

static void junk_is_answered_with_an_error(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);
	unsigned seed = 1;

	for (int i = 0; i < 2000; i++) {
		char junk[64];
		size_t len = 1 + (size_t)rand_r(&seed) % sizeof(junk);

		for (size_t k = 0; k < len; k++)
			junk[k] = (char)rand_r(&seed);
		assert_int_equal(send(fd, junk, len, 0), len);
		run(r);
		assert_non_null(strstr(get(fd), "ErrString"));
	}
	assert_string_equal(ask(r, fd, "\"Powerbtn\""), "\"Ok\"");
	close(fd);
}

static void an_empty_packet_hangs_up(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);

	run(r);
	assert_int_equal(send(fd, "", 0, 0), 0);
	run(r);
	assert_string_equal(get(fd), "gone");
	close(fd);
}

static void who_never_reads_is_dropped(void **state)
{
	struct rig *r = *state;
	int deaf = new_client(r), other = new_client(r);
	unsigned n = 0;

	while (n < 100000 &&
	       send(deaf, "\"Status\"", 8, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
		n++;
		run(r);
	}
	assert_in_range(n, 1, 99999);
	assert_true(errno == EPIPE || errno == ECONNRESET);
	assert_string_equal(ask(r, other, "\"Status\""), "{\"Status\":{\"pid\":42}}");
	close(deaf);
	close(other);
}

/* Far more than are kept, and than the backlog holds; all open at once. */
static void hundreds_of_connections_lock_nobody_out(void **state)
{
	struct rig *r = *state;
	int fds[600], kept = new_client(r);

	for (size_t i = 0; i < 600; i++) {
		fds[i] = new_client(r);
		run(r);
		/* Who says something stays. */
		if (i % 20 == 0)
			assert_string_equal(ask(r, kept, "\"Powerbtn\""), "\"Ok\"");
	}
	assert_string_equal(get(fds[0]), "gone");
	assert_string_equal(get(fds[500]), "gone");
	assert_string_equal(ask(r, fds[599], "\"Status\""),
			    "{\"Status\":{\"pid\":42}}");
	for (size_t i = 0; i < 600; i++)
		close(fds[i]);
	run(r);
	assert_string_equal(ask(r, kept, "\"Powerbtn\""), "\"Ok\"");
	close(kept);
}

static void a_connection_that_waits_for_its_answer_is_not_pushed_out(void **state)
{
	struct rig *r = *state;
	int fds[CONTROL_MAX_CONNECTIONS], last;
	struct control_conn *conns[CONTROL_MAX_CONNECTIONS];

	for (size_t i = 0; i < CONTROL_MAX_CONNECTIONS; i++) {
		fds[i] = new_client(r);
		assert_string_equal(ask(r, fds[i], "{\"BalloonCommand\":\"Stats\"}"),
				    "");
		conns[i] = r->waiting;
	}
	last = new_client(r);
	run(r);
	assert_string_equal(get(last), "gone");
	for (size_t i = 0; i < CONTROL_MAX_CONNECTIONS; i++) {
		control_reply(conns[i], NULL);
		assert_string_equal(get(fds[i]), "\"Ok\"");
		close(fds[i]);
	}
	close(last);
}

static void send_fds(int fd, const char *text, unsigned n)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(16 * sizeof(int))];
	} fds = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = fds.buf,
			      .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int null = open("/dev/null", O_RDONLY);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &null, sizeof(null));
	assert_int_equal(sendmsg(fd, &msg, 0), strlen(text));
	close(null);
}

static void descriptors_that_nobody_takes_are_closed(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);
	unsigned before;

	run(r);
	before = open_fds();
	for (unsigned n = 1; n <= 16; n++) {
		send_fds(fd, "\"Powerbtn\"", n);
		run(r);
		assert_string_equal(get(fd), "\"Ok\"");
		assert_true(r->last.fd >= 0);
		send_fds(fd, "\"Nonsense\"", n);
		run(r);
		assert_non_null(strstr(get(fd), "ErrString"));
	}
	assert_int_equal(open_fds(), before);
	/* Also with a packet that ends the connection. */
	send_fds(fd, "", 3);
	run(r);
	assert_int_equal(open_fds(), before - 1);
	close(fd);
}

static void a_handler_may_take_the_descriptor(void **state)
{
	struct rig *r = *state;
	int fd = new_client(r);

	r->keep_fd = true;
	send_fds(fd, "\"Powerbtn\"", 3);
	run(r);
	assert_true(fcntl(r->kept_fd, F_GETFD) & FD_CLOEXEC);
	close(r->kept_fd);
	close(fd);
}

static void a_lack_of_descriptors_turns_away_and_passes(void **state)
{
	struct rig *r = *state;
	struct rlimit limit, none;
	int first = new_client(r), fd, extra[3];

	run(r);
	for (size_t i = 0; i < 3; i++) /* from here on, they are in the backlog */
		extra[i] = new_client(r);
	fd = dup(first);
	close(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)fd;
	setrlimit(RLIMIT_NOFILE, &none);
	run(r); /* ends, or we would not: nothing is ready for ever */
	setrlimit(RLIMIT_NOFILE, &limit);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(get(extra[i]), "gone");
		close(extra[i]);
	}
	assert_string_equal(ask(r, first, "\"Powerbtn\""), "\"Ok\"");
	fd = new_client(r);
	assert_string_equal(ask(r, fd, "\"Powerbtn\""), "\"Ok\"");
	close(fd);
	close(first);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void one_connection_is_served_without_a_listener(void **state)
{
	struct rig *r = *state;
	int fds[2];

	control_free(r->control);
	assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds),
			   errno);
	assert_int_equal(
		control_new(r->loop, fds[0], true, on_request, r, &r->control, NULL),
		0);
	put(fds[1], "\"Status\"");
	put(fds[1], "\"Exit\"");
	run(r);
	assert_string_equal(get(fds[1]), "{\"Status\":{\"pid\":42}}");
	assert_string_equal(get(fds[1]), "\"Ok\"");
	close(fds[1]);
	run(r);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_are_answered_in_order),
		TEST(an_answer_may_come_later),
		TEST(who_leaves_before_a_late_answer_does_no_harm),
		TEST(an_oversized_request_is_refused),
		TEST(a_request_in_two_packets_is_two_bad_ones),
		TEST(junk_is_answered_with_an_error),
		TEST(an_empty_packet_hangs_up),
		TEST(who_never_reads_is_dropped),
		TEST(hundreds_of_connections_lock_nobody_out),
		TEST(a_connection_that_waits_for_its_answer_is_not_pushed_out),
		TEST(descriptors_that_nobody_takes_are_closed),
		TEST(a_handler_may_take_the_descriptor),
		TEST(a_lack_of_descriptors_turns_away_and_passes),
		TEST(one_connection_is_served_without_a_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
