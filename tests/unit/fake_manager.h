/*
 * A manager of no VMs, in a thread, for tests of its clients: real D-Bus on a socket
 * with a path. What it makes of a VM is told by the VM's name and parameters:
 *   name "refused"       CreateVm fails
 *   params "die N"       Start ends with the death N
 *   params "fail"        Start fails with StartFailed, after the death 4
 *   params "errors N"    Start tells N payload errors, "long": one, in 1201 bytes
 *   params "payload"     Start tells of a payload's whole life
 *   port 1               no answer, ever
 *   port 2               the manager drops everything
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/unix.h"
#include "service/common/bus_error.h"
#include "service/common/death.h"
#include "service/common/peer.h"
#include "service/common/vm_config.h"

#define FAKE_CID 4711
#define FAKE_MAX_PEERS 4096
#define VM_NAMES "/org/vmm/VirtualMachine", "org.vmm.VirtualMachine1"

struct fake {
	char dir[32], path[48];
	pthread_t thread;
	sd_event *event;
	struct unix_name name;
	int listener, quit;
	struct peer
		*peers[FAKE_MAX_PEERS]; /* the manager's and the VM's, all of one VM */
	bool is_vm[FAKE_MAX_PEERS];
	size_t n_peers;
	struct config_store store;
	/* Of the last VM; tests look after an answer has come. */
	struct vm_config config;
	int reason;
	atomic_int state, handles; /* handles: connections to it that are open */
};

static const struct peer_ops fake_manager_ops, fake_vm_ops;

static int fake_serve(struct fake *f, int fd, bool vm)
{
	struct err err = { "" };
	int r = f->n_peers == FAKE_MAX_PEERS
			? -EDQUOT
			: peer_new(f->event, fd, vm ? &fake_vm_ops : &fake_manager_ops,
				   f, &f->peers[f->n_peers], &err);

	if (r < 0)
		return r;
	f->is_vm[f->n_peers++] = vm;
	if (vm)
		f->handles++;
	return 0;
}

/* One end of a new pair, which the answer takes; the other speaks for the VM, or echoes
 * nothing but is what a stream would be. */
static int fake_reply_handle(struct fake *f, sd_bus_message *m, const uint32_t *cid)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	r = fake_serve(f, pair[0], true);
	if (r >= 0)
		r = cid ? sd_bus_reply_method_return(m, "hu", pair[1], *cid)
			: sd_bus_reply_method_return(m, "h", pair[1]);
	close(pair[1]);
	return r;
}

/* To all who have spoken. */
static void fake_tell(struct fake *f, const char *member, const char *types, ...)
{
	for (size_t i = 0; i < f->n_peers; i++) {
		__attribute__((cleanup(sd_bus_message_unrefp)))
		sd_bus_message *m = NULL;
		sd_bus *bus = f->is_vm[i] ? peer_bus(f->peers[i]) : NULL;
		va_list ap;

		if (!bus || sd_bus_message_new_signal(bus, &m, VM_NAMES, member) < 0)
			continue;
		va_start(ap, types);
		if (sd_bus_message_appendv(m, types, ap) >= 0)
			sd_bus_send(bus, m, NULL);
		va_end(ap);
	}
}

#define FAKE_DETAILS                                                                \
	4, "detail", "s", "it was its time", "exit_status", "i", 36, "run_time_ms", \
		"t", UINT64_C(1234), "of a later version", "as", 1, "text"

static void fake_die(struct fake *f, int reason)
{
	const char *name = death_name(reason);

	f->reason = reason;
	f->state = VM_DEAD;
	fake_tell(f, "StateChanged", "u", VM_DEAD);
	fake_tell(f, "Died", "isa{sv}", reason, name ? name : "", FAKE_DETAILS);
}

/* --- the manager's methods ---------------------------------------------------- */

static int fake_create_vm(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct err err = { "" };
	struct fake *f = userdata;
	uint32_t cid = FAKE_CID;
	int r;

	vm_config_free(&f->config);
	vm_config_init(&f->config);
	r = vm_config_read(m, &f->store, &f->config, &err);
	free(f->store.fds);
	f->store = (struct config_store){ NULL, 0 };
	if (r >= 0 && f->config.name && strcmp(f->config.name, "refused") == 0)
		r = err_set(&err, -EDQUOT, "name: this one is refused");
	if (r < 0)
		return bus_error_set(ret_error, r, &err);
	f->state = VM_NOT_STARTED;
	return fake_reply_handle(f, m, &cid);
}

