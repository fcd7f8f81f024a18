/* GPTs: written, read back, broken in each way; sgdisk and sfdisk judge them in
 * tests/vm/test_composite.sh. GUIDs and UTF-8 go along. */
#include "disk/gpt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "disk/crc32.h"

/* A small disk with two partitions, as its two ends; what is between is not read. */
#define BLOCKS (2 * 40 + 24ull)

struct image {
	struct gpt gpt;
	uint64_t blocks;
	unsigned char head[GPT_AREA_LEN], tail[GPT_AREA_LEN];
	int fail; /* what reading ends with */
};

static struct guid guid(const char *text)
{
	struct guid g;

	assert_int_equal(guid_parse(text, &g), 0);
	return g;
}

static int setup(void **state)
{
	struct image *im = calloc(1, sizeof(*im));
	struct gpt *g = &im->gpt;

	im->blocks = BLOCKS;
	g->guid = guid("00112233-4455-6677-8899-aabbccddeeff");
	g->blocks = BLOCKS;
	g->n = 2;
	g->part[0] =
		(struct gpt_part){ .type = gpt_type_linux, .first = 40, .last = 47 };
	g->part[1] = (struct gpt_part){ .type = gpt_type_efi, .first = 48, .last = 63 };
	g->part[0].guid = guid("11111111-2222-4333-8444-555555555555");
	g->part[1].guid = guid("11111111-2222-4333-8444-555555555556");
	assert_int_equal(gpt_name("root", g->part[0].name), 0);
	assert_int_equal(gpt_name("\xf0\x9f\x92\xbe data", g->part[1].name), 0);
	gpt_write(g, im->head, im->tail);
	*state = im;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static int read_image(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct image *im = arg;
	uint64_t tail = im->blocks * GPT_BLOCK - GPT_AREA_LEN;

	if (im->fail)
		return im->fail;
	if (range_within(off, len, GPT_AREA_LEN))
		memcpy(buf, im->head + off, len);
	else if (off >= tail && range_within(off - tail, len, GPT_AREA_LEN))
		memcpy(buf, im->tail + (off - tail), len);
	else
		fail_msg("reads %zu bytes at %llu", len, (unsigned long long)off);
	return 0;
}

static int reread(struct image *im, struct gpt *g, struct err *err)
{
	return gpt_read(read_image, im, im->blocks, g, err);
}

/* --- writing --------------------------------------------------------------- */

static void sizes_are_those_of_the_format(void **state)
{
	const struct image *im = *state;

	/* MBR to the end of the table; table and header at the end. */
	assert_int_equal(GPT_AREA_LEN, 0x5000);
	assert_memory_equal(im->head + 510,
			    "\x55\xaa"
			    "EFI PART\0\0\1\0\x5c\0\0\0",
			    18);
	assert_memory_equal(im->tail + 0x5000 - 512, "EFI PART", 8);
	assert_int_equal(im->head[512 + 92], 0);
	assert_memory_equal(im->head + 1024, im->tail + 0xe00, 128 * 128);
	assert_memory_equal(im->head + 1024, gpt_type_linux.b, 16);
	assert_int_equal(le64_get(im->head + 1024 + 32), 40);
	assert_int_equal(le64_get(im->head + 1024 + 40), 47);
}

static void headers_refer_to_each_other(void **state)
{
	const struct image *im = *state;
	unsigned char a[512], b[512];

	memcpy(a, im->head + 512, 512);
	memcpy(b, im->tail + 0x5000 - 512, 512);
	assert_int_equal(le64_get(a + 24), 1);
	assert_int_equal(le64_get(a + 32), BLOCKS - 1);
	assert_int_equal(le64_get(b + 24), BLOCKS - 1);
	assert_int_equal(le64_get(b + 32), 1);
	assert_int_equal(le64_get(a + 72), 2);
	assert_int_equal(le64_get(b + 72), BLOCKS - 33);
	assert_int_equal(le64_get(a + 40), 34);
	assert_int_equal(le64_get(a + 48), BLOCKS - 34);
	assert_int_equal(le32_get(a + 80), 128);
	assert_int_equal(le32_get(a + 84), 128);
	/* All else is equal: where they are, where the table is, the checksum. */
	memset(a + 16, 0, 4);
	memset(b + 16, 0, 4);
	memset(a + 24, 0, 16);
	memset(b + 24, 0, 16);
	memset(a + 72, 0, 8);
	memset(b + 72, 0, 8);
	assert_memory_equal(a, b, 512);
}

static void protective_mbr_covers_the_disk(void **state)
{
	static const unsigned char part[16] = { 0,    0, 2, 0, 0xee, 0xff,	0xff,
						0xff, 1, 0, 0, 0,    BLOCKS - 1 };
	struct image *im = *state;

	assert_memory_equal(im->head + 446, part, 16);
	im->gpt.blocks = 0x100000000;
	gpt_write(&im->gpt, im->head, im->tail);
	assert_int_equal(le32_get(im->head + 458), 0xffffffff);
	im->gpt.blocks = 0x200000000;
	gpt_write(&im->gpt, im->head, im->tail);
	assert_int_equal(le32_get(im->head + 458), 0xffffffff);
}

static void checksum_is_the_usual_one(void **state)
{
	(void)state;
	assert_int_equal(crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32(crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
	assert_int_equal(crc32(0, "", 0), 0);
}

/* --- names ----------------------------------------------------------------- */

static void labels_become_utf16(void **state)
{
	static const struct {
		const char *label;
		size_t n;
		uint16_t units[GPT_NAME_UNITS + 1];
	} cases[] = {
		{ "", 0, { 0 } },
		{ "ab", 2, { 'a', 'b' } },
		{ "\xc3\xa4\xe2\x82\xac", 2, { 0xe4, 0x20ac } },
		{ "\xf0\x9f\x92\xbe", 2, { 0xd83d, 0xdcbe } },
		{ "\xf4\x8f\xbf\xbf", 2, { 0xdbff, 0xdfff } },
		{ "\xf0\x90\x80\x80", 2, { 0xd800, 0xdc00 } },
		{ "\xef\xbf\xbd", 1, { 0xfffd } },
	};
	uint16_t name[GPT_NAME_UNITS];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(gpt_name(cases[i].label, name), 0);
		assert_memory_equal(name, cases[i].units, sizeof(name));
	}
}

static void long_labels_are_cut_between_characters(void **state)
{
	uint16_t name[GPT_NAME_UNITS];

	(void)state;
	assert_int_equal(gpt_name("123456789012345678901234567890123456789", name), 0);
	assert_int_equal(name[35], '6');
	/* A pair that would not fit, and nothing after it either. */
	assert_int_equal(gpt_name("12345678901234567890123456789012345\xf0\x9f\x92\xbe"
				  "x",
				  name),
			 0);
	assert_int_equal(name[34], '5');
	assert_int_equal(name[35], 0);
	assert_int_equal(gpt_name("1234567890123456789012345678901234\xf0\x9f\x92\xbe"
				  "x",
				  name),
			 0);
	assert_int_equal(name[34], 0xd83d);
	assert_int_equal(name[35], 0xdcbe);
}

static void labels_that_are_not_utf8_are_refused(void **state)
{
	uint16_t name[GPT_NAME_UNITS] = { 7 };

	(void)state;
	assert_int_equal(gpt_name("a\xff", name), -EINVAL);
	assert_int_equal(gpt_name("\xed\xa0\xbd", name), -EINVAL);
	assert_int_equal(gpt_name("123456789012345678901234567890123456\xc3", name),
			 -EINVAL);
	assert_int_equal(name[0], 7);
}

/* --- GUIDs ----------------------------------------------------------------- */

static void guids_are_mixed_endian(void **state)
{
	static const unsigned char want[16] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44,
						0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb,
						0xcc, 0xdd, 0xee, 0xff };
	struct guid g = guid("00112233-4455-6677-8899-AABBccddeeff");
	char text[GUID_TEXT_LEN + 1];

	(void)state;
	assert_memory_equal(g.b, want, 16);
	g = guid("00112233445566778899aabbccddeeff");
	assert_memory_equal(g.b, want, 16);
	guid_format(&g, text);
	assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
	g = guid("0FC63DAF-8483-4772-8E79-3D69D8477DE4");
	assert_memory_equal(&g, &gpt_type_linux, sizeof(g));
	g = guid("C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
	assert_memory_equal(&g, &gpt_type_efi, sizeof(g));
}

static void what_is_no_guid_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"writable",
		"00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899-aabbccddeeff0",
		"00112233-4455-6677-8899aabbccddeeff",
		"001122334455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-aabbccddeefg",
		"{00112233-4455-6677-8899-aabbccddeeff}",
		"-00112233-4455-6677-8899-aabbccddeeff",
		"0011223344556677 899aabbccddeeff",
	};
	struct guid g;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(guid_parse(cases[i], &g), -EINVAL);
}

