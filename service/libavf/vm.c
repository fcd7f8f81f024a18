/*
 * A VM's handle: calls, and what comes without being asked for.
 *
 * Any threads. What is known of the VM is under the channel's lock; whichever thread
 * waits learns of it for all (channel.h).
 */
#include "service/libavf/avf_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dbus/vm.h"
#include "service/libavf/channel.h"

#define MAX_EVENTS 64
#define MESSAGE __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message

struct event {
	struct avf_event e;
	struct event *next;
};

struct AVirtualMachine {
	struct channel channel;
	uint32_t cid;
	bool died;
	struct avf_death death; /* complete, and never changed, when died is true */
	char *strings[5]; /* that it consists of */
	struct event *first, **last; /* the oldest, and where the next goes */
	unsigned n_events;
	uint32_t lost;
};

/* --- what comes --------------------------------------------------------------- */

/* Without memory an event is lost, as one is that nobody takes. */
static void push(AVirtualMachine *vm, int32_t type, int32_t code, const char *message)
{
	struct event *event;

	if (vm->n_events == MAX_EVENTS) {
		event = vm->first;
		vm->first = event->next;
		if (!vm->first)
			vm->last = &vm->first;
		vm->n_events--;
		vm->lost++;
	} else {
		event = malloc(sizeof(*event));
	}
	if (!event) {
		vm->lost++;
		return;
	}
	*event = (struct event){ .e = { .type = type, .code = code } };
	if (message) {
		size_t len = strnlen(message, sizeof(event->e.message));

		/* Cut before the character that does not fit. */
		if (len == sizeof(event->e.message))
			do
				len--;
			while (len > 0 && (message[len] & 0xc0) == 0x80);
		memcpy(event->e.message, message, len);
	}
	*vm->last = event;
	vm->last = &event->next;
	vm->n_events++;
}

/* It is dead, for the reasons that @vm->death has by now; once. */
static void die(AVirtualMachine *vm, int32_t reason, const char *name)
{
	vm->death.reason = reason;
	vm->death.name = name ? name : "unknown";
	push(vm, AVF_EVENT_DIED, reason, vm->death.detail);
	vm->died = true;
}

/* A copy that lives as long as the VM. */
static const char *keep(AVirtualMachine *vm, size_t i, const char *s)
{
	free(vm->strings[i]);
	return vm->strings[i] = strdup(s);
}

