/* What every guest finds: refusals by name, memory map, tables, start structures. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"
#include "tests/unit/kernel_fixture.h"

#define RAM 1
#define RESERVED 2

static struct fixture f;

static int teardown(void **state)
{
	(void)state;
	fixture_free(&f);
	return 0;
}

static void start_bzimage(uint64_t mib)
{
	struct fixture_bzimage img;

	fixture_init(&f, mib);
	fixture_bzimage_init(&img);
	fixture_kernel(&f, &img, sizeof(img));
	fixture_load(&f);
}

static void start_pvh(uint64_t mib)
{
	struct fixture_elf img;

	fixture_init(&f, mib);
	fixture_elf_init(&img);
	fixture_kernel(&f, &img, sizeof(img));
	fixture_load(&f);
}

static void other_formats_are_refused_by_name(void **state)
{
	static const struct {
		size_t off;
		const char *magic, *name;
	} formats[] = {
		{ 0, "\x1f\x8b\x08", "gzip" },
		{ 0,
		  "\xfd"
		  "7zXZ",
		  "xz" },
		{ 0, "\x28\xb5\x2f\xfd", "zstd" },
		{ 0, "\x02\x21\x4c\x18", "lz4" },
		{ 0, "\x04\x22\x4d\x18", "lz4" },
		{ 0, "BZh9", "bzip2" },
		{ 0, "ANDROID!", "Android boot image" },
		{ 56, "ARM\x64", "aarch64 Image" },
		{ 0, "MZ", "EFI program" },
		{ 0, "#!/bin/sh", "neither bzImage, ELF nor Multiboot" },
	};

	(void)state;
	fixture_init(&f, 64);
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		unsigned char bytes[0x300] = { 0 };

		memcpy(bytes + formats[i].off, formats[i].magic,
		       strlen(formats[i].magic));
		fixture_kernel(&f, bytes, sizeof(bytes));
		FIXTURE_LOAD_FAILS(&f, -ENOEXEC,
				   "kernel kernel.img: ", formats[i].name);
	}
}

static void aarch64_image_with_efi_stub_is_named(void **state)
{
	unsigned char bytes[64] = "MZ";

	(void)state;
	memcpy(bytes + 56, "ARM\x64", 4);
	fixture_init(&f, 64);
	fixture_kernel(&f, bytes, sizeof(bytes));
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", "aarch64 Image");
}

static void short_files_are_refused(void **state)
{
	(void)state;
	fixture_init(&f, 64);
	fixture_kernel(&f, "", 0);
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel kernel.img: empty file");
	fixture_kernel(&f, "M", 1);
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", "not a kernel");
}

static void tiny_machine_is_an_error(void **state)
{
	const struct gmem_range low = { GPA(0), LAYOUT_HIGH_RAM / 2 };
	struct fixture_bzimage img;

	(void)state;
	fixture_init(&f, 1);
	fixture_bzimage_init(&img);
	fixture_kernel(&f, &img, sizeof(img));
	FIXTURE_LOAD_FAILS(&f, -E2BIG, "kernel.img", "the VM has 1 MiB");
	gmem_unmap(&f.mem);
	assert_int_equal(gmem_map(&f.mem, &low, 1, &f.err), 0);
	FIXTURE_LOAD_FAILS(&f, -E2BIG, "1 MiB");
}

struct range {
	uint64_t addr, size;
	uint32_t type;
};

static void assert_map(const struct range *want, size_t n)
{
	const struct boot_params *zero = fixture_at(&f, f.state.rsi, sizeof(*zero));

	assert_int_equal(zero->e820_entries, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(zero->e820_table[i].addr, want[i].addr);
		assert_int_equal(zero->e820_table[i].size, want[i].size);
		assert_int_equal(zero->e820_table[i].type, want[i].type);
	}
}

static void memory_map_shows_low_memory(void **state)
{
	const struct range want[] = {
		{ 0, 0xa0000, RAM },
		{ 0xa0000, 0x60000, RESERVED },
		{ 0x100000, 0x3f00000, RAM },
		{ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, RESERVED },
	};

	(void)state;
	start_bzimage(64);
	assert_map(want, ARRAY_SIZE(want));
}

static void memory_map_ends_at_the_hole(void **state)
{
	const struct range want[] = {
		{ 0, 0xa0000, RAM },
		{ 0xa0000, 0x60000, RESERVED },
		{ 0x100000, LAYOUT_HOLE - 0x100000, RAM },
		{ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, RESERVED },
	};

	(void)state;
	start_bzimage(LAYOUT_HOLE / FIXTURE_MIB);
	assert_map(want, ARRAY_SIZE(want));
}

static void memory_map_goes_on_above_4_gib(void **state)
{
	const struct range want[] = {
		{ 0, 0xa0000, RAM },
		{ 0xa0000, 0x60000, RESERVED },
		{ 0x100000, LAYOUT_HOLE - 0x100000, RAM },
		{ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, RESERVED },
		{ 1ull << 32, 6 * 1024 * FIXTURE_MIB - LAYOUT_HOLE, RAM },
	};

	(void)state;
	start_bzimage(6 * 1024);
	assert_map(want, ARRAY_SIZE(want));
}

static void page_tables_map_4_gib_one_to_one(void **state)
{
	const uint64_t *pml4, *pdpt;

	(void)state;
	start_bzimage(64);
	pml4 = fixture_at(&f, f.state.page_table, 4096);
	assert_int_equal(pml4[0] & 0xfff, 3);
	assert_int_equal(pml4[1], 0);
	pdpt = fixture_at(&f, pml4[0] & ~0xfffull, 4096);
	for (uint64_t gib = 0; gib < 4; gib++) {
		const uint64_t *pd = fixture_at(&f, pdpt[gib] & ~0xfffull, 4096);

		assert_int_equal(pdpt[gib] & 0xfff, 3);
		for (uint64_t i = 0; i < 512; i++)
			assert_int_equal(pd[i], (gib << 30 | i << 21) + 0x83);
	}
	assert_int_equal(pdpt[4], 0);
}

static void segments_suit_the_mode(void **state)
{
	const uint64_t *gdt;

	(void)state;
	start_bzimage(64);
	gdt = fixture_at(&f, f.state.gdt, LAYOUT_GDT_LIMIT + 1);
	assert_int_equal(gdt[0], 0);
	assert_int_equal(gdt[2], 0x00af9b000000ffff); /* L */
	assert_int_equal(gdt[3], 0x00cf93000000ffff);
	fixture_free(&f);
	start_pvh(64);
	gdt = fixture_at(&f, f.state.gdt, LAYOUT_GDT_LIMIT + 1);
	assert_int_equal(gdt[2], 0x00cf9b000000ffff); /* D */
	assert_int_equal(gdt[3], 0x00cf93000000ffff);
}

