/*
 * One connection between a guest's port and a Unix socket: its states, and the flow
 * control of both directions (virtio 1.2 section 5.10.6.3).
 *
 * From the guest: what the socket does not take at once waits in a ring, and the
 * guest may send only what that has room for. To the guest: nothing waits here; data
 * stays in the socket until a receive buffer and the guest's credit are there.
 * Packets that are owed to the guest are bits, so however many there are reasons for,
 * they take no memory.
 *
 * All functions are the device's, with its lock held. After each call it looks at
 * state and vsock_conn_wants().
 */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>

#include "virtio/queue.h"
#include "virtio/vsock_packet.h"

/* What a guest may have under way to one socket. */
#define VSOCK_BUF (128u << 10)

/* Receive buffers of the guest's that were taken and not used so far, in order. */
#define VSOCK_BATCH 16u
struct vsock_buffers {
	unsigned first, n;
	struct vq_chain chain[VSOCK_BATCH]; /* each with room behind the header */
};

enum vsock_state {
	VSOCK_GREETING, /* the host's client has not said CONNECT yet */
	VSOCK_ASKING_GUEST, /* REQUEST is on its way to the guest */
	VSOCK_ASKING_HOST, /* the connector is at work */
	VSOCK_OPEN,
	VSOCK_LEFT, /* the guest knows it no more, but what it sent goes out */
	VSOCK_RESET, /* only the RST for the guest is left to do */
	VSOCK_GONE, /* to be freed */
};

TAILQ_HEAD(vsock_line, vsock_conn);

struct vsock_conn {
	/* The device's. */
	uint64_t id;
	bool has_ports;
	LIST_ENTRY(vsock_conn) by_ports;
	struct vsock_line *line; /* in which it stands, or NULL */
	TAILQ_ENTRY(vsock_conn) in_line;

	uint32_t guest_port, host_port;

	enum vsock_state state;
	int fd; /* non-blocking; -1: none, or none any more. SIGPIPE is ignored */
	unsigned owed; /* bit n: a packet with operation n goes to the guest */
	unsigned patience; /* seconds until it ends; 0: it has time */

	/* From the guest. */
	unsigned guest_shut; /* the flags of its SHUTDOWN */
	bool deaf; /* the socket takes no more; what comes is thrown away */
	bool finished; /* and has been told that no more will come */
	uint8_t *ring; /* VSOCK_BUF bytes, from the first time that it is needed */
	uint32_t first, fill;
	uint32_t fwd_cnt, told_fwd_cnt; /* bytes that left us; as the guest knows */

	/* To the guest. */
	bool readable; /* there may be something to read */
	unsigned shut, told_shut; /* SHUTDOWN flags that hold; as the guest knows */
	uint32_t sent, peer_fwd_cnt, peer_buf_alloc;
};

/*
 * A client says "CONNECT PORT\n": 1 and *ret_port, 0 when more has to come; -1 when
 * it is something else. Behind that line its data begins, and is not touched.
 */
int vsock_conn_greet(struct vsock_conn *c, uint32_t *ret_port);

/* The guest's REQUEST is granted: @fd is its socket. */
void vsock_conn_open(struct vsock_conn *c, int fd);

/*
 * A packet of the guest's for this connection. @chain holds its payload behind the
 * header: at least @p->len bytes.
 */
void vsock_conn_input(struct vsock_conn *c, const struct vsock_packet *p,
		      const struct vq_chain *chain);

/* The socket is ready: EPOLL bits, edge-triggered. */
void vsock_conn_ready(struct vsock_conn *c, uint32_t events);

/* Whether there is something for the guest. */
bool vsock_conn_wants(const struct vsock_conn *c);

/*
 * The next packet for the guest, but for its CIDs; false: there is nothing, after all.
 * Its payload has been written into the first of @b, which are at least one, behind
 * their headers. It may be longer than the first has room for: then it is as many
 * packets as the buffers that it fills.
 */
bool vsock_conn_output(struct vsock_conn *c, const struct vsock_buffers *b,
		       struct vsock_packet *ret);

/* So many seconds of its patience, of which there is some, are over. */
void vsock_conn_tick(struct vsock_conn *c, uint64_t seconds);

/* End it, and tell the guest by RST. */
void vsock_conn_reset(struct vsock_conn *c);

/* Close and free what it has; the struct is the device's. */
void vsock_conn_close(struct vsock_conn *c);