static void random_guids_differ(void **state)
{
	struct guid a, b;
	char text[GUID_TEXT_LEN + 1];

	(void)state;
	assert_int_equal(guid_random(&a, NULL), 0);
	assert_int_equal(guid_random(&b, NULL), 0);
	assert_memory_not_equal(&a, &b, sizeof(a));
	assert_false(guid_is_zero(&a));
	guid_format(&a, text);
	assert_int_equal(text[14], '4');
	assert_non_null(strchr("89ab", text[19]));
}

/* --- reading --------------------------------------------------------------- */

static void what_is_written_is_read(void **state)
{
	struct image *im = *state;
	struct gpt *g = calloc(1, sizeof(*g));
	struct err err = { "" };

	if (reread(im, g, &err) < 0)
		fail_msg("%s", err.msg);
	assert_memory_equal(g, &im->gpt, sizeof(*g));
	/* A full table, and an empty one. */
	im->gpt.n = GPT_PARTS;
	im->gpt.blocks = im->blocks = 80 + GPT_PARTS;
	for (unsigned i = 0; i < GPT_PARTS; i++) {
		im->gpt.part[i] = im->gpt.part[0];
		im->gpt.part[i].first = im->gpt.part[i].last = 40 + i;
		im->gpt.part[i].guid.b[0] = (uint8_t)i;
	}
	gpt_write(&im->gpt, im->head, im->tail);
	assert_int_equal(reread(im, g, &err), 0);
	assert_memory_equal(g, &im->gpt, sizeof(*g));
	im->gpt.n = 0;
	im->gpt.blocks = im->blocks = 80;
	gpt_write(&im->gpt, im->head, im->tail);
	assert_int_equal(reread(im, g, &err), 0);
	assert_int_equal(g->n, 0);
	free(g);
}

