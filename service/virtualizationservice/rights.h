/*
 * Who calls, and what he may. Identity is what the kernel recorded when the caller
 * connected, never what it says itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "service/virtualizationservice/conf.h"

struct rights {
	bool private; /* a service of this user, for nobody else */
	bool has_group, has_debug_group; /* of this host */
	gid_t group, debug_group;
	const char *group_name;
};

struct caller {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* as it was: a pidfd knows whether it still is */
	int pidfd; /* or -1 */
	bool debug; /* sees what others have */
};

/* Where a group is not there, nobody but root has its rights. */
void rights_init(struct rights *rights, const struct conf *conf, bool private);

/*
 * The one at the other end of the connected socket @fd, whose debug right is set, and
 * whose pidfd is the owner's of @ret_caller. 0, or -EACCES for one who may do nothing,
 * and is filled in all the same, or another -errno.
 */
int rights_ask(const struct rights *rights, int fd, struct caller *ret_caller,
	       struct err *err);

/* The decision alone. */
int rights_decide(const struct rights *rights, struct caller *caller,
		  const gid_t *groups, size_t n_groups, struct err *err);

/* Whether the process is still there. */
bool rights_lives(const struct caller *caller);
