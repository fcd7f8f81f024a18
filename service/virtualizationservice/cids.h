/*
 * The host's CIDs for VMs, and who has them.
 *
 * A CID is given as a lease: the file cid/N in the service's folder, locked by an open
 * file (flock) that the service passes on and keeps no part of. So the lock lives as
 * long as the manager or vmm do, whatever becomes of the service, and one that is
 * started anew sees which CIDs are in use. A CID is free when its context has been
 * given back and nobody holds its lease.
 *
 * A lease holds a line "UID TOKEN". The file is readable to the service only, so who
 * knows the line has, or had, the descriptor: that is what adopting asks for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/err.h"

#define CID_FIRST 2048
#define CID_LAST 65535
#define CID_LEASE_LEN 64 /* bytes that a lease's line fits into, its end included */

struct cids;

struct cids_ops {
	/* Where CIDs of @uid are counted, for as long as there is a struct cids; NULL
	 * without memory. */
	unsigned *(*count)(void *userdata, uid_t uid);
	/* A lease that outlived its context is gone. */
	void (*freed)(void *userdata);
};

/*
 * The CIDs from @first to @last, with leases in @folder/cid, which is made if need be
 * and is this process' alone: another one that has it is waited for. @start: the first
 * one to try where the folder does not tell which was the last.
 */
int cids_new(const char *folder, uint32_t first, uint32_t last, uint32_t start,
	     const struct cids_ops *ops, void *userdata, struct cids **ret_cids,
	     struct err *err);
/* Takes NULL. Leases stay; the folder goes if it is empty. */
void cids_free(struct cids *c);

/* Notice when leases that outlive their contexts are let go. */
int cids_watch(struct cids *c, sd_event *event, struct err *err);

/* The next free CID, and its lease, which is the caller's. -EDQUOT: none is free. */
int cids_take(struct cids *c, uid_t uid, uint32_t *ret_cid, int *ret_lease,
	      struct err *err);

/*
 * Whether @uid, who says that @cid is his and what its lease holds, is right: somebody
 * has the lease and it has no context. It has one then. -EINVAL, -EBADFD.
 */
int cids_adopt(struct cids *c, uint32_t cid, uid_t uid, const char *line,
	       struct err *err);

/* The context of @cid has ended. */
void cids_give_back(struct cids *c, uint32_t cid);

/* Look for leases that nobody holds any more. */
void cids_sweep(struct cids *c);

/* How many leases have outlived their contexts. */
unsigned cids_lingering(const struct cids *c);
