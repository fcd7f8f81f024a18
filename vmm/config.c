/* The command line of "vmm run"; see config.h. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "devices/chardev.h"
#include "devices/list.h"
#include "devices/uart.h"
#include "virtio/list.h"
#include "vmm/arch.h"

static const char *const log_levels[] = { "error", "warn", "info", "debug", NULL };

static const struct opt cpus_opts[] = {
	{ .key = "num-cores",
	  .type = OPT_U64,
	  .flags = OPT_FIRST,
	  .min = 1,
	  .max = 64,
	  .def = 1,
	  .arg = "N",
	  .help = "how many" },
	{ 0 },
};

static const struct opt mem_opts[] = {
	{ .key = "size",
	  .type = OPT_U64,
	  .flags = OPT_FIRST,
	  .min = 1,
	  .max = UINT64_MAX >> 20,
	  .def = 256,
	  .arg = "MIB",
	  .help = "how much" },
	{ 0 },
};

static const struct opt run_opts[] = {
	{ .key = "initrd",
	  .letter = 'i',
	  .type = OPT_STR,
	  .arg = "FILE",
	  .offset = offsetof(struct config, initrd),
	  .help = "initial RAM disk" },
	{ .key = "params",
	  .letter = 'p',
	  .type = OPT_LIST,
	  .arg = "TEXT",
	  .offset = offsetof(struct config, params),
	  .help = "add to the kernel command line; may be repeated" },
	{ .key = "cpus",
	  .letter = 'c',
	  .type = OPT_GROUP,
	  .sub = cpus_opts,
	  .arg = "N",
	  .offset = offsetof(struct config, cpus),
	  .help = "virtual CPUs, 1 to 64" },
	{ .key = "mem",
	  .letter = 'm',
	  .type = OPT_GROUP,
	  .sub = mem_opts,
	  .arg = "MIB",
	  .offset = offsetof(struct config, mem),
	  .help = "memory in MiB; taken from the host as the guest touches it" },
	{ .key = "name",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, name),
	  .arg = "NAME",
	  .help = "the VM's name, shown in messages" },
	{ .key = "log-level",
	  .type = OPT_ENUM,
	  .names = log_levels,
	  .def = LOG_LEVEL_INFO,
	  .offset = offsetof(struct config, log_level),
	  .arg = "LEVEL",
	  .help = "how much to say on stderr" },
	{ .key = "timeout",
	  .type = OPT_U64,
	  .min = 1,
	  .max = 1ull << 32,
	  .offset = offsetof(struct config, timeout),
	  .arg = "SECONDS",
	  .help = "end the VM after that time, with status 37" },
	{ .key = "disable-sandbox",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, disable_sandbox),
	  .help = "run without namespaces, Landlock and seccomp" },
	{ .key = "require-sandbox",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, require_sandbox),
	  .help = "fail when the host forbids namespaces, instead of a warning" },
	{ 0 },
};

static const char *const serial_types[] = { [CHARDEV_SINK] = "sink",
					    [CHARDEV_STDOUT] = "stdout",
					    [CHARDEV_FILE] = "file",
					    NULL };
static const char *const serial_hardware[] = {
	[SERIAL_UART] = "serial", [SERIAL_VIRTIO] = "virtio-console", NULL
};

static const struct opt serial_opts[] = {
	{ .key = "type",
	  .type = OPT_ENUM,
	  .flags = OPT_FIRST,
	  .names = serial_types,
	  .def = CHARDEV_STDOUT,
	  .offset = offsetof(struct serial_cfg, type),
	  .arg = "TYPE",
	  .help = "where output goes" },
	{ .key = "hardware",
	  .type = OPT_ENUM,
	  .names = serial_hardware,
	  .def = SERIAL_UART,
	  .offset = offsetof(struct serial_cfg, hardware),
	  .arg = "KIND",
	  .help = "the device: a 16550A UART, or hvc0 and up" },
	{ .key = "num",
	  .type = OPT_U64,
	  .min = 1,
	  .max = 4,
	  .def = 1,
	  .offset = offsetof(struct serial_cfg, num),
	  .arg = "N",
	  .help = "which of its kind: 1 is ttyS0, or hvc0" },
	{ .key = "path",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, path),
	  .arg = "FILE",
	  .help = "for type=file: appended to, created when missing" },
	{ .key = "input",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, input),
	  .arg = "FILE",
	  .help = "read input from a file" },
	{ .key = "stdin",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, use_stdin),
	  .help = "read input from stdin" },
	{ .key = "console",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, console),
	  .help = "make it a console of the guest's kernel" },
	{ .key = "earlycon",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, earlycon),
	  .help = "let the kernel use it before its drivers run; UARTs only" },
	{ .key = "name",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, name),
	  .arg = "NAME",
	  .help = "its name in messages" },
	{ 0 },
};

const struct dev_class serial_option = {
	.name = "serial",
	.help = "a serial port or console; ttyS0 on stdin and stdout when none is a console",
	.flags = DEV_REPEAT,
	.opts = serial_opts,
	.cfg_size = sizeof(struct serial_cfg),
};

#define DEVICE_CLASS(c) &c,
static const struct dev_class *const classes[] = {
	&serial_option,
#include "devices/list.h"
#include "virtio/list.h"
	NULL,
};
#undef DEVICE_CLASS

const struct dev_class *const *config_classes(void)
{
	return classes;
}

/* Options of crosvm's that turn off what this machine never has. */
static const char *const absent[] = { "no-usb", "no-balloon",	  "no-pmu",
				      "no-smt", "no-legacy-bios", "extended-status" };

