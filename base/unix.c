/* Unix sockets by path; see unix.h. Any thread. */
#include "base/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define BACKLOG 128

/* For who listens later than we connect, and who makes a socket beside ours. */
#define TRIES 100
#define PAUSE_MS 10

static void pause_a_while(void)
{
	const struct timespec t = { .tv_nsec = PAUSE_MS * 1000000 };

	nanosleep(&t, NULL);
}

/* Inode numbers are used again at once; the time of making tells them apart. */
static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Open @path's directory, whose entry it is; its last part goes to @ret_base. */
static int open_dir(const char *path, char *ret_base, size_t size)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	AUTO_FREE char *dir = slash ? strndup(path, (size_t)(slash - path) + 1)
				    : strdup(".");
	int fd;

	if (!dir)
		return -ENOMEM;
	if (!*base)
		return -EISDIR;
	if ((size_t)snprintf(ret_base, size, "%s", base) >= size)
		return -ENAMETOOLONG;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The address of @path: where it is too long for one, by way of its directory. */
static int set_address(struct sockaddr_un *ret, const char *path, int dir_fd,
		       const char *base)
{
	size_t size = sizeof(ret->sun_path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if ((size_t)snprintf(ret->sun_path, size, "%s", path) < size)
		return 0;
	if ((size_t)snprintf(ret->sun_path, size, "/proc/self/fd/%d/%s", dir_fd, base) <
	    size)
		return 0;
	return -ENAMETOOLONG;
}

static const char *type_name(int type)
{
	switch (type) {
	case SOCK_STREAM:
		return "stream";
	case SOCK_DGRAM:
		return "datagram";
	default:
		return "seqpacket";
	}
}

static int option(int fd, int name)
{
	socklen_t len = sizeof(int);
	int value = -1;

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) < 0 ? -errno : value;
}

static int not_a_socket(const char *what, const char *path, struct err *err)
{
	return err_set(err, -ENOTSOCK, "%s %s: is not a socket", what, path);
}

static int take_inherited(const char *what, const char *path, int type, bool listening,
			  struct err *err)
{
	AUTO_CLOSE int fd = file_open(what, path, O_RDWR, err);
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);
	int domain;
	bool fits;

	if (fd < 0)
		return fd;
	domain = option(fd, SO_DOMAIN);
	if (domain == -ENOTSOCK)
		return not_a_socket(what, path, err);
	if (domain < 0)
		return err_sys(err, domain, "%s %s", what, path);
	fits = listening ? option(fd, SO_ACCEPTCONN) == 1
			 : getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
	if (domain != AF_UNIX || option(fd, SO_TYPE) != type || !fits)
		return err_set(err, -EINVAL,
			       "%s %s: is not a %s unix socket of type %s", what, path,
			       listening ? "listening" : "connected", type_name(type));
	return TAKE_FD(fd);
}

/*
 * Two of us must not both find the same stale socket, and the slower one remove what
 * the faster one has made. Who has the lock for longer is none of us.
 */
static int lock_dir(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (int i = 0; fd >= 0 && i < TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
			break;
		pause_a_while();
	}
	return fd;
}

