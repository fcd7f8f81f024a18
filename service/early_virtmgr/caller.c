/* Which program it is; see caller.h. */
#include "service/early_virtmgr/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int caller_new(int fd, struct caller *ret_caller, struct err *err)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	char path[32];
	int proc_fd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_sys(err, -errno, "the client");
	if (cred.pid <= 0)
		return err_set(err, -ESRCH,
			       "the client is no process that can be seen from here");
	snprintf(path, sizeof(path), "/proc/%d", cred.pid);
	proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc_fd < 0)
		return err_sys(err, -errno, "client %d: %s", cred.pid, path);
	*ret_caller = (struct caller){ .pid = cred.pid, .proc_fd = proc_fd };
	return 0;
}

void caller_free(struct caller *caller)
{
	cleanup_close(&caller->proc_fd);
	caller->proc_fd = -1;
}

int caller_check(const struct caller *caller, const char *path, struct err *err)
{
	AUTO_FREE char *real = realpath(path, NULL);
	struct stat want, got;
	char exe[PATH_MAX];
	ssize_t n;

	if (!real || stat(real, &want) < 0) {
		err_sys(err, -errno, "path: %s", path);
		return -EACCES; /* nobody is it */
	}
	n = readlinkat(caller->proc_fd, "exe", exe, sizeof(exe) - 1);
	if (n < 0 || fstatat(caller->proc_fd, "exe", &got, 0) < 0)
		return err_sys(err, -errno, "client %d: /proc/%d/exe", caller->pid,
			       caller->pid);
	exe[n] = '\0';
	/* In a mount namespace of its own another file can have the name. */
	if (strcmp(exe, real) == 0 && want.st_dev == got.st_dev &&
	    want.st_ino == got.st_ino)
		return 0;
	return err_set(err, -EACCES, "it is for %s, and client %d is %s", real,
		       caller->pid, exe);
}
