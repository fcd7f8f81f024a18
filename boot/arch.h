/*
 * Private to boot: what the common part and the architectures' parts
 * (boot/<arch>) have of each other.
 */
#pragma once

#include <stddef.h>

#include "boot/boot.h"

/* The first bytes of a kernel image; zeroes where the file is shorter. */
#define BOOT_HEAD_SIZE 8192
size_t boot_head_len(const struct boot_image *img); /* without those zeroes */

/*
 * The architecture's boot_load(): kernel and initrd are not empty, and *@ret_state is
 * only read on success.
 */
int boot_arch_load(const struct gmem *mem, const struct boot_cfg *cfg,
		   const unsigned char *head, struct boot_state *ret_state,
		   struct err *err);

/* The largest firmware, in bytes. */
uint64_t boot_arch_rom_max(void);

/* What firmware finds in guest memory; the rest is in its ROM. */
int boot_arch_firmware(const struct gmem *mem, const struct boot_cfg *cfg,
		       struct err *err);

/* For a kernel that is in no format that the architecture boots: says what it is. */
int boot_refuse(const struct boot_image *kernel, const unsigned char *head,
		struct err *err);

/* Read [@off, @off + @len) of an image; @what: "kernel" or "initrd". */
int boot_read(const struct boot_image *img, const char *what, uint64_t off, void *buf,
	      size_t len, struct err *err);

/* Where an initrd may lie, all of it RAM: page-aligned, ends not included. */
struct boot_room {
	uint64_t start, end;
	uint64_t kernel_start, kernel_end; /* not there */
};

/* Load a non-empty initrd as high as @room allows. */
int boot_load_initrd(const struct gmem *mem, const struct boot_image *initrd,
		     const struct boot_room *room, uint64_t *ret_addr, struct err *err);
