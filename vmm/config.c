/* The command line of "vmm run"; see config.h. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/terminal.h"
#include "devices/list.h"
#include "devices/uart.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/list.h"
#include "vmm/arch.h"
#include "vmm/config_json.h"

#define MAX_CPUS 64

/*
 * Options of crosvm's that turn off what this machine never has, or ask for what it
 * always does. (It forks before there is guest memory.)
 */
static const char *const absent[] = { "no-usb",		 "no-pmu",
				      "no-smt",		 "no-legacy-bios",
				      "extended-status", "unmap-guest-memory-on-fork" };

/* crosvm's older options for disks; ro and root override what their values say. */
static const struct disk_alias {
	const char *name;
	char letter;
	const char *ro, *root;
} disk_aliases[] = {
	{ "root", 'r', "true", "true" },
	{ "rwroot", '\0', "false", "true" },
	{ "disk", 'd', "true", "false" },
	{ "rwdisk", '\0', "false", "false" },
};

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

struct config_device *config_add_device(struct config *cfg,
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

static void free_device(struct config_device *d)
{
	if (d->cfg)
		opt_free(d->class->opts, d->cfg);
	free(d->cfg);
}

static void drop_devices(struct config *cfg, const struct dev_class *class)
{
	size_t n = 0;

	for (size_t i = 0; i < cfg->n_devices; i++) {
		if (cfg->devices[i].class == class)
			free_device(&cfg->devices[i]);
		else
			cfg->devices[n++] = cfg->devices[i];
	}
	cfg->n_devices = n;
}

/* What one source of options, a file or the command line, has said. */
struct source {
	struct opt_seen seen;
	uint64_t on; /* classes given, by rank */
	uint64_t off; /* classes turned off by --no-NAME */
	bool kernel;
};

struct parser {
	struct config *cfg;
	char **args; /* what is still to be read, ended by NULL */
	struct source said;
	struct source file; /* what the file said, which @said goes before */
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

/* A device of this class, as its value says; NULL: it has none. */
static int parse_device(struct parser *p, const struct dev_class *class,
			const char *value, struct config_device **ret_dev,
			struct err *err)
{
	uint64_t bit = 1ull << rank_of(class);
	struct config_device *dev;
	int r;

	if (!(class->flags & DEV_REPEAT)) {
		if (p->said.on & bit)
			return err_set(err, -EINVAL, "--%s: given twice", class->name);
		drop_devices(p->cfg, class);
	}
	p->said.on |= bit;
	dev = config_add_device(p->cfg, class, err);
	if (!dev)
		return -ENOMEM;
	*ret_dev = dev;
	if (!value)
		return 0;
	if (!class->opts)
		return err_set(err, -EINVAL, "--%s: takes no value", class->name);
	r = opt_parse(class->opts, value, dev->cfg, err);
	return r < 0 ? err_prefix(err, r, "--%s", class->name) : 0;
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
	return r < 0 ? r : parse_device(p, class, value, &dev, err);
}

static int parse_disk(struct parser *p, const struct disk_alias *alias,
		      const char *inlined, struct err *err)
{
	const struct opt *opts = virtio_blk_class.opts;
	struct opt_seen seen = { 0 };
	struct config_device *dev = NULL;
	const char *value = NULL;
	int r = take_value(p, alias->name, inlined, &value, err);

	if (r == 0)
		r = parse_device(p, &virtio_blk_class, value, &dev, err);
	if (r < 0)
		return r;
	assert(dev);
	r = opt_set(opts, opt_find(opts, "ro", 2), alias->ro, dev->cfg, &seen, err);
	if (r == 0)
		r = opt_set(opts, opt_find(opts, "root", 4), alias->root, dev->cfg,
			    &seen, err);
	return r;
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
	r = opt_set(config_opts, o, value, p->cfg, &p->said.seen, &why);
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
			p->said.off |= 1ull << rank_of(class);
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(disk_aliases); i++)
		if (strlen(disk_aliases[i].name) == len &&
		    !memcmp(disk_aliases[i].name, name, len))
			return parse_disk(p, &disk_aliases[i], inlined, err);
	if (is_absent(name, len) && !inlined)
		return 0;
	if (config_is_refused(name, len))
		return err_set(err, -EINVAL, "%.*s: not supported by this VMM",
			       (int)len + 2, arg);
	return err_set(err, -EINVAL, "%.*s: unknown option", (int)len + 2, arg);
}

static int parse_short(struct parser *p, const char *arg, struct err *err)
{
	const char *inlined = arg[2] ? arg + 2 + (arg[2] == '=') : NULL;

	if (arg[1] == 'h' && !inlined)
		return -ECANCELED;
	for (const struct opt *o = config_opts; o->key; o++)
		if (o->letter && o->letter == arg[1])
			return parse_opt(p, o, inlined, err);
	for (size_t i = 0; i < ARRAY_SIZE(disk_aliases); i++)
		if (disk_aliases[i].letter == arg[1])
			return parse_disk(p, &disk_aliases[i], inlined, err);
	return err_set(err, -EINVAL, "-%c: unknown option", arg[1]);
}

static int set_kernel(struct parser *p, const char *path, struct err *err)
{
	if (p->said.kernel)
		return err_set(err, -EINVAL, "%s: a second kernel, after %s", path,
			       p->cfg->kernel);
	p->said.kernel = true;
	free(p->cfg->kernel);
	p->cfg->kernel = strdup(path);
	return p->cfg->kernel ? 0 : err_sys(err, -ENOMEM, "kernel");
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
		} else {
			r = set_kernel(p, arg, err);
		}
		if (r < 0 && ret == 0) {
			ret = r;
			err = &later;
		}
	}
	return ret;
}

