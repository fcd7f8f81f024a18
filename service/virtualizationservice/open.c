/*
 * From one manager to another's VM. The service makes a pair of sockets, asks the VM's
 * manager to serve the one, and hands out the other when it does: no descriptor comes
 * from a manager. See service.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/opt.h"
#include "dbus/backend.h"
#include "dbus/global.h"
#include "service/common/bus_error.h"
#include "service/virtualizationservice/service.h"

#define ANSWER_US (5 * 1000000ULL)
/* That wait for one manager. */
#define MAX_OPENINGS 64

struct opening {
	LIST_ENTRY(opening) entry;
	struct conn *target;
	sd_bus_message *call; /* to be answered */
	sd_bus_slot *slot;
	uint32_t cid;
	int handle; /* the caller's end */
};

static void opening_free(struct opening *o)
{
	if (o->target) {
		LIST_REMOVE(o, entry);
		o->target->n_openings--;
	}
	sd_bus_slot_unref(o->slot);
	sd_bus_message_unref(o->call);
	cleanup_close(&o->handle);
	free(o);
}

/* The caller may have gone: then there is nobody to be told. */
static void refuse(const struct opening *o, int code, const struct err *err)
{
	__attribute__((cleanup(sd_bus_error_free)))
	sd_bus_error error = SD_BUS_ERROR_NULL;

	bus_error_set(&error, code, err);
	(void)sd_bus_reply_method_error(o->call, &error);
}

static int on_opened(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	struct opening *o = userdata;
	struct err err = { "" };

	(void)ret_error;
	if (!error) {
		(void)sd_bus_reply_method_return(o->call, "h", o->handle);
	} else if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY)) {
		err_set(&err, -EIO, "CID %" PRIu32 ": its manager does not answer",
			o->cid);
		refuse(o, -EIO, &err);
	} else {
		(void)sd_bus_reply_method_error(o->call, error);
	}
	opening_free(o);
	return 0;
}

void openings_drop(struct conn *conn)
{
	struct err err = { "" };

	while (!LIST_EMPTY(&conn->openings)) {
		struct opening *o = LIST_FIRST(&conn->openings);

		err_set(&err, -ENOENT, "CID %" PRIu32 ": its manager has gone", o->cid);
		refuse(o, -ENOENT, &err);
		opening_free(o);
	}
}

bool conn_sees(const struct conn *conn, const struct context *vm)
{
	return conn->caller.debug || conn->caller.uid == vm->conn->caller.uid;
}

/* Those with this name that the caller may see, and one of them. */
static unsigned count_named(const struct conn *conn, const char *name,
			    const struct context **ret_vm)
{
	struct context *vm;
	struct conn *manager;
	unsigned n = 0;

	LIST_FOREACH(manager, &conn->service->conns, entry)
	{
		LIST_FOREACH(vm, &manager->contexts, entry)
		{
			if (conn_sees(conn, vm) && strcmp(vm->name, name) == 0) {
				*ret_vm = vm;
				n++;
			}
		}
	}
	return n;
}

/* By CID or by name; what the caller may not see is not there. NULL and an error. */
static const struct context *find(const struct conn *conn, const char *text,
				  int *ret_code, struct err *err)
{
	const struct context *vm = NULL;
	uint64_t cid;
	unsigned n;

	if (opt_number(text, &cid) == 0 && cid <= CID_LAST)
		vm = conn->service->by_cid[cid];
	if (vm && conn_sees(conn, vm))
		return vm;
	n = count_named(conn, text, &vm);
	if (n == 1)
		return vm;
	*ret_code = n ? -EINVAL : -ENOENT;
	err_set(err, *ret_code,
		n ? "%s: is the name of several VMs: say a CID"
		  : "%s: there is no such VM",
		text);
	return NULL;
}

static int ask(struct opening *o, int served)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	sd_bus *bus = peer_bus(o->target->peer);
	int r;

	r = sd_bus_message_new_method_call(bus, &m, NULL, BACKEND_PATH,
					   BACKEND_INTERFACE, "OpenVm");
	if (r >= 0)
		r = sd_bus_message_append(m, "uh", o->cid, served);
	if (r >= 0)
		r = sd_bus_call_async(bus, &o->slot, m, on_opened, o, ANSWER_US);
	return r;
}

static int opening_start(sd_bus_message *call, const struct context *vm)
{
	struct opening *o = calloc(1, sizeof(*o));
	int pair[2];
	int r;

	if (!o)
		return -ENOMEM;
	o->handle = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		r = -errno;
		opening_free(o);
		return r;
	}
	o->handle = pair[0];
	o->cid = vm->cid;
	o->call = sd_bus_message_ref(call);
	o->target = vm->conn;
	o->target->n_openings++;
	LIST_INSERT_HEAD(&o->target->openings, o, entry);
	r = ask(o, pair[1]);
	close(pair[1]);
	if (r < 0)
		opening_free(o);
	return r < 0 ? r : 0;
}

int global_on_open_vm(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const struct context *vm;
	struct conn *conn = userdata;
	struct err err = { "" };
	const char *text;
	int r = conn_check(conn, ret_error);

	if (r < 0)
		return r;
	r = sd_bus_message_read(m, "s", &text);
	if (r < 0)
		return r;
	vm = find(conn, text, &r, &err);
	if (!vm)
		return bus_error_set(ret_error, r, &err);
	if (vm->conn->n_openings >= MAX_OPENINGS) {
		err_set(&err, -EDQUOT, "%s: too many wait for its manager", text);
		return bus_error_set(ret_error, -EDQUOT, &err);
	}
	r = opening_start(m, vm);
	if (r < 0) {
		err_sys(&err, r, "%s", text);
		return bus_error_set(ret_error, r, &err);
	}
	return 1; /* answered later */
}
