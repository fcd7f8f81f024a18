/*
 * A process outside of a VM's jail that connects to Unix sockets for it
 * (base/connector.h), and removes the files of its sockets when it has ended. It is
 * forked before the namespaces, keeps the user's view of the file system and nothing
 * else: one socket and the directories of those files, no capability but that of root
 * to pass permissions, system calls for its work only. It takes no part in job control
 * or signals: it ends when the VM's process does, in whatever way.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/unix.h"

struct broker {
	int fd, far_fd; /* a socket pair, ours and the process's; -1 */
	char prefix[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* "": none */
	struct unix_name names[3]; /* control, debugger, vsock */
	unsigned n_names;
	pid_t pid; /* a child of who started it; 0: there is none */
};

void broker_init(struct broker *b);
/* Have @name, if it is one, removed in the end. */
void broker_add_name(struct broker *b, struct unix_name *name);
/* Have somebody connect to PREFIX_PORT, and to nothing else. @ret_fd: for the device.
 */
int broker_connector(struct broker *b, const char *prefix, int *ret_fd,
		     struct err *err);
/* Fork it, if there is anything for it to do; returns when it is ready. */
int broker_start(struct broker *b, bool jail, struct err *err);
/*
 * When the VM is not to be: what was to be removed is, when this returns. The device's
 * end of the connector must be closed.
 */
void broker_free(struct broker *b);
