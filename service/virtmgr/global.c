/* The manager's connection to the service; see global.h. */
#include "service/virtmgr/global.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix.h"
#include "dbus/backend.h"
#include "dbus/backend_vtable.h"
#include "dbus/global.h"
#include "service/client/client.h"
#include "service/common/bus_error.h"
#include "service/common/paths.h"
#include "service/virtmgr/forward.h"
#include "service/virtmgr/global_spawn.h"
#include "service/virtmgr/partition.h"

#define TAG "service"
#define LEASE_LEN 64
#define PATIENCE_S 5
/* More than chance needs, for a service that ends while we connect. */
#define TRIES 10
/* A service that dies of what it is told is not asked more often. */
#define RETRY_US (1 * 1000000ULL)

/* A VM, as the service knows it, and a new one is told. */
struct known {
	LIST_ENTRY(known) entry;
	uint32_t cid, cpus, state;
	bool suspended;
	uint64_t memory;
	char *name, *cgroup;
	char lease[LEASE_LEN]; /* what its lease holds */
};

enum kind { KIND_NONE, KIND_SYSTEM, KIND_PRIVATE };

struct global {
	struct registry r; /* first */
	sd_event *event;
	sd_bus *bus; /* or NULL */
	enum kind kind; /* of the bus, or of the service that VMs are known to */
	uint64_t tried; /* when it was last connected to, of CLOCK_MONOTONIC */
	sd_event_source *retry, *watch;
	LIST_HEAD(, known) vms;
	struct forwards calls; /* of clients */
};

static void known_free(struct known *vm)
{
	if (!vm)
		return;
	free(vm->name);
	free(vm->cgroup);
	free(vm);
}

static struct known *find(struct global *g, uint32_t cid)
{
	struct known *vm;

	LIST_FOREACH(vm, &g->vms, entry)
	{
		if (vm->cid == cid)
			return vm;
	}
	return NULL;
}

/* --- losing the service, and finding it again -------------------------------- */

/* The next one is to hear of VMs and calls, so look for it soon, if not too often. */
static void schedule_retry(struct global *g)
{
	uint64_t now;

	sd_event_now(g->event, CLOCK_MONOTONIC, &now);
	sd_event_source_set_time(g->retry,
				 now > g->tried + RETRY_US ? now : g->tried + RETRY_US);
	sd_event_source_set_enabled(g->retry, SD_EVENT_ONESHOT);
}

static void drop_bus(struct global *g)
{
	forward_lost(&g->calls);
	g->bus = sd_bus_close_unref(g->bus);
	/* Without VMs it is of no importance which service the next one is. */
	if (LIST_EMPTY(&g->vms))
		g->kind = KIND_NONE;
	else
		log_warn(TAG, "the service has gone; VMs go on");
	if (!LIST_EMPTY(&g->vms) || forward_waits(&g->calls))
		schedule_retry(g);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)m;
	(void)ret_error;
	drop_bus(userdata);
	return 0;
}

static const char *system_path(void)
{
	const char *path = secure_getenv("VIRTUALIZATIONSERVICE_SOCKET");

	return path && *path ? path : SERVICE_RUN_DIR "/" SERVICE_SOCKET_NAME;
}

static bool nobody_there(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED;
}

static int connect_to(const char *path, struct err *err)
{
	const struct unix_patience patience = { .seconds = PATIENCE_S };

	return unix_connect("service", path, SOCK_STREAM, &patience, err);
}

/* The user's own service: the one that there is, or with @spawn a new one. */
static int connect_private(bool spawn, struct err *err)
{
	AUTO_FREE char *folder = NULL;
	AUTO_FREE char *path = NULL;
	int r = paths_private_dir(&folder, err);

	if (r < 0)
		return r;
	if (asprintf(&path, "%s/" SERVICE_SOCKET_NAME, folder) < 0) {
		path = NULL;
		return err_sys(err, -ENOMEM, "the service");
	}
	r = connect_to(path, err);
	/* More than once: the one that was there may just be ending. */
	for (int i = 0; spawn && nobody_there(r) && i < TRIES; i++) {
		r = global_spawn(folder, err);
		if (r < 0)
			return r;
		r = connect_to(path, err);
	}
	return r;
}

