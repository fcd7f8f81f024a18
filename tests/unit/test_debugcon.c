/* devices/debugcon.c */
#include "devices/debugcon.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

static struct fake_host f;
static struct chardev *chr;
static int out[2];

static int setup(void **state)
{
	char path[64];
	struct chardev_cfg cfg = { .type = CHARDEV_FILE, .path = path };

	(void)state;
	fake_host_init(&f, "debugcon0", 0);
	if (pipe(out) < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out[1]);
	return chardev_open(&cfg, "debugcon 1", f.host.loop, &chr, NULL);
}

static int teardown(void **state)
{
	(void)state;
	chardev_close(chr);
	close(out[0]);
	close(out[1]);
	fake_host_free(&f);
	return 0;
}

static struct device *create(uint16_t port, int want)
{
	struct debugcon_cfg cfg = { port, chr };
	struct device *dev = NULL;

	assert_int_equal(debugcon_class.create(&cfg, &f.host, &dev, NULL), want);
	return dev;
}

static void bytes_come_out_in_order(void **state)
{
	struct device *dev = create(DEBUGCON_PORT, 0);
	char buf[8] = "";

	(void)state;
	fake_out(&f, DEV_PIO, 0x402, 'a', 1);
	fake_out(&f, DEV_PIO, 0x402, 'b', 1);
	fake_out(&f, DEV_PIO, 0x403, 'c', 1); /* beside it */
	assert_true(chardev_drain(chr, 0));
	assert_int_equal(read(out[0], buf, sizeof(buf)), 2);
	assert_string_equal(buf, "ab");
	debugcon_class.free(dev);
}

static void guests_can_tell_that_it_is_there(void **state)
{
	struct device *dev = create(0xe9, 0);

	(void)state;
	assert_int_equal(fake_in(&f, DEV_PIO, 0xe9, 1), 0xe9);
	debugcon_class.free(dev);
}

static void taken_port_is_refused(void **state)
{
	struct device *dev = create(0x500, 0);

	(void)state;
	create(0x500, -EEXIST);
	debugcon_class.free(dev);
}

#define CON_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CON_TEST(bytes_come_out_in_order),
		CON_TEST(guests_can_tell_that_it_is_there),
		CON_TEST(taken_port_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
