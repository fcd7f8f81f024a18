/* The balloon. */
#include "virtio/balloon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"

#define BALLOON_ID 5
#define PAGE 4096u
#define MEM_SIZE (8u << 20)
#define PAGES 64u

enum { INFLATE, DEFLATE, STATS, REPORTING };
enum { F_STATS_VQ = 1 << 1, F_DEFLATE_ON_OOM = 1 << 2, F_PAGE_REPORTING = 1 << 5 };
enum { NUM_PAGES = 0, ACTUAL = 4 };

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	gpa_t pages; /* PAGES pages, filled with ones */
	unsigned answers;
	struct balloon_stats answer;
};

static struct env *new_env(const struct virtio_balloon_cfg *cfg)
{
	struct env *e = calloc(1, sizeof(*e));
	struct err err;

	fake_host_init(&e->host, "balloon", MEM_SIZE);
	if (virtio_balloon_class.create(cfg, &e->host.host, &e->dev, &err) < 0)
		fail_msg("%s", err.msg);
	e->pages = fake_alloc(&e->host, PAGES * PAGE, PAGE);
	memset(fake_ptr(&e->host, e->pages, PAGES * PAGE), 1, PAGES * PAGE);
	return e;
}

static int set_up(void **state)
{
	const struct virtio_balloon_cfg cfg = { .start = 1 << 20,
						.page_reporting = true };
	struct env *e = new_env(&cfg);

	fake_driver_start(&e->d, &e->host, BALLOON_ID, FAKE_ALL_FEATURES);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	virtio_balloon_class.free(e->dev);
	fake_host_free(&e->host);
	free(e);
	return 0;
}

static uint32_t pfn(const struct env *e, unsigned page)
{
	return (uint32_t)(e->pages.v / PAGE + page);
}

/* How many of the pages are the host's again; those read as zeroes. */
static unsigned given_back(struct env *e)
{
	unsigned char *p = fake_ptr(&e->host, e->pages, PAGES * PAGE);
	unsigned char present[PAGES];
	unsigned n = 0;

	assert_int_equal(mincore(p, sizeof(present) * PAGE, present), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		n += !(present[i] & 1);
		if (!(present[i] & 1))
			assert_int_equal(p[i * PAGE], 0);
	}
	return n;
}

static bool is_given_back(struct env *e, unsigned page)
{
	return *(unsigned char *)fake_ptr(&e->host, GPA(e->pages.v + page * PAGE), 1) ==
	       0;
}

static void send_pfns(struct env *e, unsigned queue, const uint32_t *pfns, unsigned n)
{
	struct fake_seg seg = { fake_put(&e->host, pfns, n * 4), n * 4, false };

	assert_int_equal(fake_request(&e->d, queue, &seg, 1), 0);
}

