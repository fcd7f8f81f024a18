/* One VM; see vm.h. */
#include "service/virtmgr/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "service/common/paths.h"
#include "service/virtmgr/arguments.h"
#include "service/virtmgr/handle.h"

#define DEFAULT_MEMORY_MIB 256

/* What vmm says, with names in it. */
#define MAX_SENTENCE 1024

/* --- states ------------------------------------------------------------------- */

static void tell_registry(const struct vm *v, enum vm_state state, const char *cgroup)
{
	struct registry *r = v->host->registry;

	r->ops->update(r, v->cid, v->lease_fd, state, v->suspended, cgroup);
}

static void set_state(struct vm *v, enum vm_state state)
{
	v->state = state;
	if (state > VM_STARTING)
		v->start_timer = sd_event_source_disable_unref(v->start_timer);
	tell_registry(v, state, cgroup_path(v->cgroup));
	handle_tell_state(v);
}

void vm_set_suspended(struct vm *v, bool suspended)
{
	v->suspended = suspended;
	tell_registry(v, v->state, cgroup_path(v->cgroup));
}

static void on_payload(void *arg, enum payload_event event, int32_t code,
		       const char *message)
{
	static const enum vm_state states[] = {
		[PAYLOAD_STARTED] = VM_STARTED,
		[PAYLOAD_READY] = VM_READY,
		[PAYLOAD_FINISHED] = VM_FINISHED,
		[PAYLOAD_ERROR] = VM_NOT_STARTED,
	};
	struct vm *v = arg;

	if (v->state == VM_DEAD)
		return;
	if (states[event] > v->state)
		set_state(v, states[event]);
	handle_tell_payload(v, event, code, message);
}

/* --- making it ---------------------------------------------------------------- */

static const struct vsock_ops vsock_ops = { .payload = on_payload };

/* A client that lets a VM go and makes it again is not refused for what comes first
 * here. */
static int take_cid(struct vm *v, uint64_t memory, unsigned cpus, struct err *err)
{
	struct registry *r = v->host->registry;
	struct vm *next;
	int res = r->ops->create(r, v->name, memory, cpus, &v->cid, &v->lease_fd, err);

	if (res != -EBADFD)
		return res;
	for (struct vm *o = v->host->vms; o; o = next) {
		next = o->next;
		handle_free_closed(o);
	}
	return r->ops->create(r, v->name, memory, cpus, &v->cid, &v->lease_fd, err);
}

/*
 * A CID that is free on this host, too. Those that are not are held until then, or the
 * service might give them out again.
 */
static int reserve_cid(struct vm *v, const struct vm_config *c, struct err *err)
{
	struct registry *registry = v->host->registry;
	struct {
		uint32_t cid;
		int lease;
	} busy[REGISTRY_MAX_OTHERS];
	uint64_t mib = c->memory_mib ?: DEFAULT_MEMORY_MIB;
	unsigned cpus = c->cpu_topology == CPUS_MATCH_HOST
				? (unsigned)sysconf(_SC_NPROCESSORS_ONLN)
				: (unsigned)(c->cpu_count ?: 1);
	size_t n = 0;
	int r;

	for (;;) {
		r = take_cid(v, mib << 20, cpus, err);
		if (r < 0)
			break;
		r = vsock_new(v->host->event, c->vsock, v->cid, &vsock_ops, v,
			      &v->vsock, err);
		if (r != -EADDRINUSE || n == registry->ops->others)
			break;
		busy[n].cid = v->cid;
		busy[n++].lease = TAKE_FD(v->lease_fd);
		v->cid = 0;
	}
	while (n-- > 0) {
		registry->ops->release(registry, busy[n].cid);
		cleanup_close(&busy[n].lease);
	}
	return r;
}

static int add_arguments(struct vm *v, struct vm_config *c, struct err *err)
{
	int r = arguments_add(c, v->launch, err);
	struct err numbered;

	if (r < 0 && err) {
		numbered = *err;
		launch_name_files(v->launch, numbered.msg, err->msg, sizeof(err->msg));
	}
	return r;
}

static int prepare(struct vm *v, struct vm_config *c, struct err *err)
{
	AUTO_FREE char *program = paths_program("vmm");
	int r;

	if (!program)
		return err_sys(err, -ENOMEM, "vmm");
	r = launch_new(program, &v->launch, err);
	if (r == 0)
		r = add_arguments(v, c, err);
	if (r == 0 && c->log >= 0)
		r = console_check(c->log, true, "log", err);
	if (r < 0)
		return r;
	v->name = TAKE_PTR(c->name);
	v->balloon = c->balloon;
	v->console_input_device = c->console_input_device;
	v->start_timeout_s = c->start_timeout_s;
	v->cpu_percent = c->cpu_percent;
	v->memory_max = c->memory_max_mib << 20;
	v->log_fd = TAKE_FD(c->log);
	return reserve_cid(v, c, err);
}

