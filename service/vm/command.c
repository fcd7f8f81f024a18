/* Command lines of subcommands; see command.h. */
#include "service/vm/command.h"

#include <errno.h>
#include <string.h>

static const struct opt no_opts[] = { { 0 } };

/* An option and its value, inlined or the next argument. */
static int take(const struct opt *table, const struct opt *o, const char *inlined,
		char ***args, void *opts, struct opt_seen *seen, struct err *err)
{
	struct err why = { "" };
	int r;

	if (!inlined && !(o->flags & OPT_BARE)) {
		inlined = **args;
		if (!inlined)
			return err_set(err, -EINVAL, "--%s: needs a value", o->key);
		(*args)++;
	}
	r = opt_set(table, o, inlined, opts, seen, &why);
	return r < 0 ? err_set(err, r, "--%s", why.msg) : 0;
}

static const struct opt *find_letter(const struct opt *table, char letter)
{
	for (; table->key; table++)
		if (table->letter == letter)
			return table;
	return NULL;
}

/* One argument that starts with a hyphen; "-nb" is "-n -b". */
static int parse_option(const struct opt *table, const char *arg, char ***args,
			void *opts, struct opt_seen *seen, struct err *err)
{
	const struct opt *o;
	size_t len;
	int r = 0;

	if (arg[1] == '-') {
		len = strcspn(arg + 2, "=");
		if (len == 4 && strcmp(arg, "--help") == 0)
			return -ECANCELED;
		o = opt_find(table, arg + 2, len);
		if (!o)
			return err_set(err, -EINVAL, "%.*s: unknown option",
				       (int)len + 2, arg);
		return take(table, o, arg[2 + len] ? arg + len + 3 : NULL, args, opts,
			    seen, err);
	}
	for (arg++; r == 0 && *arg; arg++) {
		o = find_letter(table, *arg);
		if (!o && *arg == 'h')
			return -ECANCELED;
		if (!o)
			return err_set(err, -EINVAL, "-%c: unknown option", *arg);
		if (!(o->flags & OPT_BARE) && arg[1])
			return take(table, o, arg + 1 + (arg[1] == '='), args, opts,
				    seen, err);
		r = take(table, o, NULL, args, opts, seen, err);
	}
	return r;
}

int command_parse(const struct command *c, void *opts, char **args, struct err *err)
{
	const struct opt *table = c->opts ?: no_opts;
	struct opt_seen seen = { 0 };
	char **kept = args, **next = args;
	bool options = true;
	unsigned n = 0;

	while (*next) {
		char *arg = *next++;
		int r;

		if (!options || arg[0] != '-' || !arg[1]) {
			*kept++ = arg;
			n++;
			if (c->rest && n == 1) {
				options = false;
				if (*next && strcmp(*next, "--") == 0)
					next++;
			}
		} else if (strcmp(arg, "--") == 0) {
			options = false;
		} else {
			r = parse_option(table, arg, &next, opts, &seen, err);
			if (r < 0)
				return r;
		}
	}
	*kept = NULL;
	if (n < c->min)
		return err_set(err, -EINVAL, "%s: needs %s", c->name, c->synopsis);
	if (n > c->max)
		return err_set(err, -EINVAL, "%s: one argument too many", args[c->max]);
	return 0;
}

int command_bytes(const char *what, const char *text, uint64_t *ret_bytes,
		  struct err *err)
{
	static const char units[] = "KMGT";
	size_t len = strcspn(text, "KMGT");
	const char *unit = text[len] ? strchr(units, text[len]) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	char number[32];
	uint64_t n;

	if (len >= sizeof(number) ||
	    (unit && text[len + 1] && strcmp(text + len + 1, "iB") != 0))
		return err_set(err, -EINVAL, "%s: must be a size such as 64M, not %s",
			       what, text);
	memcpy(number, text, len);
	number[len] = '\0';
	if (opt_number(number, &n) < 0 || n > (uint64_t)INT64_MAX >> shift)
		return err_set(err, -EINVAL, "%s: must be a size such as 64M, not %s",
			       what, text);
	*ret_bytes = n << shift;
	return 0;
}
