/* Disks for tests of the bootloader; see bootloader_rig.h. */
#include "tests/unit/bootloader_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <bearssl_rand.h>
#include <cmocka.h>

#include "guest/bootloader/bytes.h"
#include "guest/bootloader/crc32.h"

#define KEY_BITS 2048u
#define TABLE_SECTORS 32u

struct rig_key {
	br_rsa_private_key private;
	uint8_t private_bytes[BR_RSA_KBUF_PRIV_SIZE(KEY_BITS)];
	uint8_t blob[8 + 2 * KEY_BITS / 8];
};

/* --- bytes --------------------------------------------------------------- */

void rig_put(struct rig_bytes *b, const void *p, size_t len)
{
	assert_true(within(b->len, len, sizeof(b->data)));
	if (len)
		memcpy(b->data + b->len, p, len);
	b->len += len;
}

void rig_put_be32(struct rig_bytes *b, uint32_t v)
{
	const uint8_t p[] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
			      (uint8_t)v };

	rig_put(b, p, sizeof(p));
}

void rig_put_be64(struct rig_bytes *b, uint64_t v)
{
	rig_put_be32(b, (uint32_t)(v >> 32));
	rig_put_be32(b, (uint32_t)v);
}

void rig_pad(struct rig_bytes *b, size_t to)
{
	while (b->len % to)
		rig_put(b, "", 1);
}

/* --- keys ---------------------------------------------------------------- */

static void make_key(struct rig_key *key, unsigned which)
{
	uint8_t public_bytes[BR_RSA_KBUF_PUB_SIZE(KEY_BITS)];
	br_hmac_drbg_context random;
	br_rsa_public_key public;

	/* The same ones in every run. */
	br_hmac_drbg_init(&random, &br_sha256_vtable, &which, sizeof(which));
	assert_true(br_rsa_i31_keygen(&random.vtable, &key->private, key->private_bytes,
				      &public, public_bytes, KEY_BITS, 65537));
	/* n0inv and R^2 mod n, which follow, are for verifiers that use them: not ours.
	 */
	key->blob[2] = KEY_BITS >> 8;
	memcpy(key->blob + 8, public.n, public.nlen);
}

const struct rig_key *rig_key(unsigned which)
{
	static struct rig_key keys[2];

	if (!keys[which].blob[2])
		make_key(&keys[which], which);
	return &keys[which];
}

/* --- vbmeta -------------------------------------------------------------- */

void rig_vbmeta_init(struct rig_vbmeta *m)
{
	memset(m, 0, sizeof(*m));
	m->algorithm = 1;
}

void rig_add_descriptor(struct rig_vbmeta *m, uint64_t tag, const void *body,
			size_t len)
{
	rig_put_be64(&m->descriptors, tag);
	rig_put_be64(&m->descriptors, round_up(len, 8));
	rig_put(&m->descriptors, body, len);
	rig_pad(&m->descriptors, 8);
}

void rig_add_hash(struct rig_vbmeta *m, const char *name, const void *image, size_t len)
{
	static const char salt[] = "salt";
	static const char alg[32] = "sha256", reserved[60];
	struct rig_bytes *b = calloc(1, sizeof(*b));
	uint8_t digest[HASH_MAX];
	struct hash h;

	hash_init(&h, HASH_SHA256);
	hash_update(&h, salt, 4);
	hash_update(&h, image, len);
	hash_final(&h, digest);
	rig_put_be64(b, len);
	rig_put(b, alg, 32);
	rig_put_be32(b, (uint32_t)strlen(name));
	rig_put_be32(b, 4);
	rig_put_be32(b, 32);
	rig_put_be32(b, 0);
	rig_put(b, reserved, sizeof(reserved));
	rig_put(b, name, strlen(name));
	rig_put(b, salt, 4);
	rig_put(b, digest, 32);
	rig_add_descriptor(m, AVB_TAG_HASH, b->data, b->len);
	free(b);
}

void rig_add_chain(struct rig_vbmeta *m, const char *name, const struct rig_key *key,
		   uint32_t rollback_location)
{
	static const char reserved[60];
	struct rig_bytes *b = calloc(1, sizeof(*b));

	rig_put_be32(b, rollback_location);
	rig_put_be32(b, (uint32_t)strlen(name));
	rig_put_be32(b, sizeof(key->blob));
	rig_put_be32(b, 0);
	rig_put(b, reserved, sizeof(reserved));
	rig_put(b, name, strlen(name));
	rig_put(b, key->blob, sizeof(key->blob));
	rig_add_descriptor(m, AVB_TAG_CHAIN, b->data, b->len);
	free(b);
}

void rig_add_cmdline(struct rig_vbmeta *m, uint32_t flags, const char *text)
{
	struct rig_bytes *b = calloc(1, sizeof(*b));

	rig_put_be32(b, flags);
	rig_put_be32(b, (uint32_t)strlen(text));
	rig_put(b, text, strlen(text));
	rig_add_descriptor(m, AVB_TAG_CMDLINE, b->data, b->len);
	free(b);
}

