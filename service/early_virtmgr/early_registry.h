/*
 * CIDs for early VMs: those that the host's files give, each locked while its VM is
 * there. There is no service, so nothing is listed and nobody else finds these VMs.
 */
#pragma once

#include "base/err.h"
#include "service/virtmgr/registry.h"

/* For the client at @fd, which stays the caller's. @root: as for early_vms_load(); NULL
 * or a path that outlives it. */
int early_registry_new(int fd, const char *root, struct registry **ret_registry,
		       struct err *err);
