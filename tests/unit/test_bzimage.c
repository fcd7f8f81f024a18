/* bzImages: where they go, what the zero page says of them, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/x86_64/layout.h"
#include "tests/unit/kernel_fixture.h"

static struct fixture f;
static struct fixture_bzimage img;

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

static void load(void)
{
	fixture_kernel(&f, &img, sizeof(img));
	fixture_load(&f);
}

#define FAILS(code, ...)                                                 \
	do {                                                             \
		fixture_kernel(&f, &img, sizeof(img));                   \
		FIXTURE_LOAD_FAILS(&f, code, "kernel.img", __VA_ARGS__); \
	} while (0)

static const struct boot_params *zero_page(void)
{
	return fixture_at(&f, f.state.rsi, sizeof(struct boot_params));
}

static void goes_to_its_preferred_address(void **state)
{
	(void)state;
	load();
	assert_int_equal(f.state.mode, BOOT_LONG64);
	assert_int_equal(f.state.entry, FIXTURE_LOAD + 0x200);
	assert_int_equal(f.state.rsi, LAYOUT_ZERO_PAGE);
	assert_int_equal(f.state.page_table, LAYOUT_PML4);
	assert_int_equal(f.state.gdt, LAYOUT_GDT);
	assert_memory_equal(fixture_at(&f, FIXTURE_LOAD, sizeof(img.code)), img.code,
			    sizeof(img.code));
}

static void signature_behind_the_code_is_not_loaded(void **state)
{
	const unsigned char *p;

	(void)state;
	img.hdr.syssize = 0x800 / 16;
	load();
	p = fixture_at(&f, FIXTURE_LOAD, 0x801);
	assert_int_equal(p[0x7ff], 0xc3);
	assert_int_equal(p[0x800], 0);
}

static void no_setup_sectors_means_four(void **state)
{
	(void)state;
	img.hdr.setup_sects = 0;
	img.hdr.syssize = 0x800 / 16;
	img.code[5 * 512 - offsetof(struct fixture_bzimage, code)] = 0x42;
	load();
	assert_int_equal(*(unsigned char *)fixture_at(&f, FIXTURE_LOAD, 1), 0x42);
}

static void relocatable_kernel_is_aligned_upwards(void **state)
{
	(void)state;
	img.hdr.pref_address = 0x1000001;
	load();
	assert_int_equal(f.state.entry, 0x1200200);
	/* Never into low memory. */
	img.hdr.pref_address = 0x1000;
	load();
	assert_int_equal(f.state.entry, 0x200200);
}

static void fixed_kernel_stays_where_it_wants(void **state)
{
	(void)state;
	img.hdr.relocatable_kernel = 0;
	img.hdr.kernel_alignment = 0;
	img.hdr.pref_address = 0x123000;
	load();
	assert_int_equal(f.state.entry, 0x123200);
	img.hdr.pref_address = LAYOUT_HIGH_RAM;
	load();
	img.hdr.pref_address = LAYOUT_HIGH_RAM - 1;
	FAILS(-ENOEXEC, "0xfffff", "below 1 MiB");
}

static void zero_page_has_header_and_loader_fields(void **state)
{
	const struct boot_params *zero;
	struct setup_header hdr;

	(void)state;
	img.hdr.loadflags |= CAN_USE_HEAP | KASLR_FLAG | KEEP_SEGMENTS;
	img.hdr.heap_end_ptr = 0x1234;
	img.hdr.setup_data = 0xdeadbeef;
	img.hdr.ramdisk_size = 77;
	load();
	zero = zero_page();
	hdr = img.hdr;
	hdr.type_of_loader = 0xff;
	hdr.loadflags = LOADED_HIGH;
	hdr.heap_end_ptr = 0;
	hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	hdr.ramdisk_size = 0;
	hdr.setup_data = LAYOUT_SETUP_DATA;
	assert_memory_equal(&zero->hdr, &hdr, sizeof(hdr));
	/* The bytes around the header in the file are not the kernel's to give. */
	assert_int_equal(zero->sentinel, 0);
	assert_int_equal(((const unsigned char *)&zero->hdr)[sizeof(hdr)], 0);
}

static void shorter_header_of_an_older_kernel_is_enough(void **state)
{
	(void)state;
	/* 2.12 ends behind handover_offset, and our struct goes on. */
	img.hdr.version = 0x20c;
	img.hdr.jump = 0x00eb | (0x268 - 0x202) << 8;
	img.hdr.kernel_info_offset = 0x42;
	load();
	assert_int_equal(zero_page()->hdr.kernel_info_offset, 0);
	img.hdr.jump = 0x00eb | (0x260 - 0x202) << 8;
	FAILS(-ENOEXEC, "header of 111 bytes", "2.12");
}

static void kernel_without_64_bit_entry_starts_in_32_bits(void **state)
{
	static const uint16_t versions[] = { 0x20f, 0x20b, 0x20a };

	(void)state;
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
		img.hdr.version = versions[i];
		/* A flag of 2.12, which says nothing before. */
		img.hdr.xloadflags = versions[i] < 0x20c ? XLF_KERNEL_64 : 0;
		load();
		assert_int_equal(f.state.mode, BOOT_PROT32);
		assert_int_equal(f.state.entry, FIXTURE_LOAD);
		assert_int_equal(f.state.rsi, LAYOUT_ZERO_PAGE);
		assert_int_equal(f.state.rbx, 0);
		assert_int_equal(f.state.page_table, 0);
		assert_int_equal(zero_page()->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	}
}

