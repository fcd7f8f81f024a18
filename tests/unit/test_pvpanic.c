/* devices/pvpanic.c, as drivers/misc/pvpanic of Linux finds it */
#include "tests/unit/pci_rig.h"

static int setup(void **state)
{
	(void)state;
	return open_function(&pvpanic_class);
}

static void drivers_find_it(void **state)
{
	(void)state;
	assert_int_equal(fake_pci_in(&d, 0, 4), 0x00111b36);
	assert_int_equal(fake_pci_in(&d, 8, 4) >> 8, 0x088000);
	assert_int_equal(fake_pci_in(&d, 0x3d, 1), 0); /* no interrupt */
}

static void known_events_are_told(void **state)
{
	(void)state;
	assert_int_equal(fake_in(&f, DEV_MMIO, bar, 1), 3);
	assert_int_equal(fake_in(&f, DEV_MMIO, bar, 4), 3);
	assert_int_equal(fake_in(&f, DEV_MMIO, bar + 1, 1), 0);
}

static void panic_is_passed_on(void **state)
{
	(void)state;
	fake_out(&f, DEV_MMIO, bar, 1, 1);
	assert_int_equal(f.panics, 1);
	assert_int_equal(f.handled, 0);
	fake_out(&f, DEV_MMIO, bar, 2, 1);
	assert_int_equal(f.panics, 2);
	assert_int_equal(f.handled, 1);
	/* Both at once: nobody handles it. */
	fake_out(&f, DEV_MMIO, bar, 3, 4);
	assert_int_equal(f.panics, 3);
	assert_int_equal(f.handled, 1);
	assert_int_equal(f.end, VM_END_NONE); /* that is the machine's to say */
}

static void other_writes_do_nothing(void **state)
{
	(void)state;
	fake_out(&f, DEV_MMIO, bar, 0, 1);
	fake_out(&f, DEV_MMIO, bar, 0xfc, 1);
	fake_out(&f, DEV_MMIO, bar + 1, 1, 1);
	fake_out(&f, DEV_MMIO, bar + 8, 3, 8);
	assert_int_equal(f.panics, 0);
}

static void reset_takes_it_from_its_place(void **state)
{
	(void)state;
	pvpanic_class.reset(dev);
	assert_int_equal(fake_in(&f, DEV_MMIO, bar, 1), 0xff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(drivers_find_it),
		T(known_events_are_told),
		T(panic_is_passed_on),
		T(other_writes_do_nothing),
		T(reset_takes_it_from_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
