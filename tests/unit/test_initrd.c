/* Where an initrd goes, beside kernels of both kinds, and when it does not fit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "boot/x86_64/layout.h"
#include "tests/unit/kernel_fixture.h"

#define PAGE 4096u

static struct fixture f;
static struct fixture_bzimage img;

/* 64 MiB; the kernel takes 16 to 48 MiB. */
static int setup(void **state)
{
	(void)state;
	fixture_init(&f, 64);
	fixture_bzimage_init(&img);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(&f);
	return 0;
}

/* Load both; returns the initrd's address after a look at its last byte. */
static uint64_t load(uint64_t size)
{
	const struct boot_params *zero;
	const unsigned char *bytes;
	uint64_t addr;

	fixture_kernel(&f, &img, sizeof(img));
	fixture_initrd(&f, size);
	fixture_load(&f);
	zero = fixture_at(&f, f.state.rsi, sizeof(*zero));
	addr = zero->hdr.ramdisk_image;
	assert_int_equal(zero->hdr.ramdisk_size, size);
	assert_int_equal(zero->ext_ramdisk_image, 0);
	assert_int_equal(zero->ext_ramdisk_size, 0);
	bytes = fixture_at(&f, addr, size);
	assert_int_equal(bytes[size - 1], 0x77);
	assert_int_equal(addr % PAGE, 0);
	return addr;
}

static void load_fails(uint64_t size, const char *why)
{
	fixture_kernel(&f, &img, sizeof(img));
	fixture_initrd(&f, size);
	FIXTURE_LOAD_FAILS(&f, -E2BIG, "initrd initrd.img: ", why);
}

static void goes_to_the_end_of_memory(void **state)
{
	(void)state;
	assert_int_equal(load(1), 64 * FIXTURE_MIB - PAGE);
	assert_int_equal(load(PAGE), 64 * FIXTURE_MIB - PAGE);
	assert_int_equal(load(PAGE + 1), 64 * FIXTURE_MIB - 2 * PAGE);
}

static void no_initrd_leaves_the_fields_empty(void **state)
{
	const struct boot_params *zero;

	(void)state;
	fixture_kernel(&f, &img, sizeof(img));
	fixture_load(&f);
	zero = fixture_at(&f, f.state.rsi, sizeof(*zero));
	assert_int_equal(zero->hdr.ramdisk_image, 0);
	assert_int_equal(zero->hdr.ramdisk_size, 0);
}

static void stays_below_the_headers_limit(void **state)
{
	(void)state;
	img.hdr.initrd_addr_max = 0x37fffff;
	assert_int_equal(load(PAGE), 0x3800000 - PAGE);
	/* The limit is the address of the last byte; pages are not split. */
	img.hdr.initrd_addr_max = 0x37ffffe;
	assert_int_equal(load(1), 0x3800000 - 2 * PAGE);
}

static void stays_in_low_memory(void **state)
{
	(void)state;
	fixture_free(&f);
	fixture_init(&f, 8192);
	assert_int_equal(load(PAGE), 0x80000000 - PAGE);
	img.hdr.initrd_addr_max = UINT32_MAX;
	assert_int_equal(load(PAGE), LAYOUT_HOLE - PAGE);
}

static void fills_the_room_above_the_kernel(void **state)
{
	(void)state;
	assert_int_equal(load(16 * FIXTURE_MIB), 48 * FIXTURE_MIB);
	/* The page in which the kernel ends is not free. */
	img.hdr.init_size++;
	assert_int_equal(load(16 * FIXTURE_MIB - PAGE), 48 * FIXTURE_MIB + PAGE);
	load_fails(16 * FIXTURE_MIB, "16 MiB do not fit");
}

