/* service/virtmgr/partition.c: the bytes that guests look for. */
#include "service/virtmgr/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void each_format_has_its_magic_and_zeroes(void **state)
{
	static const struct {
		const char *magic;
		size_t len;
	} formats[] = {
		[PARTITION_RAW] = { "", 0 },
		[PARTITION_INSTANCE] = { "Android-VM-instance\1\0", 21 },
		[PARTITION_ENCRYPTED_STORE] = { "UNFORMATTED-STORAGE", 19 },
	};
	char bytes[8192], want[8192];
	struct stat st;

	(void)state;
	for (uint32_t i = 0; i < PARTITION_FORMATS; i++) {
		int fd = memfd_create("partition", MFD_CLOEXEC);

		assert_int_equal(write(fd, "what was there before this", 26), 26);
		assert_int_equal(ftruncate(fd, 100000), 0);
		assert_int_equal(partition_initialize(fd, 8192, i, NULL), 0);
		assert_return_code(fstat(fd, &st), errno);
		assert_int_equal(st.st_size, 8192);
		assert_int_equal(pread(fd, bytes, 8192, 0), 8192);
		memset(want, 0, sizeof(want));
		memcpy(want, formats[i].magic, formats[i].len);
		assert_memory_equal(bytes, want, 8192);
		close(fd);
	}
}

static void what_cannot_be_is_refused(void **state)
{
	int fd = memfd_create("partition", MFD_CLOEXEC);
	int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct err err;
	char path[32];
	int read_only;

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "kept", 4), 4);
	assert_int_equal(partition_initialize(fd, 0, 0, &err), -EINVAL);
	assert_int_equal(partition_initialize(fd, 4095, 0, &err), -EINVAL);
	assert_string_equal(err.msg, "size: 4095 is not a multiple of 4096");
	assert_int_equal(partition_initialize(fd, UINT64_MAX - 4095, 0, &err), -EINVAL);
	assert_int_equal(partition_initialize(fd, 4096, 3, &err), -EINVAL);
	assert_int_equal(partition_initialize(read_only, 4096, 0, &err), -EINVAL);
	assert_string_equal(err.msg, "file: is not open for writing");
	assert_int_equal(lseek(fd, 0, SEEK_END), 4);
	assert_int_equal(partition_initialize(folder, 4096, 0, &err), -EINVAL);
	assert_string_equal(err.msg, "file: is a directory, not a regular file");
	assert_int_equal(partition_initialize(null, 4096, 0, &err), -EINVAL);
	close(fd);
	close(read_only);
	close(folder);
	close(null);
}

static void identifiers_differ_but_for_their_begin(void **state)
{
	uint8_t a[PARTITION_ID_LEN], b[PARTITION_ID_LEN];

	(void)state;
	assert_int_equal(partition_instance_id(a, NULL), 0);
	assert_int_equal(partition_instance_id(b, NULL), 0);
	assert_memory_equal(a, "wwww", 4);
	assert_memory_equal(b, "wwww", 4);
	assert_memory_not_equal(a + 4, b + 4, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_format_has_its_magic_and_zeroes),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(identifiers_differ_but_for_their_begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
