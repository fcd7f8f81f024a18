/*
 * One vmm, running: its process, what it says on stderr, and its status object.
 *
 * It has ended when its process has and nobody holds its stderr any more, which all of
 * its processes do: then nothing of the VM is left.
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "service/virtmgr/deaths.h"
#include "service/virtmgr/launch.h"

struct process;

struct process_ops {
	/* A line of its stderr, without the newline; what is no text is '?'. */
	void (*line)(void *userdata, const char *line);
	/* Once, and the last call; the process may be freed. @signs are valid during
	 * the call, but for killed_for. */
	void (*ended)(void *userdata, struct death_signs *signs);
};

/* Add what is wanted to @l, and start it; in a cgroup unless @cgroup_fd is -1. */
int process_start(sd_event *event, struct launch *l, int cgroup_fd,
		  const struct process_ops *ops, void *userdata,
		  struct process **ret_process, struct err *err);

/* Takes NULL. One that has not ended is killed. */
void process_free(struct process *p);

pid_t process_pid(const struct process *p);
void process_kill(struct process *p);
