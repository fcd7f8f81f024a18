/*
 * Multiboot 1 (Multiboot Specification 0.6.96): the header that such kernels carry in
 * their first 8 KiB, the loading of those that are no ELF files, and what they find
 * when they start. An initrd is their one module. Refuses kernels that demand a video
 * mode, which no machine of ours has, and addresses that contradict the file.
 */
#include "boot/x86_64/loader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "boot/arch.h"
#include "boot/x86_64/layout.h"

#define HEADER_MAGIC 0x1badb002u
#define HEADER_SIZE 12u /* with MULTIBOOT_ADDRESSES 20 more */
#define ADDRESSES_SIZE 20u

/* Of the header's flags, those below 16 must be understood. */
#define FLAG_ALIGN (1u << 0) /* modules at page boundaries, as ours always are */
#define FLAG_MEMORY (1u << 1)
#define FLAG_VIDEO (1u << 2)
#define FLAGS_REQUIRED 0xffffu

#define INFO_MEMORY (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MEMORY_MAP (1u << 6)
#define INFO_LOADER_NAME (1u << 9)

struct info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper; /* KiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t symbols[4];
	uint32_t mmap_length, mmap_addr;
	uint32_t drives[2];
	uint32_t config_table;
	uint32_t loader_name;
};

struct module {
	uint32_t start, end, string, reserved;
};

/* Its first field is the size of the rest. */
struct memory {
	uint32_t size;
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

struct handover {
	struct info info;
	struct module initrd;
	struct memory memory[MEMMAP_MAX];
	char loader_name[8];
};

_Static_assert(sizeof(struct info) == 68, "multiboot_info");
_Static_assert(sizeof(struct memory) == 24, "memory map entry");
_Static_assert(LAYOUT_START_INFO + sizeof(struct handover) <= LAYOUT_ZERO_PAGE,
	       "multiboot_info");

bool multiboot_find(const unsigned char *head, size_t len,
		    struct multiboot_header *ret_header)
{
	for (uint32_t off = 0; range_within(off, HEADER_SIZE, len); off += 4) {
		const unsigned char *p = head + off;
		uint32_t flags = le32_get(p + 4);

		if (le32_get(p) != HEADER_MAGIC ||
		    HEADER_MAGIC + flags + le32_get(p + 8) != 0)
			continue;
		*ret_header = (struct multiboot_header){ .flags = flags, .off = off };
		if (!(flags & MULTIBOOT_ADDRESSES))
			return true;
		if (!range_within(off, HEADER_SIZE + ADDRESSES_SIZE, len))
			return false;
		ret_header->header_addr = le32_get(p + 12);
		ret_header->load_addr = le32_get(p + 16);
		ret_header->load_end = le32_get(p + 20);
		ret_header->bss_end = le32_get(p + 24);
		ret_header->entry = le32_get(p + 28);
		return true;
	}
	return false;
}

int multiboot_check(const struct boot_image *img, const struct multiboot_header *h,
		    struct err *err)
{
	uint32_t unknown = h->flags & FLAGS_REQUIRED & ~(FLAG_ALIGN | FLAG_MEMORY);

	if (unknown & FLAG_VIDEO)
		return err_set(err, -ENOEXEC,
			       "kernel %s: a Multiboot kernel that wants a video mode",
			       img->path);
	if (unknown)
		return err_set(err, -ENOEXEC,
			       "kernel %s: a Multiboot kernel with unknown demands"
			       " (flags 0x%x)",
			       img->path, h->flags);
	return 0;
}

int multiboot_load(const struct gmem *mem, const struct boot_image *img,
		   const struct multiboot_header *h, struct loader_kernel *ret_kernel,
		   struct err *err)
{
	uint64_t skipped = (uint64_t)h->header_addr - h->load_addr;
	uint64_t start = h->load_addr, off, size, end;
	char what[80];
	int r = multiboot_check(img, h, err);

	if (r < 0)
		return r;
	if (h->load_addr > h->header_addr || skipped > h->off)
		return err_set(err, -ENOEXEC,
			       "kernel %s: its Multiboot header is not where it says"
			       " (0x%x, loaded from 0x%x)",
			       img->path, h->header_addr, h->load_addr);
	off = h->off - skipped;
	size = h->load_end ? (uint64_t)h->load_end - start : img->size - off;
	if (h->load_end && (h->load_end < start || !range_within(off, size, img->size)))
		return err_set(err, -ENOEXEC,
			       "kernel %s: truncated: to be loaded from 0x%x to 0x%x,"
			       " the file has %" PRIu64 " bytes",
			       img->path, h->load_addr, h->load_end, img->size);
	end = start + size;
	if (h->bss_end > end)
		end = h->bss_end;
	if (h->entry < start || h->entry >= start + size)
		return err_set(err, -ENOEXEC,
			       "kernel %s: entry 0x%x is not in what is loaded",
			       img->path, h->entry);
	snprintf(what, sizeof(what), "from 0x%" PRIx64 " to 0x%" PRIx64, start, end);
	r = loader_check_fit(mem, img, start, end, what, err);
	if (r == 0)
		r = boot_read(img, "kernel", off, gmem_slice(mem, GPA(start), size),
			      size, err);
	if (r < 0)
		return r;
	*ret_kernel = (struct loader_kernel){
		.protocol = LOADER_MULTIBOOT,
		.entry = h->entry,
		.start = start,
		.end = end,
		.initrd_max = UINT32_MAX,
		.cmdline_max = UINT32_MAX,
	};
	return 0;
}

#define AT(field) ((uint32_t)(LAYOUT_START_INFO + offsetof(struct handover, field)))

void multiboot_write(const struct gmem *mem, const struct loader_initrd *initrd)
{
	uint64_t upper = mem->ranges[0].len - LAYOUT_HIGH_RAM;
	struct boot_e820_entry map[MEMMAP_MAX];
	size_t n = memmap_fill(mem, LAYOUT_LOW_RAM_END, map);
	struct handover h = {
		.info = {
			.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES |
				 INFO_MEMORY_MAP | INFO_LOADER_NAME,
			.mem_lower = LAYOUT_LOW_RAM_END >> 10,
			.mem_upper = (uint32_t)(upper >> 10),
			.cmdline = LAYOUT_CMDLINE,
			.mods_count = initrd->size != 0,
			.mods_addr = AT(initrd),
			.mmap_length = (uint32_t)(n * sizeof(struct memory)),
			.mmap_addr = AT(memory),
			.loader_name = AT(loader_name),
		},
		.initrd = {
			.start = (uint32_t)initrd->addr,
			.end = (uint32_t)(initrd->addr + initrd->size),
			.string = LAYOUT_CMDLINE,
		},
		.loader_name = "vmm",
	};

	for (size_t i = 0; i < n; i++)
		h.memory[i] = (struct memory){ sizeof(struct memory) - 4, map[i].addr,
					       map[i].size, map[i].type };
	gmem_write(mem, GPA(LAYOUT_START_INFO), &h, sizeof(h));
}
