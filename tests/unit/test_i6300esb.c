/* devices/i6300esb.c, driven as drivers/watchdog/i6300esb.c of Linux does it */
#include "tests/unit/pci_rig.h"

#include <unistd.h>

enum { CONFIG = 0x60, LOCK = 0x68 };
enum { PRELOAD1 = 0, PRELOAD2 = 4, GIS = 8, RELOAD = 12 };
enum { LOCKED = 1, ENABLE = 2, FREE_RUNNING = 4 };
enum { FAST = 4, NO_INTERRUPT = 3, NO_OUTPUT = 0x20 };

static int setup(void **state)
{
	(void)state;
	return open_function(&i6300esb_class);
}

static uint32_t in(unsigned reg)
{
	return (uint32_t)fake_in(&f, DEV_MMIO, bar + reg, 4);
}

static void out(unsigned reg, uint32_t v, size_t len)
{
	fake_out(&f, DEV_MMIO, bar + reg, v, len);
}

static void write_open(unsigned reg, uint32_t v)
{
	out(RELOAD, 0x80, 2);
	out(RELOAD, 0x86, 2);
	out(reg, v, 4);
}

/* Both counts as short as can be; a tenth of a millisecond is no test's matter. */
static void start(unsigned config, unsigned lock)
{
	fake_pci_out(&d, CONFIG, config | FAST | NO_INTERRUPT, 2);
	write_open(PRELOAD1, 1);
	write_open(PRELOAD2, 1);
	fake_pci_out(&d, LOCK, ENABLE | lock, 1);
}

/* Let time pass, much more than both counts take, with the loop at work. */
static void pass_time(void)
{
	for (int i = 0; i < 30; i++) {
		usleep(1000);
		fake_run(&f);
	}
}

/* Until something has happened, which it must. */
#define WAIT_FOR(condition)                          \
	for (int turns = 0; !(condition); turns++) { \
		assert_true(turns < 10000);          \
		usleep(1000);                        \
		fake_run(&f);                        \
	}

static void drivers_find_it(void **state)
{
	(void)state;
	assert_int_equal(fake_pci_in(&d, 0, 4), 0x25ab8086);
	assert_int_equal(fake_pci_in(&d, 8, 4) >> 8, 0x088000);
	assert_int_equal(in(PRELOAD1), 0xfffff);
	assert_int_equal(in(PRELOAD2), 0xfffff);
	assert_int_equal(in(GIS), 0);
	assert_int_equal(in(RELOAD), 0);
	assert_int_equal(fake_in(&f, DEV_MMIO, bar + 14, 4), 0); /* across the end */
}

static void registers_open_for_one_write_each(void **state)
{
	(void)state;
	out(PRELOAD1, 1, 4);
	assert_int_equal(in(PRELOAD1), 0xfffff);
	write_open(PRELOAD1, 0xfff12345);
	assert_int_equal(in(PRELOAD1), 0x12345);
	out(PRELOAD1, 1, 4); /* closed again */
	assert_int_equal(in(PRELOAD1), 0x12345);
	out(RELOAD, 0x86, 1); /* half of it, and in disorder */
	out(RELOAD, 0x80, 1);
	out(PRELOAD2, 1, 4);
	assert_int_equal(in(PRELOAD2), 0xfffff);
	out(RELOAD, 0x80, 1); /* as bytes, and begun twice */
	out(RELOAD, 0x86, 1);
	out(RELOAD, 0x80, 1);
	out(RELOAD, 0x86, 1);
	out(PRELOAD2, 7, 4);
	assert_int_equal(in(PRELOAD2), 7);
}

static void second_count_ends_the_vm(void **state)
{
	(void)state;
	start(0, 0);
	assert_int_equal(f.end, VM_END_NONE);
	WAIT_FOR(f.end != VM_END_NONE);
	assert_int_equal(f.end, VM_END_WATCHDOG);
	assert_int_equal(in(GIS), 1);
	assert_int_equal(in(RELOAD), 0x200);
}

static void driver_clears_what_it_has_seen(void **state)
{
	(void)state;
	start(0, 0);
	WAIT_FOR(f.end != VM_END_NONE);
	out(GIS, 0, 4);
	assert_int_equal(in(GIS), 1);
	out(GIS, 1, 4);
	assert_int_equal(in(GIS), 0);
	out(RELOAD, 0x200, 2); /* closed */
	assert_int_equal(in(RELOAD), 0x200);
	write_open(RELOAD, 0x300);
	assert_int_equal(in(RELOAD), 0);
}

