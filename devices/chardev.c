/*
 * Where a console's bytes go and come from; see chardev.h.
 *
 * An inherited fd shares its O_NONBLOCK flag with other processes, so that flag
 * stays as it is: pipes and terminals are opened once more through /proc, for a
 * description of our own, and where that is refused, a write follows a poll()
 * and is short enough not to block. Sockets can be told for each call. Everything is
 * opened in chardev_open(); from then on the only system calls are read, write, send,
 * poll and epoll_ctl.
 */
#include "devices/chardev.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/terminal.h"
#include "base/unix.h"

#define RING_SIZE (256u << 10)
#define IN_SIZE 4096u
/* A longer line becomes several datagrams. */
#define LINE_SIZE 1024u
/* Writes, or reads, in a row before the loop's other watches get their turn. */
#define MAX_TURNS 16

struct chardev {
	char name[32];
	int wake_fd; /* tells the loop: output came, or input may go on */
	struct loop_watch *wake_watch;

	/* The loop's thread only. */
	int out_fd;
	struct loop_watch *out_watch; /* NULL: never blocks (a regular file) */
	size_t max_write; /* bytes that one write may have */
	bool socket; /* a stream or datagram socket: send() */
	bool lines; /* one datagram a line */
	bool draining; /* a line that has no end will get none any more */
	int in_fd; /* -1: none, or it has ended */
	struct loop_watch *in_watch; /* NULL: never blocks */
	uint8_t in_buf[IN_SIZE];
	size_t in_off, in_len; /* what the device has not taken yet */
	chardev_input_fn *input;
	void *input_arg;
	struct escape escape; /* key 0: none */
	void (*leave)(void *arg);
	void *leave_arg;

	chardev_tee_fn *tee; /* NULL: none */
	void *tee_arg;

	pthread_mutex_t lock; /* of what follows; nothing is locked inside */
	uint8_t *ring; /* NULL: nothing is written */
	size_t head, used;
	uint64_t dropped; /* bytes that found the ring full */
	int dead; /* nothing can be written any more, for this errno; 0: alive */
	bool resume;
	bool timestamp, mid_line;
};

static void wake(struct chardev *chr)
{
	/* Refused only when the counter is full, and then the loop wakes anyway. */
	(void)eventfd_write(chr->wake_fd, 1);
}

/* --- output ---------------------------------------------------------------- */

/* Queue as much as there is room for. */
static void enqueue(struct chardev *chr, const void *buf, size_t len)
{
	size_t n, tail, first;

	n = len < RING_SIZE - chr->used ? len : RING_SIZE - chr->used;
	if (n < len && chr->dropped == 0)
		log_debug(chr->name, "nobody reads the output: it is dropped");
	chr->dropped += len - n;
	if (n == 0)
		return;
	/* An empty ring starts over, so that a quiet console touches few pages. */
	if (chr->used == 0)
		chr->head = 0;
	tail = (chr->head + chr->used) % RING_SIZE;
	first = n < RING_SIZE - tail ? n : RING_SIZE - tail;
	memcpy(chr->ring + tail, buf, first);
	memcpy(chr->ring, (const uint8_t *)buf + first, n - first);
	/* What was queued before is being written, unless it is half a line. */
	if (chr->lines ? memchr(buf, '\n', n) || chr->used + n >= LINE_SIZE
		       : chr->used == 0)
		wake(chr);
	chr->used += n;
}

static void enqueue_time(struct chardev *chr)
{
	char text[64];
	struct timespec t;
	struct tm tm;
	int n;

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	n = snprintf(text, sizeof(text),
		     "[%04d-%02d-%02d %02d:%02d:%02d.%09ld]: ", tm.tm_year + 1900,
		     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		     t.tv_nsec);
	enqueue(chr, text, (size_t)n);
}

static void enqueue_stamped(struct chardev *chr, const char *buf, size_t len)
{
	/* What finds the ring full is not looked at: a guest may send gigabytes of
	 * lines. */
	while (len > 0 && chr->used < RING_SIZE) {
		const char *end = memchr(buf, '\n', len);
		size_t n = end ? (size_t)(end - buf) + 1 : len;

		if (!chr->mid_line)
			enqueue_time(chr);
		enqueue(chr, buf, n);
		chr->mid_line = !end;
		buf += n;
		len -= n;
	}
	if (len > 0) {
		enqueue(chr, buf, len);
		chr->mid_line = buf[len - 1] != '\n';
	}
}

void chardev_tee(struct chardev *chr, chardev_tee_fn *fn, void *arg)
{
	chr->tee = fn;
	chr->tee_arg = arg;
}

void chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	AUTO_LOCK(&chr->lock);

	if (chr->tee)
		chr->tee(chr->tee_arg, buf, len);
	if (!chr->ring || chr->dead)
		return;
	if (chr->timestamp)
		enqueue_stamped(chr, buf, len);
	else
		enqueue(chr, buf, len);
}

static bool ready(int fd, short events, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	/* Errors count as ready: the read or write will tell them. */
	return r > 0;
}

/*
 * Copy the next line, without its LF or CR LF, to @line; returns how many bytes of the
 * queue it takes, 0 when its end has not come yet. lock held.
 */
static size_t next_line(const struct chardev *chr, uint8_t *line, size_t *ret_len)
{
	size_t n = 0, taken;

	while (n < chr->used && n < LINE_SIZE) {
		line[n] = chr->ring[(chr->head + n) % RING_SIZE];
		if (line[n] == '\n')
			break;
		n++;
	}
	taken = n;
	if (n < chr->used && n < LINE_SIZE) {
		taken++;
		n -= n > 0 && line[n - 1] == '\r';
	} else if (n < LINE_SIZE && !chr->draining) {
		taken = 0;
	}
	*ret_len = n;
	return taken;
}

/*
 * One write of what is queued: how much of the queue it took, 0 when nothing can be
 * written, or -errno; -EAGAIN when it must wait.
 */
static int write_some(struct chardev *chr)
{
	uint8_t line[LINE_SIZE];
	const uint8_t *from;
	size_t n, taken;
	ssize_t done;

	/* Others only append, so the bytes stay while they are written unlocked. */
	pthread_mutex_lock(&chr->lock);
	from = chr->ring + chr->head;
	n = chr->used < RING_SIZE - chr->head ? chr->used : RING_SIZE - chr->head;
	taken = n;
	if (chr->lines) {
		from = line;
		taken = next_line(chr, line, &n);
	}
	pthread_mutex_unlock(&chr->lock);
	if (taken == 0)
		return 0;
	if (chr->max_write < RING_SIZE && !ready(chr->out_fd, POLLOUT, 0))
		return -EAGAIN;

	n = n < chr->max_write ? n : chr->max_write;
	done = chr->socket ? send(chr->out_fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL)
			   : write(chr->out_fd, from, n);
	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (done >= 0 && chr->lines)
		done = (ssize_t)taken;

	AUTO_LOCK(&chr->lock);
	if (done < 0) {
		int r = -errno;

		log_debug(chr->name, "output ends: %s", strerrordesc_np(-r));
		chr->dead = -r;
		chr->used = 0;
		return r;
	}
	chr->head = (chr->head + (size_t)done) % RING_SIZE;
	chr->used -= (size_t)done;
	return (int)done;
}

/* Write what goes without waiting, and watch for when the rest does. */
static void flush(struct chardev *chr)
{
	int r = 1;

	for (int i = 0; i < MAX_TURNS && r > 0; i++)
		r = write_some(chr);
	if (r == -EAGAIN && chr->out_watch)
		loop_set(chr->out_watch, EPOLLOUT);
	else if (r > 0 || r == -EAGAIN)
		wake(chr);
}

static void on_writable(void *arg, uint32_t events)
{
	struct chardev *chr = arg;

	(void)events;
	loop_set(chr->out_watch, 0);
	flush(chr);
}

bool chardev_drain(struct chardev *chr, int stall_ms)
{
	int r = chr->ring ? 1 : 0;

	chr->draining = true;
	while (r > 0 || r == -EAGAIN) {
		r = write_some(chr);
		if (r == -EAGAIN && !ready(chr->out_fd, POLLOUT, stall_ms))
			return false;
	}
	AUTO_LOCK(&chr->lock);
	/* A reader that left, or a terminal that was hung up, misses nothing. */
	return chr->dropped == 0 &&
	       (chr->dead == 0 || chr->dead == EPIPE || chr->dead == EIO ||
		chr->dead == ECONNREFUSED || chr->dead == ECONNRESET);
}

const char *chardev_name(const struct chardev *chr)
{
	return chr->name;
}

/* --- input ----------------------------------------------------------------- */

void chardev_resume(struct chardev *chr)
{
	pthread_mutex_lock(&chr->lock);
	chr->resume = true;
	pthread_mutex_unlock(&chr->lock);
	wake(chr);
}

void chardev_attach(struct chardev *chr, chardev_input_fn *fn, void *arg)
{
	assert(!chr->input);
	chr->input = fn;
	chr->input_arg = arg;
	chardev_resume(chr);
}

static void end_input(struct chardev *chr)
{
	loop_del(TAKE_PTR(chr->in_watch));
	close(TAKE_FD(chr->in_fd));
}

