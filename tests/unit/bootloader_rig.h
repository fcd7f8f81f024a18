/*
 * Disks for tests of guest/bootloader, made in memory: a GPT, partitions, vbmeta images
 * signed by keys of our own, boot images. Everything can be spoiled after it was made,
 * and signed again or not.
 */
#pragma once

#include "guest/bootloader/avb_format.h"
#include "guest/bootloader/plan.h"

#define RIG_PARTS 8
#define RIG_SECTORS 8192u /* of a disk: 4 MiB */

/* Bytes that grow; big-endian numbers. */
struct rig_bytes {
	uint8_t data[96 << 10];
	size_t len;
};
void rig_put(struct rig_bytes *b, const void *p, size_t len);
void rig_put_be32(struct rig_bytes *b, uint32_t v);
void rig_put_be64(struct rig_bytes *b, uint64_t v);
void rig_pad(struct rig_bytes *b, size_t to);

struct rig_key; /* RSA-2048; one of two, made once */
const struct rig_key *rig_key(unsigned which);

/* A vbmeta image that is being made: descriptors, then its fields, then rig_sign(). */
struct rig_vbmeta {
	struct rig_bytes descriptors;
	uint64_t rollback_index;
	uint32_t rollback_location;
	uint32_t flags, algorithm; /* algorithm 1: SHA256_RSA2048 */
	struct rig_bytes image; /* by rig_sign() */
};
void rig_vbmeta_init(struct rig_vbmeta *m);
void rig_add_hash(struct rig_vbmeta *m, const char *name, const void *image,
		  size_t len);
void rig_add_chain(struct rig_vbmeta *m, const char *name, const struct rig_key *key,
		   uint32_t rollback_location);
void rig_add_cmdline(struct rig_vbmeta *m, uint32_t flags, const char *text);
void rig_add_descriptor(struct rig_vbmeta *m, uint64_t tag, const void *body,
			size_t len);
void rig_sign(struct rig_vbmeta *m, const struct rig_key *key);
/* Sign the bytes of m->image again, after they were changed. */
void rig_sign_again(struct rig_vbmeta *m, const struct rig_key *key);

struct rig {
	uint8_t disk[RIG_SECTORS * SECTOR_SIZE];
	struct blk blk;
	unsigned reads, writes;
	bool write_fails;
	struct {
		char name[GPT_NAME_MAX];
		uint64_t first, sectors;
	} parts[RIG_PARTS];
	size_t n_parts;
	uint64_t next; /* sector */
	uint8_t memory[4 << 20] __attribute__((aligned(4096)));
	struct arena arena;
	struct gpt gpt;
	struct key_block key;
	struct plan plan;
	struct failure f;
	unsigned n_notes;
	struct failure note; /* the last one */
};

struct rig *rig_new(void); /* for free() */
void rig_init(struct rig *r); /* as new: locked, and no key is trusted */
void rig_trust(struct rig *r, const struct rig_key *key);
/* The content of a new partition of at least @len bytes, of which @data are the first.
 */
uint8_t *rig_part(struct rig *r, const char *name, const void *data, size_t len);
void rig_write_gpt(struct rig *r); /* both copies, of all partitions so far */
uint32_t rig_crc32(const void *data, size_t len);

/* A bzImage of @len bytes or a little more, filled with @fill. */
size_t rig_bzimage(uint8_t *ret, size_t len, uint8_t fill);
/* boot.img of version 2, 3 or 4, into @ret; returns its length. */
size_t rig_boot_image(uint8_t *ret, unsigned version, const void *kernel,
		      size_t kernel_len, const void *ramdisk, size_t ramdisk_len,
		      const char *cmdline);

/* The smallest disk that boots: vbmeta_a and boot_a. And what plan_make() says of it.
 */
void rig_good_disk(struct rig *r);
bool rig_plan(struct rig *r);
