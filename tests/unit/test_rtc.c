/* devices/rtc.c, with a clock of our own */
#include "devices/rtc.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/fake_host.h"

static struct fake_host f;
static struct device *rtc;
static time_t now;
static long now_ns;
static int timer = -1; /* the device's, while it has one */
static struct itimerspec timer_set;

/* In place of libc's: a test says what time it is, and when the timer expires. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	*ts = (struct timespec){ now, now_ns };
	return 0;
}

int timerfd_create(clockid_t id, int flags)
{
	(void)id;
	assert_int_equal(flags, TFD_CLOEXEC | TFD_NONBLOCK);
	return timer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new,
		    struct itimerspec *old)
{
	assert_int_equal(fd, timer);
	assert_int_equal(flags, 0);
	assert_null(old);
	timer_set = *new;
	return 0;
}

static uint8_t get(unsigned reg)
{
	fake_out(&f, DEV_PIO, 0x70, reg, 1);
	return (uint8_t)fake_in(&f, DEV_PIO, 0x71, 1);
}

static void put(unsigned reg, uint8_t v)
{
	fake_out(&f, DEV_PIO, 0x70, reg, 1);
	fake_out(&f, DEV_PIO, 0x71, v, 1);
}

static int setup(void **state)
{
	(void)state;
	now = 1709210096; /* 2024-02-29 12:34:56, a Thursday */
	now_ns = 0;
	fake_host_init(&f, "rtc", 0);
	return rtc_class.create(NULL, &f.host, &rtc, NULL);
}

static int teardown(void **state)
{
	(void)state;
	rtc_class.free(rtc);
	timer = -1;
	fake_host_free(&f);
	return 0;
}

static void time_is_bcd_and_24h_at_first(void **state)
{
	(void)state;
	assert_int_equal(get(0x0a) & 0x80, 0);
	assert_int_equal(get(0x0b), 0x02);
	assert_int_equal(get(0x0c), 0);
	assert_int_equal(get(0x0d), 0x80);
	assert_int_equal(get(0), 0x56);
	assert_int_equal(get(2), 0x34);
	assert_int_equal(get(4), 0x12);
	assert_int_equal(get(6), 5);
	assert_int_equal(get(7), 0x29);
	assert_int_equal(get(8), 0x02);
	assert_int_equal(get(9), 0x24);
	assert_int_equal(get(0x32), 0x20);
}

static void dates_are_the_calendars(void **state)
{
	/* Every day for 300 years, and what libc says about it. */
	put(0x0b, 0x06);
	for (time_t day = 0; day < 300 * 366; day++) {
		struct tm tm;

		(void)state;
		now = day * 86400 + day % 86400;
		gmtime_r(&now, &tm);
		assert_int_equal(get(0), tm.tm_sec);
		assert_int_equal(get(2), tm.tm_min);
		assert_int_equal(get(4), tm.tm_hour);
		assert_int_equal(get(6), tm.tm_wday + 1);
		assert_int_equal(get(7), tm.tm_mday);
		assert_int_equal(get(8), tm.tm_mon + 1);
		assert_int_equal(get(0x32) * 100 + get(9), tm.tm_year + 1900);
	}
}

