/* devices/i8042.c */
#include "devices/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

static struct fake_host f;
static struct device *dev;

static int setup(void **state)
{
	(void)state;
	fake_host_init(&f, "i8042", 0);
	return i8042_class.create(NULL, &f.host, &dev, NULL);
}

static int teardown(void **state)
{
	(void)state;
	i8042_class.free(dev);
	fake_host_free(&f);
	return 0;
}

static void reset_pulse_reboots(void **state)
{
	(void)state;
	fake_out(&f, DEV_PIO, 0x64, 0xfe, 1);
	assert_int_equal(f.end, VM_END_REBOOT);
}

static void other_writes_do_nothing(void **state)
{
	(void)state;
	fake_out(&f, DEV_PIO, 0x64, 0xaa, 1);
	fake_out(&f, DEV_PIO, 0x60, 0xfe, 1);
	fake_out(&f, DEV_PIO, 0x61, 0xfe, 1);
	fake_out(&f, DEV_PIO, 0x62, 0xfe, 1);
	assert_int_equal(f.end, VM_END_NONE);
}

static void controller_is_idle_and_empty(void **state)
{
	(void)state;
	assert_int_equal(fake_in(&f, DEV_PIO, 0x64, 1), 0);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x60, 1), 0);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x62, 1), 0xff);
}

static void port_b_answers_delay_loops(void **state)
{
	uint64_t a, b;

	(void)state;
	fake_out(&f, DEV_PIO, 0x61, 0xff, 1);
	a = fake_in(&f, DEV_PIO, 0x61, 1);
	b = fake_in(&f, DEV_PIO, 0x61, 1);
	assert_int_equal(a ^ b, 0x10); /* refresh */
	assert_int_equal(a & 0x2f, 0x2f); /* timer 2 has run out */
	assert_int_equal(a & 0xc0, 0); /* no NMI reason */
	i8042_class.reset(dev);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x61, 1) & 0x0f, 0);
}

#define I8042_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		I8042_TEST(reset_pulse_reboots),
		I8042_TEST(other_writes_do_nothing),
		I8042_TEST(controller_is_idle_and_empty),
		I8042_TEST(port_b_answers_delay_loops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
