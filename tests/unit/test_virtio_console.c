/* The virtio console between real rings and a real chardev on two pipes. */
#include "virtio/console.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/fake_driver.h"

#define CONSOLE_ID 3
#define SIZE 256
enum { RX, TX };

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct chardev *chr;
	struct device *dev;
	int in, out; /* our ends */
	gpa_t buf; /* 64 KiB */
	unsigned char *mem; /* the same */
};

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	int in[2], out[2];
	char in_path[32], out_path[32];
	struct chardev_cfg chr = { .type = CHARDEV_FILE };
	struct virtio_console_cfg cfg = { .num = 1 };
	struct err err;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	snprintf(in_path, sizeof(in_path), "/proc/self/fd/%d", in[0]);
	snprintf(out_path, sizeof(out_path), "/proc/self/fd/%d", out[1]);
	chr.path = out_path;
	chr.input = in_path;

	fake_host_init(&e->host, "console1", 4 << 20);
	if (chardev_open(&chr, "console 1", e->host.host.loop, &e->chr, &err) < 0)
		fail_msg("%s", err.msg);
	close(in[0]);
	close(out[1]);
	e->in = in[1];
	e->out = out[0];
	assert_int_equal(fcntl(e->out, F_SETFL, O_NONBLOCK), 0);
	cfg.chr = e->chr;
	if (virtio_console_class.create(&cfg, &e->host.host, &e->dev, &err) < 0)
		fail_msg("%s", err.msg);
	e->buf = fake_alloc(&e->host, 64 << 10, 1);
	e->mem = fake_ptr(&e->host, e->buf, 64 << 10);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	virtio_console_class.free(e->dev);
	chardev_close(e->chr);
	fake_host_free(&e->host);
	close(e->in);
	close(e->out);
	free(e);
	return 0;
}

/* The guest writes, which shows that its terminal is there to take input. */
static void speak(struct env *e)
{
	struct fake_seg seg = { GPA(e->buf.v + (64 << 10) - 1), 1, false };
	char byte;

	fake_request(&e->d, TX, &seg, 1);
	fake_interrupts(&e->d, TX + 1);
	assert_int_equal(read(e->out, &byte, 1), 1);
}

static void start_silent(struct env *e)
{
	fake_driver_start(&e->d, &e->host, CONSOLE_ID, FAKE_ALL_FEATURES);
}

static void start(struct env *e)
{
	start_silent(e);
	speak(e);
}

static gpa_t at(const struct env *e, unsigned off)
{
	return GPA(e->buf.v + off);
}

/* Offer @n receive buffers of @len bytes each. */
static void offer(struct env *e, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		struct fake_seg seg = { at(e, i * len), len, true };

		fake_submit(&e->d, RX, &seg, 1);
	}
}

static void type(struct env *e, const char *text)
{
	assert_int_equal(write(e->in, text, strlen(text)), strlen(text));
	fake_run(&e->host);
}

/* The next receive buffer to come back holds exactly @text, at @off. */
static void received(struct env *e, unsigned off, const char *text)
{
	uint32_t len;

	assert_true(fake_used(&e->d, RX, NULL, &len));
	assert_int_equal(len, strlen(text));
	assert_memory_equal(e->mem + off, text, len);
}

static void nothing_received(struct env *e)
{
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void printed(struct env *e, const void *text, size_t len)
{
	static char got[64 << 10];

	assert_true(len <= sizeof(got));
	assert_int_equal(read(e->out, got, sizeof(got)), len);
	assert_memory_equal(got, text, len);
}

static void it_is_a_console_with_two_queues(void **state)
{
	struct env *e = *state;

	start(e);
	assert_int_equal(fake_driver_offered(&e->d) & 0xffffff, 0);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 2);
	assert_int_equal(e->d.q[RX].size, SIZE);
	assert_int_equal(fake_pci_in(&e->d, 0x09, 2) | fake_pci_in(&e->d, 0x0b, 1)
							       << 16,
			 0x078000);
}

/* --- output ---------------------------------------------------------------- */

static void output_comes_out_whatever_its_pieces(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[] = {
		{ at(e, 0), 1, false },
		{ at(e, 100), 4, false },
		{ at(e, 200), 2, false },
		{ at(e, 300), 8, true }, /* nothing that we would fill */
	};

	start(e);
	memcpy(e->mem, "h", 1);
	memcpy(e->mem + 100, "ello", 4);
	memcpy(e->mem + 200, "\r\n", 2);
	fake_interrupts(&e->d, TX + 1);
	assert_int_equal(fake_request(&e->d, TX, segs, 4), 0);
	printed(e, "hello\r\n", 7);
	assert_int_equal(fake_interrupts(&e->d, TX + 1), 1);
	assert_int_equal(e->mem[300], 0);
}

static void a_full_queue_is_printed_in_order(void **state)
{
	struct env *e = *state;
	char text[SIZE * 4 + 1];

	start(e);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < SIZE; i++) {
			struct fake_seg seg = { at(e, 4 * i), 4, false };

			snprintf(text + 4 * i, 5, "%03u ", i);
			memcpy(e->mem + 4 * i, text + 4 * i, 4);
			fake_submit(&e->d, TX, &seg, 1);
		}
		assert_true(fake_wants_kick(&e->d, TX,
					    (uint16_t)(e->d.q[TX].avail_idx - SIZE)));
		fake_kick(&e->d, TX);
		printed(e, text, SIZE * 4);
		for (unsigned i = 0; i < SIZE; i++)
			assert_true(fake_used(&e->d, TX, NULL, NULL));
	}
}

