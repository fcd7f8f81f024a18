/*
 * Loads a Linux bzImage (Documentation/arch/x86/boot.rst): by the 64-bit protocol where
 * it has that entry, else by the 32-bit one (version 2.10 and later, which tell how
 * much memory they need). Refuses older ones, zImages, which need a BIOS for their
 * real-mode code, and headers that contradict the file or themselves.
 */
#include "boot/x86_64/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "boot/arch.h"
#include "boot/x86_64/layout.h"

#define SECTOR 512u
#define PROTOCOL_2_10 0x20a /* the first with pref_address and init_size */
#define PROTOCOL_2_12 0x20c /* the first with xloadflags */
#define ENTRY_64 0x200 /* behind the 32-bit entry */
#define HDR_START offsetof(struct boot_params, hdr)

_Static_assert(HDR_START + sizeof(struct setup_header) <= BOOT_HEAD_SIZE, "head");

static bool has_64bit_entry(const struct setup_header *hdr)
{
	return hdr->version >= PROTOCOL_2_12 && (hdr->xloadflags & XLF_KERNEL_64);
}

static uint64_t setup_size(const struct setup_header *hdr)
{
	return ((hdr->setup_sects ? hdr->setup_sects : 4u) + 1u) * SECTOR;
}

/*
 * Copy the header, which ends where the jump over it leads; a kernel older than our
 * struct has less, and the rest stays zero.
 */
static int read_header(const struct boot_image *img, const unsigned char *head,
		       struct setup_header *ret_hdr, struct err *err)
{
	size_t len = 0x202u + head[0x201] - HDR_START;
	struct setup_header hdr = { 0 };

	if (len > sizeof(hdr))
		len = sizeof(hdr);
	memcpy(&hdr, head + HDR_START, len);
	if (img->size < setup_size(&hdr))
		return err_set(err, -ENOEXEC,
			       "kernel %s: truncated: its header tells of %" PRIu64
			       " bytes before the code, the file has %" PRIu64,
			       img->path, setup_size(&hdr), img->size);
	if (!(hdr.loadflags & LOADED_HIGH))
		return err_set(err, -ENOEXEC,
			       "kernel %s: a zImage, which only a BIOS can start",
			       img->path);
	if (hdr.version < PROTOCOL_2_10)
		return err_set(err, -ENOEXEC,
			       "kernel %s: boot protocol %u.%02u, 2.10 is the oldest"
			       " that is known",
			       img->path, hdr.version >> 8, hdr.version & 0xffu);
	if (len < offsetof(struct setup_header, handover_offset))
		return err_set(err, -ENOEXEC,
			       "kernel %s: its header of %zu bytes is too short"
			       " for boot protocol %u.%02u",
			       img->path, len, hdr.version >> 8, hdr.version & 0xffu);
	*ret_hdr = hdr;
	return 0;
}

/* Where the kernel wants to be. */
static int find_address(const struct boot_image *img, const struct setup_header *hdr,
			uint64_t *ret_addr, struct err *err)
{
	const uint64_t pref = hdr->pref_address;
	uint64_t addr = pref;

	if (hdr->relocatable_kernel) {
		uint32_t align = hdr->kernel_alignment;

		if (align == 0 || (align & (align - 1)))
			return err_set(err, -ENOEXEC,
				       "kernel %s: kernel_alignment 0x%x is not a power"
				       " of two",
				       img->path, align);
		/*
		 * Lower than where it prefers to be is no use: it would move itself
		 * there, and init_size counts from there (boot.rst, init_size).
		 */
		if (addr < LAYOUT_HIGH_RAM)
			addr = LAYOUT_HIGH_RAM;
		if (addr < LAYOUT_HOLE)
			addr = align_up(addr, align);
	}
	if (addr >= LAYOUT_HOLE)
		return err_set(err, -ENOEXEC,
			       "kernel %s: pref_address 0x%" PRIx64
			       " is not below 0x%llx",
			       img->path, pref, LAYOUT_HOLE);
	*ret_addr = addr;
	return 0;
}

int bzimage_load(const struct gmem *mem, const struct boot_image *img,
		 const unsigned char *head, struct loader_kernel *ret_kernel,
		 struct err *err)
{
	uint64_t code_start, code_size, need, addr = 0;
	struct setup_header hdr = { 0 };
	char what[64];
	int r;

	r = read_header(img, head, &hdr, err);
	if (r < 0)
		return r;
	code_start = setup_size(&hdr);
	code_size = hdr.syssize * UINT64_C(16);
	/* What follows, such as a signature, is not the kernel's. */
	if (!range_within(code_start, code_size, img->size))
		return err_set(err, -ENOEXEC,
			       "kernel %s: truncated: its header tells of %" PRIu64
			       " + %" PRIu64 " bytes, the file has %" PRIu64,
			       img->path, code_start, code_size, img->size);
	if (code_size <= ENTRY_64)
		return err_set(err, -ENOEXEC,
			       "kernel %s: syssize %u leaves no code behind the header",
			       img->path, hdr.syssize);
	r = find_address(img, &hdr, &addr, err);
	if (r < 0)
		return r;
	if (code_size > hdr.init_size) {
		need = code_size;
		snprintf(what, sizeof(what), "%" PRIu64 " bytes above 0x%" PRIx64, need,
			 addr);
	} else {
		need = hdr.init_size;
		snprintf(what, sizeof(what), "init_size %" PRIu64 " above 0x%" PRIx64,
			 need, addr);
	}
	r = loader_check_fit(mem, img, addr, addr + need, what, err);
	if (r < 0)
		return r;
	/* All of it is written: by us, then by the kernel that unpacks itself there. */
	gmem_want_huge(mem, GPA(addr), need);
	r = boot_read(img, "kernel", code_start, gmem_slice(mem, GPA(addr), code_size),
		      code_size, err);
	if (r < 0)
		return r;
	*ret_kernel = (struct loader_kernel){
		.protocol = has_64bit_entry(&hdr) ? LOADER_LINUX64 : LOADER_LINUX32,
		.entry = addr + (has_64bit_entry(&hdr) ? ENTRY_64 : 0),
		.start = addr,
		.end = addr + need,
		.initrd_max = hdr.initrd_addr_max,
		.cmdline_max = hdr.cmdline_size,
		.hdr = hdr,
	};
	return 0;
}
