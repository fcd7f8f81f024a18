/* Verifying a slot; see avb.h. */
#include "avb.h"

#include <string.h>

#include "avb_format.h"
#include "bytes.h"
#include "text.h"

struct verifier {
	const struct gpt *disks;
	size_t n_disks;
	const struct key_block *key;
	struct arena *arena;
	struct avb_slot *slot;
	struct failure *f;
	struct text cmdline;
	/* All vbmeta images, in the order in which they were verified. */
	struct vbmeta images[AVB_MAX_IMAGES];
	size_t n_images;
	/* Whose image is being read: a chained partition's; NULL: the top-level one. */
	const struct avb_name *chained;
};

/*
 * Something did not verify. Locked: that ends it. Unlocked: the first failure stays in
 * @f, and we go on.
 */
static bool refused(struct verifier *v, enum failure_code code, const char *object,
		    const char *why)
{
	if (!v->slot->unlocked)
		return fail_with(v->f, code, object, why);
	if (v->slot->n_errors++ == 0)
		fail_with(v->f, code, object, why);
	return true;
}

/* --- partitions ---------------------------------------------------------- */

/* "boot" and the slot's suffix; false: it is too long for a partition. */
static bool full_name(const struct verifier *v, const struct avb_name *base, bool no_ab,
		      char *ret_name)
{
	struct text t = text_into(ret_name, GPT_NAME_MAX);

	text_add_bytes(&t, base->text, base->len);
	if (!no_ab)
		text_add(&t, v->slot->suffix);
	return !t.cut;
}

static bool find_part(const struct verifier *v, const struct avb_name *base, bool no_ab,
		      struct part *ret_part)
{
	char name[GPT_NAME_MAX];

	if (!full_name(v, base, no_ab, name))
		return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, "vbmeta",
				 "it names a partition of more than 36 characters");
	return gpt_find(v->disks, v->n_disks, name, ret_part, v->f);
}

/*
 * Who was trusted with one partition has no say about the others: chained images speak
 * of themselves only, but for those that exist to speak of others (vbmeta_system).
 */
static bool may_describe(const struct verifier *v, const struct avb_name *name)
{
	const struct avb_name *by = v->chained;

	return !by || (by->len >= 6 && memcmp(by->text, "vbmeta", 6) == 0) ||
	       (by->len == name->len && memcmp(by->text, name->text, name->len) == 0);
}

/* False: it has been kept before, perhaps by the word of somebody else. */
static bool keep(struct verifier *v, const struct avb_name *name, const uint8_t *data,
		 uint64_t size)
{
	static const char *const names[AVB_PARTITIONS] = {
		[AVB_BOOT] = "boot",
		[AVB_INIT_BOOT] = "init_boot",
		[AVB_VENDOR_BOOT] = "vendor_boot",
	};

	for (size_t i = 0; i < AVB_PARTITIONS; i++) {
		if (!avb_name_is(name, names[i]))
			continue;
		if (v->slot->parts[i].data)
			return false;
		v->slot->parts[i] = (struct avb_content){ data, size };
	}
	return true;
}

static bool verify_hash(struct verifier *v, const struct avb_hash_descriptor *d)
{
	uint64_t mark = v->arena->used;
	uint8_t digest[HASH_MAX];
	const uint8_t *data;
	struct part part;
	struct hash h;

	if (!find_part(v, &d->name, d->no_ab, &part) ||
	    !part_load(&part, 0, d->image_size, v->arena, &data, v->f))
		return false;
	hash_init(&h, d->alg);
	hash_update(&h, d->salt, d->salt_len);
	hash_update(&h, data, d->image_size);
	hash_final(&h, digest);
	if (memcmp(digest, d->digest, hash_size(d->alg)) != 0 &&
	    !refused(v, FAILURE_BOOTLOADER_BAD_HASH, part.name,
		     "its content is not what was signed"))
		return false;
	if (!keep(v, &d->name, data, d->image_size))
		return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, part.name,
				 "two descriptors say what it holds");
	/* What nobody will use gives its memory back. */
	for (size_t i = 0; i < AVB_PARTITIONS; i++)
		if (v->slot->parts[i].data == data)
			return true;
	arena_release(v->arena, mark);
	return true;
}

