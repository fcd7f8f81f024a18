/* The command line and descriptors of one vmm; see launch.h. */
#include "service/virtmgr/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include "service/common/bus_error.h"

#define FIRST_FD (STDERR_FILENO + 1)
#define FD_PREFIX "/proc/self/fd/"
/* A sentence about a file that another one names has room for both. */
#define MAX_NAME 200

struct launch {
	char **argv; /* ended by NULL; [0] is the program */
	size_t n_args;
	int *fds; /* of FIRST_FD, FIRST_FD + 1... in the child */
	char **names; /* of these; NULL: it is no file */
	size_t n_fds, n_names;
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

/* What only the start needs. */
static void spend(struct launch *l)
{
	for (size_t i = 0; i < l->n_args; i++)
		free(l->argv[i]);
	for (size_t i = 0; i < l->n_fds; i++)
		close(l->fds[i]);
	free(TAKE_PTR(l->argv));
	free(TAKE_PTR(l->fds));
	l->n_args = l->n_fds = 0;
}

void launch_free(struct launch *l)
{
	if (!l)
		return;
	spend(l);
	for (size_t i = 0; i < l->n_names; i++)
		free(l->names[i]);
	free(l->names);
	free(l);
}

/* Of a file, or NULL. */
static char *name_of(int fd)
{
	static const char memfd[] = "/memfd:", end[] = " (deleted)";
	char link[32], path[PATH_MAX], *name = path;
	struct err clean;
	size_t len;
	ssize_t n;

	snprintf(link, sizeof(link), FD_PREFIX "%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0 || *path != '/')
		return NULL;
	path[n] = '\0';
	if (strncmp(path, memfd, strlen(memfd)) == 0 &&
	    (size_t)n >= strlen(memfd) + strlen(end)) {
		path[(size_t)n - strlen(end)] = '\0';
		name += strlen(memfd);
	}
	len = strlen(name);
	if (len > MAX_NAME)
		name += len - MAX_NAME;
	/* A character may have been cut; and err_set() lets no controls pass. */
	bus_text(name);
	err_set(&clean, 0, "%s%s", len > MAX_NAME ? "..." : "", name);
	return strdup(clean.msg);
}

int launch_fd(struct launch *l, int fd)
{
	int *fds = reallocarray(l->fds, l->n_fds + 1, sizeof(*fds));
	char **names = reallocarray(l->names, l->n_fds + 1, sizeof(*names));

	l->fds = fds ?: l->fds;
	l->names = names ?: l->names;
	if (!fds || !names) {
		close(fd);
		l->failed = true;
		return -ENOMEM;
	}
	fds[l->n_fds] = fd;
	names[l->n_names++] = name_of(fd);
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

/* --- what they are called ----------------------------------------------------- */

/* The name at the beginning of @text, or NULL, and how long its number is there. */
static const char *name_at(const struct launch *l, const char *text, size_t *ret_len)
{
	const char *digits = text + strlen(FD_PREFIX);
	unsigned long n;
	char *end;

	if (strncmp(text, FD_PREFIX, strlen(FD_PREFIX)) != 0 || *digits < '0' ||
	    *digits > '9')
		return NULL;
	n = strtoul(digits, &end, 10);
	if (n < FIRST_FD || n - FIRST_FD >= l->n_names || !l->names[n - FIRST_FD])
		return NULL;
	*ret_len = (size_t)(end - text);
	return l->names[n - FIRST_FD];
}

void launch_name_files(const struct launch *l, const char *text, char *buf, size_t size)
{
	size_t at = 0, skip;

	for (; *text; text += skip) {
		const char *name = name_at(l, text, &skip);
		size_t n = name ? strlen(name) : (skip = 1);

		if (at < size)
			memcpy(buf + at, name ?: text, n < size - at ? n : size - at);
		at += n;
	}
	if (at < size)
		buf[at] = '\0';
	else
		memcpy(buf + size - 4, "...", 4);
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
	/* What the manager ignores is no business of vmm's. */
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
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
	spend(l);
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
