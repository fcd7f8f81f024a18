/*
 * What vmm tells a bootloader of whom to trust (--bios-key): one page that the guest
 * can only read, at LAYOUT_FIRMWARE_KEY. Shared by vmm and guest/bootloader;
 * little-endian.
 */
#pragma once

#include <stdint.h>

#define KEY_BLOCK_LOCATIONS 32 /* as many as AVB has */
#define KEY_BLOCK_MAGIC "vmm-key" /* with its terminator */

struct key_block {
	char magic[8];
	uint32_t size; /* of key, in bytes; 0: none is trusted */
	uint32_t unlocked; /* 1: boot what does not verify, too */
	uint64_t rollback_index; /* the least that may boot (location 0) */
	uint8_t key[2048]; /* as avbtool extract_public_key writes it */
	/* The same for the locations of chained images, from 1 on. */
	uint64_t rollback_indices[KEY_BLOCK_LOCATIONS - 1];
};
