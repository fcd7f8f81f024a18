/*
 * The manager's connection to the service of the host, or of the user where the host
 * has none: CIDs, the list of VMs, and the way to other managers'. When the service
 * goes away its VMs stay; as soon as one is there again (a watch on its folder tells)
 * they are announced to it.
 */
#pragma once

#include <systemd/sd-event.h>

#include "base/err.h"
#include "service/virtmgr/registry.h"

/*
 * Connects when it is needed, and starts a private service then if there is none.
 *
 * create(): -EDQUOT: this user has reached a limit, -EACCES: may not have VMs.
 * kind(): "system", "private" or "none": what it is, or would be, connected to.
 * forward(): what the service says, later: it may have to ask this very manager.
 */
int global_new(sd_event *event, struct registry **ret_registry, struct err *err);
