/* Speaking to managers and VMs; see client.h. */
#include "service/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/unix.h"
#include "dbus/manager.h"
#include "service/common/bus_error.h"
#include "service/common/paths.h"
#include "service/common/spawn.h"

#define MESSAGE_MAX_FDS 253 /* SCM_MAX_FD */

struct client {
	sd_bus *bus;
};

int client_open(int fd, sd_bus **ret_bus, struct err *err)
{
	__attribute__((cleanup(sd_bus_unrefp))) sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);

	if (r >= 0)
		r = sd_bus_set_anonymous(bus, 1);
	if (r >= 0)
		r = sd_bus_negotiate_fds(bus, 1);
	if (r < 0) {
		close(fd);
		return err_sys(err, r, "a connection");
	}
	r = sd_bus_set_fd(bus, fd, fd);
	if (r < 0)
		close(fd);
	else
		r = sd_bus_start(bus);
	if (r < 0)
		return bus_error_get(NULL, r, err);
	*ret_bus = TAKE_PTR(bus);
	return 0;
}

static int client_new(int fd, struct client **ret_client, struct err *err)
{
	struct client *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close(fd);
		return err_sys(err, -ENOMEM, "a manager");
	}
	r = client_open(fd, &c->bus, err);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret_client = c;
	return 0;
}

/* --- starting a manager ----------------------------------------------------------- */

/*
 * The manager may outlive this program, which may not want to wait for children it does
 * not know of; so it detaches, and the child ends when it is ready.
 */
static int spawn(const char *program, int rpc, int ready, pid_t *ret_pid,
		 struct err *err)
{
	const char *slash = strrchr(program, '/');
	AUTO_FREE char *arg0 = strdup(slash ? slash + 1 : program);
	char arg1[] = "--rpc-server-fd", arg2[] = "3";
	char arg3[] = "--ready-fd", arg4[] = "4", arg5[] = "--detach";
	char *argv[] = { arg0, arg1, arg2, arg3, arg4, arg5, NULL };
	const int fds[] = { -1, -1, -1, rpc, ready };

	if (!arg0)
		return err_sys(err, -ENOMEM, "%s", program);
	return spawn_program(program, argv, fds, ARRAY_SIZE(fds), ret_pid, err);
}

int client_spawn(const char *program, struct client **ret_client, struct err *err)
{
	AUTO_FREE char *found = program ? NULL : paths_program("virtmgr");
	int rpc[2] = { -1, -1 }, ready[2] = { -1, -1 };
	pid_t pid = -1;
	char byte;
	ssize_t n;
	int r;

	if (!program && !found)
		return err_sys(err, -ENOMEM, "virtmgr");
	if (!program)
		program = found;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rpc) < 0)
		return err_sys(err, -errno, "%s", program);
	if (pipe2(ready, O_CLOEXEC) < 0)
		r = err_sys(err, -errno, "%s", program);
	else
		r = spawn(program, rpc[1], ready[1], &pid, err);
	close(rpc[1]);
	if (ready[1] >= 0)
		close(ready[1]);
	if (r == 0) {
		do
			n = read(ready[0], &byte, 1);
		while (n < 0 && errno == EINTR);
		if (n != 1)
			r = err_set(err, -ECONNREFUSED, "%s: ended before it was ready",
				    program);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (ready[0] >= 0)
		close(ready[0]);
	if (r < 0) {
		close(rpc[0]);
		return r;
	}
	return client_new(rpc[0], ret_client, err);
}

int client_connect(const char *path, struct client **ret_client, struct err *err)
{
	const struct unix_patience patience = { 0 };
	int fd = unix_connect("manager", path, SOCK_STREAM, &patience, err);

	return fd < 0 ? fd : client_new(fd, ret_client, err);
}

void client_free(struct client *c)
{
	if (!c)
		return;
	sd_bus_close_unref(c->bus);
	free(c);
}

sd_bus *client_bus(struct client *c)
{
	return c->bus;
}

/* --- calls -------------------------------------------------------------------- */

