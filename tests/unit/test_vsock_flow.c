/* Vsock over Unix sockets: flow control, and receive buffers that are not there. */
#include "tests/unit/vsock_rig.h"

/* --- flow control ---------------------------------------------------------- */

static void the_guest_gets_no_more_than_it_has_room_for(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	e->buf_alloc = 10;
	fd = connect_out(e, GUEST);
	write_all(fd, "0123456789abcdef", 16);
	hears_data(e, "0123456789");
	hears_op(e, ASK);
	hears_nothing(e);
	e->fwd_cnt = 4;
	says(e, UPDATE, GUEST, HOST);
	hears_data(e, "abcd");
	hears_op(e, ASK);
	e->buf_alloc = 5; /* it may shrink: 10 are under way */
	says(e, UPDATE, GUEST, HOST);
	hears_nothing(e);
	e->fwd_cnt = 14;
	says(e, UPDATE, GUEST, HOST);
	hears_data(e, "ef");
	hears_nothing(e);
	close(fd);
}

static void a_guest_that_lies_about_its_room_gets_nothing(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	e->buf_alloc = 0;
	fd = connect_out(e, GUEST);
	write_all(fd, "data", 4);
	hears_op(e, ASK);
	hears_nothing(e);
	e->buf_alloc = 100;
	e->fwd_cnt = 1; /* of nothing that it got */
	says(e, UPDATE, GUEST, HOST);
	hears_nothing(e);
	e->fwd_cnt = 0;
	says(e, UPDATE, GUEST, HOST);
	hears_data(e, "data");
	e->buf_alloc = UINT32_MAX;
	says(e, UPDATE, GUEST, HOST);
	write_all(fd, "more", 4);
	hears_data(e, "more");
	close(fd);
}

static void a_peer_that_does_not_read_fills_a_bounded_buffer(void **state)
{
	struct env *e = *state;
	uint32_t room, sent, seen = 0, told = 0;
	uint8_t buf[4096];
	ssize_t n;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sent = stuff(e, &room);
	assert_true(sent >= VSOCK_BUF);
	says(e, ASK, GUEST, HOST);
	hears_op(e, UPDATE);
	assert_true(VSOCK_BUF - (sent - e->got.fwd_cnt) < sizeof(buf));
	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0 || seen < sent) {
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, seen++)
			assert_int_equal(buf[i],
					 (uint8_t)((seen & 4095) * 7 +
						   (seen & ~4095u) * 7 + (seen >> 12)));
		fake_run(&e->host);
		while (hears(e)) {
			told = e->got.fwd_cnt;
			offer(e, 1);
		}
	}
	assert_int_equal(seen, sent);
	assert_true(sent - told < VSOCK_BUF / 2 + 1);
	close(fd);
}

static void more_than_was_granted_resets(void **state)
{
	struct env *e = *state;
	static uint8_t block[VSOCK_BUF + 1];
	uint32_t room;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	stuff(e, &room);
	assert_true(room < 4096);
	sends(e, block, 8192);
	hears_op(e, RST);
	close(fd);
	fd = connect_out(e, GUEST);
	sends(e, block, sizeof(block));
	hears_op(e, RST);
	close(fd);
}

static void a_full_socket_does_not_stop_others(void **state)
{
	struct env *e = *state;
	uint32_t room;
	int slow, quick;

	start(e);
	slow = connect_out(e, GUEST);
	quick = connect_out(e, GUEST + 1);
	stuff(e, &room);
	sends_on(e, GUEST + 1, HOST, "quick", 5);
	reads(quick, "quick");
	close(slow);
	close(quick);
}

/* --- the receive ring ------------------------------------------------------ */

static void everything_waits_for_receive_buffers(void **state)
{
	struct env *e = *state;
	int fd;

	start_empty(e);
	says(e, REQUEST, GUEST, HOST);
	says(e, REQUEST, GUEST + 1, 99);
	fake_run(&e->host);
	hears_nothing(e);
	fd = accept4(e->server, NULL, NULL, SOCK_CLOEXEC);
	write_all(fd, "patience", 8);
	fake_run(&e->host);
	submit_buffers(e, 3, RX_SIZE);
	assert_true(fake_wants_kick(&e->d, VSOCK_RX,
				    (uint16_t)(e->d.q[VSOCK_RX].avail_idx - 3)));
	fake_kick(&e->d, VSOCK_RX);
	assert_true(hears(e) && e->got.op == RESPONSE);
	assert_true(hears(e) && e->got.op == RST);
	assert_true(hears(e) && e->got.op == RW);
	assert_memory_equal(e->payload, "patience", 8);
	close(fd);
}

