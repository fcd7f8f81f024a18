/*
 * The formats of Android Verified Boot (see avb.h), parsed from bytes in memory: every
 * offset and size is checked, and what a struct here points to lies within those bytes.
 * Nothing here is trusted yet: the signature is avb.c's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

#define VBMETA_HEADER_SIZE 256u
#define VBMETA_MAX_SIZE (64u << 10)
#define VBMETA_HASHTREE_DISABLED (1u << 0)
#define VBMETA_VERIFICATION_DISABLED (1u << 1)

struct avb_key {
	const uint8_t *bytes; /* as in a vbmeta image */
	size_t len;
};

struct avb_name {
	const uint8_t *text; /* not terminated */
	size_t len;
};

struct vbmeta {
	const uint8_t *data; /* header, authentication block, auxiliary block */
	uint64_t size; /* of all three */
	const uint8_t *aux;
	uint64_t aux_size;
	bool unsigned_; /* then nothing of the next ones is set, but alg is sha256 */
	enum hash_alg alg;
	unsigned key_bits;
	const uint8_t *hash, *signature, *modulus;
	struct avb_key key;
	const uint8_t *descriptors;
	uint64_t descriptors_size;
	uint64_t rollback_index;
	uint32_t rollback_location; /* 0 in chained images: their descriptor says it */
	uint32_t flags;
	bool unsupported; /* vbmeta_parse() failed, for what is valid but not known */
};

/* Why @data is no vbmeta image that we can verify, or NULL. */
const char *vbmeta_parse(const uint8_t *data, uint64_t size, struct vbmeta *ret);

enum {
	AVB_TAG_PROPERTY,
	AVB_TAG_HASHTREE,
	AVB_TAG_HASH,
	AVB_TAG_CMDLINE,
	AVB_TAG_CHAIN,
};

struct avb_descriptor {
	uint64_t tag;
	const uint8_t *data; /* behind the tag and the length */
	uint64_t size;
};

/* The descriptor at *@at, which moves behind it; false: it leads out. */
bool avb_descriptor_next(const struct vbmeta *m, uint64_t *at,
			 struct avb_descriptor *ret);

struct avb_hash_descriptor {
	uint64_t image_size;
	bool alg_known;
	enum hash_alg alg;
	struct avb_name name;
	const uint8_t *salt, *digest; /* digest: hash_size(alg) bytes */
	size_t salt_len;
	bool no_ab; /* the partition has no slot */
};

struct avb_hashtree_descriptor {
	uint32_t version;
	uint64_t image_size, tree_offset;
	uint32_t data_block_size, hash_block_size;
	struct avb_name alg_name, name;
	const uint8_t *salt, *root;
	size_t salt_len, root_len;
};

#define AVB_CMDLINE_IF_HASHTREE (1u << 0)
#define AVB_CMDLINE_IF_NO_HASHTREE (1u << 1)
struct avb_cmdline_descriptor {
	uint32_t flags;
	const uint8_t *text;
	size_t len;
};

struct avb_chain_descriptor {
	uint32_t rollback_location;
	struct avb_name name;
	struct avb_key key;
	bool no_ab;
};

/* False: the descriptor contradicts itself. */
bool avb_hash_parse(const struct avb_descriptor *d, struct avb_hash_descriptor *ret);
bool avb_hashtree_parse(const struct avb_descriptor *d,
			struct avb_hashtree_descriptor *ret);
bool avb_cmdline_parse(const struct avb_descriptor *d,
		       struct avb_cmdline_descriptor *ret);
bool avb_chain_parse(const struct avb_descriptor *d, struct avb_chain_descriptor *ret);

bool avb_name_is(const struct avb_name *name, const char *text);

#define AVB_FOOTER_SIZE 64u
struct avb_footer {
	uint64_t vbmeta_offset, vbmeta_size;
};

/* False: there is no footer of a version that we know. */
bool avb_footer_parse(const uint8_t *data, struct avb_footer *ret);