/* Make the checksums right again. */
static void fix(struct image *im)
{
	unsigned char *headers[] = { im->head + 512, im->tail + GPT_AREA_LEN - 512 };
	const unsigned char *tables[] = { im->head + 1024, im->tail + 0xe00 };

	for (int i = 0; i < 2; i++) {
		unsigned char *h = headers[i];
		uint32_t len = le32_get(h + 12);

		if (le32_get(h + 80) <= 128)
			le32_put(h + 88, crc32(0, tables[i], le32_get(h + 80) * 128));
		le32_put(h + 16, 0);
		if (len <= 512)
			le32_put(h + 16, crc32(0, h, len));
	}
}

enum { HEAD = 512, TAIL_HEAD = GPT_AREA_LEN - 512, TABLE = 1024 };

static void every_fault_is_found(void **state)
{
	static const struct {
		bool tail, fix;
		unsigned off, len;
		uint64_t value;
		const char *why;
	} cases[] = {
		{ false, false, 510, 1, 0, "no protective MBR" },
		{ false, false, 511, 1, 0, "no protective MBR" },
		{ false, false, 450, 1, 0x83, "no protective MBR" },
		{ false, false, 454, 1, 2, "no protective MBR" },
		{ false, false, 458, 4, BLOCKS, "says 104 blocks instead of 103" },
		{ false, false, 446 + 16 + 4, 1, 0x83, "partitions of its own" },
		{ false, false, 446 + 48 + 4, 1, 0x83, "partitions of its own" },
		{ false, false, HEAD, 1, 'F', "has no primary GPT header" },
		{ true, false, TAIL_HEAD, 1, 'F', "has no backup GPT header" },
		{ false, true, HEAD + 8, 4, 0x20000, "revision is not known" },
		{ false, true, HEAD + 12, 4, 91, "revision is not known" },
		{ false, true, HEAD + 12, 4, 513, "revision is not known" },
		{ false, false, HEAD + 56, 1, 1, "primary GPT header: wrong checksum" },
		{ true, false, TAIL_HEAD + 56, 1, 1,
		  "backup GPT header: wrong checksum" },
		{ false, true, HEAD + 24, 8, 2, "not where it says" },
		{ false, true, HEAD + 32, 8, 2, "not where it says" },
		{ true, true, TAIL_HEAD + 32, 8, 2, "not where it says" },
		{ false, true, HEAD + 72, 8, 3, "table is not beside it" },
		{ true, true, TAIL_HEAD + 72, 8, 2, "table is not beside it" },
		{ false, true, HEAD + 80, 4, 129, "129 entries of 128 bytes" },
		{ false, true, HEAD + 80, 4, 0, "0 entries" },
		{ false, true, HEAD + 84, 4, 256, "128 entries of 256 bytes" },
		{ false, true, HEAD + 40, 8, 33, "wrong usable blocks" },
		{ false, true, HEAD + 40, 8, BLOCKS, "wrong usable blocks" },
		{ false, true, HEAD + 48, 8, BLOCKS - 33, "wrong usable blocks" },
		{ false, true, HEAD + 48, 8, UINT64_MAX, "wrong usable blocks" },
		{ false, false, TABLE + 60, 1, 1, "primary GPT table: wrong checksum" },
		{ true, false, 0xe00 + 60, 1, 1, "backup GPT table: wrong checksum" },
		{ false, true, TABLE + 56, 1, 'R', "headers differ" },
		{ false, true, HEAD + 56, 1, 9, "headers differ" },
		{ true, true, TAIL_HEAD + 48, 8, 66, "headers differ" },
	};
	struct image *im = *state;
	struct gpt *g = calloc(1, sizeof(*g));

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned char value[8];
		struct err err = { "" };
		int r;

		gpt_write(&im->gpt, im->head, im->tail);
		le64_put(value, cases[i].value);
		memcpy((cases[i].tail ? im->tail : im->head) + cases[i].off, value,
		       cases[i].len);
		if (cases[i].fix)
			fix(im);
		r = reread(im, g, &err);
		if (r >= 0 || !strstr(err.msg, cases[i].why))
			fail_msg("case %zu: %d %s", i, r, err.msg);
		assert_int_equal(g->blocks, 0);
	}
	free(g);
}