/* A socket to the service, and which one it is. */
static int find_service(struct global *g, bool spawn, enum kind *ret_kind,
			struct err *err)
{
	int fd = -ENOENT;

	if (g->kind != KIND_PRIVATE) {
		fd = connect_to(system_path(), err);
		/* The private one would not know what CIDs the other has given. */
		if (!nobody_there(fd) || g->kind == KIND_SYSTEM) {
			*ret_kind = KIND_SYSTEM;
			return fd;
		}
	}
	*ret_kind = KIND_PRIVATE;
	return connect_private(spawn, err);
}

static int append_vm(sd_bus_message *m, const char *name, uint64_t memory,
		     uint32_t cpus)
{
	return sd_bus_message_append(m, "a{sv}", 3, "name", "s", name, "memory", "t",
				     memory, "cpus", "u", cpus);
}

static int on_told(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	(void)userdata;
	(void)ret_error;
	/* Others' errors only say that it has gone. */
	if (error && strncmp(error->name, "org.vmm.", 8) == 0)
		log_warn(TAG, "%s", error->message);
	return 0;
}

static int tell_state(struct global *g, const struct known *vm)
{
	return sd_bus_call_method_async(
		g->bus, NULL, NULL, GLOBAL_PATH, GLOBAL_INTERFACE, "UpdateVmContext",
		on_told, g, "ua{sv}", vm->cid, 3, "state", "u", vm->state, "suspended",
		"b", vm->suspended, "cgroup", "s", vm->cgroup ?: "");
}

/* Tell a service that was started anew what it does not know. */
static void adopt_all(struct global *g)
{
	struct known *vm;

	LIST_FOREACH(vm, &g->vms, entry)
	{
		int r = sd_bus_call_method_async(
			g->bus, NULL, NULL, GLOBAL_PATH, GLOBAL_INTERFACE,
			"AdoptVmContext", on_told, g, "usa{sv}", vm->cid, vm->lease, 3,
			"name", "s", vm->name, "memory", "t", vm->memory, "cpus", "u",
			vm->cpus);

		if (r >= 0)
			r = tell_state(g, vm);
		if (r < 0)
			log_warn(TAG, "CID %" PRIu32 ": %s", vm->cid,
				 strerrordesc_np(-r));
	}
}

/*
 * An answer that comes when nobody waits for it any more; others get to no filter. Only
 * CreateVmContext has such answers, and nobody else would give the CID back.
 */
static int on_late_context(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct global *g = userdata;
	uint32_t cid;
	uint8_t type;

	(void)ret_error;
	if (sd_bus_message_get_type(m, &type) >= 0 &&
	    type == SD_BUS_MESSAGE_METHOD_RETURN &&
	    sd_bus_message_has_signature(m, "uh") &&
	    sd_bus_message_read(m, "u", &cid) >= 0)
		(void)sd_bus_call_method_async(g->bus, NULL, NULL, GLOBAL_PATH,
					       GLOBAL_INTERFACE, "ReleaseVmContext",
					       on_told, g, "u", cid);
	return 0;
}

static int open_global(struct global *g, bool spawn, struct err *err)
{
	enum kind kind;
	int r = find_service(g, spawn, &kind, err);

	if (r < 0)
		return r;
	sd_event_now(g->event, CLOCK_MONOTONIC, &g->tried);
	r = client_open(r, &g->bus, err);
	if (r < 0)
		return r;
	r = sd_bus_add_object_vtable(g->bus, NULL, BACKEND_PATH, BACKEND_INTERFACE,
				     backend_vtable, g);
	if (r >= 0)
		r = sd_bus_match_signal(g->bus, NULL, "org.freedesktop.DBus.Local",
					"/org/freedesktop/DBus/Local",
					"org.freedesktop.DBus.Local", "Disconnected",
					on_disconnected, g);
	if (r >= 0)
		r = sd_bus_add_filter(g->bus, NULL, on_late_context, g);
	if (r >= 0)
		r = sd_bus_attach_event(g->bus, g->event, SD_EVENT_PRIORITY_NORMAL);
	if (r < 0) {
		drop_bus(g);
		return err_sys(err, r, "the service");
	}
	g->kind = kind;
	g->watch = sd_event_source_disable_unref(g->watch);
	adopt_all(g);
	return 0;
}

