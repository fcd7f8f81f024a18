/*
 * Who gives a manager's VMs their CIDs, and knows of them: the service of the host or
 * of the user (global.h), or for early VMs the host's files.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/err.h"

#define REGISTRY_MAX_OTHERS 16

struct registry {
	const struct registry_ops *ops;
	/* The manager's: serve one of its VMs at @fd, a connected socket that is taken
	 * even on failure, for another client: it does not keep the VM alive. */
	int (*open_vm)(void *arg, uint32_t cid, int fd, struct err *err);
	void *arg;
};

struct registry_ops {
	/* How many other CIDs may be tried when one is somebody else's on this host;
	 * at most REGISTRY_MAX_OTHERS. */
	unsigned others;
	/* A CID and its lease, which is led into all of the VM's processes. @name:
	 * NULL for none. May wait. -EBADFD: another VM has it, perhaps one that its
	 * client has let go. */
	int (*create)(struct registry *r, const char *name, uint64_t memory,
		      unsigned cpus, uint32_t *ret_cid, int *ret_lease,
		      struct err *err);
	void (*release)(struct registry *r, uint32_t cid);
	/* @cgroup: NULL for none; it is removed by the service if this process cannot.
	 * @state is VM_DEAD when nothing of the VM is left. */
	void (*update)(struct registry *r, uint32_t cid, int lease, unsigned state,
		       bool suspended, const char *cgroup);
	/* What GetInfo calls it. */
	const char *(*kind)(struct registry *r);
	/* Answer a client's ListVms or OpenVm (@member), perhaps later. Returns what a
	 * method's handler returns. */
	int (*forward)(struct registry *r, const char *member, sd_bus_message *call,
		       sd_bus_error *ret_error);
	/* PARTITION_ID_LEN bytes. */
	int (*instance_id)(struct registry *r, uint8_t *id, struct err *err);
	void (*free)(struct registry *r);
};
