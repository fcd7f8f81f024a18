/* The options of vm run; see run.h. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/tap.h"
#include "disk/utf8.h"
#include "service/vm/run.h"

/* The UART at COM1. */
#define EARLYCON "earlycon=uart8250,io,0x3f8"

static const char *const debug_levels[] = { "full", "none", NULL };

#define FIELD(f) .offset = offsetof(struct run_opts, f)
#define SWITCH .type = OPT_BOOL, .flags = OPT_BARE

const struct opt run_opts[] = {
	{ .key = "name",
	  .type = OPT_STR,
	  .arg = "NAME",
	  FIELD(name),
	  .help = "the VM's name (without it the file's, or VmRun)" },
	{ .key = "cpu-topology",
	  .type = OPT_STR,
	  .arg = "TOPOLOGY",
	  FIELD(cpu_topology),
	  .help = "one_cpu, match_host or cpu_count=N" },
	{ .key = "mem",
	  .letter = 'm',
	  .type = OPT_U64,
	  .min = 1,
	  .max = 1 << 24,
	  .arg = "MIB",
	  FIELD(mem),
	  .help = "the guest's memory" },
	{ .key = "protected",
	  .letter = 'p',
	  SWITCH,
	  FIELD(protected),
	  .help = "hide the guest's memory from the host" },
	{ .key = "hugepages",
	  .letter = 'h',
	  SWITCH,
	  FIELD(hugepages),
	  .help = "ask the host for transparent huge pages" },
	{ .key = "boost-uclamp",
	  .letter = 'b',
	  SWITCH,
	  FIELD(boost_uclamp),
	  .help = "have the VM scheduled as a heavy load" },
	{ .key = "network-supported",
	  .letter = 'n',
	  SWITCH,
	  FIELD(network),
	  .help = "a network interface, which --tap must name" },
	{ .key = "tap",
	  .type = OPT_STR,
	  .arg = "NAME",
	  FIELD(tap),
	  .help = "a network interface over this tap of the host, or /proc/self/fd/N" },
	{ .key = "console",
	  .type = OPT_STR,
	  .arg = "FILE",
	  FIELD(console),
	  .help = "where the guest's console goes (without it, stdout)" },
	{ .key = "console-in",
	  .type = OPT_STR,
	  .arg = "FILE",
	  FIELD(console_in),
	  .help = "where its input comes from (without both, stdin)" },
	{ .key = "log",
	  .type = OPT_STR,
	  .arg = "FILE",
	  FIELD(log),
	  .help = "where the guest's log, hvc2, goes (without it, the manager's log)" },
	{ .key = "ramdump",
	  .type = OPT_STR,
	  .arg = "FILE",
	  FIELD(ramdump),
	  .help = "where the guest's memory goes when its kernel panics" },
	{ .key = "gdb",
	  .type = OPT_U64,
	  .min = 1,
	  .max = 65535,
	  .arg = "PORT",
	  FIELD(gdb),
	  .help = "wait for gdb there" },
	{ .key = "debug",
	  .type = OPT_ENUM,
	  .names = debug_levels,
	  FIELD(debug),
	  .help = "none refuses --gdb and --enable-earlycon" },
	{ .key = "enable-earlycon",
	  SWITCH,
	  FIELD(earlycon),
	  .help = "have the kernel print on ttyS0 from its first line" },
	{ .key = "json",
	  SWITCH,
	  FIELD(json),
	  .help = "tell what happens on stdout, in lines of JSON; needs --console" },
	{ 0 },
};

static int check(const struct run_opts *o, const struct vm_config *c, struct err *err)
{
	if (o->debug && (o->gdb || c->gdb_port))
		return err_set(err, -EINVAL, "%s: contradicts --debug none",
			       o->gdb ? "--gdb" : "gdb_port");
	if (o->debug && o->earlycon)
		return err_set(err, -EINVAL,
			       "--enable-earlycon: contradicts --debug none");
	if (o->network && !o->tap)
		return err_set(
			err, -EINVAL,
			"--network-supported: needs --tap, for nobody here makes interfaces");
	if (o->json && !o->console)
		return err_set(err, -EINVAL,
			       "--json: needs --console, for both use stdout");
	return 0;
}

