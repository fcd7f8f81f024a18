/*
 * Little-endian fields in byte buffers that need not be aligned, and the checks
 * that every parser needs. Overflow-safe arithmetic is the compiler's
 * __builtin_{add,sub,mul}_overflow.
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define BYTES_LE(bits)                                               \
	static inline uint##bits##_t le##bits##_get(const void *p)   \
	{                                                            \
		uint##bits##_t v;                                    \
                                                                     \
		memcpy(&v, p, sizeof(v));                            \
		return le##bits##toh(v);                             \
	}                                                            \
	static inline void le##bits##_put(void *p, uint##bits##_t v) \
	{                                                            \
		v = htole##bits(v);                                  \
		memcpy(p, &v, sizeof(v));                            \
	}

BYTES_LE(16)
BYTES_LE(32)
BYTES_LE(64)
#undef BYTES_LE

/* Whether [off, off + len) lies within [0, size); no overflow possible. */
static inline bool range_within(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* Round to a power of two; the caller has excluded overflow. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

/* The value of a hexadecimal digit, or -1. */
static inline int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}
