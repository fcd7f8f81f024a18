/* A VM by its handle; see guest_vm.h. */
#include "tests/vm/guest_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dbus/vm.h"
#include "tests/vm/service_rig.h"

int guest_config(struct vm_config *c, const char *guest, const char *params,
		 struct err *err)
{
	AUTO_FREE char *path = rig_guest(guest);

	vm_config_init(c);
	c->kernel = open(path, O_RDONLY | O_CLOEXEC);
	if (c->kernel < 0)
		return err_sys(err, -errno, "%s", path);
	c->name = strdup(guest);
	c->params = strdup(params);
	c->platform_version = strdup("~1.0");
	c->memory_mib = 32;
	c->memory_max_mib = getenv("CGROUPS") ? 256 : 0;
	return 0;
}

int guest_create_handle(struct client *client, const char *guest, const char *params,
			int *ret_handle, uint32_t *ret_cid, struct err *err)
{
	struct vm_config c;
	int r = guest_config(&c, guest, params, err);

	if (r == 0)
		r = client_create_vm(client, &c, ret_handle, ret_cid, err);
	vm_config_free(&c);
	return r;
}

/* --- what it tells ------------------------------------------------------------ */

static void read_details(sd_bus_message *m, struct guest *g)
{
	const char *key, *text;

	if (sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
		return;
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		if (sd_bus_message_read(m, "s", &key) >= 0 &&
		    (strcmp(key, "detail") == 0 || strcmp(key, "console_tail") == 0) &&
		    sd_bus_message_read(m, "v", "s", &text) >= 0)
			*key == 'd' ? snprintf(g->detail, sizeof(g->detail), "%s", text)
				    : snprintf(g->console_tail, sizeof(g->console_tail),
					       "%s", text);
		else
			sd_bus_message_skip(m, "v");
		sd_bus_message_exit_container(m);
	}
	sd_bus_message_exit_container(m);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct guest *g = userdata;
	const char *text = "";

	(void)ret_error;
	if (sd_bus_message_is_signal(m, VM_INTERFACE, "StateChanged"))
		sd_bus_message_read(m, "u", &g->state);
	else if (sd_bus_message_is_signal(m, VM_INTERFACE, "PayloadStarted"))
		g->n_started++;
	else if (sd_bus_message_is_signal(m, VM_INTERFACE, "PayloadReady"))
		g->n_ready++;
	else if (sd_bus_message_is_signal(m, VM_INTERFACE, "PayloadFinished"))
		g->n_finished += sd_bus_message_read(m, "i", &g->exit_code) > 0;
	else if (sd_bus_message_is_signal(m, VM_INTERFACE, "Error")) {
		g->n_errors += sd_bus_message_read(m, "is", &g->error_code, &text) > 0;
		snprintf(g->message, sizeof(g->message), "%s", text);
	} else if (sd_bus_message_is_signal(m, VM_INTERFACE, "Died")) {
		g->n_died += sd_bus_message_read(m, "is", &g->reason, &text) > 0;
		snprintf(g->reason_name, sizeof(g->reason_name), "%s", text);
		read_details(m, g);
	} else {
		return 0;
	}
	return 1;
}

int guest_open(int handle, struct guest *ret, struct err *err)
{
	int r = client_open(handle, &ret->bus, err);

	if (r == 0)
		r = sd_bus_add_filter(ret->bus, NULL, on_signal, ret);
	return r < 0 ? r : 0;
}

int guest_create(struct client *client, const char *guest, const char *params,
		 struct guest *ret, struct err *err)
{
	int handle, r;

	*ret = (struct guest){ 0 };
	r = guest_create_handle(client, guest, params, &handle, &ret->cid, err);
	return r < 0 ? r : guest_open(handle, ret, err);
}

/* --- what it is asked ------------------------------------------------------ */

int guest_call(struct guest *g, const char *member, struct err *err)
{
	return client_call(g->bus, VM_PATH, VM_INTERFACE, member, NULL, err, "");
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)m;
	(void)userdata;
	(void)ret_error;
	return 1;
}

