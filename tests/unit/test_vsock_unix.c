/* Vsock over Unix sockets: who connects to whom, and what nobody may do. */
#include "tests/unit/vsock_rig.h"

#include <sys/file.h>
#include <sys/resource.h>

/* --- connecting ------------------------------------------------------------ */

static void the_guest_finds_its_cid(void **state)
{
	struct env *e = *state;

	start(e);
	assert_int_equal(fake_config_in(&e->d, 0, 8), CID);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 3);
	assert_int_equal(fake_driver_offered(&e->d) & 7, 1);
}

static void the_guest_connects_and_both_talk(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	assert_int_equal(e->got.buf_alloc, VSOCK_BUF);
	assert_int_equal(e->got.fwd_cnt, 0);
	sends(e, "from the guest", 14);
	reads(fd, "from the guest");
	hears_nothing(e);
	write_all(fd, "from the host", 13);
	hears_data(e, "from the host");
	assert_int_equal(e->got.fwd_cnt, 14);
	assert_true(fake_interrupts(&e->d, VSOCK_RX + 1) > 0);
	close(fd);
}

static void suspended_it_is_silent_and_loses_nothing(void **state)
{
	struct env *e = *state;
	struct vsock_packet p;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	e->dev->class->pause(e->dev, DEV_SUSPENDED);
	write_all(fd, "meanwhile", 9);
	p = packet(e, RW, GUEST, HOST);
	p.len = 9;
	memcpy(fake_ptr(&e->host, GPA(e->tx.v + TX_PAYLOAD), 9), "for later", 9);
	submit_packet(e, &p, p.len);
	fake_run(&e->host);
	hears_nothing(e);
	assert_false(fake_used(&e->d, VSOCK_TX, NULL, NULL));
	reads_nothing(fd);
	e->dev->class->pause(e->dev, DEV_RUNS);
	fake_run(&e->host);
	assert_true(fake_used(&e->d, VSOCK_TX, NULL, NULL));
	hears_data(e, "meanwhile");
	reads(fd, "for later");
	write_all(fd, "and on", 6);
	hears_data(e, "and on");
	close(fd);
}

/* Its kick is older than the word that the last driver has gone. */
static void resumed_after_a_reset_it_knows_no_old_connection(void **state)
{
	struct env *e = *state;
	struct vsock_packet p;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[VSOCK_TX], VSOCK_TX, 2);
	start_empty(e);
	submit_buffers(e, 4, RX_SIZE);
	e->dev->class->pause(e->dev, DEV_SUSPENDED);
	e->dev->class->pause(e->dev, DEV_RUNS);
	p = packet(e, RW, GUEST, HOST);
	submit_packet(e, &p, 0);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
}

static void a_port_where_nobody_listens_is_refused(void **state)
{
	struct env *e = *state;

	start(e);
	says(e, REQUEST, GUEST, 99);
	hears_of(e, RST, GUEST, 99);
	says(e, RW, GUEST, 99); /* and is forgotten */
	hears_of(e, RST, GUEST, 99);
}

static void a_listener_whose_backlog_is_full_refuses(void **state)
{
	struct env *e = *state;
	char path[80];
	int full, first;

	snprintf(path, sizeof(path), "%s_%u", e->path, 53);
	full = serve(path, 0);
	start(e);
	says(e, REQUEST, GUEST, 53);
	hears_of(e, RESPONSE, GUEST, 53);
	first = accept4(full, NULL, NULL, SOCK_CLOEXEC);
	for (unsigned i = 1; i < 8; i++)
		says(e, REQUEST, GUEST + i, 53);
	fake_run(&e->host);
	for (unsigned i = 1; i < 7; i++)
		assert_true(hears(e));
	hears_of(e, RST, GUEST + 7, 53);
	close(first);
	close(full);
	unlink(path);
}

