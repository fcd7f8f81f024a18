/* CRC-32 of IEEE 802.3, as GPTs have it (UEFI 2.10, section 5.3.2). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Go on with @crc (0 at first) over @len bytes. */
uint32_t crc32(uint32_t crc, const void *buf, size_t len);