/* --- command line -------------------------------------------------------- */

/* Descriptors may name partitions' GUIDs: $(ANDROID_SYSTEM_PARTUUID) and the like. */
static bool substitute(struct verifier *v, const uint8_t **text, size_t *len)
{
	static const struct {
		const char *word, *part;
	} words[] = {
		{ "$(ANDROID_SYSTEM_PARTUUID)", "system" },
		{ "$(ANDROID_BOOT_PARTUUID)", "boot" },
		{ "$(ANDROID_VBMETA_PARTUUID)", "vbmeta" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i].word);
		struct avb_name name = { (const uint8_t *)words[i].part,
					 strlen(words[i].part) };
		struct part part;

		if (*len < n || memcmp(*text, words[i].word, n) != 0)
			continue;
		if (!find_part(v, &name, false, &part))
			return false;
		text_add_guid(&v->cmdline, part.guid);
		*text += n;
		*len -= n;
		return true;
	}
	text_add_bytes(&v->cmdline, *text, 1);
	(*text)++;
	(*len)--;
	return true;
}

static bool add_cmdline(struct verifier *v, const struct avb_cmdline_descriptor *d)
{
	const uint8_t *text = d->text;
	size_t len = d->len;

	if ((d->flags & AVB_CMDLINE_IF_HASHTREE && v->slot->hashtree_disabled) ||
	    (d->flags & AVB_CMDLINE_IF_NO_HASHTREE && !v->slot->hashtree_disabled))
		return true;
	text_add_separator(&v->cmdline);
	while (len)
		if (!substitute(v, &text, &len))
			return false;
	return true;
}

/* Whoever mounts the partition needs these to build its verity device. */
static void add_hashtree(struct verifier *v, const struct avb_hashtree_descriptor *d)
{
	struct text *t = &v->cmdline;

	text_add_separator(t);
	text_add(t, "androidboot.vbmeta.hashtree.");
	text_add_bytes(t, d->name.text, d->name.len);
	text_add(t, "=");
	text_add_number(t, d->version);
	text_add(t, ",");
	text_add_number(t, d->data_block_size);
	text_add(t, ",");
	text_add_number(t, d->hash_block_size);
	text_add(t, ",");
	text_add_number(t, d->image_size);
	text_add(t, ",");
	text_add_number(t, d->tree_offset);
	text_add(t, ",");
	text_add_bytes(t, d->alg_name.text, d->alg_name.len);
	text_add(t, ",");
	text_add_hex(t, d->root, d->root_len);
	text_add(t, ",");
	text_add_hex(t, d->salt, d->salt_len);
}

/* --- vbmeta images ------------------------------------------------------- */

static bool verify_image(struct verifier *v, const struct part *part, uint64_t off,
			 uint64_t room, const struct avb_key *key, uint32_t location,
			 unsigned depth);

static bool is_trusted(const struct avb_key *want, const struct avb_key *found)
{
	return want->len && want->len == found->len &&
	       memcmp(want->bytes, found->bytes, want->len) == 0;
}

/* The signature over header and auxiliary block, by the key that lies in the latter. */
static bool check_signature(struct verifier *v, const struct vbmeta *m,
			    const struct avb_key *key, const char *name)
{
	uint8_t digest[HASH_MAX];
	struct hash h;

	if (m->unsigned_)
		return refused(v, FAILURE_BOOTLOADER_BAD_SIGNATURE, name,
			       "it is not signed");
	hash_init(&h, m->alg);
	hash_update(&h, m->data, VBMETA_HEADER_SIZE);
	hash_update(&h, m->aux, m->aux_size);
	hash_final(&h, digest);
	if (memcmp(digest, m->hash, hash_size(m->alg)) != 0 ||
	    !rsa_verify(m->modulus, m->key_bits / 8, m->alg, digest, m->signature))
		return refused(v, FAILURE_BOOTLOADER_BAD_SIGNATURE, name,
			       "its signature is wrong");
	if (!is_trusted(key, &m->key))
		return refused(v, FAILURE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH, name,
			       "it is signed by a key that is not trusted");
	return true;
}