/* Without a limit of time: the manager answers, or it is gone. */
static int call(sd_bus *bus, sd_bus_message *m, sd_bus_message **ret_reply,
		struct err *err)
{
	__attribute__((cleanup(sd_bus_error_free)))
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r = sd_bus_call(bus, m, UINT64_MAX, &error, ret_reply);

	return r < 0 ? bus_error_get(&error, r, err) : 0;
}

int client_call(sd_bus *bus, const char *path, const char *interface,
		const char *member, sd_bus_message **ret_reply, struct err *err,
		const char *types, ...)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	va_list ap;
	int r;

	r = sd_bus_message_new_method_call(bus, &m, NULL, path, interface, member);
	if (r >= 0 && types && *types) {
		va_start(ap, types);
		r = sd_bus_message_appendv(m, types, ap);
		va_end(ap);
	}
	if (r < 0)
		return err_sys(err, r, "%s", member);
	return call(bus, m, ret_reply, err);
}

int client_take_fd(sd_bus_message *reply, int *ret_fd, struct err *err)
{
	int fd, r = sd_bus_message_read(reply, "h", &fd);

	if (r < 0)
		return err_sys(err, r, "the answer");
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(err, -errno, "the answer");
	*ret_fd = fd;
	return 0;
}

/* --- making VMs --------------------------------------------------------------- */

/* Pass @n files ahead of the message that names them; the first one's index. */
static int pass_files(struct client *c, const int *fds, size_t n, int64_t *ret_first,
		      struct err *err)
{
	int64_t first = -1;

	for (size_t at = 0; at < n;) {
		__attribute__((cleanup(sd_bus_message_unrefp)))
		sd_bus_message *m = NULL;
		__attribute__((cleanup(sd_bus_message_unrefp)))
		sd_bus_message *reply = NULL;
		size_t end = n - at > MESSAGE_MAX_FDS ? at + MESSAGE_MAX_FDS : n;
		uint32_t index;
		int r;

		r = sd_bus_message_new_method_call(c->bus, &m, NULL, MANAGER_PATH,
						   MANAGER_INTERFACE, "PassFiles");
		if (r >= 0)
			r = sd_bus_message_open_container(m, 'a', "h");
		for (; r >= 0 && at < end; at++)
			r = sd_bus_message_append_basic(m, 'h', &fds[at]);
		if (r >= 0)
			r = sd_bus_message_close_container(m);
		if (r < 0)
			return err_sys(err, r, "PassFiles");
		r = call(c->bus, m, &reply, err);
		if (r < 0)
			return r;
		r = sd_bus_message_read(reply, "u", &index);
		if (r < 0)
			return err_sys(err, r, "PassFiles");
		if (first < 0)
			first = index;
	}
	*ret_first = first;
	return 0;
}

int client_create_vm(struct client *c, const struct vm_config *config, int *ret_handle,
		     uint32_t *ret_cid, struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	size_t n = vm_config_files(config, NULL, 0);
	int64_t first = -1;
	uint32_t cid;
	int r = 0;

	if (n + CONFIG_MAX_STREAMS > MESSAGE_MAX_FDS) {
		AUTO_FREE int *fds = calloc(n, sizeof(*fds));

		if (!fds)
			return err_sys(err, -ENOMEM, "CreateVm");
		vm_config_files(config, fds, n);
		r = pass_files(c, fds, n, &first, err);
		if (r < 0)
			return r;
	}
	r = sd_bus_message_new_method_call(c->bus, &m, NULL, MANAGER_PATH,
					   MANAGER_INTERFACE, "CreateVm");
	if (r >= 0)
		r = vm_config_append(m, config, first);
	if (r < 0)
		return err_sys(err, r, "CreateVm");
	r = call(c->bus, m, &reply, err);
	if (r < 0)
		return r;
	r = client_take_fd(reply, ret_handle, err);
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "u", &cid);
	if (r < 0) {
		close(TAKE_FD(*ret_handle));
		return err_sys(err, r, "CreateVm");
	}
	if (ret_cid)
		*ret_cid = cid;
	return 0;
}
