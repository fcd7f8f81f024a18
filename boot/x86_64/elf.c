/*
 * Loads an ELF64 kernel (vmlinux) at its segments' physical addresses. It starts at
 * the PVH entry where a Xen note names one (xen/include/public/elfnote.h), otherwise
 * at e_entry by the 64-bit Linux boot protocol. Refuses what is not an x86_64 program,
 * segments that overlap each other or low memory, and headers that lead out of the
 * file.
 */
#include "boot/x86_64/loader.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "boot/arch.h"
#include "boot/x86_64/layout.h"

#define MAX_SEGMENTS 64 /* a Linux kernel has 5 */
#define MAX_NOTES_SIZE 16384u /* a Linux kernel has 512 bytes */
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define LINUX_CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE without the terminator */
#define PROTOCOL_VERSION 0x20c

struct segments {
	Elf64_Phdr v[MAX_SEGMENTS];
	size_t n;
};

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "i386";
	case EM_AARCH64:
		return "aarch64";
	case EM_ARM:
		return "arm";
	case EM_RISCV:
		return "riscv";
	default:
		return "another machine";
	}
}

static int check_header(const struct boot_image *img, const Elf64_Ehdr *ehdr,
			struct err *err)
{
	if (img->size < sizeof(*ehdr))
		return err_set(err, -ENOEXEC, "kernel %s: truncated: %" PRIu64 " bytes",
			       img->path, img->size);
	/* The machine stands at the same place in both classes. */
	if (ehdr->e_ident[EI_DATA] != ELFDATA2LSB || ehdr->e_machine != EM_X86_64)
		return err_set(err, -ENOEXEC, "kernel %s: ELF file for %s, not x86_64",
			       img->path, machine_name(ehdr->e_machine));
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(err, -ENOEXEC, "kernel %s: 32-bit ELF file", img->path);
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		return err_set(err, -ENOEXEC, "kernel %s: ELF file, but no program",
			       img->path);
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || ehdr->e_phnum == 0 ||
	    ehdr->e_phnum > MAX_SEGMENTS)
		return err_set(err, -ENOEXEC,
			       "kernel %s: %u program headers of %u bytes"
			       " (1 to %u of %zu expected)",
			       img->path, ehdr->e_phnum, ehdr->e_phentsize,
			       MAX_SEGMENTS, sizeof(Elf64_Phdr));
	return 0;
}

static int read_segments(const struct boot_image *img, const Elf64_Ehdr *ehdr,
			 struct segments *ret, struct err *err)
{
	size_t len = ehdr->e_phnum * sizeof(Elf64_Phdr);

	if (!range_within(ehdr->e_phoff, len, img->size))
		return err_set(err, -ENOEXEC,
			       "kernel %s: truncated: program headers at %" PRIu64
			       ", the file has %" PRIu64 " bytes",
			       img->path, ehdr->e_phoff, img->size);
	ret->n = ehdr->e_phnum;
	return boot_read(img, "kernel", ehdr->e_phoff, ret->v, len, err);
}

/* Check one PT_LOAD; *@start and *@end grow to the extent of all. */
static int check_load(const struct boot_image *img, const Elf64_Phdr *p,
		      uint64_t *start, uint64_t *end, struct err *err)
{
	uint64_t top;

	if (p->p_filesz > p->p_memsz)
		return err_set(err, -ENOEXEC,
			       "kernel %s: segment of %" PRIu64 " bytes in %" PRIu64
			       " bytes of memory",
			       img->path, p->p_filesz, p->p_memsz);
	if (!range_within(p->p_offset, p->p_filesz, img->size))
		return err_set(err, -ENOEXEC,
			       "kernel %s: truncated: segment of %" PRIu64
			       " bytes at %" PRIu64 ", the file has %" PRIu64,
			       img->path, p->p_filesz, p->p_offset, img->size);
	if (__builtin_add_overflow(p->p_paddr, p->p_memsz, &top))
		return err_set(err, -ENOEXEC,
			       "kernel %s: segment of %" PRIu64
			       " bytes ends beyond all addresses",
			       img->path, p->p_memsz);
	if (p->p_paddr < *start)
		*start = p->p_paddr;
	if (top > *end)
		*end = top;
	return 0;
}

static bool overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
	return a->p_paddr < b->p_paddr + b->p_memsz &&
	       b->p_paddr < a->p_paddr + a->p_memsz;
}

/* Drop all but the segments to load, once they have been checked. */
static int select_loads(const struct gmem *mem, const struct boot_image *img,
			struct segments *segs, uint64_t *ret_start, uint64_t *ret_end,
			struct err *err)
{
	uint64_t start = UINT64_MAX, end = 0;
	char what[80];
	size_t n = 0;
	int r;

	for (size_t i = 0; i < segs->n; i++) {
		const Elf64_Phdr p = segs->v[i];

		if (p.p_type != PT_LOAD || p.p_memsz == 0)
			continue;
		r = check_load(img, &p, &start, &end, err);
		if (r < 0)
			return r;
		/* What is not in the file must be zero, as fresh memory is. */
		for (size_t k = 0; k < n; k++)
			if (overlap(&segs->v[k], &p))
				return err_set(err, -ENOEXEC,
					       "kernel %s: segments overlap at"
					       " 0x%" PRIx64,
					       img->path, p.p_paddr);
		segs->v[n++] = p;
	}
	if (n == 0)
		return err_set(err, -ENOEXEC, "kernel %s: ELF file without segments",
			       img->path);
	segs->n = n;
	snprintf(what, sizeof(what), "segments from 0x%" PRIx64 " to 0x%" PRIx64, start,
		 end);
	r = loader_check_fit(mem, img, start, end, what, err);
	if (r < 0)
		return r;
	*ret_start = start;
	*ret_end = end;
	return 0;
}

