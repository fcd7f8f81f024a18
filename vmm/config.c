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
#include "virtio/balloon.h"
#include "virtio/list.h"
#include "vmm/arch.h"

/* Options of crosvm's that turn off what this machine never has. */
static const char *const absent[] = { "no-usb", "no-pmu", "no-smt", "no-legacy-bios",
				      "extended-status" };

/* --- parsing ------------------------------------------------------------- */

static bool is_name(const char *want, const char *name, size_t len)
{
	return strlen(want) == len && !memcmp(want, name, len);
}

static const struct dev_class *class_named(const char *name, size_t len)
{
	/* crosvm's older spelling. */
	if (is_name("cid", name, len))
		return &virtio_vsock_class;
	for (size_t i = 0; config_classes[i]; i++) {
		const struct dev_class *c = config_classes[i];

		if (config_class_has_option(c) && is_name(c->name, name, len))
			return c;
	}
	return NULL;
}

/* The place of a class in the order of making. */
static size_t rank_of(const struct dev_class *class)
{
	size_t i;

	for (i = 0; config_classes[i] != class; i++)
		;
	return i;
}

static bool is_absent(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (is_name(absent[i], name, len))
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
static struct config_device *add_device(struct config *cfg,
					const struct dev_class *class, struct err *err)
{
	struct config_device *grown, new = { .class = class };
	size_t at;

	grown = reallocarray(cfg->devices, cfg->n_devices + 1, sizeof(*grown));
	if (!grown)
		goto fail;
	cfg->devices = grown;
	if (class->cfg_size) {
		new.cfg = calloc(1, class->cfg_size);
		if (!new.cfg)
			goto fail;
		opt_defaults(class->opts, new.cfg);
	}
	for (at = 0; at < cfg->n_devices; at++)
		if (rank_of(grown[at].class) > rank_of(class))
			break;
	memmove(&grown[at + 1], &grown[at], (cfg->n_devices - at) * sizeof(*grown));
	grown[at] = new;
	cfg->n_devices++;
	return &grown[at];
fail:
	err_sys(err, -ENOMEM, "--%s", class->name);
	return NULL;
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
	dev = add_device(p->cfg, class, err);
	if (!dev)
		return -ENOMEM;
	if (!value)
		return 0;
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
	r = opt_set(config_opts, o, value, p->cfg, &p->seen, &why);
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
	o = opt_find(config_opts, name, len);
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
	for (const struct opt *o = config_opts; o->key; o++)
		if (o->letter && o->letter == arg[1])
			return parse_opt(p, o, inlined, err);
	return err_set(err, -EINVAL, "-%c: unknown option", arg[1]);
}

static int parse_args(struct parser *p, struct err *err)
{
	struct err later;
	bool options = true;
	int ret = 0;

	/* To the end even after an error: --status-fd may come behind it. */
	while (*p->args && ret != -ECANCELED) {
		const char *arg = *p->args++;
		int r = 0;

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
		if (r < 0 && ret == 0) {
			ret = r;
			err = &later;
		}
	}
	return ret;
}

/* --- serial ports -------------------------------------------------------- */

static int check_serial(const struct serial_cfg *s, struct err *err)
{
	const char *kind = config_serial_hardware[s->hardware];

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
	struct serial_cfg *com1;
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
				       config_serial_hardware[s->hardware], s->num);
		seen[s->hardware][s->num] = true;
		if (s->use_stdin && have_stdin)
			return err_set(err, -EINVAL, "--serial: stdin is given twice");
		have_stdin |= s->use_stdin;
		have_console |= s->console;
	}
	/* Guests count them from hvc0 up, without gaps. */
	for (unsigned n = 2; n < ARRAY_SIZE(seen[0]); n++)
		if (seen[SERIAL_VIRTIO][n] && !seen[SERIAL_VIRTIO][n - 1])
			return err_set(err, -EINVAL,
				       "--serial: virtio-console %u without number %u",
				       n, n - 1);
	have_com1 = seen[SERIAL_UART][1];
	if (have_console || have_com1)
		return 0;
	dev = add_device(cfg, &serial_option, err);
	if (!dev)
		return -ENOMEM;
	com1 = dev->cfg;
	assert(com1);
	com1->console = true;
	com1->use_stdin = !have_stdin;
	return 0;
}

static int finish(struct parser *p, struct err *err)
{
	struct config *cfg = p->cfg;

	if (!cfg->kernel && !cfg->bios)
		return err_set(err, -EINVAL, "no kernel given");
	if (cfg->bios && cfg->kernel)
		return err_set(err, -EINVAL, "--bios: contradicts the kernel %s",
			       cfg->kernel);
	if (cfg->bios && cfg->initrd)
		return err_set(err, -EINVAL,
			       "--bios: contradicts --initrd, which needs a kernel");
	if (!cfg->bios && (cfg->bios_key.path || cfg->bios_key.unlocked))
		return err_set(err, -EINVAL, "--bios-key: needs --bios");
	if (cfg->suspended && !cfg->socket)
		return err_set(err, -EINVAL, "--suspended: needs --socket");
	if (cfg->disable_sandbox && cfg->require_sandbox)
		return err_set(err, -EINVAL,
			       "--require-sandbox: contradicts --disable-sandbox");
	for (size_t i = 0; config_classes[i]; i++) {
		const struct dev_class *c = config_classes[i];
		bool wanted = c->flags & DEV_ALWAYS;

		if (c->flags & DEV_DEFAULT)
			wanted = !(p->off & 1ull << i);
		if (p->off & 1ull << i && count(cfg, c))
			return err_set(err, -EINVAL, "--no-%s: contradicts --%s",
				       c->name, c->name);
		if (!wanted || count(cfg, c))
			continue;
		if (!add_device(cfg, c, err))
			return -ENOMEM;
	}
	return finish_serials(cfg, err);
}

static int check_devices(const struct config *cfg, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < cfg->n_devices; i++) {
		const struct dev_class *c = cfg->devices[i].class;

		if (c->check)
			r = c->check(cfg->devices[i].cfg, err);
		if (r < 0)
			err_prefix(err, r, "--%s", c->name);
	}
	return r;
}

static int check_memory(const struct config *cfg, struct err *err)
{
	if (cfg->hugepages && cfg->mem.hugetlb)
		return err_set(err, -EINVAL, "--hugepages: contradicts --mem hugetlb");
	if (cfg->init_mem > cfg->mem.size)
		return err_set(err, -EINVAL,
			       "--init-mem: %" PRIu64 " MiB are more than the %" PRIu64
			       " MiB of --mem",
			       cfg->init_mem, cfg->mem.size);
	if (!count(cfg, &virtio_balloon_class) &&
	    (cfg->init_mem || cfg->balloon_page_reporting))
		return err_set(err, -EINVAL, "--no-balloon: contradicts --%s",
			       cfg->init_mem ? "init-mem" : "balloon-page-reporting");
	return 0;
}

int config_parse(struct config *cfg, char **args, struct err *err)
{
	struct parser p = { .cfg = cfg, .args = args };
	int r;

	opt_defaults(config_opts, cfg);
	r = parse_args(&p, err);
	if (r == 0)
		r = finish(&p, err);
	if (r == 0)
		r = check_devices(cfg, err);
	return r < 0 ? r : check_memory(cfg, err);
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
	opt_free(config_opts, cfg);
	*cfg = (struct config){ 0 };
}

/* --- output -------------------------------------------------------------- */

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
	if (fclose(f) != 0 || !text)
		return err_sys(err, -ENOMEM, "kernel command line");
	*ret_cmdline = TAKE_PTR(text);
	return 0;
}