static int fake_pass_files(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct fake *f = userdata;
	uint32_t first = (uint32_t)f->store.n;
	int fd, r = sd_bus_message_enter_container(m, 'a', "h");

	(void)ret_error;
	while (r >= 0 && (r = sd_bus_message_read(m, "h", &fd)) > 0) {
		f->store.fds = reallocarray(f->store.fds, f->store.n + 1, sizeof(int));
		f->store.fds[f->store.n++] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	}
	return r < 0 ? r : sd_bus_reply_method_return(m, "u", first);
}

static int fake_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)userdata;
	(void)ret_error;
	return sd_bus_reply_method_return(m, "aa{sv}", 2, 4, "cid", "u", 7, "name", "s",
					  "seven", "news", "t", UINT64_C(1), "memory",
					  "t", UINT64_C(1) << 40, 1, "cid", "u", 8);
}

static int fake_open_vm(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const char *name;
	int r = sd_bus_message_read(m, "s", &name);

	if (r < 0)
		return r;
	if (strcmp(name, "4711") != 0)
		return sd_bus_error_setf(ret_error, BUS_ERROR_NOT_FOUND,
					 "%s: no such VM", name);
	return fake_reply_handle(userdata, m, NULL);
}

static int fake_allocate_id(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	uint8_t id[64] = { 0x77, 0x77, 0x77, 0x77, [63] = 5 };
	int r = sd_bus_message_new_method_return(m, &reply);

	(void)userdata;
	(void)ret_error;
	if (r >= 0)
		r = sd_bus_message_append_array(reply, 'y', id, sizeof(id));
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int fake_partition(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	uint32_t format;
	uint64_t size;
	int fd, r = sd_bus_message_read(m, "htu", &fd, &size, &format);

	(void)userdata;
	(void)ret_error;
	if (r >= 0 && ftruncate(fd, (off_t)(size + format)) < 0)
		r = -errno;
	return r < 0 ? r : sd_bus_reply_method_return(m, "");
}

static const sd_bus_vtable fake_manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CreateVm", "a{sv}", "hu", fake_create_vm,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("PassFiles", "ah", "u", fake_pass_files,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ListVms", "", "aa{sv}", fake_list_vms,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("OpenVm", "s", "h", fake_open_vm, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("AllocateInstanceId", "", "ay", fake_allocate_id,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("InitializeWritablePartition", "htu", "", fake_partition,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

/* --- the VM's ----------------------------------------------------------------- */

static int fake_illegal(sd_bus_error *ret_error)
{
	return sd_bus_error_set(ret_error, BUS_ERROR_ILLEGAL_STATE, "it is too late");
}

#define EUROS10 "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac"
#define EUROS100 \
	EUROS10 EUROS10 EUROS10 EUROS10 EUROS10 EUROS10 EUROS10 EUROS10 EUROS10 EUROS10
static const char fake_long_message[] = "x" EUROS100 EUROS100 EUROS100 EUROS100;

static int fake_start(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct fake *f = userdata;
	const char *params = f->config.params ? f->config.params : "";
	int n;

	if (f->state != VM_NOT_STARTED)
		return fake_illegal(ret_error);
	f->state = VM_STARTED;
	fake_tell(f, "StateChanged", "u", VM_STARTED);
	if (sscanf(params, "die %d", &n) == 1)
		fake_die(f, n);
	if (strcmp(params, "fail") == 0) {
		fake_die(f, DEATH_START_FAILED);
		return sd_bus_error_set(ret_error, BUS_ERROR_START_FAILED, "no kernel");
	}
	if (strcmp(params, "payload") == 0) {
		fake_tell(f, "PayloadStarted", "");
		fake_tell(f, "PayloadReady", "");
		fake_tell(f, "PayloadFinished", "i", -3);
	}
	if (sscanf(params, "errors %d", &n) == 1)
		for (int i = 0; i < n; i++)
			fake_tell(f, "Error", "is", i, "short");
	if (strcmp(params, "long") == 0)
		fake_tell(f, "Error", "is", 1, fake_long_message);
	return sd_bus_reply_method_return(m, "");
}

static int fake_stop(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct fake *f = userdata;

	if (f->state == VM_NOT_STARTED || f->state == VM_DEAD)
		return fake_illegal(ret_error);
	fake_die(f, DEATH_KILLED);
	return sd_bus_reply_method_return(m, "");
}

static int fake_get_state(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct fake *f = userdata;

	(void)ret_error;
	return sd_bus_reply_method_return(m, "u", (uint32_t)f->state);
}

static int fake_get_cid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)userdata;
	(void)ret_error;
	return sd_bus_reply_method_return(m, "u", FAKE_CID);
}

static int fake_get_death(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct fake *f = userdata;

	(void)ret_error;
	return sd_bus_reply_method_return(m, "isa{sv}", f->reason,
					  death_name(f->reason), FAKE_DETAILS);
}

/* A stream that has said its port and been closed. */
static int fake_connect(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct fake *f = userdata;
	uint32_t port;
	int pair[2], r = sd_bus_message_read(m, "u", &port);

	(void)ret_error;
	if (port == 2)
		sd_event_exit(f->event, 0);
	if (r < 0 || port <= 2)
		return r < 0 ? r : 1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (write(pair[0], &port, sizeof(port)) == sizeof(port))
		r = sd_bus_reply_method_return(m, "h", pair[1]);
	close(pair[0]);
	close(pair[1]);
	return r;
}

static int fake_clone(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)ret_error;
	return fake_reply_handle(userdata, m, NULL);
}

static int fake_get_balloon(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)userdata;
	(void)ret_error;
	return sd_bus_reply_method_return(m, "t", UINT64_C(5) << 32);
}

