/* Handles of VMs; see handle.h. */
#include "service/virtmgr/handle.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "dbus/vm.h"
#include "dbus/vm_vtable.h"
#include "service/common/bus_error.h"
#include "service/common/peer.h"

struct handle {
	struct vm *vm;
	struct handle *next, **at;
	struct peer *peer;
	bool counts;
};

/* --- their life --------------------------------------------------------------- */

static void free_handle(struct handle *h)
{
	*h->at = h->next;
	if (h->next)
		h->next->at = h->at;
	h->vm->n_handles--;
	h->vm->n_counting -= h->counts;
	peer_free(h->peer);
	free(h);
}

static void on_gone(struct peer *peer, void *userdata)
{
	struct handle *h = userdata;
	struct vm *v = h->vm;
	bool counted = h->counts;

	(void)peer;
	free_handle(h);
	if (counted && v->n_counting == 0)
		vm_release(v);
}

int handle_add(struct vm *v, bool counts, int fd, struct err *err)
{
	static const struct peer_object objects[] = { { VM_PATH, VM_INTERFACE,
							vm_vtable } };
	static const struct peer_ops ops = { objects, ARRAY_SIZE(objects), on_gone };
	struct handle *h;
	int r;

	if (v->n_handles == HANDLES_MAX) {
		close(fd);
		return err_set(err, -EDQUOT, "there are %d handles of this VM already",
			       HANDLES_MAX);
	}
	h = calloc(1, sizeof(*h));
	if (!h) {
		close(fd);
		return err_sys(err, -ENOMEM, "a handle");
	}
	*h = (struct handle){ .vm = v, .counts = counts };
	r = peer_new(v->host->event, fd, &ops, h, &h->peer, err);
	if (r < 0) {
		free(h);
		return r;
	}
	h->next = v->handles;
	h->at = &v->handles;
	if (h->next)
		h->next->at = &h->next;
	v->handles = h;
	v->n_handles++;
	v->n_counting += counts;
	return 0;
}

int handle_new(struct vm *v, bool counts, int *ret_fd, struct err *err)
{
	int fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return err_sys(err, -errno, "a handle");
	r = handle_add(v, counts, fds[0], err);
	if (r < 0)
		close(fds[1]);
	else
		*ret_fd = fds[1];
	return r;
}

void handle_free_all(struct vm *v)
{
	while (v->handles)
		free_handle(v->handles);
}

void handle_free_closed(struct vm *v)
{
	bool counted = false;
	struct handle *next;

	for (struct handle *h = v->handles; h; h = next) {
		struct pollfd p = { .fd = peer_fd(h->peer) };

		next = h->next;
		if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLHUP))
			continue;
		counted |= h->counts;
		free_handle(h);
	}
	if (counted && v->n_counting == 0)
		vm_release(v);
}

/* --- what they are told ------------------------------------------------------- */

void handle_answer(sd_bus_message *call, int r, const struct err *err)
{
	__attribute__((cleanup(sd_bus_error_free)))
	sd_bus_error error = SD_BUS_ERROR_NULL;

	if (!call)
		return;
	/* Whoever asked may have gone. */
	if (r == 0)
		sd_bus_reply_method_return(call, "");
	else if (bus_error_set(&error, r, err))
		sd_bus_reply_method_error(call, &error);
	sd_bus_message_unref(call);
}

void handle_tell_state(struct vm *v)
{
	for (struct handle *h = v->handles; h; h = h->next)
		if (peer_bus(h->peer))
			sd_bus_emit_signal(peer_bus(h->peer), VM_PATH, VM_INTERFACE,
					   "StateChanged", "u", (uint32_t)v->state);
}

void handle_tell_death(struct vm *v)
{
	for (struct handle *h = v->handles; h; h = h->next) {
		__attribute__((cleanup(sd_bus_message_unrefp)))
		sd_bus_message *m = NULL;
		sd_bus *bus = peer_bus(h->peer);

		if (bus &&
		    sd_bus_message_new_signal(bus, &m, VM_PATH, VM_INTERFACE, "Died") >=
			    0 &&
		    death_append(m, &v->death) >= 0)
			sd_bus_send(bus, m, NULL);
	}
}

