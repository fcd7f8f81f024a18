/* Opening what the user names; see file.h. Any thread. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FD_PREFIX "/proc/self/fd/"

/* Whether @path is exactly /proc/self/fd/N. */
static bool inherited_fd(const char *path, int *ret_fd)
{
	const char *s = path + strlen(FD_PREFIX);
	int fd = 0;

	if (strncmp(path, FD_PREFIX, strlen(FD_PREFIX)) != 0 || *s == '\0')
		return false;
	for (; *s; s++)
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(fd, 10, &fd) ||
		    __builtin_add_overflow(fd, *s - '0', &fd))
			return false;
	*ret_fd = fd;
	return true;
}

bool file_is_inherited(const char *path)
{
	int fd;

	return inherited_fd(path, &fd);
}

/* What an fd with these status flags cannot do of what @flags ask for. */
static const char *missing_access(int have, int flags)
{
	int want = flags & O_ACCMODE;

	if (flags & O_PATH)
		return NULL;
	if (want != O_WRONLY && ((have & O_ACCMODE) == O_WRONLY || (have & O_PATH)))
		return "reading";
	if (want != O_RDONLY && ((have & O_ACCMODE) == O_RDONLY || (have & O_PATH)))
		return "writing";
	return NULL;
}

static int open_inherited(const char *what, const char *path, int fd, int flags,
			  struct err *err)
{
	int fd_flags = fcntl(fd, F_GETFD);
	const char *lacks;
	int copy;

	if (fd_flags < 0)
		return err_set(err, -EBADF, "%s %s: file descriptor %d is not open",
			       what, path, fd);
	/* Close-on-exec marks what this program opened itself. */
	if (fd_flags & FD_CLOEXEC)
		return err_set(
			err, -EBADF,
			"%s %s: file descriptor %d was not passed to this program: closed, or close-on-exec",
			what, path, fd);
	lacks = missing_access(fcntl(fd, F_GETFL), flags);
	if (lacks)
		return err_set(err, -EACCES,
			       "%s %s: file descriptor %d is not open for %s", what,
			       path, fd, lacks);
	/* Never one of the standard streams, should they be closed. */
	copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return copy < 0 ? err_sys(err, -errno, "%s %s", what, path) : copy;
}

static int open_path(const char *what, const char *path, int flags, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int fl;

	flags |= O_CLOEXEC | O_NOCTTY;
	fd = open(path, flags | O_NONBLOCK, 0666);
	/*
	 * A FIFO that nobody reads yet. Opened for both it takes what is written
	 * until a reader comes (fifo(7)).
	 */
	if (fd < 0 && errno == ENXIO && (flags & O_ACCMODE) == O_WRONLY)
		fd = open(path, (flags & ~O_ACCMODE) | O_RDWR | O_NONBLOCK, 0666);
	if (fd < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	fl = fcntl(fd, F_GETFL);
	if (!(flags & O_NONBLOCK) &&
	    (fl < 0 || fcntl(fd, F_SETFL, fl & ~O_NONBLOCK) < 0))
		return err_sys(err, -errno, "%s %s", what, path);
	return TAKE_FD(fd);
}

int file_open(const char *what, const char *path, int flags, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int n, r;

	r = inherited_fd(path, &n) ? open_inherited(what, path, n, flags, err)
				   : open_path(what, path, flags, err);
	if (r < 0)
		return r;
	fd = r;
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (S_ISDIR(st.st_mode) && !(flags & O_DIRECTORY))
		return err_set(err, -EISDIR, "%s %s: is a directory", what, path);
	return TAKE_FD(fd);
}

static const char *kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFBLK:
		return "a block device";
	case S_IFCHR:
		return "a character device";
	default:
		return "something else"; /* such as an eventfd */
	}
}

int file_open_regular(const char *what, const char *path, int flags, uint64_t *ret_size,
		      struct err *err)
{
	AUTO_CLOSE int fd = file_open(what, path, flags, err);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s %s: is %s, not a regular file", what,
			       path, kind(st.st_mode));
	*ret_size = (uint64_t)st.st_size;
	return TAKE_FD(fd);
}

int file_open_private(const char *what, const char *path, struct err *err)
{
	mode_t mask = umask(077);
	AUTO_CLOSE int fd = file_open(what, path, O_WRONLY | O_CREAT, err);
	struct stat st;

	umask(mask);
	if (fd < 0 || file_is_inherited(path))
		return TAKE_FD(fd);
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	/* One that was there before may be everybody's. */
	if (S_ISREG(st.st_mode) &&
	    (((st.st_mode & 077) && fchmod(fd, 0600) < 0) || ftruncate(fd, 0) < 0))
		return err_sys(err, -errno, "%s %s", what, path);
	return TAKE_FD(fd);
}

int file_read_text(const char *what, const char *path, size_t max, char **ret_text,
		   size_t *ret_len, struct err *err)
{
	AUTO_CLOSE int fd = file_open(what, path, O_RDONLY, err);
	AUTO_FREE char *text = malloc(max + 1);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (!text)
		return err_sys(err, -ENOMEM, "%s %s", what, path);
	do {
		n = read(fd, text + len, max + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && len <= max) || (n < 0 && errno == EINTR));
	if (n < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (len > max)
		return err_set(err, -EFBIG, "%s %s: larger than %zu bytes", what, path,
			       max);
	*ret_text = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}

int file_read_at(int fd, void *buf, size_t len, uint64_t off)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = off <= INT64_MAX ? pread(fd, p, len, (off_t)off) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

int file_close_inherited(struct err *err)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (!dir)
		return err_sys(err, -errno, "/proc/self/fd");
	while ((entry = readdir(dir))) {
		int fd = atoi(entry->d_name); /* 0 for "." and ".." */

		if (fd > STDERR_FILENO && fcntl(fd, F_GETFD) == 0)
			close(fd);
	}
	closedir(dir);
	return 0;
}
