/* base/unix.c: names in the file system, stale ones and live ones, late ones */
#include "base/unix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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
	return unix_listen("control socket", path, SOCK_SEQPACKET, &name, &err);
}

/* Whose sentences begin with "vm". */
static int connect_within(unsigned seconds, const char *path)
{
	const struct unix_patience patience = { .seconds = seconds };

	return unix_connect("vm", path, SOCK_SEQPACKET, &patience, &err);
}

static int connect_early(const char *path, int type)
{
	const struct unix_patience patience = { .may_come = true };

	return unix_connect("serial 1", path, type, &patience, &err);
}

/* As others do: without us. */
static int serve(const char *path, int type)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static const char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void connects(const char *path)
{
	int fd = connect_within(5, path);

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
	n = connect_within(1, path_of("s"));
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
	assert_int_equal(connect_within(1, path_of("s")), -ENOENT);
}

static void an_inherited_socket_is_taken(void **state)
{
	int fd = listen_at(path_of("s")), copy;
	struct unix_name first = name;

	(void)state;
	fcntl(fd, F_SETFD, 0);
	fcntl(fd, F_SETFL, 0);
	copy = listen_at(fd_path(fd));
	assert_return_code(copy, errno);
	assert_true(fcntl(copy, F_GETFL) & O_NONBLOCK);
	/* Whoever made it removes it. */
	assert_int_equal(name.dir_fd, -1);
	assert_int_equal(unix_listen("x", fd_path(fd), SOCK_STREAM, &name, &err),
			 -EINVAL);
	name = first;
	close(copy);
	close(fd);
}

static void an_inherited_socket_must_listen(void **state)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)state;
	assert_int_equal(listen_at(fd_path(fd)), -EINVAL);
	assert_non_null(
		strstr(err.msg, "not a listening unix socket of type seqpacket"));
	close(fd);
}

static void a_listener_that_never_accepts_cannot_hang_a_client(void **state)
{
	int fd = listen_at(path_of("s")), first;

	(void)state;
	assert_int_equal(listen(fd, 0), 0);
	first = connect_within(1, path_of("s"));
	assert_return_code(first, errno);
	assert_int_equal(connect_within(1, path_of("s")), -EAGAIN);
	close(first);
	close(fd);
}

static void both_types_connect(void **state)
{
	int server = serve(path_of("s"), SOCK_STREAM), fd, peer;
	char buf[4] = "";

	(void)state;
	fd = connect_early(path_of("s"), SOCK_STREAM);
	assert_return_code(fd, errno);
	peer = accept(server, NULL, NULL);
	assert_int_equal(write(fd, "abc", 3), 3);
	assert_int_equal(read(peer, buf, sizeof(buf)), 3);
	close(peer);
	close(fd);
	close(server);
	unlink(path_of("s"));

	server = serve(path_of("s"), SOCK_DGRAM);
	fd = connect_early(path_of("s"), SOCK_DGRAM);
	assert_int_equal(write(fd, "de", 2), 2);
	assert_int_equal(read(server, buf, sizeof(buf)), 2);
	close(fd);
	close(server);
	unlink(path_of("s"));
}

/* Of a server that got there by a short one. */
static void long_paths_connect(void **state)
{
	char folder[700], path[800];
	int server, fd;

	(void)state;
	snprintf(folder, sizeof(folder), "%s/%0100d", dir, 1);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(chdir(folder), 0);
	server = serve("socket", SOCK_STREAM);
	assert_int_equal(chdir("/"), 0);
	snprintf(path, sizeof(path), "%s/socket", folder);
	fd = connect_early(path, SOCK_STREAM);
	assert_return_code(fd, errno);
	close(fd);
	close(server);
	unlink(path);
	assert_int_equal(rmdir(folder), 0);
}

static void *serve_late(void *arg)
{
	usleep(100000);
	return (void *)(intptr_t)serve(arg, SOCK_DGRAM);
}

static void a_late_listener_is_waited_for(void **state)
{
	char path[600];
	pthread_t thread;
	void *server;
	int fd;

	(void)state;
	strcpy(path, path_of("s"));
	pthread_create(&thread, NULL, serve_late, path);
	fd = connect_early(path, SOCK_DGRAM);
	pthread_join(thread, &server);
	assert_return_code(fd, errno);
	close(fd);
	close((int)(intptr_t)server);
	unlink(path);
}

