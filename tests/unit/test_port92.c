/* devices/port92.c */
#include "devices/list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

static struct fake_host f;
static struct device *dev;

static int setup(void **state)
{
	(void)state;
	fake_host_init(&f, "port92", 0);
	return port92_class.create(NULL, &f.host, &dev, NULL);
}

static int teardown(void **state)
{
	(void)state;
	port92_class.free(dev);
	fake_host_free(&f);
	return 0;
}

static void line_20_is_open_and_what_is_written_is_read_back(void **state)
{
	(void)state;
	assert_int_equal(fake_in(&f, DEV_PIO, 0x92, 1), 0x02);
	fake_out(&f, DEV_PIO, 0x92, 0x00, 1);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x92, 1), 0x00);
	fake_out(&f, DEV_PIO, 0x92, 0x12, 1);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x92, 1), 0x12);
	assert_int_equal(f.end, VM_END_NONE);
	port92_class.reset(dev);
	assert_int_equal(fake_in(&f, DEV_PIO, 0x92, 1), 0x02);
}

static void its_lowest_bit_resets(void **state)
{
	(void)state;
	fake_out(&f, DEV_PIO, 0x92, 0x03, 1);
	assert_int_equal(f.end, VM_END_REBOOT);
}

static void a_taken_port_is_named(void **state)
{
	struct device *second = NULL;
	struct err err = { "" };

	(void)state;
	assert_int_equal(port92_class.create(NULL, &f.host, &second, &err), -EEXIST);
	assert_string_equal(err.msg, "port92: I/O port 0x92: File exists");
	assert_null(second);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(line_20_is_open_and_what_is_written_is_read_back),
		T(its_lowest_bit_resets),
		T(a_taken_port_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
