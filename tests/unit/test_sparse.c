/* Android sparse images: what is read, what is refused; img2simg as the judge. */
#include "disk/sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/disk_io.h"
#include "tests/unit/image_fixture.h"

#define BLOCK 4096u

static const struct disk_cfg cfg = { .path = "img",
				     .read_only = true,
				     .format = DISK_SPARSE };

/* What image_sparse() means, allocated. */
static unsigned char *expected(const char *chunks, unsigned seed, size_t *ret_len)
{
	unsigned char *p = calloc(2 * strlen(chunks) + 1, BLOCK);
	size_t at = 0;

	for (const char *c = chunks; *c; c++) {
		if (*c == 'R')
			for (size_t i = 0; i < BLOCK; i++)
				p[at + i] = image_pattern_byte(at + i, seed);
		if (*c == 'F')
			for (size_t i = 0; i < 2 * BLOCK; i++)
				p[at + i] = (unsigned char)IMAGE_SPARSE_FILL[i & 3];
		at += *c == 'C' ? 0 : *c == 'F' ? 2 * BLOCK : BLOCK;
	}
	*ret_len = at;
	return p;
}

/* Random ranges in two buffers each, compared. */
static void compare(struct disk *d, const unsigned char *want, size_t len)
{
	unsigned char *buf = malloc(len);

	assert_int_equal(d->size, len);
	assert_int_equal(io_read(d, 0, buf, len), 0);
	assert_memory_equal(buf, want, len);
	for (int i = 0; i < 500; i++) {
		size_t off = (size_t)rand() % len;
		size_t n = 1 + (size_t)rand() % (len - off);
		size_t cut = (size_t)rand() % n;
		struct iovec v[] = { { buf, cut }, { buf + cut, n - cut } };

		memset(buf, 0xee, n);
		assert_int_equal(io_vector(d, DISK_READ, off, v, 2), 0);
		assert_memory_equal(buf, want + off, n);
	}
	free(buf);
}

static void read_all(enum engine_kind kind)
{
	static const char *const cases[] = { "R",	"N",
					     "F",	"RFNRFN",
					     "RRRR",	"NNRNNFFR",
					     "CRCFCNC", "FRFRFRFRFRFRFRFRFR" };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct disk *d;
		unsigned char *want;
		size_t len;

		image_sparse("img", cases[i], i);
		want = expected(cases[i], i, &len);
		d = image_open(&cfg);
		io_attach(d, kind);
		compare(d, want, len);
		io_close(d);
		free(want);
	}
}

static void chunks_are_read_uring(void **state)
{
	(void)state;
	read_all(ENGINE_URING);
}

static void chunks_are_read_sync(void **state)
{
	(void)state;
	read_all(ENGINE_SYNC);
}

static void it_is_read_only(void **state)
{
	struct disk_cfg rw = cfg;
	struct disk *d;

	(void)state;
	image_sparse("img", "RF", 1);
	d = image_open(&cfg);
	io_attach(d, ENGINE_SYNC);
	assert_true(d->read_only);
	assert_int_equal(io_write(d, 0, "x", 1), -EROFS);
	assert_int_equal(io_range(d, DISK_ZERO, false, 0, 512), -EROFS);
	assert_int_equal(io_flush(d), 0);
	io_close(d);
	rw.read_only = false;
	image_refused(&rw, -EROFS, "can only be read: add ro=true", NULL);
}

static void file_that_shrinks_later_gives_errors_there_only(void **state)
{
	unsigned char buf[BLOCK];
	struct disk *d;

	(void)state;
	image_sparse("img", "RFR", 1);
	d = image_open(&cfg);
	io_attach(d, ENGINE_SYNC);
	assert_int_equal(truncate("img", 28 + 12 + BLOCK), 0);
	assert_int_equal(io_read(d, 0, buf, BLOCK), 0);
	assert_int_equal(io_read(d, BLOCK, buf, BLOCK), 0);
	assert_int_equal(io_read(d, 3 * BLOCK, buf, BLOCK), -EIO);
	io_close(d);
}

