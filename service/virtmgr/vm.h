/*
 * One VM: from its configuration to its death.
 *
 *   NOT_STARTED -- vm_start() --> STARTING --> STARTED, READY, FINISHED, as its payload
 *   tells --> DEAD, when nothing of it is left
 *
 * It is there as long as somebody has one of its handles that count (handle.h); the
 * last one that closes kills it. Nothing here waits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "service/common/death.h"
#include "service/common/vm_config.h"
#include "service/virtmgr/cgroup.h"
#include "service/virtmgr/console.h"
#include "service/virtmgr/deaths.h"
#include "service/virtmgr/launch.h"
#include "service/virtmgr/process.h"
#include "service/virtmgr/registry.h"
#include "service/virtmgr/requests.h"
#include "service/virtmgr/vsock.h"

struct handle;
struct vm;

/* What VMs have in common. */
struct vm_host {
	sd_event *event;
	struct registry *registry;
	struct vm *vms;
	void (*gone)(struct vm_host *host); /* there is one less */
};

/* For vm*.c and handle.c. */
struct vm {
	struct vm_host *host;
	struct vm *next;
	char *name; /* or NULL */
	uint32_t cid;
	int lease_fd;
	int log_fd; /* until it starts */
	enum vm_state state;
	bool suspended;
	int console_input_device;
	bool balloon;
	uint64_t start_timeout_s;
	uint64_t cpu_percent, memory_max;
	struct launch *launch; /* these until it is dead */
	struct cgroup *cgroup;
	struct console *console;
	struct vsock *vsock;
	struct process *process;
	struct requests *requests;
	sd_event_source *start_timer;
	int killed_for; /* a reason, or -1 */
	struct death death;
	sd_bus_message *start_call; /* to be answered */
	struct vm_call {
		sd_bus_message *m;
	} * stop_calls;
	size_t n_stop_calls;
	struct handle *handles;
	unsigned n_handles, n_counting;
};

/*
 * Takes what it wants of @c. The VM has no handle yet: vm_release() if it is not to get
 * one. May wait for the registry. -EBADMSG, -ENOTSUP, -EDQUOT, -EACCES...
 */
int vm_new(struct vm_host *host, struct vm_config *c, struct vm **ret_vm,
	   struct err *err);
/* Nobody has a handle: kill it, and free it when it is dead; perhaps at once. */
void vm_release(struct vm *v);

/* Its CPUs have been made to stand still, or to go on. */
void vm_set_suspended(struct vm *v, bool suspended);

/* @call is answered when the VM runs, or has failed to. */
int vm_start(struct vm *v, sd_bus_message *call, struct err *err);
/* @call is answered when it is dead. */
int vm_stop(struct vm *v, sd_bus_message *call, struct err *err);
