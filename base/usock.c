/* Unix sockets that the user names; see usock.h. Any thread. */
#include "base/usock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"

#define TRIES 100
#define PAUSE_MS 10

static int take_inherited(const char *what, const char *path, int type, struct err *err)
{
	AUTO_CLOSE int fd = file_open(what, path, O_RDWR, err);
	struct sockaddr_un peer;
	socklen_t len = sizeof(int);
	int got = 0;

	if (fd < 0)
		return fd;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &got, &len) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (got != type)
		return err_set(err, -EPROTOTYPE, "%s %s: not a %s socket", what, path,
			       type == SOCK_STREAM ? "stream" : "datagram");
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	return TAKE_FD(fd);
}

/* An address holds 107 bytes: a longer path goes through its folder's descriptor. */
static int set_address(struct sockaddr_un *addr, const char *path, int *ret_dir_fd)
{
	const char *slash = strrchr(path, '/');
	AUTO_FREE char *folder = NULL;
	int n;

	addr->sun_family = AF_UNIX;
	if (strlen(path) < sizeof(addr->sun_path)) {
		memcpy(addr->sun_path, path, strlen(path));
		return 0;
	}
	folder = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;
	if (!folder)
		return slash ? -ENOMEM : -ENAMETOOLONG;
	*ret_dir_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir_fd < 0)
		return -errno;
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%s",
		     *ret_dir_fd, slash + 1);
	return n < (int)sizeof(addr->sun_path) ? 0 : -ENAMETOOLONG;
}

int usock_connect(const char *what, const char *path, int type, struct err *err)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	struct sockaddr_un addr = { 0 };
	AUTO_CLOSE int dir_fd = -1;
	AUTO_CLOSE int fd = -1;
	int r;

	if (file_is_inherited(path))
		return take_inherited(what, path, type, err);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	r = set_address(&addr, path, &dir_fd);
	if (r < 0)
		return err_sys(err, r, "%s %s", what, path);
	for (int i = 0; i < TRIES; i++) {
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
			return TAKE_FD(fd);
		r = -errno;
		if (r != -ENOENT && r != -ECONNREFUSED)
			break;
		nanosleep(&pause, NULL);
	}
	return err_sys(err, r, "%s %s", what, path);
}
