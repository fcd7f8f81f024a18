/*
 * A user and a command in a guest; see shell_relay.h. It waits for nobody but in
 * poll(), so a guest or a reader of stdout that stops leaves the user his signals and
 * Ctrl-A x.
 */
#include "service/vm/shell_relay.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/shell_proto.h"
#include "base/terminal.h"

/* Read at a time. A pipe that poll() calls writable takes as much. */
enum { CHUNK = 4096 };

struct state {
	const struct shell_relay *relay;
	struct terminal tty;
	struct escape escape;
	int in; /* -1: there is no more */
	int resizes; /* a signalfd, or -1 */
	bool resized;
	int status; /* once it is known; -1 */
	struct shell_reader reader;
	const uint8_t *shown; /* not taken yet by @to, in the reader's frame */
	size_t shown_len;
	int to;
	size_t off, len; /* not taken yet by the agent: whole frames */
	uint8_t buf[SHELL_FRAME_MAX];
};

/* --- to the agent --------------------------------------------------------------- */

static struct shell_size window_size(const struct shell_relay *relay)
{
	struct winsize w = { 0 };

	if (relay->terminal)
		ioctl(relay->in, TIOCGWINSZ, &w);
	return (struct shell_size){ w.ws_row, w.ws_col };
}

static int queue_start(struct state *s, struct err *err)
{
	const struct shell_relay *relay = s->relay;
	AUTO_FREE struct shell_start *start = calloc(1, sizeof(*start));
	size_t n = 0;
	int r;

	if (!start)
		return err_sys(err, -ENOMEM, "shell");
	start->terminal = relay->terminal;
	start->size = window_size(relay);
	start->term = relay->terminal && relay->term ? relay->term : "";
	while (n < SHELL_ARGS_MAX && relay->args[n]) {
		start->args[n] = relay->args[n];
		n++;
	}
	r = relay->args[n] ? -E2BIG : shell_put_start(s->buf, start);
	if (r < 0)
		return err_set(err, r,
			       "the command has more than %d arguments or 64 KiB",
			       SHELL_ARGS_MAX);
	s->len = (size_t)r;
	return 0;
}

/* Whether another frame can be queued. */
static bool has_room(const struct state *s)
{
	return sizeof(s->buf) - s->len >= SHELL_HEADER + CHUNK + 1;
}

