/*
 * virtio socket device (virtio 1.2 section 5.10): one class and option, two
 * backends. vhost: the host kernel's, AF_VSOCK on the host side. unix: ours,
 * which maps the guest's connections to unix sockets, for hosts without
 * /dev/vhost-vsock; they have paths, or come from a manager.
 */
#pragma once

#include "devices/device.h"

#define VSOCK_ID 19
#define VSOCK_QUEUE_SIZE 256

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum vsock_backend { VSOCK_VHOST, VSOCK_UNIX };

struct vsock_cfg {
	uint64_t cid; /* of the guest: 3 to 0xfffffffe */
	int backend; /* enum vsock_backend */
	char *device; /* vhost: another /dev/vhost-vsock, or NULL */
	char *path; /* unix: where the host's clients connect; or */
	uint64_t fd; /* an inherited socket to a manager (base/connector.h); 0: none */
};

/* dev_class.create of each backend, whose device has a class of its own. */
int vsock_vhost_create(const void *cfg, const struct dev_host *host,
		       struct device **ret_dev, struct err *err);
int vsock_unix_create(const void *cfg, const struct dev_host *host,
		      struct device **ret_dev, struct err *err);
