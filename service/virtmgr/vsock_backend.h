/*
 * The two ways of a VM's sockets. A backend has streams: the agent's, which it hands to
 * its owner, and those that somebody wants to the guest, which take their time.
 */
#pragma once

#include "service/virtmgr/vsock.h"

struct vsock_backend {
	const struct vsock_backend_ops *ops;
	uint32_t cid;
	/* The owner's: whether another stream of the agent's is wanted, and one. */
	bool (*takes)(void *arg);
	void (*agent)(void *arg, int fd);
	void *arg;
};

struct vsock_backend_ops {
	const char *kind;
	int (*launch)(struct vsock_backend *b, struct launch *l, struct err *err);
	/* Begin: a stream socket to be watched for @connect_events, or -errno. */
	int (*connect)(struct vsock_backend *b, uint32_t port);
	uint32_t connect_events;
	/* There was an event: 1 when it is connected, 0: not yet, or -errno. */
	int (*connected)(int fd);
	void (*free)(struct vsock_backend *b);
};

/*
 * The host's. -ENOENT, -ENODEV, -ENXIO, -EACCES, -EPERM, -EAFNOSUPPORT: this process
 * cannot have it. -EADDRINUSE: the CID, or the agent's port. @device: NULL for
 * /dev/vhost-vsock.
 */
int vsock_vhost_new(sd_event *event, const char *device, uint32_t cid,
		    struct vsock_backend **ret_backend, struct err *err);

/* By descriptors to and from vmm, which is told nothing but its connector's protocol.
 */
int vsock_unix_new(sd_event *event, uint32_t cid, struct vsock_backend **ret_backend,
		   struct err *err);

/*
 * Of @n bytes that vmm sent first: how many are its "OK PORT\n"; 0: none so far, or
 * -ECONNREFUSED.
 */
int vsock_unix_greeting(const char *buf, size_t n);
