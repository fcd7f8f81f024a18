/* Options as tables; see opt.h. No state of its own: any thread. */
#include "base/opt.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define KEY_CHARS                    \
	"abcdefghijklmnopqrstuvwxyz" \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"0123456789-_"

static void *field(const struct opt *opt, void *cfg)
{
	return (char *)cfg + opt->offset;
}

static char fold(char c)
{
	return c == '_' ? '-' : c;
}

static bool key_is(const char *name, const char *key, size_t len)
{
	if (!name || strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (fold(name[i]) != fold(key[i]))
			return false;
	return true;
}

const struct opt *opt_find(const struct opt *table, const char *key, size_t len)
{
	for (const struct opt *o = table; o->key; o++)
		if (key_is(o->key, key, len) || key_is(o->alias, key, len))
			return o;
	return NULL;
}

int opt_number(const char *text, uint64_t *ret_value)
{
	static const char digits[] = "0123456789abcdef";
	unsigned base = 10;
	uint64_t v = 0;
	bool over = false;

	if (text[0] == '0' && text[1] != '\0') {
		base = text[1] == 'x'	? 16
		       : text[1] == 'o' ? 8
		       : text[1] == 'b' ? 2
					: 10;
		if (base != 10)
			text += 2;
	}
	if (*text == '\0')
		return -EINVAL;
	for (; *text; text++) {
		char c = *text >= 'A' && *text <= 'F' ? (char)(*text + 'a' - 'A')
						      : *text;
		const char *d = strchr(digits, c);

		if (!d || d - digits >= base)
			return -EINVAL;
		over |= __builtin_mul_overflow(v, base, &v) ||
			__builtin_add_overflow(v, (uint64_t)(d - digits), &v);
	}
	if (over)
		return -ERANGE;
	*ret_value = v;
	return 0;
}

void opt_defaults(const struct opt *table, void *cfg)
{
	for (const struct opt *o = table; o->key; o++) {
		void *f = field(o, cfg);

		switch (o->type) {
		case OPT_BOOL:
			*(bool *)f = o->def;
			break;
		case OPT_U64:
			*(uint64_t *)f = o->def;
			break;
		case OPT_ENUM:
			*(int *)f = (int)o->def;
			break;
		case OPT_GROUP:
			opt_defaults(o->sub, f);
			break;
		case OPT_STR:
		case OPT_LIST:
			break;
		}
	}
}

static int set_bool(const struct opt *opt, const char *text, bool *value,
		    struct err *err)
{
	bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;

	if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
		return err_set(err, -EINVAL, "%s: \"%s\" is neither true nor false",
			       opt->key, text);
	*value = yes;
	return 0;
}

static int set_u64(const struct opt *opt, const char *text, uint64_t *value,
		   struct err *err)
{
	uint64_t max = opt->max ?: UINT64_MAX;
	uint64_t v = 0;
	int r = opt_number(text, &v);

	if (r == -EINVAL)
		return err_set(err, -EINVAL, "%s: \"%s\" is not a number", opt->key,
			       text);
	if (r < 0 || v < opt->min || v > max)
		return err_set(err, -EINVAL,
			       opt->flags & OPT_HEX ? "%s: %s is not within 0x%" PRIx64
						      " to 0x%" PRIx64
						    : "%s: %s is not within %" PRIu64
						      " to %" PRIu64,
			       opt->key, text, opt->min, max);
	if ((opt->flags & OPT_POW2) && (v & (v - 1)))
		return err_set(err, -EINVAL, "%s: %s is not a power of two", opt->key,
			       text);
	*value = v;
	return 0;
}

/* Append a word to "a, b, c", as far as there is room. */
static void join(char *buf, size_t size, const char *word)
{
	size_t at = strlen(buf);

	snprintf(buf + at, size - at, "%s%s", at ? ", " : "", word);
}

static int set_enum(const struct opt *opt, const char *text, int *value,
		    struct err *err)
{
	char words[256] = "";

	for (int i = 0; opt->names[i]; i++) {
		if (strcmp(opt->names[i], text) == 0) {
			*value = i;
			return 0;
		}
		join(words, sizeof(words), opt->names[i]);
	}
	return err_set(err, -EINVAL, "%s: \"%s\" is not one of: %s", opt->key, text,
		       words);
}

static int set_str(const struct opt *opt, const char *text, char **value,
		   struct err *err)
{
	char *s;

	if (opt->max && strlen(text) > opt->max)
		return err_set(err, -EINVAL,
			       "%s: \"%s\" is longer than %" PRIu64 " bytes", opt->key,
			       text, opt->max);
	s = strdup(text);
	if (!s)
		return err_sys(err, -ENOMEM, "%s", opt->key);
	free(*value);
	*value = s;
	return 0;
}

static int add_to_list(const struct opt *opt, const char *text, struct opt_list *list,
		       struct err *err)
{
	char **v = reallocarray(list->v, list->n + 1, sizeof(*v));
	int r;

	if (!v)
		return err_sys(err, -ENOMEM, "%s", opt->key);
	list->v = v;
	v[list->n] = NULL;
	r = set_str(opt, text, &v[list->n], err);
	if (r == 0)
		list->n++;
	return r;
}

static int set_group(const struct opt *opt, const char *text, void *group,
		     struct err *err)
{
	size_t len = strlen(text);
	AUTO_FREE char *inner = NULL;
	int r;

	/* Within another group, brackets keep its commas together. */
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		inner = strndup(text + 1, len - 2);
		if (!inner)
			return err_sys(err, -ENOMEM, "%s", opt->key);
	}
	r = opt_parse(opt->sub, inner ?: text, group, err);
	return r < 0 ? err_prefix(err, r, "%s", opt->key) : 0;
}

