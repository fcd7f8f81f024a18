/*
 * ELF32 kernels and Multiboot: headers, flat images, what they find, what is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"
#include "tests/unit/kernel_fixture.h"

#define MAGIC 0x1badb002u
#define ADDRESSES (1u << 16)

/* A segment behind 4 KiB, of which the headers take the start. */
struct elf32 {
	Elf32_Ehdr ehdr;
	Elf32_Phdr code_ph, note_ph;
	uint32_t multiboot[3];
	struct {
		Elf32_Nhdr head;
		char name[4];
		uint32_t entry;
	} note;
	unsigned char
		pad[0x1000 - sizeof(Elf32_Ehdr) - 2 * sizeof(Elf32_Phdr) - 12 - 20];
	unsigned char code[FIXTURE_CODE_SIZE];
};

struct flat {
	unsigned char skipped[16]; /* not loaded */
	unsigned char code[64];
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end, bss_end, entry;
	unsigned char more[FIXTURE_CODE_SIZE];
};

static struct fixture f;
static struct elf32 elf;
static struct flat flat;

static void set_flags(uint32_t *multiboot, uint32_t flags)
{
	multiboot[0] = MAGIC;
	multiboot[1] = flags;
	multiboot[2] = -(MAGIC + flags);
}

static int setup(void **state)
{
	(void)state;
	fixture_init(&f, 64);
	memset(&elf, 0, sizeof(elf));
	memset(elf.code, 0xc3, sizeof(elf.code));
	elf.ehdr = (Elf32_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_entry = FIXTURE_LOAD + 0x10,
		.e_phoff = offsetof(struct elf32, code_ph),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2,
	};
	elf.code_ph = (Elf32_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct elf32, code),
		.p_vaddr = 0xc1000000,
		.p_paddr = FIXTURE_LOAD,
		.p_filesz = sizeof(elf.code),
		.p_memsz = sizeof(elf.code) + 4096,
	};
	elf.note_ph = (Elf32_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct elf32, note),
		.p_filesz = sizeof(elf.note),
		.p_align = 4,
	};
	elf.note.head = (Elf32_Nhdr){ .n_namesz = 4, .n_descsz = 4, .n_type = 1 };
	memcpy(elf.note.name, "Xen", 4);
	elf.note.entry = FIXTURE_LOAD + 0x20;
	set_flags(elf.multiboot, 3);

	memset(&flat, 0x90, sizeof(flat));
	set_flags(&flat.magic, ADDRESSES | 3);
	flat.load_addr = FIXTURE_LOAD;
	flat.header_addr = FIXTURE_LOAD + sizeof(flat.code);
	flat.load_end = FIXTURE_LOAD + sizeof(flat) - sizeof(flat.skipped);
	flat.bss_end = FIXTURE_LOAD + 0x200000;
	flat.entry = FIXTURE_LOAD + 8;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fixture_free(&f);
	return 0;
}

static void load_elf(void)
{
	fixture_kernel(&f, &elf, sizeof(elf));
	fixture_load(&f);
}

static void load_flat(void)
{
	fixture_kernel(&f, &flat, sizeof(flat));
	fixture_load(&f);
}

