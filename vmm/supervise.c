/* The process that outlives the VM; see supervise.h. */
#include "vmm/supervise.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/terminal.h"
#include "vmm/exit.h"

/* How long after its time limit a VM may take to end before it is killed. */
#define LIMIT_GRACE_S 5

/* Passed on to the VM, which ends then; a second one kills it. */
static const int end_signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
/* Would kill us, and leave the terminal raw. */
static const int fatal_signals[] = { SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF };

static void make_set(sigset_t *set)
{
	struct sigaction old;

	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGTSTP);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		sigaddset(set, end_signals[i]);
	/* Under nohup(1). SIGINT, though, is ignored in any script's background. */
	if (sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
		sigdelset(set, SIGHUP);
}

static bool is_one_of(int sig, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == sig)
			return true;
	return false;
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

static int child(const struct supervised *s, int parent_fd)
{
	/* Consoles have descriptors of their own; nothing else may reach these. */
	if (!bind_to_parent(parent_fd) || dup2(s->null_fd, STDIN_FILENO) < 0 ||
	    dup2(s->null_fd, STDOUT_FILENO) < 0)
		return EXIT_ERROR;
	/* Only the supervisor tells: a guest that takes us over shall not. */
	cleanup_close(&s->status_fd);
	/*
	 * Process 1 of a namespace is never stopped by these: a read of the terminal
	 * in the background would be restarted for ever. Ignored, it fails.
	 */
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	return s->run(s->arg);
}

/* @killer: the signal for which we have killed it, or 0. */
static void explain(const struct supervised *s, int wstatus, bool late, int killer,
		    struct death *d)
{
	char why[96];
	int sig;

	if (WIFEXITED(wstatus)) {
		report_exited(s->report, WEXITSTATUS(wstatus), d);
		return;
	}
	sig = WTERMSIG(wstatus);
	if (late) {
		report_died(s->report, EXIT_TIMEOUT, "timeout", "host",
			    "the VM did not end at its time limit and was killed", d);
	} else if (killer) {
		snprintf(why, sizeof(why), "the VM was killed, because of SIG%s",
			 sigabbrev_np(killer));
		report_died(s->report, EXIT_CRASH, "killed", "host", why, d);
	} else if (sig == SIGSYS) {
		report_died(
			s->report, EXIT_CRASH, "sandbox", "guest",
			"the VM's process made a forbidden system call and was killed",
			d);
	} else {
		snprintf(why, sizeof(why), "the VM's process was killed by SIG%s",
			 sigabbrev_np(sig));
		report_died(s->report, EXIT_CRASH, sig == SIGKILL ? "killed" : "crash",
			    "host", why, d);
	}
	log_error("vmm", "%s", d->detail);
}

/* Stop with the job, the terminal as it was, and go on with it. */
static void stop_with_job(pid_t pid, struct terminal *tty, bool terminal)
{
	terminal_restore(tty);
	kill(pid, SIGSTOP);
	raise(SIGSTOP);
	if (terminal)
		terminal_raw(tty);
	kill(pid, SIGCONT);
}

static time_t seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void wait_for(const struct supervised *s, pid_t pid, const sigset_t *set,
		     struct terminal *tty, struct death *d)
{
	time_t end = seconds_now() + (time_t)s->limit + LIMIT_GRACE_S;
	struct timespec left = { 0 };
	bool late = false, asked = false, ends;
	int wstatus, sig, killer = 0;
	pid_t r;

	for (;;) {
		r = waitpid(pid, &wstatus, WNOHANG);
		if (r == pid) {
			explain(s, wstatus, late, killer, d);
			return;
		}
		if (r < 0) {
			report_died(s->report, EXIT_ERROR, "error", "host",
				    "the VM's process is lost", d);
			log_error("vmm", "%s", d->detail);
			return;
		}
		left.tv_sec = end > seconds_now() ? end - seconds_now() : 0;
		sig = sigtimedwait(set, NULL, s->limit && !late ? &left : NULL);
		ends = is_one_of(sig, end_signals, ARRAY_SIZE(end_signals));
		if (sig < 0 && errno == EAGAIN) {
			late = true;
			kill(pid, SIGKILL);
		} else if (sig == SIGTSTP) {
			stop_with_job(pid, tty, s->terminal);
		} else if (is_one_of(sig, fatal_signals, ARRAY_SIZE(fatal_signals)) ||
			   (ends && asked)) {
			killer = sig;
			kill(pid, SIGKILL);
		} else if (ends) {
			asked = true;
			kill(pid, sig);
		}
	}
}

/* The lowest descriptor that stays, from @first on; UINT_MAX: none. */
static unsigned next_to_keep(const struct supervised *s, unsigned first)
{
	unsigned next = (unsigned)s->status_fd; /* -1 is UINT_MAX */

	if (next < first)
		next = UINT_MAX;
	for (unsigned i = 0; i < s->keep.n; i++) {
		unsigned fd = (unsigned)s->keep.fds[i];

		if (fd >= first && fd < next)
			next = fd;
	}
	return next;
}

static void close_others(const struct supervised *s)
{
	unsigned first = STDERR_FILENO + 1, next;

	while ((next = next_to_keep(s, first)) != UINT_MAX) {
		if (next > first)
			close_range(first, next - 1, 0);
		first = next + 1;
	}
	close_range(first, UINT_MAX, 0);
}

int supervise(const struct supervised *s, struct death *ret_death, struct err *err)
{
	struct terminal tty = { 0 };
	sigset_t set, child_set;
	int self, r;
	pid_t pid;

	self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (self < 0)
		return err_sys(err, -errno, "pidfd");
	make_set(&set);
	child_set = set;
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaddset(&set, fatal_signals[i]);
	/* Before there is a VM, and before SIGTTOU could be missed. */
	if (s->terminal)
		terminal_raw(&tty);
	/* Not as inherited: an ignored SIGCHLD, or a blocked kick, would hang us. */
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &set, NULL);
	pid = fork();
	if (pid < 0) {
		r = err_sys(err, -errno, "fork");
		terminal_restore(&tty);
		close(self);
		return r;
	}
	if (pid == 0) {
		sigprocmask(SIG_SETMASK, &child_set, NULL);
		_exit(child(s, self));
	}
	close_others(s);
	wait_for(s, pid, &set, &tty, ret_death);
	terminal_restore(&tty);
	/* It removes sockets' files, which must not be left when we are gone. */
	if (s->broker)
		waitpid(s->broker, NULL, 0);
	return 0;
}
