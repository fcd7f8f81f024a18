/* base/usock.c */
#include "base/usock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/test_usock.XXXXXX";
static struct err err;

static int group_setup(void **state)
{
	(void)state;
	return !mkdtemp(dir) || chdir(dir) < 0;
}

static int group_teardown(void **state)
{
	(void)state;
	return chdir("/") < 0 || rmdir(dir) < 0;
}

static int listen_at(const char *name, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	strcpy(addr.sun_path, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void both_types_connect(void **state)
{
	char buf[4] = "";
	int server, fd, peer;

	(void)state;
	server = listen_at("s", SOCK_STREAM);
	fd = usock_connect("serial 1", "s", SOCK_STREAM, &err);
	assert_true(fd >= 0);
	peer = accept(server, NULL, NULL);
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(read(peer, buf, sizeof(buf)), 3);
	close(peer);
	close(fd);
	close(server);
	unlink("s");

	server = listen_at("s", SOCK_DGRAM);
	fd = usock_connect("serial 1", "s", SOCK_DGRAM, &err);
	assert_int_equal(write(fd, "de", 2), 2);
	assert_int_equal(read(server, buf, sizeof(buf)), 2);
	close(fd);
	close(server);
	unlink("s");
}

static void long_paths_connect(void **state)
{
	char folder[101], path[256];
	int server, fd;

	(void)state;
	memset(folder, 'd', 100);
	folder[100] = '\0';
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(chdir(folder), 0);
	server = listen_at("socket", SOCK_STREAM);
	assert_int_equal(chdir(".."), 0);
	snprintf(path, sizeof(path), "%s/%s/socket", dir, folder);
	fd = usock_connect("serial 1", path, SOCK_STREAM, &err);
	assert_true(fd >= 0);
	close(fd);
	close(server);
	unlink(path);
	rmdir(folder);
}

static void *listen_late(void *arg)
{
	usleep(100000);
	return (void *)(intptr_t)listen_at(arg, SOCK_DGRAM);
}

static void late_listener_is_waited_for(void **state)
{
	pthread_t thread;
	void *server;
	int fd;

	(void)state;
	pthread_create(&thread, NULL, listen_late, (char[]){ "s" });
	fd = usock_connect("serial 1", "s", SOCK_DGRAM, &err);
	pthread_join(thread, &server);
	assert_true(fd >= 0);
	close(fd);
	close((int)(intptr_t)server);
	unlink("s");
}

static void inherited_sockets_are_taken(void **state)
{
	int s[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	fd = usock_connect("serial 1", fd_path(s[0]), SOCK_STREAM, &err);
	assert_true(fd >= 0 && fd != s[0]);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(usock_connect("serial 1", fd_path(s[0]), SOCK_DGRAM, &err),
			 -EPROTOTYPE);
	assert_non_null(strstr(err.msg, "not a datagram socket"));
	close(fd);
	close(s[0]);
	close(s[1]);
	s[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(usock_connect("serial 1", fd_path(s[0]), SOCK_STREAM, &err),
			 -ENOTCONN);
	close(s[0]);
}

static void errors_name_the_socket(void **state)
{
	FILE *f = fopen("plain", "w");
	char path[300];

	(void)state;
	assert_int_equal(usock_connect("serial 1", "none", SOCK_STREAM, &err), -ENOENT);
	assert_string_equal(err.msg, "serial 1 none: No such file or directory");
	assert_int_equal(usock_connect("serial 1", "plain", SOCK_STREAM, &err),
			 -ECONNREFUSED);
	assert_int_equal(
		usock_connect("serial 1", fd_path(fileno(f)), SOCK_STREAM, &err),
		-EACCES); /* it cannot be read */
	memset(path, 'x', 299);
	path[299] = '\0';
	assert_int_equal(usock_connect("serial 1", path, SOCK_STREAM, &err),
			 -ENAMETOOLONG);
	fclose(f);
	unlink("plain");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_types_connect),
		cmocka_unit_test(long_paths_connect),
		cmocka_unit_test(late_listener_is_waited_for),
		cmocka_unit_test(inherited_sockets_are_taken),
		cmocka_unit_test(errors_name_the_socket),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