/* The details of a death, a{sv}; keys that we do not know are of a later version. */
static int read_details(AVirtualMachine *vm, sd_bus_message *m)
{
	const struct {
		const char *key;
		const char **value;
	} strings[] = {
		{ "detail", &vm->death.detail },
		{ "requested_by", &vm->death.requested_by },
		{ "failure_code", &vm->death.failure_code },
		{ "console_tail", &vm->death.console_tail },
	};
	const size_t n = sizeof(strings) / sizeof(strings[0]);
	const char *key, *s;
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		size_t i = 0;

		r = sd_bus_message_read_basic(m, 's', &key);
		if (r < 0)
			break;
		while (i < n && strcmp(strings[i].key, key) != 0)
			i++;
		if (i < n) {
			r = sd_bus_message_read(m, "v", "s", &s);
			if (r >= 0)
				*strings[i].value = keep(vm, i, s);
		} else if (strcmp(key, "exit_status") == 0) {
			r = sd_bus_message_read(m, "v", "i", &vm->death.exit_status);
		} else if (strcmp(key, "run_time_ms") == 0) {
			r = sd_bus_message_read(m, "v", "t", &vm->death.run_time_ms);
		} else {
			r = sd_bus_message_skip(m, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	return r;
}

/* What Died and GetDeath say. That it died counts, whatever of it cannot be read. */
static void read_death(AVirtualMachine *vm, sd_bus_message *m)
{
	int32_t reason = AVF_DEATH_UNKNOWN;
	const char *name = NULL;

	if (vm->died)
		return;
	if (sd_bus_message_read(m, "is", &reason, &name) >= 0 &&
	    read_details(vm, m) >= 0 && name)
		name = keep(vm, 4, name);
	else
		name = NULL;
	die(vm, reason, name);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	AVirtualMachine *vm = userdata;
	const char *message = NULL;
	int32_t code = 0;

	(void)ret_error;
	if (vm->died)
		return 0;
	if (sd_bus_message_is_signal(m, VM_INTERFACE, "StateChanged")) {
		if (sd_bus_message_read(m, "u", &code) >= 0)
			push(vm, AVF_EVENT_STATE, code, NULL);
	} else if (sd_bus_message_is_signal(m, VM_INTERFACE, "PayloadStarted")) {
		push(vm, AVF_EVENT_PAYLOAD_STARTED, 0, NULL);
	} else if (sd_bus_message_is_signal(m, VM_INTERFACE, "PayloadReady")) {
		push(vm, AVF_EVENT_PAYLOAD_READY, 0, NULL);
	} else if (sd_bus_message_is_signal(m, VM_INTERFACE, "PayloadFinished")) {
		if (sd_bus_message_read(m, "i", &code) >= 0)
			push(vm, AVF_EVENT_PAYLOAD_FINISHED, code, NULL);
	} else if (sd_bus_message_is_signal(m, VM_INTERFACE, "Error")) {
		if (sd_bus_message_read(m, "is", &code, &message) >= 0)
			push(vm, AVF_EVENT_ERROR, code, message);
	} else if (sd_bus_message_is_signal(m, VM_INTERFACE, "Died")) {
		read_death(vm, m);
	}
	return 0;
}

/* channel_wait(), for something of the VM. */
static int vm_wait(AVirtualMachine *vm, uint64_t deadline)
{
	int r = channel_wait(&vm->channel, deadline);

	if (vm->channel.gone && !vm->died) {
		vm->death.detail = "the virtual machine's manager has died";
		die(vm, AVF_DEATH_SERVICE_DIED, "virtualization-service-died");
	}
	return r;
}

/* --- life --------------------------------------------------------------------- */

/* A first call has the manager set up what sends signals. */
static int get_known(AVirtualMachine *vm, int64_t cid, struct err *err)
{
	AUTO_LOCK(&vm->channel.lock);
	MESSAGE *reply = NULL, *death = NULL;
	uint32_t state;
	int r;

	r = channel_call(&vm->channel, "GetState", &reply, err, "");
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "u", &state);
	if (r < 0)
		return err_sys(err, r, "GetState");
	if (state == AVF_VM_DEAD && !vm->died) {
		r = channel_call(&vm->channel, "GetDeath", &death, err, "");
		if (r < 0)
			return r;
		read_death(vm, death);
	}
	if (cid >= 0) {
		vm->cid = (uint32_t)cid;
		return 0;
	}
	reply = sd_bus_message_unref(reply);
	r = channel_call(&vm->channel, "GetCid", &reply, err, "");
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "u", &vm->cid);
	return r < 0 ? err_sys(err, r, "GetCid") : 0;
}

int vm_new(int handle, int64_t cid, AVirtualMachine **ret_vm, struct err *err)
{
	AVirtualMachine *vm = calloc(1, sizeof(*vm));
	int r;

	if (!vm) {
		close(handle);
		return err_sys(err, -ENOMEM, "a virtual machine");
	}
	vm->death.exit_status = -1;
	vm->last = &vm->first;
	r = channel_init(&vm->channel, handle, on_message, vm, err);
	if (r < 0) {
		free(vm);
		return r;
	}
	r = get_known(vm, cid, err);
	if (r < 0) {
		avf_vm_close(vm);
		return r;
	}
	*ret_vm = vm;
	return 0;
}

int avf_vm_open(int handle, AVirtualMachine **vm, struct avf_error *error)
{
	return vm_new(handle, -1, vm, err_of(error));
}

void avf_vm_close(AVirtualMachine *vm)
{
	struct event *next;

	if (!vm)
		return;
	channel_destroy(&vm->channel);
	for (struct event *e = vm->first; e; e = next) {
		next = e->next;
		free(e);
	}
	for (size_t i = 0; i < sizeof(vm->strings) / sizeof(vm->strings[0]); i++)
		free(vm->strings[i]);
	free(vm);
}

/* --- calls -------------------------------------------------------------------- */

static int call(AVirtualMachine *vm, const char *member, struct avf_error *error)
{
	AUTO_LOCK(&vm->channel.lock);

	return channel_call(&vm->channel, member, NULL, err_of(error), "");
}

int avf_vm_start(AVirtualMachine *vm, struct avf_error *error)
{
	return call(vm, "Start", error);
}

int avf_vm_stop(AVirtualMachine *vm, struct avf_error *error)
{
	return call(vm, "Stop", error);
}

int avf_vm_suspend(AVirtualMachine *vm, struct avf_error *error)
{
	return call(vm, "Suspend", error);
}