static void binary_and_12h_can_be_chosen(void **state)
{
	static const struct {
		unsigned hour;
		uint8_t bcd, binary;
	} cases[] = {
		{ 0, 0x12, 12 },	{ 1, 0x01, 1 },
		{ 11, 0x11, 11 },	{ 12, 0x92, 0x80 | 12 },
		{ 13, 0x81, 0x80 | 1 }, { 23, 0x91, 0x80 | 11 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		now = cases[i].hour * 3600;
		put(0x0b, 0x00);
		assert_int_equal(get(4), cases[i].bcd);
		put(0x0b, 0x04);
		assert_int_equal(get(4), cases[i].binary);
	}
}

/* The second ends between two registers: one moment is shown nonetheless. */
static void reading_does_not_tear(void **state)
{
	(void)state;
	now = 1704067199; /* 2023-12-31 23:59:59 */
	assert_int_equal(get(0), 0x59);
	now++;
	assert_int_equal(get(2), 0x59);
	assert_int_equal(get(4), 0x23);
	assert_int_equal(get(9), 0x23);
	/* The next reading starts with register A. */
	get(0x0a);
	assert_int_equal(get(9), 0x24);
	assert_int_equal(get(2), 0);
}

static void old_readings_are_renewed(void **state)
{
	(void)state;
	assert_int_equal(get(2), 0x34);
	now += 60;
	assert_int_equal(get(2), 0x35);
	now -= 120; /* the host's clock is set back */
	assert_int_equal(get(2), 0x33);
}

static void set_bit_stops_the_clock(void **state)
{
	(void)state;
	put(0x0b, 0x82);
	now += 100;
	assert_int_equal(get(0), 0x56);
	put(0, 0x11);
	put(0x0b, 0x02);
	/* What was written is ignored: it is the host's time. */
	assert_int_equal(get(0), 0x36);
	assert_int_equal(get(2), 0x36);
}

static void other_bytes_are_memory(void **state)
{
	(void)state;
	put(0x7f, 0xaa);
	put(0x8f, 0x55); /* the top bit masks NMIs: register 0x0f */
	put(1, 0x12); /* an alarm */
	put(0x0d, 0x00);
	put(0x32, 0x33);
	assert_int_equal(get(0xff), 0xaa);
	assert_int_equal(get(0x0f), 0x55);
	assert_int_equal(get(1), 0x12);
	assert_int_equal(get(0x0d), 0x80);
	assert_int_equal(get(0x32), 0x20);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x70, 1), 0xff);
	/* Index and data at once. */
	fake_out(&f, DEV_PIO, 0x70, 0x770f, 2);
	assert_int_equal(get(0x0f), 0x77);
	rtc_class.reset(rtc);
	assert_int_equal(get(0x0f), 0x77);
}

static uint32_t get16(unsigned reg)
{
	return get(reg) | (uint32_t)get(reg + 1) << 8;
}

/* Another one, for firmware. */
static void renew(uint64_t low_mem, uint64_t high_mem, unsigned n_cpus)
{
	const struct rtc_cfg cfg = { low_mem, high_mem, n_cpus };

	teardown(NULL);
	fake_host_init(&f, "rtc", 0);
	assert_int_equal(rtc_class.create(&cfg, &f.host, &rtc, NULL), 0);
}

static void memory_and_cpus_are_told_to_firmware_only(void **state)
{
	(void)state;
	for (unsigned reg = 0x0e; reg < 0x80; reg++)
		if (reg != 0x32)
			assert_int_equal(get(reg), 0);

	renew(40 << 20, 0, 1);
	assert_int_equal(get16(0x15), 640);
	assert_int_equal(get16(0x17), 39 << 10);
	assert_int_equal(get16(0x30), 39 << 10);
	assert_int_equal(get16(0x34), 24 << 4);
	assert_int_equal(get16(0x5b), 0);
	assert_int_equal(get(0x5d), 0);
	assert_int_equal(get(0x5f), 0);
	rtc_class.reset(rtc);
	assert_int_equal(get16(0x34), 24 << 4);

	renew(0xd0000000, 0x1234560000, 64);
	assert_int_equal(get16(0x30), 0xffff);
	assert_int_equal(get16(0x34), 0xcf00);
	assert_int_equal(get16(0x5b), 0x3456);
	assert_int_equal(get(0x5d), 0x12);
	assert_int_equal(get(0x5f), 63);
}

static void sizes_that_no_register_holds_are_cut(void **state)
{
	(void)state;
	renew(1 << 20, 1ull << 50, 1);
	assert_int_equal(get16(0x30), 0);
	assert_int_equal(get16(0x34), 0);
	assert_int_equal(get16(0x5b), 0xffff);
	assert_int_equal(get(0x5d), 0xff);
}

static void expire(void)
{
	assert_int_equal(eventfd_write(timer, 1), 0);
	fake_run(&f);
}

