/* Guests to load in tests; see kernel_fixture.h. */
#include "tests/unit/kernel_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/x86_64/layout.h"

void fixture_bzimage_init(struct fixture_bzimage *img)
{
	memset(img, 0, sizeof(*img));
	/* Bytes that a loader must not take over; the last one is the jump's length. */
	memset(img->boot_sector, 0xbb, sizeof(img->boot_sector));
	memset(img->setup, 0xbb, sizeof(img->setup));
	memset(img->code, 0xc3, sizeof(img->code));
	img->hdr = (struct setup_header){
		.setup_sects = 1,
		.syssize = FIXTURE_CODE_SIZE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x00eb | (0x26c - 0x202) << 8,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G,
		.cmdline_size = 2047,
		.pref_address = FIXTURE_LOAD,
		.init_size = 0x2000000,
	};
}

void fixture_elf_init(struct fixture_elf *img)
{
	memset(img, 0, sizeof(*img));
	memset(img->code, 0xc3, sizeof(img->code));
	memset(img->data, 0xda, sizeof(img->data));
	img->ehdr = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = FIXTURE_LOAD,
		.e_phoff = offsetof(struct fixture_elf, code_ph),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 3,
	};
	img->code_ph = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct fixture_elf, code),
		.p_vaddr = 0xffffffff81000000,
		.p_paddr = FIXTURE_LOAD,
		.p_filesz = sizeof(img->code),
		.p_memsz = sizeof(img->code),
	};
	img->data_ph = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct fixture_elf, data),
		.p_vaddr = 0xffffffff81200000,
		.p_paddr = FIXTURE_DATA,
		.p_filesz = sizeof(img->data),
		.p_memsz = sizeof(img->data) + FIXTURE_BSS,
	};
	img->note_ph = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = offsetof(struct fixture_elf, note),
		.p_filesz = sizeof(img->note),
		.p_memsz = sizeof(img->note),
		.p_align = 4,
	};
	img->note.head = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 8, .n_type = 18 };
	memcpy(img->note.name, "Xen", 4);
	img->note.desc[0] = FIXTURE_PVH_ENTRY;
}

void fixture_init(struct fixture *f, uint64_t mib)
{
	uint64_t len = mib * FIXTURE_MIB;
	struct gmem_range ranges[2] = { { GPA(0), len }, { GPA(LAYOUT_HOLE_END), 0 } };
	size_t n = 1;

	if (len > LAYOUT_HOLE) {
		ranges[0].len = LAYOUT_HOLE;
		ranges[1].len = len - LAYOUT_HOLE;
		n = 2;
	}
	*f = (struct fixture){
		.cfg.kernel.fd = -1,
		.cfg.initrd.fd = -1,
		.cfg.cmdline = "panic=-1",
		.cfg.n_cpus = 1,
	};
	assert_int_equal(gmem_map(&f->mem, ranges, n, &f->err), 0);
}

void fixture_free(struct fixture *f)
{
	if (f->cfg.kernel.fd >= 0)
		close(f->cfg.kernel.fd);
	if (f->cfg.initrd.fd >= 0)
		close(f->cfg.initrd.fd);
	gmem_unmap(&f->mem);
}

static void replace(struct boot_image *img, const char *name, uint64_t size)
{
	if (img->fd >= 0)
		close(img->fd);
	img->fd = memfd_create(name, MFD_CLOEXEC);
	img->path = name;
	img->size = size;
	assert_true(img->fd >= 0);
	assert_int_equal(ftruncate(img->fd, (off_t)size), 0);
}

void fixture_kernel(struct fixture *f, const void *bytes, size_t len)
{
	replace(&f->cfg.kernel, "kernel.img", len);
	if (len)
		assert_int_equal(pwrite(f->cfg.kernel.fd, bytes, len, 0), len);
}

void fixture_initrd(struct fixture *f, uint64_t size)
{
	replace(&f->cfg.initrd, "initrd.img", size);
	if (size)
		assert_int_equal(pwrite(f->cfg.initrd.fd, "\x77", 1, (off_t)size - 1),
				 1);
}

void fixture_load(struct fixture *f)
{
	int r = boot_load(&f->mem, &f->cfg, &f->state, &f->err);

	if (r < 0)
		print_error("%s\n", f->err.msg);
	assert_int_equal(r, 0);
}

void fixture_load_fails(struct fixture *f, int code, const char *const *words)
{
	struct boot_state before;

	memset(&before, 0xa5, sizeof(before));
	f->state = before;
	f->err.msg[0] = '\0';
	assert_int_equal(boot_load(&f->mem, &f->cfg, &f->state, &f->err), code);
	assert_memory_equal(&f->state, &before, sizeof(before));
	for (; *words; words++) {
		if (!strstr(f->err.msg, *words))
			print_error("\"%s\" lacks \"%s\"\n", f->err.msg, *words);
		assert_non_null(strstr(f->err.msg, *words));
	}
}

void *fixture_at(const struct fixture *f, uint64_t addr, uint64_t len)
{
	void *p = gmem_slice(&f->mem, GPA(addr), len);

	assert_non_null(p);
	return p;
}
