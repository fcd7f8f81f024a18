/*
 * Unix sockets by path: one to listen at, with its name to be removed at the end, and
 * one to connect to. Paths of any length; only their last part is bound to an address'
 * 107 bytes. A listening socket is its owner's only (mode 0600).
 */
#pragma once

#include <sys/stat.h>

#include "base/err.h"

/* Where a listening socket is in the file system; dir_fd -1: nowhere, or not our
 * business. */
struct unix_name {
	int dir_fd; /* O_PATH */
	char base[108];
	struct stat made; /* only this is removed */
};

/*
 * Listen, without blocking, at @path with a socket of @type (SOCK_STREAM,
 * SOCK_SEQPACKET). A socket there that nobody listens at is replaced; one where
 * somebody does is -EADDRINUSE, and what is no socket -EEXIST. /proc/self/fd/N is an
 * inherited listening socket of that type. Returns the fd, or -errno with "@what PATH:
 * reason".
 */
int unix_listen(const char *what, const char *path, int type,
		struct unix_name *ret_name, struct err *err);

/* Remove the name if it is still that socket's, and close its directory. */
void unix_remove(struct unix_name *name);

/*
 * Connect to @path. Neither this nor the use of the socket waits longer than @seconds
 * at a time (then -EAGAIN). Returns the fd, or -errno with "PATH: reason".
 */
int unix_connect(const char *path, int type, unsigned seconds, struct err *err);
