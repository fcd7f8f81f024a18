/* base/file.c */
#include "base/file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/test_file.XXXXXX";
static struct err err;

static int setup(void **state)
{
	FILE *f;

	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0 || mkdir("dir", 0755) < 0 ||
	    mkfifo("fifo", 0600) < 0)
		return -1;
	f = fopen("img", "w");
	fputs("0123456789", f);
	return fclose(f);
}

static int teardown(void **state)
{
	(void)state;
	unlink("img");
	unlink("new");
	unlink("fifo");
	rmdir("dir");
	return chdir("/") < 0 || rmdir(dir) < 0;
}

static bool is_inheritable(int fd)
{
	return !(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static const char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void regular_file_opens_with_its_size(void **state)
{
	uint64_t size = 0;
	int fd = file_open_regular("kernel", "img", O_RDONLY, &size, &err);

	(void)state;
	assert_true(fd > 2);
	assert_int_equal(size, 10);
	assert_false(is_inheritable(fd));
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
}

static void missing_file_is_created_on_request(void **state)
{
	int fd = file_open("log", "new", O_WRONLY | O_CREAT | O_APPEND, &err);

	(void)state;
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFL) & O_APPEND);
	close(fd);
	assert_int_equal(access("new", R_OK | W_OK), 0);
}

static void mistakes_are_sentences(void **state)
{
	uint64_t size = 77;

	(void)state;
	assert_int_equal(file_open("kernel", "vmlinuz", O_RDONLY, &err), -ENOENT);
	assert_string_equal(err.msg, "kernel vmlinuz: No such file or directory");
	assert_int_equal(file_open("kernel", "dir", O_RDONLY, &err), -EISDIR);
	assert_string_equal(err.msg, "kernel dir: is a directory");
	assert_int_equal(file_open("kernel", "dir", O_RDWR, &err), -EISDIR);
	assert_int_equal(file_open_regular("kernel", "fifo", O_RDONLY, &size, &err),
			 -EINVAL);
	assert_string_equal(err.msg, "kernel fifo: is a FIFO, not a regular file");
	assert_int_equal(
		file_open_regular("kernel", "/dev/null", O_RDONLY, &size, &err),
		-EINVAL);
	assert_string_equal(
		err.msg, "kernel /dev/null: is a character device, not a regular file");
	assert_int_equal(size, 77);
}

static void inherited_fd_is_duplicated(void **state)
{
	int fd = open("img", O_RDONLY), copy;
	char c[2] = "";

	(void)state;
	copy = file_open("disk 1", fd_path(fd), O_RDONLY, &err);
	assert_true(copy > fd);
	assert_false(is_inheritable(copy));
	assert_true(is_inheritable(fd));
	/* One description, so one offset. */
	assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
	assert_int_equal(read(copy, c, 1), 1);
	assert_string_equal(c, "4");
	close(fd);
	close(copy);
}

static void unusable_fds_are_refused(void **state)
{
	int fd = open("img", O_RDONLY);
	char want[200];

	(void)state;
	assert_int_equal(file_open("kernel", "/proc/self/fd/977", O_RDONLY, &err),
			 -EBADF);
	assert_string_equal(
		err.msg, "kernel /proc/self/fd/977: file descriptor 977 is not open");

	assert_int_equal(file_open("disk", fd_path(fd), O_RDWR, &err), -EACCES);
	snprintf(want, sizeof(want),
		 "disk %s: file descriptor %d is not open for writing", fd_path(fd),
		 fd);
	assert_string_equal(err.msg, want);

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	assert_int_equal(file_open("disk", fd_path(fd), O_RDONLY, &err), -EBADF);
	snprintf(
		want, sizeof(want),
		"disk %s: file descriptor %d was not passed to this program: closed, or close-on-exec",
		fd_path(fd), fd);
	assert_string_equal(err.msg, want);
	close(fd);

	fd = open("img", O_WRONLY);
	assert_int_equal(file_open("disk", fd_path(fd), O_RDONLY, &err), -EACCES);
	assert_int_equal(file_open("disk", fd_path(fd), O_RDWR, &err), -EACCES);
	close(fd);
	fd = open("img", O_PATH);
	assert_int_equal(file_open("disk", fd_path(fd), O_RDONLY, &err), -EACCES);
	close(fd);
	fd = open("dir", O_RDONLY);
	assert_int_equal(file_open("disk", fd_path(fd), O_RDONLY, &err), -EISDIR);
	close(fd);
}

