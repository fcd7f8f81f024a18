/* D-Bus dictionaries as JSON; see bus_json.h. */
#include "service/vm/bus_json.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "service/common/death.h"

const char *bus_json_state(uint32_t state)
{
	static const char *const words[] = {
		[VM_NOT_STARTED] = "not-started", [VM_STARTING] = "starting",
		[VM_STARTED] = "started",	  [VM_READY] = "ready",
		[VM_FINISHED] = "finished",	  [VM_DEAD] = "dead",
	};

	return state < ARRAY_SIZE(words) && words[state] ? words[state] : "unknown";
}

/* A value of a basic type; *@ret stays NULL for others, which are skipped. */
static int read_basic(sd_bus_message *m, char type, json_t **ret)
{
	union {
		const char *s;
		int b;
		uint8_t y;
		int16_t n;
		uint16_t q;
		int32_t i;
		uint32_t u;
		int64_t x;
		uint64_t t;
	} v;
	int r;

	if (!type || !strchr("sogbynqiuxt", type))
		return sd_bus_message_skip(m, NULL);
	r = sd_bus_message_read_basic(m, type, &v);
	if (r < 0)
		return r;
	if (strchr("sog", type))
		*ret = json_string(v.s);
	else if (type == 'b')
		*ret = json_boolean(v.b);
	else
		*ret = json_integer(type == 'y'	  ? v.y
				    : type == 'n' ? v.n
				    : type == 'q' ? v.q
				    : type == 'i' ? v.i
				    : type == 'u' ? v.u
						  : v.x);
	return 0;
}

static int read_entry(sd_bus_message *m, json_t *object)
{
	json_t *value = NULL;
	const char *key, *type;
	int r;

	r = sd_bus_message_read_basic(m, 's', &key);
	if (r >= 0)
		r = sd_bus_message_peek_type(m, NULL, &type);
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'v', type);
	if (r >= 0)
		r = read_basic(m, type[1] ? '\0' : *type, &value);
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0) {
		json_decref(value);
		return r;
	}
	if (value && strcmp(key, "state") == 0 && json_is_integer(value)) {
		uint32_t state = (uint32_t)json_integer_value(value);

		json_decref(value);
		value = json_string(bus_json_state(state));
	}
	if (value)
		json_object_set_new(object, key, value);
	return 0;
}

int bus_json_dict(sd_bus_message *m, json_t **ret, struct err *err)
{
	json_t *object = json_object();
	int r = sd_bus_message_enter_container(m, 'a', "{sv}");

	while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
		r = read_entry(m, object);
		if (r >= 0)
			r = sd_bus_message_exit_container(m);
	}
	if (r >= 0)
		r = sd_bus_message_exit_container(m);
	if (r < 0) {
		json_decref(object);
		return err_sys(err, r, "the answer");
	}
	*ret = object;
	return 0;
}

int bus_json_dicts(sd_bus_message *m, json_t **ret, struct err *err)
{
	json_t *array = json_array(), *object;
	int r = sd_bus_message_enter_container(m, 'a', "a{sv}");

	while (r >= 0 && (r = sd_bus_message_at_end(m, 0)) == 0) {
		r = bus_json_dict(m, &object, err);
		if (r == 0)
			json_array_append_new(array, object);
	}
	if (r < 0) {
		json_decref(array);
		return err_sys(err, r, "the answer");
	}
	*ret = array;
	return 0;
}

void bus_json_print(const json_t *json)
{
	json_dumpf(json, stdout, JSON_INDENT(2));
	putchar('\n');
}

void bus_json_print_plain(const json_t *value)
{
	const char *s = json_string_value(value) ?: "";

	if (json_is_boolean(value)) {
		fputs(json_is_true(value) ? "yes" : "no", stdout);
	} else if (json_is_integer(value)) {
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	} else {
		for (; *s; s++)
			putchar(iscntrl((unsigned char)*s) ? '?' : *s);
	}
}
