/*
 * One connection that several threads use at a time.
 *
 * sd-bus is for one thread, and sd_bus_call() keeps it until the answer comes. So calls
 * are sent without waiting; of the threads that wait, for an answer or for something
 * else, one reads the connection for all, without the lock, and hands that on when it
 * leaves. Nobody reads when nobody waits: there is no thread of the library's own.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/err.h"

struct channel {
	pthread_mutex_t lock; /* of all that follows, and of messages */
	pthread_cond_t changed; /* something was read, or nobody reads any more */
	sd_bus *bus;
	sd_bus_slot *signals;
	bool led; /* somebody reads */
	bool gone; /* the other end has gone; for good */
};

/* Speak on @fd, which is taken even on failure. @signal sees each message, with the
 * lock, and returns 0. @c stays where it is. */
int channel_init(struct channel *c, int fd, sd_bus_message_handler_t signal,
		 void *userdata, struct err *err);
void channel_destroy(struct channel *c);

/*
 * Call a method of the VM, with the lock, which is not held while this waits.
 * @ret_reply, if not NULL, is the caller's until it unlocks. Errors: as client_call().
 */
int channel_call(struct channel *c, const char *member, sd_bus_message **ret_reply,
		 struct err *err, const char *types, ...);

/* Monotonic microseconds at which @timeout, or nothing, will have passed. */
uint64_t channel_deadline(const struct timespec *timeout);

/*
 * Wait, with the lock, which is not held meanwhile, until something may have changed.
 * -ETIMEDOUT: not before @deadline; -ECONNRESET: nothing will any more.
 */
int channel_wait(struct channel *c, uint64_t deadline);
