/* Vsock over Unix sockets: how connections end. */
#include "tests/unit/vsock_rig.h"

/* --- ends ------------------------------------------------------------------ */

static void the_guest_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sends(e, "bye", 3);
	shuts(e, RCV | SEND);
	hears_op(e, RST);
	reads(fd, "bye");
	reads_end(fd);
	close(fd);
	says(e, RW, GUEST, HOST);
	hears_op(e, RST);
}

static void the_guest_closes_but_what_it_sent_arrives_first(void **state)
{
	struct env *e = *state;
	uint32_t room, sent, seen = 0;
	uint8_t buf[4096];
	ssize_t n;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sent = stuff(e, &room);
	shuts(e, RCV | SEND);
	fake_run(&e->host);
	hears_nothing(e);
	/* It has no patience, and uses the port again. */
	says(e, RST, GUEST, HOST);
	close(connect_out(e, GUEST));
	hears_op(e, SHUTDOWN);
	assert_int_equal(send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		seen += (uint32_t)n;
		fake_run(&e->host);
	}
	assert_int_equal(n, 0);
	assert_int_equal(seen, sent);
	close(fd);
}

static void the_host_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	write_all(fd, "last", 4);
	close(fd);
	fake_run(&e->host);
	hears_op(e, SHUTDOWN); /* nobody reads any more */
	assert_int_equal(e->got.flags, RCV);
	hears_data(e, "last");
	hears_op(e, SHUTDOWN);
	assert_int_equal(e->got.flags, RCV | SEND);
	sends(e, "into the void", 13);
	hears_nothing(e);
	says(e, RST, GUEST, HOST);
	fake_run(&e->host);
	hears_nothing(e);
	says(e, RW, GUEST, HOST);
	hears_op(e, RST);
}

static void a_guest_that_ignores_the_end_is_reset(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	close(fd);
	fake_run(&e->host);
	while (hears(e))
		offer(e, 1);
	pass(e, 11);
	hears_op(e, RST);
}

static void the_host_half_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	write_all(fd, "question", 8);
	shutdown(fd, SHUT_WR);
	hears_data(e, "question");
	hears_op(e, SHUTDOWN);
	assert_int_equal(e->got.flags, SEND);
	sends(e, "answer", 6);
	reads(fd, "answer");
	hears_nothing(e);
	shuts(e, SEND);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
}

static void the_guest_half_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sends(e, "question", 8);
	shuts(e, SEND);
	reads(fd, "question");
	reads_end(fd);
	hears_nothing(e);
	write_all(fd, "answer", 6);
	hears_data(e, "answer");
	close(fd);
	fake_run(&e->host);
	while (hears(e) && e->got.op == SHUTDOWN)
		offer(e, 1);
	assert_int_equal(e->got.op, RST);
}

static void data_after_its_end_resets(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	shuts(e, SEND);
	sends(e, "oh", 2);
	hears_op(e, RST);
	close(fd);
}

static void a_guest_that_reads_no_more_gets_no_more(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	shuts(e, RCV);
	fake_run(&e->host);
	assert_int_equal(send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	hears_nothing(e);
	sends(e, "but talks", 9);
	reads(fd, "but talks");
	shuts(e, SEND);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
}

static void a_guest_may_change_its_mind_before_the_answer(void **state)
{
	struct env *e = *state;

	start(e);
	/* The connector is not asked before the loop runs again. */
	loop_set(e->host.dialling, 0);
	says(e, REQUEST, GUEST, HOST);
	says(e, RST, GUEST, HOST);
	says(e, REQUEST, GUEST, HOST);
	loop_set(e->host.dialling, EPOLLIN);
	hears_op(e, RESPONSE);
	hears_nothing(e);
	/* Of the first there is nothing left. */
	close(accept4(e->server, NULL, NULL, SOCK_CLOEXEC));
	sends(e, "x", 1);
	reads(accept4(e->server, NULL, NULL, SOCK_CLOEXEC), "x");
}

/* More than the connector's socket holds requests for. */
static void many_connects_wait_for_the_connector(void **state)
{
	struct env *e = *state;
	unsigned answered = 0;

	start(e);
	loop_set(e->host.dialling, 0);
	for (unsigned i = 0; i < 1000; i++)
		says(e, REQUEST, i, 99);
	says(e, RST, 999, 99); /* the last has changed its mind */
	hears_nothing(e);
	loop_set(e->host.dialling, EPOLLIN);
	fake_run(&e->host);
	while (hears(e)) {
		assert_int_equal(e->got.op, RST);
		answered++;
		offer(e, 1);
		fake_run(&e->host);
	}
	assert_int_equal(answered, 999);
}

static void without_a_connector_the_guest_is_refused(void **state)
{
	struct env *e = *state;
	uint32_t port;

	start(e);
	loop_set(e->host.dialling, 0);
	says(e, REQUEST, GUEST, HOST);
	shutdown(e->host.connector, SHUT_RDWR);
	hears_op(e, RST);
	says(e, REQUEST, GUEST + 1, HOST);
	hears_of(e, RST, GUEST + 1, HOST);
	close(connect_in(e, 5, &port));
}

static void a_reset_closes_all_and_listening_goes_on(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int out, in, idle = dial(e->path);

	start(e);
	out = connect_out(e, GUEST);
	in = connect_in(e, 5, &port);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	reads_end(out);
	reads_end(in);
	reads_end(idle);
	close(out);
	close(in);
	close(idle);
	/* Nobody is there to be connected to. */
	in = dial(e->path);
	write_all(in, "CONNECT 5\n", 10);
	fake_run(&e->host);
	reads_end(in);
	close(in);
	start(e);
	close(connect_in(e, 5, &port));
	close(connect_out(e, GUEST));
}

static void a_reset_forgets_what_was_owed(void **state)
{
	struct env *e = *state;

	start_empty(e);
	for (unsigned i = 0; i < 100; i++)
		says(e, RW, GUEST + i, HOST);
	fake_driver_reset(&e->d);
	start(e);
	fake_run(&e->host);
	hears_nothing(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_guest_closes),
		TEST(the_guest_closes_but_what_it_sent_arrives_first),
		TEST(the_host_closes),
		TEST(a_guest_that_ignores_the_end_is_reset),
		TEST(the_host_half_closes),
		TEST(the_guest_half_closes),
		TEST(data_after_its_end_resets),
		TEST(a_guest_that_reads_no_more_gets_no_more),
		TEST(a_guest_may_change_its_mind_before_the_answer),
		TEST(many_connects_wait_for_the_connector),
		TEST(without_a_connector_the_guest_is_refused),
		TEST(a_reset_closes_all_and_listening_goes_on),
		TEST(a_reset_forgets_what_was_owed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