/* --- parsing ------------------------------------------------------------- */

static const struct dev_class *class_named(const char *name, size_t len)
{
	for (size_t i = 0; classes[i]; i++) {
		const struct dev_class *c = classes[i];

		if (c->opts || (c->flags & (DEV_DEFAULT | DEV_BARE)))
			if (strlen(c->name) == len && !memcmp(c->name, name, len))
				return c;
	}
	return NULL;
}

/* The place of a class in the order of making. */
static size_t rank_of(const struct dev_class *class)
{
	size_t i;

	for (i = 0; classes[i] != class; i++)
		;
	return i;
}

static bool is_absent(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (strlen(absent[i]) == len && !memcmp(absent[i], name, len))
			return true;
	return false;
}

static size_t count(const struct config *cfg, const struct dev_class *class)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_devices; i++)
		n += cfg->devices[i].class == class;
	return n;
}

/* Add an instance with its defaults, behind those of the same or earlier classes. */
static int add_device(struct config *cfg, const struct dev_class *class,
		      struct config_device **ret_dev, struct err *err)
{
	struct config_device *grown, new = { .class = class };
	size_t at;

	grown = reallocarray(cfg->devices, cfg->n_devices + 1, sizeof(*grown));
	if (!grown)
		return err_sys(err, -ENOMEM, "--%s", class->name);
	cfg->devices = grown;
	if (class->cfg_size) {
		new.cfg = calloc(1, class->cfg_size);
		if (!new.cfg)
			return err_sys(err, -ENOMEM, "--%s", class->name);
		opt_defaults(class->opts, new.cfg);
	}
	for (at = 0; at < cfg->n_devices; at++)
		if (rank_of(grown[at].class) > rank_of(class))
			break;
	memmove(&grown[at + 1], &grown[at], (cfg->n_devices - at) * sizeof(*grown));
	grown[at] = new;
	cfg->n_devices++;
	*ret_dev = &grown[at];
	return 0;
}

struct parser {
	struct config *cfg;
	char **args; /* what is still to be read, ended by NULL */
	struct opt_seen seen;
	uint64_t off; /* classes turned off by --no-NAME, by rank */
};

/* The value of an option: behind its '=', or the next argument. */
static int take_value(struct parser *p, const char *name, const char *inlined,
		      const char **ret_value, struct err *err)
{
	if (inlined) {
		*ret_value = inlined;
		return 0;
	}
	if (!*p->args)
		return err_set(err, -EINVAL, "--%s: needs a value", name);
	*ret_value = *p->args++;
	return 0;
}

/* A value that may be left out is taken when it begins like one: "key=". */
static const char *take_optional(struct parser *p, const struct opt *table,
				 const char *inlined)
{
	const char *next = *p->args;
	size_t len;

	if (inlined || !next || !table)
		return inlined;
	len = strcspn(next, "=");
	if (!next[len] || !opt_find(table, next, len))
		return NULL;
	p->args++;
	return next;
}

static int parse_class(struct parser *p, const struct dev_class *class,
		       const char *inlined, struct err *err)
{
	const char *value = NULL;
	struct config_device *dev;
	int r = 0;

	if (class->flags & (DEV_BARE | DEV_DEFAULT))
		value = take_optional(p, class->opts, inlined);
	else
		r = take_value(p, class->name, inlined, &value, err);
	if (r < 0)
		return r;
	if (!(class->flags & DEV_REPEAT) && count(p->cfg, class))
		return err_set(err, -EINVAL, "--%s: given twice", class->name);
	r = add_device(p->cfg, class, &dev, err);
	if (r || !value)
		return r;
	if (!class->opts)
		return err_set(err, -EINVAL, "--%s: takes no value", class->name);
	r = opt_parse(class->opts, value, dev->cfg, err);
	return r < 0 ? err_prefix(err, r, "--%s", class->name) : 0;
}

