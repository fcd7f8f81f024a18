/*
 * The manager's connection to the service of the host, or of the user where the host
 * has none: CIDs, the list of VMs, and the way to other managers'. When the service
 * goes away its VMs stay; as soon as one is there again (a watch on its folder tells)
 * they are announced to it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/err.h"

struct global;

struct global_ops {
	/* Serve a VM of this manager at @fd, a connected socket that is taken even on
	 * failure, for another client: it does not keep the VM alive. */
	int (*open_vm)(void *userdata, uint32_t cid, int fd, struct err *err);
};

/* Connects when it is needed, and starts a private service then if there is none. */
int global_new(sd_event *event, const struct global_ops *ops, void *userdata,
	       struct global **ret_global, struct err *err);
void global_free(struct global *g); /* takes NULL */

/*
 * A CID and its lease. Waits for the service. -EDQUOT: this user has reached a limit,
 * -EACCES: may not have VMs.
 */
int global_create_context(struct global *g, const char *name, uint64_t memory,
			  unsigned cpus, uint32_t *ret_cid, int *ret_lease,
			  struct err *err);
void global_release_context(struct global *g, uint32_t cid);
/* @cgroup: NULL for none; it is removed by the service if this process cannot. */
void global_update_context(struct global *g, uint32_t cid, unsigned state,
			   bool suspended, const char *cgroup);

/* "system", "private" or "none": what it is, or would be, connected to. */
const char *global_kind(struct global *g);

/*
 * Answer a client's ListVms or OpenVm (@member) with what the service says, later: the
 * service may have to ask this very manager. Returns what a method's handler returns.
 */
int global_forward(struct global *g, const char *member, sd_bus_message *call,
		   sd_bus_error *ret_error);