static int connect_global(struct global *g, bool spawn, struct err *err)
{
	int r;

	if (g->bus)
		return 0;
	r = open_global(g, spawn, err);
	if (r < 0)
		forward_fail(&g->calls);
	else
		forward_begin(&g->calls, g->bus);
	return r;
}

/* --- waiting for one to come ------------------------------------------------- */

static int on_folder(sd_event_source *source, const struct inotify_event *event,
		     void *userdata)
{
	const char *name = strrchr(system_path(), '/');

	(void)source;
	if (event->len && name && strcmp(event->name, name + 1) == 0)
		(void)connect_global(userdata, false, NULL);
	return 0;
}

/* A new socket shows as a new file, and when it may be connected to as a new mode. */
static void watch_folder(struct global *g)
{
	AUTO_FREE char *folder = strdup(system_path());
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash || g->watch)
		return;
	slash[slash == folder] = '\0';
	if (sd_event_add_inotify(g->event, &g->watch, folder,
				 IN_CREATE | IN_ATTRIB | IN_MOVED_TO, on_folder,
				 g) >= 0)
		/* It may have come before there was a watch. */
		(void)connect_global(g, false, NULL);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct global *g = userdata;
	struct err err = { "" };

	(void)source;
	(void)usec;
	if ((LIST_EMPTY(&g->vms) && !forward_waits(&g->calls)) ||
	    connect_global(g, true, &err) == 0)
		return 0;
	log_warn(TAG, "%s", err.msg);
	if (g->kind == KIND_SYSTEM)
		watch_folder(g);
	return 0;
}

/* --- what it is asked for, and asks ------------------------------------------ */

int backend_on_open_vm(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct global *g = userdata;
	struct err err = { "" };
	uint32_t cid;
	int fd, r;

	r = sd_bus_message_read(m, "uh", &cid, &fd);
	if (r < 0)
		return r;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	r = g->r.open_vm(g->r.arg, cid, fd, &err);
	return r < 0 ? bus_error_set(ret_error, r, &err)
		     : sd_bus_reply_method_return(m, "");
}

static void global_free(struct registry *r)
{
	struct global *g = (struct global *)r;

	while (!LIST_EMPTY(&g->vms)) {
		struct known *vm = LIST_FIRST(&g->vms);

		LIST_REMOVE(vm, entry);
		known_free(vm);
	}
	drop_bus(g);
	forward_fail(&g->calls);
	sd_event_source_disable_unref(g->retry);
	sd_event_source_disable_unref(g->watch);
	sd_event_unref(g->event);
	free(g);
}

/* One call of CreateVmContext, without asking twice. */
static int call_create(struct global *g, const struct known *vm, uint32_t *ret_cid,
		       int *ret_lease, struct err *err)
{
	__attribute__((cleanup(sd_bus_error_free)))
	sd_bus_error error = SD_BUS_ERROR_NULL;
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	int lease, r;

	r = sd_bus_message_new_method_call(g->bus, &m, NULL, GLOBAL_PATH,
					   GLOBAL_INTERFACE, "CreateVmContext");
	if (r >= 0)
		r = append_vm(m, vm->name, vm->memory, vm->cpus);
	if (r < 0)
		return err_sys(err, r, "the service");
	r = sd_bus_call(g->bus, m, 0, &error, &reply);
	if (r < 0)
		return bus_error_get(&error, r, err);
	r = sd_bus_message_read(reply, "uh", ret_cid, &lease);
	if (r >= 0) {
		*ret_lease = fcntl(lease, F_DUPFD_CLOEXEC, 3);
		r = *ret_lease < 0 ? -errno : 0;
	}
	return r < 0 ? err_sys(err, r, "the service") : 0;
}

static int global_create(struct registry *registry, const char *name, uint64_t memory,
			 unsigned cpus, uint32_t *ret_cid, int *ret_lease,
			 struct err *err)
{
	struct global *g = (struct global *)registry;
	struct known *vm = calloc(1, sizeof(*vm));
	int r = -ECONNRESET;

