/*
 * The writer of composite disks and the reader of GPTs against each other. The first
 * byte chooses: lay out a disk of labels and sizes, which the reader must find sound;
 * or damage a sound one, bytes at places, with the checksums put right or not: the
 * reader may refuse it, and what it accepts must be the same after writing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "disk/composite.h"
#include "disk/composite_create.h"
#include "disk/crc32.h"
#include "disk/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)            \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

struct ends {
	uint64_t size;
	unsigned char *head, *tail;
};

/*
 * In the place of the library's, for this program: the checksum's own arithmetic is
 * none of the parser's business, and over two tables of 16 KiB it was nine tenths of
 * the time.
 */
__attribute__((no_sanitize("coverage"))) uint32_t crc32(uint32_t crc, const void *buf,
							size_t len)
{
	const unsigned char *p = buf;
	uint64_t h = crc ^ len;

	for (; len >= 8; len -= 8, p += 8)
		h = (h ^ le64_get(p)) * 0x9e3779b97f4a7c15u;
	for (; len > 0; len--, p++)
		h = (h ^ *p) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static int read_ends(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct ends *e = arg;

	if (range_within(off, len, GPT_AREA_LEN))
		memcpy(buf, e->head + off, len);
	else if (off >= e->size - GPT_AREA_LEN && range_within(off, len, e->size))
		memcpy(buf, e->tail + (off - (e->size - GPT_AREA_LEN)), len);
	else
		return -EIO;
	return 0;
}

/* --- laying out ------------------------------------------------------------ */

static void check_parts(const struct gpt *g, const struct composite_source *s, size_t n)
{
	REQUIRE(g->n == n);
	for (size_t i = 0; i < n; i++) {
		uint64_t len = (g->part[i].last - g->part[i].first + 1) * GPT_BLOCK;
		uint16_t name[GPT_NAME_UNITS];

		REQUIRE(g->part[i].first * GPT_BLOCK % COMPOSITE_ALIGN == 0);
		REQUIRE(len == align_up(s[i].size, COMPOSITE_ALIGN));
		REQUIRE(gpt_name(s[i].label, name) == 0);
		REQUIRE(memcmp(name, g->part[i].name, sizeof(name)) == 0);
	}
}

static void check_spec(const struct composite_image *im)
{
	struct proto_composite c = { 0 };
	uint64_t last = 0;

	REQUIRE(proto_decode(im->spec + COMPOSITE_MAGIC_LEN,
			     im->spec_len - COMPOSITE_MAGIC_LEN, &c, NULL) == 0);
	REQUIRE(c.length == im->size && c.n >= 2);
	for (size_t i = 1; i < c.n; i++) {
		REQUIRE(c.components[i].offset > last);
		last = c.components[i].offset;
	}
	REQUIRE(last == im->size - GPT_AREA_LEN);
	proto_free(&c);
}

/* Of each partition: the size in four bytes, flags, the label up to a newline. */
static size_t take_sources(char *text, size_t size, struct composite_source *s)
{
	char *end = text + size;
	size_t n = 0;

	while (end - text > 6 && n < GPT_PARTS + 1) {
		unsigned char flags = (unsigned char)text[4];
		char *label = text + 5;

		s[n] = (struct composite_source){
			.label = label,
			.path = flags & 8 ? "\xff" : "p",
			.size = (uint64_t)le32_get(text) << (flags >> 2 & 32),
			.writable = flags & 1,
		};
		s[n].guid.b[0] = flags >> 4;
		n++;
		text = memchr(label, '\n', (size_t)(end - label));
		if (!text)
			break;
		*text++ = '\0';
	}
	return n;
}

static void lay_out(const uint8_t *data, size_t size)
{
	static const struct composite_names names = { "h", "f", "z" };
	static struct composite_source s[GPT_PARTS + 2];
	static struct gpt g;
	char *text = malloc(size + 1);
	struct composite_image *im = NULL;
	struct err err = { "" };
	size_t n;

	memcpy(text, data, size);
	text[size] = '\0';
	n = take_sources(text, size, s);
	if (composite_build(s, n, &names, &im, &err) < 0) {
		REQUIRE(!im && err.msg[0]);
	} else {
		struct ends e = { im->size, im->header, im->footer };

		REQUIRE(gpt_read(read_ends, &e, im->size / GPT_BLOCK, &g, &err) == 0);
		check_parts(&g, s, n);
		check_spec(im);
	}
	composite_image_free(im);
	free(text);
}

/* --- damaging -------------------------------------------------------------- */

static void fix(unsigned char *h, const unsigned char *table)
{
	uint32_t n = le32_get(h + 80), len = le32_get(h + 12);

	if (n <= GPT_PARTS)
		le32_put(h + 88, crc32(0, table, n * GPT_ENTRY_LEN));
	le32_put(h + 16, 0);
	if (len <= GPT_BLOCK)
		le32_put(h + 16, crc32(0, h, len));
}

enum { SOUND = 5 }; /* disks of 0 to 4 partitions, made once */

static struct sound {
	struct gpt gpt;
	unsigned char head[GPT_AREA_LEN], tail[GPT_AREA_LEN];
} sound[SOUND];

static void make_sound(struct gpt *g, size_t parts)
{
	g->n = parts;
	g->blocks = 80 + 8 * g->n;
	for (size_t i = 0; i < g->n; i++) {
		g->part[i] = (struct gpt_part){ .type = gpt_type_linux,
						.first = 40 + 8 * i,
						.last = 47 + 8 * i };
		g->part[i].guid.b[0] = (uint8_t)(1 + i);
		g->part[i].name[0] = (uint16_t)('a' + i);
	}
}

/* Four bytes each: place, value; the high bit of the place chooses the end. */
static void damage(const uint8_t *data, size_t size)
{
	static struct gpt g[2];
	static unsigned char head[GPT_AREA_LEN], tail[GPT_AREA_LEN];
	static unsigned char head2[GPT_AREA_LEN], tail2[GPT_AREA_LEN];
	struct ends e = { 0, head, tail };
	struct err err = { "" };
	uint8_t how = data[0];
	struct sound *from;

	from = &sound[(how & 7) % SOUND];
	if (!from->gpt.blocks) {
		make_sound(&from->gpt, (how & 7) % SOUND);
		gpt_write(&from->gpt, from->head, from->tail);
	}
	g[0] = from->gpt;
	memcpy(e.head, from->head, GPT_AREA_LEN);
	memcpy(e.tail, from->tail, GPT_AREA_LEN);
	e.size = g[0].blocks * GPT_BLOCK;
	for (size_t i = 1; i + 4 <= size; i += 4) {
		unsigned place = le16_get(data + i) & 0x7fff;
		bool both = how & 0x20; /* entries of both tables */

		if (place >= GPT_AREA_LEN)
			continue;
		if (le16_get(data + i) & 0x8000)
			e.tail[place] = data[i + 2];
		else
			e.head[place] = data[i + 2];
		if (both && place >= 1024 && place < 1024 + GPT_TABLE_LEN)
			e.tail[0xe00 + place - 1024] = data[i + 2];
	}
	if (how & 0x10) {
		fix(e.head + GPT_BLOCK, e.head + 2 * GPT_BLOCK);
		fix(e.tail + GPT_AREA_LEN - GPT_BLOCK, e.tail + 0xe00);
	}
	if (gpt_read(read_ends, &e, g[0].blocks, &g[1], &err) < 0) {
		REQUIRE(err.msg[0]);
	} else {
		struct ends f = { e.size, head2, tail2 };

		gpt_write(&g[1], f.head, f.tail);
		REQUIRE(gpt_read(read_ends, &f, g[1].blocks, &g[0], &err) == 0);
		REQUIRE(memcmp(&g[0], &g[1], sizeof(*g)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 0x80)
		lay_out(data + 1, size - 1);
	else
		damage(data, size);
	return 0;
}