#define AUTH_SIZE 320u /* 32 + 256, up to 64 */

void rig_sign(struct rig_vbmeta *m, const struct rig_key *key)
{
	static const uint8_t zeroes[AUTH_SIZE];
	struct rig_bytes *b = &m->image;
	uint64_t aux = round_up(m->descriptors.len + sizeof(key->blob), 64);

	b->len = 0;
	rig_put(b, "AVB0", 4);
	rig_put_be32(b, 1);
	rig_put_be32(b, 0);
	rig_put_be64(b, AUTH_SIZE);
	rig_put_be64(b, aux);
	rig_put_be32(b, m->algorithm);
	rig_put_be64(b, 0); /* hash */
	rig_put_be64(b, 32);
	rig_put_be64(b, 32); /* signature */
	rig_put_be64(b, KEY_BITS / 8);
	rig_put_be64(b, m->descriptors.len); /* key */
	rig_put_be64(b, sizeof(key->blob));
	rig_put_be64(b, 0); /* key metadata */
	rig_put_be64(b, 0);
	rig_put_be64(b, 0); /* descriptors */
	rig_put_be64(b, m->descriptors.len);
	rig_put_be64(b, m->rollback_index);
	rig_put_be32(b, m->flags);
	rig_put_be32(b, m->rollback_location);
	rig_pad(b, 256);
	rig_put(b, zeroes, AUTH_SIZE);
	rig_put(b, m->descriptors.data, m->descriptors.len);
	rig_put(b, key->blob, sizeof(key->blob));
	rig_pad(b, 64);
	rig_sign_again(m, key);
}

void rig_sign_again(struct rig_vbmeta *m, const struct rig_key *key)
{
	uint8_t *p = m->image.data;
	struct hash h;

	hash_init(&h, HASH_SHA256);
	hash_update(&h, p, VBMETA_HEADER_SIZE);
	hash_update(&h, p + VBMETA_HEADER_SIZE + AUTH_SIZE,
		    m->image.len - VBMETA_HEADER_SIZE - AUTH_SIZE);
	hash_final(&h, p + VBMETA_HEADER_SIZE);
	assert_true(br_rsa_i31_pkcs1_sign(BR_HASH_OID_SHA256, p + VBMETA_HEADER_SIZE,
					  32, &key->private,
					  p + VBMETA_HEADER_SIZE + 32));
}

/* --- disks --------------------------------------------------------------- */

static bool read_disk(void *ctx, uint64_t sector, void *buf, uint64_t n)
{
	struct rig *r = ctx;

	assert_true(n > 0 && within(sector, n, RIG_SECTORS));
	r->reads++;
	memcpy(buf, r->disk + sector * SECTOR_SIZE, n * SECTOR_SIZE);
	return true;
}

static bool write_disk(void *ctx, uint64_t sector, const void *buf, uint64_t n)
{
	struct rig *r = ctx;

	assert_true(n > 0 && within(sector, n, RIG_SECTORS));
	r->writes++;
	if (r->write_fails)
		return false;
	memcpy(r->disk + sector * SECTOR_SIZE, buf, n * SECTOR_SIZE);
	return true;
}

struct rig *rig_new(void)
{
	struct rig *r = aligned_alloc(ARENA_ALIGN, sizeof(*r));

	assert_non_null(r);
	rig_init(r);
	return r;
}

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->blk = (struct blk){ read_disk, write_disk, r, RIG_SECTORS };
	r->next = 2 + TABLE_SECTORS;
}

void rig_trust(struct rig *r, const struct rig_key *key)
{
	r->key.size = sizeof(key->blob);
	memcpy(r->key.key, key->blob, sizeof(key->blob));
}

uint8_t *rig_part(struct rig *r, const char *name, const void *data, size_t len)
{
	uint64_t sectors = round_up(len ? len : 1, 4096) / SECTOR_SIZE;
	uint8_t *p = r->disk + r->next * SECTOR_SIZE;

	assert_true(r->n_parts < RIG_PARTS);
	assert_true(r->next + sectors < RIG_SECTORS - TABLE_SECTORS - 1);
	strcpy(r->parts[r->n_parts].name, name);
	r->parts[r->n_parts].first = r->next;
	r->parts[r->n_parts++].sectors = sectors;
	r->next += sectors;
	memset(p, 0, sectors * SECTOR_SIZE); /* of another disk before */
	memcpy(p, data, len);
	return p;
}

uint32_t rig_crc32(const void *data, size_t len)
{
	return crc32(0, data, len);
}

static void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