static void inflated_pages_and_no_others_are_given_back(void **state)
{
	struct env *e = *state;
	/* Up, down, alone, twice. */
	const uint32_t pfns[] = { pfn(e, 2),  pfn(e, 3),  pfn(e, 4),  pfn(e, 12),
				  pfn(e, 11), pfn(e, 10), pfn(e, 40), pfn(e, 40) };

	send_pfns(e, INFLATE, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(fake_interrupts(&e->d, 1 + INFLATE), 1);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(is_given_back(e, i),
				 (i >= 2 && i <= 4) || (i >= 10 && i <= 12) || i == 40);
}

static void more_page_numbers_than_fit_one_part_are_all_seen(void **state)
{
	struct env *e = *state;
	uint32_t pfns[1000];

	/* The last ones are the only ones that are ours. */
	for (unsigned i = 0; i < ARRAY_SIZE(pfns); i++)
		pfns[i] = i < 990 ? 0x700 + i % 2 : pfn(e, i - 990);
	send_pfns(e, INFLATE, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(given_back(e), 10);
}

static void deflated_pages_stay_as_they_are(void **state)
{
	struct env *e = *state;
	const uint32_t pfns[] = { pfn(e, 0), pfn(e, 1) };

	send_pfns(e, DEFLATE, pfns, 2);
	assert_int_equal(given_back(e), 0);
}

static void page_numbers_outside_of_ram_do_nothing(void **state)
{
	struct env *e = *state;
	const uint32_t end = MEM_SIZE / PAGE;
	const uint32_t pfns[] = { end,	      UINT32_MAX, UINT32_MAX - 1, 0x80000000,
				  end - 1,    end,	  pfn(e, 7),	  0x100000,
				  UINT32_MAX, 0,	  UINT32_MAX };

	send_pfns(e, INFLATE, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(given_back(e), 1);
	assert_true(is_given_back(e, 7));
	assert_false(fake_status(&e->d) & FAKE_NEEDS_RESET);
}

static void requests_of_odd_shapes_come_back(void **state)
{
	struct env *e = *state;
	const uint32_t one = pfn(e, 5);
	gpa_t buf = fake_put(&e->host, &one, 4);
	struct fake_seg short_one = { buf, 3, false };
	struct fake_seg writable = { buf, 4, true };
	struct fake_seg split[] = { { buf, 1, false },
				    { GPA(buf.v + 1), 2, false },
				    { GPA(buf.v + 3), 1, false } };

	fake_request(&e->d, INFLATE, &short_one, 1);
	fake_request(&e->d, INFLATE, &writable, 1);
	assert_int_equal(given_back(e), 0);
	fake_request(&e->d, INFLATE, split, 3);
	assert_int_equal(given_back(e), 1);
}

/* 16384 page numbers are looked at, and not 100 million. */
static void a_giant_request_is_cut(void **state)
{
	struct env *e = *state;
	uint32_t *pfns = fake_ptr(&e->host, GPA(1 << 20), 4 << 20);
	struct fake_seg segs[100];

	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		segs[i] = (struct fake_seg){ GPA(1 << 20), 4 << 20, false };
	pfns[16383] = pfn(e, 5);
	pfns[16384] = pfn(e, 6);
	assert_int_equal(fake_request(&e->d, INFLATE, segs, ARRAY_SIZE(segs)), 0);
	/* Looking at one brings it back. */
	assert_int_equal(given_back(e), 1);
	assert_true(is_given_back(e, 5));
}

static void giant_requests_take_turns_with_the_loop(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { GPA(1 << 20), 16384 * 4, false };

	for (unsigned i = 0; i < 3; i++)
		fake_submit(&e->d, INFLATE, &seg, 1);
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[INFLATE], INFLATE, 2);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(loop_poll(e->host.host.loop), 1);
		assert_true(fake_used(&e->d, INFLATE, NULL, NULL));
		assert_false(fake_used(&e->d, INFLATE, NULL, NULL));
	}
}

static void reported_pages_are_given_back_and_parts_of_pages_are_not(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[] = {
		{ GPA(e->pages.v + 10 * PAGE), 3 * PAGE, true },
		{ GPA(e->pages.v + 20 * PAGE + 1), 2 * PAGE, true },
		{ GPA(e->pages.v + 30 * PAGE + 100), 200, true },
		{ GPA(e->pages.v + 40 * PAGE), PAGE, true },
	};

	assert_int_equal(fake_request(&e->d, REPORTING, segs, 4), 0);
	assert_int_equal(given_back(e), 5);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(is_given_back(e, i),
				 (i >= 10 && i <= 12) || i == 21 || i == 40);
}

/* The numbering of the specification, where a queue for hints would be before it. */
static void reporting_works_on_the_fifth_queue_too(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { e->pages, PAGE, true };

	fake_request(&e->d, REPORTING + 1, &seg, 1);
	assert_int_equal(given_back(e), 1);
}

static void without_statistics_reporting_is_the_third_queue(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { e->pages, PAGE, true };

	fake_driver_start(&e->d, &e->host, BALLOON_ID,
			  FAKE_ALL_FEATURES & ~(uint64_t)F_STATS_VQ);
	assert_int_equal(virtio_balloon_stats(e->dev, NULL, NULL), 0);
	fake_request(&e->d, STATS, &seg, 1);
	assert_int_equal(given_back(e), 1);
}

static void reports_need_the_feature(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { e->pages, PAGE, true };

	fake_driver_start(&e->d, &e->host, BALLOON_ID,
			  FAKE_ALL_FEATURES & ~(uint64_t)F_PAGE_REPORTING);
	fake_request(&e->d, REPORTING, &seg, 1);
	assert_int_equal(given_back(e), 0);
}

static void by_default_there_is_no_reporting(void **state)
{
	const struct virtio_balloon_cfg cfg = { 0 };
	struct env *e = new_env(&cfg);

	*state = e;
	fake_driver_find(&e->d, &e->host, BALLOON_ID, 0);
	assert_int_equal(fake_driver_offered(&e->d) & 0xff,
			 F_STATS_VQ | F_DEFLATE_ON_OOM);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 3);
	assert_int_equal(fake_config_in(&e->d, NUM_PAGES, 4), 0);
	tear_down(state);
}