/* An agent that is gone shows when it is read from. */
static void send_queued(struct state *s)
{
	ssize_t n = 0;

	if (s->len)
		n = send(s->relay->stream, s->buf + s->off, s->len - s->off,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	s->off = n < 0 ? s->len : s->off + (size_t)n;
	if (s->off == s->len)
		s->off = s->len = 0;
}

static void queue_size(struct state *s)
{
	struct shell_size size = window_size(s->relay);

	s->resized = false;
	s->len += (size_t)shell_put_size(s->buf + s->len, &size);
	send_queued(s);
}

static void queue_input(struct state *s, const uint8_t *from, size_t len)
{
	shell_header(s->buf + s->len, SHELL_INPUT, len);
	memcpy(s->buf + s->len + SHELL_HEADER, from, len);
	s->len += SHELL_HEADER + len;
	send_queued(s);
}

/* false: the user wants to leave. */
static bool read_input(struct state *s)
{
	uint8_t typed[CHUNK + 1], *from = typed + 1;
	bool leave = false;
	ssize_t n = read(s->in, from, CHUNK);
	size_t len;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	if (n <= 0)
		s->in = -1;
	len = n > 0 ? (size_t)n : 0;
	if (!s->relay->terminal) {
		queue_input(s, from, len);
		return true;
	}
	len = escape_filter(&s->escape, typed, from, len, &leave);
	/* A guest that does not read must not lock its user in. */
	if (len && has_room(s))
		queue_input(s, typed, len);
	return s->in >= 0 && !leave;
}

/* --- from it -------------------------------------------------------------------- */

static int receive(struct state *s, struct err *err)
{
	size_t room;
	uint8_t *to = shell_room(&s->reader, &room);
	ssize_t n = recv(s->relay->stream, to, room, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return err_set(
			err, -ECONNRESET,
			"the VM or its agent has gone, or serves no shell there");
	shell_add(&s->reader, (size_t)n);
	return 0;
}

/* All frames that there are, up to one that is not shown yet. */
static int take_frames(struct state *s, struct err *err)
{
	struct shell_frame f;

	while (!s->shown_len && s->status < 0 && shell_next(&s->reader, &f)) {
		if (f.type == SHELL_OUTPUT || f.type == SHELL_ERROR) {
			s->to = f.type == SHELL_ERROR ? s->relay->error : s->relay->out;
			s->shown = f.data;
			s->shown_len = f.len;
		} else if (f.type == SHELL_EXIT && f.len == 1) {
			s->status = f.data[0];
		} else {
			return err_set(
				err, -EPROTO,
				"what answers in the VM is no shell of the agent's");
		}
	}
	return 0;
}

static int show(struct state *s, struct err *err)
{
	size_t len = s->shown_len < CHUNK ? s->shown_len : CHUNK;
	ssize_t n = write(s->to, s->shown, len);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return err_sys(err, -errno,
			       s->to == s->relay->out ? "stdout" : "stderr");
	s->shown += n;
	s->shown_len -= (size_t)n;
	return 0;
}

/* --- signals -------------------------------------------------------------------- */

/* For windows that change, as others do not care. Ours, until sessions end. */
static int watch_resizes(struct state *s, struct err *err)
{
	sigset_t set;

	s->resizes = -1;
	if (!s->relay->terminal)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->resizes = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->resizes < 0 ? err_sys(err, -errno, "signals") : 0;
}

/* The status, if it is to end so, or -1. */
static int handle_signal(struct state *s)
{
	struct signalfd_siginfo info;

	if (read(s->relay->signals, &info, sizeof(info)) != sizeof(info))
		return -1;
	if (info.ssi_signo != SIGTSTP)
		return 128 + (int)info.ssi_signo;
	/* Stop with the job, the terminal as it was, and go on with it. */
	terminal_restore(&s->tty);
	raise(SIGSTOP);
	if (s->relay->terminal)
		terminal_raw(&s->tty);
	s->resized = s->relay->terminal;
	return -1;
}

/* --- all of it ------------------------------------------------------------------ */

static void wait_for_any(struct state *s, struct pollfd *fds)
{
	const struct shell_relay *relay = s->relay;
	bool typing = has_room(s) || relay->terminal;

	fds[0] = (struct pollfd){ relay->signals, POLLIN, 0 };
	fds[1] = (struct pollfd){ s->resizes, POLLIN, 0 };
	fds[2] = (struct pollfd){ typing ? s->in : -1, POLLIN, 0 };
	fds[3] = (struct pollfd){
		s->shown_len && !s->len ? -1 : relay->stream,
		(short)((s->shown_len ? 0 : POLLIN) | (s->len ? POLLOUT : 0)), 0
	};
	fds[4] = (struct pollfd){ s->shown_len ? s->to : -1, POLLOUT, 0 };
	if (poll(fds, 5, -1) < 0)
		for (int i = 0; i < 5; i++)
			fds[i].revents = 0;
}

static int run(struct state *s, struct err *err)
{
	struct signalfd_siginfo info;
	struct pollfd fds[5];
	int status;

	for (;;) {
		int r = take_frames(s, err);

		if (r < 0)
			return r;
		if (s->status >= 0 && !s->shown_len)
			return s->status;
		if (s->resized && has_room(s))
			queue_size(s);
		wait_for_any(s, fds);
		if (fds[0].revents && (status = handle_signal(s)) >= 0)
			return status;
		if (fds[1].revents && read(s->resizes, &info, sizeof(info)) > 0)
			s->resized = true;
		if (fds[2].revents && !read_input(s))
			return 128 + SIGHUP;
		if (fds[3].revents)
			send_queued(s);
		if (fds[3].revents && !s->shown_len)
			r = receive(s, err);
		if (r == 0 && fds[4].revents)
			r = show(s, err);
		if (r < 0)
			return r;
	}
}

int shell_relay(const struct shell_relay *relay, struct err *err)
{
	AUTO_FREE struct state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(err, -ENOMEM, "shell");
	s->relay = relay;
	s->escape.key = ESCAPE_CTRL_A;
	s->in = relay->in;
	s->status = -1;
	r = watch_resizes(s, err);
	if (r == 0)
		r = queue_start(s, err);
	if (r == 0) {
		if (relay->terminal)
			terminal_raw(&s->tty);
		r = run(s, err);
		terminal_restore(&s->tty);
	}
	cleanup_close(&s->resizes);
	return r;
}
