/* The formats of Android Verified Boot; see avb_format.h. All numbers are big-endian.
 */
#include "avb_format.h"

#include <string.h>

#include "bytes.h"

#define VERSION_MAJOR 1u
#define VERSION_MINOR 3u /* an image names the least that it needs */
#define KEY_HEADER_SIZE 8u /* bits, n0inv; then the modulus and R^2 mod it */
#define BLOCK_ALIGN 64u
#define NO_AB (1u << 0) /* in the flags of descriptors */

/* Indexed by the header's algorithm_type. */
static const struct {
	unsigned bits;
	enum hash_alg alg;
} algorithms[] = {
	{ 0, HASH_SHA256 }, /* none */
	{ 2048, HASH_SHA256 }, { 4096, HASH_SHA256 }, { 8192, HASH_SHA256 },
	{ 2048, HASH_SHA512 }, { 4096, HASH_SHA512 }, { 8192, HASH_SHA512 },
};

/* The key in the auxiliary block, of which the modulus is what we use. */
static const char *parse_key(struct vbmeta *m, uint64_t off, uint64_t size)
{
	if (!within(off, size, m->aux_size))
		return "its key leads out of it";
	if (size != KEY_HEADER_SIZE + 2 * (m->key_bits / 8) ||
	    be32(m->aux + off) != m->key_bits)
		return "its key is not of the size that its algorithm has";
	m->key = (struct avb_key){ m->aux + off, size };
	m->modulus = m->aux + off + KEY_HEADER_SIZE;
	return NULL;
}

static const char *parse_signature(struct vbmeta *m, const uint8_t *auth,
				   uint64_t auth_size)
{
	const uint8_t *h = m->data;
	uint64_t hash_off = be64(h + 32), hash_len = be64(h + 40);
	uint64_t sig_off = be64(h + 48), sig_len = be64(h + 56);

	if (hash_len != hash_size(m->alg) || sig_len != m->key_bits / 8)
		return "hash or signature are not of the size that its algorithm has";
	if (!within(hash_off, hash_len, auth_size) ||
	    !within(sig_off, sig_len, auth_size))
		return "hash or signature lead out of it";
	m->hash = auth + hash_off;
	m->signature = auth + sig_off;
	return parse_key(m, be64(h + 64), be64(h + 72));
}

const char *vbmeta_parse(const uint8_t *data, uint64_t size, struct vbmeta *ret)
{
	uint64_t auth_size, aux_size, descriptors;
	uint32_t algorithm;

	*ret = (struct vbmeta){ .data = data };
	if (size < VBMETA_HEADER_SIZE || memcmp(data, "AVB0", 4) != 0)
		return "it is no vbmeta image";
	if (be32(data + 4) != VERSION_MAJOR || be32(data + 8) > VERSION_MINOR) {
		ret->unsupported = true;
		return "it needs another version of AVB than 1.3";
	}
	auth_size = be64(data + 12);
	aux_size = be64(data + 20);
	if (auth_size % BLOCK_ALIGN || aux_size % BLOCK_ALIGN ||
	    !within(VBMETA_HEADER_SIZE, auth_size, size) ||
	    !within(VBMETA_HEADER_SIZE + auth_size, aux_size, size))
		return "its blocks are longer than 64 KiB or the partition";
	ret->aux = data + VBMETA_HEADER_SIZE + auth_size;
	ret->aux_size = aux_size;
	ret->size = VBMETA_HEADER_SIZE + auth_size + aux_size;
	descriptors = be64(data + 96);
	ret->descriptors_size = be64(data + 104);
	if (!within(descriptors, ret->descriptors_size, aux_size))
		return "its descriptors lead out of it";
	ret->descriptors = ret->aux + descriptors;
	ret->rollback_index = be64(data + 112);
	ret->flags = be32(data + 120);
	ret->rollback_location = be32(data + 124);
	algorithm = be32(data + 28);
	if (algorithm >= sizeof(algorithms) / sizeof(algorithms[0])) {
		ret->unsupported = true;
		return "it is signed by an unknown algorithm";
	}
	ret->key_bits = algorithms[algorithm].bits;
	ret->alg = algorithms[algorithm].alg;
	if (ret->key_bits > RSA_MAX_BITS) {
		ret->unsupported = true;
		return "it is signed by RSA-8192; 4096 is the most that can be verified";
	}
	ret->unsigned_ = algorithm == 0;
	return ret->unsigned_
		       ? NULL
		       : parse_signature(ret, data + VBMETA_HEADER_SIZE, auth_size);
}

bool avb_descriptor_next(const struct vbmeta *m, uint64_t *at,
			 struct avb_descriptor *ret)
{
	const uint8_t *p = m->descriptors + *at;
	uint64_t size;

	if (!within(*at, 16, m->descriptors_size))
		return false;
	size = be64(p + 8);
	if (size % 8 || !within(*at + 16, size, m->descriptors_size))
		return false;
	*ret = (struct avb_descriptor){ be64(p), p + 16, size };
	*at += 16 + size;
	return true;
}

