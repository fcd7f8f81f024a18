/*
 * Options as tables: one table parses "key=value,..." text, fills a struct,
 * and prints the help.
 *
 * Grammar of a group: comma-separated key=value; the first value may stand
 * without its key where the table says so (OPT_FIRST); a bare key of a boolean
 * means true; a value may be in quotes, single or double, and then contain commas
 * (a backslash before a quote or a backslash takes it literally); a value that
 * starts with '[' goes on to the matching ']'. Numbers are decimal, 0x, 0o or 0b.
 * '-' and '_' in keys are the same. An unknown or repeated key is an error, and
 * so is an empty value.
 *
 * Strings are allocated; opt_free() gives them back. A table ends with a row
 * whose key is NULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum opt_type {
	OPT_BOOL, /* bool */
	OPT_U64, /* uint64_t, within [min, max] */
	OPT_STR, /* char *, NULL when not given */
	OPT_ENUM, /* int, the index of the word in names */
	OPT_GROUP, /* a struct of its own, parsed by sub; in [] within a group */
	OPT_LIST, /* struct opt_list of strings, even empty; may be repeated */
};

enum {
	OPT_FIRST = 1 << 0, /* may stand first without its key */
	OPT_REQUIRED = 1 << 1,
	OPT_BARE = 1 << 2, /* its value may be left out: the default stays */
	OPT_HEX = 1 << 3, /* a number that help and errors show in hexadecimal */
	OPT_POW2 = 1 << 4, /* a number that must be a power of two */
};

struct opt {
	const char *key;
	const char *alias; /* another spelling, or NULL */
	char letter; /* short option of the command line, or 0 */
	enum opt_type type;
	unsigned flags;
	size_t offset; /* of the field in the configuration struct */
	uint64_t min,
		max; /* of an OPT_U64; max: bytes of an OPT_STR; max 0: no limit */
	uint64_t def; /* default of OPT_BOOL, OPT_U64 and OPT_ENUM */
	const char *const *names; /* OPT_ENUM: the words, ended by NULL */
	const struct opt *sub; /* OPT_GROUP */
	const char *arg; /* the value's name in the help; OPT_ENUM: its words */
	const char *help; /* one sentence, without a full stop */
};

struct opt_list {
	char **v;
	size_t n;
};

/* Which keys of a table have been given; at most 64 rows. */
struct opt_seen {
	uint64_t bits;
};

/* Set every field of @cfg (zeroed by the caller) that has a default. */
void opt_defaults(const struct opt *table, void *cfg);

/*
 * Set the field of @opt, a row of @table, from @text (NULL: the bare form).
 * -EINVAL with a sentence that starts with the key; nothing is changed then,
 * but a group may be half filled.
 */
int opt_set(const struct opt *table, const struct opt *opt, const char *text, void *cfg,
	    struct opt_seen *seen, struct err *err);

/*
 * Parse a whole group into @cfg, which holds the defaults. -EINVAL, -ENOMEM: then
 * @cfg may be half filled, and opt_free() still gives all back.
 */
int opt_parse(const struct opt *table, const char *text, void *cfg, struct err *err);

/* -EINVAL unless every OPT_REQUIRED row has been given; opt_parse() did this. */
int opt_check(const struct opt *table, const struct opt_seen *seen, struct err *err);

/* The row named @key (or with that alias), of @len bytes, or NULL. */
const struct opt *opt_find(const struct opt *table, const char *key, size_t len);

/* Parse a number; the whole of @text must be one. -EINVAL, -ERANGE. */
int opt_number(const char *text, uint64_t *ret_value);

/* Free the strings of @cfg, nested ones too. */
void opt_free(const struct opt *table, void *cfg);

/* Print a table as help: "key=ARG  help (default x)", indented. */
void opt_help(const struct opt *table, FILE *out, int indent);

/* The same for options of the command line: "-k, --key ARG  help (default x)". */
void opt_help_options(const struct opt *table, FILE *out, int indent);
