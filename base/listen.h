/* Listening at a Unix socket that the user names. */
#pragma once

#include <stdbool.h>
#include <sys/un.h>

#include "base/err.h"

struct listener {
	int fd; /* non-blocking */
	bool made; /* the file is ours, and somebody has to remove it in the end */
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* "": it has none */
};

/*
 * Listen for streams at @path. A socket file that nobody listens on any more is
 * replaced; a live one gives -EADDRINUSE, any other file -EEXIST.
 * "/proc/self/fd/N" is an inherited socket, which must be listening already; it
 * becomes non-blocking for all who share it. The sentence begins with @what.
 */
int listen_unix(const char *what, const char *path, struct listener *ret,
		struct err *err);
