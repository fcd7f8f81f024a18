/* Making composite disks: the layout, the files, the command line. */
#include "disk/composite_create.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "disk/composite.h"
#include "disk/format.h"
#include "disk/proto.h"
#include "tests/unit/disk_io.h"
#include "tests/unit/image_fixture.h"

static const struct composite_names names = { "hdr", "ftr", "fill" };

static const char guid_a[] = "11111111-2222-4333-8444-555555555555";

/* --- layout ---------------------------------------------------------------- */

static struct composite_image *build(const struct composite_source *s, size_t n,
				     struct proto_composite *ret)
{
	struct composite_image *im = NULL;
	struct err err = { "" };

	if (composite_build(s, n, &names, &im, &err) < 0)
		fail_msg("%s", err.msg);
	assert_memory_equal(im->spec, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN);
	assert_int_equal(proto_decode(im->spec + COMPOSITE_MAGIC_LEN,
				      im->spec_len - COMPOSITE_MAGIC_LEN, ret, &err),
			 0);
	assert_int_equal(ret->version, 2);
	assert_int_equal(ret->length, im->size);
	return im;
}

static void is_component(const struct proto_component *c, const char *path,
			 uint64_t offset, bool writable)
{
	assert_string_equal(c->path, path);
	assert_int_equal(c->offset, offset);
	assert_int_equal(c->file_offset, 0);
	assert_int_equal(c->writable, writable);
}

static void empty_disk_is_its_tables(void **state)
{
	struct proto_composite c;
	struct composite_image *im = build(NULL, 0, &c);

	(void)state;
	assert_int_equal(c.n, 2);
	is_component(&c.components[0], "hdr", 0, false);
	is_component(&c.components[1], "ftr", 0x5000, false);
	assert_int_equal(im->size, 0xa000);
	proto_free(&c);
	composite_image_free(im);
}

static void partitions_are_placed_on_4_kib(void **state)
{
	static const struct composite_source s[] = {
		{ .label = "partition1", .path = "p1", .size = 4000 },
		{ .label = "partition2", .path = "p2", .size = 4096, .writable = true },
	};
	struct proto_composite c;
	struct composite_image *im = build(s, 2, &c);

	(void)state;
	assert_int_equal(c.n, 5);
	is_component(&c.components[0], "hdr", 0, false);
	is_component(&c.components[1], "p1", 0x5000, false);
	is_component(&c.components[2], "fill", 0x5fa0, false);
	is_component(&c.components[3], "p2", 0x6000, true);
	is_component(&c.components[4], "ftr", 0x7000, false);
	assert_int_equal(im->size, 0xc000);
	proto_free(&c);
	composite_image_free(im);
}

struct ends {
	const struct composite_image *im;
};

static int read_ends(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct composite_image *im = ((struct ends *)arg)->im;
	uint64_t tail = im->size - GPT_AREA_LEN;

	if (range_within(off, len, GPT_AREA_LEN))
		memcpy(buf, im->header + off, len);
	else if (off >= tail && range_within(off - tail, len, GPT_AREA_LEN))
		memcpy(buf, im->footer + (off - tail), len);
	else
		return -EIO;
	return 0;
}