static void the_target_is_told_and_the_actual_size_heard(void **state)
{
	struct env *e = *state;
	struct balloon_state s;
	struct err err;

	assert_int_equal(fake_config_in(&e->d, NUM_PAGES, 4), 256);
	assert_int_equal(virtio_balloon_set(e->dev, 3 * PAGE + 17, &err), 0);
	assert_int_equal(fake_interrupts(&e->d, 0), 1);
	assert_int_equal(fake_config_in(&e->d, NUM_PAGES, 4), 3);
	fake_config_out(&e->d, ACTUAL, 2, 4);
	fake_config_out(&e->d, NUM_PAGES, 99, 4); /* not the guest's */
	virtio_balloon_get(e->dev, &s);
	assert_int_equal(s.target, 3 * PAGE);
	assert_int_equal(s.actual, 2 * PAGE);
	assert_true(s.age_ms == UINT64_MAX);
	fake_driver_reset(&e->d);
	virtio_balloon_get(e->dev, &s);
	assert_int_equal(s.target, 3 * PAGE);
	assert_int_equal(s.actual, 0);
}

static void nobody_has_a_balloon_larger_than_the_memory(void **state)
{
	struct env *e = *state;
	struct balloon_state s;
	struct err err;

	assert_int_equal(virtio_balloon_set(e->dev, MEM_SIZE, &err), 0);
	assert_int_equal(virtio_balloon_set(e->dev, MEM_SIZE + 1, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "balloon"));
	fake_config_out(&e->d, ACTUAL, UINT32_MAX, 4);
	virtio_balloon_get(e->dev, &s);
	assert_int_equal(s.target, MEM_SIZE);
	assert_int_equal(s.actual, MEM_SIZE);
}

/* --- statistics ------------------------------------------------------------ */

struct stat_entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static void submit_stats(struct env *e, const struct stat_entry *stats, unsigned n)
{
	struct fake_seg seg = { fake_put(&e->host, stats, n * sizeof(*stats)),
				n * (uint32_t)sizeof(*stats), false };

	fake_submit(&e->d, STATS, &seg, 1);
	fake_kick(&e->d, STATS);
}

static void answered(void *arg, const struct balloon_stats *stats)
{
	struct env *e = arg;
	struct balloon_state s;

	e->answers++;
	e->answer = *stats;
	/* No lock is held: it may look. */
	virtio_balloon_get(e->dev, &s);
	assert_int_equal(s.stats.valid, stats->valid);
}

static void statistics_are_asked_for_and_answered(void **state)
{
	struct env *e = *state;
	const struct stat_entry first[] = { { 4, 1000 } };
	const struct stat_entry second[] = {
		{ 5, 7 }, { 4, 999 }, { 0x1234, 1 }, { 16, 1 }
	};
	struct balloon_state s;

	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), -ENOTCONN);
	submit_stats(e, first, 1);
	assert_false(fake_used(&e->d, STATS, NULL, NULL));
	virtio_balloon_get(e->dev, &s);
	assert_int_equal(s.stats.valid, 1 << 4);
	assert_int_equal(s.stats.value[4], 1000);
	assert_true(s.age_ms < 60000);

	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), 0);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), -EBUSY);
	assert_true(fake_used(&e->d, STATS, NULL, NULL));
	assert_int_equal(fake_interrupts(&e->d, 1 + STATS), 1);
	assert_int_equal(e->answers, 0);
	submit_stats(e, second, 4);
	assert_int_equal(e->answers, 1);
	assert_int_equal(e->answer.valid, 1 << 4 | 1 << 5);
	assert_int_equal(e->answer.value[4], 999);
	assert_int_equal(e->answer.value[5], 7);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), 0);
}