static int parse_opt(struct parser *p, const struct opt *o, const char *inlined,
		     struct err *err)
{
	const char *value = inlined;
	struct err why = { 0 };
	int r;

	if (!(o->flags & OPT_BARE)) {
		r = take_value(p, o->key, inlined, &value, err);
		if (r < 0)
			return r;
	}
	r = opt_set(run_opts, o, value, p->cfg, &p->seen, &why);
	return r < 0 ? err_set(err, r, "--%s", why.msg) : 0;
}

static int parse_long(struct parser *p, const char *arg, struct err *err)
{
	const char *name = arg + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const char *inlined = eq ? eq + 1 : NULL;
	const struct dev_class *class;
	const struct opt *o;

	if (len == 4 && !memcmp(name, "help", 4))
		return -ECANCELED;
	o = opt_find(run_opts, name, len);
	if (o)
		return parse_opt(p, o, inlined, err);
	class = class_named(name, len);
	if (class)
		return parse_class(p, class, inlined, err);
	if (len > 3 && !memcmp(name, "no-", 3)) {
		class = class_named(name + 3, len - 3);
		if (class && (class->flags & DEV_DEFAULT) && !inlined) {
			p->off |= 1ull << rank_of(class);
			return 0;
		}
	}
	if (is_absent(name, len) && !inlined)
		return 0;
	return err_set(err, -EINVAL, "%.*s: unknown or unsupported option",
		       (int)len + 2, arg);
}

static int parse_short(struct parser *p, const char *arg, struct err *err)
{
	const char *inlined = arg[2] ? arg + 2 + (arg[2] == '=') : NULL;

	if (arg[1] == 'h' && !inlined)
		return -ECANCELED;
	for (const struct opt *o = run_opts; o->key; o++)
		if (o->letter && o->letter == arg[1])
			return parse_opt(p, o, inlined, err);
	return err_set(err, -EINVAL, "-%c: unknown option", arg[1]);
}

static int parse_args(struct parser *p, struct err *err)
{
	bool options = true;
	int r = 0;

	while (r == 0 && *p->args) {
		const char *arg = *p->args++;

		if (options && !strcmp(arg, "--")) {
			options = false;
		} else if (options && arg[0] == '-' && arg[1] == '-') {
			r = parse_long(p, arg, err);
		} else if (options && arg[0] == '-' && arg[1]) {
			r = parse_short(p, arg, err);
		} else if (p->cfg->kernel) {
			r = err_set(err, -EINVAL, "%s: a second kernel, after %s", arg,
				    p->cfg->kernel);
		} else {
			p->cfg->kernel = strdup(arg);
			r = p->cfg->kernel ? 0 : err_sys(err, -ENOMEM, "kernel");
		}
	}
	return r;
}

/* --- serial ports -------------------------------------------------------- */

static int check_serial(const struct serial_cfg *s, struct err *err)
{
	const char *kind = serial_hardware[s->hardware];

	if (s->type == CHARDEV_FILE && !s->path)
		return err_set(err, -EINVAL, "--serial: type=file needs path=");
	if (s->type != CHARDEV_FILE && s->path)
		return err_set(err, -EINVAL, "--serial: path=%s needs type=file",
			       s->path);
	if (s->input && s->use_stdin)
		return err_set(err, -EINVAL,
			       "--serial: %s %" PRIu64 " has both stdin and input=%s",
			       kind, s->num, s->input);
	if (s->earlycon && s->hardware != SERIAL_UART)
		return err_set(err, -EINVAL,
			       "--serial: %s %" PRIu64 " cannot be earlycon", kind,
			       s->num);
	return 0;
}

/* Each port once, stdin once; without a console ttyS0 becomes one. */
static int finish_serials(struct config *cfg, struct err *err)
{
	bool have_console = false, have_com1 = false, have_stdin = false;
	bool seen[2][5] = { 0 };
	struct config_device *dev;
	int r;

	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct serial_cfg *s = cfg->devices[i].cfg;

		if (cfg->devices[i].class != &serial_option)
			continue;
		assert(s);
		r = check_serial(s, err);
		if (r < 0)
			return r;
		if (seen[s->hardware][s->num])
			return err_set(err, -EINVAL,
				       "--serial: %s %" PRIu64 " is given twice",
				       serial_hardware[s->hardware], s->num);
		seen[s->hardware][s->num] = true;
		if (s->use_stdin && have_stdin)
			return err_set(err, -EINVAL, "--serial: stdin is given twice");
		have_stdin |= s->use_stdin;
		have_console |= s->console;
	}
	have_com1 = seen[SERIAL_UART][1];
	if (have_console || have_com1)
		return 0;
	r = add_device(cfg, &serial_option, &dev, err);
	if (r)
		return r;
	((struct serial_cfg *)dev->cfg)->console = true;
	((struct serial_cfg *)dev->cfg)->use_stdin = !have_stdin;
	return 0;
}

