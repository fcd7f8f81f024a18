/* Which format an image is taken for, and when its magic is believed. */
#include "disk/format.h"

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
#include "disk/composite.h"
#include "tests/unit/disk_io.h"
#include "tests/unit/image_fixture.h"

static char raw_path[] = "raw.img";
static struct proto_component raw_part = { .path = raw_path, .writable = true };

/* A composite of one inherited descriptor, which is returned. */
static int composite_of_fd(const char *name, const char *file, int flags, bool writable)
{
	static char path[32];
	int fd = image_fd(file, flags);
	struct proto_component part = { .path = path, .writable = writable };

	snprintf(path, sizeof(path), "%s", image_fd_path(fd));
	image_composite(name, 2, 8192, &part, 1);
	return fd;
}

/* Opened, and of this format. */
static void is(const struct disk_cfg *cfg, const char *format)
{
	struct disk *d = image_open(cfg);

	assert_string_equal(d->ops->name, format);
	assert_int_equal(d->read_only, cfg->read_only);
	disk_close(d);
}

static void formats_of_read_only_images_are_found(void **state)
{
	int fd;

	(void)state;
	image_pattern("raw.img", 8192, 1);
	image_file("tiny.img", "ab", 2);
	image_sparse("sparse.img", "RFN", 1);
	fd = composite_of_fd("composite.img", "raw.img", O_RDONLY, false);
	is(&(struct disk_cfg){ .path = "raw.img", .read_only = true }, "raw");
	is(&(struct disk_cfg){ .path = "tiny.img", .read_only = true }, "raw");
	is(&(struct disk_cfg){ .path = "sparse.img", .read_only = true }, "sparse");
	is(&(struct disk_cfg){ .path = "composite.img", .read_only = true },
	   "composite");
	close(fd);
}

static void what_is_told_is_not_asked(void **state)
{
	(void)state;
	image_pattern("raw.img", 8192, 1);
	image_composite("composite.img", 2, 8192, &raw_part, 1);
	image_sparse("sparse.img", "RF", 1);
	is(&(struct disk_cfg){ .path = "composite.img", .format = DISK_RAW }, "raw");
	is(&(struct disk_cfg){ .path = "sparse.img", .format = DISK_RAW }, "raw");
	is(&(struct disk_cfg){ .path = "composite.img", .format = DISK_COMPOSITE },
	   "composite");
	is(&(struct disk_cfg){ .path = "sparse.img",
			       .format = DISK_SPARSE,
			       .read_only = true },
	   "sparse");
	image_refused(&(struct disk_cfg){ .path = "raw.img", .format = DISK_COMPOSITE },
		      -EINVAL, "is not a composite disk", NULL);
	image_refused(&(struct disk_cfg){ .path = "raw.img",
					  .format = DISK_SPARSE,
					  .read_only = true },
		      -EINVAL, "is not an Android sparse image", NULL);
}

static void magic_in_a_writable_image_needs_a_word(void **state)
{
	struct disk_cfg cfg = { 0 };
	int fd;

	(void)state;
	image_pattern("raw.img", 8192, 1);
	image_composite("composite.img", 2, 8192, &raw_part, 1);
	image_sparse("sparse.img", "RF", 1);
	cfg.path = "composite.img";
	image_refused(&cfg, -EPERM, "say format=composite or format=raw", NULL);
	cfg.path = "sparse.img";
	image_refused(&cfg, -EPERM, "say format=sparse or format=raw", NULL);
	fd = image_fd("composite.img", O_RDWR);
	cfg.path = image_fd_path(fd);
	image_refused(&cfg, -EPERM, "say format=composite or format=raw", NULL);
	close(fd);
}

