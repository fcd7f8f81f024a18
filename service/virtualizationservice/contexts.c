/* The VMs of managers: what they are given, and who may know of them; see service.h. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "dbus/global.h"
#include "service/common/bus_error.h"
#include "service/virtualizationservice/service.h"

#define NAME_MAX_LEN 255
#define MAX_UNREAD 64 /* of a user's, for a list to be added */
#define MIB UINT64_C(1048576)
#define MEMORY_MAX (1ULL << 46) /* of a VM, so that no sum overflows */

/* --- what a manager tells of a VM -------------------------------------------- */

/* Strings are the message's. */
struct told {
	const char *name, *cgroup;
	uint64_t memory;
	uint32_t cpus, state;
	int suspended; /* a D-Bus boolean */
	bool has_state, has_suspended;
};

static int read_value(sd_bus_message *m, const char *key, struct told *told,
		      struct err *err)
{
	static const struct {
		const char *key, *type;
		size_t offset;
	} keys[] = {
		{ "name", "s", offsetof(struct told, name) },
		{ "cgroup", "s", offsetof(struct told, cgroup) },
		{ "memory", "t", offsetof(struct told, memory) },
		{ "cpus", "u", offsetof(struct told, cpus) },
		{ "state", "u", offsetof(struct told, state) },
		{ "suspended", "b", offsetof(struct told, suspended) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].key, key) == 0) {
			int r = sd_bus_message_read(m, "v", keys[i].type,
						    (char *)told + keys[i].offset);

			told->has_state |= keys[i].offset ==
					   offsetof(struct told, state);
			told->has_suspended |= keys[i].offset ==
					       offsetof(struct told, suspended);
			return r < 0 ? err_set(err, -EINVAL, "%s: is not of type %s",
					       key, keys[i].type)
				     : 0;
		}
	return err_set(err, -EINVAL, "%s: there is no such key", key);
}

static int read_told(sd_bus_message *m, struct told *told, struct err *err)
{
	const char *key;
	int r;

	*told = (struct told){ 0 };
	r = sd_bus_message_enter_container(m, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = sd_bus_message_read(m, "s", &key);
		if (r >= 0) {
			r = read_value(m, key, told, err);
			if (r < 0)
				return r;
			r = sd_bus_message_exit_container(m);
		}
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0)
		return err_sys(err, -EINVAL, "a VM's description");
	if (told->memory > MEMORY_MAX)
		return err_set(err, -EINVAL, "memory: %" PRIu64 " bytes are too many",
			       told->memory);
	if (told->cgroup && *told->cgroup && !cgroups_path_ok(told->cgroup))
		return err_set(err, -EINVAL,
			       "cgroup: %s: is not a folder of a VM in /sys/fs/cgroup",
			       told->cgroup);
	if (!told->name)
		return 0;
	if (strlen(told->name) > NAME_MAX_LEN)
		return err_set(err, -EINVAL, "name: is longer than %d bytes",
			       NAME_MAX_LEN);
	/* Others see it, on their terminals. */
	for (const unsigned char *c = (const unsigned char *)told->name; *c; c++)
		if (iscntrl(*c) || (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0))
			return err_set(err, -EINVAL, "name: has control characters");
	return 0;
}

/* --- contexts ---------------------------------------------------------------- */