static void tell_payload(sd_bus *bus, enum payload_event event, int32_t code,
			 const char *message)
{
	static const char *const names[] = {
		[PAYLOAD_STARTED] = "PayloadStarted",
		[PAYLOAD_READY] = "PayloadReady",
		[PAYLOAD_FINISHED] = "PayloadFinished",
		[PAYLOAD_ERROR] = "Error",
	};

	if (event == PAYLOAD_ERROR)
		sd_bus_emit_signal(bus, VM_PATH, VM_INTERFACE, names[event], "is", code,
				   message);
	else if (event == PAYLOAD_FINISHED)
		sd_bus_emit_signal(bus, VM_PATH, VM_INTERFACE, names[event], "i", code);
	else
		sd_bus_emit_signal(bus, VM_PATH, VM_INTERFACE, names[event], "");
}

void handle_tell_payload(struct vm *v, enum payload_event event, int32_t code,
			 const char *message)
{
	/* A guest's words; without memory for them there are none. */
	AUTO_FREE char *text = strdup(message ?: "");

	if (text)
		bus_text(text);
	for (struct handle *h = v->handles; h; h = h->next)
		if (peer_bus(h->peer))
			tell_payload(peer_bus(h->peer), event, code, text ?: "");
}

/* --- methods ------------------------------------------------------------------ */

struct vm *handle_vm(struct handle *h)
{
	return h->vm;
}

static int reply_fd(sd_bus_message *m, int fd)
{
	int r = sd_bus_reply_method_return(m, "h", fd);

	close(fd);
	return r;
}

int vm_on_start(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct err err = { "" };
	int r = vm_start(handle_vm(userdata), m, &err);

	return r < 0 ? bus_error_set(ret_error, r, &err) : 1;
}

int vm_on_stop(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct err err = { "" };
	int r = vm_stop(handle_vm(userdata), m, &err);

	return r < 0 ? bus_error_set(ret_error, r, &err) : 1;
}

int vm_on_get_state(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)ret_error;
	return sd_bus_reply_method_return(m, "u", (uint32_t)handle_vm(userdata)->state);
}

int vm_on_get_cid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)ret_error;
	return sd_bus_reply_method_return(m, "u", handle_vm(userdata)->cid);
}

int vm_on_get_death(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	const struct vm *v = handle_vm(userdata);
	struct err err = { "" };
	int r;

	if (v->state != VM_DEAD) {
		err_set(&err, -EBADFD, "the VM is not dead");
		return bus_error_set(ret_error, -EBADFD, &err);
	}
	r = sd_bus_message_new_method_return(m, &reply);
	if (r >= 0)
		r = death_append(reply, &v->death);
	return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

int vm_on_clone(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const struct handle *h = userdata;
	struct err err = { "" };
	int fd = -1, r = handle_new(h->vm, h->counts, &fd, &err);

	return r < 0 ? bus_error_set(ret_error, r, &err) : reply_fd(m, fd);
}

int vm_on_attach_console(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct vm *v = handle_vm(userdata);
	struct err err = { "" };
	int fd = -1, r;

	if (v->console)
		r = console_attach(v->console, &fd, &err);
	else
		r = err_set(&err, -EBADFD, "the VM is dead");
	return r < 0 ? bus_error_set(ret_error, r, &err) : reply_fd(m, fd);
}

int vm_on_get_debug_info(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const struct vm *v = handle_vm(userdata);

	(void)ret_error;
	return sd_bus_reply_method_return(
		m, "a{sv}", 7, "cid", "u", v->cid, "name", "s", v->name ?: "", "uid",
		"u", (uint32_t)getuid(), "manager_pid", "u", (uint32_t)getpid(), "pid",
		"u", v->process ? (uint32_t)process_pid(v->process) : 0, "vsock", "s",
		v->vsock ? vsock_kind(v->vsock) : "none", "suspended", "b",
		v->suspended);
}