/* Make room for a socket at @addr: 0 when there is nothing, any more. */
static int clear_way(const char *what, const char *path, int type, int dir_fd,
		     const char *base, const struct sockaddr_un *addr, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;

	if (fstatat(dir_fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "%s %s", what, path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST,
			       "%s %s: is there already, and is no socket", what, path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 ||
	    errno == EAGAIN || errno == EPROTOTYPE)
		return err_set(err, -EADDRINUSE,
			       "%s %s: somebody answers there already", what, path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return err_sys(err, -errno, "%s %s", what, path);
	if (unlinkat(dir_fd, base, 0) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "%s %s", what, path);
	return 0;
}

static int listen_inherited(const char *what, const char *path, int type,
			    struct err *err)
{
	AUTO_CLOSE int fd = take_inherited(what, path, type, true, err);

	if (fd >= 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	return TAKE_FD(fd);
}

int unix_listen(const char *what, const char *path, int type,
		struct unix_name *ret_name, struct err *err)
{
	struct unix_name name;
	AUTO_CLOSE int dir_fd = -1;
	AUTO_CLOSE int lock = -1;
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un addr;
	int r;

	*ret_name = (struct unix_name){ .dir_fd = -1 };
	if (file_is_inherited(path))
		return listen_inherited(what, path, type, err);
	dir_fd = r = open_dir(path, name.base, sizeof(name.base));
	if (r >= 0)
		r = set_address(&addr, path, dir_fd, name.base);
	if (r < 0)
		return err_sys(err, r, "%s %s", what, path);
	lock = lock_dir(dir_fd);
	(void)lock; /* until we return */
	r = clear_way(what, path, type, dir_fd, name.base, &addr, err);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Linux gives the file this mode: so it is never anybody else's, umask or not.
	 */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (listen(fd, BACKLOG) < 0 ||
	    fstatat(dir_fd, name.base, &name.made, AT_SYMLINK_NOFOLLOW) < 0) {
		r = err_sys(err, -errno, "%s %s", what, path);
		unlinkat(dir_fd, name.base, 0);
		return r;
	}
	name.dir_fd = TAKE_FD(dir_fd);
	*ret_name = name;
	return TAKE_FD(fd);
}

int unix_accept(int fd, int *spare_fd)
{
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r = conn < 0 ? -errno : conn;

	if (r == -EMFILE || r == -ENFILE) {
		cleanup_close(spare_fd);
		conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		cleanup_close(&conn);
		*spare_fd = eventfd(0, EFD_CLOEXEC);
	}
	return r;
}

int unix_lock(const struct unix_name *name)
{
	int fd = name->dir_fd < 0 ? -ENOENT : lock_dir(name->dir_fd);

	return fd == -1 ? -errno : fd;
}

void unix_remove(struct unix_name *name)
{
	struct stat st;

	if (name->dir_fd < 0)
		return;
	if (fstatat(name->dir_fd, name->base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    same_file(&st, &name->made))
		unlinkat(name->dir_fd, name->base, 0);
	close(TAKE_FD(name->dir_fd));
}

static int limit_waiting(int fd, unsigned seconds)
{
	const struct timeval limit = { .tv_sec = (time_t)seconds };

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	return 0;
}

static int connect_to(int fd, const struct sockaddr_un *addr, bool may_come)
{
	for (int i = 1;; i++) {
		if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
			return 0;
		if (!may_come || i == TRIES ||
		    (errno != ENOENT && errno != ECONNREFUSED))
			return -errno;
		pause_a_while();
	}
}

int unix_connect(const char *what, const char *path, int type,
		 const struct unix_patience *patience, struct err *err)
{
	AUTO_CLOSE int dir_fd = -1;
	AUTO_CLOSE int fd = -1;
	struct sockaddr_un addr;
	char base[sizeof(addr.sun_path)];
	struct stat st;
	int r;

	if (file_is_inherited(path))
		return take_inherited(what, path, type, false, err);
	dir_fd = r = open_dir(path, base, sizeof(base));
	if (r >= 0)
		r = set_address(&addr, path, dir_fd, base);
	if (r < 0)
		return err_sys(err, r, "%s %s", what, path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	r = fd < 0 ? -errno : limit_waiting(fd, patience->seconds);
	if (r == 0)
		r = connect_to(fd, &addr, patience->may_come);
	/* As if nobody listened, says Linux. */
	if (r == -ECONNREFUSED && fstatat(dir_fd, base, &st, 0) == 0 &&
	    !S_ISSOCK(st.st_mode))
		return not_a_socket(what, path, err);
	return r < 0 ? err_sys(err, r, "%s %s", what, path) : TAKE_FD(fd);
}
