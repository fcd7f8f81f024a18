/* Help from the tables that parse; see opt.h. */
#include "base/opt.h"

#include <inttypes.h>
#include <string.h>

#define MAX_COLUMN 36 /* what is longer has a line of its own */

struct left {
	char text[192];
};

/* Append, as far as there is room. */
static void add(struct left *l, const char *s)
{
	size_t at = strlen(l->text);

	snprintf(l->text + at, sizeof(l->text) - at, "%s", s);
}

static void add_arg(struct left *l, const struct opt *o)
{
	if (o->type == OPT_ENUM) {
		for (int i = 0; o->names[i]; i++) {
			add(l, i ? "|" : "");
			add(l, o->names[i]);
		}
		return;
	}
	add(l, o->arg		      ? o->arg
	       : o->type == OPT_BOOL  ? "true|false"
	       : o->type == OPT_U64   ? "N"
	       : o->type == OPT_GROUP ? "KEY=VALUE,..."
				      : "TEXT");
}

/* What stands to the left of a row's help. */
static struct left left_side(const struct opt *o, bool option)
{
	bool bare = (o->type == OPT_BOOL && !option) || (o->flags & OPT_BARE);
	struct left l = { "" };

	if (option && o->letter)
		add(&l, (char[]){ '-', o->letter, ',', ' ', '\0' });
	else if (option)
		add(&l, "    ");
	add(&l, option ? "--" : "");
	add(&l, o->key);
	/* A switch of the command line needs no word about its value. */
	if (option && o->type == OPT_BOOL && bare)
		return l;
	add(&l, bare ? "[=" : option ? " " : "=");
	add_arg(&l, o);
	add(&l, bare ? "]" : "");
	return l;
}

static void put_default(const struct opt *o, FILE *out)
{
	if (o->flags & OPT_REQUIRED)
		fputs(" (required)", out);
	else if (o->type == OPT_ENUM)
		fprintf(out, " (default %s)", o->names[o->def]);
	else if (o->type == OPT_BOOL && o->def)
		fputs(" (default true)", out);
	else if (o->type == OPT_U64 && o->def)
		fprintf(out,
			o->flags & OPT_HEX ? " (default 0x%" PRIx64 ")"
					   : " (default %" PRIu64 ")",
			o->def);
}

static void help(const struct opt *table, FILE *out, int indent, bool options)
{
	int width = 0;

	for (const struct opt *o = table; o->key; o++) {
		struct left l = left_side(o, options);
		int len = (int)strlen(l.text);

		if (len > width && len <= MAX_COLUMN)
			width = len;
	}
	for (const struct opt *o = table; o->key; o++) {
		struct left l = left_side(o, options);

		fprintf(out, "%*s%-*s", indent, "", width, l.text);
		if ((int)strlen(l.text) > width)
			fprintf(out, "\n%*s", indent + width, "");
		fprintf(out, "  %s", o->help);
		put_default(o, out);
		fputc('\n', out);
		if (o->type == OPT_GROUP)
			help(o->sub, out, indent + (options ? 8 : 4), false);
	}
}

void opt_help(const struct opt *table, FILE *out, int indent)
{
	help(table, out, indent, false);
}

void opt_help_options(const struct opt *table, FILE *out, int indent)
{
	help(table, out, indent, true);
}
