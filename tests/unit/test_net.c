/* virtio/net_io.c: packets, received and sent */
#include "tests/unit/net_rig.h"

#include <errno.h>

/* --- receive ------------------------------------------------------------- */

static void a_packet_takes_one_buffer(void **state)
{
	struct env *e = *state;

	offer_many(e, 64, 2048);
	assert_int_equal(fake_interrupts(&e->d, 1 + RX), 0);
	arrives(e, HDR + 1500);
	fake_run(&e->host);
	assert_int_equal(takes(e, 0, 2048, HDR + 1500), 1);
	assert_int_equal(fake_interrupts(&e->d, 1 + RX), 1);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_large_packet_takes_several_buffers_and_the_next_the_next(void **state)
{
	struct env *e = *state;
	const unsigned sizes[] = { 5000, 1024, 100, MAX_PACKET, 1025, HDR + 14 };
	unsigned at = 0;

	offer_many(e, 200, 1024);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		arrives(e, sizes[i]);
	fake_run(&e->host);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned n = takes(e, at, 1024, sizes[i]);

		assert_int_equal(n, (sizes[i] + 1023) / 1024);
		at += n;
	}
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_packet_that_came_before_its_buffers_waits(void **state)
{
	struct env *e = *state;

	arrives(e, 1000);
	fake_run(&e->host);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer_many(e, 1, 2048);
	takes(e, 0, 2048, 1000);
	/* And again, with a ring that has been empty. */
	arrives(e, 1001);
	fake_run(&e->host);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer(e, 0, 2048);
	assert_true(fake_wants_kick(&e->d, RX, (uint16_t)(e->d.q[RX].avail_idx - 1)));
	fake_kick(&e->d, RX);
	takes(e, 0, 2048, 1001);
}

/* The wire keeps what does not fit yet, and none of it is lost. */
static void a_slow_guest_gets_everything(void **state)
{
	struct env *e = *state;
	unsigned sent = 0, got = 0, round = 0;

	/* Two are left over whenever it has none left. */
	offer_many(e, 126, 1024);
	while (got < 200) {
		uint32_t used;
		unsigned n = 0;

		while (sent < 200 &&
		       send(e->wire, e->packet, 4000 + sent % 5, MSG_DONTWAIT) > 0)
			sent++;
		fake_run(&e->host);
		while (n < 40 && fake_used(&e->d, RX, NULL, &used))
			n++;
		assert_true(n > 0 && round++ < 1000);
		/* 4 buffers a packet: 4000 + 0 to 4 bytes. */
		assert_int_equal(n % 4, 0);
		got += n / 4;
		for (unsigned i = 0; i < n; i++)
			offer(e, i, 1024);
		fake_kick(&e->d, RX);
	}
	assert_int_equal(sent, 200);
}

static void a_guest_with_few_buffers_gets_what_fits(void **state)
{
	struct env *e = *state;

	offer_many(e, 4, 2048);
	arrives(e, 8192);
	arrives(e, 100); /* the first has taken all */
	fake_run(&e->host);
	takes(e, 0, 2048, 8192);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer_many(e, 4, 2048);
	takes(e, 0, 2048, 100);
	/* Three are left: it is dropped, and they take the next. */
	arrives(e, 8193);
	arrives(e, 6144);
	fake_run(&e->host);
	takes(e, 1, 2048, 6144);
}

static void without_merging_a_packet_has_one_buffer(void **state)
{
	struct env *e = *state;

	restart(e, FAKE_ALL_FEATURES & ~(uint64_t)F_MRG_RXBUF);
	offer_many(e, 8, 2048);
	arrives(e, 2049); /* does not fit */
	arrives(e, 2048);
	arrives(e, HDR + 1);
	fake_run(&e->host);
	assert_int_equal(takes(e, 0, 2048, 2048), 1);
	assert_int_equal(takes(e, 1, 2048, HDR + 1), 1);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_header_may_be_in_pieces(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[] = { { GPA(e->buf.v), 5, true },
				   { GPA(e->buf.v + 5), 6, true },
				   { GPA(e->buf.v + 11), 2000, true } };

	fake_submit_indirect(&e->d, RX, segs, 3);
	fake_kick(&e->d, RX);
	arrives(e, 1000);
	fake_run(&e->host);
	memset(e->mem + 1000, 0xee, 1);
	takes(e, 0, 2011, 1000);
}

static void runts_from_the_wire_are_dropped(void **state)
{
	struct env *e = *state;

	offer_many(e, 4, 2048);
	arrives(e, HDR - 1);
	arrives(e, 100);
	fake_run(&e->host);
	takes(e, 0, 2048, 100);
}

static void many_packets_come_in_one_go(void **state)
{
	struct env *e = *state;

	offer_many(e, 256, 2048);
	for (unsigned i = 0; i < 150; i++) {
		arrives(e, 100 + i);
		if (i % 50 == 49)
			fake_run(&e->host);
	}
	for (unsigned i = 0; i < 150; i++)
		takes(e, i, 2048, 100 + i);
}

/* --- send ---------------------------------------------------------------- */

static void nothing_is_sent(struct env *e)
{
	assert_int_equal(recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT), -1);
}

static void packets_go_out_as_they_are(void **state)
{
	struct env *e = *state;
	uint32_t used;

	submit(e, HDR + 60);
	fake_kick(&e->d, TX);
	sent(e, HDR + 60);
	submit(e, MAX_PACKET);
	fake_kick(&e->d, TX);
	sent(e, MAX_PACKET);
	assert_true(fake_used(&e->d, TX, NULL, &used));
	assert_int_equal(used, 0);
	assert_true(fake_used(&e->d, TX, NULL, &used));
	assert_true(fake_interrupts(&e->d, 1 + TX) > 0);
}

static void packets_without_payload_and_giants_are_dropped(void **state)
{
	struct env *e = *state;
	struct fake_seg none = { e->buf, HDR, false };
	struct fake_seg tiny = { e->buf, 1, false };
	struct fake_seg giant = { e->buf, 4 << 20, false };
	struct fake_seg wrong = { e->buf, 100, true };
	struct fake_seg many[100];

	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = giant;
	assert_int_equal(fake_request(&e->d, TX, &none, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, &tiny, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, &giant, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, &wrong, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, many, ARRAY_SIZE(many)), 0);
	nothing_is_sent(e);
	submit(e, 100);
	fake_kick(&e->d, TX);
	sent(e, 100);
}

/* More than the tap takes, and more than one turn's budget: all come, in order. */
static void a_full_tap_holds_packets_back_and_loses_none(void **state)
{
	struct env *e = *state;
	unsigned completed = 0, got = 0;

	for (unsigned i = 0; i < 256; i++) {
		struct fake_seg seg = { GPA(e->buf.v + i * 16384), HDR + 10000 + i,
					false };

		e->mem[i * 16384 + HDR] = (unsigned char)i;
		fake_submit(&e->d, TX, &seg, 1);
	}
	fake_kick(&e->d, TX);
	while (fake_used(&e->d, TX, NULL, NULL))
		completed++;
	assert_true(completed > 0 && completed < 256);
	/* While it is full, packets still come in. */
	offer_many(e, 1, 2048);
	arrives(e, 100);
	fake_run(&e->host);
	assert_true(fake_used(&e->d, RX, NULL, NULL));
	while (got < 256) {
		ssize_t len = recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT);

		if (len < 0) {
			assert_int_equal(errno, EAGAIN);
			fake_run(&e->host);
			len = recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT);
		}
		assert_int_equal(len, HDR + 10000 + got);
		got++;
	}
	fake_run(&e->host);
	while (fake_used(&e->d, TX, NULL, NULL))
		completed++;
	assert_int_equal(completed, 256);
}

