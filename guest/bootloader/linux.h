/*
 * Starting Linux by the 64-bit boot protocol (Documentation/arch/x86/boot.rst): what a
 * bzImage says of itself, and the zero page that it gets. Neither touches the memory
 * where the kernel will be.
 */
#pragma once

#include <asm/bootparam.h>

#include "arena.h"
#include "bootimg.h"

struct linux_image {
	struct setup_header hdr;
	struct blob code; /* goes to start, is entered at start + 0x200 */
	uint64_t start, end; /* memory that the kernel needs at first */
};

/* False: BOOTLOADER_BAD_BOOT_IMAGE or BOOTLOADER_UNSUPPORTED. */
bool linux_parse(const struct blob *bzimage, struct linux_image *ret,
		 struct failure *f);

/*
 * Fill @zero for @image. Memory map, ACPI and setup data are what the machine has told
 * the bootloader in @machine; @cmdline and @initrd are addresses below 4 GiB.
 */
void linux_zero_page(struct boot_params *zero, const struct linux_image *image,
		     const struct boot_params *machine, uint32_t cmdline,
		     uint32_t initrd, uint32_t initrd_size);
