/*
 * Shells for the host; base/shell_proto.h has what is said on a connection. Each one is
 * a process with one loop, between the connection and a command in a session of its
 * own: by a pseudoterminal, or by three pipes. It takes no more from one side than the
 * other has taken from it, so it stores one frame each way. Bytes that are no protocol
 * end the connection, whose end hangs the session up.
 */
#include "guest/agent/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/shell_proto.h"

/* Connections at a time. */
#define MAX_SHELLS 32u
/* Who connects and says nothing shall not keep others out. */
#define START_SECONDS 10
/* What a pipe may hold when its writer is gone; more is of others, who write on. */
#define MAX_LEFT (1u << 20)

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

struct shell {
	int socket;
	bool terminal;
	int in, out, error; /* the command's, by our ends; -1: closed */
	pid_t pid;
	int children; /* a signalfd */
	bool exited;
	uint8_t status;
	size_t left; /* to be read yet, once it has */
	struct shell_reader reader;
	const uint8_t *typed; /* not taken yet by the command, in the reader's frame */
	size_t typed_len;
	size_t off, len; /* not taken yet by the client */
	uint8_t buf[SHELL_HEADER + 16384];
};

/* --- saying no ------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void refuse(int socket, const char *fmt,
							 ...)
{
	uint8_t buf[512], *text = buf + SHELL_HEADER;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	vsnprintf((char *)text, 256, fmt, ap);
	va_end(ap);
	n = strlen((char *)text);
	shell_header(buf, SHELL_ERROR, n);
	shell_header(text + n, SHELL_EXIT, 1);
	text[n + SHELL_HEADER] = SHELL_NOT_STARTED;
	send(socket, buf, n + 2 * SHELL_HEADER + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* --- the command ---------------------------------------------------------------- */

static void set_end(int *to, int from)
{
	*to = from;
	fcntl(from, F_SETFL, O_NONBLOCK);
}

/* @theirs: its stdin, stdout and stderr. */
static int make_terminal(struct shell *s, const struct shell_size *size, int *theirs)
{
	struct winsize w = { .ws_row = size->rows, .ws_col = size->columns };
	int master, slave;

	if (openpty(&master, &slave, NULL, NULL, &w) < 0)
		return -1;
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	set_end(&s->in, master);
	s->out = fcntl(master, F_DUPFD_CLOEXEC, 3);
	theirs[0] = theirs[1] = theirs[2] = slave;
	return s->out < 0 ? -1 : 0;
}

static int make_pipes(struct shell *s, int *theirs)
{
	int in[2], out[2], error[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    pipe2(error, O_CLOEXEC) < 0)
		return -1;
	set_end(&s->in, in[1]);
	set_end(&s->out, out[0]);
	set_end(&s->error, error[0]);
	theirs[0] = in[0];
	theirs[1] = out[1];
	theirs[2] = error[1];
	return 0;
}

static void execute(const struct shell_start *start)
{
	const char *shell = getenv("SHELL"), *name;
	char login[64];

	if (start->args[0]) {
		/* exec does not write to them. */
		execvp(start->args[0], (char *const *)(uintptr_t)start->args);
		shell = start->args[0];
	} else {
		if (!shell || !*shell)
			shell = "/bin/sh";
		name = strrchr(shell, '/');
		/* The hyphen makes it a login shell. */
		snprintf(login, sizeof(login), "-%s", name ? name + 1 : shell);
		execl(shell, login, (char *)NULL);
	}
	fprintf(stderr, "agent: %s: %s\n", shell, strerror(errno));
}

