/*
 * A process outside of a VM's jail that connects to Unix sockets for it
 * (devices/connector.h). It is forked before the namespaces, keeps the user's view of
 * the file system and nothing else: one socket, no capability but that of root to
 * pass permissions, system calls for connecting only. It takes no part in job
 * control or signals: it ends when the VM's process does, in whatever way, and then
 * removes the socket file that was made for the VM.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct broker_cfg {
	const char *prefix; /* it connects to PREFIX_PORT, and to nothing else */
	const char *made; /* the file to remove, or NULL */
	bool jail;
};

/* Returns when it is ready. @ret_fd: for the device. */
int broker_start(const struct broker_cfg *cfg, pid_t *ret_pid, int *ret_fd,
		 struct err *err);
