/*
 * What the parts of the user-space vsock device share: vsock_unix.c has its queues
 * and its life, vsock_host.c the host's side: clients, the connector, time.
 * vsock_table.c knows the connections. All with io_lock held, on the loop's thread.
 */
#pragma once

#include "virtio/virtio.h"
#include "virtio/vsock.h"
#include "virtio/vsock_conn.h"

#define VSOCK_MAX_CONNS 1024u
#define VSOCK_BUCKETS 256u
#define VSOCK_MAX_RSTS 256u

/* What an event is of; a connection's id is larger, for its upper half is no 0. */
enum { VSOCK_ON_WAKE, VSOCK_ON_TICK, VSOCK_ON_LISTEN, VSOCK_ON_CONNECTOR };

LIST_HEAD(vsock_list, vsock_conn);

struct vsock_rst {
	uint32_t guest_port, host_port;
	uint16_t type;
};

struct vsock {
	struct virtio_dev v; /* first */
	uint64_t cid;
	int epoll_fd, wake_fd, timer_fd, listen_fd, connector_fd;
	struct loop_watch *watch;

	/* Under io_lock, from here on. */
	bool stopped; /* the guest has forgotten all connections, so must we */
	bool ticking, listening;
	uint32_t next_port;

	struct vsock_conn *conns[VSOCK_MAX_CONNS]; /* by the lower half of their id */
	unsigned n_conns, n_greeting;
	uint32_t serial; /* upper half of the last id */
	struct vsock_list buckets[VSOCK_BUCKETS]; /* by ports */
	/* Have something for the guest; are to say CONNECT; wait for the connector. */
	struct vsock_line output, greeting, asking;

	struct vsock_rst rsts[VSOCK_MAX_RSTS];
	unsigned first_rst, n_rsts;
	bool tx_waits; /* for room among the RSTs */
	struct vsock_buffers rx;
	struct vq_chain tx;
};

/* --- vsock_table.c --------------------------------------------------------- */

void vsock_table_init(struct vsock *d);
/* NULL: there are too many. */
struct vsock_conn *vsock_add(struct vsock *d, enum vsock_state state);
void vsock_drop(struct vsock *d, struct vsock_conn *c);
struct vsock_conn *vsock_by_id(struct vsock *d, uint64_t id);
struct vsock_conn *vsock_by_ports(struct vsock *d, uint32_t guest_port,
				  uint32_t host_port);
void vsock_give_ports(struct vsock *d, struct vsock_conn *c, uint32_t guest_port,
		      uint32_t host_port);
/* Move to the end of a line, or (NULL) out of the one that it stands in. */
void vsock_line_up(struct vsock *d, struct vsock_conn *c, struct vsock_line *line);
/* After something has happened to @c, which may be freed. */
void vsock_settle(struct vsock *d, struct vsock_conn *c);

/* --- vsock_host.c ---------------------------------------------------------- */

/* Open the sockets; what is open on failure is vsock_unix_create()'s to close. */
int vsock_host_open(struct vsock *d, const struct vsock_cfg *cfg,
		    const struct dev_host *host, struct err *err);
/* The guest's REQUEST: ask the connector. False: refuse it. */
bool vsock_host_connect(struct vsock *d, const struct vsock_packet *p);
/* An event of vsock_host_open()'s epoll that is not VSOCK_ON_WAKE. */
void vsock_host_event(struct vsock *d, uint64_t id, uint32_t events);
/* See to it that ticks come, as long as a connection has limited patience. */
void vsock_start_ticking(struct vsock *d);
