/* The command line and descriptors of one vmm; see launch.h. */
#include "service/virtmgr/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FIRST_FD (STDERR_FILENO + 1)

struct launch {
	char **argv; /* ended by NULL; [0] is the program */
	size_t n_args;
	int *fds; /* of FIRST_FD, FIRST_FD + 1... in the child */
	size_t n_fds;
	bool failed; /* to remember one of them */
};

int launch_new(const char *program, struct launch **ret_launch, struct err *err)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (!l || launch_arg(l, "%s", program) < 0) {
		launch_free(l);
		return err_sys(err, -ENOMEM, "%s", program);
	}
	*ret_launch = l;
	return 0;
}

void launch_free(struct launch *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_args; i++)
		free(l->argv[i]);
	for (size_t i = 0; i < l->n_fds; i++)
		close(l->fds[i]);
	free(l->argv);
	free(l->fds);
	free(l);
}

int launch_fd(struct launch *l, int fd)
{
	int *more = reallocarray(l->fds, l->n_fds + 1, sizeof(*more));

	if (!more) {
		close(fd);
		l->failed = true;
		return -ENOMEM;
	}
	l->fds = more;
	l->fds[l->n_fds] = fd;
	return FIRST_FD + (int)l->n_fds++;
}

int launch_fd_copy(struct launch *l, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);

	return copy < 0 ? -errno : launch_fd(l, copy);
}

int launch_next_fd(const struct launch *l)
{
	return FIRST_FD + (int)l->n_fds;
}

int launch_arg(struct launch *l, const char *fmt, ...)
{
	char **more = reallocarray(l->argv, l->n_args + 2, sizeof(*more));
	char *arg = NULL;
	va_list ap;
	int n = -1;

	if (more) {
		l->argv = more;
		va_start(ap, fmt);
		n = vasprintf(&arg, fmt, ap);
		va_end(ap);
	}
	if (n < 0) {
		l->failed = true;
		return -ENOMEM;
	}
	l->argv[l->n_args++] = arg;
	l->argv[l->n_args] = NULL;
	return 0;
}

/* --- in the child ------------------------------------------------------------- */

struct child {
	const struct launch *launch;
	pid_t parent;
	int null_fd, stderr_fd;
	int procs_fd; /* the file of the cgroup to enter, or -1 */
	int error_fd; /* tells what failed; closed by exec */
};

/* Out of the way of the numbers that the child is to have. */
static bool move_above(int *fd, int last)
{
	int copy = *fd > last ? *fd : fcntl(*fd, F_DUPFD_CLOEXEC, last + 1);

	*fd = copy;
	return copy >= 0;
}

/* Give @fd the number @number, and leave it open for the program. */
static bool place(int fd, int number)
{
	return fd == number ? fcntl(fd, F_SETFD, 0) == 0 : dup2(fd, number) == number;
}

/*
 * Two passes: a number may be that of a descriptor which is to get another one. What
 * has its number already stays.
 */
static bool arrange(struct child *c)
{
	const struct launch *l = c->launch;
	int last = FIRST_FD + (int)l->n_fds - 1;

	/* First of all, or there is no way to tell. */
	if (!move_above(&c->error_fd, last) || !move_above(&c->null_fd, last) ||
	    !move_above(&c->stderr_fd, last))
		return false;
	for (size_t i = 0; i < l->n_fds; i++)
		if (l->fds[i] != FIRST_FD + (int)i && !move_above(&l->fds[i], last))
			return false;
	for (size_t i = 0; i < l->n_fds; i++)
		if (!place(l->fds[i], FIRST_FD + (int)i))
			return false;
	if (!place(c->null_fd, STDIN_FILENO) || !place(c->null_fd, STDOUT_FILENO) ||
	    !place(c->stderr_fd, STDERR_FILENO))
		return false;
	/* All of ours are so, but whoever started us may have left some open. */
	close_range((unsigned)last + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	return true;
}

static bool become_child(struct child *c)
{
	sigset_t none;

	if (c->procs_fd >= 0 && write(c->procs_fd, "0", 1) < 0)
		return false;
	/* The signal comes when the parent dies, unless it has died before. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != c->parent)
		return false;
	sigemptyset(&none);
	/* A session of its own: no terminal's keys are for it. */
	return setsid() >= 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0 &&
	       arrange(c);
}

static _Noreturn void run_child(struct child *c)
{
	int code;

	if (become_child(c))
		execv(c->launch->argv[0], c->launch->argv);
	code = errno;
	/* The parent waits for this, or for the end of the pipe. */
	_exit(write(c->error_fd, &code, sizeof(code)) < 0);
}

/* --- starting it -------------------------------------------------------------- */

/*
 * As fork(). A process that is born in its cgroup costs nothing, where moving it there
 * makes the kernel wait; but containers forbid the call, since they cannot look at its
 * arguments.
 */
static pid_t clone_child(struct child *c, int cgroup_fd)
{
	struct clone_args args = {
		.flags = cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (pid >= 0 || errno != ENOSYS)
		return pid;
	if (cgroup_fd >= 0)
		c->procs_fd = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (cgroup_fd >= 0 && c->procs_fd < 0)
		return -1;
	return fork();
}

/* What keeps it from running, or 0 when it runs. */
static int wait_for_exec(int fd)
{
	int code = 0;
	ssize_t n;

	do
		n = read(fd, &code, sizeof(code));
	while (n < 0 && errno == EINTR);
	return n == sizeof(code) ? -code : 0;
}

int launch_start(struct launch *l, int cgroup_fd, int stderr_fd, pid_t *ret_pid,
		 int *ret_pidfd, struct err *err)
{
	struct child c = { l, getpid(), -1, stderr_fd, -1, -1 };
	int error[2], pidfd, r;
	pid_t pid;

	if (l->failed)
		return err_sys(err, -ENOMEM, "%s", l->argv[0]);
	if (pipe2(error, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "%s", l->argv[0]);
	c.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	c.error_fd = error[1];
	pid = c.null_fd < 0 ? -1 : clone_child(&c, cgroup_fd);
	if (pid == 0)
		run_child(&c);
	r = pid < 0 ? -errno : 0;
	close(error[1]);
	cleanup_close(&c.null_fd);
	cleanup_close(&c.procs_fd);
	if (r == 0)
		r = wait_for_exec(error[0]);
	close(error[0]);
	pidfd = r < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (r == 0 && pidfd < 0)
		r = -errno;
	if (r < 0) {
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
		return err_sys(err, r, "%s", l->argv[0]);
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
