/* Those methods of a VM that vmm, or its guest, has to answer; see handle.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "dbus/vm.h"
#include "service/common/bus_error.h"
#include "service/virtmgr/handle.h"
#include "service/virtmgr/images.h"

/* The lowest port that a client may connect to, as AVF has it. */
#define PORT_MIN 1024

/* What of vmm's answer a method returns. */
static int reply_balloon(sd_bus_message *call, json_t *reply)
{
	json_t *bytes = json_object_get(json_object_get(reply, "Status"),
					"balloon_bytes");

	return sd_bus_reply_method_return(call, "t",
					  (uint64_t)json_integer_value(bytes));
}

static void answer_refusal(sd_bus_message *call, int r, const struct err *err)
{
	/* vmm's own word is about the state that the VM is in. */
	if (r == -EREMOTEIO || r == -ECONNRESET)
		r = -EBADFD;
	handle_answer(sd_bus_message_ref(call), r, err);
}

static void on_done(void *arg, int r, json_t *reply, const struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *call = arg;

	(void)reply;
	if (r < 0)
		answer_refusal(call, r, err);
	else
		sd_bus_reply_method_return(call, "");
}

static void on_balloon(void *arg, int r, json_t *reply, const struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *call = arg;

	if (r < 0)
		answer_refusal(call, r, err);
	else
		reply_balloon(call, reply);
}

static int check_running(const struct vm *v, struct err *err)
{
	return v->process ? 0 : err_set(err, -EBADFD, "the VM is not running");
}

/* Pass a request on; @request->fd is taken. @done(@arg) answers @m, and unrefs it. */
static int ask(struct handle *h, sd_bus_message *m,
	       const struct control_request *request, requests_done_fn *done, void *arg,
	       sd_bus_error *ret_error)
{
	struct vm *v = handle_vm(h);
	bool balloon = request->kind == CONTROL_BALLOON_ADJUST || done == on_balloon;
	struct err err = { "" };
	int r = check_running(v, &err);

	if (r == 0 && balloon && !v->balloon)
		r = err_set(&err, -ENOTSUP, "this VM has no balloon");
	if (r < 0)
		cleanup_close(&request->fd);
	else
		r = requests_add(v->requests, request, done, arg, &err);
	if (r == 0) {
		sd_bus_message_ref(m);
		return 1;
	}
	return bus_error_set(ret_error, r == -ECONNRESET ? -EBADFD : r, &err);
}

static int ask_simply(struct handle *h, sd_bus_message *m, enum control_kind kind,
		      sd_bus_error *ret_error)
{
	const struct control_request request = { .kind = kind, .fd = -1 };

	return ask(h, m, &request, on_done, m, ret_error);
}

int vm_on_power_button(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	return ask_simply(userdata, m, CONTROL_POWERBTN, ret_error);
}

/* A Suspend or Resume. vmm hangs up before its VM goes. */
struct standstill {
	struct vm *vm;
	sd_bus_message *call;
	enum control_kind kind;
};

static void on_standstill(void *arg, int r, json_t *reply, const struct err *err)
{
	AUTO_FREE struct standstill *s = arg;

	if (r == 0)
		vm_set_suspended(s->vm, s->kind == CONTROL_SUSPEND_VCPUS);
	on_done(s->call, r, reply, err);
}

static int ask_standstill(struct handle *h, sd_bus_message *m, enum control_kind kind,
			  sd_bus_error *ret_error)
{
	const struct control_request request = { .kind = kind, .fd = -1 };
	struct standstill *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct standstill){ handle_vm(h), m, kind };
	r = ask(h, m, &request, on_standstill, s, ret_error);
	if (r < 0)
		free(s);
	return r;
}

int vm_on_suspend(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	return ask_standstill(userdata, m, CONTROL_SUSPEND_VCPUS, ret_error);
}

int vm_on_resume(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	return ask_standstill(userdata, m, CONTROL_RESUME_VCPUS, ret_error);
}

int vm_on_set_memory_balloon(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct control_request request = { .kind = CONTROL_BALLOON_ADJUST, .fd = -1 };
	int r = sd_bus_message_read(m, "t", &request.bytes);

	return r < 0 ? r : ask(userdata, m, &request, on_done, m, ret_error);
}

int vm_on_get_memory_balloon(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	const struct control_request request = { .kind = CONTROL_STATUS, .fd = -1 };

	return ask(userdata, m, &request, on_balloon, m, ret_error);
}

int vm_on_dump(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct control_request request = { .kind = CONTROL_DUMP, .fd = -1 };
	struct err err = { "" };
	int fd, r = sd_bus_message_read(m, "h", &fd);

	if (r < 0)
		return r;
	/* vmm writes it while its guest stands still: no pipe that nobody reads. */
	r = images_check(fd, FILE_WRITE | FILE_BLOCK, &err);
	if (r < 0) {
		err_prefix(&err, r, "file");
		return bus_error_set(ret_error, -EINVAL, &err);
	}
	request.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (request.fd < 0) {
		err_sys(&err, -errno, "file");
		return bus_error_set(ret_error, -EMFILE, &err);
	}
	return ask(userdata, m, &request, on_done, m, ret_error);
}

/* --- vsock -------------------------------------------------------------------- */

static void on_connected(void *arg, int fd, const struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *call = arg;

	if (fd < 0) {
		handle_answer(sd_bus_message_ref(call), fd, err);
		return;
	}
	sd_bus_reply_method_return(call, "h", fd);
	close(fd);
}

int vm_on_connect_vsock(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct vm *v = handle_vm(userdata);
	struct err err = { "" };
	uint32_t port;
	int r = sd_bus_message_read(m, "u", &port);

	if (r < 0)
		return r;
	r = check_running(v, &err);
	if (r == 0 && port < PORT_MIN)
		r = err_set(&err, -EINVAL, "port %u: must be %d or higher", port,
			    PORT_MIN);
	if (r == 0) {
		sd_bus_message_ref(m);
		r = vsock_connect(v->vsock, port, on_connected, m, &err);
		if (r < 0)
			sd_bus_message_unref(m);
	}
	return r < 0 ? bus_error_set(ret_error, r, &err) : 1;
}