static int finish(struct parser *p, struct err *err)
{
	struct config *cfg = p->cfg;
	struct config_device *dev;
	int r;

	if (!cfg->kernel)
		return err_set(err, -EINVAL, "no kernel given");
	if (cfg->disable_sandbox && cfg->require_sandbox)
		return err_set(err, -EINVAL,
			       "--require-sandbox: contradicts --disable-sandbox");
	for (size_t i = 0; classes[i]; i++) {
		const struct dev_class *c = classes[i];
		bool wanted = c->flags & DEV_ALWAYS;

		if (c->flags & DEV_DEFAULT)
			wanted = !(p->off & 1ull << i);
		if (p->off & 1ull << i && count(cfg, c))
			return err_set(err, -EINVAL, "--no-%s: contradicts --%s",
				       c->name, c->name);
		if (!wanted || count(cfg, c))
			continue;
		r = add_device(cfg, c, &dev, err);
		if (r < 0)
			return r;
	}
	return finish_serials(cfg, err);
}

int config_parse(struct config *cfg, char **args, struct err *err)
{
	struct parser p = { .cfg = cfg, .args = args };
	int r;

	opt_defaults(run_opts, cfg);
	r = parse_args(&p, err);
	return r < 0 ? r : finish(&p, err);
}

void config_free(struct config *cfg)
{
	for (size_t i = 0; i < cfg->n_devices; i++) {
		if (cfg->devices[i].cfg)
			opt_free(cfg->devices[i].class->opts, cfg->devices[i].cfg);
		free(cfg->devices[i].cfg);
	}
	free(cfg->devices);
	free(cfg->kernel);
	opt_free(run_opts, cfg);
	*cfg = (struct config){ 0 };
}

/* --- output -------------------------------------------------------------- */

void config_help(FILE *out)
{
	fprintf(out,
		"Usage: vmm run [OPTION]... KERNEL\n"
		"Boot KERNEL, a bzImage or an ELF vmlinux, in a VM.\n\n"
		"A file may be given as /proc/self/fd/N: the descriptor N that vmm inherits.\n\n");
	opt_help_options(run_opts, out, 2);
	for (size_t i = 0; classes[i]; i++) {
		const struct dev_class *c = classes[i];

		if (!class_named(c->name, strlen(c->name)))
			continue;
		fprintf(out, "\n  --%s%s", c->flags & DEV_DEFAULT ? "no-" : "",
			c->name);
		if (c->flags & DEV_BARE)
			fprintf(out, "[=KEY=VALUE,...]");
		else if (c->opts && (c->opts->flags & OPT_FIRST))
			fprintf(out, " %s[,KEY=VALUE]...", c->opts->arg ?: "TYPE");
		else if (c->opts)
			fprintf(out, " KEY=VALUE,...");
		fprintf(out, "\n      %s%s\n", c->flags & DEV_DEFAULT ? "without " : "",
			c->help);
		if (c->flags & DEV_REPEAT)
			fprintf(out, "      may be repeated\n");
		if (c->opts)
			opt_help(c->opts, out, 6);
	}
	fprintf(out,
		"\nExit status: 0 the guest powered off (or vmm was told to stop), 1 error,\n"
		"32 reset, 33 crash, 35 bad arguments, 37 time limit, 64 + N debug exit.\n");
}

int config_cmdline(const struct config *cfg, char **ret_cmdline, struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return err_sys(err, -ENOMEM, "kernel command line");
	fprintf(f, "panic=-1");
	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct serial_cfg *s = cfg->devices[i].cfg;

		if (cfg->devices[i].class != &serial_option)
			continue;
		if (s->console)
			fprintf(f, " console=%s%" PRIu64,
				s->hardware == SERIAL_UART ? "ttyS" : "hvc",
				s->num - 1);
		if (s->earlycon)
			fprintf(f, " earlycon=" ARCH_SERIAL_EARLYCON,
				uart_port((unsigned)s->num));
	}
	for (size_t i = 0; i < cfg->params.n; i++)
		fprintf(f, " %s", cfg->params.v[i]);
	if (fclose(f) != 0)
		return err_sys(err, -ENOMEM, "kernel command line");
	*ret_cmdline = TAKE_PTR(text);
	return 0;
}