static void who_has_given_up_is_not_called(void **state)
{
	struct env *e = *state;
	const struct stat_entry stat = { 4, 1000 };

	submit_stats(e, &stat, 1);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), 0);
	assert_int_equal(virtio_balloon_stats(e->dev, NULL, NULL), 0);
	assert_true(fake_used(&e->d, STATS, NULL, NULL));
	submit_stats(e, &stat, 1);
	assert_int_equal(e->answers, 0);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), 0);
}

static void a_reset_forgets_the_buffer(void **state)
{
	struct env *e = *state;
	const struct stat_entry stat = { 4, 1000 };

	submit_stats(e, &stat, 1);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), 0);
	fake_driver_start(&e->d, &e->host, BALLOON_ID, FAKE_ALL_FEATURES);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), -EBUSY);
	assert_int_equal(virtio_balloon_stats(e->dev, NULL, NULL), 0);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), -ENOTCONN);
	assert_false(fake_used(&e->d, STATS, NULL, NULL));
}

static void statistics_of_any_length_do_no_harm(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[100];
	struct fake_seg tiny = { GPA(1 << 20), 9, false };
	struct balloon_state s;

	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		segs[i] = (struct fake_seg){ GPA(1 << 20), 4 << 20, false };
	fake_submit(&e->d, STATS, segs, ARRAY_SIZE(segs));
	fake_kick(&e->d, STATS);
	virtio_balloon_get(e->dev, &s);
	assert_true(s.stats.valid & 1);
	/* A second buffer: the first comes back, and one stays. */
	fake_submit(&e->d, STATS, &tiny, 1);
	fake_kick(&e->d, STATS);
	assert_true(fake_used(&e->d, STATS, NULL, NULL));
	assert_false(fake_used(&e->d, STATS, NULL, NULL));
	virtio_balloon_get(e->dev, &s);
	assert_int_equal(s.stats.valid, 0);
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;
	const uint32_t one = pfn(e, 5);

	fake_avail(&e->d, INFLATE, 128);
	fake_kick(&e->d, INFLATE);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	assert_int_equal(virtio_balloon_stats(e->dev, answered, e), -ENOTCONN);
	fake_driver_start(&e->d, &e->host, BALLOON_ID, FAKE_ALL_FEATURES);
	send_pfns(e, INFLATE, &one, 1);
	assert_int_equal(given_back(e), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(inflated_pages_and_no_others_are_given_back),
		TEST(more_page_numbers_than_fit_one_part_are_all_seen),
		TEST(deflated_pages_stay_as_they_are),
		TEST(page_numbers_outside_of_ram_do_nothing),
		TEST(requests_of_odd_shapes_come_back),
		TEST(a_giant_request_is_cut),
		TEST(giant_requests_take_turns_with_the_loop),
		TEST(reported_pages_are_given_back_and_parts_of_pages_are_not),
		TEST(reporting_works_on_the_fifth_queue_too),
		TEST(without_statistics_reporting_is_the_third_queue),
		TEST(reports_need_the_feature),
		cmocka_unit_test(by_default_there_is_no_reporting),
		TEST(the_target_is_told_and_the_actual_size_heard),
		TEST(nobody_has_a_balloon_larger_than_the_memory),
		TEST(statistics_are_asked_for_and_answered),
		TEST(who_has_given_up_is_not_called),
		TEST(a_reset_forgets_the_buffer),
		TEST(statistics_of_any_length_do_no_harm),
		TEST(a_broken_ring_breaks_the_device_until_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