static void old_kernels_are_refused_by_name(void **state)
{
	(void)state;
	img.hdr.version = 0x209;
	FAILS(-ENOEXEC, "boot protocol 2.09");
	img.hdr.loadflags &= (uint8_t)~LOADED_HIGH;
	FAILS(-ENOEXEC, "zImage");
}

static void truncated_file_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0x206; len < sizeof(img); len += 13) {
		fixture_kernel(&f, &img, len);
		FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", "truncated");
	}
	fixture_kernel(&f, &img, sizeof(img) - 1);
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", "truncated", "1024 + 4096");
}

static void sizes_that_lie_are_refused(void **state)
{
	(void)state;
	img.hdr.setup_sects = 255;
	FAILS(-ENOEXEC, "truncated", "131072");
	img.hdr.setup_sects = 1;
	img.hdr.syssize = UINT32_MAX;
	FAILS(-ENOEXEC, "truncated", "68719476720");
	img.hdr.syssize = 0;
	FAILS(-ENOEXEC, "no code");
	img.hdr.syssize = 0x200 / 16;
	FAILS(-ENOEXEC, "no code");
}

static void addresses_that_lie_are_refused(void **state)
{
	(void)state;
	img.hdr.pref_address = UINT64_MAX;
	FAILS(-ENOEXEC, "pref_address", "0xffffffffffffffff");
	img.hdr.pref_address = LAYOUT_HOLE - 1;
	FAILS(-ENOEXEC, "pref_address");
	img.hdr.relocatable_kernel = 0;
	FAILS(-E2BIG, "0xd0000000");
	img.hdr.relocatable_kernel = 1;
	img.hdr.pref_address = FIXTURE_LOAD;
	img.hdr.kernel_alignment = 0;
	FAILS(-ENOEXEC, "power of two");
	img.hdr.kernel_alignment = 0x300000;
	FAILS(-ENOEXEC, "power of two");
	img.hdr.kernel_alignment = 0x80000000;
	FAILS(-E2BIG, "2080 MiB");
}

static void init_size_is_checked_against_memory(void **state)
{
	(void)state;
	img.hdr.init_size = 48 << 20;
	load();
	img.hdr.init_size++;
	FAILS(-E2BIG, "kernel kernel.img: needs 65 MiB of memory (init_size 50331649 "
		      "above 0x1000000), the VM has 64 MiB");
	img.hdr.init_size = UINT32_MAX;
	FAILS(-E2BIG, "0x100ffffff");
}

static void memory_above_the_hole_does_not_count(void **state)
{
	(void)state;
	fixture_free(&f);
	fixture_init(&f, 8192);
	img.hdr.pref_address = 0xcf000000;
	img.hdr.init_size = 0x1000000;
	load();
	assert_int_equal(f.state.entry, 0xcf000200);
	img.hdr.init_size++;
	FAILS(-E2BIG, "0xd0000001");
}

static void code_beyond_init_size_counts(void **state)
{
	(void)state;
	img.hdr.init_size = 0;
	img.hdr.pref_address = 63 << 20;
	img.hdr.kernel_alignment = 1;
	load();
	img.hdr.pref_address = (64 << 20) - 4095;
	FAILS(-E2BIG, "65 MiB", "4096 bytes above 0x3fff001");
}

static char *text(size_t len)
{
	char *s = malloc(len + 1);

	assert_non_null(s);
	memset(s, 'x', len);
	s[len] = '\0';
	return s;
}

static void command_line_is_as_long_as_the_header_says(void **state)
{
	char *line = text(2047);

	(void)state;
	f.cfg.cmdline = line;
	load();
	assert_memory_equal(fixture_at(&f, LAYOUT_CMDLINE, 2048), line, 2048);
	img.hdr.cmdline_size = 2046;
	FAILS(-E2BIG, "command line: 2047 bytes, kernel kernel.img takes at most 2046");
	img.hdr.cmdline_size = 0;
	f.cfg.cmdline = "";
	load();
	free(line);
}

static void command_line_stays_in_its_place(void **state)
{
	char *line = text(LAYOUT_CMDLINE_MAX);

	(void)state;
	img.hdr.cmdline_size = UINT32_MAX;
	f.cfg.cmdline = line;
	FAILS(-E2BIG, "65536 bytes", "at most 65535");
	line[LAYOUT_CMDLINE_MAX - 1] = '\0';
	load();
	assert_string_equal(fixture_at(&f, LAYOUT_CMDLINE, LAYOUT_CMDLINE_MAX), line);
	free(line);
}

static void file_that_shrinks_meanwhile_is_an_error(void **state)
{
	(void)state;
	fixture_kernel(&f, &img, sizeof(img));
	assert_int_equal(ftruncate(f.cfg.kernel.fd, sizeof(img) - 1), 0);
	FIXTURE_LOAD_FAILS(&f, -EIO, "kernel.img", "shorter");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(goes_to_its_preferred_address),
		T(signature_behind_the_code_is_not_loaded),
		T(no_setup_sectors_means_four),
		T(relocatable_kernel_is_aligned_upwards),
		T(fixed_kernel_stays_where_it_wants),
		T(zero_page_has_header_and_loader_fields),
		T(shorter_header_of_an_older_kernel_is_enough),
		T(kernel_without_64_bit_entry_starts_in_32_bits),
		T(old_kernels_are_refused_by_name),
		T(truncated_file_is_refused),
		T(sizes_that_lie_are_refused),
		T(addresses_that_lie_are_refused),
		T(init_size_is_checked_against_memory),
		T(memory_above_the_hole_does_not_count),
		T(code_beyond_init_size_counts),
		T(command_line_is_as_long_as_the_header_says),
		T(command_line_stays_in_its_place),
		T(file_that_shrinks_meanwhile_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