static int replace(char **text, const char *with)
{
	char *copy = with ? strdup(with) : NULL;

	if (with && !copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static void context_free(struct context *context)
{
	if (!context)
		return;
	free(context->name);
	free(context->cgroup);
	free(context);
}

static struct context *context_new(const struct told *told)
{
	struct context *context = calloc(1, sizeof(*context));

	if (!context)
		return NULL;
	context->memory = told->memory;
	context->cpus = told->cpus;
	context->state = told->state;
	context->suspended = told->suspended;
	if (replace(&context->name, told->name ?: "") < 0 ||
	    (told->cgroup && *told->cgroup &&
	     replace(&context->cgroup, told->cgroup) < 0)) {
		context_free(context);
		return NULL;
	}
	return context;
}

static void context_enter(struct context *context, struct conn *conn, uint32_t cid)
{
	struct service *s = conn->service;
	/* They are given in turn, so most are the last. */
	struct context *before = TAILQ_LAST(&s->contexts, context_order);

	while (before && before->cid > cid)
		before = TAILQ_PREV(before, context_order, ordered);
	if (before)
		TAILQ_INSERT_AFTER(&s->contexts, before, context, ordered);
	else
		TAILQ_INSERT_HEAD(&s->contexts, context, ordered);
	context->conn = conn;
	context->cid = cid;
	conn->user->vms++;
	conn->user->memory += context->memory;
	s->by_cid[cid] = context;
	LIST_INSERT_HEAD(&conn->contexts, context, entry);
}

static void context_drop(struct context *context)
{
	struct conn *conn = context->conn;
	struct service *s = conn->service;

	LIST_REMOVE(context, entry);
	TAILQ_REMOVE(&s->contexts, context, ordered);
	s->by_cid[context->cid] = NULL;
	conn->user->vms--;
	conn->user->memory -= context->memory;
	cids_give_back(s->cids, context->cid);
	/* When the service stops, VMs go on. */
	if (context->cgroup && !s->stopping)
		cgroups_remove(s->cgroups, context->cgroup, conn->caller.uid);
	context_free(context);
}

void contexts_drop(struct conn *conn)
{
	while (!LIST_EMPTY(&conn->contexts))
		context_drop(LIST_FIRST(&conn->contexts));
}

static int check_limits(struct conn *conn, uint64_t memory, struct err *err)
{
	struct user *user = conn->user;
	const struct limits *limits = &user->limits;

	if (user->vms >= limits->vms)
		return err_set(err, -EDQUOT,
			       "user %u: has %" PRIu64 " VMs, and may not have more",
			       user->uid, user->vms);
	if (limits->memory_mib != LIMIT_NONE &&
	    user->memory + memory > limits->memory_mib * MIB)
		return err_set(err, -EDQUOT,
			       "user %u: VMs have %" PRIu64
			       " MiB, and may not have %" PRIu64
			       " MiB more: the limit is %" PRIu64 " MiB",
			       user->uid, user->memory / MIB, memory / MIB,
			       limits->memory_mib);
	if (user->cids >= limits->cids)
		cids_sweep(conn->service->cids);
	if (user->cids >= limits->cids)
		return err_set(err, -EDQUOT,
			       "user %u: has %u CIDs, and may not have more", user->uid,
			       user->cids);
	return 0;
}

/* --- methods ----------------------------------------------------------------- */

int global_on_create_vm_context(sd_bus_message *m, void *userdata,
				sd_bus_error *ret_error)
{
	struct conn *conn = userdata;
	struct context *context;
	AUTO_CLOSE int lease = -1;
	struct err err = { "" };
	struct told told;
	uint32_t cid;
	int r = conn_check(conn, ret_error);

	if (r < 0)
		return r;
	r = read_told(m, &told, &err);
	if (r == 0)
		r = check_limits(conn, told.memory, &err);
	if (r < 0)
		return bus_error_set(ret_error, r, &err);
	context = context_new(&told);
	r = context ? cids_take(conn->service->cids, conn->caller.uid, &cid, &lease,
				&err)
		    : -ENOMEM;
	if (r < 0) {
		context_free(context);
		return bus_error_set(ret_error, r, &err);
	}
	context_enter(context, conn, cid);
	r = sd_bus_reply_method_return(m, "uh", cid, lease);
	if (r < 0)
		context_drop(context);
	return r;
}

int global_on_adopt_vm_context(sd_bus_message *m, void *userdata,
			       sd_bus_error *ret_error)
{
	struct conn *conn = userdata;
	struct context *context;
	struct err err = { "" };
	struct told told;
	const char *lease;
	uint32_t cid;
	int r = conn_check(conn, ret_error);

	if (r < 0)
		return r;
	r = sd_bus_message_read(m, "us", &cid, &lease);
	if (r < 0)
		return r;
	r = read_told(m, &told, &err);
	if (r < 0)
		return bus_error_set(ret_error, r, &err);
	/* Limits are for those who want more: this VM is there. */
	context = context_new(&told);
	r = context ? cids_adopt(conn->service->cids, cid, conn->caller.uid, lease,
				 &err)
		    : -ENOMEM;
	if (r < 0) {
		context_free(context);
		return bus_error_set(ret_error, r, &err);
	}
	context_enter(context, conn, cid);
	return sd_bus_reply_method_return(m, "");
}

/* The caller's VM whose CID @m begins with; or NULL, and what a handler returns. */
static struct context *read_own(struct conn *conn, sd_bus_message *m, int *ret_r,
				sd_bus_error *ret_error)
{
	struct context *context;
	struct err err;
	uint32_t cid = 0;

	*ret_r = conn_check(conn, ret_error);
	if (*ret_r >= 0)
		*ret_r = sd_bus_message_read(m, "u", &cid);
	if (*ret_r < 0)
		return NULL;
	context = cid <= CID_LAST ? conn->service->by_cid[cid] : NULL;
	if (context && context->conn == conn)
		return context;
	err_set(&err, -ENOENT, "CID %" PRIu32 ": is no VM of this manager", cid);
	*ret_r = bus_error_set(ret_error, -ENOENT, &err);
	return NULL;
}

int global_on_release_vm_context(sd_bus_message *m, void *userdata,
				 sd_bus_error *ret_error)
{
	int r;
	struct context *context = read_own(userdata, m, &r, ret_error);

	if (!context)
		return r;
	context_drop(context);
	return sd_bus_reply_method_return(m, "");
}

int global_on_update_vm_context(sd_bus_message *m, void *userdata,
				sd_bus_error *ret_error)
{
	int r;
	struct context *context = read_own(userdata, m, &r, ret_error);
	struct err err = { "" };
	struct told told;

	if (!context)
		return r;
	r = read_told(m, &told, &err);
	if (r == 0 && told.cgroup)
		r = replace(&context->cgroup, *told.cgroup ? told.cgroup : NULL);
	if (r < 0)
		return bus_error_set(ret_error, r, &err);
	if (told.has_state)
		context->state = told.state;
	if (told.has_suspended)
		context->suspended = told.suspended;
	return sd_bus_reply_method_return(m, "");
}

static int append_vm(sd_bus_message *m, const struct context *vm)
{
	const struct caller *manager = &vm->conn->caller;
	/* A number that may be another process' by now is none. */
	uint32_t pid = rights_lives(manager) ? (uint32_t)manager->pid : 0;

	return sd_bus_message_append(m, "a{sv}", 8, "cid", "u", vm->cid, "name", "s",
				     vm->name, "state", "u", vm->state, "suspended",
				     "b", vm->suspended, "uid", "u",
				     (uint32_t)manager->uid, "pid", "u", pid, "memory",
				     "t", vm->memory, "cpus", "u", vm->cpus);
}

/* How many answers the connections of @user have not taken. */
static uint64_t unread(const struct user *user, const struct service *s)
{
	const struct conn *conn;
	uint64_t sum = 0, n;

	LIST_FOREACH(conn, &s->conns, entry)
	if (conn->user == user && peer_bus(conn->peer) &&
	    sd_bus_get_n_queued_write(peer_bus(conn->peer), &n) >= 0)
		sum += n;
	return sum;
}

int global_on_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	struct conn *conn = userdata;
	struct err err = { "" };
	struct context *vm;
	int r = conn_check(conn, ret_error);

	if (r < 0)
		return r;
	/* Others' answers are short, but this one may be of a thousand VMs. */
	if (unread(conn->user, conn->service) >= MAX_UNREAD) {
		err_set(&err, -EDQUOT, "user %u: has not read %d answers",
			conn->user->uid, MAX_UNREAD);
		return bus_error_set(ret_error, -EDQUOT, &err);
	}
	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = sd_bus_message_open_container(reply, 'a', "a{sv}");
	TAILQ_FOREACH(vm, &conn->service->contexts, ordered)
	{
		if (r >= 0 && conn_sees(conn, vm))
			r = append_vm(reply, vm);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(reply);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}