/* An option of a file: true is --KEY, false is what says no to it. */
static int parse_json_option(void *arg, const char *key, const char *text, bool yes,
			     struct err *err)
{
	const struct opt *o = opt_find(config_opts, key, strlen(key));
	const struct dev_class *class = class_named(key, strlen(key));
	AUTO_FREE char *option = NULL;
	struct parser *p = arg;
	int r;

	if (!strcmp(key, "kernel") && text)
		return set_kernel(p, text, err);
	if (!strcmp(key, "help") || !strcmp(key, "config"))
		return err_set(err, -EINVAL, "--%s: not in a file", key);
	if (text || (o && o->type == OPT_BOOL))
		r = asprintf(&option, "--%s=%s", key, text ?: yes ? "true" : "false");
	else if (yes)
		r = asprintf(&option, "--%s", key);
	else if (class && (class->flags & DEV_DEFAULT))
		r = asprintf(&option, "--no-%s", key);
	else if (class && (class->flags & DEV_BARE))
		return 0; /* a machine has it only if asked */
	else
		return err_set(err, -EINVAL, "--%s: cannot be false", key);
	if (r < 0) {
		option = NULL;
		return err_sys(err, -ENOMEM, "--%s", key);
	}
	return parse_long(p, option, err);
}

/* --- what all of it means ------------------------------------------------ */

/* The disk that the kernel mounts as /; @ret_n: which of them. NULL: none. */
static const struct virtio_blk_cfg *root_disk(const struct config *cfg, unsigned skip,
					      unsigned *ret_n)
{
	unsigned n = 0;

	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct virtio_blk_cfg *blk = cfg->devices[i].cfg;

		if (cfg->devices[i].class != &virtio_blk_class)
			continue;
		assert(blk);
		*ret_n = n++;
		if (blk->root && skip-- == 0)
			return blk;
	}
	return NULL;
}

static int check_root(const struct config *cfg, struct err *err)
{
	unsigned n;

	if (root_disk(cfg, 1, &n))
		return err_set(err, -EINVAL, "--block: root is given twice");
	if (cfg->firmware_compat && root_disk(cfg, 0, &n))
		return err_set(err, -EINVAL,
			       "--block: root contradicts --firmware-compat");
	return 0;
}

/* Whether the file or the command line gave an option of config_opts. */
static bool given(const struct parser *p, const char *key)
{
	size_t row = (size_t)(opt_find(config_opts, key, strlen(key)) - config_opts);

	return (p->said.seen.bits | p->file.seen.bits) >> row & 1;
}

