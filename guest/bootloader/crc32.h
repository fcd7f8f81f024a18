/* CRC-32 as GPT and Android's slots have it (UEFI 2.10 chapter 5.3; ISO 3309). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* @crc: 0, or that of what came before. */
uint32_t crc32(uint32_t crc, const void *data, size_t len);
