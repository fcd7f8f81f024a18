/* GUID partition tables; see gpt.h. */
#include "disk/gpt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "disk/crc32.h"
#include "disk/utf8.h"

#define TABLE_BLOCKS (GPT_TABLE_LEN / GPT_BLOCK)
#define MIN_BLOCKS (2 * GPT_AREA_LEN / GPT_BLOCK)

/* The protective MBR, section 5.2.3. */
enum {
	MBR_PARTITION = 446,
	MBR_PARTITION_LEN = 16,
	MBR_SIGNATURE = 510,
	/* of a partition */
	MBR_START_CHS = 1,
	MBR_TYPE = 4,
	MBR_END_CHS = 5,
	MBR_START = 8,
	MBR_BLOCKS = 12,
	MBR_TYPE_GPT = 0xee,
};

/* The header, section 5.3.2. */
enum {
	H_SIGNATURE = 0,
	H_REVISION = 8,
	H_LEN = 12,
	H_CRC = 16,
	H_RESERVED = 20,
	H_THIS = 24,
	H_OTHER = 32,
	H_FIRST = 40,
	H_LAST = 48,
	H_GUID = 56,
	H_TABLE = 72,
	H_N = 80,
	H_ENTRY_LEN = 84,
	H_TABLE_CRC = 88,
	HEADER_LEN = 92,
};
static const unsigned char signature[8] = { 'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T' };
#define REVISION 0x00010000

/* An entry, section 5.3.3; attributes are 0. */
enum { E_TYPE = 0, E_GUID = 16, E_FIRST = 32, E_LAST = 40, E_NAME = 56 };

/* 0fc63daf-8483-4772-8e79-3d69d8477de4, c12a7328-f81f-11d2-ba4b-00a0c93ec93b */
const struct guid gpt_type_linux = { { 0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
				       0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d,
				       0xe4 } };
const struct guid gpt_type_efi = { { 0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11,
				     0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b } };

int gpt_name(const char *label, uint16_t name[GPT_NAME_UNITS])
{
	size_t left = strlen(label), n = 0;
	uint16_t units[GPT_NAME_UNITS] = { 0 };
	bool full = false;
	uint32_t code;

	while (left > 0) {
		size_t len = utf8_decode(label, left, &code);
		size_t need = code >= 0x10000 ? 2 : 1;

		if (len == 0)
			return -EINVAL;
		label += len;
		left -= len;
		/* The rest is looked at, but left out. */
		full |= n + need > GPT_NAME_UNITS;
		if (full)
			continue;
		if (need == 2) {
			units[n++] = (uint16_t)(0xd7c0 + (code >> 10));
			units[n++] = (uint16_t)(0xdc00 | (code & 0x3ff));
		} else {
			units[n++] = (uint16_t)code;
		}
	}
	memcpy(name, units, sizeof(units));
	return 0;
}

/*
 * What partitions may have: all but MBR, headers and tables. The first one begins
 * later, on 4 KiB, but saying so here makes gdisk wonder what is in the gap.
 */
#define FIRST_USABLE (2 + TABLE_BLOCKS)

static uint64_t last_usable(uint64_t disk_blocks)
{
	return disk_blocks - 1 - TABLE_BLOCKS - 1;
}

/* --- writing --------------------------------------------------------------- */

