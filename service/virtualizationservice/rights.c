/* Callers and their rights; see rights.h. One thread. */
#include "service/virtualizationservice/rights.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/opt.h"
#include "service/common/paths.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5 */
#endif

/* True if this host has the group. */
static bool find_group(const char *name, gid_t *ret_gid)
{
	const struct group *group;
	uint64_t number;

	if (opt_number(name, &number) == 0 && number < UINT32_MAX) {
		*ret_gid = (gid_t)number;
		return true;
	}
	group = getgrnam(name);
	if (group)
		*ret_gid = group->gr_gid;
	return group;
}

void rights_init(struct rights *rights, const struct conf *conf, bool private)
{
	const char *debug = conf->debug_group ? conf->debug_group : SERVICE_DEBUG_GROUP;

	*rights = (struct rights){ .private = private };
	rights->group_name = conf->group ? conf->group : SERVICE_GROUP;
	rights->has_group = find_group(rights->group_name, &rights->group);
	rights->has_debug_group = find_group(debug, &rights->debug_group);
}

static bool in_group(gid_t group, const struct caller *caller, const gid_t *groups,
		     size_t n_groups)
{
	if (caller->gid == group)
		return true;
	for (size_t i = 0; i < n_groups; i++)
		if (groups[i] == group)
			return true;
	return false;
}

int rights_decide(const struct rights *rights, struct caller *caller,
		  const gid_t *groups, size_t n_groups, struct err *err)
{
	caller->debug = false;
	if (rights->private)
		return caller->uid == geteuid()
			       ? 0
			       : err_set(err, -EACCES,
					 "user %u: this service is another user's",
					 caller->uid);
	if (caller->uid == 0) {
		caller->debug = true;
		return 0;
	}
	if (!rights->has_group || !in_group(rights->group, caller, groups, n_groups))
		return err_set(err, -EACCES,
			       "user %u: is not in the group %s, and may not have VMs",
			       caller->uid, rights->group_name);
	caller->debug = rights->has_debug_group &&
			in_group(rights->debug_group, caller, groups, n_groups);
	return 0;
}

static int peer_groups(int fd, gid_t **ret_groups, size_t *ret_n)
{
	socklen_t len = 0;
	gid_t *groups = NULL;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) < 0 &&
	    errno != ERANGE)
		return -errno;
	if (len) {
		groups = malloc(len);
		if (!groups)
			return -ENOMEM;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0) {
			free(groups);
			return -errno;
		}
	}
	*ret_groups = groups;
	*ret_n = len / sizeof(*groups);
	return 0;
}

int rights_ask(const struct rights *rights, int fd, struct caller *ret_caller,
	       struct err *err)
{
	AUTO_FREE gid_t *groups = NULL;
	struct caller caller = { .pidfd = -1 };
	struct ucred cred;
	socklen_t len = sizeof(cred);
	size_t n = 0;
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_sys(err, -errno, "a caller");
	r = peer_groups(fd, &groups, &n);
	if (r < 0)
		return err_sys(err, r, "the groups of user %u", cred.uid);
	caller.uid = cred.uid;
	caller.gid = cred.gid;
	caller.pid = cred.pid;
	r = rights_decide(rights, &caller, groups, n, err);
	len = sizeof(caller.pidfd);
	if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &caller.pidfd, &len) < 0)
		caller.pidfd = (int)syscall(SYS_pidfd_open, cred.pid, 0);
	*ret_caller = caller;
	return r;
}

bool rights_lives(const struct caller *caller)
{
	struct pollfd p = { .fd = caller->pidfd, .events = POLLIN };

	return caller->pidfd >= 0 && poll(&p, 1, 0) == 0;
}