static void goes_below_the_kernel_when_it_fits_only_there(void **state)
{
	(void)state;
	img.hdr.init_size = 40 << 20;
	assert_int_equal(load(15 * FIXTURE_MIB), LAYOUT_HIGH_RAM);
	assert_int_equal(load(9 * FIXTURE_MIB), 7 * FIXTURE_MIB);
	load_fails(15 * FIXTURE_MIB + 1, "16 MiB do not fit");
	/* The limit may lie below the kernel, or within it. */
	img.hdr.initrd_addr_max = 0x1ffffff;
	assert_int_equal(load(PAGE), FIXTURE_LOAD - PAGE);
	img.hdr.initrd_addr_max = 0x7fffff;
	assert_int_equal(load(PAGE), 0x800000 - PAGE);
	/* The page in which the kernel begins is not free. */
	img.hdr.initrd_addr_max = UINT32_MAX;
	img.hdr.init_size = 48 << 20;
	img.hdr.relocatable_kernel = 0;
	img.hdr.pref_address = FIXTURE_LOAD - 1;
	assert_int_equal(load(PAGE + 1), FIXTURE_LOAD - 3 * PAGE);
}

static void too_large_tells_how_much_is_free(void **state)
{
	(void)state;
	load_fails(17 * FIXTURE_MIB,
		   "17 MiB do not fit: the memory below 0x4000000 has 16 MiB");
	img.hdr.initrd_addr_max = 0;
	load_fails(1, "1 MiB do not fit: the memory below 0x0 has 0 MiB");
	img.hdr.initrd_addr_max = LAYOUT_HIGH_RAM - 1;
	load_fails(1, "has 0 MiB");
	img.hdr.initrd_addr_max = UINT32_MAX;
	load_fails(1ull << 62, "4398046511104 MiB do not fit");
}

static void empty_initrd_is_an_error(void **state)
{
	(void)state;
	fixture_kernel(&f, &img, sizeof(img));
	fixture_initrd(&f, 0);
	FIXTURE_LOAD_FAILS(&f, -EINVAL, "initrd initrd.img: empty file");
}

static void initrd_that_shrinks_meanwhile_is_an_error(void **state)
{
	(void)state;
	fixture_kernel(&f, &img, sizeof(img));
	fixture_initrd(&f, 100);
	f.cfg.initrd.size = 101;
	FIXTURE_LOAD_FAILS(&f, -EIO, "initrd initrd.img", "shorter");
}

static void elf_kernel_gets_it_as_a_module(void **state)
{
	struct fixture_elf elf;
	const uint32_t *info;
	const uint64_t *module;

	(void)state;
	fixture_elf_init(&elf);
	fixture_kernel(&f, &elf, sizeof(elf));
	fixture_initrd(&f, 5000);
	fixture_load(&f);
	info = fixture_at(&f, f.state.rbx, 56);
	assert_int_equal(info[3], 1); /* modules */
	module = fixture_at(&f, info[4], 32);
	assert_int_equal(module[0], 64 * FIXTURE_MIB - 2 * PAGE);
	assert_int_equal(module[1], 5000);
	assert_int_equal(module[2], 0);

	/* It ends at 18 MiB and a bit: room for 46 MiB less two pages. */
	fixture_initrd(&f, 46 * FIXTURE_MIB - 2 * PAGE);
	fixture_load(&f);
	assert_int_equal(module[0], 18 * FIXTURE_MIB + 2 * PAGE);
	fixture_initrd(&f, 46 * FIXTURE_MIB - PAGE);
	FIXTURE_LOAD_FAILS(&f, -E2BIG, "initrd initrd.img", "has 45 MiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(goes_to_the_end_of_memory),
		T(no_initrd_leaves_the_fields_empty),
		T(stays_below_the_headers_limit),
		T(stays_in_low_memory),
		T(fills_the_room_above_the_kernel),
		T(goes_below_the_kernel_when_it_fits_only_there),
		T(too_large_tells_how_much_is_free),
		T(empty_initrd_is_an_error),
		T(initrd_that_shrinks_meanwhile_is_an_error),
		T(elf_kernel_gets_it_as_a_module),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
