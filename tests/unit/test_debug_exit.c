/* devices/debug_exit.c */
#include "devices/list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

static struct fake_host f;

/* A device as the command line makes it. */
static struct device *create(const char *text, int want)
{
	void *cfg = calloc(1, debug_exit_class.cfg_size);
	struct device *dev = NULL;
	struct err err;
	int r;

	opt_defaults(debug_exit_class.opts, cfg);
	r = opt_parse(debug_exit_class.opts, text, cfg, &err);
	if (r == 0)
		r = debug_exit_class.create(cfg, &f.host, &dev, &err);
	free(cfg);
	assert_int_equal(r, want);
	return dev;
}

static int setup(void **state)
{
	(void)state;
	fake_host_init(&f, "debug-exit", 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_host_free(&f);
	return 0;
}

static void every_width_ends_the_vm(void **state)
{
	for (size_t len = 1; len <= 4; len *= 2) {
		struct device *dev = create("", 0);

		fake_out(&f, DEV_PIO, 0xf4, 17, len);
		assert_int_equal(f.end, VM_END_DEBUG_EXIT);
		assert_int_equal(f.end_detail, 17);
		debug_exit_class.free(dev);
		teardown(state);
		setup(state);
	}
}

static void large_values_are_clamped(void **state)
{
	struct device *dev = create("iobase=0x500", 0);

	(void)state;
	fake_out(&f, DEV_PIO, 0x500, 0x10001, 4);
	assert_int_equal(f.end_detail, 63);
	debug_exit_class.free(dev);
}

static void other_accesses_do_nothing(void **state)
{
	struct device *dev = create("", 0);

	(void)state;
	fake_out(&f, DEV_PIO, 0xf5, 1, 1);
	assert_int_equal(fake_in(&f, DEV_PIO, 0xf4, 1), 0xff);
	assert_int_equal(f.end, VM_END_NONE);
	debug_exit_class.free(dev);
}

static void bad_ports_are_refused(void **state)
{
	struct device *dev = create("iobase=0xfffc", 0);

	(void)state;
	create("iobase=0xfffe", -EINVAL);
	create("iobase=0xfffa", -EEXIST);
	debug_exit_class.free(dev);
}

#define EXIT_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXIT_TEST(every_width_ends_the_vm),
		EXIT_TEST(large_values_are_clamped),
		EXIT_TEST(other_accesses_do_nothing),
		EXIT_TEST(bad_ports_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