/* What the timer was set to, in nanoseconds. */
static int64_t set_to(struct timespec t)
{
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void no_timer_runs_unless_asked(void **state)
{
	(void)state;
	put(0x0b, 0x72);
	assert_int_equal(timer, -1);
	assert_int_equal(get(0x0c), 0);
	renew(1 << 20, 0, 1);
	assert_int_equal(set_to(timer_set.it_value), 0);
	put(0x0b, 0x42);
	put(0x0a, 0x20); /* no rate */
	assert_int_equal(set_to(timer_set.it_value), 0);
}

static void periodic_interrupts_come_at_their_rate(void **state)
{
	static const struct {
		uint8_t rate;
		int64_t ns;
	} cases[] = { { 1, 3906250 },
		      { 2, 7812500 },
		      { 3, 122070 },
		      { 6, 976562 },
		      { 15, 500000000 } };

	(void)state;
	renew(1 << 20, 0, 1);
	put(0x0b, 0x42);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put(0x0a, 0x20 | cases[i].rate);
		assert_int_equal(set_to(timer_set.it_value), cases[i].ns);
		assert_int_equal(set_to(timer_set.it_interval), cases[i].ns);
	}
	/* The wire rises once, until the cause is read. */
	expire();
	expire();
	assert_true(f.level[8]);
	assert_int_equal(f.rises[8], 1);
	assert_int_equal(get(0x0c), 0xc0);
	assert_false(f.level[8]);
	assert_int_equal(get(0x0c), 0);
	expire();
	assert_int_equal(f.rises[8], 2);
	/* Disabled, the cause stays and the wire falls. */
	put(0x0b, 0x02);
	assert_false(f.level[8]);
	assert_int_equal(get(0x0c), 0x40);
	assert_int_equal(set_to(timer_set.it_value), 0);
}

static void updates_interrupt_once_a_second(void **state)
{
	(void)state;
	renew(1 << 20, 0, 1);
	now_ns = 300000000;
	put(0x0b, 0x12);
	assert_int_equal(set_to(timer_set.it_value), 700000000);
	assert_int_equal(set_to(timer_set.it_interval), 0);
	expire(); /* too early */
	assert_false(f.level[8]);
	now++;
	now_ns = 1000;
	expire();
	assert_true(f.level[8]);
	assert_int_equal(set_to(timer_set.it_value), 999999000);
	assert_int_equal(get(0x0c) & 0x90, 0x90);
	/* A clock that is stopped has none. */
	put(0x0b, 0x92);
	now++;
	expire();
	assert_false(f.level[8]);
}

static void alarms_ring_when_all_three_match(void **state)
{
	(void)state;
	renew(1 << 20, 0, 1);
	put(1, 0x58);
	put(3, 0x34);
	put(5, 0xff); /* any hour */
	put(0x0b, 0x22);
	now++;
	expire();
	assert_false(f.level[8]);
	now++;
	expire();
	assert_true(f.level[8]);
	assert_int_equal(get(0x0c), 0xb0);
	now += 60;
	expire();
	assert_false(f.level[8]);
	now += 3600 - 60;
	expire();
	assert_true(f.level[8]);
	rtc_class.reset(rtc);
	assert_false(f.level[8]);
	assert_int_equal(set_to(timer_set.it_value), 0);
}

#define RTC_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RTC_TEST(time_is_bcd_and_24h_at_first),
		RTC_TEST(dates_are_the_calendars),
		RTC_TEST(binary_and_12h_can_be_chosen),
		RTC_TEST(reading_does_not_tear),
		RTC_TEST(old_readings_are_renewed),
		RTC_TEST(set_bit_stops_the_clock),
		RTC_TEST(other_bytes_are_memory),
		RTC_TEST(memory_and_cpus_are_told_to_firmware_only),
		RTC_TEST(sizes_that_no_register_holds_are_cut),
		RTC_TEST(no_timer_runs_unless_asked),
		RTC_TEST(periodic_interrupts_come_at_their_rate),
		RTC_TEST(updates_interrupt_once_a_second),
		RTC_TEST(alarms_ring_when_all_three_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
