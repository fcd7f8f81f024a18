/* The epoll event loop; see loop.h. */
#include "base/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

struct loop_watch {
	struct loop *loop;
	struct loop_watch *next;
	int fd;
	uint32_t events; /* waited for; 0: paused, and not in the epoll set */
	loop_fn *fn; /* NULL: removed, to be freed after the batch */
	void *arg;
};

struct loop {
	int epoll_fd;
	int stop_fd;
	bool stopped;
	bool stopping; /* atomic */
	bool in_batch;
	struct loop_watch *watches;
};

static void on_stop(void *arg, uint32_t events)
{
	struct loop *loop = arg;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(loop->stop_fd, &n);
	loop->stopped = true;
}

int loop_new(struct loop **ret_loop, struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int r;

	if (!loop)
		return err_sys(err, -ENOMEM, "event loop");
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->stop_fd < 0) {
		r = err_sys(err, -errno, "event loop");
		goto fail;
	}
	r = loop_add(loop, loop->stop_fd, EPOLLIN, on_stop, loop, NULL, err);
	if (r < 0)
		goto fail;
	*ret_loop = loop;
	return 0;
fail:
	loop_free(loop);
	return r;
}

void loop_free(struct loop *loop)
{
	struct loop_watch *next;

	if (!loop)
		return;
	for (struct loop_watch *w = loop->watches; w; w = next) {
		next = w->next;
		free(w);
	}
	cleanup_close(&loop->epoll_fd);
	cleanup_close(&loop->stop_fd);
	free(loop);
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *arg,
	     struct loop_watch **ret_watch, struct err *err)
{
	AUTO_FREE struct loop_watch *w = calloc(1, sizeof(*w));
	struct epoll_event ev = { .events = events };

	if (!w)
		return err_sys(err, -ENOMEM, "event loop");
	*w = (struct loop_watch){
		.loop = loop, .fd = fd, .events = events, .fn = fn, .arg = arg
	};
	ev.data.ptr = w;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return err_sys(err, -errno, "cannot watch fd %d", fd);
	if (events == 0)
		(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	w->next = loop->watches;
	loop->watches = w;
	if (ret_watch)
		*ret_watch = w;
	w = NULL;
	return 0;
}

void loop_set(struct loop_watch *watch, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = watch };
	/* epoll reports EPOLLHUP and EPOLLERR unasked, unless the fd is taken out. */
	int op = events == 0	 ? EPOLL_CTL_DEL
		 : watch->events ? EPOLL_CTL_MOD
				 : EPOLL_CTL_ADD;

	if (events == watch->events)
		return;
	/* Cannot fail: the fd is open, and loop_add() has tried it. */
	(void)epoll_ctl(watch->loop->epoll_fd, op, watch->fd, &ev);
	watch->events = events;
}

/* Free the removed watches; not while a batch of events may name them. */
static void sweep(struct loop *loop)
{
	struct loop_watch **at = &loop->watches;

	while (*at) {
		struct loop_watch *w = *at;

		if (w->fn) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
}

void loop_del(struct loop_watch *watch)
{
	struct loop *loop;

	if (!watch)
		return;
	loop = watch->loop;
	loop_set(watch, 0);
	watch->fn = NULL;
	if (!loop->in_batch)
		sweep(loop);
}

/* One batch of events, waiting for it at most @timeout ms (-1: for ever). */
static int run_batch(struct loop *loop, int timeout)
{
	struct epoll_event events[32];
	int n = epoll_wait(loop->epoll_fd, events, 32, timeout);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop->in_batch = true;
	for (int i = 0; i < n; i++) {
		struct loop_watch *w = events[i].data.ptr;

		/* Another callback of this batch may have paused or removed it. */
		if (w->fn && (events[i].events & (w->events | EPOLLERR | EPOLLHUP)) &&
		    w->events)
			w->fn(w->arg, events[i].events);
	}
	loop->in_batch = false;
	sweep(loop);
	return n;
}

int loop_run(struct loop *loop, struct err *err)
{
	__atomic_store_n(&loop->stopping, false, __ATOMIC_RELAXED);
	while (!loop->stopped) {
		int n = loop_turn(loop);

		if (n < 0)
			return err_sys(err, n, "event loop");
	}
	loop->stopped = false;
	return 0;
}

int loop_poll(struct loop *loop)
{
	return run_batch(loop, 0);
}

int loop_turn(struct loop *loop)
{
	return run_batch(loop, -1);
}

void loop_stop(struct loop *loop)
{
	__atomic_store_n(&loop->stopping, true, __ATOMIC_RELAXED);
	/* Only a full counter can refuse this, and then the loop wakes anyway. */
	(void)eventfd_write(loop->stop_fd, 1);
}

bool loop_stopping(const struct loop *loop)
{
	return __atomic_load_n(&loop->stopping, __ATOMIC_RELAXED);
}