static void a_client_connects_to_the_guest(void **state)
{
	struct env *e = *state;
	uint32_t port, other;
	char line[32];
	int fd, fd2;

	start(e);
	fd = connect_in(e, 5555, &port);
	assert_int_equal(port, 1u << 30);
	fd2 = connect_in(e, 5555, &other);
	assert_int_equal(other, port + 1);
	reads_nothing(fd);
	says(e, RESPONSE, 5555, port);
	snprintf(line, sizeof(line), "OK %u\n", port);
	reads(fd, line);
	write_all(fd, "hello", 5);
	hears_of(e, RW, 5555, port);
	assert_memory_equal(e->payload, "hello", 5);
	sends_on(e, 5555, port, "welcome", 7);
	reads(fd, "welcome");
	close(fd);
	says(e, RST, 5555, other);
	fake_run(&e->host);
	reads_end(fd2);
	close(fd2);
}

static void what_a_client_says_with_its_greeting_is_kept(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int fd = dial(e->path);

	start(e);
	write_all(fd, "connect 7\r\nfirst words", 22);
	fake_run(&e->host);
	assert_true(hears(e));
	port = e->got.src_port;
	assert_int_equal(e->got.dst_port, 7);
	fake_run(&e->host);
	hears_nothing(e);
	says(e, RESPONSE, 7, port);
	hears_of(e, RW, 7, port);
	assert_int_equal(e->got.len, 11);
	assert_memory_equal(e->payload, "first words", 11);
	close(fd);
}

static void a_greeting_may_come_in_pieces(void **state)
{
	struct env *e = *state;
	int fd = dial(e->path);

	start(e);
	for (const char *p = "CONNECT 12\n"; *p; p++) {
		hears_nothing(e);
		write_all(fd, p, 1);
		fake_run(&e->host);
	}
	assert_true(hears(e));
	assert_int_equal(e->got.dst_port, 12);
	close(fd);
}

static void any_other_greeting_is_shown_the_door(void **state)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 1 2\n",
		"CONNECT -1\n",
		"CONNECT 4294967296\n",
		"CONNECT 00000000001\n",
		"CONNECT 99999999999999999999999999",
		"GET / HTTP/1.1\r\n",
		"CONNECT 1\r\r\n",
	};
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = dial(e->path);

		write_all(fd, lines[i], strlen(lines[i]));
		fake_run(&e->host);
		hears_nothing(e);
		reads_reset(fd);
		close(fd);
	}
}

static void a_client_that_says_nothing_hurts_nobody(void **state)
{
	struct env *e = *state;
	int fds[200];
	uint32_t port;
	unsigned closed = 0;

	start(e);
	for (unsigned i = 0; i < 200; i++) {
		fds[i] = dial(e->path);
		fake_run(&e->host);
	}
	close(connect_in(e, 5, &port));
	for (unsigned i = 0; i < 200; i++) {
		char c;

		closed += recv(fds[i], &c, 1, MSG_DONTWAIT) == 0;
	}
	/* The oldest made room; 128 may wait, of which one has spoken and gone. */
	assert_int_equal(closed, 200 - 127);
	pass(e, 7);
	for (unsigned i = 0; i < 200; i++) {
		reads_end(fds[i]);
		close(fds[i]);
	}
}

/* Neither is for ever: clients wait, and the guest may try again. */
static void without_descriptors_clients_wait_and_the_guest_is_refused(void **state)
{
	struct env *e = *state;
	struct rlimit was, none;
	int fd, next;

	start(e);
	fd = dial(e->path);
	write_all(fd, "CONNECT 5\n", 10);
	next = dup(fd);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ (rlim_t)next, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	says(e, REQUEST, GUEST, HOST);
	hears_op(e, RST);
	pass(e, 2);
	hears_nothing(e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	pass(e, 2);
	assert_true(hears(e));
	assert_int_equal(e->got.op, REQUEST);
	offer(e, 1);
	close(connect_out(e, GUEST));
	close(fd);
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int fd;

	start(e);
	fd = connect_in(e, 5, &port);
	pass(e, 12);
	hears_of(e, RST, 5, port);
	reads_end(fd);
	close(fd);
}

/* --- rules ----------------------------------------------------------------- */

static void packets_with_forged_cids_are_dropped(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, REQUEST, GUEST, HOST);

	start(e);
	p.src_cid = CID + 1;
	transmit(e, &p, 0);
	p.src_cid = CID | 1ull << 32;
	transmit(e, &p, 0);
	p.src_cid = CID;
	p.dst_cid = 3;
	transmit(e, &p, 0);
	p.dst_cid = 2 | 1ull << 32;
	transmit(e, &p, 0);
	fake_run(&e->host);
	hears_nothing(e);
	p.dst_cid = 2;
	transmit(e, &p, 0);
	hears_op(e, RESPONSE);
}

