/* A descriptor that is read and written without waiting; see stream.h. */
#include "service/virtmgr/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define READ_SIZE 4096u
#define FIRST_CAP 4096u

struct stream {
	const struct stream_ops *ops;
	void *arg;
	int fd;
	bool socket;
	/* Neither the description nor the call can be told not to wait: ask before. */
	bool careful;
	size_t max_write; /* bytes at a time, then */
	sd_event_source *io; /* NULL: epoll does not take it, for it never waits */
	sd_event_source *defer; /* reads one of those */
	bool paused, ended; /* reading */
	bool broken; /* writing */
	uint8_t *buf; /* NULL: nothing waits */
	size_t off, len, cap, max;
};

static bool ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };

	/* Errors count as ready: the call will tell them. */
	return poll(&p, 1, timeout_ms) > 0;
}

/*
 * What there is an interest in. While the owner wants nothing to be read, not even a
 * hang-up is told, or it would be told again and again.
 */
static void watch(struct stream *s)
{
	bool reads = s->ops->input && !s->paused && !s->ended;
	uint32_t events = (reads ? EPOLLIN : 0) | (s->len ? EPOLLOUT : 0);
	int on = events || s->broken || s->ended ? SD_EVENT_ON : SD_EVENT_OFF;

	if (s->io) {
		(void)sd_event_source_set_io_events(s->io, events);
		(void)sd_event_source_set_enabled(s->io, on);
	}
	if (s->defer)
		(void)sd_event_source_set_enabled(s->defer,
						  reads ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* --- writing --------------------------------------------------------------------- */

static void drop_buffer(struct stream *s)
{
	free(TAKE_PTR(s->buf));
	s->off = s->len = s->cap = 0;
}

/* Write what goes; how much went, which is less only when it must wait, or -errno. */
static ssize_t write_some(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t done = 0, n;
	ssize_t r;

	while (done < len) {
		n = len - done;
		if (s->careful) {
			if (!ready(s->fd, POLLOUT, 0))
				break;
			n = n < s->max_write ? n : s->max_write;
		}
		r = s->socket ? send(s->fd, buf + done, n, MSG_DONTWAIT | MSG_NOSIGNAL)
			      : write(s->fd, buf + done, n);
		if (r < 0 && errno == EAGAIN)
			break;
		if (r < 0 && errno != EINTR)
			return -errno;
		done += r > 0 ? (size_t)r : 0;
	}
	return (ssize_t)done;
}

/* Nobody takes it any more: a hang-up is to be told of. */
static void break_off(struct stream *s)
{
	s->broken = true;
	drop_buffer(s);
	watch(s);
}

/* Keep what there is room for. */
static void keep(struct stream *s, const uint8_t *buf, size_t len)
{
	size_t need, cap = s->cap ?: FIRST_CAP;
	uint8_t *grown;

	if (s->off > 0)
		memmove(s->buf, s->buf + s->off, s->len);
	s->off = 0;
	need = s->len + len < s->max ? s->len + len : s->max;
	while (cap < need)
		cap *= 2;
	if (cap > s->cap) {
		grown = realloc(s->buf, cap);
		if (!grown)
			return;
		s->buf = grown;
		s->cap = cap;
	}
	memcpy(s->buf + s->len, buf, need - s->len);
	s->len = need;
}

void stream_write(struct stream *s, const void *buf, size_t len)
{
	bool waited = s->len > 0;
	ssize_t n = 0;

	if (s->broken || len == 0)
		return;
	if (!waited)
		n = write_some(s, buf, len);
	if (n < 0) {
		break_off(s);
		return;
	}
	if ((size_t)n < len)
		keep(s, (const uint8_t *)buf + n, len - (size_t)n);
	if (!waited && s->len)
		watch(s);
}

bool stream_is_full(const struct stream *s)
{
	return s->len > 0 || s->broken;
}

/* Of what waits; false: it is broken. */
static bool flush(struct stream *s)
{
	ssize_t n = write_some(s, s->buf + s->off, s->len);

	if (n < 0) {
		break_off(s);
		return false;
	}
	s->off += (size_t)n;
	s->len -= (size_t)n;
	if (s->len == 0)
		drop_buffer(s);
	return true;
}

void stream_flush(struct stream *s, int stall_ms, int max_ms)
{
	uint64_t end = clock_ms() + (uint64_t)max_ms;

	while (s->len > 0 && flush(s) && s->len > 0) {
		uint64_t now = clock_ms();

		if (now >= end || !ready(s->fd, POLLOUT, stall_ms))
			return;
	}
}

/* --- reading --------------------------------------------------------------------- */

/* 1: something was read; 0: not now; -1: nothing will be any more. */
static int read_once(struct stream *s)
{
	uint8_t buf[READ_SIZE];
	ssize_t n;

	if (s->careful && !ready(s->fd, POLLIN, 0))
		return 0;
	n = s->socket ? recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT)
		      : read(s->fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		s->ended = true;
		return -1;
	}
	s->ops->input(s->arg, s, buf, (size_t)n);
	return 1;
}

bool stream_read(struct stream *s, size_t max)
{
	size_t n = 0;

	while (n < max && !s->ended && read_once(s) > 0)
		n += READ_SIZE;
	return n > 0;
}

void stream_pause(struct stream *s, bool pause)
{
	if (s->paused == pause)
		return;
	s->paused = pause;
	watch(s);
}

/* --- events ---------------------------------------------------------------------- */

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct stream *s = userdata;
	bool hung_up = events & (EPOLLHUP | EPOLLERR);

	(void)source;
	(void)fd;
	/* What came before the hang-up is read first, a piece at a time. */
	if (events & EPOLLIN && s->ops->input && !s->paused && !s->ended)
		hung_up = read_once(s) < 0 && (hung_up || s->max == 0);
	else if (hung_up && s->len == 0)
		s->broken = true;
	if (s->len > 0 && events & (EPOLLOUT | EPOLLHUP | EPOLLERR) && flush(s) &&
	    s->len == 0 && s->ops->drained)
		s->ops->drained(s->arg, s);
	watch(s);
	if (hung_up)
		s->ops->gone(s->arg, s);
	return 0;
}