/* Each gets its answer, though only so many may wait at a time. */
static void a_storm_of_resets_is_bounded_and_loses_none(void **state)
{
	enum { STORM = 2000 };
	struct env *e = *state;
	static bool answered[STORM];
	unsigned submitted = 0, taken = 0, heard = 0;

	memset(answered, 0, sizeof(answered));
	start_empty(e);
	while (submitted - taken < 200) {
		struct vsock_packet p = packet(e, RW, submitted++, HOST);

		submit_packet(e, &p, 0);
		while (fake_used(&e->d, VSOCK_TX, NULL, NULL))
			taken++;
	}
	/* The transmit queue stands still. */
	assert_in_range(taken, 200, 300);
	while (heard < STORM) {
		offer(e, 1);
		fake_run(&e->host);
		while (hears(e)) {
			assert_int_equal(e->got.op, RST);
			assert_true(e->got.dst_port < STORM);
			assert_false(answered[e->got.dst_port]);
			answered[e->got.dst_port] = true;
			heard++;
		}
		while (fake_used(&e->d, VSOCK_TX, NULL, NULL))
			taken++;
		while (submitted < STORM && submitted - taken < 200) {
			struct vsock_packet p = packet(e, RW, submitted++, HOST);

			submit_packet(e, &p, 0);
		}
	}
	assert_int_equal(taken, STORM);
}

static void connections_beyond_the_limit_are_refused(void **state)
{
	struct env *e = *state;
	unsigned opened = 0, refused = 0;
	int *fds = calloc(1100, sizeof(*fds));

	start(e);
	for (unsigned i = 0; i < 1100; i++) {
		says(e, REQUEST, i, HOST);
		fake_run(&e->host);
		assert_true(hears(e));
		offer(e, 1);
		if (e->got.op == RESPONSE)
			fds[opened++] = accept4(e->server, NULL, NULL, SOCK_CLOEXEC);
		else
			refused++;
	}
	assert_int_equal(opened, 1024);
	assert_int_equal(refused, 1100 - 1024);
	/* Nor do clients get in; but what is there works, and makes room when it ends.
	 */
	close(dial(e->path));
	fake_run(&e->host);
	sends_on(e, 7, HOST, "still here", 10);
	reads(fds[7], "still here");
	says(e, RST, 7, HOST);
	fake_run(&e->host);
	says(e, REQUEST, 2000, HOST);
	hears_of(e, RESPONSE, 2000, HOST);
	for (unsigned i = 0; i < opened; i++)
		close(fds[i]);
	free(fds);
}

static void a_flood_of_connects_without_buffers_is_bounded(void **state)
{
	struct env *e = *state;
	unsigned taken = 0;

	start_empty(e);
	for (unsigned i = 0; i < 2000; i++) {
		struct vsock_packet p = packet(e, REQUEST, i, 99);

		if (i - taken == 200)
			break;
		submit_packet(e, &p, 0);
		while (fake_used(&e->d, VSOCK_TX, NULL, NULL))
			taken++;
	}
	/* As many connections as there may be, and as many refusals. */
	assert_in_range(taken, 1024 + 200, 1024 + 256);
}

/* --- a model --------------------------------------------------------------- */

/* The byte at @i of what one side of connection @n sends. */
static uint8_t byte_at(unsigned n, bool to_guest, uint32_t i)
{
	return (uint8_t)(i * 13 + (i >> 8) * 31 + n * 5 + to_guest);
}

struct stream {
	int fd;
	uint32_t out, out_seen, told; /* guest to host; as the device told */
	uint32_t in, in_seen; /* host to guest */
	uint32_t fwd_cnt; /* of what it got, what the guest has told */
};

enum { STREAMS = 5, TOTAL = 1 << 20 };

