/*
 * Loading a guest: from an opened kernel image, or firmware, to bytes in guest memory
 * and the state that its first CPU starts in.
 *
 * boot_load() is called once, on the main thread, after guest memory is mapped
 * (all zeroes) and before any vCPU runs. Everything in the files is hostile: no
 * size or offset in them is trusted, and nothing outside of guest RAM is written.
 * The architecture's part is in boot/<arch>.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/gmem.h"

struct boot_image {
	int fd; /* seekable regular file; stays the caller's; -1: none */
	uint64_t size; /* bytes */
	const char *path; /* for messages */
};

struct boot_rom;

struct boot_cfg {
	struct boot_image kernel; /* none: firmware, from a struct boot_rom, starts */
	struct boot_image initrd;
	const char *cmdline;
	unsigned n_cpus; /* 1 to 255 */
	/*
	 * Firmware of a PC: its end is copied to RAM below 1 MiB, and that is all that
	 * it finds there. NULL: there is none.
	 */
	const struct boot_rom *pc_rom;
};

/* How the first CPU starts. */
enum boot_mode {
	BOOT_LONG64, /* x86_64: long mode, first 4 GiB mapped one to one */
	BOOT_PROT32, /* x86_64: flat protected mode, paging off */
	BOOT_RESET, /* as after power-on; the rest is not used */
};

struct boot_state {
	enum boot_mode mode;
	uint64_t entry; /* instruction pointer */
	/* What the protocol hands over; registers that it does not name are 0. */
	uint64_t rax, rbx, rsi;
	uint64_t page_table; /* BOOT_LONG64: cr3 */
	uint64_t gdt; /* guest address; see LAYOUT_GDT in boot/x86_64/layout.h */
};

/*
 * Load kernel, initrd, command line and firmware tables. Errors: -errno and a
 * sentence that names the file and the reason (-ENOEXEC: not a kernel that can
 * be booted; -E2BIG: it, its initrd or its command line does not fit; -EINVAL: an
 * empty initrd; -EIO and others: reading).
 */
int boot_load(const struct gmem *mem, const struct boot_cfg *cfg,
	      struct boot_state *ret_state, struct err *err);

/* Firmware, as memory that the guest only reads; x86_64: it ends at 4 GiB. */
struct boot_rom {
	unsigned char *base; /* host address; NULL: there is none */
	uint64_t len; /* bytes, a multiple of the page size */
};

/*
 * Read the firmware in @img into memory of its own, for boot_rom_free(). Errors: as
 * boot_load()'s.
 */
int boot_rom_load(const struct boot_image *img, struct boot_rom *ret_rom,
		  struct err *err);
void boot_rom_free(struct boot_rom *rom); /* harmless on zeroes */

/* What firmware of a PC asks its machine for, by name: files of QEMU's fw_cfg. */
#define BOOT_MAX_FILES 5
struct boot_files {
	size_t n;
	struct boot_file {
		const char *name;
		void *data;
		uint32_t size;
	} v[BOOT_MAX_FILES];
};

/*
 * Make them for a machine with RAM at @n_ranges @ranges, for boot_files_free().
 * -ENOMEM.
 */
int boot_files_make(const struct gmem_range *ranges, size_t n_ranges, unsigned n_cpus,
		    struct boot_files *ret_files, struct err *err);
void boot_files_free(struct boot_files *files); /* harmless on zeroes */

/* Whom firmware may trust. */
#define BOOT_MAX_CHAINED 31
struct boot_trust {
	struct boot_image key; /* fd -1: nobody */
	uint64_t rollback_index;
	uint64_t rollback_indices[BOOT_MAX_CHAINED]; /* of locations from 1 on */
	bool unlocked;
};

/* Make the page with a struct key_block (boot/key_block.h). Errors: as
 * boot_rom_load()'s. */
int boot_trust_load(const struct boot_trust *trust, struct boot_rom *ret_page,
		    struct err *err);