static int set_field(const struct opt *opt, const char *text, void *cfg,
		     struct err *err)
{
	void *f = field(opt, cfg);

	if (!text && opt->type == OPT_BOOL)
		text = "true";
	if (!text && (opt->flags & OPT_BARE)) /* the defaults stay */
		return opt->type == OPT_GROUP ? set_group(opt, "", f, err) : 0;
	if (!text)
		return err_set(err, -EINVAL, "%s: needs a value", opt->key);
	if (*text == '\0' && opt->type != OPT_LIST)
		return err_set(err, -EINVAL, "%s: the value is empty", opt->key);

	switch (opt->type) {
	case OPT_BOOL:
		return set_bool(opt, text, f, err);
	case OPT_U64:
		return set_u64(opt, text, f, err);
	case OPT_STR:
		return set_str(opt, text, f, err);
	case OPT_ENUM:
		return set_enum(opt, text, f, err);
	case OPT_GROUP:
		return set_group(opt, text, f, err);
	case OPT_LIST:
		return add_to_list(opt, text, f, err);
	}
	assert(0 && "an option's type");
	return -EINVAL;
}

int opt_set(const struct opt *table, const struct opt *opt, const char *text, void *cfg,
	    struct opt_seen *seen, struct err *err)
{
	size_t row = (size_t)(opt - table);
	int r;

	assert(row < 64);
	if (opt->type != OPT_LIST && (seen->bits >> row & 1))
		return err_set(err, -EINVAL, "%s: given twice", opt->key);
	r = set_field(opt, text, cfg, err);
	if (r == 0)
		seen->bits |= UINT64_C(1) << row;
	return r;
}

/*
 * Undo the quotes of the value at @s, in place; returns the byte behind the
 * closing quote, or NULL when there is none.
 */
static char *unquote(char *s)
{
	char quote = *s;
	char *from = s + 1, *to = s;

	while (*from != quote) {
		if (*from == '\\' && (from[1] == quote || from[1] == '\\'))
			from++;
		if (*from == '\0')
			return NULL;
		*to++ = *from++;
	}
	*to = '\0';
	return from + 1;
}

