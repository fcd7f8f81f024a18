/*
 * Android Verified Boot 2 (external/avb/README.md; the formats of libavb's
 * avb_vbmeta_image.h, avb_*_descriptor.h and avb_footer.h, version 1.3): from a trusted
 * key to partitions in memory that are what was signed.
 *
 * Everything is read into memory once, and only that copy is checked and used. A slot
 * is verified as a whole: the signature over vbmeta, the key in it, its rollback index,
 * the same of the chained vbmeta images, the hashes of the partitions that it names.
 * What an image names beside boot, init_boot and vendor_boot is verified too, but not
 * kept.
 *
 * With an unlocked key block the same is read, and what does not verify is counted, but
 * boots.
 */
#pragma once

#include "boot/key_block.h"
#include "crypto.h"
#include "gpt.h"

#define AVB_MAX_IMAGES 8 /* vbmeta, and those that are chained to it */
#define AVB_CMDLINE_MAX 4096

enum avb_partition { AVB_BOOT, AVB_INIT_BOOT, AVB_VENDOR_BOOT, AVB_PARTITIONS };

struct avb_content {
	const uint8_t *data; /* NULL: no descriptor names it */
	uint64_t size;
};

struct avb_slot {
	const char *suffix; /* "_a" */
	struct avb_content parts[AVB_PARTITIONS];
	/* Text of the kernel's command line: from descriptors, then of hash trees. */
	char cmdline[AVB_CMDLINE_MAX];
	bool unlocked;
	unsigned n_errors; /* while unlocked: of what did not verify; the first is in f
			    */
	bool hashtree_disabled;
	enum hash_alg alg; /* of the top-level image */
	uint8_t digest[HASH_MAX]; /* over all vbmeta images, by alg */
	uint64_t size; /* of all vbmeta images, in bytes */
	uint8_t vbmeta_guid[16];
};

/*
 * Verify the slot with @suffix on @disks. False: it must not be booted, and @f says
 * why. *@ret_slot points into @arena.
 */
bool avb_verify(const struct gpt *disks, size_t n, const char *suffix,
		const struct key_block *key, struct arena *arena,
		struct avb_slot *ret_slot, struct failure *f);
