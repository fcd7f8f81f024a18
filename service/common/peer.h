/*
 * The server's end of one D-Bus connection, without a message bus between.
 *
 * sd-bus does the protocol; this does what it does not: nothing is set up for a peer
 * that has not spoken (a handle that is only held), a peer that speaks before it has
 * read the answers is served (libdbus does that), one that does not read its answers is
 * disconnected, and the few calls that tools make at a message bus (Hello, AddMatch...)
 * are answered. One thread, that of the event loop.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/err.h"

/* Answers and signals that may wait to be read; with more, the peer is disconnected. */
#define PEER_MAX_QUEUED 512

struct peer;

struct peer_object {
	const char *path, *interface;
	const sd_bus_vtable *vtable; /* its handlers get the peer's userdata */
};

struct peer_ops {
	const struct peer_object *objects;
	size_t n_objects;
	/* The other end has gone, or was sent away; the owner may free the peer. Once,
	 * and never within a call of the owner's. */
	void (*gone)(struct peer *peer, void *userdata);
};

/*
 * Serve a connected stream socket @fd, which is taken even on failure. Whoever holds
 * the other end has the authority: no credentials are asked for.
 */
int peer_new(sd_event *event, int fd, const struct peer_ops *ops, void *userdata,
	     struct peer **ret_peer, struct err *err);

/* Takes NULL. What the peer has not read yet may be lost. Safe in gone() and in
 * handlers. */
void peer_free(struct peer *peer);

/* The connection, to send signals and calls: NULL before the peer has spoken. */
sd_bus *peer_bus(struct peer *peer);

int peer_fd(const struct peer *peer);
