/*
 * Clients' calls that the service answers: they are handed on to it, and its answers to
 * them. A service that goes without an answer is no reason for a client to go without
 * one: the next service is asked, but no third one, lest they die of what they are
 * asked.
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

struct forwarded;

/* Zeroes are none. */
struct forwards {
	sd_bus *bus; /* to the service; NULL: there is none */
	LIST_HEAD(, forwarded) calls;
};

/* Ask at @bus from now on, also for those who wait. It lasts until forward_lost(). */
void forward_begin(struct forwards *f, sd_bus *bus);

/* That one has gone. */
void forward_lost(struct forwards *f);

/*
 * Answer @call with what the method @member of the service returns, later: the service
 * may have to ask this very manager. @member lasts for ever. -errno: not asked.
 */
int forward_call(struct forwards *f, const char *member, sd_bus_message *call);

/* Whether somebody waits. */
bool forward_waits(const struct forwards *f);

/* There will be no service, is the answer to all of them. */
void forward_fail(struct forwards *f);