/* What was typed, from @in to @out, a byte before it, without escapes. */
static size_t unescape(struct chardev *chr, uint8_t *out, const uint8_t *in, size_t len)
{
	bool leave = false;
	size_t n = escape_filter(&chr->escape, out, in, len, &leave);

	if (leave)
		chr->leave(chr->leave_arg);
	return n;
}

/* Read once, behind what the device has not taken yet; as read(2). */
static ssize_t read_input(struct chardev *chr)
{
	uint8_t *end;
	ssize_t n;

	chr->in_len -= chr->in_off;
	memmove(chr->in_buf, chr->in_buf + chr->in_off, chr->in_len);
	chr->in_off = 0;
	end = chr->in_buf + chr->in_len;
	if (!chr->escape.key) {
		n = read(chr->in_fd, end, IN_SIZE - chr->in_len);
		chr->in_len += n > 0 ? (size_t)n : 0;
	} else {
		n = read(chr->in_fd, end + 1, IN_SIZE - chr->in_len - 1);
		chr->in_len += n > 0 ? unescape(chr, end, end + 1, (size_t)n) : 0;
	}
	return n;
}

/* Whether to read more, with input that the device does not take. */
static bool may_read_on(const struct chardev *chr)
{
	/* The escape key is for guests, too, that hang. */
	return chr->escape.key && chr->in_len - chr->in_off < IN_SIZE - 1;
}

/* Move input to the device while there is some and the device takes it. */
static void pump(struct chardev *chr)
{
	for (int i = 0; i < MAX_TURNS; i++) {
		ssize_t n;

		if (chr->in_off < chr->in_len)
			chr->in_off += chr->input(chr->input_arg,
						  chr->in_buf + chr->in_off,
						  chr->in_len - chr->in_off);
		if (chr->in_off < chr->in_len && !may_read_on(chr)) {
			/* The device will call chardev_resume(). */
			if (chr->in_watch)
				loop_set(chr->in_watch, 0);
			return;
		}
		if (chr->in_watch && !ready(chr->in_fd, POLLIN, 0)) {
			loop_set(chr->in_watch, EPOLLIN);
			return;
		}
		n = read_input(chr);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			log_debug(chr->name, "input ends: %s",
				  n < 0 ? strerrordesc_np(errno) : "end of file");
			end_input(chr);
			return;
		}
	}
	chardev_resume(chr);
}

static void on_readable(void *arg, uint32_t events)
{
	(void)events;
	pump(arg);
}

static void on_wake(void *arg, uint32_t events)
{
	struct chardev *chr = arg;
	eventfd_t n;
	bool resume;

	(void)events;
	(void)eventfd_read(chr->wake_fd, &n);
	pthread_mutex_lock(&chr->lock);
	resume = chr->resume;
	chr->resume = false;
	pthread_mutex_unlock(&chr->lock);
	if (resume && chr->in_fd >= 0)
		pump(chr);
	if (chr->ring)
		flush(chr);
}

/* --- opening --------------------------------------------------------------- */

/*
 * The pipe or terminal behind @fd, opened once more so that it can be
 * non-blocking. -1 where that cannot be done; the master of a pseudo-terminal
 * would become another terminal.
 */
