/*
 * GUID partition tables (UEFI 2.10, section 5.3) with 512-byte blocks: written, and
 * read back with every check that the specification asks for. No I/O of its own.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/guid.h"

enum {
	GPT_BLOCK = 512,
	GPT_PARTS = 128,
	GPT_ENTRY_LEN = 128,
	GPT_TABLE_LEN = GPT_PARTS * GPT_ENTRY_LEN,
	GPT_NAME_UNITS = 36,
	/*
	 * At each end of a disk: MBR, header and table, or table and header, filled up
	 * to 4 KiB with zeroes.
	 */
	GPT_AREA_LEN = 0x5000,
};

/* Type GUIDs: a Linux file system, an EFI system partition. */
extern const struct guid gpt_type_linux, gpt_type_efi;

struct gpt_part {
	struct guid type, guid;
	uint64_t first, last; /* blocks, inclusive */
	uint16_t name[GPT_NAME_UNITS]; /* UTF-16, ends with the first 0 */
};

struct gpt {
	struct guid guid; /* of the disk */
	uint64_t blocks; /* of the disk, at least two areas */
	size_t n;
	struct gpt_part part[GPT_PARTS];
};

/* The first and the last GPT_AREA_LEN bytes of the disk; the caller has checked @g. */
void gpt_write(const struct gpt *g, unsigned char head[GPT_AREA_LEN],
	       unsigned char tail[GPT_AREA_LEN]);

/* Bytes of a disk for gpt_read(): 0, or -errno. */
typedef int gpt_read_fn(void *arg, uint64_t off, void *buf, size_t len);

/*
 * Read the tables of a disk of @blocks blocks and verify them: protective MBR, both
 * headers and tables with their checksums, that the two agree, and that partitions
 * lie within the usable blocks and do not overlap. -EINVAL with what is wrong,
 * -ENOTSUP for entries of another length or more than 128 of them, or what @fn says.
 */
int gpt_read(gpt_read_fn *fn, void *arg, uint64_t blocks, struct gpt *ret_gpt,
	     struct err *err);

/*
 * A label as a partition's name, cut after 36 units of UTF-16 but never within a
 * character. -EINVAL: it is not UTF-8.
 */
int gpt_name(const char *label, uint16_t name[GPT_NAME_UNITS]);
