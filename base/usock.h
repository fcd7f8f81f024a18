/*
 * Unix sockets that the user names: connecting to one.
 */
#pragma once

#include "base/err.h"

/*
 * Connect to the socket at @path, of SOCK_STREAM or SOCK_DGRAM as @type says; or take
 * /proc/self/fd/N, an inherited socket of that type which is connected (its flags stay
 * as they are). Who listens there may come up to a second later than we do. Returns the
 * fd, close-on-exec and blocking when it is new, or -errno with a sentence "@what PATH:
 * reason".
 */
int usock_connect(const char *what, const char *path, int type, struct err *err);