static int on_defer(sd_event_source *source, void *userdata)
{
	struct stream *s = userdata;

	(void)source;
	if (read_once(s) < 0)
		watch(s);
	return 0;
}

/* --- its life -------------------------------------------------------------------- */

/* A description of our own, or -1. Terminals' masters cannot be opened twice: that
 * would make another terminal. */
static int reopen(int fd, mode_t mode, bool writes)
{
	int flags = writes ? O_WRONLY : O_RDONLY, pty;
	char path[32];

	if (!S_ISFIFO(mode) && (!isatty(fd) || ioctl(fd, TIOCGPTN, &pty) == 0))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void choose(struct stream *s)
{
	struct stat st = { 0 };
	int again;

	if (fstat(s->fd, &st) < 0 || S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return;
	s->socket = S_ISSOCK(st.st_mode);
	if (s->socket || fcntl(s->fd, F_GETFL) & O_NONBLOCK)
		return;
	again = reopen(s->fd, st.st_mode, s->max > 0);
	if (again >= 0) {
		close(s->fd);
		s->fd = again;
		return;
	}
	s->careful = true;
	/* A pipe that is ready has room for that, a terminal for something. */
	s->max_write = S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
}

int stream_new(sd_event *event, int fd, size_t max, const struct stream_ops *ops,
	       void *arg, struct stream **ret_stream, struct err *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(fd);
		return err_sys(err, -ENOMEM, "console");
	}
	s->ops = ops;
	s->arg = arg;
	s->fd = fd;
	s->max = max;
	choose(s);
	r = sd_event_add_io(event, &s->io, s->fd, 0, on_io, s);
	/* A file, or something like /dev/null: what it does it does at once. */
	if (r == -EPERM) {
		s->careful = false;
		r = ops->input ? sd_event_add_defer(event, &s->defer, on_defer, s) : 0;
	}
	if (r < 0) {
		stream_free(s);
		return err_sys(err, r, "console");
	}
	watch(s);
	*ret_stream = s;
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->defer);
	free(s->buf);
	close(s->fd);
	free(s);
}
