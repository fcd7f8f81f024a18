/*
 * Android boot images: boot.img of versions 2, 3 and 4, init_boot.img (version 4's
 * generic ramdisk), vendor_boot.img of versions 3 and 4 (system/tools/mkbootimg's
 * include/bootimg/bootimg.h). Parsed from verified bytes, but sizes are checked as if
 * they were not.
 */
#pragma once

#include "failure.h"

struct blob {
	const uint8_t *data; /* NULL: none */
	uint64_t size;
};

#define BOOTIMG_CMDLINE_MAX \
	2049 /* with a terminator that may be missing in the image */

struct bootimg {
	unsigned version; /* of boot.img */
	struct blob kernel;
	struct blob vendor_ramdisk, ramdisk; /* unpacked in this order */
	struct blob bootconfig; /* of vendor_boot version 4, without a trailer */
	char cmdline[BOOTIMG_CMDLINE_MAX]; /* of boot.img */
	char vendor_cmdline[BOOTIMG_CMDLINE_MAX];
};

/*
 * @init_boot and @vendor_boot may have NULL data. False: @f says which one is not
 * valid, by the names of the partitions, or BOOTLOADER_UNSUPPORTED.
 */
bool bootimg_parse(const struct blob *boot, const struct blob *init_boot,
		   const struct blob *vendor_boot, struct bootimg *ret,
		   struct failure *f);
