/* Listening at a Unix socket; see listen.h. Any thread. */
#include "base/listen.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"

#define BACKLOG 128
#define LOCK_TRIES 100
#define LOCK_PAUSE_MS 10

static int option(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -1 : value;
}

static int take_inherited(const char *what, const char *path, char *ret_name,
			  struct err *err)
{
	AUTO_CLOSE int fd = file_open(what, path, O_RDWR, err);
	struct sockaddr_un addr = { 0 };
	socklen_t len = sizeof(addr);

	if (fd < 0)
		return fd;
	if (option(fd, SO_DOMAIN) != AF_UNIX || option(fd, SO_TYPE) != SOCK_STREAM ||
	    option(fd, SO_ACCEPTCONN) != 1)
		return err_set(err, -EINVAL,
			       "%s %s: is not a Unix stream socket that listens", what,
			       path);
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	memcpy(ret_name, addr.sun_path, sizeof(addr.sun_path) - 1);
	return TAKE_FD(fd);
}

/* 0: nothing is in the way any more. */
static int remove_stale(const char *what, const struct sockaddr_un *addr,
			struct err *err)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   0);
	const char *path = addr->sun_path;
	struct stat st;

	if (fd < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "%s %s", what, path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "%s %s: exists and is not a socket", what,
			       path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno != ECONNREFUSED)
		return err_set(err, -EADDRINUSE, "%s %s: is in use", what, path);
	return unlink(path) < 0 ? err_sys(err, -errno, "%s %s", what, path) : 0;
}

/*
 * Two of us must not both find the same stale file, and the slower one remove
 * what the faster one has made. A folder that cannot be locked is no reason to fail,
 * nor to wait for ever: whoever may read it may keep it locked, and /tmp is
 * everybody's.
 */
static int lock_folder(const char *path)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000 };
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;

	memcpy(copy, path, strlen(path) + 1);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			break;
		nanosleep(&pause, NULL);
	}
	return fd;
}

static int make(const char *what, const struct sockaddr_un *addr, struct err *err)
{
	AUTO_CLOSE int folder = lock_folder(addr->sun_path);
	AUTO_CLOSE int fd = -1;
	int r = remove_stale(what, addr, err);

	(void)folder;
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return err_sys(err, -errno, "%s %s", what, addr->sun_path);
	if (listen(fd, BACKLOG) < 0) {
		r = err_sys(err, -errno, "%s %s", what, addr->sun_path);
		unlink(addr->sun_path);
		return r;
	}
	return TAKE_FD(fd);
}

int listen_unix(const char *what, const char *path, struct listener *ret,
		struct err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct listener l = { .made = !file_is_inherited(path) };

	if (!l.made) {
		l.fd = take_inherited(what, path, l.path, err);
	} else if (strlen(path) < sizeof(addr.sun_path)) {
		memcpy(addr.sun_path, path, strlen(path) + 1);
		memcpy(l.path, addr.sun_path, sizeof(l.path));
		l.fd = make(what, &addr, err);
	} else {
		l.fd = err_set(err, -ENAMETOOLONG, "%s %s: longer than %zu bytes", what,
			       path, sizeof(addr.sun_path) - 1);
	}
	if (l.fd < 0)
		return l.fd;
	*ret = l;
	return 0;
}
