/*
 * Private to boot/x86_64: what the loaders of the two formats tell about the kernel
 * that they have put into guest memory, and the pieces that load.c joins.
 *
 * All of them run on the main thread before any vCPU exists, in guest memory that
 * reaches to LAYOUT_HIGH_RAM at least, so that the low structures always fit.
 */
#pragma once

#include <asm/bootparam.h>
#include <stdbool.h>

#include "boot/boot.h"

enum loader_protocol {
	LOADER_LINUX64, /* rsi: zero page */
	LOADER_LINUX32, /* esi: zero page */
	LOADER_PVH, /* ebx: start_info */
	LOADER_MULTIBOOT, /* eax: magic number, ebx: multiboot_info */
};

struct loader_kernel {
	enum loader_protocol protocol;
	uint64_t entry;
	uint64_t start, end; /* memory that it needs until it has its own allocator */
	uint64_t initrd_max; /* highest address that the initrd may use */
	uint32_t cmdline_max; /* bytes, terminator not counted */
	struct setup_header hdr; /* LOADER_LINUX*: for the zero page */
};

struct loader_initrd {
	uint64_t addr, size; /* size 0: none */
};

/* @head: BOOT_HEAD_SIZE bytes that begin as the format demands. */
int bzimage_load(const struct gmem *mem, const struct boot_image *img,
		 const unsigned char *head, struct loader_kernel *ret_kernel,
		 struct err *err);
int elf_load(const struct gmem *mem, const struct boot_image *img,
	     const unsigned char *head, struct loader_kernel *ret_kernel,
	     struct err *err);

/*
 * Multiboot 1: the header in the first bytes of a file, and the loader of those whose
 * header says where everything goes.
 */
struct multiboot_header {
	uint32_t flags;
	uint32_t off; /* in the file */
	/* With MULTIBOOT_ADDRESSES in flags: physical addresses. */
	uint32_t header_addr, load_addr, load_end, bss_end, entry;
};
#define MULTIBOOT_ADDRESSES (1u << 16)

/* False: @head, of @len bytes at most BOOT_HEAD_SIZE, has none. */
bool multiboot_find(const unsigned char *head, size_t len,
		    struct multiboot_header *ret_header);
/* -ENOEXEC: it asks for what is not there. */
int multiboot_check(const struct boot_image *img, const struct multiboot_header *h,
		    struct err *err);
int multiboot_load(const struct gmem *mem, const struct boot_image *img,
		   const struct multiboot_header *h, struct loader_kernel *ret_kernel,
		   struct err *err);
#define MULTIBOOT_BOOTED 0x2badb002
/* multiboot_info with what belongs to it, at LAYOUT_START_INFO. */
void multiboot_write(const struct gmem *mem, const struct loader_initrd *initrd);

/*
 * Whether RAM between LAYOUT_HIGH_RAM and the hole covers [@start, @end), @start <=
 * @end; otherwise -E2BIG and a sentence, in which @what says where @end comes from.
 */
int loader_check_fit(const struct gmem *mem, const struct boot_image *img,
		     uint64_t start, uint64_t end, const char *what, struct err *err);

/*
 * The memory map in the form of e820, ascending, with RAM from 0 to @low_end; returns
 * the number of entries.
 */
#define MEMMAP_MAX (4 + GMEM_MAX_RANGES)
size_t memmap_fill(const struct gmem *mem, uint32_t low_end,
		   struct boot_e820_entry map[MEMMAP_MAX]);

/* For what is no bzImage: the header that a kernel which unpacked itself has found. */
extern const struct setup_header zeropage_plain_header;

/*
 * The zero page, and a seed for the guest's random numbers: -errno of getrandom().
 * @acpi: where the tables are; where that is low, low RAM ends there.
 */
int zeropage_write(const struct gmem *mem, const struct setup_header *hdr,
		   const struct loader_initrd *initrd, uint32_t acpi, struct err *err);

/* PVH's start_info with what belongs to it. */
void pvh_write(const struct gmem *mem, const struct loader_initrd *initrd);

/* Page tables (for LOADER_LINUX64) and segment descriptors. */
void paging_write(const struct gmem *mem);
void gdt_write(const struct gmem *mem, enum boot_mode mode);

/* ACPI's tables from @addr up to @end, RSDP first; @n_cpus is 1 to 255. */
void acpi_write(const struct gmem *mem, uint32_t addr, uint32_t end, unsigned n_cpus);
