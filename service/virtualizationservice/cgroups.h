/*
 * Control groups that a manager left behind: each is removed as soon as no process is
 * in it. A path comes from a manager, so only a cgroup of its own user is touched, by a
 * name that VMs have (vmm-*), without following a link.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct cgroups;

/* Called when none is left that is waited for. */
typedef void cgroups_idle_fn(void *userdata);

struct cgroups *cgroups_new(sd_event *event, cgroups_idle_fn *idle, void *userdata);
void cgroups_free(struct cgroups *c); /* takes NULL; leaves those that are in use */

/* Whether @path could be removed later: what it must look like. */
bool cgroups_path_ok(const char *path);

/* Remove it now or, while there are processes in it, when the last one is gone. */
void cgroups_remove(struct cgroups *c, const char *path, uid_t uid);

bool cgroups_busy(const struct cgroups *c);
