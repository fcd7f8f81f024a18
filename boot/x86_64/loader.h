/*
 * Private to boot/x86_64: what the loaders of the two formats tell about the kernel
 * that they have put into guest memory, and the pieces that load.c joins.
 *
 * All of them run on the main thread before any vCPU exists, in guest memory that
 * reaches to LAYOUT_HIGH_RAM at least, so that the low structures always fit.
 */
#pragma once

#include <asm/bootparam.h>

#include "boot/boot.h"

struct loader_kernel {
	enum boot_mode mode;
	uint64_t entry;
	uint64_t start, end; /* memory that it needs until it has its own allocator */
	uint64_t initrd_max; /* highest address that the initrd may use */
	uint32_t cmdline_max; /* bytes, terminator not counted */
	struct setup_header hdr; /* BOOT_LONG64: for the zero page */
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
 * Whether RAM between LAYOUT_HIGH_RAM and the hole covers [@start, @end), @start <=
 * @end; otherwise -E2BIG and a sentence, in which @what says where @end comes from.
 */
int loader_check_fit(const struct gmem *mem, const struct boot_image *img,
		     uint64_t start, uint64_t end, const char *what, struct err *err);

/* The memory map in the form of e820, ascending; returns the number of entries. */
#define MEMMAP_MAX (4 + GMEM_MAX_RANGES)
size_t memmap_fill(const struct gmem *mem, struct boot_e820_entry map[MEMMAP_MAX]);

/* The zero page, and a seed for the guest's random numbers: -errno of getrandom(). */
int zeropage_write(const struct gmem *mem, const struct setup_header *hdr,
		   const struct loader_initrd *initrd, struct err *err);

/* PVH's start_info with what belongs to it. */
void pvh_write(const struct gmem *mem, const struct loader_initrd *initrd);

/* Page tables (BOOT_LONG64) and segment descriptors. */
void paging_write(const struct gmem *mem);
void gdt_write(const struct gmem *mem, enum boot_mode mode);

/* ACPI's tables, RSDP first; @n_cpus is 1 to 255. */
void acpi_write(const struct gmem *mem, unsigned n_cpus);