static void fed_between_counts_it_begins_again(void **state)
{
	(void)state;
	start(0, 0);
	/* The loop has not seen yet that the first count ran out. */
	usleep(5000);
	write_open(PRELOAD1, 0xfffff); /* a second */
	write_open(PRELOAD2, 0xfffff);
	write_open(RELOAD, 0x100);
	fake_run(&f);
	assert_int_equal(in(GIS), 0);
	/* Nor does the second count run on. */
	write_open(PRELOAD1, 1);
	write_open(RELOAD, 0x100);
	WAIT_FOR(in(GIS) == 1);
	out(GIS, 1, 4);
	write_open(RELOAD, 0x100);
	WAIT_FOR(in(GIS) == 1);
	assert_int_equal(f.end, VM_END_NONE);
}

static void stopped_it_does_nothing(void **state)
{
	(void)state;
	start(0, 0);
	fake_pci_out(&d, LOCK, 0, 1);
	pass_time();
	assert_int_equal(f.end, VM_END_NONE);
	assert_int_equal(in(GIS), 0);
	write_open(RELOAD, 0x100); /* that does not start it */
	pass_time();
	assert_int_equal(in(GIS), 0);
}

static void locked_it_cannot_be_stopped(void **state)
{
	(void)state;
	start(0, LOCKED);
	fake_pci_out(&d, LOCK, 0, 1);
	assert_int_equal(fake_pci_in(&d, LOCK, 1), ENABLE | LOCKED);
	WAIT_FOR(f.end == VM_END_WATCHDOG);
	i6300esb_class.reset(dev);
	assert_int_equal(fake_pci_in(&d, LOCK, 1), 0);
	fake_pci_out(&d, LOCK, FREE_RUNNING, 1);
	assert_int_equal(fake_pci_in(&d, LOCK, 1), FREE_RUNNING);
}

static void without_output_the_end_is_only_noted(void **state)
{
	(void)state;
	start(NO_OUTPUT, 0);
	WAIT_FOR(in(RELOAD) == 0x200);
	write_open(RELOAD, 0x200);
	pass_time();
	assert_int_equal(in(RELOAD), 0); /* once only */
	assert_int_equal(f.end, VM_END_NONE);
}

static void free_running_it_goes_on(void **state)
{
	(void)state;
	start(NO_OUTPUT, FREE_RUNNING);
	for (int i = 0; i < 3; i++) {
		WAIT_FOR(in(RELOAD) == 0x200);
		write_open(RELOAD, 0x200);
	}
	assert_int_equal(f.end, VM_END_NONE);
}

static void suspended_it_does_not_count(void **state)
{
	(void)state;
	start(0, 0);
	usleep(5000); /* it has run out, unseen */
	i6300esb_class.pause(dev, DEV_STILL);
	i6300esb_class.pause(dev, DEV_SUSPENDED);
	pass_time();
	assert_int_equal(in(GIS), 0);
	i6300esb_class.pause(dev, DEV_RUNS);
	WAIT_FOR(f.end == VM_END_WATCHDOG);
}

static void resumed_it_has_the_time_that_was_left(void **state)
{
	(void)state;
	fake_pci_out(&d, CONFIG, NO_INTERRUPT, 2);
	fake_pci_out(&d, LOCK, ENABLE, 1); /* some 1000 s */
	i6300esb_class.pause(dev, DEV_STILL);
	i6300esb_class.pause(dev, DEV_RUNS);
	i6300esb_class.pause(dev, DEV_RUNS);
	pass_time();
	assert_int_equal(in(GIS), 0);
	fake_pci_out(&d, LOCK, 0, 1);
	i6300esb_class.pause(dev, DEV_STILL); /* nothing counts */
	i6300esb_class.pause(dev, DEV_RUNS);
	start(0, 0);
	WAIT_FOR(f.end == VM_END_WATCHDOG);
}

static void reset_stops_it(void **state)
{
	(void)state;
	start(0, 0);
	i6300esb_class.reset(dev);
	pass_time();
	assert_int_equal(f.end, VM_END_NONE);
	fake_pci_out(&d, 4, 2, 2);
	assert_int_equal(in(PRELOAD1), 0xfffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(drivers_find_it),
		T(registers_open_for_one_write_each),
		T(second_count_ends_the_vm),
		T(driver_clears_what_it_has_seen),
		T(fed_between_counts_it_begins_again),
		T(stopped_it_does_nothing),
		T(locked_it_cannot_be_stopped),
		T(without_output_the_end_is_only_noted),
		T(free_running_it_goes_on),
		T(suspended_it_does_not_count),
		T(resumed_it_has_the_time_that_was_left),
		T(reset_stops_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
