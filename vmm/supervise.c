/* The process that outlives the VM; see supervise.h. */
#include "vmm/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/exit.h"
#include "vmm/terminal.h"

/* What the parent waits for; all but SIGCHLD is passed on. */
static void wanted_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

/* Die with the parent, also when it has died just now. */
static bool bind_to_parent(int parent_fd)
{
	struct pollfd p = { .fd = parent_fd, .events = POLLIN };
	bool alive;

	alive = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && poll(&p, 1, 0) == 0;
	close(parent_fd);
	return alive;
}

static int status_of(int wstatus)
{
	int sig;

	if (WIFEXITED(wstatus))
		return WEXITSTATUS(wstatus);
	sig = WTERMSIG(wstatus);
	if (sig == SIGSYS)
		log_error("jail", "the VM's process made a forbidden system call "
				  "and was killed");
	else
		log_error("vmm", "the VM's process was killed by SIG%s",
			  sigabbrev_np(sig));
	return EXIT_CRASH;
}

/* Wait for the child, passing signals on; a second one kills it. */
static int wait_for(pid_t pid, const sigset_t *set)
{
	unsigned asked = 0;
	int wstatus, sig;

	for (;;) {
		if (waitpid(pid, &wstatus, WNOHANG) == pid)
			return status_of(wstatus);
		sig = sigwaitinfo(set, NULL);
		if (sig > 0 && sig != SIGCHLD)
			kill(pid, asked++ ? SIGKILL : sig);
	}
}

int supervise(int (*child)(void *arg), void *arg, bool terminal, struct err *err)
{
	struct terminal tty = { 0 };
	sigset_t set;
	int self, status;
	pid_t pid;

	wanted_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0)
		return err_sys(err, -errno, "pidfd");
	pid = fork();
	if (pid < 0) {
		close(self);
		return err_sys(err, -errno, "fork");
	}
	if (pid == 0)
		_exit(bind_to_parent(self) ? child(arg) : EXIT_ERROR);
	close_range(STDERR_FILENO + 1, ~0u, 0);
	/* Not earlier: an error before this point leaves the terminal alone. */
	if (terminal)
		terminal_raw(&tty);
	status = wait_for(pid, &set);
	terminal_restore(&tty);
	return status;
}
