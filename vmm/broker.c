/* The process that connects to Unix sockets; see broker.h. */
#include "vmm/broker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "devices/connector.h"
#include "vmm/jail.h"

/* Where it keeps its socket. */
#define CHANNEL STDIN_FILENO

static void serve(const char *prefix)
{
	uint64_t id;
	uint32_t port;

	while (connector_next(CHANNEL, &id, &port) > 0) {
		AUTO_CLOSE int sock = connector_dial(prefix, port);

		if (connector_answer(CHANNEL, id, sock) < 0)
			return;
	}
}

static _Noreturn void broker(const struct broker_cfg *cfg, int fd)
{
	struct stat made = { 0 }, now;
	struct err err;
	sigset_t all;
	int r = 0;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "vmm-broker", 0, 0, 0);
	if (dup2(fd, CHANNEL) < 0 || close_range(CHANNEL + 1, ~0u, 0) < 0)
		r = -errno;
	/* Held open, or its inode number could become another file's. */
	if (r == 0 && cfg->made &&
	    (lstat(cfg->made, &made) < 0 || open(cfg->made, O_PATH | O_NOFOLLOW) < 0))
		r = -errno;
	if (r == 0 && cfg->jail)
		r = jail_broker(&err);
	if (send(CHANNEL, &r, sizeof(r), MSG_NOSIGNAL) < 0 || r < 0)
		_exit(1);
	serve(cfg->prefix);
	/* Unless another one has taken its place. */
	if (cfg->made && lstat(cfg->made, &now) == 0 && now.st_dev == made.st_dev &&
	    now.st_ino == made.st_ino)
		unlink(cfg->made);
	_exit(0);
}

int broker_start(const struct broker_cfg *cfg, pid_t *ret_pid, int *ret_fd,
		 struct err *err)
{
	AUTO_CLOSE int ours = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "broker");
	ours = pair[0];
	pid = fork();
	if (pid == 0)
		broker(cfg, pair[1]);
	r = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (r == 0 && recv(ours, &r, sizeof(r), 0) != sizeof(r))
		r = -EPIPE;
	if (r < 0)
		return err_sys(err, r, "broker");
	*ret_pid = pid;
	*ret_fd = TAKE_FD(ours);
	return 0;
}
