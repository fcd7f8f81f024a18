/* ELF kernels: segments, the PVH entry and its notes, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"
#include "tests/unit/kernel_fixture.h"

static struct fixture f;
static struct fixture_elf img;

static int setup(void **state)
{
	(void)state;
	fixture_init(&f, 64);
	fixture_elf_init(&img);
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

static void segments_go_to_their_physical_addresses(void **state)
{
	unsigned char bss[FIXTURE_BSS] = { 0 };

	(void)state;
	load();
	assert_memory_equal(fixture_at(&f, FIXTURE_LOAD, sizeof(img.code)), img.code,
			    sizeof(img.code));
	assert_memory_equal(fixture_at(&f, FIXTURE_DATA, sizeof(img.data)), img.data,
			    sizeof(img.data));
	assert_memory_equal(
		fixture_at(&f, FIXTURE_DATA + sizeof(img.data), sizeof(bss)), bss,
		sizeof(bss));
}

static void note_gives_the_pvh_entry(void **state)
{
	(void)state;
	load();
	assert_int_equal(f.state.mode, BOOT_PROT32);
	assert_int_equal(f.state.entry, FIXTURE_PVH_ENTRY);
	assert_int_equal(f.state.rbx, LAYOUT_START_INFO);
	assert_int_equal(f.state.page_table, 0);
	assert_int_equal(f.state.gdt, LAYOUT_GDT);
}

static void note_of_four_bytes_is_enough(void **state)
{
	(void)state;
	img.note.head.n_descsz = 4;
	img.note.desc[1] = 0xffffffff;
	load();
	assert_int_equal(f.state.entry, FIXTURE_PVH_ENTRY);
}

static unsigned char *put_note(unsigned char *to, uint32_t align, uint32_t type,
			       const char *name, const void *desc, uint32_t desc_len)
{
	uint32_t name_len = (uint32_t)strlen(name) + 1;
	Elf64_Nhdr head = { name_len, desc_len, type };
	size_t at = align_up(sizeof(head) + name_len, align);

	memcpy(to, &head, sizeof(head));
	memcpy(to + sizeof(head), name, name_len);
	memcpy(to + at, desc, desc_len);
	return to + align_up(at + desc_len, align);
}

/* Notes of other kinds before the one that counts, padded as @align wants it. */
static void several_notes(uint32_t align)
{
	unsigned char *to = img.pad;

	memset(to, 0, sizeof(img.pad));
	to = put_note(to, align, 18, "Linux", "other", 5);
	to = put_note(to, align, 17, "Xen", "another kind", 12);
	to = put_note(to, align, 18, "Xen", img.note.desc, 8);
	img.note_ph.p_offset = offsetof(struct fixture_elf, pad);
	img.note_ph.p_filesz = (size_t)(to - img.pad);
	img.note_ph.p_align = align;
}

static void note_is_found_behind_others(void **state)
{
	(void)state;
	several_notes(4);
	load();
	assert_int_equal(f.state.entry, FIXTURE_PVH_ENTRY);
	several_notes(8);
	load();
	assert_int_equal(f.state.entry, FIXTURE_PVH_ENTRY);
}

static void assert_64_bit_entry(void)
{
	load();
	assert_int_equal(f.state.mode, BOOT_LONG64);
	assert_int_equal(f.state.entry, FIXTURE_LOAD);
	assert_int_equal(f.state.rsi, LAYOUT_ZERO_PAGE);
	assert_int_equal(f.state.page_table, LAYOUT_PML4);
}

static void kernel_without_the_note_starts_at_its_64_bit_entry(void **state)
{
	const struct boot_params *zero;

	(void)state;
	img.ehdr.e_phnum = 2;
	assert_64_bit_entry();
	zero = fixture_at(&f, f.state.rsi, sizeof(*zero));
	assert_int_equal(zero->hdr.boot_flag, 0xaa55);
	assert_memory_equal(&zero->hdr.header, "HdrS", 4);
	assert_int_equal(zero->hdr.version, 0x20c);
	assert_int_equal(zero->hdr.type_of_loader, 0xff);
	assert_int_equal(zero->hdr.loadflags, LOADED_HIGH);
	assert_int_equal(zero->hdr.cmd_line_ptr, LAYOUT_CMDLINE);
	assert_int_equal(zero->hdr.setup_data, LAYOUT_SETUP_DATA);
}