/* "^X", or "none". */
static int finish_escape(struct config *cfg, struct err *err)
{
	const char *s = cfg->escape;
	char c;

	cfg->escape_key = ESCAPE_CTRL_A;
	if (!s)
		return 0;
	cfg->escape_key = 0;
	if (!strcmp(s, "none"))
		return 0;
	c = s[0] == '^' && s[1] && !s[2] ? s[1] : '\0';
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	if (c < 'A' || c > '_')
		return err_set(err, -EINVAL,
			       "--escape: \"%s\" is neither ^A to ^_ nor none", s);
	cfg->escape_key = (uint8_t)(c & 0x1f);
	return 0;
}

/* What is all digits is a port: a socket of that name takes a "./". */
static int finish_gdb(struct config *cfg, struct err *err)
{
	const char *s = cfg->gdb;
	uint64_t port;

	if (!s || s[strspn(s, "0123456789")])
		return 0;
	if (opt_number(s, &port) < 0 || port < 1 || port > UINT16_MAX)
		return err_set(err, -EINVAL, "--gdb: %s is not a port, 1 to %d", s,
			       UINT16_MAX);
	cfg->gdb_port = (uint16_t)port;
	return 0;
}

static int check_keep_fds(const struct config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->keep_fds.n; i++) {
		const char *s = cfg->keep_fds.v[i];

		if (!*s || s[strspn(s, "0123456789")] || strlen(s) > 10)
			return err_set(err, -EINVAL,
				       "--keep-fd: \"%s\" is not a descriptor's number",
				       s);
	}
	return 0;
}

int config_rollback_indices(const struct bios_key_cfg *c,
			    uint64_t ret_indices[BOOT_MAX_CHAINED], struct err *err)
{
	const char *text = c->rollback_indices;
	size_t at = 1;

	memset(ret_indices, 0, BOOT_MAX_CHAINED * sizeof(*ret_indices));
	if (!text)
		return 0;
	for (unsigned i = 0; i < BOOT_MAX_CHAINED && text[0] == '['; i++) {
		size_t len = strcspn(text + at, ",]");
		char number[24] = "";

		if (len < sizeof(number))
			memcpy(number, text + at, len);
		if (opt_number(number, &ret_indices[i]) < 0)
			break;
		at += len;
		if (!strcmp(text + at, "]"))
			return 0;
		if (text[at++] != ',')
			break;
	}
	return err_set(err, -EINVAL,
		       "--bios-key: rollback-indices: \"%s\" is not [N,...], at most %d"
		       " numbers",
		       text, BOOT_MAX_CHAINED);
}

static int finish_options(const struct parser *p, struct err *err)
{
	struct config *cfg = p->cfg;
	uint64_t indices[BOOT_MAX_CHAINED];
	long n;
	int r;

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
	r = config_rollback_indices(&cfg->bios_key, indices, err);
	if (r < 0)
		return r;
	if (cfg->firmware_compat && !cfg->bios)
		return err_set(err, -EINVAL, "--firmware-compat: needs --bios");
	if (cfg->firmware_compat && (cfg->bios_key.path || cfg->bios_key.unlocked))
		return err_set(err, -EINVAL,
			       "--firmware-compat: contradicts --bios-key, since PC"
			       " firmware verifies nothing");
	if (cfg->firmware_compat && cfg->params.n)
		return err_set(err, -EINVAL,
			       "--firmware-compat: contradicts --params, which PC"
			       " firmware does not pass on");
	if (cfg->suspended && !cfg->socket)
		return err_set(err, -EINVAL, "--suspended: needs --socket");
	if (cfg->disable_sandbox && cfg->require_sandbox)
		return err_set(err, -EINVAL,
			       "--require-sandbox: contradicts --disable-sandbox");
	cfg->log_level = LOG_LEVEL_INFO;
	if (cfg->log_filter) {
		r = log_parse_filter(cfg->log_filter, &cfg->log_level, err);
		if (r < 0)
			return err_prefix(err, r, "--log-level");
	}
	if (cfg->host_cpu_topology) {
		if (given(p, "cpus"))
			return err_set(err, -EINVAL,
				       "--host-cpu-topology: contradicts --cpus");
		n = sysconf(_SC_NPROCESSORS_ONLN);
		cfg->cpus.num_cores = n < 1 ? 1 : n > MAX_CPUS ? MAX_CPUS : (uint64_t)n;
	}
	r = finish_gdb(cfg, err);
	return r < 0 ? r : finish_escape(cfg, err);
}

