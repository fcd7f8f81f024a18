/* devices/fw_cfg.c, as the firmware of QEMU's machines reads it */
#include "devices/fw_cfg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

#define SELECT 0x510
#define DATA 0x511

static const struct fw_cfg_cfg cfg = {
	.n_cpus = 0x103,
	.n_files = 3,
	.files = { { "etc/first", "one", 3 },
		   { "etc/empty", NULL, 0 },
		   { "a/name/of/fifty-five/letters/0123456789/0123456789/0123",
		     "\x80\xff", 2 } },
};
static struct fake_host f;
static struct device *dev;

static int setup(void **state)
{
	(void)state;
	fake_host_init(&f, "fw-cfg", 0);
	return fw_cfg_class.create(&cfg, &f.host, &dev, NULL);
}

static int teardown(void **state)
{
	(void)state;
	fw_cfg_class.free(dev);
	fake_host_free(&f);
	return 0;
}

static void read_on(void *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = (uint8_t)fake_in(&f, DEV_PIO, DATA, 1);
}

/* The item begins with these bytes. */
static void assert_item(unsigned key, const void *want, size_t len)
{
	uint8_t buf[64];

	fake_out(&f, DEV_PIO, SELECT, key, 2);
	read_on(buf, len);
	assert_memory_equal(buf, want, len);
}

static void firmware_knows_it_by_its_signature(void **state)
{
	(void)state;
	assert_item(0x00, "QEMU\0\0", 6);
	/* The ports, and no DMA. */
	assert_item(0x01, "\1\0\0\0\0", 5);
}

static void it_counts_the_cpus(void **state)
{
	(void)state;
	assert_item(0x05, "\3\1\0", 3);
	assert_item(0x0f, "\3\1\0", 3);
}

static void directory_leads_to_files(void **state)
{
	uint8_t entry[64];

	(void)state;
	assert_item(0x19, "\0\0\0\3", 4);
	for (unsigned i = 0; i < cfg.n_files; i++) {
		const uint8_t head[8] = { 0, 0,	      0, (uint8_t)cfg.files[i].size,
					  0, 0x20 + i };

		assert_item(0x19, "\0\0\0\3", 4);
		for (unsigned skip = 0; skip <= i; skip++)
			read_on(entry, sizeof(entry));
		assert_memory_equal(entry, head, sizeof(head));
		assert_string_equal(entry + 8, cfg.files[i].name);
		assert_item(0x20 + i, cfg.files[i].data ?: "", cfg.files[i].size);
	}
}

static void behind_the_end_and_without_an_item_there_are_zeroes(void **state)
{
	static const unsigned absent[] = { 0x02, 0x0d, 0x23, 0xbfff, 0x8000, 0x8020 };
	uint8_t rest[600];

	(void)state;
	assert_item(0x20, "one\0\0\0", 6);
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		assert_item(absent[i], "\0\0\0\0", 4);
	/* No entry behind the last. */
	assert_item(0x19, "\0\0\0\3", 4);
	for (unsigned i = 0; i < 4; i++)
		read_on(rest, 64);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(rest[i], 0);
	read_on(rest, sizeof(rest));
	for (size_t i = 0; i < sizeof(rest); i++)
		assert_int_equal(rest[i], 0);
}

static void selecting_again_starts_again(void **state)
{
	(void)state;
	assert_item(0x20, "on", 2);
	assert_item(0x20, "one", 3);
	assert_item(0x4020, "one", 3);
	fw_cfg_class.reset(dev);
	assert_int_equal(fake_in(&f, DEV_PIO, DATA, 1), 'Q');
}

static void other_accesses_do_nothing(void **state)
{
	(void)state;
	fake_out(&f, DEV_PIO, SELECT, 0x20, 2);
	fake_out(&f, DEV_PIO, SELECT, 0x00, 1);
	fake_out(&f, DEV_PIO, DATA, 'x', 1);
	assert_int_equal(fake_in(&f, DEV_PIO, SELECT, 1), 0xff);
	assert_int_equal(fake_in(&f, DEV_PIO, DATA, 1), 'o');
	/* Both ports at once. */
	assert_int_equal(fake_in(&f, DEV_PIO, SELECT, 2), 'n' << 8 | 0xff);
	assert_item(0x20, "one", 3);
}

static void a_taken_port_is_named(void **state)
{
	struct device *second = NULL;
	struct err err = { "" };

	(void)state;
	assert_int_equal(fw_cfg_class.create(&cfg, &f.host, &second, &err), -EEXIST);
	assert_string_equal(err.msg, "fw-cfg: I/O port 0x510: File exists");
	assert_null(second);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(firmware_knows_it_by_its_signature),
		T(it_counts_the_cpus),
		T(directory_leads_to_files),
		T(behind_the_end_and_without_an_item_there_are_zeroes),
		T(selecting_again_starts_again),
		T(other_accesses_do_nothing),
		T(a_taken_port_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