static void other_proc_paths_are_plain_paths(void **state)
{
	(void)state;
	assert_int_equal(file_open("x", "/proc/self/fd/", O_RDONLY, &err), -EISDIR);
	assert_int_equal(file_open("x", "/proc/self/fd/1x", O_RDONLY, &err), -ENOENT);
	assert_int_equal(
		file_open("x", "/proc/self/fd/99999999999999999999", O_RDONLY, &err),
		-ENOENT);
}

static void fifo_opens_without_another_end(void **state)
{
	char c[3] = "";
	int in, out;

	(void)state;
	out = file_open("serial 1", "fifo", O_WRONLY, &err);
	assert_true(out >= 0);
	/* What is written early waits for the reader. */
	assert_int_equal(write(out, "hi", 2), 2);
	in = file_open("serial 1", "fifo", O_RDONLY, &err);
	assert_true(in >= 0);
	assert_false(fcntl(in, F_GETFL) & O_NONBLOCK);
	assert_int_equal(read(in, c, 2), 2);
	assert_string_equal(c, "hi");
	close(out);
	out = file_open("serial 1", "fifo", O_WRONLY | O_NONBLOCK, &err);
	assert_int_equal(fcntl(out, F_GETFL) & (O_ACCMODE | O_NONBLOCK),
			 O_WRONLY | O_NONBLOCK);
	close(in);
	close(out);
}

static void read_at_reads_all_or_fails(void **state)
{
	int fd = open("img", O_RDONLY);
	char buf[11] = "";

	(void)state;
	assert_int_equal(file_read_at(fd, buf, 3, 7), 0);
	assert_string_equal(buf, "789");
	assert_int_equal(file_read_at(fd, buf, 0, 100), 0);
	assert_int_equal(file_read_at(fd, buf, 4, 7), -ENODATA);
	assert_int_equal(file_read_at(fd, buf, 1, UINT64_MAX), -ENODATA);
	assert_int_equal(file_read_at(-1, buf, 1, 0), -EBADF);
	close(fd);
}

static void assert_mode(const char *path, mode_t mode, off_t size)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_size, size);
}

static void private_files_are_the_users_alone(void **state)
{
	int fd;

	(void)state;
	unlink("new");
	close(file_open_private("dump", "new", &err));
	assert_mode("new", 0600, 0);
	fd = open("new", O_WRONLY);
	assert_int_equal(write(fd, "old", 3), 3);
	close(fd);
	chmod("new", 0644);
	fd = file_open_private("dump", "new", &err);
	assert_true(fd > 2);
	close(fd);
	assert_mode("new", 0600, 0);
	assert_int_equal(file_open_private("dump", "none/new", &err), -ENOENT);
	assert_string_equal(err.msg, "dump none/new: No such file or directory");
}

static void private_files_leave_what_others_made(void **state)
{
	int fd = open("img", O_WRONLY | O_APPEND), copy;

	(void)state;
	chmod("img", 0644);
	copy = file_open_private("dump", fd_path(fd), &err);
	assert_true(copy > 2);
	assert_mode("img", 0644, 10);
	close(copy);
	close(fd);
	chmod("fifo", 0666);
	fd = file_open_private("dump", "fifo", &err);
	assert_true(fd > 2);
	assert_mode("fifo", 0666, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(regular_file_opens_with_its_size),
		cmocka_unit_test(missing_file_is_created_on_request),
		cmocka_unit_test(mistakes_are_sentences),
		cmocka_unit_test(inherited_fd_is_duplicated),
		cmocka_unit_test(unusable_fds_are_refused),
		cmocka_unit_test(other_proc_paths_are_plain_paths),
		cmocka_unit_test(fifo_opens_without_another_end),
		cmocka_unit_test(private_files_are_the_users_alone),
		cmocka_unit_test(private_files_leave_what_others_made),
		cmocka_unit_test(read_at_reads_all_or_fails),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