int guest_send(struct guest *g, const char *member, struct err *err)
{
	int r = sd_bus_call_method_async(g->bus, NULL, NULL, VM_PATH, VM_INTERFACE,
					 member, on_answer, NULL, "");

	if (r >= 0)
		r = sd_bus_flush(g->bus);
	return r < 0 ? err_sys(err, r, "%s", member) : 0;
}

int guest_state(struct guest *g, uint32_t *ret_state, struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	int r = client_call(g->bus, VM_PATH, VM_INTERFACE, "GetState", &reply, err, "");

	if (r < 0)
		return r;
	return sd_bus_message_read(reply, "u", ret_state) < 0 ? -EBADMSG : 0;
}

int guest_death(struct guest *g, int32_t *ret_reason, struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	int r = client_call(g->bus, VM_PATH, VM_INTERFACE, "GetDeath", &reply, err, "");

	if (r < 0)
		return r;
	return sd_bus_message_read(reply, "i", ret_reason) < 0 ? -EBADMSG : 0;
}

int guest_stream(struct guest *g, const char *member, uint32_t port, int *ret_fd,
		 struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	int r = client_call(g->bus, VM_PATH, VM_INTERFACE, member, &reply, err,
			    port ? "u" : "", port);

	return r < 0 ? r : client_take_fd(reply, ret_fd, err);
}

static int get_back(int fd, const char *want, size_t len, struct err *err)
{
	char got[64];
	size_t done = 0;

	while (done < len) {
		struct pollfd p = { fd, POLLIN, 0 };
		ssize_t n = poll(&p, 1, RIG_PATIENCE * 1000) == 1
				    ? read(fd, got + done, len - done)
				    : 0;

		if (n <= 0)
			return err_set(err, -EPIPE, "%zu of %zu bytes came", done, len);
		done += (size_t)n;
	}
	return memcmp(got, want, len) == 0 ? 0 : err_set(err, -EIO, "other bytes came");
}

static int there_and_back(struct guest *g, uint32_t port, const char *text, size_t len,
			  bool back, struct err *err)
{
	AUTO_CLOSE int fd = -1;
	int r = guest_stream(g, "ConnectVsock", port, &fd, err);

	if (r < 0)
		return r;
	if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		return err_sys(err, -errno, "port %u", port);
	return back ? get_back(fd, text, len, err) : 0;
}

int guest_order(struct guest *g, char letter, bool returns, struct err *err)
{
	return there_and_back(g, GUEST_ORDERS, &letter, 1, returns, err);
}

int guest_echo(struct guest *g, struct err *err)
{
	return there_and_back(g, GUEST_ECHO, "to and fro", 10, true, err);
}

int guest_wait(struct guest *g, const unsigned *counter, struct err *err)
{
	double until = rig_ms() + RIG_PATIENCE * 1e3;
	int r;

	while (*counter == 0) {
		r = sd_bus_process(g->bus, NULL);
		if (r < 0 || !sd_bus_is_open(g->bus)) {
			g->lost = true;
			return err_set(err, -ECONNRESET, "the manager has gone");
		}
		if (r == 0)
			sd_bus_wait(g->bus, 100000);
		if (rig_ms() > until)
			return err_set(err, -ETIMEDOUT, "it does not tell");
	}
	return 0;
}

int guest_wait_ready(struct guest *g, struct err *err)
{
	uint32_t state;
	int r = guest_state(g, &state, err);

	return r < 0 || state == VM_READY ? r : guest_wait(g, &g->n_ready, err);
}

int guest_wait_lost(struct guest *g, struct err *err)
{
	const unsigned never = 0;
	int r = guest_wait(g, &never, err);

	return r == -ECONNRESET ? 0 : r;
}

void guest_drop(struct guest *g)
{
	sd_bus_close_unref(g->bus);
	g->bus = NULL;
}
