/*
 * Disks and their partitions: GUID Partition Tables (UEFI 2.10 chapter 5.3), the
 * primary one or, where that is not valid, the backup at the disk's end. Partitions are
 * read and written within their bounds only.
 */
#pragma once

#include "arena.h"
#include "failure.h"

#define SECTOR_SIZE 512u
#define GPT_NAME_MAX 37 /* with its terminator */

/* Whole sectors. False: the device failed. */
struct blk {
	bool (*read)(void *ctx, uint64_t sector, void *buf, uint64_t n);
	bool (*write)(void *ctx, uint64_t sector, const void *buf, uint64_t n);
	void *ctx;
	uint64_t sectors;
};

struct gpt {
	const struct blk *blk;
	const uint8_t *entries; /* n of size bytes each */
	uint32_t n, size;
	uint64_t first_usable, last_usable;
};

struct part {
	const struct blk *blk;
	char name[GPT_NAME_MAX];
	uint64_t first, sectors; /* within the disk */
	uint64_t size; /* bytes */
	uint8_t guid[16];
};

/* @name: of the disk, for failures. The table is in @arena from then on. */
bool gpt_open(struct gpt *gpt, const struct blk *blk, const char *name,
	      struct arena *arena, struct failure *f);

/*
 * The partition with that name, the first of @n disks that have it; false: none, @f
 * says BOOTLOADER_MISSING_PARTITION, or BOOTLOADER_BAD_GPT where it lies outside of the
 * disk.
 */
bool gpt_find(const struct gpt *disks, size_t n, const char *name,
	      struct part *ret_part, struct failure *f);

/*
 * [@off, @off + @len) of a partition into memory of @arena, of whose start @ret_data
 * then points to the first byte; BOOTLOADER_TRUNCATED where it does not lie within.
 */
bool part_load(const struct part *p, uint64_t off, uint64_t len, struct arena *arena,
	       const uint8_t **ret_data, struct failure *f);

/* 512 bytes at @off, a multiple of it. */
bool part_write_sector(const struct part *p, uint64_t off, const void *buf,
		       struct failure *f);