static void inherited_connections_are_taken(void **state)
{
	int s[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	fd = connect_early(fd_path(s[0]), SOCK_STREAM);
	assert_true(fd >= 0 && fd != s[0]);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(connect_early(fd_path(s[0]), SOCK_DGRAM), -EINVAL);
	assert_non_null(
		strstr(err.msg, "not a connected unix socket of type datagram"));
	close(fd);
	close(s[0]);
	close(s[1]);
	s[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect_early(fd_path(s[0]), SOCK_STREAM), -EINVAL);
	close(s[0]);
	s[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect_early(fd_path(s[0]), SOCK_STREAM), -EINVAL);
	close(s[0]);
}

static void errors_name_the_socket(void **state)
{
	char sentence[700];
	FILE *f = fopen(path_of("plain"), "w");

	(void)state;
	assert_int_equal(connect_early(path_of("none"), SOCK_STREAM), -ENOENT);
	snprintf(sentence, sizeof(sentence), "serial 1 %s/none: %s", dir,
		 strerror(ENOENT));
	assert_string_equal(err.msg, sentence);
	assert_int_equal(connect_early(path_of("plain"), SOCK_STREAM), -ENOTSOCK);
	snprintf(sentence, sizeof(sentence), "serial 1 %s/plain: is not a socket", dir);
	assert_string_equal(err.msg, sentence);
	close(serve(path_of("stale"), SOCK_STREAM));
	assert_int_equal(connect_early(path_of("stale"), SOCK_STREAM), -ECONNREFUSED);
	unlink(path_of("stale"));
	/* It cannot be read. */
	assert_int_equal(connect_early(fd_path(fileno(f)), SOCK_STREAM), -EACCES);
	memset(sentence, 'x', 299);
	sentence[299] = '\0';
	assert_int_equal(connect_early(sentence, SOCK_STREAM), -ENAMETOOLONG);
	fclose(f);
	unlink(path_of("plain"));
}

/* Each finds the stale one or another's live one, never what another has just made. */
static void *listen_in_a_crowd(void *path)
{
	struct unix_name mine;
	int fd = unix_listen("x", path, SOCK_STREAM, &mine, NULL);

	if (mine.dir_fd >= 0)
		close(mine.dir_fd);
	return (void *)(intptr_t)fd;
}

static void one_of_many_gets_a_stale_socket(void **state)
{
	char path[600];
	pthread_t threads[8];
	void *fd;

	(void)state;
	strcpy(path, path_of("s"));
	for (unsigned turn = 0; turn < 50; turn++) {
		int winner = -1;

		close(serve(path, SOCK_STREAM));
		for (unsigned i = 0; i < 8; i++)
			pthread_create(&threads[i], NULL, listen_in_a_crowd, path);
		for (unsigned i = 0; i < 8; i++) {
			pthread_join(threads[i], &fd);
			if ((intptr_t)fd < 0) {
				assert_int_equal((intptr_t)fd, -EADDRINUSE);
				continue;
			}
			assert_int_equal(winner, -1);
			winner = (int)(intptr_t)fd;
		}
		assert_true(winner >= 0);
		close(winner);
		unlink(path);
	}
}

/* Who waits must not wake a loop for ever: no call leaves him in the queue. */
static void without_descriptors_who_waits_is_turned_away(void **state)
{
	struct rlimit limit, none;
	int s = listen_at(path_of("s")), spare = dup(s), fd;
	int first = connect_within(1, path_of("s")), second;
	struct pollfd waits = { .fd = s, .events = POLLIN };
	char byte;

	(void)state;
	assert_true(first >= 0 && spare >= 0);
	fd = dup(s);
	close(fd); /* it is the next one that would be used */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ (rlim_t)fd, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(unix_accept(s, &spare), -EMFILE);
	assert_true(spare >= 0);
	assert_int_equal(poll(&waits, 1, 0), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(recv(first, &byte, 1, 0), 0);

	second = connect_within(1, path_of("s"));
	fd = unix_accept(s, &spare);
	assert_true(fd >= 0);
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	close(first);
	close(second);
	close(spare);
	close(s);
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
		TEST(one_of_many_gets_a_stale_socket),
		TEST(both_types_connect),
		TEST(long_paths_connect),
		TEST(a_late_listener_is_waited_for),
		TEST(inherited_connections_are_taken),
		TEST(errors_name_the_socket),
		TEST(without_descriptors_who_waits_is_turned_away),
	};

	name.dir_fd = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
