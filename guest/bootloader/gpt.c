/* GUID Partition Tables; see gpt.h. */
#include "gpt.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"

#define HEADER_SIZE 92u
#define REVISION_1 0x00010000u
#define ENTRY_MIN 128u
#define TABLE_MAX (256u << 10) /* bytes; 128 entries take 16 KiB */
/* Sectors of one request: what the device's queue takes at once. */
#define READ_MAX 2048u

static bool read_sectors(const struct blk *blk, uint64_t sector, uint8_t *buf,
			 uint64_t n)
{
	while (n) {
		uint64_t turn = n < READ_MAX ? n : READ_MAX;

		if (!blk->read(blk->ctx, sector, buf, turn))
			return false;
		sector += turn;
		buf += turn * SECTOR_SIZE;
		n -= turn;
	}
	return true;
}

/* Check the header in @h, read from @lba, and load its table. */
static bool try_table(struct gpt *gpt, const uint8_t *h, uint64_t lba,
		      struct arena *arena)
{
	uint64_t first_usable, last_usable, table, bytes, sectors;
	uint32_t header_size = le32(h + 12);
	uint8_t copy[SECTOR_SIZE];
	uint8_t *entries;

	if (memcmp(h, "EFI PART", 8) != 0 || le32(h + 8) != REVISION_1 ||
	    header_size < HEADER_SIZE || header_size > SECTOR_SIZE)
		return false;
	memcpy(copy, h, sizeof(copy));
	put_le32(copy + 16, 0); /* the sum is over itself as zero */
	if (crc32(0, copy, header_size) != le32(h + 16) || le64(h + 24) != lba)
		return false;
	first_usable = le64(h + 40);
	last_usable = le64(h + 48);
	table = le64(h + 72);
	gpt->n = le32(h + 80);
	gpt->size = le32(h + 84);
	bytes = (uint64_t)gpt->n * gpt->size;
	if (gpt->size < ENTRY_MIN || gpt->size % ENTRY_MIN || bytes == 0 ||
	    bytes > TABLE_MAX || first_usable > last_usable ||
	    last_usable >= gpt->blk->sectors)
		return false;
	sectors = (bytes + SECTOR_SIZE - 1) / SECTOR_SIZE;
	if (!within(table, sectors, gpt->blk->sectors))
		return false;
	entries = arena_take(arena, sectors * SECTOR_SIZE);
	if (!entries || !read_sectors(gpt->blk, table, entries, sectors) ||
	    crc32(0, entries, bytes) != le32(h + 88))
		return false;
	gpt->entries = entries;
	gpt->first_usable = first_usable;
	gpt->last_usable = last_usable;
	return true;
}

bool gpt_open(struct gpt *gpt, const struct blk *blk, const char *name,
	      struct arena *arena, struct failure *f)
{
	uint64_t mark = arena->used;
	uint8_t header[SECTOR_SIZE];

	*gpt = (struct gpt){ .blk = blk };
	if (blk->sectors < 3)
		return fail_with(f, FAILURE_BOOTLOADER_BAD_GPT, name,
				 "too small for a GPT");
	if (!read_sectors(blk, 1, header, 1))
		return fail_with(f, FAILURE_BOOTLOADER_IO_ERROR, name,
				 "cannot be read");
	if (try_table(gpt, header, 1, arena))
		return true;
	arena_release(arena, mark);
	if (!read_sectors(blk, blk->sectors - 1, header, 1))
		return fail_with(f, FAILURE_BOOTLOADER_IO_ERROR, name,
				 "cannot be read");
	if (try_table(gpt, header, blk->sectors - 1, arena))
		return true;
	arena_release(arena, mark);
	return fail_with(f, FAILURE_BOOTLOADER_BAD_GPT, name,
			 "neither partition table is valid");
}

/* Names are UTF-16; those that we look for are ASCII. */
static bool has_name(const uint8_t *entry, const char *name)
{
	const uint8_t *units = entry + 56;
	size_t i;

	for (i = 0; i < GPT_NAME_MAX - 1 && name[i]; i++)
		if (le16(units + 2 * i) != (uint8_t)name[i])
			return false;
	return name[i] == '\0' && (i == GPT_NAME_MAX - 1 || le16(units + 2 * i) == 0);
}

static bool is_used(const uint8_t *entry)
{
	static const uint8_t none[16];

	return memcmp(entry, none, sizeof(none)) != 0;
}

static bool take_entry(const struct gpt *gpt, const uint8_t *entry, const char *name,
		       struct part *ret_part, struct failure *f)
{
	uint64_t first = le64(entry + 32), last = le64(entry + 40);
	size_t n = 0;

	if (first < gpt->first_usable || last > gpt->last_usable || first > last)
		return fail_with(f, FAILURE_BOOTLOADER_BAD_GPT, name,
				 "the partition lies outside of the disk");
	*ret_part = (struct part){
		.blk = gpt->blk,
		.first = first,
		.sectors = last - first + 1,
		.size = (last - first + 1) * SECTOR_SIZE,
	};
	for (; name[n]; n++)
		ret_part->name[n] = name[n];
	memcpy(ret_part->guid, entry + 16, sizeof(ret_part->guid));
	return true;
}

bool gpt_find(const struct gpt *disks, size_t n, const char *name,
	      struct part *ret_part, struct failure *f)
{
	for (size_t d = 0; d < n; d++)
		for (uint32_t i = 0; i < disks[d].n; i++) {
			const uint8_t *entry = disks[d].entries +
					       (size_t)i * disks[d].size;

			if (is_used(entry) && has_name(entry, name))
				return take_entry(&disks[d], entry, name, ret_part, f);
		}
	return fail_with(f, FAILURE_BOOTLOADER_MISSING_PARTITION, name,
			 "no such partition");
}

bool part_load(const struct part *p, uint64_t off, uint64_t len, struct arena *arena,
	       const uint8_t **ret_data, struct failure *f)
{
	uint64_t first = off / SECTOR_SIZE, sectors;
	uint8_t *data;

	if (!within(off, len, p->size))
		return fail_with(f, FAILURE_BOOTLOADER_TRUNCATED, p->name,
				 "shorter than what it should hold");
	sectors = (off + len + SECTOR_SIZE - 1) / SECTOR_SIZE - first;
	data = arena_take(arena, sectors * SECTOR_SIZE);
	if (!data)
		return fail_with(f, FAILURE_BOOTLOADER_NO_MEMORY, p->name,
				 "does not fit into memory");
	if (!read_sectors(p->blk, p->first + first, data, sectors))
		return fail_with(f, FAILURE_BOOTLOADER_IO_ERROR, p->name,
				 "cannot be read");
	*ret_data = data + off % SECTOR_SIZE;
	return true;
}

bool part_write_sector(const struct part *p, uint64_t off, const void *buf,
		       struct failure *f)
{
	if (off % SECTOR_SIZE || !within(off, SECTOR_SIZE, p->size))
		return fail_with(f, FAILURE_BOOTLOADER_TRUNCATED, p->name,
				 "shorter than what it should hold");
	if (!p->blk->write(p->blk->ctx, p->first + off / SECTOR_SIZE, buf, 1))
		return fail_with(f, FAILURE_BOOTLOADER_IO_ERROR, p->name,
				 "cannot be written");
	return true;
}