/* As AVF passes composites whose components may be writable. */
static void magic_behind_a_read_only_descriptor_is_believed(void **state)
{
	struct disk_cfg cfg = { 0 };
	struct disk *d;
	int fd, part;

	(void)state;
	image_pattern("raw.img", 8192, 1);
	part = composite_of_fd("composite.img", "raw.img", O_RDWR, true);
	fd = image_fd("composite.img", O_RDONLY);
	cfg.path = image_fd_path(fd);
	d = image_open(&cfg);
	assert_string_equal(d->ops->name, "composite");
	assert_false(d->read_only);
	io_attach(d, ENGINE_SYNC);
	assert_int_equal(io_write(d, 4096, "hello", 5), 0);
	io_close(d);
	close(fd);
	close(part);
	fd = image_fd("raw.img", O_RDONLY);
	cfg.path = image_fd_path(fd);
	image_refused(&cfg, -EACCES, "not open for writing", NULL);
	close(fd);
	image_sparse("sparse.img", "RF", 1);
	fd = image_fd("sparse.img", O_RDONLY);
	cfg.path = image_fd_path(fd);
	image_refused(&cfg, -EROFS, "add ro=true", NULL);
	close(fd);
}

static void believed_composite_names_descriptors_only(void **state)
{
	static char cases[][40] = { "raw.img",		 "/etc/hostname",
				    "/proc/self/fd/3x",	 "/proc/self/fd/",
				    "/proc/self/fd/../", "/proc/self/fd//3",
				    "/proc/1/fd/3",	 "/dev/fd/3" };

	(void)state;
	image_pattern("raw.img", 8192, 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct proto_component part = { .path = cases[i] };

		image_composite("composite.img", 2, 8192, &part, 1);
		image_refused(&(struct disk_cfg){ .path = "composite.img",
						  .read_only = true },
			      -EPERM, "without format=composite it may open", cases[i]);
	}
}

static void other_formats_are_refused_by_name(void **state)
{
	static const struct {
		const char *name, *advice;
		size_t off;
		const char *magic;
		size_t len;
	} cases[] = {
		{ "qcow2", "qemu-img convert -O raw img img.raw", 0, "QFI\xfb", 4 },
		{ "QED", "qemu-img", 0, "QED\0", 4 },
		{ "VHDX", "qemu-img", 0, "vhdxfile", 8 },
		{ "VHD", "qemu-img", 0, "conectix", 8 },
		{ "VHD", "qemu-img", 8192 - 512, "conectix", 8 },
		{ "VMDK", "qemu-img", 0, "KDMV", 4 },
		{ "VMDK", "qemu-img", 0, "COWD", 4 },
		{ "VMDK", "qemu-img", 0, "# Disk DescriptorFile", 21 },
		{ "VDI", "qemu-img", 64, "\x7f\x10\xda\xbe", 4 },
		{ "Parallels", "qemu-img", 0, "WithoutFreeSpace", 16 },
		{ "Parallels", "qemu-img", 0, "WithouFreSpacExt", 16 },
		{ "Bochs", "qemu-img", 0, "Bochs Virtual HD Image", 22 },
		{ "DMG", "qemu-img", 8192 - 512, "koly", 4 },
		{ "zstd", "zstd -d img -o img.raw", 0, "\x28\xb5\x2f\xfd", 4 },
		{ "zstd", "zstd -d", 0, "\x50\x2a\x4d\x18", 4 },
		{ "zstd", "zstd -d", 0, "\x5f\x2a\x4d\x18", 4 },
	};
	unsigned char image[8192];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(image, 0x5a, sizeof(image));
		memcpy(image + cases[i].off, cases[i].magic, cases[i].len);
		image_file("img", image, sizeof(image));
		image_refused(&(struct disk_cfg){ .path = "img" }, -ENOTSUP,
			      cases[i].name, cases[i].advice);
		image_refused(&(struct disk_cfg){ .path = "img", .read_only = true },
			      -ENOTSUP, cases[i].name, "or say format=raw");
		is(&(struct disk_cfg){ .path = "img", .format = DISK_RAW }, "raw");
		/* One byte less is none. */
		image[cases[i].off + cases[i].len - 1] ^= 0xff;
		image_file("img", image, sizeof(image));
		is(&(struct disk_cfg){ .path = "img" }, "raw");
	}
}