static _Noreturn void become(const struct shell_start *start, const int *theirs)
{
	sigset_t none;

	/* The relay may be killed before it has a chance to hang up. */
	prctl(PR_SET_PDEATHSIG, SIGHUP);
	setsid();
	if (start->terminal)
		ioctl(theirs[0], TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		dup2(theirs[i], i);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (*start->term)
		setenv("TERM", start->term, 1);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	       0);
	execute(start);
	_exit(errno == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

static int start(struct shell *s, const struct shell_start *start)
{
	int theirs[3];
	sigset_t child;

	s->terminal = start->terminal;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->children = signalfd(-1, &child, SFD_CLOEXEC);
	if (s->children < 0 || (s->terminal ? make_terminal(s, &start->size, theirs)
					    : make_pipes(s, theirs)) < 0) {
		refuse(s->socket, "agent: no %s: %s%s\n",
		       s->terminal ? "terminal" : "pipes", strerror(errno),
		       s->terminal ? " (is devpts on /dev/pts?)" : "");
		return -1;
	}
	s->pid = fork();
	if (s->pid == 0)
		become(start, theirs);
	for (int i = 0; i < (s->terminal ? 1 : 3); i++)
		close(theirs[i]);
	if (s->pid < 0)
		refuse(s->socket, "agent: %s\n", strerror(errno));
	return s->pid < 0 ? -1 : 0;
}

static void on_child(struct shell *s)
{
	struct signalfd_siginfo info;
	int status;

	if (read(s->children, &info, sizeof(info)) < 0 ||
	    waitpid(s->pid, &status, WNOHANG) != s->pid)
		return;
	s->exited = true;
	s->left = MAX_LEFT;
	s->status = (uint8_t)(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
						  : WEXITSTATUS(status));
}

/* --- from the client ------------------------------------------------------------ */

static void shut(int *fd)
{
	close(*fd);
	*fd = -1;
}

static void write_typed(struct shell *s)
{
	ssize_t n;

	if (s->in < 0 || s->exited)
		s->typed_len = 0;
	if (!s->typed_len)
		return;
	n = write(s->in, s->typed, s->typed_len);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		/* It does not listen any more. */
		shut(&s->in);
		n = (ssize_t)s->typed_len;
	}
	s->typed += n;
	s->typed_len -= (size_t)n;
}

static int resize(struct shell *s, const struct shell_frame *f)
{
	struct shell_size size;
	struct winsize w = { 0 };

	if (shell_get_size(f, &size) < 0)
		return -1;
	w.ws_row = size.rows;
	w.ws_col = size.columns;
	if (s->terminal && s->in >= 0)
		ioctl(s->in, TIOCSWINSZ, &w);
	return 0;
}

/* All frames that there are, up to one that the command does not take. -1: nonsense. */
static int take_frames(struct shell *s)
{
	struct shell_frame f;

	while (!s->typed_len && shell_next(&s->reader, &f)) {
		if (f.type == SHELL_SIZE && resize(s, &f) == 0)
			continue;
		if (f.type != SHELL_INPUT)
			return -1;
		/* A terminal has no end: Ctrl-D is typed. */
		if (!f.len && !s->terminal && s->in >= 0)
			shut(&s->in);
		s->typed = f.data;
		s->typed_len = f.len;
		write_typed(s);
	}
	return 0;
}

/* -1: the client has gone. */
static int receive(struct shell *s, int flags)
{
	size_t room;
	uint8_t *to = shell_room(&s->reader, &room);
	ssize_t n = recv(s->socket, to, room, flags);

	if (n > 0)
		shell_add(&s->reader, (size_t)n);
	return n > 0 || (n < 0 && errno == EINTR) ? 0 : -1;
}

/* --- to the client -------------------------------------------------------------- */

static void queue(struct shell *s, enum shell_type type, size_t len)
{
	shell_header(s->buf, type, len);
	s->off = 0;
	s->len = SHELL_HEADER + len;
}

/* Whatever is there of one stream; once the command has ended, all that is left. */
static void take_output(struct shell *s, int *fd, enum shell_type type)
{
	ssize_t n;

	if (*fd < 0 || s->len)
		return;
	n = read(*fd, s->buf + SHELL_HEADER, sizeof(s->buf) - SHELL_HEADER);
	if (n < 0 && !s->exited && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		queue(s, type, (size_t)n);
	if (n <= 0 || (s->exited && s->left < (size_t)n))
		shut(fd);
	else if (s->exited)
		s->left -= (size_t)n;
}

/* -1: the client has gone. */
static int send_queued(struct shell *s)
{
	ssize_t n;

	if (!s->len)
		return 0;
	n = send(s->socket, s->buf + s->off, s->len - s->off,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	s->off += (size_t)n;
	if (s->off == s->len)
		s->len = 0;
	return 0;
}

/* --- both ----------------------------------------------------------------------- */

/* Until the client has been told all of a command that has ended, or is gone. */
static void relay(struct shell *s)
{
	bool told = false;

	while (take_frames(s) == 0) {
		struct pollfd fds[] = {
			{ s->socket,
			  (short)(POLLRDHUP | (s->typed_len ? 0 : POLLIN) |
				  (s->len ? POLLOUT : 0)),
			  0 },
			{ s->exited ? -1 : s->children, POLLIN, 0 },
			{ s->typed_len ? s->in : -1, POLLOUT, 0 },
			{ s->len ? -1 : s->out, POLLIN, 0 },
			{ s->len ? -1 : s->error, POLLIN, 0 },
		};
		bool more = s->exited && !s->len;

		if (poll(fds, 5, more ? 0 : -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents & (POLLRDHUP | POLLHUP | POLLERR) ||
		    (fds[0].revents & POLLIN && receive(s, MSG_DONTWAIT) < 0))
			return;
		if (fds[1].revents)
			on_child(s);
		if (fds[2].revents)
			write_typed(s);
		if (fds[3].revents || more)
			take_output(s, &s->out, SHELL_OUTPUT);
		if (fds[4].revents || more)
			take_output(s, &s->error, SHELL_ERROR);
		if (more && !s->len && s->out < 0 && s->error < 0) {
			if (told)
				return;
			s->buf[SHELL_HEADER] = s->status;
			queue(s, SHELL_EXIT, 1);
			told = true;
		}
		if (send_queued(s) < 0)
			return;
	}
}

static void serve(int socket)
{
	static struct shell s = { .in = -1, .out = -1, .error = -1 };
	static struct shell_start first;
	const struct timeval limit = { .tv_sec = START_SECONDS };
	struct shell_frame f;

	s.socket = socket;
	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (!shell_next(&s.reader, &f))
		if (receive(&s, 0) < 0)
			return;
	if (f.type != SHELL_START || shell_get_start(&f, &first) < 0 ||
	    start(&s, &first) < 0)
		return;
	relay(&s);
	/* Its session leads a group of its own, but not in its first moments. */
	if (!s.exited && kill(-s.pid, SIGHUP) < 0)
		kill(s.pid, SIGHUP);
	if (!s.exited)
		kill(-s.pid, SIGCONT);
}

void shell_serve(int listener)
{
	unsigned n = 0;
	int socket;

	signal(SIGCHLD, SIG_DFL);
	while ((socket = agent_accept(listener)) >= 0) {
		pid_t pid = -1, server = getpid();

		while (n > 0 && waitpid(-1, NULL, WNOHANG) > 0)
			n--;
		errno = EAGAIN;
		if (n < MAX_SHELLS)
			pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			if (getppid() == server)
				serve(socket);
			_exit(0);
		}
		if (pid > 0)
			n++;
		else
			refuse(socket, "agent: %u shells: %s\n", n, strerror(errno));
		close(socket);
	}
}
