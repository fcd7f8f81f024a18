/* A VM's configuration from JSON, by jansson; see json_config.h. */
#include "service/vm/json_config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

struct reader {
	const char *what;
	const struct json_config_ops *ops;
	void *arg;
	char **told; /* paths of faults */
	size_t n_told;
	int code; /* 0, or what to return */
};

/* One object of the file: the outermost, a disk or a partition. */
struct place {
	struct err prefix; /* of its keys' paths: "disks[1].partitions[0]." */
	const struct config_key *table;
	json_t *object;
	void *fields;
};

static void remember(struct reader *rd, const char *path)
{
	char **more = reallocarray(rd->told, rd->n_told + 1, sizeof(*more));

	if (!more)
		return;
	rd->told = more;
	more[rd->n_told] = strdup(path);
	rd->n_told += more[rd->n_told] != NULL;
}

static void tell(struct reader *rd, bool warning, const char *path, const char *why)
{
	struct err err;

	err_set(&err, 0, "%s: %s: %s", rd->what, path, why);
	rd->ops->tell(rd->arg, warning, err.msg);
}

/* Returns -EBADMSG. */
static int fault(struct reader *rd, const struct place *at, const char *key,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static int fault(struct reader *rd, const struct place *at, const char *key,
		 const char *fmt, ...)
{
	struct err path, why;
	va_list ap;
	char *text;

	va_start(ap, fmt);
	err_set(&why, 0, "%s", vasprintf(&text, fmt, ap) < 0 ? "" : text);
	va_end(ap);
	free(text);
	err_set(&path, 0, "%s%s", at->prefix.msg, key);
	tell(rd, false, path.msg, why.msg);
	remember(rd, path.msg);
	rd->code = -EBADMSG;
	return -EBADMSG;
}

static int warn(struct reader *rd, const struct place *at, const struct config_key *k)
{
	struct err path;

	err_set(&path, 0, "%s%s", at->prefix.msg, k->key);
	tell(rd, true, path.msg, k->help);
	return 0;
}

static const char *kind_of(const json_t *v)
{
	static const char *const kinds[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",  [JSON_INTEGER] = "a number",
		[JSON_REAL] = "a fraction",  [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};

	return kinds[json_typeof(v)];
}

static int bad_kind(struct reader *rd, const struct place *at, const char *key,
		    const char *want, const json_t *v)
{
	return fault(rd, at, key, "must be %s, not %s", want, kind_of(v));
}

/* --- values ------------------------------------------------------------------- */

static int read_string(struct reader *rd, const struct place *at,
		       const struct config_key *k, const json_t *v, char **field)
{
	if (!json_is_string(v))
		return bad_kind(rd, at, k->key, "a string", v);
	*field = strdup(json_string_value(v));
	return *field ? 0 : fault(rd, at, k->key, "no memory");
}

static int read_number(struct reader *rd, const struct place *at,
		       const struct config_key *k, const json_t *v, uint64_t *field)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return bad_kind(rd, at, k->key, "a whole number", v);
	if (n < 0 || (uint64_t)n < k->min || (uint64_t)n > k->max)
		return fault(rd, at, k->key,
			     "must be %llu to %llu, not %" JSON_INTEGER_FORMAT,
			     (unsigned long long)k->min, (unsigned long long)k->max, n);
	*field = (uint64_t)n;
	return 0;
}

static int read_word(struct reader *rd, const struct place *at,
		     const struct config_key *k, const json_t *v, int *field)
{
	const char *s = json_string_value(v);
	char all[128] = "";

	if (!s)
		return bad_kind(rd, at, k->key, "a string", v);
	for (int i = 0; k->words[i]; i++) {
		size_t n = strlen(all);

		if (!*k->words[i])
			continue;
		if (strcmp(k->words[i], s) == 0) {
			*field = i;
			return 0;
		}
		snprintf(all + n, sizeof(all) - n, "%s\"%s\"", n ? " or " : "",
			 k->words[i]);
	}
	return fault(rd, at, k->key, "must be %s, not \"%s\"", all, s);
}

/* 128 hexadecimal digits. */
static int read_id(struct reader *rd, const struct place *at,
		   const struct config_key *k, const json_t *v, struct vm_config *c)
{
	const char *s = json_string_value(v);

	if (!s)
		return bad_kind(rd, at, k->key, "a string", v);
	if (strlen(s) != 2 * sizeof(c->instance_id) ||
	    s[strspn(s, "0123456789abcdefABCDEF")])
		return fault(rd, at, k->key, "must have 128 hexadecimal digits");
	for (size_t i = 0; i < sizeof(c->instance_id); i++) {
		char byte[3] = { s[2 * i], s[2 * i + 1], '\0' };

		c->instance_id[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	c->has_instance_id = true;
	return 0;
}

/*
 * A file that cannot be had counts as given from then on, so that nothing more is said
 * of it.
 */
static int read_file(struct reader *rd, const struct place *at,
		     const struct config_key *k, const json_t *v, int *field)
{
	bool writable = json_is_true(json_object_get(at->object, "writable"));
	struct err what, err;
	int r;

	if (!json_is_string(v)) {
		r = bad_kind(rd, at, k->key, "a path", v);
	} else {
		err_set(&what, 0, "%s: %s%s:", rd->what, at->prefix.msg, k->key);
		r = rd->ops->open(rd->arg, what.msg, json_string_value(v), writable,
				  &err);
		if (r >= 0) {
			*field = r;
			return 0;
		}
		rd->ops->tell(rd->arg, false, err.msg);
		err_set(&err, 0, "%s%s", at->prefix.msg, k->key);
		remember(rd, err.msg);
		rd->code = rd->code ?: r;
	}
	*field = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return r;
}

/* Whether a value asks for nothing: false, empty, or made of such. */
static bool is_nothing(json_t *v)
{
	const char *key;
	json_t *member;

	if (json_is_array(v))
		return json_array_size(v) == 0;
	if (!json_is_object(v))
		return json_is_false(v);
	json_object_foreach(v, key, member) if (!is_nothing(member)) return false;
	return true;
}

/* --- objects ------------------------------------------------------------------ */

static void read_object(struct reader *rd, const struct place *at);

/* An array of objects, each read by @table into one of the @size bytes that *@ret has.
 */
static int read_array(struct reader *rd, const struct place *at, const char *key,
		      const json_t *v, const struct config_key *table, size_t max,
		      size_t size, void **ret, size_t *ret_n)
{
	size_t n = json_array_size(v);
	char *items;

	if (!json_is_array(v))
		return bad_kind(rd, at, key, "an array", v);
	if (n > max)
		return fault(rd, at, key, "are more than %zu", max);
	items = calloc(n + 1, size);
	if (!items)
		return fault(rd, at, key, "no memory");
	*ret = items;
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		struct place in = { .table = table,
				    .object = json_array_get(v, i),
				    .fields = items + i * size };

		/* All that there is to be set before: what vm_config_free() closes. */
		for (const struct config_key *k = table; k->key; k++)
			if (k->kind == CONFIG_FILE)
				*(int *)((char *)in.fields + k->offset) = -1;
		err_set(&in.prefix, 0, "%s%s[%zu]", at->prefix.msg, key, i);
		if (!json_is_object(in.object)) {
			bad_kind(rd, &in, "", "an object", in.object);
			continue;
		}
		err_set(&in.prefix, 0, "%s%s[%zu].", at->prefix.msg, key, i);
		read_object(rd, &in);
	}
	return 0;
}

static int read_disks(struct reader *rd, const struct place *at, const char *key,
		      const json_t *v)
{
	struct vm_config *c = at->fields;
	struct config_disk *d = at->fields;
	void *items = NULL;
	int r;

	/* The same kind of row in two tables. */
	if (at->table == vm_config_keys) {
		r = read_array(rd, at, key, v, vm_config_disk_keys, CONFIG_MAX_DISKS,
			       sizeof(*c->disks), &items, &c->n_disks);
		c->disks = items;
	} else {
		r = read_array(rd, at, key, v, vm_config_partition_keys,
			       CONFIG_MAX_PARTITIONS, sizeof(*d->partitions), &items,
			       &d->n_partitions);
		d->partitions = items;
	}
	return r;
}

static int read_value(struct reader *rd, const struct place *at,
		      const struct config_key *k, json_t *v)
{
	void *field = (char *)at->fields + k->offset;

	switch (k->kind) {
	case CONFIG_STRING:
		return read_string(rd, at, k, v, field);
	case CONFIG_BOOL:
		if (!json_is_boolean(v))
			return bad_kind(rd, at, k->key, "true or false", v);
		*(bool *)field = json_is_true(v);
		return 0;
	case CONFIG_U64:
		return read_number(rd, at, k, v, field);
	case CONFIG_ENUM:
		return read_word(rd, at, k, v, field);
	case CONFIG_FILE:
		return read_file(rd, at, k, v, field);
	case CONFIG_ID:
		return read_id(rd, at, k, v, at->fields);
	case CONFIG_DISKS:
		return read_disks(rd, at, k->key, v);
	case CONFIG_UNSUPPORTED:
		return is_nothing(v) ? 0 : fault(rd, at, k->key, "%s", k->help);
	case CONFIG_LAUNCHER:
		return warn(rd, at, k);
	}
	return 0;
}

static void read_key(struct reader *rd, const struct place *at, const char *key,
		     json_t *v)
{
	const struct config_key *k = vm_config_find(at->table, key);
	const char *near = k ? NULL : vm_config_nearest(at->table, key);

	if (!k) {
		fault(rd, at, key, "is not known%s%s%s", near ? "; did you mean " : "",
		      near ?: "", near ? "?" : "");
	} else if (k->flags & CONFIG_LAUNCHERS) {
		warn(rd, at, k);
	} else if (k->flags & CONFIG_NO_JSON) {
		fault(rd, at, key, "is not for the file: see vm run --help");
	} else {
		read_value(rd, at, k, v);
	}
}

static void read_object(struct reader *rd, const struct place *at)
{
	const char *key;
	json_t *v;

	json_object_foreach(at->object, key, v) read_key(rd, at, key, v);
	for (const struct config_key *k = at->table; k->key; k++)
		if ((k->flags & CONFIG_NEEDED) && !json_object_get(at->object, k->key))
			fault(rd, at, k->key, "is missing");
}

/* --- the whole ---------------------------------------------------------------- */

/* Unless it follows from a fault that was told: one of this key, or of one within it.
 */
static void check_fault(void *arg, const char *path, const char *sentence)
{
	static const struct place outermost = { 0 };
	struct reader *rd = arg;
	size_t len = strlen(path);

	for (size_t i = 0; i < rd->n_told; i++)
		if (strncmp(rd->told[i], path, len) == 0 &&
		    strchr(".[", rd->told[i][len]))
			return;
	fault(rd, &outermost, path, "%s", sentence);
}

int json_config_parse(const char *what, const char *text, size_t len,
		      const struct json_config_ops *ops, void *arg, struct vm_config *c)
{
	struct reader rd = { .what = what, .ops = ops, .arg = arg };
	struct place at = { .table = vm_config_keys, .fields = c };
	json_error_t why;
	struct err err;

	at.object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(at.object)) {
		if (at.object)
			err_set(&err, 0, "%s: must be a JSON object", what);
		else
			err_set(&err, 0, "%s:%d:%d: %s", what, why.line, why.column,
				why.text);
		ops->tell(arg, false, err.msg);
		json_decref(at.object);
		return -EBADMSG;
	}
	read_object(&rd, &at);
	vm_config_check(c, check_fault, &rd);
	json_decref(at.object);
	for (size_t i = 0; i < rd.n_told; i++)
		free(rd.told[i]);
	free(rd.told);
	return rd.code;
}
