/* vm list, and vm info: what there is. */
#include <string.h>

#include "base/bytes.h"
#include "dbus/manager.h"
#include "dbus/vm.h"
#include "service/vm/bus_json.h"
#include "service/vm/command.h"
#include "service/vm/connect.h"

struct list_opts {
	bool json;
};

static const struct opt list_opts[] = {
	{ .key = "json",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct list_opts, json),
	  .help = "as JSON" },
	{ 0 },
};

/* --- list --------------------------------------------------------------------- */

static const struct column {
	const char *title, *key;
	int width; /* less than 0: to the left */
} columns[] = {
	{ "CID", "cid", 5 },   { "NAME", "name", -20 }, { "STATE", "state", -11 },
	{ "CPUS", "cpus", 4 }, { "MEM", "memory", 6 },	{ "UID", "uid", 6 },
	{ "PID", "pid", 7 },
};

/* One cell, without control characters, for a name is whatever its owner liked. */
static void cell(const struct column *c, const json_t *vm)
{
	const json_t *v = json_object_get(vm, c->key);
	char text[128];

	if (strcmp(c->key, "state") == 0 &&
	    json_is_true(json_object_get(vm, "suspended")))
		snprintf(text, sizeof(text), "suspended");
	else if (json_is_string(v))
		snprintf(text, sizeof(text), "%s", json_string_value(v));
	else if (strcmp(c->key, "memory") == 0)
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "M",
			 json_integer_value(v) >> 20);
	else
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(v));
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
	printf("%*s%s", c->width, text,
	       c == &columns[ARRAY_SIZE(columns) - 1] ? "\n" : "  ");
}

static void print_table(const json_t *vms)
{
	const json_t *vm;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(columns); i++)
		printf("%*s%s", columns[i].width, columns[i].title,
		       i + 1 < ARRAY_SIZE(columns) ? "  " : "\n");
	json_array_foreach(vms, i, vm) for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
		cell(&columns[j], vm);
}

static int list(const struct command *c, const void *opts, char **args, struct err *err)
{
	const struct list_opts *o = opts;
	AUTO_CLIENT struct client *client = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	json_t *vms = NULL;
	int r;

	(void)c;
	(void)args;
	r = client_spawn(NULL, &client, err);
	if (r == 0)
		r = connect_ask(client, "ListVms", &reply, err, NULL);
	if (r == 0)
		r = bus_json_dicts(reply, &vms, err);
	if (r < 0)
		return r;
	if (o->json)
		bus_json_print(vms);
	else
		print_table(vms);
	json_decref(vms);
	return STATUS_OK;
}

const struct command command_list = {
	.name = "list",
	.synopsis = "[--json]",
	.help = "List the VMs that this user may see.\n"
		"Those of other users are shown to root and the group virtualmachine-debug.\n"
		"UID and PID are those of the VM's manager.\n",
	.opts = list_opts,
	.opts_size = sizeof(struct list_opts),
	.run = list,
};

/* --- info --------------------------------------------------------------------- */

static int host_info(json_t **ret, struct err *err)
{
	AUTO_CLIENT struct client *client = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	int r = client_spawn(NULL, &client, err);

	if (r == 0)
		r = connect_ask(client, "GetInfo", &reply, err, NULL);
	return r < 0 ? r : bus_json_dict(reply, ret, err);
}

static int vm_info(const char *vm, json_t **ret, struct err *err)
{
	AUTO_BUS sd_bus *bus = NULL;
	AUTO_REPLY sd_bus_message *state = NULL;
	AUTO_REPLY sd_bus_message *reply = NULL;
	uint32_t number;
	json_t *info = NULL;
	int r = connect_vm(vm, &bus, err);

	if (r == 0)
		r = connect_call(bus, "GetState", &state, err, NULL);
	if (r == 0)
		r = connect_call(bus, "GetDebugInfo", &reply, err, NULL);
	if (r < 0)
		return r;
	r = sd_bus_message_read(state, "u", &number);
	if (r < 0)
		return err_sys(err, r, "the answer");
	r = bus_json_dict(reply, &info, err);
	if (r < 0)
		return r;
	json_object_set_new(info, "state", json_string(bus_json_state(number)));
	*ret = info;
	return 0;
}

static int info(const struct command *c, const void *opts, char **args, struct err *err)
{
	const struct list_opts *o = opts;
	const char *key;
	json_t *all = NULL, *value;
	int r = args[0] ? vm_info(args[0], &all, err) : host_info(&all, err);

	(void)c;
	if (r < 0)
		return r;
	if (o->json) {
		bus_json_print(all);
	} else {
		json_object_foreach(all, key, value)
		{
			printf("%s: ", key);
			bus_json_print_plain(value);
			putchar('\n');
		}
	}
	json_decref(all);
	return STATUS_OK;
}

const struct command command_info = {
	.name = "info",
	.synopsis = "[--json] [NAME|CID]",
	.help = "Tell what this host can do for VMs, or what a VM is.\n",
	.opts = list_opts,
	.opts_size = sizeof(struct list_opts),
	.max = 1,
	.run = info,
};
