/* virtmgr: manages the VMs of one client, or of one user; see virtmgr(1). */
#include "service/virtmgr/global.h"
#include "service/virtmgr/program.h"

static const char usage[] =
	"Usage: virtmgr --rpc-server-fd N [--ready-fd M] [--detach]\n"
	"       virtmgr --listen PATH\n"
	"\n"
	"Makes and watches VMs for the client at the other end of a socket.\n"
	"\n"
	"  --rpc-server-fd N   serve the inherited socket N; end when it and all handles of\n"
	"                      VMs are closed\n"
	"  --ready-fd M        write a byte to the inherited descriptor M when ready\n"
	"  --detach            go on in the background, and return when ready\n"
	"  --listen PATH       serve those who connect to the socket PATH, until SIGTERM\n"
	"  --log-level LEVEL   off, error, warn (the default), info, debug\n"
	"  --help, --version\n";

static int new_registry(sd_event *event, const struct program_options *o,
			struct registry **ret_registry, struct err *err)
{
	(void)o;
	return global_new(event, ret_registry, err);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		PROGRAM_OPTIONS,
		{ "listen", required_argument, NULL, 'l' },
		{ 0 },
	};
	static const struct program virtmgr = {
		.name = "virtmgr",
		.usage = usage,
		.needed = "either --rpc-server-fd or --listen",
		.options = options,
		.new_registry = new_registry,
	};

	return program_main(&virtmgr, argc, argv);
}