int vm_new(struct vm_host *host, struct vm_config *c, struct vm **ret_vm,
	   struct err *err)
{
	struct vm *v = calloc(1, sizeof(*v));
	char tag[32];
	int r;

	if (!v)
		return err_sys(err, -ENOMEM, "a VM");
	v->host = host;
	v->lease_fd = v->log_fd = v->killed_for = -1;
	v->next = host->vms;
	host->vms = v;
	r = prepare(v, c, err);
	if (r == 0) {
		snprintf(tag, sizeof(tag), "VM %u", v->cid);
		r = console_new(host->event, TAKE_FD(c->console_out),
				TAKE_FD(c->console_in), tag, &v->console, err);
	}
	if (r < 0) {
		vm_release(v);
		return r;
	}
	*ret_vm = v;
	return 0;
}

/* What a dead VM needs no more. */
static void free_remains(struct vm *v)
{
	struct requests *requests = TAKE_PTR(v->requests);
	struct vsock *vsock = TAKE_PTR(v->vsock);

	v->start_timer = sd_event_source_disable_unref(v->start_timer);
	launch_free(TAKE_PTR(v->launch));
	requests_free(requests);
	vsock_free(vsock);
	console_free(TAKE_PTR(v->console));
	process_free(TAKE_PTR(v->process));
	cgroup_free(TAKE_PTR(v->cgroup));
}

void vm_release(struct vm *v)
{
	struct vm_host *host = v->host;
	struct vm **at = &host->vms;

	if (v->process) {
		if (v->killed_for < 0)
			v->killed_for = DEATH_KILLED;
		process_kill(v->process);
		return;
	}
	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
	free_remains(v);
	handle_free_all(v);
	if (v->cid)
		host->registry->ops->release(host->registry, v->cid);
	cleanup_close(&v->lease_fd);
	cleanup_close(&v->log_fd);
	death_clear(&v->death);
	free(v->stop_calls);
	free(v->name);
	free(v);
	host->gone(host);
}

/* --- death -------------------------------------------------------------------- */

/* Whether the guest never ran. */
static bool is_failed_start(int reason)
{
	return reason == DEATH_START_FAILED || reason == DEATH_BAD_ARGUMENTS ||
	       reason == DEATH_INFRASTRUCTURE_ERROR;
}

/* v->death is known. The answers come before the news. */
static void die(struct vm *v)
{
	struct err err;
	bool failed = is_failed_start(v->death.reason) || v->killed_for >= 0;

	free_remains(v);
	v->state = VM_DEAD;
	v->suspended = false;
	tell_registry(v, VM_DEAD, NULL);
	err_set(&err, -ENOEXEC, "%s", death_sentence(&v->death));
	handle_answer(TAKE_PTR(v->start_call), failed ? -ENOEXEC : 0, &err);
	for (size_t i = 0; i < v->n_stop_calls; i++)
		handle_answer(v->stop_calls[i].m, 0, NULL);
	v->n_stop_calls = 0;
	handle_tell_state(v);
	handle_tell_death(v);
	if (v->n_counting == 0)
		vm_release(v);
}

static void on_line(void *arg, const char *line)
{
	const struct vm *v = arg;
	char named[MAX_SENTENCE];

	launch_name_files(v->launch, line, named, sizeof(named));
	log_info("vm", "%u: %s", v->cid, named);
}

static void on_ended(void *arg, struct death_signs *signs)
{
	struct vm *v = arg;
	char named[MAX_SENTENCE];

	signs->killed_for = v->killed_for;
	death_find(signs, &v->death);
	launch_name_files(v->launch, death_sentence(&v->death), named, sizeof(named));
	death_reword(&v->death, named);
	die(v);
}

static const struct process_ops process_ops = { .line = on_line, .ended = on_ended };

/* --- starting and stopping it ------------------------------------------------- */

static void on_running(void *arg, int r, json_t *reply, const struct err *err)
{
	struct vm *v = arg;

	(void)reply;
	(void)err;
	/* If it has ended, why is still to be heard. */
	if (r == 0)
		handle_answer(TAKE_PTR(v->start_call), 0, NULL);
}

