/*
 * Loads an ELF kernel of either class at its segments' physical addresses. It starts at
 * the PVH entry where a Xen note names one (xen/include/public/elfnote.h), otherwise at
 * e_entry: by Multiboot where it has that header, else, if it is an ELF64 one, by the
 * 64-bit Linux boot protocol. Refuses what is not an x86 program, segments that overlap
 * each other or low memory, and headers that lead out of the file.
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

struct segments {
	Elf64_Phdr v[MAX_SEGMENTS];
	size_t n;
};

static const char *machine_name(unsigned machine)
{
	switch (machine) {
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

/* Both classes say the same in fields of different sizes: we go on with the larger. */
static Elf64_Ehdr widen_header(const Elf32_Ehdr *e)
{
	Elf64_Ehdr wide = {
		.e_type = e->e_type,
		.e_machine = e->e_machine,
		.e_entry = e->e_entry,
		.e_phoff = e->e_phoff,
		.e_phentsize = e->e_phentsize,
		.e_phnum = e->e_phnum,
	};

	memcpy(wide.e_ident, e->e_ident, sizeof(wide.e_ident));
	return wide;
}

static Elf64_Phdr widen_segment(const Elf32_Phdr *p)
{
	return (Elf64_Phdr){
		.p_type = p->p_type,
		.p_offset = p->p_offset,
		.p_vaddr = p->p_vaddr,
		.p_paddr = p->p_paddr,
		.p_filesz = p->p_filesz,
		.p_memsz = p->p_memsz,
		.p_align = p->p_align,
	};
}

static bool is_32bit(const Elf64_Ehdr *ehdr)
{
	return ehdr->e_ident[EI_CLASS] == ELFCLASS32;
}

static size_t segment_size(const Elf64_Ehdr *ehdr)
{
	return is_32bit(ehdr) ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
}

static int check_header(const struct boot_image *img, const Elf64_Ehdr *ehdr,
			struct err *err)
{
	unsigned machine = is_32bit(ehdr) ? EM_386 : EM_X86_64;

	if (img->size < sizeof(*ehdr))
		return err_set(err, -ENOEXEC, "kernel %s: truncated: %" PRIu64 " bytes",
			       img->path, img->size);
	if (ehdr->e_ident[EI_DATA] != ELFDATA2LSB || ehdr->e_machine != machine)
		return err_set(err, -ENOEXEC, "kernel %s: ELF file for %s, not x86_64",
			       img->path, machine_name(ehdr->e_machine));
	if (!is_32bit(ehdr) && ehdr->e_ident[EI_CLASS] != ELFCLASS64)
		return err_set(err, -ENOEXEC, "kernel %s: ELF file of class %u",
			       img->path, ehdr->e_ident[EI_CLASS]);
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		return err_set(err, -ENOEXEC, "kernel %s: ELF file, but no program",
			       img->path);
	if (ehdr->e_phentsize != segment_size(ehdr) || ehdr->e_phnum == 0 ||
	    ehdr->e_phnum > MAX_SEGMENTS)
		return err_set(err, -ENOEXEC,
			       "kernel %s: %u program headers of %u bytes"
			       " (1 to %u of %zu expected)",
			       img->path, ehdr->e_phnum, ehdr->e_phentsize,
			       MAX_SEGMENTS, segment_size(ehdr));
	return 0;
}

static int read_segments(const struct boot_image *img, const Elf64_Ehdr *ehdr,
			 struct segments *ret, struct err *err)
{
	size_t len = ehdr->e_phnum * segment_size(ehdr);
	Elf32_Phdr narrow[MAX_SEGMENTS];
	int r;

	if (!range_within(ehdr->e_phoff, len, img->size))
		return err_set(err, -ENOEXEC,
			       "kernel %s: truncated: program headers at %" PRIu64
			       ", the file has %" PRIu64 " bytes",
			       img->path, ehdr->e_phoff, img->size);
	ret->n = ehdr->e_phnum;
	if (!is_32bit(ehdr))
		return boot_read(img, "kernel", ehdr->e_phoff, ret->v, len, err);
	r = boot_read(img, "kernel", ehdr->e_phoff, narrow, len, err);
	for (size_t i = 0; r == 0 && i < ret->n; i++)
		ret->v[i] = widen_segment(&narrow[i]);
	return r;
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

static Elf64_Ehdr read_header(const unsigned char *head)
{
	Elf32_Ehdr narrow;
	Elf64_Ehdr wide;

	memcpy(&wide, head, sizeof(wide));
	memcpy(&narrow, head, sizeof(narrow));
	return is_32bit(&wide) ? widen_header(&narrow) : wide;
}

/* How a kernel without a PVH entry starts. */
static int choose_protocol(const struct boot_image *img, const unsigned char *head,
			   const Elf64_Ehdr *ehdr, enum loader_protocol *ret_protocol,
			   struct err *err)
{
	struct multiboot_header multiboot;

	if (multiboot_find(head, boot_head_len(img), &multiboot)) {
		*ret_protocol = LOADER_MULTIBOOT;
		return multiboot_check(img, &multiboot, err);
	}
	if (is_32bit(ehdr))
		return err_set(err, -ENOEXEC,
			       "kernel %s: 32-bit ELF file with neither a PVH entry"
			       " nor a Multiboot header",
			       img->path);
	*ret_protocol = LOADER_LINUX64;
	return 0;
}

int elf_load(const struct gmem *mem, const struct boot_image *img,
	     const unsigned char *head, struct loader_kernel *ret_kernel,
	     struct err *err)
{
	struct segments segs = { 0 };
	enum loader_protocol protocol = LOADER_PVH;
	uint64_t start = 0, end = 0, entry;
	Elf64_Ehdr ehdr = read_header(head);
	int pvh, r;

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
	r = pvh ? 0 : choose_protocol(img, head, &ehdr, &protocol, err);
	if (r < 0)
		return r;
	r = select_loads(mem, img, &segs, &start, &end, err);
	if (r < 0)
		return r;
	r = load_segments(mem, img, &segs, entry, err);
	if (r < 0)
		return r;
	*ret_kernel = (struct loader_kernel){
		.protocol = protocol,
		.entry = entry,
		.start = start,
		.end = end,
		.initrd_max = protocol == LOADER_MULTIBOOT ? UINT32_MAX : UINT64_MAX,
		.cmdline_max = zeropage_plain_header.cmdline_size,
		.hdr = zeropage_plain_header,
	};
	return 0;
}