int avf_vm_resume(AVirtualMachine *vm, struct avf_error *error)
{
	return call(vm, "Resume", error);
}

int avf_vm_power_button(AVirtualMachine *vm, struct avf_error *error)
{
	return call(vm, "PowerButton", error);
}

/* A call whose answer is a descriptor. */
static int call_for_fd(AVirtualMachine *vm, const char *member, const uint32_t *port,
		       struct err *err)
{
	AUTO_LOCK(&vm->channel.lock);
	MESSAGE *reply = NULL;
	int fd, r;

	r = port ? channel_call(&vm->channel, member, &reply, err, "u", *port)
		 : channel_call(&vm->channel, member, &reply, err, "");
	if (r >= 0)
		r = client_take_fd(reply, &fd, err);
	return r < 0 ? r : fd;
}

int avf_vm_connect_vsock(AVirtualMachine *vm, uint32_t port, struct avf_error *error)
{
	return call_for_fd(vm, "ConnectVsock", &port, err_of(error));
}

int avf_vm_attach_console(AVirtualMachine *vm, struct avf_error *error)
{
	return call_for_fd(vm, "AttachConsole", NULL, err_of(error));
}

int avf_vm_clone(AVirtualMachine *vm, struct avf_error *error)
{
	return call_for_fd(vm, "Clone", NULL, err_of(error));
}

uint32_t avf_vm_cid(const AVirtualMachine *vm)
{
	return vm->cid;
}

int avf_vm_get_state(AVirtualMachine *vm, struct avf_error *error)
{
	AUTO_LOCK(&vm->channel.lock);
	MESSAGE *reply = NULL;
	uint32_t state;
	int r;

	if (vm->died)
		return AVF_VM_DEAD;
	r = channel_call(&vm->channel, "GetState", &reply, err_of(error), "");
	if (r == -ECONNRESET)
		return AVF_VM_DEAD; /* with its manager */
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "u", &state);
	return r < 0 ? err_sys(err_of(error), r, "GetState") : (int)state;
}

int avf_vm_set_memory_balloon(AVirtualMachine *vm, uint64_t bytes,
			      struct avf_error *error)
{
	AUTO_LOCK(&vm->channel.lock);

	return channel_call(&vm->channel, "SetMemoryBalloon", NULL, err_of(error), "t",
			    bytes);
}

int avf_vm_get_memory_balloon(AVirtualMachine *vm, uint64_t *bytes,
			      struct avf_error *error)
{
	AUTO_LOCK(&vm->channel.lock);
	MESSAGE *reply = NULL;
	int r;

	r = channel_call(&vm->channel, "GetMemoryBalloon", &reply, err_of(error), "");
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "t", bytes);
	return r < 0 ? err_sys(err_of(error), r, "GetMemoryBalloon") : 0;
}

int avf_vm_dump(AVirtualMachine *vm, int fd, struct avf_error *error)
{
	AUTO_LOCK(&vm->channel.lock);

	return channel_call(&vm->channel, "Dump", NULL, err_of(error), "h", fd);
}

/* --- waiting ------------------------------------------------------------------ */

int avf_vm_next_event(AVirtualMachine *vm, const struct timespec *timeout,
		      struct avf_event *ret_event)
{
	uint64_t deadline = channel_deadline(timeout);
	AUTO_LOCK(&vm->channel.lock);
	struct event *event;

	while (!vm->first) {
		if (vm->died)
			return -ENODATA;
		if (vm_wait(vm, deadline) == -ETIMEDOUT)
			return 0;
	}
	event = vm->first;
	vm->first = event->next;
	if (!vm->first)
		vm->last = &vm->first;
	vm->n_events--;
	*ret_event = event->e;
	ret_event->lost = vm->lost;
	vm->lost = 0;
	free(event);
	return 1;
}

int avf_vm_event_fd(const AVirtualMachine *vm)
{
	return sd_bus_get_fd(vm->channel.bus);
}

const struct avf_death *vm_wait_for_death(AVirtualMachine *vm, uint64_t deadline)
{
	AUTO_LOCK(&vm->channel.lock);

	while (!vm->died && vm_wait(vm, deadline) != -ETIMEDOUT)
		;
	return vm->died ? &vm->death : NULL;
}

const struct avf_death *avf_vm_death(AVirtualMachine *vm)
{
	return vm_wait_for_death(vm, 0);
}