static void zero_page_leads_to_everything(void **state)
{
	const struct boot_params *zero;

	(void)state;
	start_bzimage(64);
	zero = fixture_at(&f, f.state.rsi, sizeof(*zero));
	assert_string_equal(fixture_at(&f, zero->hdr.cmd_line_ptr, 9), "panic=-1");
	assert_int_equal(zero->ext_cmd_line_ptr, 0);
	assert_memory_equal(fixture_at(&f, zero->acpi_rsdp_addr, 8), "RSD PTR ", 8);
}

static void every_guest_gets_another_seed(void **state)
{
	unsigned char seeds[2][64];

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct boot_params *zero;
		const struct setup_data *data;

		start_bzimage(64);
		zero = fixture_at(&f, f.state.rsi, sizeof(*zero));
		data = fixture_at(&f, zero->hdr.setup_data, sizeof(*data) + 64);
		assert_int_equal(data->next, 0);
		assert_int_equal(data->type, SETUP_RNG_SEED);
		assert_int_equal(data->len, 64);
		memcpy(seeds[i], data->data, 64);
		fixture_free(&f);
	}
	assert_memory_not_equal(seeds[0], seeds[1], 64);
}

static void start_info_leads_to_everything(void **state)
{
	const unsigned char *info, *map;
	const struct range want[] = {
		{ 0, 0xa0000, RAM },
		{ 0xa0000, 0x60000, RESERVED },
		{ 0x100000, LAYOUT_HOLE - 0x100000, RAM },
		{ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, RESERVED },
		{ 1ull << 32, 4096 * FIXTURE_MIB - LAYOUT_HOLE, RAM },
	};

	(void)state;
	start_pvh(4096);
	info = fixture_at(&f, f.state.rbx, 56);
	assert_int_equal(le32_get(info), 0x336ec578);
	assert_int_equal(le32_get(info + 4), 1); /* version */
	assert_int_equal(le32_get(info + 8), 0); /* flags */
	assert_int_equal(le32_get(info + 12), 0); /* modules */
	assert_int_equal(le64_get(info + 16), 0);
	assert_string_equal(fixture_at(&f, le64_get(info + 24), 9), "panic=-1");
	assert_memory_equal(fixture_at(&f, le64_get(info + 32), 8), "RSD PTR ", 8);
	assert_int_equal(le32_get(info + 48), ARRAY_SIZE(want));
	assert_int_equal(le32_get(info + 52), 0);
	map = fixture_at(&f, le64_get(info + 40), sizeof(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_int_equal(le64_get(map + 24 * i), want[i].addr);
		assert_int_equal(le64_get(map + 24 * i + 8), want[i].size);
		assert_int_equal(le32_get(map + 24 * i + 16), want[i].type);
		assert_int_equal(le32_get(map + 24 * i + 20), 0);
	}
}

/* The last 128 KiB of the ROM, or all of a smaller one, and nothing else. */
static void assert_shadow(const struct boot_rom *rom, uint64_t len)
{
	struct boot_state state;
	const uint8_t *low;

	fixture_init(&f, 64);
	f.cfg.pc_rom = rom;
	assert_int_equal(boot_load(&f.mem, &f.cfg, &state, &f.err), 0);
	assert_int_equal(state.mode, BOOT_RESET);
	low = fixture_at(&f, 0, LAYOUT_HIGH_RAM);
	for (uint64_t i = 0; i < LAYOUT_HIGH_RAM - len; i++)
		assert_int_equal(low[i], 0);
	assert_memory_equal(low + LAYOUT_HIGH_RAM - len, rom->base + rom->len - len,
			    len);
	fixture_free(&f);
}

static void firmware_of_a_pc_finds_itself_in_ram(void **state)
{
	static unsigned char bytes[256 << 10];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i >> 12 | 1);
	assert_shadow(&(struct boot_rom){ bytes, sizeof(bytes) }, 128 << 10);
	assert_shadow(&(struct boot_rom){ bytes, 4096 }, 4096);
}