static const sd_bus_vtable fake_vm_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Start", "", "", fake_start, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Stop", "", "", fake_stop, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetState", "", "u", fake_get_state, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetCid", "", "u", fake_get_cid, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetDeath", "", "isa{sv}", fake_get_death,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("ConnectVsock", "u", "h", fake_connect,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("Clone", "", "h", fake_clone, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetMemoryBalloon", "", "t", fake_get_balloon,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

/* --- the process that it would be --------------------------------------------- */

static void fake_gone(struct peer *peer, void *userdata)
{
	struct fake *f = userdata;

	for (size_t i = 0; i < f->n_peers; i++)
		if (f->peers[i] == peer) {
			f->handles -= f->is_vm[i];
			f->peers[i] = f->peers[--f->n_peers];
			f->is_vm[i] = f->is_vm[f->n_peers];
			break;
		}
	peer_free(peer);
}

static const struct peer_object
	fake_manager_object = { "/org/vmm/VirtualizationService",
				"org.vmm.VirtualizationService1", fake_manager_vtable },
	fake_vm_object = { VM_NAMES, fake_vm_vtable };
static const struct peer_ops fake_manager_ops = { &fake_manager_object, 1, fake_gone };
static const struct peer_ops fake_vm_ops = { &fake_vm_object, 1, fake_gone };

static int fake_accept(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	(void)source;
	(void)events;
	fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? 0 : fake_serve(arg, fd, false);
}

static int fake_on_quit(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct fake *f = arg;

	(void)source;
	(void)fd;
	(void)events;
	return sd_event_exit(f->event, 0);
}

static void *fake_thread(void *arg)
{
	struct fake *f = arg;

	sd_event_loop(f->event);
	while (f->n_peers > 0)
		peer_free(f->peers[--f->n_peers]);
	return NULL;
}

static struct fake *fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct err err = { "" };

	strcpy(f->dir, "/tmp/fake-XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
	snprintf(f->path, sizeof(f->path), "%s/manager", f->dir);
	vm_config_init(&f->config);
	f->listener = unix_listen("fake", f->path, SOCK_STREAM, &f->name, &err);
	f->quit = eventfd(0, EFD_CLOEXEC);
	if (f->listener < 0 || sd_event_new(&f->event) < 0 ||
	    sd_event_add_io(f->event, NULL, f->listener, EPOLLIN, fake_accept, f) < 0 ||
	    sd_event_add_io(f->event, NULL, f->quit, EPOLLIN, fake_on_quit, f) < 0 ||
	    pthread_create(&f->thread, NULL, fake_thread, f))
		abort();
	return f;
}

static void fake_free(struct fake *f)
{
	if (eventfd_write(f->quit, 1) < 0)
		abort();
	pthread_join(f->thread, NULL);
	sd_event_unref(f->event);
	vm_config_free(&f->config);
	unix_remove(&f->name);
	close(f->listener);
	close(f->quit);
	rmdir(f->dir);
	free(f);
}