/* A turn ends where the ring does, too: the next packet's kick must be wanted. */
static void exactly_one_turn_of_packets_does_not_stop_the_queue(void **state)
{
	struct env *e = *state;

	for (unsigned n = 1; n <= 130; n++) {
		uint16_t old = e->d.q[TX].avail_idx;

		for (unsigned i = 0; i < n; i++)
			submit(e, 100);
		assert_true(fake_wants_kick(&e->d, TX, old));
		fake_kick(&e->d, TX);
		for (unsigned i = 0; i < n; i++) {
			sent(e, 100);
			fake_run(&e->host);
		}
		for (unsigned i = 0; i < n; i++)
			assert_true(fake_used(&e->d, TX, NULL, NULL));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_packet_takes_one_buffer),
		TEST(a_large_packet_takes_several_buffers_and_the_next_the_next),
		TEST(a_packet_that_came_before_its_buffers_waits),
		TEST(a_slow_guest_gets_everything),
		TEST(a_guest_with_few_buffers_gets_what_fits),
		TEST(without_merging_a_packet_has_one_buffer),
		TEST(a_header_may_be_in_pieces),
		TEST(runts_from_the_wire_are_dropped),
		TEST(many_packets_come_in_one_go),
		TEST(packets_go_out_as_they_are),
		TEST(packets_without_payload_and_giants_are_dropped),
		TEST(a_full_tap_holds_packets_back_and_loses_none),
		TEST(exactly_one_turn_of_packets_does_not_stop_the_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
