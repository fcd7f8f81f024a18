/*
 * Text that is put together in a buffer of fixed size: what does not fit is left out,
 * and cut says so. Always terminated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *buf;
	size_t size, len; /* len: without the terminator */
	bool cut;
};

struct text text_into(char *buf, size_t size); /* size is not 0 */
void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const uint8_t *p, size_t len);
void text_add_number(struct text *t, uint64_t v); /* decimal */
void text_add_hex(struct text *t, const uint8_t *p, size_t len);
void text_add_guid(struct text *t, const uint8_t guid[16]); /* as GPT stores it */
void text_add_separator(struct text *t); /* a blank, unless at the start */