static bool follow_chain(struct verifier *v, const struct avb_chain_descriptor *d,
			 unsigned depth)
{
	struct avb_footer footer;
	const uint8_t *data;
	struct part part;
	uint64_t mark = v->arena->used;
	bool ok;

	if (depth)
		return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, "vbmeta",
				 "a chained image has a chain of its own");
	if (!find_part(v, &d->name, d->no_ab, &part))
		return false;
	if (part.size < AVB_FOOTER_SIZE)
		return fail_with(v->f, FAILURE_BOOTLOADER_TRUNCATED, part.name,
				 "too short for a footer");
	if (!part_load(&part, part.size - AVB_FOOTER_SIZE, AVB_FOOTER_SIZE, v->arena,
		       &data, v->f))
		return false;
	ok = avb_footer_parse(data, &footer);
	arena_release(v->arena, mark);
	/* Without a footer the partition is a vbmeta image, from its start. */
	if (!ok)
		footer = (struct avb_footer){ 0, part.size };
	v->chained = &d->name;
	ok = verify_image(v, &part, footer.vbmeta_offset, footer.vbmeta_size, &d->key,
			  d->rollback_location, depth + 1);
	v->chained = NULL;
	return ok;
}

static bool handle_descriptor(struct verifier *v, const struct avb_descriptor *d,
			      const char *name, unsigned depth)
{
	union {
		struct avb_hash_descriptor hash;
		struct avb_hashtree_descriptor hashtree;
		struct avb_cmdline_descriptor cmdline;
		struct avb_chain_descriptor chain;
	} u;

	switch (d->tag) {
	case AVB_TAG_HASH:
		if (!avb_hash_parse(d, &u.hash) || !may_describe(v, &u.hash.name))
			break;
		if (!u.hash.alg_known)
			return fail_with(
				v->f, FAILURE_BOOTLOADER_UNSUPPORTED, name,
				"a hash algorithm that is neither sha256 nor sha512");
		return verify_hash(v, &u.hash);
	case AVB_TAG_HASHTREE:
		if (!avb_hashtree_parse(d, &u.hashtree) ||
		    !may_describe(v, &u.hashtree.name))
			break;
		add_hashtree(v, &u.hashtree);
		return true;
	case AVB_TAG_CMDLINE:
		if (!avb_cmdline_parse(d, &u.cmdline))
			break;
		return add_cmdline(v, &u.cmdline);
	case AVB_TAG_CHAIN:
		if (!avb_chain_parse(d, &u.chain))
			break;
		return follow_chain(v, &u.chain, depth);
	default:
		return true; /* properties, and what is still to be invented */
	}
	return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, name,
			 "a descriptor contradicts itself, or is not its business");
}

static bool handle_descriptors(struct verifier *v, const struct vbmeta *m,
			       const char *name, unsigned depth)
{
	struct avb_descriptor d;
	uint64_t at = 0;

	while (at < m->descriptors_size) {
		if (!avb_descriptor_next(m, &at, &d))
			return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, name,
					 "a descriptor leads out of it");
		if (!handle_descriptor(v, &d, name, depth))
			return false;
	}
	return true;
}

/* Whether an image is not older than what its location remembers. */
static bool check_rollback(struct verifier *v, const struct vbmeta *m,
			   uint32_t location, const char *name)
{
	uint64_t least = v->key->rollback_index;

	if (location >= KEY_BLOCK_LOCATIONS)
		return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, name,
				 "its rollback index is kept where AVB has no place");
	if (location)
		least = v->key->rollback_indices[location - 1];
	return m->rollback_index >= least ||
	       refused(v, FAILURE_BOOTLOADER_ROLLBACK, name,
		       "its rollback index is below the least that may boot");
}

/*
 * One vbmeta image at @off of @part, in at most @room bytes, signed by @key. @location:
 * of a chained image's rollback index; the top-level one says it itself.
 */