/* Look for the PVH entry in one segment of notes; 1 when found. */
static int parse_notes(const unsigned char *notes, uint64_t size, uint64_t align,
		       uint64_t *ret_entry)
{
	uint64_t pos = 0;

	while (range_within(pos, sizeof(Elf64_Nhdr), size)) {
		uint64_t name_len = le32_get(notes + pos);
		uint64_t desc_len = le32_get(notes + pos + 4);
		uint32_t type = le32_get(notes + pos + 8);
		uint64_t name = pos + sizeof(Elf64_Nhdr);
		uint64_t desc = align_up(name + name_len, align);

		if (!range_within(desc, desc_len, size))
			return 0;
		if (type == XEN_ELFNOTE_PHYS32_ENTRY && name_len == 4 &&
		    memcmp(notes + name, "Xen", 4) == 0 &&
		    (desc_len == 4 || desc_len == 8)) {
			*ret_entry = desc_len == 4 ? le32_get(notes + desc)
						   : le64_get(notes + desc);
			return 1;
		}
		pos = align_up(desc + desc_len, align);
	}
	return 0;
}

/* 1 when the kernel has a PVH entry, 0 when not. */
static int find_pvh(const struct boot_image *img, const struct segments *segs,
		    uint64_t *ret_entry, struct err *err)
{
	unsigned char notes[MAX_NOTES_SIZE];
	int r;

	for (size_t i = 0; i < segs->n; i++) {
		const Elf64_Phdr *p = &segs->v[i];

		if (p->p_type != PT_NOTE)
			continue;
		if (p->p_filesz > MAX_NOTES_SIZE ||
		    !range_within(p->p_offset, p->p_filesz, img->size))
			return err_set(err, -ENOEXEC,
				       "kernel %s: notes of %" PRIu64
				       " bytes at %" PRIu64 " (at most %u are read)"
				       ", the file has %" PRIu64,
				       img->path, p->p_filesz, p->p_offset,
				       MAX_NOTES_SIZE, img->size);
		r = boot_read(img, "kernel", p->p_offset, notes, p->p_filesz, err);
		if (r < 0)
			return r;
		r = parse_notes(notes, p->p_filesz, p->p_align == 8 ? 8 : 4, ret_entry);
		if (r)
			return r;
	}
	return 0;
}

static int load_segments(const struct gmem *mem, const struct boot_image *img,
			 const struct segments *segs, uint64_t entry, struct err *err)
{
	bool found = false;

	for (size_t i = 0; i < segs->n; i++) {
		const Elf64_Phdr *p = &segs->v[i];
		int r;

		if (p->p_filesz == 0)
			continue;
		gmem_want_huge(mem, GPA(p->p_paddr), p->p_filesz);
		r = boot_read(img, "kernel", p->p_offset,
			      gmem_slice(mem, GPA(p->p_paddr), p->p_filesz),
			      p->p_filesz, err);
		if (r < 0)
			return r;
		if (entry >= p->p_paddr && entry - p->p_paddr < p->p_filesz)
			found = true;
	}
	if (!found)
		return err_set(err, -ENOEXEC,
			       "kernel %s: entry 0x%" PRIx64 " lies in no segment",
			       img->path, entry);
	return 0;
}

int elf_load(const struct gmem *mem, const struct boot_image *img,
	     const unsigned char *head, struct loader_kernel *ret_kernel,
	     struct err *err)
{
	struct segments segs = { 0 };
	uint64_t start = 0, end = 0, entry;
	Elf64_Ehdr ehdr;
	int pvh, r;

	memcpy(&ehdr, head, sizeof(ehdr));
	r = check_header(img, &ehdr, err);
	if (r < 0)
		return r;
	r = read_segments(img, &ehdr, &segs, err);
	if (r < 0)
		return r;
	entry = ehdr.e_entry;
	pvh = find_pvh(img, &segs, &entry, err);
	if (pvh < 0)
		return pvh;
	r = select_loads(mem, img, &segs, &start, &end, err);
	if (r < 0)
		return r;
	r = load_segments(mem, img, &segs, entry, err);
	if (r < 0)
		return r;
	*ret_kernel = (struct loader_kernel){
		.mode = pvh ? BOOT_PROT32 : BOOT_LONG64,
		.entry = entry,
		.start = start,
		.end = end,
		.initrd_max = UINT64_MAX,
		.cmdline_max = LINUX_CMDLINE_MAX,
		/* What a kernel that unpacked itself would have found. */
		.hdr = {
			.boot_flag = 0xaa55,
			.header = 0x53726448, /* "HdrS" */
			.version = PROTOCOL_VERSION,
			.loadflags = LOADED_HIGH,
			.cmdline_size = LINUX_CMDLINE_MAX,
			.kernel_alignment = 0x200000,
		},
	};
	return 0;
}
