/*
 * What firmware of a PC is told (boot/x86_64/files.c), done as its commands say by a
 * loader of our own, and looked at as its operating system will.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"
#include "boot/x86_64/loader.h"
#include "devices/pci.h"

#define COMMAND 128
#define NAME 56
#define HEADER 36

/* Where the loader puts things: as high as the machine's memory may reach. */
#define TABLES_AT 0xcfff0000u

static const struct gmem_range ranges[] = { { GPA(0), LAYOUT_HOLE },
					    { GPA(LAYOUT_HOLE_END), 3ull << 30 } };
static struct boot_files files;

static int setup(void **state)
{
	(void)state;
	return boot_files_make(ranges, 2, 3, &files, NULL);
}

static int teardown(void **state)
{
	(void)state;
	boot_files_free(&files);
	return 0;
}

static struct boot_file *file(const char *name)
{
	for (size_t i = 0; i < files.n; i++)
		if (!strcmp(files.v[i].name, name))
			return &files.v[i];
	fail_msg("no file %s", name);
	return NULL;
}

/* [off, off + len) of a file. */
static uint8_t *part(const char *name, uint64_t off, uint64_t len)
{
	struct boot_file *f = file(name);

	assert_true(range_within(off, len, f->size));
	return (uint8_t *)f->data + off;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	unsigned s = 0;

	while (len--)
		s += *p++;
	return (uint8_t)s;
}

static const char *name_of(const uint8_t *p)
{
	assert_non_null(memchr(p, 0, NAME));
	return (const char *)p;
}

/* The three commands, on the files where they are; returns how many of each. */
static void run_commands(unsigned n[4])
{
	const struct boot_file *loader = file("etc/table-loader");
	const uint8_t *end = (const uint8_t *)loader->data + loader->size;

	assert_int_equal(loader->size % COMMAND, 0);
	for (const uint8_t *c = loader->data; c < end; c += COMMAND) {
		uint32_t kind = le32_get(c);
		const char *name = name_of(c + 4);
		bool tables = !strcmp(name, "etc/acpi/tables");
		uint8_t *p;

		assert_in_range(kind, 1, 3);
		n[kind]++;
		if (!tables)
			assert_string_equal(name, "etc/acpi/rsdp");
		if (kind == 1) {
			/* Files come before what is done to them. */
			assert_int_equal(n[2] + n[3], 0);
			assert_int_equal(le32_get(c + 4 + NAME), tables ? 64 : 16);
			assert_int_equal(c[8 + NAME], tables ? 1 : 2);
		} else if (kind == 2) {
			assert_int_equal(n[3], 0);
			assert_string_equal(name_of(c + 4 + NAME), "etc/acpi/tables");
			p = part(name, le32_get(c + 4 + 2 * NAME), c[8 + 2 * NAME]);
			if (c[8 + 2 * NAME] == 4)
				le32_put(p, le32_get(p) + TABLES_AT);
			else
				le64_put(p, le64_get(p) + TABLES_AT);
		} else {
			const uint8_t *args = c + 4 + NAME;

			p = part(name, le32_get(args), 1);
			*p -= sum(part(name, le32_get(args + 4), le32_get(args + 8)),
				  le32_get(args + 8));
		}
	}
}

/* A table at its address in the machine, checked as a whole. */
static const uint8_t *table(uint64_t addr, const char *signature)
{
	const uint8_t *t;
	uint32_t len;

	assert_true(addr >= TABLES_AT && addr % 64 == 0);
	len = le32_get(part("etc/acpi/tables", addr - TABLES_AT, HEADER) + 4);
	t = part("etc/acpi/tables", addr - TABLES_AT, len);
	assert_memory_equal(t, signature, 4);
	return t;
}

static const uint8_t *sound(uint64_t addr, const char *signature)
{
	const uint8_t *t = table(addr, signature);

	assert_int_equal(sum(t, le32_get(t + 4)), 0);
	return t;
}

static void firmware_can_put_the_tables_anywhere(void **state)
{
	const uint8_t *rsdp, *xsdt, *fadt, *madt;
	unsigned n[4] = { 0 };

	(void)state;
	run_commands(n);
	assert_int_equal(n[1], 2);
	assert_int_equal(n[2], 7);
	assert_int_equal(n[3], 6);

	rsdp = part("etc/acpi/rsdp", 0, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	xsdt = sound(le64_get(rsdp + 24), "XSDT");
	fadt = sound(le64_get(xsdt + HEADER), "FACP");
	madt = sound(le64_get(xsdt + HEADER + 8), "APIC");
	sound(le64_get(xsdt + HEADER + 16), "MCFG");
	table(le32_get(fadt + 36), "FACS");
	sound(le32_get(fadt + 40), "DSDT");
	assert_int_equal(le64_get(fadt + 140), le32_get(fadt + 40));
	/* There is a PIC, and a CPU for each of the three. */
	assert_int_equal(le32_get(madt + 40), 1);
	assert_int_equal(le32_get(madt + 4), 44 + 12 + 10 + 6 + 3 * 8);
}

static void dsdt_has_the_window_where_firmware_puts_bars(void **state)
{
	const uint32_t first = LAYOUT_ECAM + LAYOUT_ECAM_SIZE;
	const struct boot_file *tables = file("etc/acpi/tables");
	uint8_t window[16];

	(void)state;
	assert_int_equal(LAYOUT_PC_WINDOW_END, PCI_PC_WINDOW_END);
	le32_put(window, first);
	le32_put(window + 4, LAYOUT_PC_WINDOW_END - 1);
	le32_put(window + 8, 0);
	le32_put(window + 12, LAYOUT_PC_WINDOW_END - first);
	assert_non_null(memmem(tables->data, tables->size, window, sizeof(window)));
}

static void memory_map_is_that_of_a_kernel(void **state)
{
	static const struct {
		uint64_t addr, size;
		uint32_t type;
	} want[] = { { 0, 0xa0000, 1 },
		     { 0xa0000, 0x60000, 2 },
		     { 0x100000, LAYOUT_HOLE - 0x100000, 1 },
		     { LAYOUT_ECAM, LAYOUT_ECAM_SIZE, 2 },
		     { LAYOUT_HOLE_END, 3ull << 30, 1 } };

	(void)state;
	assert_int_equal(file("etc/e820")->size, 20 * ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const uint8_t *e = part("etc/e820", 20 * i, 20);

		assert_int_equal(le64_get(e), want[i].addr);
		assert_int_equal(le64_get(e + 8), want[i].size);
		assert_int_equal(le32_get(e + 16), want[i].type);
	}
}

static void screen_and_keyboard_are_on_the_first_serial_port(void **state)
{
	(void)state;
	assert_int_equal(le64_get(part("etc/sercon-port", 0, 8)), 0x3f8);
	assert_int_equal(file("etc/sercon-port")->size, 8);
}

/* As the largest machine has them. */
static void tables_of_255_cpus_have_room(void **state)
{
	unsigned n[4] = { 0 };

	boot_files_free(&files);
	assert_int_equal(boot_files_make(ranges, 1, 255, &files, NULL), 0);
	run_commands(n);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(firmware_can_put_the_tables_anywhere),
		T(dsdt_has_the_window_where_firmware_puts_bars),
		T(memory_map_is_that_of_a_kernel),
		T(screen_and_keyboard_are_on_the_first_serial_port),
		T(tables_of_255_cpus_have_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
