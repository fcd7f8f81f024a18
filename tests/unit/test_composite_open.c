/* Composite images from their files: what they may name, and what is refused. */
#include "disk/composite.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "disk/format.h"
#include "tests/unit/disk_io.h"
#include "tests/unit/image_fixture.h"

static const struct disk_cfg rw = {
	.path = "disk.img", .format = DISK_COMPOSITE, .lock = true, .sparse = true
};
static const struct disk_cfg ro = {
	.path = "disk.img", .format = DISK_COMPOSITE, .read_only = true, .lock = true
};

static char a_img[] = "a.img", b_img[] = "b.img", c_img[] = "c.img";

/* Three files of 100 bytes, b.img read-only, in a disk of 300. */
static int setup(void **state)
{
	struct proto_component parts[] = {
		{ .path = a_img, .offset = 0, .writable = true },
		{ .path = b_img, .offset = 100 },
		{ .path = c_img, .offset = 200, .writable = true },
	};

	if (image_setup(state) < 0)
		return -1;
	image_pattern("a.img", 100, 1);
	image_pattern("b.img", 100, 2);
	image_pattern("c.img", 100, 3);
	image_composite("disk.img", 2, 300, parts, 3);
	return 0;
}

static struct disk *attach(const struct disk_cfg *cfg)
{
	struct disk *d = image_open(cfg);

	io_attach(d, ENGINE_SYNC);
	return d;
}

static void check_bytes(struct disk *d, uint64_t off, size_t file_off, unsigned seed,
			size_t len)
{
	unsigned char buf[512];

	assert_int_equal(io_read(d, off, buf, len), 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], image_pattern_byte(file_off + i, seed));
}

/* --- what is read ---------------------------------------------------------- */

static void files_are_put_end_to_end(void **state)
{
	struct disk *d = attach(&rw);
	unsigned char buf[300], *file;
	size_t len;

	(void)state;
	assert_int_equal(d->size, 300);
	assert_false(d->read_only);
	assert_string_equal(d->name, "disk.img");
	for (unsigned i = 0; i < 3; i++)
		check_bytes(d, i * 100, 0, i + 1, 100);
	memset(buf, 'w', sizeof(buf));
	assert_int_equal(io_write(d, 250, buf, 50), 0);
	assert_int_equal(io_flush(d), 0);
	file = image_read("c.img", &len);
	assert_int_equal(len, 100);
	assert_int_equal(file[49], image_pattern_byte(49, 3));
	assert_memory_equal(file + 50, buf, 50);
	free(file);
	/* The read-only component stays as it is. */
	assert_int_equal(io_write(d, 100, buf, 1), -EROFS);
	assert_int_equal(io_write(d, 50, buf, 200), -EROFS);
	check_bytes(d, 0, 0, 1, 100);
	check_bytes(d, 100, 0, 2, 100);
	io_close(d);
}

static void read_only_disk_opens_all_components_read_only(void **state)
{
	struct disk *d;

	(void)state;
	if (geteuid() != 0) /* who would not be stopped */
		assert_int_equal(chmod("a.img", 0444), 0);
	d = attach(&ro);
	assert_true(d->read_only);
	assert_int_equal(io_write(d, 0, "x", 1), -EROFS);
	check_bytes(d, 0, 0, 1, 100);
	io_close(d);
}

static void order_in_the_file_does_not_matter(void **state)
{
	struct proto_component parts[] = {
		{ .path = c_img, .offset = 150 },
		{ .path = a_img, .offset = 0 },
		{ .path = b_img, .offset = 50, .file_offset = 7 },
	};
	struct disk *d;

	(void)state;
	for (uint64_t version = 0; version <= 2; version++) {
		image_composite("disk.img", version, 160, parts, 3);
		d = attach(&ro);
		assert_int_equal(d->size, 160);
		check_bytes(d, 0, 0, 1, 50);
		check_bytes(d, 50, 7, 2, 93);
		check_bytes(d, 150, 0, 3, 10);
		/* The middle one ends 7 bytes before its slot does. */
		assert_int_equal(io_read(d, 142, &(char[2]){ 0 }, 2), -EIO);
		io_close(d);
	}
}

