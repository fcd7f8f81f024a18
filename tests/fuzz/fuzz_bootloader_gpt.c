/*
 * Any bytes as the partition tables of a disk: a header for each end, then entries,
 * which both share. The first byte says whose sums are made right, so that what lies
 * behind them is reached.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/bootloader/bytes.h"
#include "tests/unit/bootloader_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)            \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

#define HEADER 96u

static void place(struct rig *r, uint64_t lba, const uint8_t *data, size_t len,
		  bool fix)
{
	uint8_t *h = r->disk + lba * SECTOR_SIZE;
	uint64_t table, bytes;

	memset(h, 0, SECTOR_SIZE);
	memcpy(h, data, len < HEADER ? len : HEADER);
	if (!fix)
		return;
	table = le64(h + 72);
	bytes = (uint64_t)le32(h + 80) * le32(h + 84);
	if (table < RIG_SECTORS && bytes <= (RIG_SECTORS - table) * SECTOR_SIZE)
		put_le32(h + 88, rig_crc32(r->disk + table * SECTOR_SIZE, bytes));
	put_le32(h + 16, 0);
	if (le32(h + 12) <= SECTOR_SIZE)
		put_le32(h + 16, rig_crc32(h, le32(h + 12)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct rig *r;
	struct part part;
	const uint8_t *read;

	if (size < 1 + 2 * HEADER)
		return 0;
	if (!r)
		r = rig_new();
	memset(r->disk + 2 * SECTOR_SIZE, 0, 4096);
	memcpy(r->disk + 2 * SECTOR_SIZE, data + 1 + 2 * HEADER,
	       size - 1 - 2 * HEADER < 4096 ? size - 1 - 2 * HEADER : 4096);
	place(r, 1, data + 1, HEADER, data[0] & 1);
	place(r, RIG_SECTORS - 1, data + 1 + HEADER, HEADER, data[0] & 2);
	r->arena = (struct arena){ r->memory, sizeof(r->memory), 0 };
	if (!gpt_open(&r->gpt, &r->blk, "disk", &r->arena, &r->f)) {
		REQUIRE(r->f.code == FAILURE_BOOTLOADER_BAD_GPT);
		return 0;
	}
	if (!gpt_find(&r->gpt, 1, "boot_a", &part, &r->f))
		return 0;
	REQUIRE(within(part.first, part.sectors, RIG_SECTORS));
	/* The device's functions abort on sectors that do not exist. */
	REQUIRE(!part_load(&part, part.size / 3, part.size, &r->arena, &read, &r->f));
	REQUIRE(!part_write_sector(&part, part.size, data, &r->f));
	REQUIRE(part_write_sector(&part, part.size - SECTOR_SIZE, r->disk, &r->f));
	REQUIRE(part_load(&part, part.size / 3, part.size - part.size / 3, &r->arena,
			  &read, &r->f) ||
		r->f.code == FAILURE_BOOTLOADER_NO_MEMORY);
	return 0;
}
