/* vm run: a VM that lives as long as this program wants it. */
#include "service/vm/run.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dbus/vm.h"
#include "service/common/bus_error.h"
#include "service/vm/command.h"
#include "service/vm/config_file.h"
#include "service/vm/connect.h"
#include "service/vm/session.h"

struct running {
	struct session session;
	struct run_events events;
	struct err failure; /* why it does not start, until its death is told */
};

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct running *vm = userdata;
	int r = run_on_signal(m, &vm->events, ret_error);

	vm->session.ended = vm->events.dead;
	return r;
}

static int on_started(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct running *vm = userdata;

	(void)ret_error;
	if (sd_bus_message_is_method_error(m, NULL))
		bus_error_get(sd_bus_message_get_error(m), -ENOEXEC, &vm->failure);
	else
		run_event(&vm->events, "started");
	return 0;
}

static int ignore(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)m;
	(void)userdata;
	(void)ret_error;
	return 0;
}

/* Without waiting, so that signals are heeded; it may take as long as it likes. */
static int call(struct running *vm, const char *member,
		sd_bus_message_handler_t answered, struct err *err)
{
	AUTO_REPLY sd_bus_message *m = NULL;
	int r;

	r = sd_bus_message_new_method_call(vm->session.bus, &m, NULL, VM_PATH,
					   VM_INTERFACE, member);
	if (r >= 0)
		r = sd_bus_call_async(vm->session.bus, NULL, m, answered, vm,
				      UINT64_MAX);
	return r < 0 ? err_sys(err, r, "%s", member) : 0;
}

/* Start it, and be there until it ends; a second wish to end it is not waited for. */
static int attend(struct running *vm, struct err *err)
{
	struct session *s = &vm->session;
	int r;

	r = sd_bus_match_signal(s->bus, NULL, NULL, VM_PATH, VM_INTERFACE, NULL,
				on_signal, vm);
	if (r < 0)
		return err_sys(err, r, "the VM's connection");
	if (s->terminal)
		fputs("vm: Ctrl-A x ends the VM\n", stderr);
	r = call(vm, "Start", on_started, err);
	if (r == 0)
		r = session_run(s, err);
	if (r == SESSION_LEFT || r == SESSION_SIGNALLED) {
		s->terminal = false;
		s->in = -1;
		r = call(vm, "Stop", ignore, err);
		if (r == 0)
			r = session_run(s, err);
		if (r == SESSION_SIGNALLED)
			r = err_set(err, -EINTR, "the VM is not waited for");
	}
	if (r < 0 && *vm->failure.msg)
		*err = vm->failure;
	return r < 0 ? r : vm->events.status;
}

/* Make it, and have its descriptor; what was opened for it is closed. */
static int create(struct client *client, struct vm_config *c, struct running *vm,
		  struct err *err)
{
	int handle, r;

	r = client_create_vm(client, c, &handle, &vm->events.cid, err);
	return r < 0 ? r : client_open(handle, &vm->session.bus, err);
}

static int run_config(const struct run_opts *o, struct vm_config *c, struct err *err)
{
	AUTO_CLIENT struct client *client = NULL;
	AUTO_CLOSE int typed = -1;
	AUTO_CLOSE int signals = -1;
	AUTO_FREE char *name = NULL;
	struct running vm = { .events.json = o->json };
	int r = run_configure(o, c, &typed, err);

	if (r < 0)
		return r;
	signals = session_signals(err);
	if (signals < 0)
		return signals;
	r = client_spawn(NULL, &client, err);
	if (r == 0)
		r = create(client, c, &vm, err);
	if (r < 0)
		return r;
	name = TAKE_PTR(c->name);
	vm_config_free(c);
	vm.events.name = name;
	vm.session.in = typed < 0 ? -1 : STDIN_FILENO;
	vm.session.terminal = typed >= 0;
	vm.session.to = typed;
	vm.session.from = -1;
	vm.session.signals = signals;
	r = attend(&vm, err);
	sd_bus_flush_close_unref(vm.session.bus);
	return r;
}

static int run(const struct command *c, const void *opts, char **args, struct err *err)
{
	struct vm_config config;
	int r;

	(void)c;
	vm_config_init(&config);
	r = config_file_load(args[0], &config, err);
	if (r == 0)
		r = run_config(opts, &config, err);
	vm_config_free(&config);
	return r;
}

const struct command command_run = {
	.name = "run",
	.synopsis = "[OPTION]... CONFIG",
	.help = "Run a VM as a configuration file says, until it ends.\n"
		"Options go before what the file says. The exit status is the VM's, as vmm's is;\n"
		"SIGINT, SIGTERM and, where stdin is a terminal, Ctrl-A x stop it.\n",
	.opts = run_opts,
	.opts_size = sizeof(struct run_opts),
	.min = 1,
	.max = 1,
	.run = run,
};