static int on_start_timeout(sd_event_source *source, uint64_t usec, void *arg)
{
	struct vm *v = arg;

	(void)source;
	(void)usec;
	if (v->killed_for < 0)
		v->killed_for = DEATH_HANGUP;
	process_kill(v->process);
	return 0;
}

static int add_control(struct vm *v, struct err *err)
{
	int fds[2], number, r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, -errno, "the VM's control connection");
	number = launch_fd(v->launch, fds[1]);
	if (number >= 0)
		launch_arg(v->launch, "--socket=/proc/self/fd/%d", number);
	r = requests_new(v->host->event, fds[0], &v->requests, err);
	return r;
}

/* What is only there when the VM is. */
static int add_connections(struct vm *v, struct err *err)
{
	int number, r;

	number = launch_fd_copy(v->launch, v->lease_fd);
	if (number < 0)
		return err_sys(err, number, "the VM's CID");
	launch_arg(v->launch, "--keep-fd=%d", number);
	number = launch_fd(v->launch, console_take_child_fd(v->console));
	if (number < 0)
		return err_sys(err, number, "the VM's console");
	r = arguments_add_consoles(number, v->console_input_device, TAKE_FD(v->log_fd),
				   v->launch, err);
	if (r == 0)
		r = vsock_launch(v->vsock, v->launch, err);
	return r == 0 ? add_control(v, err) : r;
}

/* The service removes it, should this process be killed. */
static void announce_cgroup(void *arg, const char *path)
{
	const struct vm *v = arg;

	tell_registry(v, VM_STARTING, path);
}

/* A host that does not let this user have one is nothing that the VM can help. */
static void enter_cgroup(struct vm *v)
{
	bool limited = v->memory_max || v->cpu_percent;
	struct err err;

	if (cgroup_new(v->cid, v->memory_max, v->cpu_percent, announce_cgroup, v,
		       &v->cgroup, &err) < 0) {
		log_msg(limited ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "vm",
			"%u: has no cgroup%s: %s", v->cid,
			limited ? ", and so none of its limits" : "", err.msg);
		/* One to be removed with, at least. */
		if (limited)
			cgroup_new(v->cid, 0, 0, announce_cgroup, v, &v->cgroup, NULL);
	}
}

static int start(struct vm *v, struct err *err)
{
	const struct control_request status = { .kind = CONTROL_STATUS, .fd = -1 };
	int r = add_connections(v, err);

	if (r == 0 && v->start_timeout_s)
		r = sd_event_add_time_relative(
			v->host->event, &v->start_timer, CLOCK_MONOTONIC,
			v->start_timeout_s * 1000000, 0, on_start_timeout, v);
	if (r == 0) {
		enter_cgroup(v);
		r = process_start(v->host->event, v->launch, cgroup_fd(v->cgroup),
				  &process_ops, v, &v->process, err);
	}
	if (r < 0)
		return r;
	return requests_add(v->requests, &status, on_running, v, err);
}

int vm_start(struct vm *v, sd_bus_message *call, struct err *err)
{
	struct death_signs signs = { .killed_for = -1 };
	int r;

	if (v->state != VM_NOT_STARTED)
		return err_set(err, -EBADFD, "the VM %s",
			       v->state == VM_DEAD ? "has been started, and is dead"
						   : "has been started already");
	r = start(v, err);
	if (r < 0 && v->process) {
		/* It has ended already, and tells why. */
		process_kill(v->process);
		r = 0;
	}
	v->start_call = sd_bus_message_ref(call);
	if (r < 0) {
		signs.wait_code = CLD_EXITED;
		signs.wait_status = 1;
		signs.last_words = err->msg;
		death_find(&signs, &v->death);
		die(v);
		return 0;
	}
	set_state(v, VM_STARTING);
	return 0;
}

int vm_stop(struct vm *v, sd_bus_message *call, struct err *err)
{
	struct vm_call *more;

	if (v->state == VM_NOT_STARTED || v->state == VM_DEAD)
		return err_set(err, -EBADFD, "the VM is not running");
	more = reallocarray(v->stop_calls, v->n_stop_calls + 1, sizeof(*more));
	if (!more)
		return err_sys(err, -ENOMEM, "a call");
	v->stop_calls = more;
	v->stop_calls[v->n_stop_calls++].m = sd_bus_message_ref(call);
	if (v->killed_for < 0)
		v->killed_for = DEATH_KILLED;
	process_kill(v->process);
	return 0;
}