/* Takes what follows a descriptor's fixed part, piece by piece. */
struct tail {
	const uint8_t *p;
	uint64_t left;
	bool bad;
};

static const uint8_t *take(struct tail *t, uint64_t len)
{
	const uint8_t *p = t->p;

	if (len > t->left) {
		t->bad = true;
		return p;
	}
	t->p += len;
	t->left -= len;
	return p;
}

/* A name is text for a GPT, for the command line and for messages: visible ASCII. */
static struct avb_name take_name(struct tail *t, uint32_t len)
{
	struct avb_name name = { take(t, len), len };

	for (size_t i = 0; !t->bad && i < len; i++)
		if (name.text[i] <= ' ' || name.text[i] >= 0x7f)
			t->bad = true;
	if (len == 0)
		t->bad = true;
	return name;
}

/* The name of an algorithm in a field of 32 bytes, padded with zeroes. */
static struct avb_name algorithm_name(const uint8_t *field)
{
	struct avb_name name = { field, 0 };

	while (name.len < 32 && field[name.len] > ' ' && field[name.len] < 0x7f)
		name.len++;
	return name;
}

bool avb_name_is(const struct avb_name *name, const char *text)
{
	return name->len == strlen(text) && memcmp(name->text, text, name->len) == 0;
}

bool avb_hash_parse(const struct avb_descriptor *d, struct avb_hash_descriptor *ret)
{
	const uint8_t *p = d->data;
	struct tail t;
	struct avb_name alg;
	uint32_t digest_len;

	*ret = (struct avb_hash_descriptor){ 0 };
	if (d->size < 116)
		return false;
	t = (struct tail){ p + 116, d->size - 116, false };
	ret->image_size = be64(p);
	alg = algorithm_name(p + 8);
	ret->alg = avb_name_is(&alg, "sha512") ? HASH_SHA512 : HASH_SHA256;
	ret->alg_known = avb_name_is(&alg, hash_name(ret->alg));
	ret->salt_len = be32(p + 44);
	digest_len = be32(p + 48);
	ret->no_ab = be32(p + 52) & NO_AB;
	ret->name = take_name(&t, be32(p + 40));
	ret->salt = take(&t, ret->salt_len);
	ret->digest = take(&t, digest_len);
	return !t.bad && (!ret->alg_known || digest_len == hash_size(ret->alg));
}

bool avb_hashtree_parse(const struct avb_descriptor *d,
			struct avb_hashtree_descriptor *ret)
{
	const uint8_t *p = d->data;
	struct tail t;

	*ret = (struct avb_hashtree_descriptor){ 0 };
	if (d->size < 164)
		return false;
	t = (struct tail){ p + 164, d->size - 164, false };
	ret->version = be32(p);
	ret->image_size = be64(p + 4);
	ret->tree_offset = be64(p + 12);
	ret->data_block_size = be32(p + 28);
	ret->hash_block_size = be32(p + 32);
	ret->alg_name = algorithm_name(p + 56);
	ret->salt_len = be32(p + 92);
	ret->root_len = be32(p + 96);
	ret->name = take_name(&t, be32(p + 88));
	ret->salt = take(&t, ret->salt_len);
	ret->root = take(&t, ret->root_len);
	return !t.bad;
}

bool avb_cmdline_parse(const struct avb_descriptor *d,
		       struct avb_cmdline_descriptor *ret)
{
	struct tail t;

	*ret = (struct avb_cmdline_descriptor){ 0 };
	if (d->size < 8)
		return false;
	t = (struct tail){ d->data + 8, d->size - 8, false };
	ret->flags = be32(d->data);
	ret->len = be32(d->data + 4);
	ret->text = take(&t, ret->len);
	if (t.bad)
		return false;
	for (size_t i = 0; i < ret->len; i++)
		if (ret->text[i] < ' ' || ret->text[i] >= 0x7f)
			return false;
	return true;
}

bool avb_chain_parse(const struct avb_descriptor *d, struct avb_chain_descriptor *ret)
{
	const uint8_t *p = d->data;
	struct tail t;

	*ret = (struct avb_chain_descriptor){ 0 };
	if (d->size < 76)
		return false;
	t = (struct tail){ p + 76, d->size - 76, false };
	ret->rollback_location = be32(p);
	ret->key.len = be32(p + 8);
	ret->no_ab = be32(p + 12) & NO_AB;
	ret->name = take_name(&t, be32(p + 4));
	ret->key.bytes = take(&t, ret->key.len);
	return !t.bad && ret->key.len && ret->rollback_location;
}

bool avb_footer_parse(const uint8_t *data, struct avb_footer *ret)
{
	if (memcmp(data, "AVBf", 4) != 0 || be32(data + 4) != 1)
		return false;
	ret->vbmeta_offset = be64(data + 20);
	ret->vbmeta_size = be64(data + 28);
	return true;
}