static void damaged_notes_are_not_the_pvh_note(void **state)
{
	(void)state;
	img.note.name[3] = 'x';
	assert_64_bit_entry();
	img.note.name[3] = '\0';
	img.note.head.n_type = 17;
	assert_64_bit_entry();
	img.note.head.n_type = 18;
	img.note.head.n_descsz = 2;
	assert_64_bit_entry();
	img.note.head.n_descsz = 9;
	assert_64_bit_entry();
	img.note.head.n_descsz = UINT32_MAX;
	assert_64_bit_entry();
	img.note.head.n_descsz = 8;
	img.note.head.n_namesz = 3;
	assert_64_bit_entry();
	img.note.head.n_namesz = UINT32_MAX;
	assert_64_bit_entry();
	img.note.head.n_namesz = 4;
	for (unsigned len = 0; len < sizeof(img.note); len++) {
		img.note_ph.p_filesz = len;
		assert_64_bit_entry();
	}
}

static void notes_out_of_bounds_are_refused(void **state)
{
	(void)state;
	img.note_ph.p_offset = sizeof(img) - 23;
	FAILS(-ENOEXEC, "notes of 24 bytes");
	img.note_ph.p_offset = UINT64_MAX;
	FAILS(-ENOEXEC, "notes of 24 bytes");
	img.note_ph.p_offset = 0;
	img.note_ph.p_filesz = 16385;
	FAILS(-ENOEXEC, "notes of 16385 bytes", "at most 16384");
}

static void entry_outside_of_the_segments_is_refused(void **state)
{
	(void)state;
	img.note.desc[0] = FIXTURE_LOAD - 1;
	FAILS(-ENOEXEC, "entry 0xffffff");
	img.note.desc[0] = FIXTURE_LOAD + FIXTURE_CODE_SIZE;
	FAILS(-ENOEXEC, "entry 0x1001000");
	img.note.desc[0] = FIXTURE_LOAD;
	img.note.desc[1] = 1;
	FAILS(-ENOEXEC, "entry 0x101000000");
	/* Where there is nothing but zeroes. */
	img.note.desc[0] = FIXTURE_DATA + sizeof(img.data);
	img.note.desc[1] = 0;
	FAILS(-ENOEXEC, "entry 0x1200100");
}

static void other_elf_files_are_refused(void **state)
{
	(void)state;
	img.ehdr.e_machine = EM_AARCH64;
	FAILS(-ENOEXEC, "for aarch64");
	img.ehdr.e_machine = 12345;
	FAILS(-ENOEXEC, "another machine");
	img.ehdr.e_machine = EM_X86_64;
	img.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	FAILS(-ENOEXEC, "another machine");
	img.ehdr.e_ident[EI_CLASS] = 3;
	FAILS(-ENOEXEC, "class 3");
	img.ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	img.ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	FAILS(-ENOEXEC, "not x86_64");
	img.ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	img.ehdr.e_type = ET_REL;
	FAILS(-ENOEXEC, "no program");
}

static void bad_program_headers_are_refused(void **state)
{
	(void)state;
	img.ehdr.e_phnum = 0;
	FAILS(-ENOEXEC, "0 program headers");
	img.ehdr.e_phnum = 65;
	FAILS(-ENOEXEC, "65 program headers");
	img.ehdr.e_phnum = PN_XNUM;
	FAILS(-ENOEXEC, "65535 program headers");
	img.ehdr.e_phnum = 3;
	img.ehdr.e_phentsize = 32;
	FAILS(-ENOEXEC, "of 32 bytes");
	img.ehdr.e_phentsize = sizeof(Elf64_Phdr);
	img.ehdr.e_phoff = sizeof(img) - 3 * sizeof(Elf64_Phdr) + 1;
	FAILS(-ENOEXEC, "truncated");
	img.ehdr.e_phoff = UINT64_MAX;
	FAILS(-ENOEXEC, "truncated");
}

static void file_without_segments_is_refused(void **state)
{
	(void)state;
	img.code_ph.p_type = PT_NULL;
	img.data_ph.p_memsz = img.data_ph.p_filesz = 0;
	FAILS(-ENOEXEC, "without segments");
}

