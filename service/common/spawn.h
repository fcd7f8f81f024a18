/*
 * Starting another program of the service. posix_spawn and not fork, for callers of any
 * size and number of threads. Any thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define SPAWN_MAX_FDS 8

/*
 * Run @program with @argv as a child, to be waited for. It has @fds, which stay the
 * caller's, under the numbers from 0 on; where one is -1, what has that number here;
 * and no others. No signal is blocked or ignored in it, whatever is here.
 */
int spawn_program(const char *program, char *const argv[], const int *fds, size_t n_fds,
		  pid_t *ret_pid, struct err *err);
