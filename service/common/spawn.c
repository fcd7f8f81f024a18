/* Starting another program; see spawn.h. */
#include "service/common/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

/* These return errno, as those of posix_spawn do. */

static int add_actions(posix_spawn_file_actions_t *actions, const int *fds, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		if (fds[i] >= 0)
			r = posix_spawn_file_actions_adddup2(actions, fds[i], (int)i);
	return r ?: posix_spawn_file_actions_addclosefrom_np(actions, (int)n);
}

static int run(const char *program, char *const argv[], const int *fds, size_t n,
	       pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = posix_spawn_file_actions_init(&actions);

	if (r)
		return r;
	r = posix_spawnattr_init(&attr);
	if (r == 0) {
		sigemptyset(&none);
		sigfillset(&all);
		posix_spawnattr_setsigmask(&attr, &none);
		posix_spawnattr_setsigdefault(&attr, &all);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
							POSIX_SPAWN_SETSIGDEF);
		r = add_actions(&actions, fds, n);
		if (r == 0)
			r = posix_spawn(ret_pid, program, &actions, &attr, argv,
					environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

int spawn_program(const char *program, char *const argv[], const int *fds, size_t n_fds,
		  pid_t *ret_pid, struct err *err)
{
	int copies[SPAWN_MAX_FDS] = { 0 }, r = 0;

	assert(n_fds <= SPAWN_MAX_FDS);
	/* Out of the way of the numbers that others are to have. */
	for (size_t i = 0; i < n_fds; i++) {
		copies[i] = fds[i] < 0 ? -1
				       : fcntl(fds[i], F_DUPFD_CLOEXEC, (int)n_fds);
		if (fds[i] >= 0 && copies[i] < 0)
			r = errno;
	}
	r = r ?: run(program, argv, copies, n_fds, ret_pid);
	for (size_t i = 0; i < n_fds; i++)
		if (copies[i] >= 0)
			close(copies[i]);
	return r ? err_sys(err, -r, "%s", program) : 0;
}
