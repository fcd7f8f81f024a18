/* service/common/peer.c: peers that behave, and some that do not. */
#include "service/common/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
	sd_event *event;
	struct peer *peer;
	int fd; /* the client's end, or -1 */
	unsigned served, gone;
	bool free_in_handler;
};

static int on_ping(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct rig *r = userdata;

	(void)ret_error;
	r->served++;
	if (r->free_in_handler) {
		peer_free(r->peer);
		r->peer = NULL;
		return 1;
	}
	return sd_bus_reply_method_return(m, "s", "pong");
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Ping", "", "s", on_ping, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("PingFiles", "ah", "s", on_ping, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_SIGNAL("News", "s", 0), SD_BUS_VTABLE_END
};

static void on_gone(struct peer *peer, void *userdata)
{
	struct rig *r = userdata;

	assert_ptr_equal(peer, r->peer);
	r->gone++;
	peer_free(peer);
	r->peer = NULL;
}

static const struct peer_object objects[] = { { "/org/test", "org.test.Peer",
						vtable } };
static const struct peer_ops ops = { objects, 1, on_gone };

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int fds[2];

	assert_non_null(r);
	assert_return_code(sd_event_new(&r->event), 0);
	assert_return_code(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
		errno);
	assert_int_equal(peer_new(r->event, fds[0], &ops, r, &r->peer, NULL), 0);
	r->fd = fds[1];
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	peer_free(r->peer);
	if (r->fd >= 0)
		close(r->fd);
	sd_event_unref(r->event);
	free(r);
	return 0;
}

/* Until nothing is ready any more. */
static void settle(struct rig *r)
{
	while (sd_event_run(r->event, 0) > 0)
		;
}

static sd_bus *open_client(struct rig *r)
{
	sd_bus *bus;

	assert_return_code(sd_bus_new(&bus), 0);
	assert_return_code(sd_bus_set_anonymous(bus, 1), 0);
	assert_return_code(sd_bus_negotiate_fds(bus, 1), 0);
	assert_return_code(sd_bus_set_fd(bus, r->fd, r->fd), 0);
	r->fd = -1;
	assert_return_code(sd_bus_start(bus), 0);
	return bus;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	sd_bus_message **got = userdata;

	(void)ret_error;
	assert_null(*got);
	*got = sd_bus_message_ref(m);
	return 1;
}

/* Call, with both ends on this thread; the answer is the caller's. */
static sd_bus_message *call(struct rig *r, sd_bus *bus, const char *path,
			    const char *interface, const char *member,
			    const char *types, const char *arg)
{
	sd_bus_message *got = NULL;

	assert_return_code(sd_bus_call_method_async(bus, NULL, NULL, path, interface,
						    member, on_answer, &got, types,
						    arg),
			   0);
	while (!got) {
		settle(r);
		assert_return_code(sd_bus_process(bus, NULL), 0);
	}
	return got;
}

static void a_call_is_answered(void **state)
{
	struct rig *r = *state;
	sd_bus *bus = open_client(r);
	sd_bus_message *m = call(r, bus, "/org/test", "org.test.Peer", "Ping", "",
				 NULL);
	const char *text;

	assert_return_code(sd_bus_message_read(m, "s", &text), 0);
	assert_string_equal(text, "pong");
	sd_bus_message_unref(m);
	sd_bus_close_unref(bus);
	settle(r);
	assert_int_equal(r->gone, 1);
}

static void what_tools_ask_a_message_bus_is_answered(void **state)
{
	static const struct {
		const char *member, *types, *arg, *answer;
	} calls[] = { { "Hello", "", NULL, "s" },
		      { "AddMatch", "s", "type='signal'", "" },
		      { "RemoveMatch", "s", "type='signal'", "" },
		      { "GetNameOwner", "s", "org.test", "s" } };
	struct rig *r = *state;
	sd_bus *bus = open_client(r);

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		sd_bus_message *m = call(r, bus, "/org/freedesktop/DBus",
					 "org.freedesktop.DBus", calls[i].member,
					 calls[i].types, calls[i].arg);

		assert_false(sd_bus_message_is_method_error(m, NULL));
		assert_string_equal(sd_bus_message_get_signature(m, 1),
				    calls[i].answer);
		sd_bus_message_unref(m);
	}
	sd_bus_close_unref(bus);
}

static void one_that_is_only_held_has_no_bus(void **state)
{
	struct rig *r = *state;

	settle(r);
	assert_null(peer_bus(r->peer));
	assert_int_equal(r->gone, 0);
	close(r->fd);
	r->fd = -1;
	settle(r);
	assert_int_equal(r->gone, 1);
}