static void broken_images_are_refused(void **state)
{
	/* Of "RFN": header 28, R 12 + 4096, F 12 + 4, N 12. */
	enum { R = 28, F = R + 12 + BLOCK, N = F + 16 };
	static const struct {
		unsigned off, len;
		uint32_t value;
		const char *why;
	} cases[] = {
		{ 0, 1, 0, "is not an Android sparse image" },
		{ 4, 2, 2, "version 2" },
		{ 4, 2, 0, "version 0" },
		{ 8, 2, 27, "unknown lengths" },
		{ 10, 2, 16, "unknown lengths" },
		{ 12, 4, 0, "block size 0" },
		{ 12, 4, 4098, "block size 4098" },
		{ 12, 4, 4092, "wrong length" },
		{ 16, 4, 0, "is empty" },
		{ 16, 4, 3, "exceed its size" },
		{ 16, 4, 5, "do not fill its size" },
		{ 20, 4, 2, "do not fill its size" },
		{ 20, 4, 4, "cannot read a chunk's header" },
		{ R, 2, 0xcac0, "unknown type" },
		{ R, 2, 0xcac5, "unknown type" },
		{ R + 4, 4, 2, "wrong length" },
		{ R + 4, 4, 0xffffffff, "wrong length" },
		{ R + 8, 4, 11, "wrong length" },
		{ R + 8, 4, 0, "wrong length" },
		{ F + 8, 4, 12, "wrong length" },
		{ F + 4, 4, 0xffffffff, "exceed its size" },
		{ N + 8, 4, 16, "wrong length" },
		{ N, 2, 0xcac4, "wrong length" },
		{ N, 2, 0xcac1, "wrong length" },
	};
	unsigned char *good;
	size_t len;

	(void)state;
	image_sparse("img", "RFN", 1);
	good = image_read("img", &len);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned char *bad = malloc(len), value[4];

		memcpy(bad, good, len);
		le32_put(value, cases[i].value);
		memcpy(bad + cases[i].off, value, cases[i].len);
		image_file("img", bad, len);
		free(bad);
		if (strstr(cases[i].why, "cannot read"))
			image_refused(&cfg, -ENODATA, cases[i].why, NULL);
		else
			image_refused(&cfg, -EINVAL, cases[i].why, NULL);
	}
	/* Cut anywhere. */
	for (size_t cut = 1; cut < len; cut += cut < 28 || cut > F ? 1 : 97) {
		image_file("img", good, cut);
		image_refused(&cfg, cut < R + 12 || cut >= F ? -ENODATA : -EINVAL,
			      cut < R + 12 || cut >= F ? "cannot read" : "ends within",
			      NULL);
	}
	free(good);
}

/* 2^32 - 1 blocks of 2^32 - 4 bytes would be too large; 2^63 - 1 is the limit. */
static void sizes_are_limited(void **state)
{
	unsigned char header[28 + 12] = SPARSE_MAGIC "\1\0\0\0\x1c\0\x0c\0";
	struct disk *d;

	(void)state;
	le32_put(header + 12, 0xfffffffc);
	le32_put(header + 16, 0xffffffff);
	image_file("img", header, sizeof(header));
	image_refused(&cfg, -EINVAL, "is too large", NULL);
	le32_put(header + 12, 0x7ffffffc);
	le32_put(header + 16, 0xffffffff);
	le32_put(header + 20, 1);
	le16_put(header + 28, 0xcac3);
	le32_put(header + 32, 0xffffffff);
	le32_put(header + 36, 12);
	image_file("img", header, sizeof(header));
	d = image_open(&cfg);
	assert_int_equal(d->size, 0x7ffffffcull * 0xffffffff);
	disk_close(d);
}

static void long_headers_are_skipped(void **state)
{
	unsigned char image[40 + 12] = SPARSE_MAGIC "\1\0\0\0\x28\0\x0c\0";
	struct disk *d;

	(void)state;
	le32_put(image + 12, 512);
	le32_put(image + 16, 1);
	le32_put(image + 20, 1);
	le16_put(image + 40, 0xcac3);
	le32_put(image + 44, 1);
	le32_put(image + 48, 12);
	image_file("img", image, sizeof(image));
	d = image_open(&cfg);
	assert_int_equal(d->size, 512);
	disk_close(d);
}

static void img2simg_agrees(void **state)
{
	enum { LEN = 64 * BLOCK };
	unsigned char *want = calloc(1, LEN);
	struct disk *d;

	(void)state;
	if (system("command -v img2simg >/dev/null") != 0) {
		free(want);
		print_message(
			"img2simg (package android-sdk-libsparse-utils) is not installed\n");
		skip();
	}
	for (unsigned i = 0; i < LEN; i++) {
		unsigned kind = i / BLOCK % 7;

		want[i] = kind < 3 ? image_pattern_byte(i, 5) : kind == 3 ? 0x77 : 0;
	}
	image_file("flat", want, LEN);
	assert_int_equal(system("img2simg flat img"), 0);
	d = image_open(&cfg);
	io_attach(d, ENGINE_SYNC);
	compare(d, want, LEN);
	io_close(d);
	free(want);
}

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(chunks_are_read_uring),
		IMAGE_TEST(chunks_are_read_sync),
		IMAGE_TEST(it_is_read_only),
		IMAGE_TEST(file_that_shrinks_later_gives_errors_there_only),
		IMAGE_TEST(broken_images_are_refused),
		IMAGE_TEST(sizes_are_limited),
		IMAGE_TEST(long_headers_are_skipped),
		IMAGE_TEST(img2simg_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
