/* vm shell: a command in a guest, by the guest's agent. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/shell_proto.h"
#include "dbus/vm.h"
#include "service/vm/command.h"
#include "service/vm/connect.h"
#include "service/vm/session.h"
#include "service/vm/shell_relay.h"

struct shell_opts {
	uint64_t port;
};

static const struct opt shell_opts[] = {
	{ .key = "port",
	  .type = OPT_U64,
	  .min = 1024,
	  .max = VMADDR_PORT_ANY - 1,
	  .def = SHELL_PORT,
	  .offset = offsetof(struct shell_opts, port),
	  .help = "the vsock port of the guest where the agent serves shells" },
	{ 0 },
};

static int connect_agent(const char *vm, uint32_t port, int *ret_stream,
			 struct err *err)
{
	AUTO_BUS sd_bus *bus = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	struct err why;
	int r = connect_vm(vm, &bus, err);

	if (r < 0)
		return r;
	r = connect_call(bus, "ConnectVsock", &reply, err, "u", port);
	if (r == -EIO) {
		why = *err;
		return err_set(err, r,
			       "%s; a shell is served by \"agent --shell %" PRIu32
			       " -- COMMAND\" in the guest",
			       why.msg, port);
	}
	return r < 0 ? r : client_take_fd(reply, ret_stream, err);
}

static int shell(const struct command *c, const void *opts, char **args,
		 struct err *err)
{
	const struct shell_opts *o = opts;
	AUTO_CLOSE int stream = -1;
	AUTO_CLOSE int signals = -1;
	struct shell_relay relay;
	int r = connect_agent(args[0], (uint32_t)o->port, &stream, err);

	(void)c;
	if (r < 0)
		return r;
	signals = session_signals(err);
	if (signals < 0)
		return signals;
	relay = (struct shell_relay){
		.stream = stream,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.error = STDERR_FILENO,
		.terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO),
		.term = getenv("TERM"),
		.args = args + 1,
		.signals = signals,
	};
	if (relay.terminal)
		fputs("vm: Ctrl-A x leaves the shell\n", stderr);
	return shell_relay(&relay, err);
}

const struct command command_shell = {
	.name = "shell",
	.synopsis = "[--port PORT] NAME|CID [--] [COMMAND [ARGUMENT]...]",
	.help = "Run a command in a VM's guest, or a shell.\n"
		"Its agent must serve them: agent --shell PORT. Where stdin and stdout are a terminal,\n"
		"the command has one, too, Ctrl-A x leaves and hangs it up, and Ctrl-A twice is\n"
		"Ctrl-A. The exit status is the command's, or 128 and the signal that ended it.\n",
	.opts = shell_opts,
	.opts_size = sizeof(struct shell_opts),
	.min = 1,
	.max = UINT_MAX,
	.rest = true,
	.run = shell,
};
