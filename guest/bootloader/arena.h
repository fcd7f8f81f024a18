/*
 * Memory that is handed out in order, from its end down, and given back all at once: a
 * slot that fails to boot leaves nothing behind (arena_release), and nothing else is
 * ever freed. From the end, because kernels want to be at the start.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGN 4096u

struct arena {
	uint8_t *base; /* aligned to ARENA_ALIGN */
	uint64_t size, used; /* multiples of it */
};

/* NULL when there is no room. Page-aligned, not cleared. */
static inline void *arena_take(struct arena *a, uint64_t len)
{
	uint64_t left = a->size - a->used;

	if (len > left)
		return NULL;
	a->used += (len + ARENA_ALIGN - 1) & ~(uint64_t)(ARENA_ALIGN - 1);
	return a->base + a->size - a->used;
}

/* Everything that was taken since used was @mark. */
static inline void arena_release(struct arena *a, uint64_t mark)
{
	a->used = mark;
}