static void write_header(struct rig *r, uint64_t lba, uint64_t other, uint64_t table)
{
	uint8_t *h = r->disk + lba * SECTOR_SIZE;

	memset(h, 0, SECTOR_SIZE);
	memcpy(h, "EFI PART", 8);
	put_le32(h + 8, 0x10000);
	put_le32(h + 12, 92);
	put_le64(h + 24, lba);
	put_le64(h + 32, other);
	put_le64(h + 40, 2 + TABLE_SECTORS);
	put_le64(h + 48, RIG_SECTORS - 2 - TABLE_SECTORS);
	put_le64(h + 72, table);
	put_le32(h + 80, RIG_PARTS);
	put_le32(h + 84, 128);
	put_le32(h + 88, crc32(0, r->disk + table * SECTOR_SIZE, RIG_PARTS * 128));
	put_le32(h + 16, crc32(0, h, 92));
}

void rig_write_gpt(struct rig *r)
{
	const uint64_t last = RIG_SECTORS - 1, backup = last - TABLE_SECTORS;
	uint8_t *table = r->disk + 2 * SECTOR_SIZE;

	memset(table, 0, TABLE_SECTORS * SECTOR_SIZE);
	for (size_t i = 0; i < r->n_parts; i++) {
		uint8_t *e = table + i * 128;

		memset(e, 0xaf, 16);
		memset(e + 16, (int)i + 1, 16);
		put_le64(e + 32, r->parts[i].first);
		put_le64(e + 40, r->parts[i].first + r->parts[i].sectors - 1);
		for (size_t k = 0; r->parts[i].name[k]; k++)
			e[56 + 2 * k] = (uint8_t)r->parts[i].name[k];
	}
	memcpy(r->disk + backup * SECTOR_SIZE, table, TABLE_SECTORS * SECTOR_SIZE);
	write_header(r, 1, last, 2);
	write_header(r, last, 1, backup);
}

/* --- images -------------------------------------------------------------- */

size_t rig_bzimage(uint8_t *ret, size_t len, uint8_t fill)
{
	struct setup_header hdr = {
		.setup_sects = 1,
		.syssize = (uint32_t)(round_up(len, 16) / 16),
		.boot_flag = 0xaa55,
		.jump = 0x00eb | (0x26c - 0x202) << 8,
		.header = 0x53726448,
		.version = 0x20f,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.pref_address = 0x1000000,
		.init_size = 0x100000,
	};

	memset(ret, 0, 1024);
	memcpy(ret + 0x1f1, &hdr, sizeof(hdr));
	memset(ret + 1024, fill, round_up(len, 16));
	return 1024 + round_up(len, 16);
}

static size_t put_pages(uint8_t *ret, size_t at, const void *p, size_t len)
{
	size_t padded = round_up(len, 4096);

	memset(ret + at, 0, padded);
	if (len)
		memcpy(ret + at, p, len);
	return at + padded;
}

size_t rig_boot_image(uint8_t *ret, unsigned version, const void *kernel,
		      size_t kernel_len, const void *ramdisk, size_t ramdisk_len,
		      const char *cmdline)
{
	uint8_t head[4096] = "ANDROID!";
	size_t at;

	put_le32(head + 8, (uint32_t)kernel_len);
	put_le32(head + 40, version);
	if (version == 2) {
		put_le32(head + 16, (uint32_t)ramdisk_len);
		put_le32(head + 36, 4096);
		memcpy(head + 64, cmdline, strlen(cmdline));
	} else {
		put_le32(head + 12, (uint32_t)ramdisk_len);
		memcpy(head + 44, cmdline, strlen(cmdline));
	}
	at = put_pages(ret, 0, head, sizeof(head));
	at = put_pages(ret, at, kernel, kernel_len);
	return put_pages(ret, at, ramdisk, ramdisk_len);
}

void rig_good_disk(struct rig *r)
{
	static uint8_t kernel[8192], boot[32768];
	static struct rig_vbmeta m;
	size_t len = rig_bzimage(kernel, 4096, 0xc3);

	len = rig_boot_image(boot, 2, kernel, len, "ramdisk", 7, "of=boot");
	rig_vbmeta_init(&m);
	rig_add_hash(&m, "boot", boot, len);
	rig_sign(&m, rig_key(0));
	rig_init(r);
	rig_trust(r, rig_key(0));
	rig_part(r, "vbmeta_a", m.image.data, m.image.len);
	rig_part(r, "boot_a", boot, len);
	rig_write_gpt(r);
}

static void note(void *arg, const struct failure *f)
{
	struct rig *r = arg;

	r->n_notes++;
	r->note = *f;
}

bool rig_plan(struct rig *r)
{
	r->arena = (struct arena){ r->memory, sizeof(r->memory), 0 };
	r->n_notes = 0;
	memset(&r->f, 0, sizeof(r->f));
	return gpt_open(&r->gpt, &r->blk, "disk", &r->arena, &r->f) &&
	       plan_make(&r->gpt, 1, &r->key, "panic=-1", &r->arena, note, r, &r->plan,
			 &r->f);
}
