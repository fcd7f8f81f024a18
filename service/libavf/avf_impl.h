/* What the library's files know of one another. */
#pragma once

#include <assert.h>
#include <pthread.h>
#include <vmm/avf.h>

#include "base/err.h"
#include "service/client/client.h"
#include "service/common/vm_config.h"

struct AVirtualMachineRawConfig {
	struct vm_config c;
	/* What a function without a return value was given, and makes no machine. */
	const char *bad_cpus, *bad_overlay;
};

struct AVirtualizationService {
	struct client *client;
	pthread_mutex_t *lock; /* of the client; a const service can be locked */
};

/* A handle, which is taken, as an object; -1 for @cid: ask. */
int vm_new(int handle, int64_t cid, AVirtualMachine **ret_vm, struct err *err);

/* How it died, or NULL: not by @deadline (channel.h). */
const struct avf_death *vm_wait_for_death(AVirtualMachine *vm, uint64_t deadline);

/* The public and the private kind are the same bytes. */
static inline struct err *err_of(struct avf_error *error)
{
	void *same = error;

	static_assert(sizeof(struct avf_error) == sizeof(struct err), "one line");
	return same;
}
