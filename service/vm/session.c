/* At a guest's console; see session.h. */
#include "service/vm/session.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/terminal.h"

/* Those that would leave a terminal raw; what a guest's terminal types is none. */
static const int signals[] = { SIGINT,	SIGTERM, SIGHUP,  SIGQUIT,
			       SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP };

int session_signals(struct err *err)
{
	struct sigaction old;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	return fd < 0 ? err_sys(err, -errno, "signals") : fd;
}

/* What is typed, on its way to the guest. */
struct input {
	struct escape escape;
	size_t off, len; /* what the guest's end has not taken yet */
	uint8_t buf[4096 + 1]; /* one more, for escapes */
};

static void write_input(struct session *s, struct input *in)
{
	while (in->off < in->len) {
		ssize_t n = send(s->to, in->buf + in->off, in->len - in->off,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		/* A guest that does not read must not lock its user in. */
		if (n < 0 && (errno != EAGAIN || s->terminal))
			in->off = in->len;
		if (n < 0)
			return;
		in->off += (size_t)n;
	}
}

/* false: the user wants to leave. */
static bool read_input(struct session *s, struct input *in)
{
	bool leave = false;
	ssize_t n = read(s->in, in->buf + 1, sizeof(in->buf) - 1);

	if (n <= 0) {
		if (n == 0 || errno != EINTR)
			s->in = -1;
		return true;
	}
	in->off = s->terminal ? 0 : 1;
	in->len = s->terminal ? escape_filter(&in->escape, in->buf, in->buf + 1,
					      (size_t)n, &leave)
			      : (size_t)n + 1;
	write_input(s, in);
	return !leave;
}

/* false: stdout is closed. *@ret_end: there is no more to come. */
static bool copy_output(const struct session *s, bool *ret_end)
{
	char buf[16384];
	ssize_t len = read(s->from, buf, sizeof(buf)), n;

	if (len < 0 && errno == EINTR)
		return true;
	*ret_end = len <= 0;
	for (ssize_t off = 0; off < len; off += n) {
		n = write(STDOUT_FILENO, buf + off, (size_t)(len - off));
		if (n < 0 && errno != EINTR)
			return false;
		if (n < 0)
			n = 0;
	}
	return true;
}

/* How long to wait for the bus, in milliseconds. */
static int patience(sd_bus *bus)
{
	struct timespec now;
	uint64_t until, us;

	if (!bus || sd_bus_get_timeout(bus, &until) <= 0 || until == UINT64_MAX)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	return until <= us ? 0 : (int)((until - us) / 1000 + 1);
}

/* Stop with the job, the terminal as it was, and go on with it. */
static void stop_with_job(struct session *s, struct terminal *tty)
{
	terminal_restore(tty);
	raise(SIGSTOP);
	if (s->terminal)
		terminal_raw(tty);
}

static int handle_signal(struct session *s, struct terminal *tty)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return -1;
	if (info.ssi_signo != SIGTSTP)
		return SESSION_SIGNALLED;
	stop_with_job(s, tty);
	return -1;
}

static int run(struct session *s, struct terminal *tty, struct err *err)
{
	struct input in = { .escape.key = ESCAPE_CTRL_A };

	for (;;) {
		struct pollfd fds[5];
		bool waiting, end = false;
		int r = 1;

		while (s->bus && r > 0) {
			r = sd_bus_process(s->bus, NULL);
			if (s->ended)
				return SESSION_ENDED;
			if (r < 0)
				return err_set(err, -ECONNRESET,
					       "the manager has gone");
		}
		waiting = in.off < in.len;
		fds[0] = (struct pollfd){ s->signals, POLLIN, 0 };
		fds[1] = (struct pollfd){ waiting ? -1 : s->in, POLLIN, 0 };
		fds[2] = (struct pollfd){ waiting ? s->to : -1, POLLOUT, 0 };
		fds[3] = (struct pollfd){ s->from, POLLIN, 0 };
		fds[4] = (struct pollfd){
			s->bus ? sd_bus_get_fd(s->bus) : -1,
			(short)(s->bus ? sd_bus_get_events(s->bus) : 0), 0
		};
		r = poll(fds, ARRAY_SIZE(fds), patience(s->bus));
		if (r < 0 && errno != EINTR)
			return err_sys(err, -errno, "poll");
		if (r <= 0)
			continue;
		if (fds[0].revents && (r = handle_signal(s, tty)) >= 0)
			return r;
		if (fds[1].revents && !read_input(s, &in))
			return SESSION_LEFT;
		if (fds[2].revents)
			write_input(s, &in);
		if (fds[3].revents && !copy_output(s, &end))
			return SESSION_LEFT;
		if (end)
			return SESSION_ENDED;
	}
}

int session_run(struct session *s, struct err *err)
{
	struct terminal tty = { 0 };
	int r;

	if (s->terminal)
		terminal_raw(&tty);
	r = run(s, &tty, err);
	terminal_restore(&tty);
	return r;
}