/* The byte behind the bracket that closes the one at @s, or NULL. */
static char *skip_brackets(char *s)
{
	unsigned depth = 0;
	char quote = '\0';

	for (; *s; s++) {
		if (quote && *s == '\\' && (s[1] == quote || s[1] == '\\'))
			s++;
		else if (quote)
			quote = *s == quote ? '\0' : quote;
		else if (*s == '"' || *s == '\'')
			quote = *s;
		else if (*s == '[')
			depth++;
		else if (*s == ']' && --depth == 0)
			return s + 1;
	}
	return NULL;
}

/*
 * Cut the value at @s off at its end. *@ret_next is what follows its comma, or
 * NULL when it was the last.
 */
static int cut_value(char *s, char **ret_next, struct err *err)
{
	char open = *s;
	char *end;

	if (open == '"' || open == '\'')
		end = unquote(s);
	else if (open == '[')
		end = skip_brackets(s);
	else
		end = strchrnul(s, ',');
	if (!end)
		return err_set(err, -EINVAL, "%c without its end", open);
	if (*end != ',' && *end != '\0')
		return err_set(err, -EINVAL, "\"%s\" follows a closing %c", end,
			       open == '[' ? ']' : open);
	*ret_next = *end ? end + 1 : NULL;
	*end = '\0';
	return 0;
}

static int unknown_key(const struct opt *table, const char *key, struct err *err)
{
	char keys[384] = "";

	for (const struct opt *o = table; o->key; o++)
		join(keys, sizeof(keys), o->key);
	return err_set(err, -EINVAL, "unknown key \"%.64s\" (%s)", key, keys);
}

static const struct opt *first_row(const struct opt *table)
{
	for (const struct opt *o = table; o->key; o++)
		if (o->flags & OPT_FIRST)
			return o;
	return NULL;
}

/* Parse the item at @s; *@ret_next as in cut_value(). */
static int parse_item(const struct opt *table, char *s, bool first, void *cfg,
		      struct opt_seen *seen, char **ret_next, struct err *err)
{
	size_t key_len = strspn(s, KEY_CHARS);
	bool keyed = key_len > 0 && s[key_len] == '=';
	const struct opt *opt;
	char *value = s;
	int r;

	if (keyed) {
		s[key_len] = '\0';
		value += key_len + 1;
	}
	r = cut_value(value, ret_next, err);
	if (r < 0)
		return keyed ? err_prefix(err, r, "%s", s) : r;
	if (*s == '\0')
		return err_set(err, -EINVAL, "a key is missing");
	opt = !keyed && first ? first_row(table) : NULL;
	if (opt)
		return opt_set(table, opt, value, cfg, seen, err);
	opt = opt_find(table, s, strlen(s));
	if (!opt)
		return unknown_key(table, s, err);
	return opt_set(table, opt, keyed ? value : NULL, cfg, seen, err);
}

int opt_parse(const struct opt *table, const char *text, void *cfg, struct err *err)
{
	AUTO_FREE char *copy = strdup(text);
	struct opt_seen seen = { 0 };
	char *next = copy;
	int r;

	if (!copy)
		return err_sys(err, -ENOMEM, "options");
	if (*copy == '\0')
		next = NULL;
	while (next) {
		r = parse_item(table, next, next == copy, cfg, &seen, &next, err);
		if (r < 0)
			return r;
	}
	return opt_check(table, &seen, err);
}

int opt_check(const struct opt *table, const struct opt_seen *seen, struct err *err)
{
	for (const struct opt *o = table; o->key; o++)
		if ((o->flags & OPT_REQUIRED) && !(seen->bits >> (o - table) & 1))
			return err_set(err, -EINVAL, "%s: must be given", o->key);
	return 0;
}

void opt_free(const struct opt *table, void *cfg)
{
	for (const struct opt *o = table; o->key; o++) {
		void *f = field(o, cfg);

		if (o->type == OPT_STR) {
			free(*(char **)f);
			*(char **)f = NULL;
		} else if (o->type == OPT_GROUP) {
			opt_free(o->sub, f);
		} else if (o->type == OPT_LIST) {
			struct opt_list *list = f;

			for (size_t i = 0; i < list->n; i++)
				free(list->v[i]);
			free(list->v);
			*list = (struct opt_list){ 0 };
		}
	}
}