static int set_topology(const char *text, struct vm_config *c, struct err *err)
{
	static const char count[] = "cpu_count=";
	uint64_t n = 0;
	int topology = CPUS_UNSET;

	if (strcmp(text, "one_cpu") == 0)
		topology = CPUS_ONE;
	else if (strcmp(text, "match_host") == 0)
		topology = CPUS_MATCH_HOST;
	else if (strncmp(text, count, strlen(count)) != 0 ||
		 opt_number(text + strlen(count), &n) < 0 || n < 1 || n > 64)
		return err_set(
			err, -EINVAL,
			"--cpu-topology: must be one_cpu, match_host or cpu_count=1 to 64, not %s",
			text);
	c->cpu_topology = topology;
	c->cpu_count = n;
	return 0;
}

/* @text replaces *@field, if there is any. */
static int set_string(const char *text, char **field, struct err *err)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		return err_sys(err, -ENOMEM, "%s", text);
	if (copy) {
		free(*field);
		*field = copy;
	}
	return 0;
}

static int add_param(const char *param, struct vm_config *c, struct err *err)
{
	AUTO_FREE char *old = TAKE_PTR(c->params);

	if (asprintf(&c->params, "%s%s%s", old ?: "", old ? " " : "", param) < 0) {
		c->params = NULL;
		return err_sys(err, -ENOMEM, "params");
	}
	return 0;
}

static int set_values(const struct run_opts *o, struct vm_config *c, struct err *err)
{
	int r;

	if (o->name && !utf8_valid(o->name, strlen(o->name)))
		return err_set(err, -EINVAL, "--name: must be UTF-8");
	r = set_string(o->name || c->name ? o->name : "VmRun", &c->name, err);

	if (r == 0 && o->cpu_topology)
		r = set_topology(o->cpu_topology, c, err);
	if (r == 0 && o->earlycon)
		r = add_param(EARLYCON, c, err);
	if (o->mem)
		c->memory_mib = o->mem;
	if (o->gdb)
		c->gdb_port = o->gdb;
	c->protected |= o->protected;
	c->hugepages |= o->hugepages;
	c->boost_uclamp |= o->boost_uclamp;
	return r;
}

static int set_file(const char *option, const char *path, int flags, int *field,
		    struct err *err)
{
	int fd = path ? file_open(option, path, flags, err) : -1;

	if (path && fd < 0)
		return fd;
	if (path)
		*field = fd;
	return 0;
}

static int duplicate(int fd, int *field, struct err *err)
{
	*field = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *field < 0 ? err_sys(err, -errno, "the console") : 0;
}

/* What a terminal types passes through this program, for its escape key. */
static int set_input(const struct run_opts *o, struct vm_config *c, int *ret_typed,
		     struct err *err)
{
	int fds[2];

	if (o->console || o->console_in)
		return 0;
	if (!isatty(STDIN_FILENO))
		return duplicate(STDIN_FILENO, &c->console_in, err);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(err, -errno, "the console");
	c->console_in = fds[0];
	*ret_typed = fds[1];
	return 0;
}

int run_configure(const struct run_opts *o, struct vm_config *c, int *ret_typed,
		  struct err *err)
{
	const int create = O_WRONLY | O_CREAT | O_TRUNC;
	int r = check(o, c, err);

	if (r == 0)
		r = set_values(o, c, err);
	if (r == 0)
		r = set_file("--console", o->console, create, &c->console_out, err);
	if (r == 0 && !o->console)
		r = duplicate(STDOUT_FILENO, &c->console_out, err);
	if (r == 0)
		r = set_file("--console-in", o->console_in, O_RDONLY, &c->console_in,
			     err);
	if (r == 0)
		r = set_file("--log", o->log, create, &c->log, err);
	if (r == 0 && o->ramdump) {
		c->ramdump = file_open_private("--ramdump", o->ramdump, err);
		r = c->ramdump < 0 ? c->ramdump : 0;
	}
	if (r == 0 && o->tap) {
		c->tap = file_is_inherited(o->tap) ? tap_inherit(o->tap, err)
						   : tap_open(o->tap, err);
		r = c->tap < 0 ? c->tap : 0;
	}
	return r < 0 ? r : set_input(o, c, ret_typed, err);
}