static void guest_hears(struct env *e, struct stream *s)
{
	while (hears(e)) {
		struct stream *c = &s[e->got.dst_port - GUEST];
		unsigned n = (unsigned)(c - s);

		assert_in_range(e->got.dst_port, GUEST, GUEST + STREAMS - 1);
		c->told = e->got.fwd_cnt;
		if (e->got.op != RW) {
			assert_true(e->got.op == UPDATE || e->got.op == ASK);
			continue;
		}
		for (uint32_t i = 0; i < e->got.len; i++, c->in_seen++)
			assert_int_equal(e->payload[i], byte_at(n, true, c->in_seen));
		assert_true(c->in_seen - c->fwd_cnt <= e->buf_alloc);
	}
}

static void guest_acts(struct env *e, struct stream *s, unsigned n)
{
	static uint8_t buf[VSOCK_BUF];
	uint32_t room = VSOCK_BUF - (s->out - s->told);
	uint32_t len = (uint32_t)(rand() % (rand() % 4 ? 5000 : VSOCK_BUF)) + 1;

	e->fwd_cnt = s->fwd_cnt = s->in_seen - (uint32_t)(rand() % 2) *
						       ((s->in_seen - s->fwd_cnt) / 2);
	len = len < room ? len : room;
	len = len < TOTAL - s->out ? len : TOTAL - s->out;
	if (len == 0) {
		says(e, UPDATE, GUEST + n, HOST);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		buf[i] = byte_at(n, false, s->out + i);
	sends_on(e, GUEST + n, HOST, buf, len);
	s->out += len;
}

static void host_acts(struct stream *s, unsigned n)
{
	static uint8_t buf[100000];
	uint32_t len = (uint32_t)rand() % sizeof(buf);
	ssize_t done;

	if (len > TOTAL - s->in)
		len = TOTAL - s->in;
	for (uint32_t i = 0; i < len; i++)
		buf[i] = byte_at(n, true, s->in + i);
	done = len ? send(s->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	s->in += done > 0 ? (uint32_t)done : 0;
	done = recv(s->fd, buf, (size_t)(rand() % (int)sizeof(buf)) + 1, MSG_DONTWAIT);
	for (ssize_t i = 0; i < done; i++, s->out_seen++)
		assert_int_equal(buf[i], byte_at(n, false, s->out_seen));
}

static void streams_arrive_byte_for_byte(void **state)
{
	struct env *e = *state;
	struct stream s[STREAMS] = { 0 };
	unsigned done = 0;

	srand(1);
	start_empty(e);
	offer(e, 8);
	e->buf_alloc = 30000;
	for (unsigned i = 0; i < STREAMS; i++)
		s[i].fd = connect_out(e, GUEST + i);
	for (unsigned turn = 0; done < STREAMS; turn++) {
		unsigned n = (unsigned)rand() % STREAMS;

		assert_true(turn < 200000);
		if (e->d.q[VSOCK_RX].avail_idx - e->d.q[VSOCK_RX].used_idx < 200)
			offer_sized(e, (unsigned)rand() % 6,
				    (uint32_t)(rand() % 4000) + HDR + 1);
		if (rand() % 2)
			guest_acts(e, &s[n], n);
		else
			host_acts(&s[n], n);
		if (rand() % 3)
			fake_run(&e->host);
		guest_hears(e, s);
		done = 0;
		for (unsigned i = 0; i < STREAMS; i++)
			done += s[i].in_seen == TOTAL && s[i].out_seen == TOTAL;
	}
	for (unsigned i = 0; i < STREAMS; i++)
		close(s[i].fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_guest_gets_no_more_than_it_has_room_for),
		TEST(a_guest_that_lies_about_its_room_gets_nothing),
		TEST(a_peer_that_does_not_read_fills_a_bounded_buffer),
		TEST(more_than_was_granted_resets),
		TEST(a_full_socket_does_not_stop_others),
		TEST(everything_waits_for_receive_buffers),
		TEST(a_storm_of_resets_is_bounded_and_loses_none),
		TEST(connections_beyond_the_limit_are_refused),
		TEST(a_flood_of_connects_without_buffers_is_bounded),
		TEST(streams_arrive_byte_for_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