static void firmware_finds_the_zero_page(void **state)
{
	const struct boot_params *zero;

	(void)state;
	fixture_init(&f, 64);
	fixture_load(&f);
	assert_int_equal(f.state.mode, BOOT_RESET);
	zero = fixture_at(&f, LAYOUT_ZERO_PAGE, sizeof(*zero));
	assert_int_equal(zero->hdr.header, 0x53726448);
	assert_string_equal(fixture_at(&f, zero->hdr.cmd_line_ptr, 9), "panic=-1");
	/* Not where the ROM is seen. */
	assert_int_equal(zero->acpi_rsdp_addr, LAYOUT_FIRMWARE_ACPI);
	assert_memory_equal(fixture_at(&f, LAYOUT_FIRMWARE_ACPI, 8), "RSD PTR ", 8);
	assert_int_equal(zero->e820_entries, 4);
	assert_int_equal(zero->e820_table[0].size, LAYOUT_FIRMWARE_ACPI);
	assert_int_equal(zero->e820_table[1].addr, LAYOUT_FIRMWARE_ACPI);
	assert_int_equal(zero->e820_table[1].type, RESERVED);
	assert_int_equal(zero->e820_table[2].addr, LAYOUT_HIGH_RAM);
}

static int load_rom(uint64_t size, struct boot_rom *ret_rom)
{
	struct boot_image img = { .size = size, .path = "rom.img" };
	int r;

	img.fd = memfd_create("rom", MFD_CLOEXEC);
	assert_true(img.fd >= 0);
	assert_int_equal(ftruncate(img.fd, (off_t)size), 0);
	if (size)
		assert_int_equal(pwrite(img.fd, "\x77", 1, (off_t)size - 1), 1);
	r = boot_rom_load(&img, ret_rom, &f.err);
	close(img.fd);
	return r;
}

static void rom_ends_where_its_file_ends(void **state)
{
	static const uint64_t sizes[] = { 1, 4095, 4096, 4097, LAYOUT_ROM_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct boot_rom rom = { 0 };

		assert_int_equal(load_rom(sizes[i], &rom), 0);
		assert_int_equal(rom.len, align_up(sizes[i], 4096));
		assert_int_equal(rom.base[rom.len - 1], 0x77);
		boot_rom_free(&rom);
		assert_null(rom.base);
	}
}

static void rom_that_does_not_fit_is_refused(void **state)
{
	struct boot_rom rom = { 0 };

	(void)state;
	assert_int_equal(load_rom(0, &rom), -ENOEXEC);
	assert_non_null(strstr(f.err.msg, "bios rom.img: empty"));
	assert_int_equal(load_rom(LAYOUT_ROM_MAX + 1, &rom), -E2BIG);
	assert_non_null(
		strstr(f.err.msg, "bios rom.img: 16777217 bytes, at most 16 MiB"));
	assert_null(rom.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_teardown(name, teardown)
		T(other_formats_are_refused_by_name),
		T(aarch64_image_with_efi_stub_is_named),
		T(short_files_are_refused),
		T(tiny_machine_is_an_error),
		T(memory_map_shows_low_memory),
		T(memory_map_ends_at_the_hole),
		T(memory_map_goes_on_above_4_gib),
		T(page_tables_map_4_gib_one_to_one),
		T(segments_suit_the_mode),
		T(zero_page_leads_to_everything),
		cmocka_unit_test(every_guest_gets_another_seed),
		T(start_info_leads_to_everything),
		T(firmware_finds_the_zero_page),
		T(firmware_of_a_pc_finds_itself_in_ram),
		cmocka_unit_test(rom_ends_where_its_file_ends),
		cmocka_unit_test(rom_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
