/*
 * The service: its connections, the VMs that they have, and what the users have of
 * what is limited. One thread; it never waits for anybody.
 *
 * service.c has connections and users, contexts.c VMs, open.c the way from one manager
 * to another's VM, cgroups.c what is removed after a manager's death.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "base/unix.h"
#include "service/common/peer.h"
#include "service/virtualizationservice/cgroups.h"
#include "service/virtualizationservice/cids.h"
#include "service/virtualizationservice/conf.h"
#include "service/virtualizationservice/rights.h"

/* A user who has, or had, something; never freed before the service is. */
struct user {
	LIST_ENTRY(user) entry;
	uid_t uid;
	struct limits limits;
	unsigned connections, cids;
	uint64_t vms, memory; /* bytes */
};

/* A VM. */
struct context {
	LIST_ENTRY(context) entry; /* of the manager's */
	TAILQ_ENTRY(context) ordered;
	struct conn *conn;
	uint32_t cid, cpus, state;
	bool suspended;
	uint64_t memory; /* bytes */
	char *name, *cgroup; /* cgroup: or NULL */
};

struct opening;

/* A manager. */
struct conn {
	LIST_ENTRY(conn) entry;
	struct service *service;
	struct peer *peer;
	struct caller caller;
	struct user *user; /* NULL: refused */
	struct err refusal;
	int refusal_code;
	LIST_HEAD(, context) contexts;
	LIST_HEAD(, opening) openings; /* that wait for this manager */
	unsigned n_openings;
};

struct service {
	sd_event *event;
	const struct conf *conf;
	struct rights rights;
	struct cids *cids;
	struct cgroups *cgroups;
	sd_event_source *listener;
	sd_event_source *first_call; /* until somebody has made one */
	struct unix_name *name;
	int listen_fd, spare_fd;
	int lock_fd; /* while it ends: nobody else listens there yet */
	bool ends; /* with its last connection */
	bool stopping;
	unsigned n_refused;
	LIST_HEAD(, conn) conns;
	LIST_HEAD(, user) users;
	TAILQ_HEAD(context_order, context) contexts; /* by CID */
	struct context *by_cid[CID_LAST + 1];
};

struct service_setup {
	const struct conf *conf; /* outlives the service */
	int listen_fd; /* taken, also on failure */
	struct unix_name *name; /* where that is: the service removes it */
	const char *folder; /* of leases */
	uint32_t first_cid, last_cid;
	bool private;
};

int service_new(sd_event *event, struct service_setup *setup,
		struct service **ret_service, struct err *err);
void service_free(struct service *s); /* takes NULL */

/* What a handler returns to one who may not call; 0 for one who may. */
int conn_check(struct conn *conn, sd_bus_error *ret_error);

/* Whether it may know of the VM, and open it. */
bool conn_sees(const struct conn *conn, const struct context *vm);

/* --- contexts.c, open.c ------------------------------------------------------ */

void contexts_drop(struct conn *conn); /* its manager has gone */

/* Answer those who wait for this manager. */
void openings_drop(struct conn *conn);
