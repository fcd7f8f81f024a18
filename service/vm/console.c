/* vm console: a user joins a VM's console. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dbus/vm.h"
#include "service/vm/command.h"
#include "service/vm/connect.h"
#include "service/vm/session.h"

static int console(const struct command *c, const void *opts, char **args,
		   struct err *err)
{
	AUTO_BUS sd_bus *bus = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	AUTO_CLOSE int stream = -1;
	AUTO_CLOSE int signals = -1;
	struct session s;
	int r = connect_vm(args[0], &bus, err);

	(void)c;
	(void)opts;
	if (r == 0)
		r = connect_call(bus, "AttachConsole", &reply, err, NULL);
	if (r == 0)
		r = client_take_fd(reply, &stream, err);
	if (r < 0)
		return r;
	signals = session_signals(err);
	if (signals < 0)
		return signals;
	s = (struct session){ .in = STDIN_FILENO,
			      .terminal = isatty(STDIN_FILENO),
			      .to = stream,
			      .from = stream,
			      .signals = signals };
	if (s.terminal)
		fputs("vm: Ctrl-A x leaves the console\n", stderr);
	r = session_run(&s, err);
	return r < 0 ? r : STATUS_OK;
}

const struct command command_console = {
	.name = "console",
	.synopsis = "NAME|CID",
	.help = "Join a VM's console.\n"
		"Its last 4 KiB are shown first. Ctrl-A x leaves it, where stdin is a terminal,\n"
		"and does not harm the VM; Ctrl-A twice is Ctrl-A.\n",
	.min = 1,
	.max = 1,
	.run = console,
};