static void bad_segment_sizes_are_refused(void **state)
{
	(void)state;
	img.data_ph.p_memsz = img.data_ph.p_filesz - 1;
	FAILS(-ENOEXEC, "256 bytes in 255");
	img.data_ph.p_memsz = UINT64_MAX;
	FAILS(-ENOEXEC, "beyond all addresses");
	img.data_ph.p_filesz = UINT64_MAX;
	FAILS(-ENOEXEC, "truncated");
	img.data_ph.p_memsz = img.data_ph.p_filesz = 256;
	img.data_ph.p_offset = sizeof(img) - 255;
	FAILS(-ENOEXEC, "truncated");
	img.data_ph.p_offset = UINT64_MAX - 10;
	FAILS(-ENOEXEC, "truncated");
}

static void truncated_file_is_refused(void **state)
{
	(void)state;
	for (size_t len = 4; len < sizeof(img); len += 13) {
		fixture_kernel(&f, &img, len);
		FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img");
	}
	fixture_kernel(&f, &img, 63);
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "truncated: 63 bytes");
	fixture_kernel(&f, &img, sizeof(img) - 1);
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", "truncated");
}

static void segments_in_low_memory_are_refused(void **state)
{
	(void)state;
	img.code_ph.p_paddr = LAYOUT_HIGH_RAM - 1;
	FAILS(-ENOEXEC, "0xfffff", "below 1 MiB");
	img.code_ph.p_paddr = 0;
	FAILS(-ENOEXEC, "below 1 MiB");
}

static void overlapping_segments_are_refused(void **state)
{
	(void)state;
	img.data_ph.p_paddr = FIXTURE_LOAD + FIXTURE_CODE_SIZE - 1;
	FAILS(-ENOEXEC, "overlap at 0x1000fff");
	img.data_ph.p_paddr = FIXTURE_LOAD - 256 - FIXTURE_BSS + 1;
	FAILS(-ENOEXEC, "overlap");
	/* Touching is not overlapping. */
	img.data_ph.p_paddr = FIXTURE_LOAD + FIXTURE_CODE_SIZE;
	load();
	img.data_ph.p_paddr = FIXTURE_LOAD - 256 - FIXTURE_BSS;
	load();
}

static void memory_is_checked_up_to_the_highest_segment(void **state)
{
	(void)state;
	img.data_ph.p_memsz = (64 << 20) - FIXTURE_DATA;
	load();
	img.data_ph.p_memsz++;
	FAILS(-E2BIG, "needs 65 MiB of memory (segments from 0x1000000 to 0x4000001), "
		      "the VM has 64 MiB");
	img.data_ph.p_paddr = 0xffffffff81200000;
	FAILS(-E2BIG, "0xffffffff");
}

static void no_segment_goes_above_the_hole(void **state)
{
	(void)state;
	fixture_free(&f);
	fixture_init(&f, 8192);
	img.data_ph.p_paddr = LAYOUT_HOLE_END;
	FAILS(-E2BIG, "0xd0000000");
	img.data_ph.p_paddr = LAYOUT_HOLE - 256 - FIXTURE_BSS;
	load();
}

static void command_line_is_linux_long(void **state)
{
	char line[2049];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[2048] = '\0';
	f.cfg.cmdline = line;
	FAILS(-E2BIG, "2048 bytes", "at most 2047");
	line[2047] = '\0';
	load();
	assert_string_equal(fixture_at(&f, LAYOUT_CMDLINE, 2048), line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(segments_go_to_their_physical_addresses),
		T(note_gives_the_pvh_entry),
		T(note_of_four_bytes_is_enough),
		T(note_is_found_behind_others),
		T(kernel_without_the_note_starts_at_its_64_bit_entry),
		T(damaged_notes_are_not_the_pvh_note),
		T(notes_out_of_bounds_are_refused),
		T(entry_outside_of_the_segments_is_refused),
		T(other_elf_files_are_refused),
		T(bad_program_headers_are_refused),
		T(file_without_segments_is_refused),
		T(bad_segment_sizes_are_refused),
		T(truncated_file_is_refused),
		T(segments_in_low_memory_are_refused),
		T(overlapping_segments_are_refused),
		T(memory_is_checked_up_to_the_highest_segment),
		T(no_segment_goes_above_the_hole),
		T(command_line_is_linux_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