static void another_type_is_reset_in_its_own_type(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, REQUEST, GUEST, HOST);

	start(e);
	p.type = 2;
	transmit(e, &p, 0);
	hears_op(e, RST);
	assert_int_equal(e->got.type, 2);
	p.op = RST;
	transmit(e, &p, 0);
	hears_nothing(e);
}

static void what_belongs_to_no_connection_is_reset(void **state)
{
	static const uint16_t ops[] = {
		0, RESPONSE, SHUTDOWN, RW, UPDATE, ASK, 8, 65535
	};
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		says(e, ops[i], GUEST, HOST);
		hears_op(e, RST);
	}
	says(e, RST, GUEST, HOST);
	hears_nothing(e);
}

static void what_makes_no_sense_on_a_connection_resets_it(void **state)
{
	static const uint16_t ops[] = { 0, REQUEST, RESPONSE, 8, 65535 };
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		int fd = connect_out(e, GUEST);

		says(e, ops[i], GUEST, HOST);
		hears_op(e, RST);
		reads_end(fd);
		close(fd);
	}
}

static void data_before_the_answer_resets(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int fd;

	start(e);
	fd = connect_in(e, 5, &port);
	sends_on(e, 5, port, "early", 5);
	hears_of(e, RST, 5, port);
	reads_end(fd);
	close(fd);
}

static void a_length_beyond_the_chain_resets(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, RW, GUEST, HOST);
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	p.len = 9;
	transmit(e, &p, 8);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
	fd = connect_out(e, GUEST);
	p.len = UINT32_MAX;
	transmit(e, &p, 8);
	hears_op(e, RST);
	close(fd);
}

static void bytes_behind_the_length_are_nobodys(void **state)
{
	struct env *e = *state;
	struct vsock_packet p;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	p = packet(e, RW, GUEST, HOST);
	p.len = 3;
	memcpy(fake_ptr(&e->host, GPA(e->tx.v + TX_PAYLOAD), 6), "abcdef", 6);
	transmit(e, &p, 6);
	reads(fd, "abc");
	close(fd);
}

static void a_chain_too_short_for_a_header_is_dropped(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { e->tx, HDR - 1, false };

	start(e);
	fake_submit(&e->d, VSOCK_TX, &seg, 1);
	fake_kick(&e->d, VSOCK_TX);
	assert_true(fake_used(&e->d, VSOCK_TX, NULL, NULL));
	hears_nothing(e);
}

static void a_header_in_pieces_is_understood(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, REQUEST, GUEST, HOST);
	struct virtio_vsock_hdr h;
	struct fake_seg segs[] = { { e->tx, 7, false },
				   { GPA(e->tx.v + 100), 30, false },
				   { GPA(e->tx.v + 200), 7, false } };
	uint8_t *mem = fake_ptr(&e->host, e->tx, 300);

	start(e);
	p.buf_alloc = 64 << 10;
	h = vsock_packet_put(&p);
	memcpy(mem, &h, 7);
	memcpy(mem + 100, (uint8_t *)&h + 7, 30);
	memcpy(mem + 200, (uint8_t *)&h + 37, 7);
	fake_submit_indirect(&e->d, VSOCK_TX, segs, 3);
	fake_kick(&e->d, VSOCK_TX);
	hears_op(e, RESPONSE);
}

static void a_receive_buffer_without_room_breaks_the_device(void **state)
{
	struct env *e = *state;

	start_empty(e);
	offer_sized(e, 1, HDR);
	says(e, REQUEST, GUEST, 99);
	fake_run(&e->host);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	start(e);
	close(connect_out(e, GUEST));
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	fake_avail(&e->d, VSOCK_TX, 256);
	fake_kick(&e->d, VSOCK_TX);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	write_all(fd, "x", 1);
	fake_run(&e->host);
	start(e);
	fake_run(&e->host);
	reads_reset(fd);
	close(fd);
	close(connect_out(e, GUEST));
}

