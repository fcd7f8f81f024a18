/*
 * Unix sockets by path: one to listen at, with its name to be removed at the end, and
 * one to connect to. Paths of any length; only their last part is bound to an address'
 * 107 bytes. A listening socket is its owner's only (mode 0600).
 */
#pragma once

#include <stdbool.h>
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
 * inherited listening socket of that type, which becomes non-blocking for all who share
 * it. Returns the fd, or -errno with "@what PATH: reason".
 */
int unix_listen(const char *what, const char *path, int type,
		struct unix_name *ret_name, struct err *err);

/*
 * Take who waits at the listening socket @fd, without blocking; any family will do.
 * Where descriptors have run out he is turned away, or he would wake a loop for ever:
 * *@spare_fd, which the caller has opened and will close, is given up for a moment.
 * Returns a non-blocking fd, or -errno.
 */
int unix_accept(int fd, int *spare_fd);

/*
 * Keep others from listening in the name's directory until the fd that this returns is
 * closed, so that what belongs to the name can be removed with it. Waits up to a
 * second; -errno, also where it is nowhere.
 */
int unix_lock(const struct unix_name *name);

/* Remove the name if it is still that socket's, and close its directory. */
void unix_remove(struct unix_name *name);

struct unix_patience {
	unsigned seconds; /* the longest wait at a time, then -EAGAIN; 0: no limit */
	bool may_come; /* who listens may come up to a second later than we do */
};

/*
 * Connect to the socket of @type at @path. @patience->seconds holds for the use of the
 * socket, too. Or take /proc/self/fd/N, an inherited socket of that type that is
 * connected; its flags and limits stay as they are. Returns the fd, blocking when it is
 * new, or -errno with "@what PATH: reason".
 */
int unix_connect(const char *what, const char *path, int type,
		 const struct unix_patience *patience, struct err *err);
