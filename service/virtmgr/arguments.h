/* vmm's command line and descriptors for a VM's configuration. */
#pragma once

#include "base/err.h"
#include "service/common/vm_config.h"
#include "service/virtmgr/launch.h"

/*
 * Check every file of @c, take them, and write what vmm must be told of them; but for
 * what is only there when the VM is (consoles, vsock, control socket, status).
 * -EBADMSG, -ENOTSUP, with a sentence that begins with the key's path.
 */
int arguments_add(struct vm_config *c, struct launch *l, struct err *err);

/* The consoles, whose number in the child is @number: ttyS0 and hvc0 both write to it.
 * @log: as in vm_config; taken. */
int arguments_add_consoles(int number, int input_device, int log, struct launch *l,
			   struct err *err);