static void paths_are_relative_to_the_image(void **state)
{
	char here[128], up[160];
	struct proto_component parts[] = { { .path = a_img },
					   { .path = up, .offset = 100 } };
	struct disk_cfg cfg = ro;
	struct disk *d;

	(void)state;
	assert_non_null(getcwd(here, sizeof(here)));
	snprintf(up, sizeof(up), "%s/b.img", here);
	assert_int_equal(mkdir("sub", 0700), 0);
	image_composite("sub/disk.img", 1, 200, parts, 2);
	cfg.path = "sub/disk.img";
	image_refused(&cfg, -ENOENT, "sub/a.img", NULL);
	image_pattern("sub/a.img", 100, 9);
	d = attach(&cfg);
	check_bytes(d, 0, 0, 9, 100);
	check_bytes(d, 100, 0, 2, 100);
	io_close(d);
	/* An image without a folder has no relative paths. */
	int fd = image_fd("sub/disk.img", O_RDONLY);

	cfg.path = image_fd_path(fd);
	image_refused(&cfg, -EINVAL, "a relative path", "a.img");
	close(fd);
}

static void inherited_descriptors_are_components(void **state)
{
	char path[2][32];
	struct proto_component parts[] = {
		{ .path = path[0], .writable = true },
		{ .path = path[1], .offset = 100 },
	};
	int fd[] = { image_fd("a.img", O_RDWR), image_fd("b.img", O_RDONLY) };
	struct disk *d;

	(void)state;
	for (int i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s", image_fd_path(fd[i]));
	image_composite("disk.img", 2, 200, parts, 2);
	/* What was unlinked is still there. */
	assert_int_equal(unlink("a.img"), 0);
	d = attach(&rw);
	check_bytes(d, 0, 0, 1, 100);
	check_bytes(d, 100, 0, 2, 100);
	assert_int_equal(io_write(d, 0, "x", 1), 0);
	io_close(d);
	/* The descriptors stay the caller's, at their offset. */
	assert_int_equal(lseek(fd[0], 0, SEEK_CUR), 0);
	/* Not one that is for us only, nor one that cannot be written. */
	assert_int_equal(fcntl(fd[0], F_SETFD, FD_CLOEXEC), 0);
	image_refused(&rw, -EBADF, "close-on-exec", path[0]);
	close(fd[0]);
	image_refused(&rw, -EBADF, "file descriptor", path[0]);
	parts[1].writable = true;
	parts[1].offset = 0;
	image_composite("disk.img", 2, 100, parts + 1, 1);
	image_refused(&rw, -EACCES, "not open for writing", path[1]);
	close(fd[1]);
}

/* --- what a component may be ----------------------------------------------- */

static void writable_component_is_raw_whatever_it_holds(void **state)
{
	struct proto_component inner = { .path = c_img };
	struct proto_component part = { .path = a_img, .writable = true };
	const struct disk_cfg *cfgs[] = { &rw, &ro };

	(void)state;
	/* A guest has written this into its partition. */
	image_composite("a.img", 2, 100, &inner, 1);
	image_composite("disk.img", 2, 20, &part, 1);
	for (int i = 0; i < 2; i++) {
		struct disk *d = attach(cfgs[i]);
		char buf[20];

		assert_int_equal(io_read(d, 0, buf, 20), 0);
		assert_memory_equal(buf, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN);
		io_close(d);
	}
	image_file("a.img",
		   "QFI\xfb"
		   "0123456789abcdef",
		   20);
	disk_close(image_open(&rw));
}

static void read_only_component_may_be_sparse(void **state)
{
	struct proto_component parts[] = {
		{ .path = a_img, .file_offset = 4096 - 2 },
		{ .path = b_img, .offset = 100 },
	};
	unsigned char buf[8];
	struct disk *d;

	(void)state;
	image_sparse("a.img", "RFN", 5);
	image_composite("disk.img", 2, 200, parts, 2);
	d = attach(&rw);
	assert_int_equal(io_read(d, 0, buf, 8), 0);
	assert_int_equal(buf[1], image_pattern_byte(4095, 5));
	assert_memory_equal(buf + 2, IMAGE_SPARSE_FILL, 4);
	assert_int_equal(io_read(d, 98, buf, 4), 0);
	assert_int_equal(buf[2], image_pattern_byte(0, 2));
	io_close(d);
}

static void foreign_component_is_refused_by_name(void **state)
{
	(void)state;
	image_file("b.img",
		   "QFI\xfb"
		   "01234567",
		   12);
	image_refused(&rw, -ENOTSUP, "image disk.img: image b.img: is a qcow2 image",
		      "qemu-img convert -O raw b.img");
}

/* Composites in composites, by descriptors: their number is that of the outermost. */
static int nest(int depth)
{
	char path[32];
	struct proto_component part = { .path = path };
	int fds[16], n = 0;

	fds[n++] = image_fd("a.img", O_RDONLY);
	for (int i = 0; i < depth; i++) {
		char name[16];

		snprintf(path, sizeof(path), "%s", image_fd_path(fds[n - 1]));
		snprintf(name, sizeof(name), "nest%d", i);
		image_composite(name, 2, 100, &part, 1);
		fds[n++] = image_fd(name, O_RDONLY);
	}
	return fds[n - 1];
}

static void composites_nest_ten_deep(void **state)
{
	struct disk_cfg cfg = { .read_only = true, .lock = true };
	struct disk *d;

	(void)state;
	cfg.path = image_fd_path(nest(10));
	d = attach(&cfg);
	check_bytes(d, 0, 0, 1, 100);
	io_close(d);
	cfg.path = image_fd_path(nest(11));
	image_refused(&cfg, -ELOOP, "more than 10 composite disks in one another",
		      NULL);
}

static void composite_of_itself_is_refused(void **state)
{
	char path[32];
	struct proto_component part = { .path = path };
	struct disk_cfg cfg = ro;
	int fd;

	(void)state;
	image_file("disk.img", "", 0);
	fd = image_fd("disk.img", O_RDONLY);
	snprintf(path, sizeof(path), "%s", image_fd_path(fd));
	image_composite("disk.img", 2, 100, &part, 1);
	cfg.path = path;
	image_refused(&cfg, -ELOOP, "more than 10", NULL);
	close(fd);
}

/* --- what is refused ------------------------------------------------------- */

static void broken_images_are_refused(void **state)
{
	static char nowhere[] = "nowhere.img", empty[] = "";
	static const struct {
		uint64_t version, length;
		size_t n;
		struct proto_component c[2];
		int code;
		const char *why;
	} cases[] = {
		{ 3, 100, 1, { { .path = a_img } }, -EINVAL, "version 3 is not known" },
		{ 2, 100, 0, { { 0 } }, -EINVAL, "has no components" },
		{ 2, 0, 0, { { 0 } }, -EINVAL, "has no components" },
		{ 2, 0, 1, { { .path = a_img } }, -EINVAL, "ends before" },
		{ 2,
		  100,
		  2,
		  { { .path = a_img }, { .path = b_img } },
		  -EINVAL,
		  "does not begin before" },
		{ 2,
		  100,
		  2,
		  { { .path = a_img }, { .path = b_img, .offset = 100 } },
		  -EINVAL,
		  "ends before its component b.img" },
		{ 2,
		  100,
		  2,
		  { { .path = a_img }, { .path = b_img, .offset = 150 } },
		  -EINVAL,
		  "ends before" },
		{ 2, 1ull << 63, 1, { { .path = a_img } }, -EINVAL, "out of range" },
		{ 2,
		  100,
		  1,
		  { { .path = a_img, .file_offset = UINT64_MAX - 50 } },
		  -EINVAL,
		  "out of range" },
		{ 2, 100, 1, { { .path = nowhere } }, -ENOENT, "nowhere.img: No such" },
		{ 2, 100, 1, { { .path = empty } }, -EINVAL, "has no path" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		image_composite("disk.img", cases[i].version, cases[i].length,
				cases[i].c, cases[i].n);
		image_refused(&ro, cases[i].code, cases[i].why, NULL);
	}
}

static void what_is_no_composite_is_refused(void **state)
{
	(void)state;
	image_file("disk.img", "composite_disk", 14);
	image_refused(&ro, -EINVAL, "too short", NULL);
	image_file("disk.img", "composite_disk\x1e", 15);
	image_refused(&ro, -EINVAL, "is not a composite disk", NULL);
	image_file("disk.img", COMPOSITE_MAGIC "\x08", 16);
	image_refused(&ro, -EINVAL, "is not a valid protobuf message", NULL);
	image_file("disk.img", COMPOSITE_MAGIC "\x12\x03\x0a\x01\x00", 20);
	image_refused(&ro, -EINVAL, "component 0: its path holds a NUL", NULL);
	assert_int_equal(truncate("disk.img", 9 << 20), 0);
	image_refused(&ro, -EINVAL, "too large", NULL);
	assert_int_equal(unlink("disk.img"), 0);
	assert_int_equal(mkfifo("disk.img", 0600), 0);
	image_refused(&ro, -EINVAL, "is a FIFO", NULL);
}

static void composites_are_not_resized(void **state)
{
	struct disk *d = image_open(&rw);
	struct err err = { "" };

	(void)state;
	assert_int_equal(disk_resize(d, 400, &err), -ENOTSUP);
	assert_non_null(strstr(err.msg, "a composite image cannot be resized"));
	disk_close(d);
}

/* --- locks and direct I/O -------------------------------------------------- */

static void image_and_components_are_locked(void **state)
{
	struct disk_cfg unlocked = rw;
	struct disk *d = image_open(&rw);
	int fd;

	(void)state;
	image_refused(&rw, -EBUSY, "in use by another process or disk", NULL);
	image_refused(&ro, -EBUSY, "in use by another process or disk", NULL);
	unlocked.lock = false;
	disk_close(image_open(&unlocked));
	disk_close(d);
	/* Readers share. */
	d = image_open(&ro);
	disk_close(image_open(&ro));
	image_refused(&rw, -EBUSY, "in use", NULL);
	disk_close(d);
	/* A component alone. */
	fd = image_fd("c.img", O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	image_refused(&rw, -EBUSY, "image c.img: in use", NULL);
	close(fd);
	disk_close(image_open(&rw));
}

/* Slots at odd places go through the page cache; the others do not. */
static void direct_io_is_used_where_it_fits(void **state)
{
	struct proto_component parts[] = {
		{ .path = a_img, .writable = true },
		{ .path = b_img, .offset = 8192 },
		{ .path = c_img, .offset = 8192 + 100, .writable = true },
	};
	struct disk_cfg cfg = rw;
	struct disk *d, *probe = NULL;
	struct err err;
	unsigned char buf[8192] __attribute__((aligned(4096)));

	(void)state;
	image_pattern("a.img", 8192, 1);
	image_pattern("b.img", 100, 2);
	image_pattern("c.img", 8192, 3);
	image_composite("disk.img", 2, 8192 + 100 + 8192, parts, 3);
	cfg.direct = true;
	if (format_open(&(struct disk_cfg){ .path = "a.img", .direct = true }, 0,
			&probe, &err) < 0) {
		print_message("%s\n", err.msg);
		skip();
	}
	d = attach(&cfg);
	assert_int_equal(d->align, probe->align);
	assert_int_equal(io_read(d, 0, buf, sizeof(buf)), 0);
	assert_int_equal(io_read(d, 4096, buf, 4096 + 4096), 0);
	assert_int_equal(buf[4096], image_pattern_byte(0, 2));
	assert_int_equal(buf[4096 + 100], image_pattern_byte(0, 3));
	assert_int_equal(io_write(d, 4096, buf, 4096), 0);
	assert_int_equal(io_write(d, 12288, buf, 4096), 0);
	io_close(d);
	disk_close(probe);
}

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, image_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(files_are_put_end_to_end),
		IMAGE_TEST(read_only_disk_opens_all_components_read_only),
		IMAGE_TEST(order_in_the_file_does_not_matter),
		IMAGE_TEST(paths_are_relative_to_the_image),
		IMAGE_TEST(inherited_descriptors_are_components),
		IMAGE_TEST(writable_component_is_raw_whatever_it_holds),
		IMAGE_TEST(read_only_component_may_be_sparse),
		IMAGE_TEST(foreign_component_is_refused_by_name),
		IMAGE_TEST(composites_nest_ten_deep),
		IMAGE_TEST(composite_of_itself_is_refused),
		IMAGE_TEST(broken_images_are_refused),
		IMAGE_TEST(what_is_no_composite_is_refused),
		IMAGE_TEST(composites_are_not_resized),
		IMAGE_TEST(image_and_components_are_locked),
		IMAGE_TEST(direct_io_is_used_where_it_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