static bool verify_image(struct verifier *v, const struct part *part, uint64_t off,
			 uint64_t room, const struct avb_key *key, uint32_t location,
			 unsigned depth)
{
	const uint8_t *data;
	struct vbmeta *m;
	const char *why;

	if (v->n_images == AVB_MAX_IMAGES)
		return fail_with(v->f, FAILURE_BOOTLOADER_UNSUPPORTED, part->name,
				 "more than 7 chained partitions");
	m = &v->images[v->n_images];
	if (room > VBMETA_MAX_SIZE)
		room = VBMETA_MAX_SIZE;
	/* A footer may lead anywhere: part_load() looks. */
	if (!part_load(part, off, room < part->size ? room : part->size, v->arena,
		       &data, v->f))
		return false;
	why = vbmeta_parse(data, room < part->size ? room : part->size, m);
	if (why)
		return fail_with(v->f,
				 m->unsupported ? FAILURE_BOOTLOADER_UNSUPPORTED
						: FAILURE_BOOTLOADER_BAD_VBMETA,
				 part->name, why);
	v->n_images++;
	if (!check_signature(v, m, key, part->name))
		return false;
	if (depth && m->rollback_location)
		return fail_with(v->f, FAILURE_BOOTLOADER_BAD_VBMETA, part->name,
				 "it is chained, and says itself where its rollback "
				 "index is kept");
	if (!check_rollback(v, m, depth ? location : m->rollback_location, part->name))
		return false;
	if (m->flags & VBMETA_VERIFICATION_DISABLED &&
	    !refused(v, FAILURE_BOOTLOADER_BAD_VBMETA, part->name,
		     "it asks for no verification"))
		return false;
	if (depth == 0) {
		v->slot->alg = m->alg;
		v->slot->hashtree_disabled = m->flags & VBMETA_HASHTREE_DISABLED;
		memcpy(v->slot->vbmeta_guid, part->guid, sizeof(part->guid));
	}
	return handle_descriptors(v, m, part->name, depth);
}

/* --- the slot ------------------------------------------------------------ */

static void digest_images(struct verifier *v)
{
	struct hash h;

	hash_init(&h, v->slot->alg);
	for (size_t i = 0; i < v->n_images; i++) {
		hash_update(&h, v->images[i].data, v->images[i].size);
		v->slot->size += v->images[i].size;
	}
	hash_final(&h, v->slot->digest);
}

bool avb_verify(const struct gpt *disks, size_t n, const char *suffix,
		const struct key_block *key, struct arena *arena,
		struct avb_slot *ret_slot, struct failure *f)
{
	static const struct avb_name vbmeta = { (const uint8_t *)"vbmeta", 6 };
	struct avb_key trusted = { key->key, key->size };
	struct verifier *v = arena_take(arena, sizeof(*v));
	struct part part;

	if (!v)
		return fail_with(f, FAILURE_BOOTLOADER_NO_MEMORY, "vbmeta",
				 "no memory to verify it");
	memset(ret_slot, 0, sizeof(*ret_slot));
	memset(v, 0, sizeof(*v));
	ret_slot->suffix = suffix;
	ret_slot->unlocked = key->unlocked;
	v->disks = disks;
	v->n_disks = n;
	v->key = key;
	v->arena = arena;
	v->slot = ret_slot;
	v->f = f;
	v->cmdline = text_into(ret_slot->cmdline, sizeof(ret_slot->cmdline));
	if (key->size > sizeof(key->key) || (!key->size && !key->unlocked))
		return fail_with(f, FAILURE_BOOTLOADER_NO_KEY, "vbmeta",
				 "no trusted key was given");
	if (!find_part(v, &vbmeta, false, &part) ||
	    !verify_image(v, &part, 0, part.size, &trusted, 0, 0))
		return false;
	if (v->cmdline.cut)
		return fail_with(f, FAILURE_BOOTLOADER_BAD_VBMETA, part.name,
				 "its command line is too long");
	if (!ret_slot->parts[AVB_BOOT].data)
		return fail_with(f, FAILURE_BOOTLOADER_BAD_VBMETA, part.name,
				 "no hash descriptor for boot");
	digest_images(v);
	return true;
}