static void qemu_img_makes_what_is_refused(void **state)
{
	static const char *const formats[][2] = {
		{ "qcow2", "qcow2" }, { "qcow", "qcow2" },
		{ "qed", "QED" },     { "vhdx", "VHDX" },
		{ "vpc", "VHD" },     { "vmdk", "VMDK" },
		{ "vdi", "VDI" },     { "parallels", "Parallels" },
	};

	(void)state;
	if (system("command -v qemu-img >/dev/null") != 0) {
		print_message("qemu-img (package qemu-utils) is not installed\n");
		skip();
	}
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		char command[128];

		snprintf(command, sizeof(command),
			 "rm -f img; qemu-img create -q -f %s img 1M", formats[i][0]);
		assert_int_equal(system(command), 0);
		image_refused(&(struct disk_cfg){ .path = "img" }, -ENOTSUP,
			      formats[i][1], "qemu-img convert -O raw img img.raw");
	}
	assert_int_equal(
		system("rm -f img; qemu-img create -q -f vpc -o subformat=fixed img 1M"),
		0);
	image_refused(&(struct disk_cfg){ .path = "img" }, -ENOTSUP, "VHD", NULL);
	assert_int_equal(system("rm -f img; qemu-img create -q -f raw img 1M"), 0);
	is(&(struct disk_cfg){ .path = "img" }, "raw");
}

static void what_is_no_image_is_refused_as_ever(void **state)
{
	(void)state;
	assert_int_equal(mkfifo("fifo", 0600), 0);
	image_file("empty", "", 0);
	image_refused(&(struct disk_cfg){ .path = "missing" }, -ENOENT, "No such file",
		      NULL);
	image_refused(&(struct disk_cfg){ .path = "." }, -EISDIR, "is a directory",
		      NULL);
	image_refused(&(struct disk_cfg){ .path = "fifo" }, -EINVAL,
		      "not a regular file or block device", NULL);
	image_refused(&(struct disk_cfg){ .path = "empty" }, -EINVAL, "is empty", NULL);
}

static void direct_inherited_descriptors_are_looked_at(void **state)
{
	int fd, part;

	(void)state;
	image_pattern("raw.img", 8192, 1);
	part = composite_of_fd("composite.img", "raw.img", O_RDONLY, false);
	fd = open("composite.img", O_RDONLY | O_DIRECT);
	if (fd < 0) {
		close(part);
		print_message("the file system of /tmp has no O_DIRECT\n");
		skip();
	}
	is(&(struct disk_cfg){ .path = image_fd_path(fd), .read_only = true },
	   "composite");
	close(fd);
	close(part);
}

static void direct_io_on_a_sparse_image_is_refused(void **state)
{
	(void)state;
	image_sparse("sparse.img", "RF", 1);
	image_refused(&(struct disk_cfg){ .path = "sparse.img",
					  .read_only = true,
					  .direct = true },
		      -ENOTSUP, "direct=true is not possible", NULL);
}

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(formats_of_read_only_images_are_found),
		IMAGE_TEST(what_is_told_is_not_asked),
		IMAGE_TEST(magic_in_a_writable_image_needs_a_word),
		IMAGE_TEST(magic_behind_a_read_only_descriptor_is_believed),
		IMAGE_TEST(believed_composite_names_descriptors_only),
		IMAGE_TEST(other_formats_are_refused_by_name),
		IMAGE_TEST(qemu_img_makes_what_is_refused),
		IMAGE_TEST(what_is_no_image_is_refused_as_ever),
		IMAGE_TEST(direct_inherited_descriptors_are_looked_at),
		IMAGE_TEST(direct_io_on_a_sparse_image_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
