/*
 * The manager: its clients' connections and their VMs.
 *
 * Each connection speaks org.vmm.VirtualizationService1 and may keep files for its next
 * CreateVm. A manager that nobody listens for is over when nobody is connected, has a
 * handle, or is still dying.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "service/virtmgr/registry.h"

#define MANAGER_MAX_CONNECTIONS 256
#define MANAGER_MAX_FILES 8192 /* that a connection keeps for a CreateVm */

struct manager;

/* Takes @registry, even on failure. */
int manager_new(sd_event *event, struct registry *registry,
		struct manager **ret_manager, struct err *err);
void manager_free(struct manager *m); /* takes NULL */

/* Serve a connected stream socket, which is taken even on failure. */
int manager_add_client(struct manager *m, int fd, struct err *err);

/* Accept clients at a listening, non-blocking socket, which is taken. */
int manager_listen(struct manager *m, int fd, struct err *err);

/* Hang up on everybody, and have the loop end when all VMs are gone. */
void manager_end(struct manager *m);
