/* The entropy device. */
#include "virtio/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fake_driver.h"

#define RNG_ID 4
#define MAX_LEN (64u << 10)

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	gpa_t buf; /* 1 MiB */
	unsigned char *mem; /* the same */
};

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	struct err err;

	fake_host_init(&e->host, "rng", 4 << 20);
	if (virtio_rng_class.create(NULL, &e->host.host, &e->dev, &err) < 0)
		fail_msg("%s", err.msg);
	e->buf = fake_alloc(&e->host, 1 << 20, 1);
	e->mem = fake_ptr(&e->host, e->buf, 1 << 20);
	fake_driver_start(&e->d, &e->host, RNG_ID, FAKE_ALL_FEATURES);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	virtio_rng_class.free(e->dev);
	fake_host_free(&e->host);
	free(e);
	return 0;
}

static gpa_t at(const struct env *e, unsigned off)
{
	return GPA(e->buf.v + off);
}

/* A run of 32 bytes without one that changed is no accident. */
static void is_random(const unsigned char *p, size_t len)
{
	static const unsigned char zeroes[32];

	for (size_t i = 0; i + 32 <= len; i += 32)
		assert_memory_not_equal(p + i, zeroes, 32);
}

static void is_untouched(const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(p[i], 0);
}

static void it_has_one_queue(void **state)
{
	struct env *e = *state;

	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 1);
	assert_int_equal(e->d.q[0].size, 64);
}

static void writable_segments_are_filled_and_nothing_else(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[] = {
		{ at(e, 0), 64, false },
		{ at(e, 64), 64, true },
		{ at(e, 192), 1000, true },
	};

	assert_int_equal(fake_request(&e->d, 0, segs, 3), 1064);
	is_untouched(e->mem, 64);
	is_random(e->mem + 64, 64);
	is_untouched(e->mem + 128, 64);
	is_random(e->mem + 192, 1000);
	is_untouched(e->mem + 1192, 64);
	assert_int_equal(fake_interrupts(&e->d, 1), 1);
}

static void a_huge_request_is_filled_in_part(void **state)
{
	struct env *e = *state;
	struct fake_seg one[] = { { at(e, 0), 1 << 20, true } };
	struct fake_seg two[] = {
		{ at(e, 0), MAX_LEN - 1, true },
		{ at(e, 512 << 10), 100, true },
		{ at(e, 768 << 10), 100, true },
	};

	assert_int_equal(fake_request(&e->d, 0, one, 1), MAX_LEN);
	is_random(e->mem, MAX_LEN);
	is_untouched(e->mem + MAX_LEN, (1 << 20) - MAX_LEN);
	assert_int_equal(fake_request(&e->d, 0, two, 3), MAX_LEN);
	is_untouched(e->mem + (512 << 10) + 1, 99);
	is_untouched(e->mem + (768 << 10), 100);
}

static void a_request_with_nothing_to_fill_comes_back(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { at(e, 0), 64, false };

	assert_int_equal(fake_request(&e->d, 0, &seg, 1), 0);
	is_untouched(e->mem, 64);
}

static void a_full_queue_is_served_twice(void **state)
{
	struct env *e = *state;

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 64; i++) {
			struct fake_seg seg = { at(e, i * 32), 32, true };

			fake_submit(&e->d, 0, &seg, 1);
		}
		assert_true(fake_wants_kick(&e->d, 0,
					    (uint16_t)(e->d.q[0].avail_idx - 64)));
		memset(e->mem, 0, 64 * 32);
		fake_kick(&e->d, 0);
		for (unsigned i = 0; i < 64; i++) {
			uint32_t len;

			assert_true(fake_used(&e->d, 0, NULL, &len));
			assert_int_equal(len, 32);
		}
		is_random(e->mem, 64 * 32);
	}
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { at(e, 0), 32, true };

	fake_avail(&e->d, 0, 64);
	fake_kick(&e->d, 0);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	fake_driver_start(&e->d, &e->host, RNG_ID, FAKE_ALL_FEATURES);
	assert_int_equal(fake_request(&e->d, 0, &seg, 1), 32);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_has_one_queue),
		TEST(writable_segments_are_filled_and_nothing_else),
		TEST(a_huge_request_is_filled_in_part),
		TEST(a_request_with_nothing_to_fill_comes_back),
		TEST(a_full_queue_is_served_twice),
		TEST(a_broken_ring_breaks_the_device_until_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
