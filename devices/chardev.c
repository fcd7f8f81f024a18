/*
 * Where a console's bytes go and come from; see chardev.h.
 *
 * An inherited fd shares its O_NONBLOCK flag with other processes, so that flag
 * stays as it is: pipes and terminals are opened once more through /proc, for a
 * description of our own, and where that is refused, a write follows a poll()
 * and is short enough not to block. Everything is opened in chardev_open(); from then
 * on the only system calls are read, write, poll and epoll_ctl.
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
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define RING_SIZE (256u << 10)
#define IN_SIZE 4096u
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
	int in_fd; /* -1: none, or it has ended */
	struct loop_watch *in_watch; /* NULL: never blocks */
	uint8_t in_buf[IN_SIZE];
	size_t in_off, in_len; /* what the device has not taken yet */
	chardev_input_fn *input;
	void *input_arg;

	chardev_tee_fn *tee; /* NULL: none */
	void *tee_arg;

	pthread_mutex_t lock; /* of what follows; nothing is locked inside */
	uint8_t *ring; /* NULL: nothing is written */
	size_t head, used;
	uint64_t dropped; /* bytes that found the ring full */
	int dead; /* nothing can be written any more, for this errno; 0: alive */
	bool resume;
};

static void wake(struct chardev *chr)
{
	/* Refused only when the counter is full, and then the loop wakes anyway. */
	(void)eventfd_write(chr->wake_fd, 1);
}

/* --- output ---------------------------------------------------------------- */

void chardev_tee(struct chardev *chr, chardev_tee_fn *fn, void *arg)
{
	chr->tee = fn;
	chr->tee_arg = arg;
}

void chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	AUTO_LOCK(&chr->lock);
	size_t n, tail, first;

	if (chr->tee)
		chr->tee(chr->tee_arg, buf, len);
	if (!chr->ring || chr->dead)
		return;
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
	if (chr->used == 0)
		wake(chr);
	chr->used += n;
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
 * One write of what is queued: its size, 0 when nothing is, or -errno; -EAGAIN
 * when it must wait.
 */
static int write_some(struct chardev *chr)
{
	const uint8_t *from;
	size_t n;
	ssize_t done;

	/* Others only append, so the bytes stay while they are written unlocked. */
	pthread_mutex_lock(&chr->lock);
	from = chr->ring + chr->head;
	n = chr->used < RING_SIZE - chr->head ? chr->used : RING_SIZE - chr->head;
	pthread_mutex_unlock(&chr->lock);
	if (n == 0)
		return 0;
	if (chr->max_write < RING_SIZE && !ready(chr->out_fd, POLLOUT, 0))
		return -EAGAIN;

	done = write(chr->out_fd, from, n < chr->max_write ? n : chr->max_write);
	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;

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

	while (r > 0 || r == -EAGAIN) {
		r = write_some(chr);
		if (r == -EAGAIN && !ready(chr->out_fd, POLLOUT, stall_ms))
			return false;
	}
	AUTO_LOCK(&chr->lock);
	/* A reader that left, or a terminal that was hung up, misses nothing. */
	return chr->dropped == 0 &&
	       (chr->dead == 0 || chr->dead == EPIPE || chr->dead == EIO);
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

/* Move input to the device while there is some and the device takes it. */
static void pump(struct chardev *chr)
{
	for (int i = 0; i < MAX_TURNS; i++) {
		ssize_t n;

		if (chr->in_off < chr->in_len)
			chr->in_off += chr->input(chr->input_arg,
						  chr->in_buf + chr->in_off,
						  chr->in_len - chr->in_off);
		if (chr->in_off < chr->in_len) {
			/* The device will call chardev_resume(). */
			if (chr->in_watch)
				loop_set(chr->in_watch, 0);
			return;
		}
		if (chr->in_watch && !ready(chr->in_fd, POLLIN, 0)) {
			loop_set(chr->in_watch, EPOLLIN);
			return;
		}
		n = read(chr->in_fd, chr->in_buf, sizeof(chr->in_buf));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0) {
			log_debug(chr->name, "input ends: %s",
				  n < 0 ? strerrordesc_np(errno) : "end of file");
			end_input(chr);
			return;
		}
		chr->in_off = 0;
		chr->in_len = (size_t)n;
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
static size_t choose_max_write(int *fd)
{
	struct stat st = { 0 };
	int again;

	if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
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

static int open_output(struct chardev *chr, const struct chardev_cfg *cfg,
		       struct loop *loop, struct err *err)
{
	bool file = cfg->type == CHARDEV_FILE;

	chr->out_fd = file_open(chr->name, file ? cfg->path : "/proc/self/fd/1",
				O_WRONLY | (file ? O_CREAT | O_APPEND | O_NONBLOCK : 0),
				err);
	if (chr->out_fd < 0)
		return chr->out_fd;
	chr->max_write = choose_max_write(&chr->out_fd);
	chr->ring = malloc(RING_SIZE); /* pages come with use */
	if (!chr->ring)
		return err_sys(err, -ENOMEM, "%s", chr->name);
	return watch(loop, chr->out_fd, on_writable, chr, &chr->out_watch, err);
}

static int open_input(struct chardev *chr, const struct chardev_cfg *cfg,
		      struct loop *loop, struct err *err)
{
	chr->in_fd = file_open(chr->name, cfg->input ?: "/proc/self/fd/0",
			       O_RDONLY | (cfg->input ? O_NONBLOCK : 0), err);
	/* nohup(1), for one, makes stdin unreadable: there is no input, then. */
	if (!cfg->input && (chr->in_fd == -EACCES || chr->in_fd == -EBADF))
		return 0;
	if (chr->in_fd < 0)
		return chr->in_fd;
	return watch(loop, chr->in_fd, on_readable, chr, &chr->in_watch, err);
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
	if (r == 0 && cfg->type == CHARDEV_FILE && !cfg->path)
		r = err_set(err, -EINVAL, "%s: type=file needs a path", name);
	if (r == 0 && cfg->use_stdin && cfg->input)
		r = err_set(err, -EINVAL, "%s: input comes from stdin or from %s", name,
			    cfg->input);
	if (r == 0 && cfg->type != CHARDEV_SINK)
		r = open_output(chr, cfg, loop, err);
	if (r == 0 && (cfg->use_stdin || cfg->input))
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
