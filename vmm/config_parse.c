/* Reading the command line of "vmm run", and files of --config; see config.h. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "devices/list.h"
#include "virtio/blk.h"
#include "virtio/list.h"
#include "vmm/config_json.h"

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

static bool is_absent(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (is_name(absent[i], name, len))
			return true;
	return false;
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
	uint64_t bit = 1ull << config_rank(class);
	struct config_device *dev;
	int r;

	if (!(class->flags & DEV_REPEAT)) {
		if (p->said.on & bit)
			return err_set(err, -EINVAL, "--%s: given twice", class->name);
		config_drop_devices(p->cfg, class);
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
			p->said.off |= 1ull << config_rank(class);
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

/* Whether the file or the command line gave an option of config_opts. */
static bool given(const struct parser *p, const char *key)
{
	size_t row = (size_t)(opt_find(config_opts, key, strlen(key)) - config_opts);

	return (p->said.seen.bits | p->file.seen.bits) >> row & 1;
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
			config_drop_devices(cfg, c);
		if (c->flags & DEV_DEFAULT)
			wanted = !((p->said.off | p->file.off) & bit);
		if (wanted && config_count(cfg, c) == 0 &&
		    !config_add_device(cfg, c, err))
			return -ENOMEM;
	}
	return 0;
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

static int finish(struct parser *p, struct err *err)
{
	int r = config_check_options(p->cfg, given(p, "cpus"), err);

	if (r == 0)
		r = finish_classes(p, err);
	if (r == 0)
		r = config_finish_serials(p->cfg, err);
	return r < 0 ? r : config_check_devices(p->cfg, err);
}

int config_parse(struct config *cfg, char **args, struct err *err)
{
	struct parser p = { .cfg = cfg, .args = args };
	int r;

	opt_defaults(config_opts, cfg);
	r = parse_args(&p, err);
	if (r == 0 && cfg->config_file)
		r = parse_with_file(&p, args, err);
	return r < 0 ? r : finish(&p, err);
}

int config_parse_json(struct config *cfg, const char *what, const char *text,
		      size_t len, struct err *err)
{
	struct parser p = { .cfg = cfg, .args = (char *[]){ NULL } };
	int r;

	opt_defaults(config_opts, cfg);
	r = config_json_parse(what, text, len, parse_json_option, &p, err);
	return r < 0 ? r : finish(&p, err);
}
