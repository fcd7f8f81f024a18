/* Starting a private service; see global_spawn.h. */
#include "service/virtmgr/global_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "service/common/paths.h"
#include "service/common/spawn.h"

#define READY_MS 10000

/* Its parent ends at once, so that it is nobody's child here. */
static int spawn(const char *program, const char *folder, int ready, struct err *err)
{
	char arg0[] = "virtualizationservice", arg1[] = "--private";
	char arg2[] = "--ready-fd", arg3[] = "3", arg4[] = "--detach";
	AUTO_FREE char *dir = strdup(folder);
	char *argv[] = { arg0, arg1, dir, arg2, arg3, arg4, NULL };
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int fds[] = { null, null, -1, ready };
	pid_t pid;
	int r;

	if (!dir || null < 0)
		return err_sys(err, dir ? -errno : -ENOMEM, "%s", program);
	r = spawn_program(program, argv, fds, ARRAY_SIZE(fds), &pid, err);
	if (r < 0)
		return r;
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
