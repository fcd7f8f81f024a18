/*
 * Which slot to boot: the bootloader control block of Android's misc partition
 * (hardware/interfaces/boot/1.1, bootloader_message.h), 2048 bytes behind its start. A
 * slot may be booted while its priority is not 0, and it has booted successfully before
 * or has tries left.
 */
#pragma once

#include "gpt.h"

#define SLOTS_MAX 4

struct slot_state {
	unsigned priority; /* 0 to 15 */
	unsigned tries; /* 0 to 7 */
	bool successful;
};

struct slots {
	bool present; /* false: there is no valid block, and only _a */
	struct part misc;
	uint8_t sector[SECTOR_SIZE]; /* that holds the block */
	unsigned n;
	struct slot_state slot[SLOTS_MAX];
};

/* A missing misc partition, or one without a valid block, is no failure. */
bool slots_read(struct slots *s, const struct gpt *disks, size_t n, struct arena *arena,
		struct failure *f);

/* The best slot that may be booted and is not among @tried (bits); -1: none. */
int slots_choose(const struct slots *s, unsigned tried);

const char *slot_suffix(unsigned slot); /* "_a" */

/*
 * Record that the slot is about to start (one try less, unless it is known to work), or
 * that it cannot (never again). False: misc cannot be written.
 */
bool slots_starting(struct slots *s, unsigned slot, struct failure *f);
bool slots_broken(struct slots *s, unsigned slot, struct failure *f);