/* A Ping, of no destination, as it stands on the wire. */
static size_t ping(uint8_t *buf, size_t size, uint32_t serial)
{
	sd_bus_message *m;
	sd_bus *bus;
	ssize_t n;
	int fds[2];
	uint64_t cookie;
	uint8_t all[1024];
	size_t at;

	/* Let sd-bus write it, behind the words that open a connection. */
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
			   errno);
	assert_return_code(sd_bus_new(&bus), 0);
	assert_return_code(sd_bus_set_anonymous(bus, 1), 0);
	assert_return_code(sd_bus_set_fd(bus, fds[0], fds[0]), 0);
	assert_return_code(sd_bus_start(bus), 0);
	assert_return_code(sd_bus_message_new_method_call(bus, &m, NULL, "/org/test",
							  "org.test.Peer", "Ping"),
			   0);
	/* Without a place for its number no answer would be expected. */
	assert_return_code(sd_bus_send(bus, m, &cookie), 0);
	sd_bus_message_unref(m);
	n = read(fds[1], all, sizeof(all));
	assert_true(n > 0);
	assert_int_equal(write(fds[1],
			       "OK 0123456789abcdef0123456789abcdef\r\n"
			       "AGREE_UNIX_FD\r\n",
			       52),
			 52);
	do
		n = sd_bus_process(bus, NULL);
	while (n > 0);
	n = read(fds[1], all, sizeof(all));
	assert_true(n > 0);
	for (at = 0; at < (size_t)n && all[at] != 'l'; at++)
		;
	assert_true(at < (size_t)n && (size_t)n - at <= size);
	memcpy(buf, all + at, (size_t)n - at);
	memcpy(buf + 8, &serial, sizeof(serial));
	sd_bus_unref(bus);
	close(fds[1]);
	return (size_t)n - at;
}

/* As libdbus does: the last word of the greeting and the first call in one write. */
static void a_call_behind_the_greeting_is_served(void **state)
{
	static const char greeting[] = "\0AUTH ANONYMOUS\r\n", begin[] = "BEGIN\r\n";
	struct rig *r = *state;
	uint8_t buf[1024];
	size_t n = sizeof(begin) - 1;

	assert_int_equal(write(r->fd, greeting, sizeof(greeting) - 1),
			 sizeof(greeting) - 1);
	settle(r);
	memcpy(buf, begin, n);
	n += ping(buf + n, sizeof(buf) - n, 1);
	n += ping(buf + n, sizeof(buf) - n, 2);
	assert_int_equal(write(r->fd, buf, n), n);
	settle(r);
	assert_int_equal(r->served, 2);
}

static void greet(struct rig *r)
{
	static const char greeting[] = "\0AUTH ANONYMOUS\r\nBEGIN\r\n";

	assert_int_equal(write(r->fd, greeting, sizeof(greeting) - 1),
			 sizeof(greeting) - 1);
	settle(r);
}

static void malformed_bytes_end_that_connection(void **state)
{
	struct rig *r = *state;
	uint8_t junk[64];

	memset(junk, 0xa5, sizeof(junk));
	greet(r);
	assert_int_equal(r->gone, 0);
	assert_int_equal(write(r->fd, junk, sizeof(junk)), sizeof(junk));
	settle(r);
	assert_int_equal(r->gone, 1);
}

static void a_malformed_greeting_ends_it_too(void **state)
{
	struct rig *r = *state;

	assert_int_equal(write(r->fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
	settle(r);
	assert_int_equal(r->gone, 1);
}

/* Many calls, and no answer is ever read. */
static void who_never_reads_is_disconnected(void **state)
{
	struct rig *r = *state;
	uint8_t buf[1024];
	size_t n;

	greet(r);
	n = ping(buf, sizeof(buf), 1);
	for (unsigned i = 0; i < 100000 && !r->gone; i++) {
		if (write(r->fd, buf, n) < 0)
			assert_int_equal(errno, EAGAIN);
		settle(r);
	}
	assert_int_equal(r->gone, 1);
}

static void who_never_reads_signals_is_disconnected(void **state)
{
	struct rig *r = *state;

	greet(r);
	for (unsigned i = 0; i < 100000 && !r->gone; i++) {
		sd_bus_emit_signal(peer_bus(r->peer), "/org/test", "org.test.Peer",
				   "News", "s", "something happened again");
		settle(r);
	}
	assert_int_equal(r->gone, 1);
}

/* One that has much to ask is not served to its end while others wait. */
static void a_flood_lets_others_have_their_turn(void **state)
{
	struct rig *r = *state;
	uint8_t buf[1024];
	size_t n;

	greet(r);
	n = ping(buf, sizeof(buf), 1);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(write(r->fd, buf, n), n);
	assert_return_code(sd_event_run(r->event, 0), 0);
	assert_in_range(r->served, 1, 100);
	settle(r);
	assert_int_equal(r->served, 150);
}

static void a_handler_may_free_its_peer(void **state)
{
	struct rig *r = *state;
	uint8_t buf[1024], byte;
	size_t n;

	greet(r);
	r->free_in_handler = true;
	n = ping(buf, sizeof(buf), 1);
	assert_int_equal(write(r->fd, buf, n), n);
	settle(r);
	assert_int_equal(r->served, 1);
	assert_int_equal(r->gone, 0);
	while (read(r->fd, &byte, 1) > 0)
		;
	assert_true(read(r->fd, &byte, 1) == 0 || errno == ECONNRESET);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_is_answered),
		TEST(what_tools_ask_a_message_bus_is_answered),
		TEST(one_that_is_only_held_has_no_bus),
		TEST(a_call_behind_the_greeting_is_served),
		TEST(malformed_bytes_end_that_connection),
		TEST(a_malformed_greeting_ends_it_too),
		TEST(who_never_reads_is_disconnected),
		TEST(who_never_reads_signals_is_disconnected),
		TEST(a_flood_lets_others_have_their_turn),
		TEST(a_handler_may_free_its_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