/* --- the path -------------------------------------------------------------- */

static void a_live_socket_is_in_use(void **state)
{
	struct env *e = *state, *other = new_env();
	struct err err;
	void *p = other;

	assert_int_equal(create(other, e->path, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "vsock "));
	assert_non_null(strstr(err.msg, "somebody answers there already"));
	assert_non_null(strstr(err.msg, e->path));
	assert_int_equal(tear_down(&p), 0);
	start(e);
	close(connect_out(e, GUEST));
}

/* Whoever may read a folder may lock it, and /tmp is everybody's. */
static void a_folder_that_somebody_keeps_locked_does_not_stop_it(void **state)
{
	struct env *e = new_env();
	int fd = open(e->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err err;

	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(create(e, e->path, &err), 0);
	close(fd);
	*state = e;
}

static void a_stale_socket_is_replaced(void **state)
{
	struct env *e = new_env();
	struct err err;

	(void)state;
	close(serve(e->path, 1));
	assert_int_equal(create(e, e->path, &err), 0);
	close(dial(e->path));
	*state = e;
}

static void another_file_is_left_alone(void **state)
{
	struct env *e = new_env();
	struct err err;

	fclose(fopen(e->path, "w"));
	assert_int_equal(create(e, e->path, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "is no socket"));
	assert_int_equal(access(e->path, F_OK), 0);
	*state = e;
}

static void a_path_too_long_for_ports_is_refused(void **state)
{
	struct env *e = new_env();
	char path[128];
	struct err err;

	memset(path, 'x', sizeof(path));
	path[97] = '\0';
	assert_int_equal(create(e, path, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.msg, "longer than 96 bytes"));
	*state = e;
}

static void an_inherited_socket_will_do(void **state)
{
	struct env *e = new_env();
	int fd = serve(e->path, 8), plain = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[32];
	struct err err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", plain);
	assert_int_equal(create(e, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a listening unix socket of type stream"));
	close(plain);
	assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(create(e, path, &err), 0);
	close(fd);
	e->rx = fake_alloc(&e->host, RX_SLOTS * RX_SIZE, 1);
	e->tx = fake_alloc(&e->host, TX_AREA, 1);
	start(e);
	close(connect_out(e, GUEST)); /* by the name that the socket has */
	*state = e;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_guest_finds_its_cid),
		TEST(the_guest_connects_and_both_talk),
		TEST(suspended_it_is_silent_and_loses_nothing),
		TEST(resumed_after_a_reset_it_knows_no_old_connection),
		TEST(a_port_where_nobody_listens_is_refused),
		TEST(a_listener_whose_backlog_is_full_refuses),
		TEST(a_client_connects_to_the_guest),
		TEST(what_a_client_says_with_its_greeting_is_kept),
		TEST(a_greeting_may_come_in_pieces),
		TEST(any_other_greeting_is_shown_the_door),
		TEST(a_client_that_says_nothing_hurts_nobody),
		TEST(without_descriptors_clients_wait_and_the_guest_is_refused),
		TEST(a_guest_that_does_not_answer_is_given_up),
		TEST(packets_with_forged_cids_are_dropped),
		TEST(another_type_is_reset_in_its_own_type),
		TEST(what_belongs_to_no_connection_is_reset),
		TEST(what_makes_no_sense_on_a_connection_resets_it),
		TEST(data_before_the_answer_resets),
		TEST(a_length_beyond_the_chain_resets),
		TEST(bytes_behind_the_length_are_nobodys),
		TEST(a_chain_too_short_for_a_header_is_dropped),
		TEST(a_header_in_pieces_is_understood),
		TEST(a_receive_buffer_without_room_breaks_the_device),
		TEST(a_broken_ring_breaks_the_device_until_reset),
		TEST(a_live_socket_is_in_use),
		ALONE(a_folder_that_somebody_keeps_locked_does_not_stop_it),
		ALONE(a_stale_socket_is_replaced),
		ALONE(another_file_is_left_alone),
		ALONE(a_path_too_long_for_ports_is_refused),
		ALONE(an_inherited_socket_will_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