static void bad_partitions_are_found(void **state)
{
	static const struct {
		uint64_t first, last;
		bool same_guid;
		const char *why;
	} cases[] = {
		{ 47, 50, false, "partitions 1 and 2 overlap" },
		{ 40, 47, false, "overlap" },
		{ 43, 44, false, "overlap" },
		{ 50, 49, false, "partition 2 is outside" },
		{ 33, 33, false, "outside" },
		{ 60, BLOCKS - 33, false, "outside" },
		{ 60, UINT64_MAX, false, "outside" },
		{ 48, 49, true, "partitions 1 and 2 have the same GUID" },
	};
	struct image *im = *state;
	struct gpt *g = calloc(1, sizeof(*g));

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = { "" };

		im->gpt.part[1].first = cases[i].first;
		im->gpt.part[1].last = cases[i].last;
		if (cases[i].same_guid)
			im->gpt.part[1].guid = im->gpt.part[0].guid;
		gpt_write(&im->gpt, im->head, im->tail);
		assert_int_equal(reread(im, g, &err), -EINVAL);
		if (!strstr(err.msg, cases[i].why))
			fail_msg("case %zu: %s", i, err.msg);
	}
	free(g);
}

static void impossible_sizes_and_failing_reads_end_it(void **state)
{
	struct image *im = *state;
	struct err err = { "" };
	struct gpt g;

	assert_int_equal(gpt_read(read_image, im, 79, &g, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too small"));
	assert_int_equal(gpt_read(read_image, im, UINT64_MAX, &g, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "too large"));
	im->fail = -EIO;
	assert_int_equal(reread(im, &g, &err), -EIO);
	assert_non_null(strstr(err.msg, "cannot read block 0"));
}

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(sizes_are_those_of_the_format),
		IMAGE_TEST(headers_refer_to_each_other),
		IMAGE_TEST(protective_mbr_covers_the_disk),
		cmocka_unit_test(checksum_is_the_usual_one),
		cmocka_unit_test(labels_become_utf16),
		cmocka_unit_test(long_labels_are_cut_between_characters),
		cmocka_unit_test(labels_that_are_not_utf8_are_refused),
		cmocka_unit_test(guids_are_mixed_endian),
		cmocka_unit_test(what_is_no_guid_is_refused),
		cmocka_unit_test(random_guids_differ),
		IMAGE_TEST(what_is_written_is_read),
		IMAGE_TEST(every_fault_is_found),
		IMAGE_TEST(bad_partitions_are_found),
		IMAGE_TEST(impossible_sizes_and_failing_reads_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
