/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing beyond
 * U+10FFFF.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at @s, which has @len bytes. Its bytes, or 0: there is none. */
size_t utf8_decode(const void *s, size_t len, uint32_t *ret_code);

/* Whether all @len bytes are UTF-8; a NUL is. */
bool utf8_valid(const void *s, size_t len);