static int finish_classes(struct parser *p, struct err *err)
{
	struct config *cfg = p->cfg;

	for (size_t i = 0; config_classes[i]; i++) {
		const struct dev_class *c = config_classes[i];
		uint64_t bit = 1ull << i;
		bool wanted = c->flags & DEV_ALWAYS;

		if (p->said.off & p->said.on & bit)
			return err_set(err, -EINVAL, "--no-%s: contradicts --%s",
				       c->name, c->name);
		if (p->said.off & bit)
			drop_devices(cfg, c);
		if (c->flags & DEV_DEFAULT)
			wanted = !((p->said.off | p->file.off) & bit);
		if (wanted && count(cfg, c) == 0 && !config_add_device(cfg, c, err))
			return -ENOMEM;
	}
	return 0;
}

static int finish(struct parser *p, struct err *err)
{
	int r = finish_options(p, err);

	if (r == 0)
		r = finish_classes(p, err);
	if (r == 0)
		r = check_keep_fds(p->cfg, err);
	if (r == 0)
		r = config_finish_serials(p->cfg, err);
	return r < 0 ? r : check_root(p->cfg, err);
}

/* What the file and what the command line say must each make sense by itself. */
static int end_of_file(struct parser *p, struct err *err)
{
	for (size_t i = 0; config_classes[i]; i++)
		if (p->said.on & p->said.off & 1ull << i)
			return err_set(err, -EINVAL, "%s: contradicts no-%s",
				       config_classes[i]->name,
				       config_classes[i]->name);
	p->file = p->said;
	p->said = (struct source){ 0 };
	return 0;
}

/* The command line once more, over what its file says. */
static int parse_with_file(struct parser *p, char **args, struct err *err)
{
	AUTO_FREE char *path = TAKE_PTR(p->cfg->config_file);
	int r;

	config_free(p->cfg);
	opt_defaults(config_opts, p->cfg);
	p->said = (struct source){ 0 };
	r = config_json_load(path, parse_json_option, p, err);
	if (r == 0)
		r = end_of_file(p, err);
	p->args = args;
	return r < 0 ? r : parse_args(p, err);
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

static int finish_all(struct parser *p, struct err *err)
{
	int r = finish(p, err);

	if (r == 0)
		r = check_devices(p->cfg, err);
	return r < 0 ? r : check_memory(p->cfg, err);
}

int config_parse(struct config *cfg, char **args, struct err *err)
{
	struct parser p = { .cfg = cfg, .args = args };
	int r;

	opt_defaults(config_opts, cfg);
	r = parse_args(&p, err);
	if (r == 0 && cfg->config_file)
		r = parse_with_file(&p, args, err);
	return r < 0 ? r : finish_all(&p, err);
}

int config_parse_json(struct config *cfg, const char *what, const char *text,
		      size_t len, struct err *err)
{
	struct parser p = { .cfg = cfg, .args = (char *[]){ NULL } };
	int r;

	opt_defaults(config_opts, cfg);
	r = config_json_parse(what, text, len, parse_json_option, &p, err);
	return r < 0 ? r : finish_all(&p, err);
}

void config_free(struct config *cfg)
{
	for (size_t i = 0; i < cfg->n_devices; i++)
		free_device(&cfg->devices[i]);
	free(cfg->devices);
	free(cfg->kernel);
	opt_free(config_opts, cfg);
	*cfg = (struct config){ 0 };
}

/* --- output -------------------------------------------------------------- */

int config_cmdline(const struct config *cfg, char **ret_cmdline, struct err *err)
{
	const struct virtio_blk_cfg *root;
	AUTO_FREE char *text = NULL;
	unsigned n = 0;
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
	root = root_disk(cfg, 0, &n);
	if (root)
		fprintf(f, " root=/dev/vd%s%c %s", n < 26 ? "" : "a", 'a' + (int)n % 26,
			root->read_only ? "ro" : "rw");
	for (size_t i = 0; i < cfg->params.n; i++)
		fprintf(f, " %s", cfg->params.v[i]);
	if (fclose(f) != 0 || !text)
		return err_sys(err, -ENOMEM, "kernel command line");
	*ret_cmdline = TAKE_PTR(text);
	return 0;
}