static void a_reader_that_does_not_read_stops_nothing(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { at(e, 0), 64 << 10, false };

	start(e);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(fake_request(&e->d, TX, &seg, 1), 0);
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { at(e, 0), 2, false };

	start(e);
	fake_avail(&e->d, TX, SIZE);
	fake_kick(&e->d, TX);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	start(e);
	memcpy(e->mem, "ok", 2);
	assert_int_equal(fake_request(&e->d, TX, &seg, 1), 0);
	printed(e, "ok", 2);
}

static void intx_will_do(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { at(e, 0), 2, false };

	fake_driver_start_intx(&e->d, &e->host, CONSOLE_ID, FAKE_ALL_FEATURES);
	assert_int_equal(fake_request(&e->d, TX, &seg, 1), 0);
	assert_int_equal(fake_isr(&e->d), 1);
}

/* --- input ----------------------------------------------------------------- */

static void input_fills_the_buffers_that_wait_for_it(void **state)
{
	struct env *e = *state;

	start(e);
	offer(e, 4, 8);
	fake_kick(&e->d, RX);
	nothing_received(e);
	type(e, "ls\n");
	assert_int_equal(fake_interrupts(&e->d, RX + 1), 1);
	received(e, 0, "ls\n");
	type(e, "a longer line\n");
	received(e, 8, "a longer");
	received(e, 16, " line\n");
	nothing_received(e);
}

static void input_waits_for_buffers(void **state)
{
	struct env *e = *state;

	start(e);
	type(e, "typed ahead");
	offer(e, 1, 4);
	assert_true(fake_wants_kick(&e->d, RX, 0));
	fake_kick(&e->d, RX);
	received(e, 0, "type");
	nothing_received(e);
	offer(e, 1, 64);
	fake_kick(&e->d, RX);
	received(e, 0, "d ahead");
	type(e, "!");
	offer(e, 1, 64);
	fake_kick(&e->d, RX);
	received(e, 0, "!");
}

static void input_waits_while_it_is_suspended(void **state)
{
	struct env *e = *state;

	start(e);
	offer(e, 2, 64);
	fake_kick(&e->d, RX);
	virtio_console_class.pause(e->dev, DEV_SUSPENDED);
	type(e, "meanwhile");
	nothing_received(e);
	virtio_console_class.pause(e->dev, DEV_RUNS);
	fake_run(&e->host);
	received(e, 0, "meanwhile");
	type(e, "later");
	received(e, 64, "later");
}

static void buffers_offered_before_driver_ok_count(void **state)
{
	struct env *e = *state;

	type(e, "early");
	fake_driver_find(&e->d, &e->host, CONSOLE_ID, 0);
	fake_driver_reset(&e->d);
	assert_true(fake_driver_negotiate(&e->d, VIRTIO_F_VERSION_1));
	fake_driver_queue(&e->d, RX, 0);
	fake_driver_queue(&e->d, TX, 0);
	offer(e, 1, 64);
	fake_run(&e->host);
	nothing_received(e);
	fake_driver_ok(&e->d);
	fake_run(&e->host);
	nothing_received(e);
	speak(e);
	received(e, 0, "early");
}

static void input_waits_until_a_silent_guest_can_take_it(void **state)
{
	struct env *e = *state;

	start_silent(e);
	offer(e, 1, 64);
	fake_kick(&e->d, RX);
	type(e, "patience");
	nothing_received(e);
	usleep(1100000);
	fake_run(&e->host);
	received(e, 0, "patience");
}

static void a_long_input_arrives_whole_and_in_order(void **state)
{
	struct env *e = *state;
	char text[6000];
	unsigned done = 0;

	start(e);
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7 + i / 256);
	assert_int_equal(write(e->in, text, sizeof(text)), sizeof(text));
	while (done < sizeof(text)) {
		uint32_t len;

		offer(e, 200, 7);
		fake_kick(&e->d, RX);
		for (unsigned i = 0; fake_used(&e->d, RX, NULL, &len); i++) {
			assert_memory_equal(e->mem + 7 * i, text + done, len);
			done += len;
		}
	}
	assert_int_equal(done, sizeof(text));
}

static void a_reset_takes_back_the_buffers_and_loses_no_input(void **state)
{
	struct env *e = *state;

	start(e);
	offer(e, 4, 8);
	fake_kick(&e->d, RX);
	fake_driver_reset(&e->d);
	type(e, "text");
	assert_int_equal(e->mem[0], 0);
	start(e);
	offer(e, 1, 8);
	fake_kick(&e->d, RX);
	received(e, 0, "text");
}

static void a_receive_buffer_that_cannot_be_filled_breaks_the_device(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { at(e, 0), 8, false };

	start(e);
	fake_submit(&e->d, RX, &seg, 1);
	fake_kick(&e->d, RX);
	type(e, "text");
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	start(e);
	offer(e, 1, 8);
	fake_kick(&e->d, RX);
	received(e, 0, "text");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_a_console_with_two_queues),
		TEST(output_comes_out_whatever_its_pieces),
		TEST(a_full_queue_is_printed_in_order),
		TEST(a_reader_that_does_not_read_stops_nothing),
		TEST(a_broken_ring_breaks_the_device_until_reset),
		TEST(intx_will_do),
		TEST(input_fills_the_buffers_that_wait_for_it),
		TEST(input_waits_for_buffers),
		TEST(input_waits_while_it_is_suspended),
		TEST(buffers_offered_before_driver_ok_count),
		TEST(input_waits_until_a_silent_guest_can_take_it),
		TEST(a_long_input_arrives_whole_and_in_order),
		TEST(a_reset_takes_back_the_buffers_and_loses_no_input),
		TEST(a_receive_buffer_that_cannot_be_filled_breaks_the_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
