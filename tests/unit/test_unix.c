/* base/unix.c: names in the file system, stale ones and live ones */
#include "base/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[512];
static struct unix_name name;
static struct err err;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/vmm-unix-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	unix_remove(&name);
	return rmdir(dir);
}

static const char *path_of(const char *file)
{
	static char path[1024];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return path;
}

static int listen_at(const char *path)
{
	err.msg[0] = '\0';
	return unix_listen("--socket:", path, SOCK_SEQPACKET, &name, &err);
}

static void connects(const char *path)
{
	int fd = unix_connect(path, SOCK_SEQPACKET, 5, &err);

	assert_return_code(fd, errno);
	close(fd);
}

static void listens_for_its_owner_only(void **state)
{
	struct stat st;
	mode_t mask = umask(0);
	int fd = listen_at(path_of("s"));

	(void)state;
	umask(mask);
	assert_return_code(fd, errno);
	assert_int_equal(stat(path_of("s"), &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	connects(path_of("s"));
	unix_remove(&name);
	assert_int_equal(access(path_of("s"), F_OK), -1);
	unix_remove(&name);
	close(fd);
}

static void a_path_longer_than_an_address_works(void **state)
{
	char long_dir[700], *path;
	int fd;

	(void)state;
	snprintf(long_dir, sizeof(long_dir), "%s/%0150d", dir, 1);
	assert_int_equal(mkdir(long_dir, 0700), 0);
	assert_return_code(asprintf(&path, "%s/socket", long_dir), 0);
	fd = listen_at(path);
	assert_return_code(fd, errno);
	connects(path);
	unix_remove(&name);
	close(fd);
	free(path);
	assert_int_equal(rmdir(long_dir), 0);
}

static void a_name_longer_than_an_address_is_an_error(void **state)
{
	char file[200];

	(void)state;
	snprintf(file, sizeof(file), "%0120d", 1);
	assert_int_equal(listen_at(path_of(file)), -ENAMETOOLONG);
	assert_non_null(strstr(err.msg, file));
}

static void a_stale_socket_is_replaced(void **state)
{
	int fd = listen_at(path_of("s"));
	struct unix_name first = name;

	(void)state;
	assert_return_code(fd, errno);
	close(fd); /* as if killed: the file stays */
	usleep(20000); /* so that the next one is younger */
	fd = listen_at(path_of("s"));
	assert_return_code(fd, errno);
	connects(path_of("s"));
	/* And the first one's owner does not remove what is not its own any more. */
	unix_remove(&first);
	connects(path_of("s"));
	close(fd);
}

static void a_live_socket_is_refused(void **state)
{
	int fd = listen_at(path_of("s"));
	struct unix_name first = name;

	(void)state;
	assert_return_code(fd, errno);
	assert_int_equal(listen_at(path_of("s")), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "somebody answers there"));
	connects(path_of("s"));
	name = first;
	close(fd);
}

static void a_live_socket_of_another_type_is_refused(void **state)
{
	int fd = unix_listen("x", path_of("s"), SOCK_STREAM, &name, &err);
	struct unix_name first = name;

	(void)state;
	assert_return_code(fd, errno);
	assert_int_equal(listen_at(path_of("s")), -EADDRINUSE);
	name = first;
	close(fd);
}

static void a_live_socket_with_a_full_backlog_is_refused(void **state)
{
	int fd = listen_at(path_of("s")), n;
	struct unix_name first = name;

	(void)state;
	assert_int_equal(listen(fd, 0), 0);
	n = unix_connect(path_of("s"), SOCK_SEQPACKET, 1, &err);
	assert_return_code(n, errno);
	assert_int_equal(listen_at(path_of("s")), -EADDRINUSE);
	name = first;
	close(n);
	close(fd);
}

static void what_is_no_socket_stays(void **state)
{
	int fd = open(path_of("s"), O_CREAT | O_WRONLY, 0600);

	(void)state;
	close(fd);
	assert_int_equal(listen_at(path_of("s")), -EEXIST);
	assert_int_equal(access(path_of("s"), F_OK), 0);
	assert_int_equal(unlink(path_of("s")), 0);
	/* Nor is a link followed. */
	assert_int_equal(symlink("elsewhere", path_of("s")), 0);
	assert_int_equal(listen_at(path_of("s")), -EEXIST);
	assert_int_equal(unlink(path_of("s")), 0);
}

static void no_directory_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(listen_at(path_of("none/s")), -ENOENT);
	assert_int_equal(listen_at(path_of("")), -EISDIR);
	assert_int_equal(unix_connect(path_of("s"), SOCK_SEQPACKET, 1, &err), -ENOENT);
}

static void an_inherited_socket_is_taken(void **state)
{
	int fd = listen_at(path_of("s")), copy;
	struct unix_name first = name;
	char path[64];

	(void)state;
	fcntl(fd, F_SETFD, 0);
	fcntl(fd, F_SETFL, 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	copy = listen_at(path);
	assert_return_code(copy, errno);
	assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
	/* Whoever made it removes it. */
	assert_int_equal(name.dir_fd, -1);
	assert_int_equal(unix_listen("x", path, SOCK_STREAM, &name, &err), -EINVAL);
	name = first;
	close(copy);
	close(fd);
}

static void an_inherited_socket_must_listen(void **state)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(listen_at(path), -EINVAL);
	assert_non_null(strstr(err.msg, "listening"));
	close(fd);
}

static void a_listener_that_never_accepts_cannot_hang_a_client(void **state)
{
	int fd = listen_at(path_of("s")), first;

	(void)state;
	assert_int_equal(listen(fd, 0), 0);
	first = unix_connect(path_of("s"), SOCK_SEQPACKET, 1, &err);
	assert_return_code(first, errno);
	assert_int_equal(unix_connect(path_of("s"), SOCK_SEQPACKET, 1, &err), -EAGAIN);
	close(first);
	close(fd);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(listens_for_its_owner_only),
		TEST(a_path_longer_than_an_address_works),
		TEST(a_name_longer_than_an_address_is_an_error),
		TEST(a_stale_socket_is_replaced),
		TEST(a_live_socket_is_refused),
		TEST(a_live_socket_of_another_type_is_refused),
		TEST(a_live_socket_with_a_full_backlog_is_refused),
		TEST(what_is_no_socket_stays),
		TEST(no_directory_is_an_error),
		TEST(an_inherited_socket_is_taken),
		TEST(an_inherited_socket_must_listen),
		TEST(a_listener_that_never_accepts_cannot_hang_a_client),
	};

	name.dir_fd = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
