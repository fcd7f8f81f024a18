/* Slots; see slots.h. */
#include "slots.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"

#define BLOCK_AT 2048u /* in misc; a multiple of the sector size */
#define MAGIC 0x42414342u
#define INFO_AT 12u /* two bytes for each slot */
#define CRC_AT 28u

bool slots_read(struct slots *s, const struct gpt *disks, size_t n, struct arena *arena,
		struct failure *f)
{
	uint64_t mark = arena->used;
	const uint8_t *data;
	struct failure none;

	*s = (struct slots){ .n = 1,
			     .slot[0] = { .priority = 15, .successful = true } };
	if (!gpt_find(disks, n, "misc", &s->misc, &none)) {
		if (none.code == FAILURE_BOOTLOADER_MISSING_PARTITION)
			return true;
		*f = none;
		return false;
	}
	if (s->misc.size < BLOCK_AT + SECTOR_SIZE)
		return true;
	if (!part_load(&s->misc, BLOCK_AT, SECTOR_SIZE, arena, &data, f))
		return false;
	memcpy(s->sector, data, SECTOR_SIZE);
	arena_release(arena, mark);
	if (le32(s->sector + 4) != MAGIC || s->sector[8] != 1 ||
	    crc32(0, s->sector, CRC_AT) != le32(s->sector + CRC_AT))
		return true;
	s->n = s->sector[9] & 7;
	if (s->n == 0 || s->n > SLOTS_MAX)
		s->n = SLOTS_MAX;
	s->present = true;
	for (unsigned i = 0; i < s->n; i++) {
		uint8_t info = s->sector[INFO_AT + 2 * i];

		s->slot[i] = (struct slot_state){ info & 15, info >> 4 & 7, info >> 7 };
	}
	return true;
}

int slots_choose(const struct slots *s, unsigned tried)
{
	int best = -1;

	for (unsigned i = 0; i < s->n; i++) {
		const struct slot_state *slot = &s->slot[i];

		if (tried >> i & 1 || !slot->priority ||
		    (!slot->successful && !slot->tries))
			continue;
		if (best < 0 || slot->priority > s->slot[best].priority)
			best = (int)i;
	}
	return best;
}

const char *slot_suffix(unsigned slot)
{
	static const char *const suffixes[SLOTS_MAX] = { "_a", "_b", "_c", "_d" };

	return suffixes[slot];
}

static bool record(struct slots *s, unsigned slot, struct failure *f)
{
	const struct slot_state *state = &s->slot[slot];

	if (!s->present)
		return true;
	s->sector[INFO_AT + 2 * slot] = (uint8_t)(state->priority | state->tries << 4 |
						  state->successful << 7);
	put_le32(s->sector + CRC_AT, crc32(0, s->sector, CRC_AT));
	return part_write_sector(&s->misc, BLOCK_AT, s->sector, f);
}

bool slots_starting(struct slots *s, unsigned slot, struct failure *f)
{
	if (s->slot[slot].successful)
		return true;
	s->slot[slot].tries--;
	return record(s, slot, f);
}

bool slots_broken(struct slots *s, unsigned slot, struct failure *f)
{
	s->slot[slot] = (struct slot_state){ 0 };
	return record(s, slot, f);
}