static int reopen(int fd, mode_t mode)
{
	char path[32];
	unsigned pty;

	if (!S_ISFIFO(mode) && (!isatty(fd) || ioctl(fd, TIOCGPTN, &pty) == 0))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* How much one write may have without blocking; may exchange @fd. */
static size_t choose_max_write(int *fd, bool *ret_socket)
{
	socklen_t len = sizeof(int);
	struct stat st = { 0 };
	int again, type = 0;

	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
		return RING_SIZE;
	if (S_ISSOCK(st.st_mode))
		getsockopt(*fd, SOL_SOCKET, SO_TYPE, &type, &len);
	*ret_socket = type == SOCK_STREAM || type == SOCK_DGRAM;
	if (*ret_socket)
		return RING_SIZE;
	if (fcntl(*fd, F_GETFL) & O_NONBLOCK)
		return RING_SIZE;
	again = reopen(*fd, st.st_mode);
	if (again >= 0) {
		close(*fd);
		*fd = again;
		return RING_SIZE;
	}
	/* A terminal that is ready promises less than a newline and its CR may need. */
	return S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
}

/* A paused watch; none for what is always ready. */
static int watch(struct loop *loop, int fd, loop_fn *fn, struct chardev *chr,
		 struct loop_watch **ret_watch, struct err *err)
{
	int r = loop_add(loop, fd, 0, fn, chr, ret_watch, err);

	return r == -EPERM ? 0 : r;
}

static int open_fd(const struct chardev_cfg *cfg, const char *name, struct err *err)
{
	const struct unix_patience patience = { .may_come = true };

	switch (cfg->type) {
	case CHARDEV_UNIX:
		return unix_connect(name, cfg->path, SOCK_DGRAM, &patience, err);
	case CHARDEV_UNIX_STREAM:
		return unix_connect(name, cfg->path, SOCK_STREAM, &patience, err);
	case CHARDEV_FILE:
		return file_open(name, cfg->path,
				 O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK, err);
	default:
		return file_open(name, "/proc/self/fd/1", O_WRONLY, err);
	}
}

static int open_output(struct chardev *chr, const struct chardev_cfg *cfg,
		       struct loop *loop, struct err *err)
{
	chr->out_fd = open_fd(cfg, chr->name, err);
	if (chr->out_fd < 0)
		return chr->out_fd;
	chr->max_write = choose_max_write(&chr->out_fd, &chr->socket);
	chr->lines = cfg->type == CHARDEV_UNIX;
	chr->timestamp = cfg->timestamp;
	/* Later gmtime_r() would open the host's time zone, which the jail forbids. */
	if (chr->timestamp)
		tzset();
	chr->ring = malloc(RING_SIZE); /* pages come with use */
	if (!chr->ring)
		return err_sys(err, -ENOMEM, "%s", chr->name);
	return watch(loop, chr->out_fd, on_writable, chr, &chr->out_watch, err);
}

static int open_input(struct chardev *chr, const struct chardev_cfg *cfg,
		      struct loop *loop, struct err *err)
{
	if (cfg->input_stream) {
		chr->in_fd = fcntl(chr->out_fd, F_DUPFD_CLOEXEC, 0);
		if (chr->in_fd < 0)
			return err_sys(err, -errno, "%s %s", chr->name, cfg->path);
		return watch(loop, chr->in_fd, on_readable, chr, &chr->in_watch, err);
	}
	chr->in_fd = file_open(chr->name, cfg->input ?: "/proc/self/fd/0",
			       O_RDONLY | (cfg->input ? O_NONBLOCK : 0), err);
	/* nohup(1), for one, makes stdin unreadable: there is no input, then. */
	if (!cfg->input && (chr->in_fd == -EACCES || chr->in_fd == -EBADF))
		return 0;
	if (chr->in_fd < 0)
		return chr->in_fd;
	if (!cfg->input && isatty(chr->in_fd)) {
		chr->escape.key = cfg->escape;
		chr->leave = cfg->leave;
		chr->leave_arg = cfg->leave_arg;
	}
	return watch(loop, chr->in_fd, on_readable, chr, &chr->in_watch, err);
}

static int check(const struct chardev_cfg *cfg, const char *name, struct err *err)
{
	if (cfg->type >= CHARDEV_FILE && !cfg->path)
		return err_set(err, -EINVAL, "%s: its type needs a path", name);
	if (cfg->use_stdin + !!cfg->input + cfg->input_stream > 1)
		return err_set(err, -EINVAL, "%s: has more than one input", name);
	if (cfg->input_stream && cfg->type != CHARDEV_UNIX_STREAM)
		return err_set(err, -EINVAL, "%s: has no stream for its input", name);
	return 0;
}

int chardev_open(const struct chardev_cfg *cfg, const char *name, struct loop *loop,
		 struct chardev **ret_chr, struct err *err)
{
	struct chardev *chr = calloc(1, sizeof(*chr));
	int r = 0;

	if (!chr)
		return err_sys(err, -ENOMEM, "%s", name);
	snprintf(chr->name, sizeof(chr->name), "%s", name);
	pthread_mutex_init(&chr->lock, NULL);
	chr->out_fd = chr->in_fd = -1;
	chr->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (chr->wake_fd < 0)
		r = err_sys(err, -errno, "%s", name);
	if (r == 0)
		r = loop_add(loop, chr->wake_fd, EPOLLIN, on_wake, chr,
			     &chr->wake_watch, err);
	if (r == 0)
		r = check(cfg, name, err);
	if (r == 0 && cfg->type != CHARDEV_SINK)
		r = open_output(chr, cfg, loop, err);
	if (r == 0 && (cfg->use_stdin || cfg->input || cfg->input_stream))
		r = open_input(chr, cfg, loop, err);
	if (r < 0) {
		chardev_close(chr);
		return r;
	}
	*ret_chr = chr;
	return 0;
}

void chardev_close(struct chardev *chr)
{
	if (!chr)
		return;
	loop_del(chr->wake_watch);
	loop_del(chr->out_watch);
	loop_del(chr->in_watch);
	cleanup_close(&chr->wake_fd);
	cleanup_close(&chr->out_fd);
	cleanup_close(&chr->in_fd);
	pthread_mutex_destroy(&chr->lock);
	free(chr->ring);
	free(chr);
}
