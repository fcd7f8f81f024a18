/*
 * An epoll event loop: one thread runs it, callbacks run on that thread.
 *
 * Watches are added before the loop runs, or by its own callbacks; only
 * loop_stop() may be called by other threads (and by signal handlers).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"

struct loop;
struct loop_watch;

/* @events: the EPOLL* bits that are ready. */
typedef void loop_fn(void *arg, uint32_t events);

int loop_new(struct loop **ret_loop, struct err *err);
void loop_free(struct loop *loop); /* frees its watches, closes none of their fds */

/*
 * Call @fn(@arg, events) whenever @fd is ready for @events (level triggered).
 * The fd stays the caller's and must outlive the watch. -EPERM: a kind of fd
 * that is always ready and cannot be watched (a regular file). @ret_watch may
 * be NULL.
 */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *arg,
	     struct loop_watch **ret_watch, struct err *err);

/* Wait for other events; 0 pauses the watch, for errors and hang-ups too. */
void loop_set(struct loop_watch *watch, uint32_t events);

/* Remove a watch; takes NULL. Safe within any callback of the same loop. */
void loop_del(struct loop_watch *watch);

/*
 * Run until loop_stop(), even one that came before; 0, or -errno when epoll itself
 * fails. May be run again.
 */
int loop_run(struct loop *loop, struct err *err);

/* Run what is ready now, without waiting; the number of events, or -errno. */
int loop_poll(struct loop *loop);

/* The same, waiting for something to be ready: one turn of loop_run(). */
int loop_turn(struct loop *loop);

void loop_stop(struct loop *loop);

/* Whether loop_stop() was called: time for a long callback to come back. Any thread. */
bool loop_stopping(const struct loop *loop);
