/* early_virtmgr: a manager for before there is a service; see early_virtmgr(1). */
#include "service/early_virtmgr/early_registry.h"
#include "service/virtmgr/program.h"

static const char usage[] =
	"Usage: early_virtmgr --rpc-server-fd N [--ready-fd M] [--detach] [--root DIR]\n"
	"\n"
	"Makes and watches VMs for the client at the other end of a socket, without a\n"
	"service: their CIDs are those that early_vms*.xml gives them.\n"
	"\n"
	"  --rpc-server-fd N   serve the inherited socket N; end when it and all handles of\n"
	"                      VMs are closed\n"
	"  --ready-fd M        write a byte to the inherited descriptor M when ready\n"
	"  --detach            go on in the background, and return when ready\n"
	"  --root DIR          have files and locks below DIR, where they may be this user's\n"
	"  --log-level LEVEL   off, error, warn (the default), info, debug\n"
	"  --help, --version\n";

static int new_registry(sd_event *event, const struct program_options *o,
			struct registry **ret_registry, struct err *err)
{
	(void)event;
	return early_registry_new(o->rpc_fd, o->root, ret_registry, err);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		PROGRAM_OPTIONS,
		{ "root", required_argument, NULL, 'R' },
		{ 0 },
	};
	static const struct program early_virtmgr = {
		.name = "early_virtmgr",
		.usage = usage,
		.needed = "--rpc-server-fd",
		.options = options,
		.new_registry = new_registry,
	};

	return program_main(&early_virtmgr, argc, argv);
}
