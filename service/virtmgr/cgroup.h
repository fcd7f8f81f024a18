/*
 * A VM's control group (cgroup v2), where the host lets this user make one: beside or
 * below the manager's own, whichever has what the VM's limits need. Without one a VM
 * runs all the same, without limits, and one line tells.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct cgroup;

/* Told of a path where there is about to be one. */
typedef void cgroup_announce_fn(void *arg, const char *path);

/*
 * Make one called vmm-CID-PID. @memory: bytes at most; @cpu_percent: of one CPU; 0: no
 * limit. @announce is called before each attempt, so that at no moment there is one
 * that nobody else knows of. -errno with a sentence why there is none, or why it could
 * not have its limits; then there is none, either.
 */
int cgroup_new(uint32_t cid, uint64_t memory, uint64_t cpu_percent,
	       cgroup_announce_fn *announce, void *arg, struct cgroup **ret_cgroup,
	       struct err *err);

/* Takes NULL. Remove it; its processes have ended. */
void cgroup_free(struct cgroup *c);

/* A folder, and its path, for who removes it if this process cannot. -1 and NULL for
 * NULL. */
int cgroup_fd(const struct cgroup *c);
const char *cgroup_path(const struct cgroup *c);