#define ELF_FAILS(...)                                                       \
	do {                                                                 \
		fixture_kernel(&f, &elf, sizeof(elf));                       \
		FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", __VA_ARGS__); \
	} while (0)

#define FLAT_FAILS(code, ...)                                            \
	do {                                                             \
		fixture_kernel(&f, &flat, sizeof(flat));                 \
		FIXTURE_LOAD_FAILS(&f, code, "kernel.img", __VA_ARGS__); \
	} while (0)

static void elf32_with_a_header_starts_by_multiboot(void **state)
{
	(void)state;
	load_elf();
	assert_int_equal(f.state.mode, BOOT_PROT32);
	assert_int_equal(f.state.entry, FIXTURE_LOAD + 0x10);
	assert_int_equal(f.state.rax, 0x2badb002);
	assert_int_equal(f.state.rbx, LAYOUT_START_INFO);
	assert_memory_equal(fixture_at(&f, FIXTURE_LOAD, sizeof(elf.code)), elf.code,
			    sizeof(elf.code));
}

static void elf32_with_a_note_starts_by_pvh(void **state)
{
	(void)state;
	elf.note.head.n_type = 18;
	load_elf();
	assert_int_equal(f.state.entry, FIXTURE_LOAD + 0x20);
	assert_int_equal(f.state.rax, 0);
	assert_int_equal(le32_get(fixture_at(&f, f.state.rbx, 4)), 0x336ec578);
}

static void elf32_with_neither_is_refused(void **state)
{
	(void)state;
	elf.multiboot[2]++;
	ELF_FAILS("neither a PVH entry nor a Multiboot header");
	/* Aligned to four bytes, or it is none. */
	memcpy((char *)elf.multiboot + 1, (uint32_t[]){ MAGIC, 3, -(MAGIC + 3) }, 8);
	ELF_FAILS("neither");
}

static void elf32_headers_are_checked(void **state)
{
	(void)state;
	elf.ehdr.e_phentsize = sizeof(Elf64_Phdr);
	ELF_FAILS("of 56 bytes", "of 32 expected");
	elf.ehdr.e_phentsize = sizeof(Elf32_Phdr);
	elf.code_ph.p_offset = 0xfffff000;
	ELF_FAILS("truncated: segment");
	elf.code_ph.p_offset = offsetof(struct elf32, code);
	elf.ehdr.e_phoff = 0xffffffff;
	ELF_FAILS("truncated: program headers");
}

static void demands_that_cannot_be_met_are_refused(void **state)
{
	(void)state;
	set_flags(elf.multiboot, 4);
	ELF_FAILS("video mode");
	set_flags(elf.multiboot, 0x100);
	ELF_FAILS("unknown demands", "0x100");
	set_flags(&flat.magic, ADDRESSES | 4);
	FLAT_FAILS(-ENOEXEC, "video mode");
	/* Those above 15 may be ignored. */
	set_flags(elf.multiboot, 0x40000);
	load_elf();
}

static void flat_image_goes_where_its_header_says(void **state)
{
	const unsigned char *p;

	(void)state;
	load_flat();
	assert_int_equal(f.state.rax, 0x2badb002);
	assert_int_equal(f.state.entry, FIXTURE_LOAD + 8);
	p = fixture_at(&f, FIXTURE_LOAD, sizeof(flat));
	assert_memory_equal(p, flat.code, sizeof(flat) - sizeof(flat.skipped));
	assert_int_equal(p[sizeof(flat) - sizeof(flat.skipped)], 0);
	/* No end: the whole file. */
	flat.load_end = flat.bss_end = 0;
	load_flat();
}

static void flat_image_that_contradicts_itself_is_refused(void **state)
{
	const struct flat good = flat;

	(void)state;
	flat.load_addr = flat.header_addr + 1;
	FLAT_FAILS(-ENOEXEC, "header is not where it says");
	flat = good;
	flat.load_addr -= 17; /* before the file */
	FLAT_FAILS(-ENOEXEC, "header is not where it says");
	flat = good;
	flat.load_end++;
	FLAT_FAILS(-ENOEXEC, "truncated");
	flat.load_end = FIXTURE_LOAD - 1;
	FLAT_FAILS(-ENOEXEC, "truncated");
	flat = good;
	flat.entry = flat.load_end;
	FLAT_FAILS(-ENOEXEC, "entry 0x", "not in what is loaded");
	flat.entry = FIXTURE_LOAD - 1;
	FLAT_FAILS(-ENOEXEC, "entry 0x");
	flat = good;
	flat.bss_end = 0xfffffff0;
	FLAT_FAILS(-E2BIG, "0xfffffff0");
	flat = good;
	flat.header_addr -= FIXTURE_LOAD;
	flat.load_addr -= FIXTURE_LOAD;
	flat.load_end -= FIXTURE_LOAD;
	flat.entry -= FIXTURE_LOAD;
	FLAT_FAILS(-ENOEXEC, "below 1 MiB is taken");
}

static void header_cut_off_by_the_file_is_none(void **state)
{
	(void)state;
	fixture_kernel(&f, &flat, offsetof(struct flat, entry) + 3);
	FIXTURE_LOAD_FAILS(&f, -ENOEXEC, "kernel.img", "not a kernel");
}

static void kernel_finds_memory_command_line_and_initrd(void **state)
{
	const unsigned char *info, *entry;
	uint32_t module;

	(void)state;
	f.cfg.cmdline = "panic=-1 one two";
	fixture_kernel(&f, &elf, sizeof(elf));
	fixture_initrd(&f, 5000);
	fixture_load(&f);
	info = fixture_at(&f, f.state.rbx, 68);
	assert_int_equal(le32_get(info), 0x24d);
	assert_int_equal(le32_get(info + 4), 640);
	assert_int_equal(le32_get(info + 8), 63 * 1024);
	assert_string_equal(fixture_at(&f, le32_get(info + 16), 17),
			    "panic=-1 one two");
	assert_int_equal(le32_get(info + 20), 1);
	module = le32_get(info + 24);
	assert_int_equal(le32_get(fixture_at(&f, module, 16)) % 4096, 0);
	assert_int_equal(le32_get(fixture_at(&f, module + 4, 4)) -
				 le32_get(fixture_at(&f, module, 4)),
			 5000);
	assert_string_equal(fixture_at(&f, le32_get(info + 64), 4), "vmm");
	assert_int_equal(le32_get(info + 44), 4 * 24);
	entry = fixture_at(&f, le32_get(info + 48), 4 * 24);
	assert_int_equal(le32_get(entry), 20);
	assert_int_equal(le64_get(entry + 4), 0);
	assert_int_equal(le64_get(entry + 12), LAYOUT_LOW_RAM_END);
	assert_int_equal(le32_get(entry + 20), 1);
	assert_int_equal(le64_get(entry + 2 * 24 + 4), LAYOUT_HIGH_RAM);
	assert_int_equal(le64_get(entry + 2 * 24 + 12), 63 * FIXTURE_MIB);
}

int main(void)
{
#define MULTIBOOT_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		MULTIBOOT_TEST(elf32_with_a_header_starts_by_multiboot),
		MULTIBOOT_TEST(elf32_with_a_note_starts_by_pvh),
		MULTIBOOT_TEST(elf32_with_neither_is_refused),
		MULTIBOOT_TEST(elf32_headers_are_checked),
		MULTIBOOT_TEST(demands_that_cannot_be_met_are_refused),
		MULTIBOOT_TEST(flat_image_goes_where_its_header_says),
		MULTIBOOT_TEST(flat_image_that_contradicts_itself_is_refused),
		MULTIBOOT_TEST(header_cut_off_by_the_file_is_none),
		MULTIBOOT_TEST(kernel_finds_memory_command_line_and_initrd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
