/*
 * Block devices as images: a loop device, which this test makes of a file, and a
 * null_blk that is there, which can discard but not write zeroes (modprobe null_blk
 * memory_backed=1 discard=1). Both need root; tests/lab/test_disks.sh has them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/disk_io.h"

#define SIZE (4u << 20)
#define NULL_BLK "/dev/nullb0"

static char file[] = "/tmp/test_block_device.XXXXXX";
static char loop_name[32];
static int file_fd, loop_fd = -1;
static enum engine_kind kind; /* that the tests are run with */

/* On failure loop_fd stays -1. */
static int make_loop(void **state)
{
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	int control, n, fd;

	(void)state;
	file_fd = mkstemp(file);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (control >= 0)
		close(control);
	if (file_fd < 0 || ftruncate(file_fd, SIZE) < 0)
		return -1;
	if (n < 0)
		return 0;
	snprintf(loop_name, sizeof(loop_name), "/dev/loop%d", n);
	fd = open(loop_name, O_RDWR | O_CLOEXEC);
	config.fd = (uint32_t)file_fd;
	if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
		loop_fd = fd;
	return 0;
}

static int remove_loop(void **state)
{
	(void)state;
	if (loop_fd >= 0)
		close(loop_fd); /* the last one: it goes */
	loop_fd = -1;
	close(file_fd);
	unlink(file);
	strcpy(file + strlen(file) - 6, "XXXXXX");
	return 0;
}

static struct disk *open_device(const char *path, bool direct)
{
	const struct disk_cfg cfg = { .path = path,
				      .format = DISK_RAW,
				      .lock = true,
				      .sparse = true,
				      .direct = direct,
				      .block_size = 512 };
	struct disk *d = NULL;
	struct err err = { "" };

	if (access(path, R_OK | W_OK) < 0 || (path == loop_name && loop_fd < 0)) {
		print_message("skip: no %s that the user may write\n",
			      path == loop_name ? "loop device" : path);
		skip();
	}
	if (disk_open(&cfg, &d, &err) < 0)
		fail_msg("%s", err.msg);
	io_attach(d, kind);
	return d;
}

static void fill(unsigned char *buf, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (unsigned char)(i * 31 + (i >> 8) + seed + 1);
}

static bool is_zero(const unsigned char *buf, size_t len)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

#define LEN (256u << 10)
static unsigned char out[LEN + 512] __attribute__((aligned(4096)));
static unsigned char in[LEN + 512] __attribute__((aligned(4096)));

/* Written and read back at aligned and at other addresses; then the ranges. */
static void behaves_like_memory(struct disk *d)
{
	for (unsigned shift = 0; shift < 512; shift += 511) {
		fill(out, sizeof(out), shift);
		assert_int_equal(io_write(d, 8192, out + shift, LEN), 0);
		assert_int_equal(io_flush(d), 0);
		memset(in, 0xee, sizeof(in));
		assert_int_equal(io_read(d, 8192, in + shift, LEN), 0);
		assert_memory_equal(in + shift, out + shift, LEN);
	}
	/* Zeroes, unmapped or not, and nothing beside them. */
	for (int unmap = 0; unmap < 2; unmap++) {
		fill(out, LEN, 7);
		assert_int_equal(io_write(d, 8192, out, LEN), 0);
		assert_int_equal(io_range(d, DISK_ZERO, unmap, 8192 + 4096, 65536), 0);
		assert_int_equal(io_read(d, 8192, in, LEN), 0);
		assert_true(is_zero(in + 4096, 65536));
		memcpy(in + 4096, out + 4096, 65536);
		assert_memory_equal(in, out, LEN);
	}
	assert_int_equal(io_range(d, DISK_DISCARD, true, 8192, LEN), 0);
	assert_int_equal(io_flush(d), 0);
	assert_int_equal(io_read(d, d->size - 512, in, 512), 0);
	assert_int_equal(io_read(d, d->size, in, 512), -EINVAL);
}

static void a_loop_device_behaves_like_memory(void **state)
{
	struct stat st;
	struct disk *d = open_device(loop_name, false);

	(void)state;
	assert_int_equal(d->size, SIZE);
	behaves_like_memory(d);
	assert_int_equal(fsync(loop_fd), 0);
	assert_int_equal(fstat(file_fd, &st), 0);
	assert_true(st.st_blocks * 512 < LEN); /* it was given back */
	io_close(d);
}

static void a_loop_device_has_direct_io(void **state)
{
	struct disk *d = open_device(loop_name, true);

	(void)state;
	assert_int_equal(d->align, 512);
	behaves_like_memory(d);
	assert_int_equal(io_read(d, 100, in, 512), -EINVAL);
	io_close(d);
}

static void a_device_is_shown_in_part_but_does_not_grow(void **state)
{
	struct disk *d = open_device(loop_name, false);
	struct err err = { "" };

	(void)state;
	assert_int_equal(disk_resize(d, SIZE + 4096, &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "the device is only 4194304 bytes long"));
	assert_int_equal(d->size, SIZE);
	assert_int_equal(disk_resize(d, 8192, &err), 0);
	assert_int_equal(io_read(d, 8192, in, 512), -EINVAL);
	/* It has grown by other means. */
	assert_int_equal(ftruncate(file_fd, 2 * SIZE), 0);
	assert_int_equal(ioctl(loop_fd, LOOP_SET_CAPACITY), 0);
	assert_int_equal(disk_resize(d, 2 * SIZE, &err), 0);
	assert_int_equal(io_write(d, 2 * SIZE - 512, out, 512), 0);
	io_close(d);
}

static void a_device_is_locked_like_a_file(void **state)
{
	const struct disk_cfg cfg = {
		.path = loop_name, .format = DISK_RAW, .lock = true, .block_size = 512
	};
	struct disk *d = open_device(loop_name, false), *second = NULL;
	struct err err = { "" };

	(void)state;
	assert_int_equal(disk_open(&cfg, &second, &err), -EBUSY);
	assert_non_null(strstr(err.msg, "in use by another"));
	io_close(d);
}

/* Read from the queue's attributes. */
static unsigned long attribute(const char *name)
{
	char path[64], text[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/nullb0/queue/%s", name);
	f = fopen(path, "re");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	return strtoul(text, NULL, 10);
}

static void a_device_that_discards_without_zeroing_behaves_like_memory(void **state)
{
	struct disk *d = open_device(NULL_BLK, false);

	(void)state;
	/* Else it is another device than the one meant. */
	assert_int_not_equal(attribute("discard_max_bytes"), 0);
	assert_int_equal(attribute("write_zeroes_max_bytes"), 0);
	behaves_like_memory(d);
	io_close(d);
	d = open_device(NULL_BLK, true);
	behaves_like_memory(d);
	io_close(d);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, make_loop, remove_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(a_loop_device_behaves_like_memory),
		LOOP_TEST(a_loop_device_has_direct_io),
		LOOP_TEST(a_device_is_shown_in_part_but_does_not_grow),
		LOOP_TEST(a_device_is_locked_like_a_file),
		cmocka_unit_test(
			a_device_that_discards_without_zeroing_behaves_like_memory),
	};
	int failed;

	kind = ENGINE_URING;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	kind = ENGINE_SYNC;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