static void tables_hold_the_partitions(void **state)
{
	struct composite_source s[3] = {
		{ .label = "one", .path = "p1", .size = 1 },
		{ .label = "\xc3\xa4", .path = "p2", .size = 8192, .writable = true },
		{ .label = "efi", .path = "p3", .size = 512, .type = gpt_type_efi },
	};
	struct gpt *g = calloc(1, sizeof(*g));
	struct proto_composite c;
	struct composite_image *im;
	struct err err = { "" };
	struct ends ends;

	(void)state;
	assert_int_equal(guid_parse(guid_a, &s[1].guid), 0);
	ends.im = im = build(s, 3, &c);
	if (gpt_read(read_ends, &ends, im->size / 512, g, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(g->n, 3);
	assert_int_equal(g->part[0].first, 40);
	assert_int_equal(g->part[0].last, 47);
	assert_int_equal(g->part[1].first, 48);
	assert_int_equal(g->part[1].last, 63);
	assert_int_equal(g->part[1].name[0], 0xe4);
	assert_memory_equal(&g->part[1].guid, &s[1].guid, sizeof(struct guid));
	assert_memory_equal(&g->part[1].type, &gpt_type_linux, sizeof(struct guid));
	assert_memory_equal(&g->part[2].type, &gpt_type_efi, sizeof(struct guid));
	assert_false(guid_is_zero(&g->part[0].guid));
	proto_free(&c);
	composite_image_free(im);
	free(g);
}

static void up_to_128_partitions(void **state)
{
	static struct composite_source s[GPT_PARTS + 1];
	static char labels[GPT_PARTS + 1][8];
	struct composite_image *im = NULL;
	struct proto_composite c;
	struct err err = { "" };

	(void)state;
	for (unsigned i = 0; i <= GPT_PARTS; i++) {
		snprintf(labels[i], sizeof(labels[i]), "p%u", i);
		s[i] = (struct composite_source){ labels[i], "f",	1,
						  false,     { { 0 } }, { { 0 } } };
	}
	im = build(s, GPT_PARTS, &c);
	assert_int_equal(c.n, 2 * GPT_PARTS + 2);
	proto_free(&c);
	composite_image_free(im);
	im = NULL;
	assert_int_equal(composite_build(s, GPT_PARTS + 1, &names, &im, &err), -EINVAL);
	assert_null(im);
	assert_non_null(strstr(err.msg, "129 partitions"));
}

static void what_cannot_be_laid_out_is_refused(void **state)
{
	static const char long_a[] = "123456789012345678901234567890123456A";
	static const char long_b[] = "123456789012345678901234567890123456B";
	struct guid g;
	struct {
		struct composite_source s[2];
		const char *why;
	} cases[] = {
		{ { { .label = "a", .path = "f", .size = 0 } },
		  "partition a: f is empty" },
		{ { { .label = "", .path = "f", .size = 1 } }, "needs a label" },
		{ { { .label = "a", .path = "", .size = 1 } }, "needs a label" },
		{ { { .label = "a", .path = "f", .size = 4095, .writable = true } },
		  "partition a: f is writable" },
		{ { { .label = "a", .path = "f", .size = UINT64_MAX } }, "too large" },
		{ { { .label = "a", .path = "f", .size = INT64_MAX - 0xefff } },
		  "too large" },
		{ { { .label = "a", .path = "f", .size = 1ull << 62 },
		    { .label = "b", .path = "f", .size = 1ull << 62 } },
		  "partition b: is too large" },
		{ { { .label = "\xff", .path = "f", .size = 1 } },
		  "label is not UTF-8" },
		{ { { .label = "a", .path = "f\xff", .size = 1 } }, "not valid UTF-8" },
		{ { { .label = "a", .path = "f", .size = 1 },
		    { .label = "a", .path = "g", .size = 1 } },
		  "partition a: another one has the same label" },
		{ { { .label = long_a, .path = "f", .size = 1 },
		    { .label = long_b, .path = "g", .size = 1 } },
		  "same label in its first 36" },
		{ { { .label = "a", .path = "f", .size = 1 },
		    { .label = "b", .path = "g", .size = 1 } },
		  "partition b: another one has the same GUID" },
	};

	(void)state;
	assert_int_equal(guid_parse(guid_a, &g), 0);
	cases[ARRAY_SIZE(cases) - 1].s[0].guid = g;
	cases[ARRAY_SIZE(cases) - 1].s[1].guid = g;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct composite_image *im = NULL;
		struct err err = { "" };
		size_t n = cases[i].s[1].label ? 2 : 1;

		assert_int_equal(composite_build(cases[i].s, n, &names, &im, &err),
				 -EINVAL);
		assert_null(im);
		if (!strstr(err.msg, cases[i].why))
			fail_msg("case %zu: %s", i, err.msg);
	}
}

/* --- files ----------------------------------------------------------------- */

static struct disk *open_made(const char *path)
{
	const struct disk_cfg cfg = { .path = path, .format = DISK_COMPOSITE };
	struct disk *d = image_open(&cfg);

	io_attach(d, ENGINE_SYNC);
	return d;
}

static int read_disk(void *arg, uint64_t off, void *buf, size_t len)
{
	return io_read(arg, off, buf, len);
}

static void create_ok(const char *path, const struct composite_source *s, size_t n)
{
	struct err err = { "" };

	if (composite_create(path, s, n, &err) < 0)
		fail_msg("%s", err.msg);
}

static void made_disk_is_read_back(void **state)
{
	static const struct composite_source s[] = {
		{ .label = "a", .path = "a.img" },
		{ .label = "b", .path = "b.img", .writable = true },
		{ .label = "s", .path = "s.img" },
	};
	struct gpt *g = calloc(1, sizeof(*g));
	unsigned char buf[4096];
	struct err err = { "" };
	struct stat st;
	struct disk *d;

	(void)state;
	image_pattern("a.img", 4000, 1);
	image_pattern("b.img", 8192, 2);
	image_sparse("s.img", "RF", 3);
	create_ok("disk.img", s, 3);
	assert_int_equal(stat("disk.img.filler", &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(stat("disk.img.header", &st), 0);
	assert_int_equal(st.st_size, 0x5000);
	assert_int_equal(stat("disk.img.footer", &st), 0);
	assert_int_equal(st.st_size, 0x5000);
	d = open_made("disk.img");
	assert_int_equal(d->size, 0x5000 + 4096 + 8192 + 12288 + 0x5000);
	if (gpt_read(read_disk, d, d->size / 512, g, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(g->n, 3);
	assert_int_equal(io_read(d, g->part[0].first * 512, buf, 4096), 0);
	assert_int_equal(buf[3999], image_pattern_byte(3999, 1));
	assert_int_equal(buf[4000], 0);
	assert_int_equal(buf[4095], 0);
	assert_int_equal(io_write(d, g->part[0].first * 512, buf, 512), -EROFS);
	assert_int_equal(io_write(d, g->part[1].first * 512, "new", 3), 0);
	assert_int_equal(io_read(d, g->part[2].first * 512 + 4096, buf, 4), 0);
	assert_memory_equal(buf, IMAGE_SPARSE_FILL, 4);
	io_close(d);
	free(g);
}

/* Everything relative to another folder than the image's; then, from anywhere. */
static void made_disk_works_from_anywhere(void **state)
{
	static const struct composite_source s[] = { { .label = "a",
						       .path = "data/a.img" } };
	char here[128];

	(void)state;
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(mkdir("data", 0700), 0);
	assert_int_equal(mkdir("out", 0700), 0);
	image_pattern("data/a.img", 4096, 1);
	create_ok("out/disk.img", s, 1);
	create_ok("near.img", s, 1);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(chdir(here), 0);
	io_close(open_made("out/disk.img"));
	assert_int_equal(chdir("out"), 0);
	io_close(open_made("disk.img"));
	io_close(open_made("../near.img"));
	assert_int_equal(chdir(".."), 0);
	/* Beside each other, they move together. */
	assert_int_equal(system("mkdir moved && mv near.img* data moved"), 0);
	io_close(open_made("moved/near.img"));
}

static void made_disk_may_name_descriptors(void **state)
{
	struct composite_source s = { .label = "a", .writable = true };
	int fd;

	(void)state;
	image_pattern("a.img", 4096, 1);
	fd = image_fd("a.img", O_RDWR);
	s.path = image_fd_path(fd);
	create_ok("disk.img", &s, 1);
	assert_int_equal(unlink("a.img"), 0);
	io_close(open_made("disk.img"));
	close(fd);
}

/* How many files there are in the current folder. */
static int count_files(void)
{
	FILE *f = popen("ls -A | wc -l", "r");
	int n = -1;

	assert_int_equal(fscanf(f, "%d", &n), 1);
	pclose(f);
	return n;
}

static void fails(const char *path, const struct composite_source *s, size_t n,
		  int code, const char *why)
{
	struct err err = { "" };
	int r, files = count_files();

	r = composite_create(path, s, n, &err);
	if (r != code || !strstr(err.msg, why))
		fail_msg("%d instead of %d, \"%s\" instead of \"%s\"", r, code, err.msg,
			 why);
	assert_int_equal(count_files(), files);
}

static void nothing_is_left_behind_on_failure(void **state)
{
	const struct composite_source missing = { .label = "a", .path = "missing" };
	const struct composite_source a = { .label = "a", .path = "a.img" };
	const struct composite_source odd = { .label = "o",
					      .path = "odd.img",
					      .writable = true };
	const struct composite_source qcow2 = { .label = "q", .path = "q.img" };
	const struct composite_source empty = { .label = "e", .path = "empty.img" };
	const struct composite_source twice[] = { a, a };

	(void)state;
	image_pattern("a.img", 4096, 1);
	image_pattern("odd.img", 100, 1);
	image_file("empty.img", "", 0);
	image_file("q.img", "QFI\xfb", 4);
	fails("disk.img", &missing, 1, -ENOENT, "partition a: image missing: No such");
	fails("disk.img", &odd, 1, -EINVAL, "partition o: odd.img is writable");
	fails("disk.img", &empty, 1, -EINVAL, "partition e: image empty.img: is empty");
	fails("disk.img", &qcow2, 1, -ENOTSUP, "partition q: image q.img: is a qcow2");
	fails("disk.img", twice, 2, -EINVAL, "same label");
	fails("nowhere/disk.img", &a, 1, -ENOENT, "nowhere/disk.img");
	fails("sub/", &a, 1, -EINVAL, "must be the name of a file");
	fails("/proc/self/fd/1", &a, 1, -EINVAL, "must be the name of a file");
	/* What is there already, and is not ours to replace. */
	fails("a.img", &a, 1, -EEXIST, "a.img: is the file of partition a");
	assert_int_equal(mkdir("dir", 0700), 0);
	fails("dir", &a, 1, -EEXIST, "dir: is there, and is not a regular file");
	assert_int_equal(mkdir("disk.img.footer", 0700), 0);
	fails("disk.img", &a, 1, -EEXIST, "disk.img.footer: is there");
}

static void partition_named_like_an_output_is_not_overwritten(void **state)
{
	static const struct composite_source s[] = { { .label = "h",
						       .path = "disk.img.header" } };
	struct stat st;

	(void)state;
	image_pattern("disk.img.header", 4096, 1);
	fails("disk.img", s, 1, -EEXIST, "is the file of partition h");
	assert_int_equal(stat("disk.img.header", &st), 0);
	assert_int_equal(st.st_size, 4096);
}

static void older_image_is_replaced(void **state)
{
	static const struct composite_source s[] = { { .label = "a",
						       .path = "a.img" } };
	struct disk *d;
	int files;

	(void)state;
	image_pattern("a.img", 4096, 1);
	create_ok("disk.img", s, 1);
	files = count_files();
	assert_int_equal(files, 5);
	create_ok("disk.img", s, 0);
	assert_int_equal(count_files(), files);
	d = open_made("disk.img");
	assert_int_equal(d->size, 0xa000);
	io_close(d);
}

static void other_files_are_not_replaced(void **state)
{
	static const struct composite_source s = { .label = "a", .path = "a.img" };
	struct stat st;

	(void)state;
	image_pattern("a.img", 4096, 1);
	image_pattern("notes", 100, 2);
	fails("notes", &s, 1, -EEXIST, "image notes: is there, and is not of a");
	image_pattern("disk.img.footer", 100, 3);
	fails("disk.img", &s, 1, -EEXIST, "disk.img.footer: is there, and is not");
	assert_int_equal(stat("notes", &st), 0);
	assert_int_equal(st.st_size, 100);
	/* An empty one, as mktemp makes it, is no loss. */
	image_file("disk.img.footer", "", 0);
	image_file("disk.img", "", 0);
	create_ok("disk.img", &s, 1);
	io_close(open_made("disk.img"));
}

static void writable_file_is_in_one_partition_only(void **state)
{
	struct composite_source s[] = {
		{ .label = "a", .path = "a.img", .writable = true },
		{ .label = "b", .path = "b.img", .writable = true },
		{ .label = "c", .path = "./link.img" },
	};

	(void)state;
	image_pattern("a.img", 4096, 1);
	image_pattern("b.img", 4096, 2);
	assert_int_equal(symlink("a.img", "link.img"), 0);
	fails("disk.img", s, 3, -EINVAL,
	      "partition c: ./link.img is the file of partition a, too");
	s[2].writable = true;
	fails("disk.img", s, 3, -EINVAL, "so neither may be writable");
	s[0].writable = s[2].writable = false;
	create_ok("disk.img", s, 3);
	io_close(open_made("disk.img"));
}

/* --- the command line ------------------------------------------------------ */

static void arguments_are_parsed(void **state)
{
	static const struct {
		const char *text, *label, *path;
		bool writable, guid;
	} cases[] = {
		{ "l:f", "l", "f", false, false },
		{ "l:/a/b c", "l", "/a/b c", false, false },
		{ "l:f:writable", "l", "f", true, false },
		{ "l:f:writable:11111111-2222-4333-8444-555555555555", "l", "f", true,
		  true },
		{ "l:f::11111111-2222-4333-8444-555555555555", "l", "f", false, true },
		{ "l:f::11111111222243338444555555555555", "l", "f", false, true },
		{ "l:f:", "l", "f", false, false },
	};
	struct guid want;

	(void)state;
	assert_int_equal(guid_parse(guid_a, &want), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = strdup(cases[i].text);
		struct composite_source s;
		struct err err = { "" };

		if (composite_source_parse(text, &s, &err) < 0)
			fail_msg("%s: %s", cases[i].text, err.msg);
		assert_string_equal(s.label, cases[i].label);
		assert_string_equal(s.path, cases[i].path);
		assert_int_equal(s.writable, cases[i].writable);
		assert_int_equal(guid_is_zero(&s.guid), !cases[i].guid);
		if (cases[i].guid)
			assert_memory_equal(&s.guid, &want, sizeof(want));
	}
}

static void wrong_arguments_are_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "must be LABEL:FILE" },
		{ "l", "must be LABEL:FILE" },
		{ ":f", "must be LABEL:FILE" },
		{ "l:", "must be LABEL:FILE" },
		{ "l:f:11111111-2222-4333-8444-555555555555", "only \"writable\"" },
		{ "l:f:Writable", "only \"writable\"" },
		{ "l:f:writable:", "is not a GUID" },
		{ "l:f:writable:x", "x is not a GUID" },
		{ "l:f::00000000-0000-0000-0000-000000000000", "is not a GUID" },
		{ "l:f:writable:11111111-2222-4333-8444-555555555555:", "more than 4" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = strdup(cases[i].text);
		struct composite_source s;
		struct err err = { "" };

		assert_int_equal(composite_source_parse(text, &s, &err), -EINVAL);
		if (!strstr(err.msg, cases[i].why))
			fail_msg("%s: %s", cases[i].text, err.msg);
	}
}

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_disk_is_its_tables),
		cmocka_unit_test(partitions_are_placed_on_4_kib),
		cmocka_unit_test(tables_hold_the_partitions),
		cmocka_unit_test(up_to_128_partitions),
		cmocka_unit_test(what_cannot_be_laid_out_is_refused),
		IMAGE_TEST(made_disk_is_read_back),
		IMAGE_TEST(made_disk_works_from_anywhere),
		IMAGE_TEST(made_disk_may_name_descriptors),
		IMAGE_TEST(nothing_is_left_behind_on_failure),
		IMAGE_TEST(partition_named_like_an_output_is_not_overwritten),
		IMAGE_TEST(older_image_is_replaced),
		IMAGE_TEST(other_files_are_not_replaced),
		IMAGE_TEST(writable_file_is_in_one_partition_only),
		cmocka_unit_test(arguments_are_parsed),
		cmocka_unit_test(wrong_arguments_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
