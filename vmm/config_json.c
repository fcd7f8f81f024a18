/* Options from JSON, read by jansson; see config_json.h. Before the fork. */
#include "vmm/config_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define MAX_FILE (1u << 20)
#define MAX_DEPTH 8

/*
 * The line of a key of the outermost object, whose values jansson has no lines for.
 * 0: not found, as when it is written with escapes.
 */
static unsigned line_of(const char *text, size_t len, const char *key)
{
	unsigned line = 1, depth = 0;
	size_t key_len = strlen(key);

	for (size_t i = 0; i < len; i++) {
		size_t start = i + 1;

		if (text[i] == '\n')
			line++;
		else if (text[i] == '{' || text[i] == '[')
			depth++;
		else if (text[i] == '}' || text[i] == ']')
			depth--;
		if (text[i] != '"')
			continue;
		for (i++; i < len && text[i] != '"'; i++)
			i += text[i] == '\\';
		if (depth != 1 || i - start != key_len || i >= len ||
		    memcmp(text + start, key, key_len) != 0)
			continue;
		/* A value may be the same word. */
		for (start = i + 1; start < len && strchr(" \t\r\n", text[start]);)
			start++;
		if (start < len && text[start] == ':')
			return line;
	}
	return 0;
}

/* A key may not smuggle in the grammar's own characters. */
static bool key_is_plain(const char *key)
{
	return *key && !key[strspn(key, "abcdefghijklmnopqrstuvwxyz"
					"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")];
}

static void put_quoted(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', out);
		fputc(*s, out);
	}
	fputc('"', out);
}

static int put_group(FILE *out, json_t *object, unsigned depth, struct err *err);

/* A value within a group. */
static int put_value(FILE *out, json_t *v, unsigned depth, struct err *err)
{
	int r = 0;

	if (depth > MAX_DEPTH)
		return err_set(err, -EINVAL, "too deep");
	switch (json_typeof(v)) {
	case JSON_STRING:
		put_quoted(out, json_string_value(v));
		return 0;
	case JSON_INTEGER:
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs(json_is_true(v) ? "true" : "false", out);
		return 0;
	case JSON_OBJECT:
		fputc('[', out);
		r = put_group(out, v, depth + 1, err);
		fputc(']', out);
		return r;
	case JSON_ARRAY:
		fputc('[', out);
		for (size_t i = 0; r == 0 && i < json_array_size(v); i++) {
			fputs(i ? "," : "", out);
			r = put_value(out, json_array_get(v, i), depth + 1, err);
		}
		fputc(']', out);
		return r;
	case JSON_REAL:
	case JSON_NULL:
		break;
	}
	return err_set(err, -EINVAL, "%s",
		       json_is_null(v) ? "is null" : "is a fraction");
}

static int put_group(FILE *out, json_t *object, unsigned depth, struct err *err)
{
	const char *comma = "";
	int r;

	for (void *it = json_object_iter(object); it;
	     it = json_object_iter_next(object, it)) {
		const char *key = json_object_iter_key(it);

		if (!key_is_plain(key))
			return err_set(err, -EINVAL, "unknown key \"%s\"", key);
		fprintf(out, "%s%s=", comma, key);
		r = put_value(out, json_object_iter_value(it), depth, err);
		if (r < 0)
			return err_prefix(err, r, "%s", key);
		comma = ",";
	}
	return 0;
}

/* One value of an option, as its text. */
static int give(const char *key, json_t *v, config_json_fn *fn, void *arg,
		struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	FILE *out;
	int r;

	if (json_is_string(v))
		return fn(arg, key, json_string_value(v), true, err);
	if (json_is_boolean(v))
		return fn(arg, key, NULL, json_is_true(v), err);
	out = open_memstream(&text, &size);
	if (!out)
		return err_sys(err, -ENOMEM, "%s", key);
	r = json_is_object(v) ? put_group(out, v, 0, err) : put_value(out, v, 0, err);
	if (fclose(out) != 0 || !text)
		return err_sys(err, -ENOMEM, "%s", key);
	return r < 0 ? err_prefix(err, r, "--%s", key) : fn(arg, key, text, true, err);
}

static int give_all(const char *key, json_t *v, config_json_fn *fn, void *arg,
		    struct err *err)
{
	int r = 0;

	if (!key_is_plain(key))
		return err_set(err, -EINVAL, "unknown key \"%s\"", key);
	if (!json_is_array(v))
		return give(key, v, fn, arg, err);
	for (size_t i = 0; r == 0 && i < json_array_size(v); i++) {
		json_t *item = json_array_get(v, i);

		r = json_is_array(item) ? err_set(err, -EINVAL, "is a list in a list")
					: give(key, item, fn, arg, err);
		if (r < 0)
			err_prefix(err, r, "%s[%zu]", key, i);
	}
	return r;
}

int config_json_parse(const char *what, const char *text, size_t len,
		      config_json_fn *fn, void *arg, struct err *err)
{
	size_t seed = 0;
	json_error_t why;
	json_t *root;
	int r = 0;

	/* Or jansson would open /dev/urandom. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) < 0)
		seed = (size_t)getpid();
	json_object_seed(seed ?: 1);
	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return err_set(err, -EINVAL, "%s:%d: %s", what, why.line, why.text);
	if (!json_is_object(root))
		r = err_set(err, -EINVAL, "%s: is not a JSON object", what);
	for (void *it = json_object_iter(root); r == 0 && it;
	     it = json_object_iter_next(root, it)) {
		const char *key = json_object_iter_key(it);

		r = give_all(key, json_object_iter_value(it), fn, arg, err);
		if (r < 0)
			err_prefix(err, r, "%s:%u", what, line_of(text, len, key));
	}
	json_decref(root);
	return r;
}

int config_json_load(const char *path, config_json_fn *fn, void *arg, struct err *err)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r = file_read_text("configuration", path, MAX_FILE, &text, &len, err);

	return r < 0 ? r : config_json_parse(path, text, len, fn, arg, err);
}
