/*
 * Which program is at the other end of a socket.
 *
 * early_virtmgr runs as its client and has no rights that this has not, so what is
 * asked here keeps programs from taking one another's CIDs by mistake, and is no wall:
 * who made the socket may have become another program since, or have passed it on.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct caller {
	pid_t pid;
	int proc_fd; /* its folder in /proc: this process, not the next of that number
		      */
};

/* Who made the socket pair, or connected, as SO_PEERCRED names it. */
int caller_new(int fd, struct caller *ret_caller, struct err *err);
void caller_free(struct caller *caller);

/*
 * Whether it runs the program @path: the same file, and by that name once symbolic
 * links are resolved. -EACCES: another one; -errno: it cannot be told.
 */
int caller_check(const struct caller *caller, const char *path, struct err *err);
