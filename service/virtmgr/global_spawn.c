/* Starting a private service; see global_spawn.h. */
#include "service/virtmgr/global_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "service/common/paths.h"

#define READY_MS 10000

/* Its parent ends at once, so that it is nobody's child here. */
static int spawn(const char *program, const char *folder, int ready, struct err *err)
{
	char arg0[] = "virtualizationservice", arg1[] = "--private";
	char arg2[] = "--ready-fd", arg3[] = "3", arg4[] = "--detach";
	AUTO_FREE char *dir = strdup(folder);
	char *argv[] = { arg0, arg1, dir, arg2, arg3, arg4, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid;
	int r;

	if (!dir)
		return err_sys(err, -ENOMEM, "%s", program);
	r = posix_spawn_file_actions_init(&actions);
	if (r)
		return err_sys(err, -r, "%s", program);
	r = posix_spawnattr_init(&attr);
	if (r) {
		posix_spawn_file_actions_destroy(&actions);
		return err_sys(err, -r, "%s", program);
	}
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn_file_actions_adddup2(&actions, ready, 3);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR,
						     0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, 0, 1);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(&actions, 4);
	if (r == 0)
		r = posix_spawn(&pid, program, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return err_sys(err, -r, "%s", program);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* "o", or a sentence. */
static int wait_ready(const char *program, int fd, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[sizeof(err->msg)] = "";
	ssize_t n;

	if (poll(&p, 1, READY_MS) <= 0)
		return err_set(err, -ETIMEDOUT, "%s: does not get ready", program);
	n = read(fd, text, sizeof(text) - 1);
	if (n == 1 && *text == 'o')
		return 0;
	if (n > 0)
		return err_set(err, -EIO, "%s: %s", program, text);
	return err_set(err, -EIO, "%s: ended before it was ready", program);
}

int global_spawn(const char *folder, struct err *err)
{
	AUTO_FREE char *program = paths_program("virtualizationservice");
	AUTO_CLOSE int reader = -1;
	int ready[2], r;

	if (!program)
		return err_sys(err, -ENOMEM, "virtualizationservice");
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "%s", program);
	reader = ready[0];
	r = spawn(program, folder, ready[1], err);
	close(ready[1]);
	return r < 0 ? r : wait_ready(program, reader, err);
}