static void write_mbr(unsigned char *p, uint64_t disk_blocks)
{
	uint64_t blocks = disk_blocks - 1;
	unsigned char *part = p + MBR_PARTITION;

	/* Table 5-4: as Linux tools write it, CHS 0/0/2 to the last that can be said.
	 */
	part[MBR_START_CHS + 1] = 2;
	part[MBR_TYPE] = MBR_TYPE_GPT;
	memset(part + MBR_END_CHS, 0xff, 3);
	le32_put(part + MBR_START, 1);
	le32_put(part + MBR_BLOCKS,
		 blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
	p[MBR_SIGNATURE] = 0x55;
	p[MBR_SIGNATURE + 1] = 0xaa;
}

static void write_table(unsigned char *p, const struct gpt *g)
{
	for (size_t i = 0; i < g->n; i++, p += GPT_ENTRY_LEN) {
		const struct gpt_part *part = &g->part[i];

		memcpy(p + E_TYPE, part->type.b, sizeof(part->type.b));
		memcpy(p + E_GUID, part->guid.b, sizeof(part->guid.b));
		le64_put(p + E_FIRST, part->first);
		le64_put(p + E_LAST, part->last);
		for (size_t u = 0; u < GPT_NAME_UNITS; u++)
			le16_put(p + E_NAME + 2 * u, part->name[u]);
	}
}

static void write_header(unsigned char *p, const struct gpt *g, uint64_t this,
			 uint64_t other, uint64_t table, uint32_t table_crc)
{
	memcpy(p + H_SIGNATURE, signature, sizeof(signature));
	le32_put(p + H_REVISION, REVISION);
	le32_put(p + H_LEN, HEADER_LEN);
	le64_put(p + H_THIS, this);
	le64_put(p + H_OTHER, other);
	le64_put(p + H_FIRST, FIRST_USABLE);
	le64_put(p + H_LAST, last_usable(g->blocks));
	memcpy(p + H_GUID, g->guid.b, sizeof(g->guid.b));
	le64_put(p + H_TABLE, table);
	le32_put(p + H_N, GPT_PARTS);
	le32_put(p + H_ENTRY_LEN, GPT_ENTRY_LEN);
	le32_put(p + H_TABLE_CRC, table_crc);
	le32_put(p + H_CRC, crc32(0, p, HEADER_LEN));
}

void gpt_write(const struct gpt *g, unsigned char head[GPT_AREA_LEN],
	       unsigned char tail[GPT_AREA_LEN])
{
	unsigned char *table = head + 2 * GPT_BLOCK;
	unsigned char *tail_end = tail + GPT_AREA_LEN;
	uint64_t last = g->blocks - 1;
	uint32_t crc;

	memset(head, 0, GPT_AREA_LEN);
	memset(tail, 0, GPT_AREA_LEN);
	write_mbr(head, g->blocks);
	write_table(table, g);
	crc = crc32(0, table, GPT_TABLE_LEN);
	write_header(head + GPT_BLOCK, g, 1, last, 2, crc);
	memcpy(tail_end - GPT_BLOCK - GPT_TABLE_LEN, table, GPT_TABLE_LEN);
	write_header(tail_end - GPT_BLOCK, g, last, 1, last - TABLE_BLOCKS, crc);
}

/* --- reading --------------------------------------------------------------- */

struct reader {
	gpt_read_fn *fn;
	void *arg;
	uint64_t blocks;
	struct err *err;
};

static int read_blocks(const struct reader *r, uint64_t block, void *buf, size_t len)
{
	int ret = r->fn(r->arg, block * GPT_BLOCK, buf, len);

	return ret < 0 ? err_sys(r->err, ret, "cannot read block %llu",
				 (unsigned long long)block)
		       : 0;
}

static int check_mbr(const struct reader *r)
{
	unsigned char mbr[GPT_BLOCK];
	const unsigned char *part = mbr + MBR_PARTITION;
	uint64_t want = r->blocks - 1 > UINT32_MAX ? UINT32_MAX : r->blocks - 1;
	int ret = read_blocks(r, 0, mbr, sizeof(mbr));

	if (ret < 0)
		return ret;
	if (mbr[MBR_SIGNATURE] != 0x55 || mbr[MBR_SIGNATURE + 1] != 0xaa ||
	    part[MBR_TYPE] != MBR_TYPE_GPT || le32_get(part + MBR_START) != 1)
		return err_set(r->err, -EINVAL, "has no protective MBR");
	if (le32_get(part + MBR_BLOCKS) != want)
		return err_set(r->err, -EINVAL,
			       "its protective MBR says %u blocks instead of %llu",
			       le32_get(part + MBR_BLOCKS), (unsigned long long)want);
	for (const unsigned char *p = part + MBR_PARTITION_LEN; p < mbr + MBR_SIGNATURE;
	     p += MBR_PARTITION_LEN)
		if (p[MBR_TYPE])
			return err_set(r->err, -EINVAL,
				       "its MBR has partitions of its own");
	return 0;
}

/* @name: "primary" or "backup". */
static int check_header(const struct reader *r, const char *name, unsigned char *p,
			uint64_t this, uint64_t other, uint64_t table)
{
	uint32_t len = le32_get(p + H_LEN), crc = le32_get(p + H_CRC);

	if (memcmp(p + H_SIGNATURE, signature, sizeof(signature)) != 0)
		return err_set(r->err, -EINVAL, "has no %s GPT header", name);
	if (le32_get(p + H_REVISION) != REVISION || len < HEADER_LEN || len > GPT_BLOCK)
		return err_set(r->err, -ENOTSUP,
			       "%s GPT header: its revision is not known", name);
	le32_put(p + H_CRC, 0);
	if (crc32(0, p, len) != crc)
		return err_set(r->err, -EINVAL, "%s GPT header: wrong checksum", name);
	if (le64_get(p + H_THIS) != this || le64_get(p + H_OTHER) != other)
		return err_set(r->err, -EINVAL,
			       "%s GPT header: is not where it says, or not the other",
			       name);
	if (le32_get(p + H_N) > GPT_PARTS ||
	    le32_get(p + H_ENTRY_LEN) != GPT_ENTRY_LEN || le32_get(p + H_N) == 0)
		return err_set(
			r->err, -ENOTSUP,
			"%s GPT header: %u entries of %u bytes are not supported", name,
			le32_get(p + H_N), le32_get(p + H_ENTRY_LEN));
	if (le64_get(p + H_TABLE) != table)
		return err_set(r->err, -EINVAL,
			       "%s GPT header: the table is not beside it", name);
	if (le64_get(p + H_FIRST) < FIRST_USABLE ||
	    le64_get(p + H_LAST) > last_usable(r->blocks) ||
	    le64_get(p + H_FIRST) > le64_get(p + H_LAST) + 1)
		return err_set(r->err, -EINVAL, "%s GPT header: wrong usable blocks",
			       name);
	return 0;
}

/* One header and its table. */
static int read_half(const struct reader *r, bool backup,
		     unsigned char header[GPT_BLOCK],
		     unsigned char table[GPT_TABLE_LEN])
{
	const char *name = backup ? "backup" : "primary";
	uint64_t last = r->blocks - 1;
	uint64_t this = backup ? last : 1, other = backup ? 1 : last;
	uint64_t table_at = backup ? last - TABLE_BLOCKS : 2;
	int ret = read_blocks(r, this, header, GPT_BLOCK);

	if (ret == 0)
		ret = check_header(r, name, header, this, other, table_at);
	if (ret == 0)
		ret = read_blocks(r, table_at, table, GPT_TABLE_LEN);
	if (ret < 0)
		return ret;
	if (crc32(0, table, (size_t)le32_get(header + H_N) * GPT_ENTRY_LEN) !=
	    le32_get(header + H_TABLE_CRC))
		return err_set(r->err, -EINVAL, "%s GPT table: wrong checksum", name);
	return 0;
}

static int take_part(const struct reader *r, const unsigned char *header,
		     const unsigned char *p, struct gpt *g)
{
	struct gpt_part *part = &g->part[g->n];

	memcpy(part->type.b, p + E_TYPE, sizeof(part->type.b));
	if (guid_is_zero(&part->type))
		return 0;
	memcpy(part->guid.b, p + E_GUID, sizeof(part->guid.b));
	part->first = le64_get(p + E_FIRST);
	part->last = le64_get(p + E_LAST);
	for (size_t u = 0; u < GPT_NAME_UNITS; u++)
		part->name[u] = le16_get(p + E_NAME + 2 * u);
	if (part->first > part->last || part->first < le64_get(header + H_FIRST) ||
	    part->last > le64_get(header + H_LAST))
		return err_set(r->err, -EINVAL,
			       "partition %zu is outside of the usable blocks",
			       g->n + 1);
	for (size_t i = 0; i < g->n; i++) {
		const struct gpt_part *q = &g->part[i];

		if (part->first <= q->last && q->first <= part->last)
			return err_set(r->err, -EINVAL,
				       "partitions %zu and %zu overlap", i + 1,
				       g->n + 1);
		if (!memcmp(&part->guid, &q->guid, sizeof(q->guid)))
			return err_set(r->err, -EINVAL,
				       "partitions %zu and %zu have the same GUID",
				       i + 1, g->n + 1);
	}
	g->n++;
	return 0;
}

/* What both headers must agree on. */
static bool agree(const unsigned char *a, const unsigned char *b)
{
	return !memcmp(a + H_FIRST, b + H_FIRST, H_TABLE - H_FIRST) &&
	       !memcmp(a + H_N, b + H_N, HEADER_LEN - H_N);
}

/* What gpt_read() needs room for; too large for a stack. */
struct halves {
	unsigned char header[2][GPT_BLOCK];
	unsigned char table[2][GPT_TABLE_LEN];
	struct gpt gpt;
};

static int read_tables(const struct reader *r, struct halves *h)
{
	struct gpt *g = &h->gpt;
	int ret = check_mbr(r);

	if (ret == 0)
		ret = read_half(r, false, h->header[0], h->table[0]);
	if (ret == 0)
		ret = read_half(r, true, h->header[1], h->table[1]);
	if (ret < 0)
		return ret;
	if (!agree(h->header[0], h->header[1]))
		return err_set(r->err, -EINVAL, "its two GPT headers differ");
	g->blocks = r->blocks;
	memcpy(g->guid.b, h->header[0] + H_GUID, sizeof(g->guid.b));
	for (size_t i = 0; ret == 0 && i < le32_get(h->header[0] + H_N); i++)
		ret = take_part(r, h->header[0], h->table[0] + i * GPT_ENTRY_LEN, g);
	return ret;
}

int gpt_read(gpt_read_fn *fn, void *arg, uint64_t blocks, struct gpt *ret_gpt,
	     struct err *err)
{
	const struct reader r = { fn, arg, blocks, err };
	struct halves *h;
	int ret;

	if (blocks < MIN_BLOCKS || blocks > INT64_MAX / GPT_BLOCK)
		return err_set(err, -EINVAL, "is too %s for a GPT",
			       blocks < MIN_BLOCKS ? "small" : "large");
	h = calloc(1, sizeof(*h));
	if (!h)
		return err_sys(err, -ENOMEM, "GPT");
	ret = read_tables(&r, h);
	if (ret == 0)
		*ret_gpt = h->gpt;
	free(h);
	return ret;
}
