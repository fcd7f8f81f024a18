/*
 * Bootconfig (Documentation/admin-guide/bootconfig.rst): lines of key=value behind the
 * initrd, and a trailer by which the kernel finds them.
 */
#pragma once

#include <stdint.h>

#include "text.h"

#define BOOTCONFIG_TRAILER_SIZE 20u

/* Adds a line; @value is quoted. What is not visible ASCII, or a quote, sets cut. */
void bootconfig_add(struct text *t, const char *key, const char *value);

/*
 * Ends @len bytes of lines at @p, which lie @before bytes behind the start of the
 * initrd and have room for 3 + BOOTCONFIG_TRAILER_SIZE more: pads them to four bytes
 * and writes the trailer. Returns the new length.
 */
uint64_t bootconfig_finish(uint8_t *p, uint64_t len, uint64_t before);