	if (vm)
		vm->name = strdup(name ? name : "");
	if (!vm || !vm->name) {
		known_free(vm);
		return err_sys(err, -ENOMEM, "a VM");
	}
	vm->memory = memory;
	vm->cpus = cpus;
	/* A private one may be ending while we connect. */
	for (int i = 0; r == -ECONNRESET && i < TRIES; i++) {
		r = connect_global(g, true, err);
		if (r == 0)
			r = call_create(g, vm, &vm->cid, ret_lease, err);
		if (r == -ECONNRESET)
			drop_bus(g);
	}
	if (r < 0) {
		if (!g->bus)
			forward_fail(&g->calls);
		known_free(vm);
		return r;
	}
	if (pread(*ret_lease, vm->lease, sizeof(vm->lease) - 1, 0) < 0)
		log_warn(TAG, "CID %" PRIu32 ": its lease: %m", vm->cid);
	LIST_INSERT_HEAD(&g->vms, vm, entry);
	*ret_cid = vm->cid;
	return 0;
}

static void global_release(struct registry *registry, uint32_t cid)
{
	struct global *g = (struct global *)registry;
	struct known *vm = find(g, cid);
	int r;

	if (!vm)
		return;
	LIST_REMOVE(vm, entry);
	known_free(vm);
	if (!g->bus)
		return;
	r = sd_bus_call_method_async(g->bus, NULL, NULL, GLOBAL_PATH, GLOBAL_INTERFACE,
				     "ReleaseVmContext", on_told, g, "u", cid);
	if (r < 0)
		log_warn(TAG, "CID %" PRIu32 ": %s", cid, strerrordesc_np(-r));
}

static void global_update(struct registry *registry, uint32_t cid, int lease,
			  unsigned state, bool suspended, const char *cgroup)
{
	struct global *g = (struct global *)registry;
	struct known *vm = find(g, cid);
	char *copy = cgroup ? strdup(cgroup) : NULL;

	(void)lease;
	if (!vm || (cgroup && !copy)) {
		free(copy);
		return;
	}
	vm->state = state;
	vm->suspended = suspended;
	free(vm->cgroup);
	vm->cgroup = copy;
	if (g->bus && tell_state(g, vm) < 0)
		log_warn(TAG, "CID %" PRIu32 ": the service is not told", cid);
}

static const char *global_kind(struct registry *registry)
{
	struct global *g = (struct global *)registry;
	AUTO_FREE char *program = paths_program("virtualizationservice");

	if (g->kind == KIND_NONE)
		(void)connect_global(g, false, NULL);
	if (g->kind == KIND_SYSTEM)
		return "system";
	return g->kind == KIND_PRIVATE || (program && access(program, X_OK) == 0)
		       ? "private"
		       : "none";
}

static int global_forward(struct registry *registry, const char *member,
			  sd_bus_message *call, sd_bus_error *ret_error)
{
	struct global *g = (struct global *)registry;
	struct err err = { "" };
	int r = -ECONNRESET;

	for (int i = 0; r == -ECONNRESET && i < TRIES; i++)
		r = connect_global(g, true, &err);
	if (r == 0) {
		r = forward_call(&g->calls, member, call);
		if (r < 0)
			err_sys(&err, r, "%s", member);
	}
	return r < 0 ? bus_error_set(ret_error, r, &err) : 1;
}

static int global_instance_id(struct registry *registry, uint8_t *id, struct err *err)
{
	(void)registry;
	return partition_instance_id(id, err);
}

int global_new(sd_event *event, struct registry **ret_registry, struct err *err)
{
	static const struct registry_ops ops = {
		.others = REGISTRY_MAX_OTHERS,
		.create = global_create,
		.release = global_release,
		.update = global_update,
		.kind = global_kind,
		.forward = global_forward,
		.instance_id = global_instance_id,
		.free = global_free,
	};
	struct global *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_sys(err, -ENOMEM, "the service");
	g->r.ops = &ops;
	g->event = sd_event_ref(event);
	r = sd_event_add_time(event, &g->retry, CLOCK_MONOTONIC, 0, 1, on_retry, g);
	if (r >= 0)
		r = sd_event_source_set_enabled(g->retry, SD_EVENT_OFF);
	if (r < 0) {
		global_free(&g->r);
		return err_sys(err, r, "the service");
	}
	*ret_registry = &g->r;
	return 0;
}
