/* Subcommands that are one call to a VM, or to a manager. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "dbus/manager.h"
#include "dbus/vm.h"
#include "service/vm/command.h"
#include "service/vm/connect.h"

/* --- those without arguments -------------------------------------------------- */

static int call(const struct command *c, const void *opts, char **args, struct err *err)
{
	AUTO_BUS sd_bus *bus = NULL;
	int r = connect_vm(args[0], &bus, err);

	(void)opts;
	return r < 0 ? r : connect_call(bus, c->member, NULL, err, NULL);
}

#define SIMPLE(name_, member_, help_)            \
	const struct command command_##name_ = { \
		.name = #name_,                  \
		.synopsis = "NAME|CID",          \
		.help = help_,                   \
		.member = member_,               \
		.min = 1,                        \
		.max = 1,                        \
		.run = call,                     \
	}

SIMPLE(stop, "Stop",
       "Kill a VM, without asking its guest: see powerbtn.\n"
       "Returns when nothing of it is left.\n");
SIMPLE(suspend, "Suspend", "Let a VM's CPUs stand still, until vm resume.\n");
SIMPLE(resume, "Resume", "Let a suspended VM go on.\n");
SIMPLE(powerbtn, "PowerButton",
       "Press a VM's power button, upon which most guests shut down.\n");

/* --- balloon --------------------------------------------------------------- */

static int balloon(const struct command *c, const void *opts, char **args,
		   struct err *err)
{
	AUTO_BUS sd_bus *bus = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	uint64_t bytes;
	int r;

	(void)opts;
	if (args[1]) {
		r = command_bytes(c->name, args[1], &bytes, err);
		if (r == 0)
			r = connect_vm(args[0], &bus, err);
		return r < 0 ? r
			     : connect_call(bus, "SetMemoryBalloon", NULL, err, "t",
					    bytes);
	}
	r = connect_vm(args[0], &bus, err);
	if (r == 0)
		r = connect_call(bus, "GetMemoryBalloon", &reply, err, NULL);
	if (r < 0)
		return r;
	r = sd_bus_message_read(reply, "t", &bytes);
	if (r < 0)
		return err_sys(err, r, "the answer");
	printf("%llu\n", (unsigned long long)bytes);
	return STATUS_OK;
}

const struct command command_balloon = {
	.name = "balloon",
	.synopsis = "NAME|CID [SIZE]",
	.help = "Ask a VM's guest to give up SIZE of its memory in all, or tell what it gave up.\n"
		"SIZE is in bytes, or ends in K, M or G.\n",
	.min = 1,
	.max = 2,
	.run = balloon,
};

/* --- dump ------------------------------------------------------------------ */

static int dump(const struct command *c, const void *opts, char **args, struct err *err)
{
	AUTO_BUS sd_bus *bus = NULL;
	AUTO_CLOSE int fd = -1;
	int r = connect_vm(args[0], &bus, err);

	(void)opts;
	if (r < 0)
		return r;
	fd = file_open_private(c->name, args[1], err);
	if (fd < 0)
		return fd;
	r = connect_call(bus, "Dump", NULL, err, "h", fd);
	return r < 0 ? err_prefix(err, r, "%s %s", c->name, args[1]) : r;
}

const struct command command_dump = {
	.name = "dump",
	.synopsis = "NAME|CID FILE",
	.help = "Write a VM's memory and registers to FILE.\n"
		"It is an ELF core for crash(8) and gdb(1); the guest stands still meanwhile.\n",
	.min = 2,
	.max = 2,
	.run = dump,
};

/* --- create-partition ------------------------------------------------------ */

static const char *const formats[] = { "raw", "instance", "encryptedstore", NULL };

struct partition_opts {
	int format; /* as InitializeWritablePartition has it */
};

static const struct opt partition_opts[] = {
	{ .key = "type",
	  .letter = 't',
	  .type = OPT_ENUM,
	  .names = formats,
	  .offset = offsetof(struct partition_opts, format),
	  .help = "what it begins with" },
	{ 0 },
};

static int create_partition(const struct command *c, const void *opts, char **args,
			    struct err *err)
{
	const struct partition_opts *o = opts;
	AUTO_CLIENT struct client *client = NULL;
	AUTO_CLOSE int fd = -1;
	uint64_t size;
	int r;

	r = command_bytes(c->name, args[1], &size, err);
	if (r == 0)
		r = client_spawn(NULL, &client, err);
	if (r < 0)
		return r;
	/* What is there may be dear to somebody. */
	fd = file_open(c->name, args[0], O_RDWR | O_CREAT | O_EXCL, err);
	if (fd < 0)
		return fd;
	r = connect_ask(client, "InitializeWritablePartition", NULL, err, "htu", fd,
			size, (uint32_t)o->format);
	if (r < 0)
		unlink(args[0]);
	return r;
}

const struct command command_create_partition = {
	.name = "create-partition",
	.synopsis = "[-t TYPE] PATH SIZE",
	.help = "Make a file for a writable partition.\n"
		"PATH must not be there yet. SIZE is in bytes, or ends in K, M or G; it is a\n"
		"multiple of 4 KiB.\n",
	.opts = partition_opts,
	.opts_size = sizeof(struct partition_opts),
	.min = 2,
	.max = 2,
	.run = create_partition,
};
