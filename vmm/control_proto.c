/* The control protocol's messages; see control_proto.h. */
#include "vmm/control_proto.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/* --- requests -------------------------------------------------------------- */

/* The arguments of a request that has some. */
typedef int parse_fn(json_t *args, struct control_request *ret, struct err *err);

static int get_size(json_t *args, const char *key, uint64_t *ret, struct err *err)
{
	const json_t *value = json_object_get(args, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return err_set(err, -EINVAL, "%s: must be a number from 0 up", key);
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

/* {"NAME":ARGUMENTS}: a JSON object with just one key is how crosvm writes an enum. */
static int get_variant(json_t *value, const char **ret_name, json_t **ret_args,
		       struct err *err)
{
	void *only = json_object_iter(value);

	if (json_is_string(value)) {
		*ret_name = json_string_value(value);
		*ret_args = NULL;
		return 0;
	}
	if (json_object_size(value) != 1)
		return err_set(err, -EINVAL,
			       "a request is a text or an object with one key");
	*ret_name = json_object_iter_key(only);
	*ret_args = json_object_iter_value(only);
	return 0;
}

static int parse_balloon(json_t *args, struct control_request *ret, struct err *err)
{
	const json_t *wait;
	const char *name = "";
	int r = get_variant(args, &name, &args, err);

	if (r < 0)
		return r;
	if (!args && !strcmp(name, "Stats")) {
		ret->kind = CONTROL_BALLOON_STATS;
		return 0;
	}
	if (!args || strcmp(name, "Adjust") != 0)
		return err_set(err, -EINVAL, "%s: unknown or incomplete", name);
	wait = json_object_get(args, "wait_for_success");
	if (wait && !json_is_boolean(wait))
		return err_set(err, -EINVAL, "wait_for_success: must be true or false");
	ret->kind = CONTROL_BALLOON_ADJUST;
	ret->wait = json_is_true(wait);
	return get_size(args, "num_bytes", &ret->bytes, err);
}

static int parse_disk(json_t *args, struct control_request *ret, struct err *err)
{
	const char *name = "";
	int r = get_size(args, "disk_index", &ret->index, err);

	if (r < 0)
		return r;
	r = get_variant(json_object_get(args, "command"), &name, &args, err);
	if (r < 0)
		return r;
	if (!args || strcmp(name, "Resize") != 0)
		return err_set(err, -EINVAL, "%s: unknown or incomplete", name);
	ret->kind = CONTROL_DISK_RESIZE;
	return get_size(args, "new_size", &ret->bytes, err);
}

static const struct {
	const char *name;
	enum control_kind kind;
	parse_fn *parse; /* NULL: the name is all there is */
} requests[] = {
	{ "Exit", CONTROL_EXIT, NULL },
	{ "Powerbtn", CONTROL_POWERBTN, NULL },
	{ "SuspendVcpus", CONTROL_SUSPEND_VCPUS, NULL },
	{ "ResumeVcpus", CONTROL_RESUME_VCPUS, NULL },
	{ "SuspendVm", CONTROL_SUSPEND_VM, NULL },
	{ "ResumeVm", CONTROL_RESUME_VM, NULL },
	{ "BalloonCommand", CONTROL_BALLOON_STATS, parse_balloon },
	{ "DiskCommand", CONTROL_DISK_RESIZE, parse_disk },
	{ "Dump", CONTROL_DUMP, NULL },
	{ "VcpuPidTid", CONTROL_VCPU_PID_TID, NULL },
	{ "GetVmDescriptor", CONTROL_VM_DESCRIPTOR, NULL },
	{ "Status", CONTROL_STATUS, NULL },
};

static int parse_request(json_t *value, struct control_request *ret, struct err *err)
{
	struct control_request request = { .fd = -1 };
	json_t *args = NULL;
	const char *name = "";
	int r = get_variant(value, &name, &args, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		if (strcmp(requests[i].name, name) != 0)
			continue;
		if (!args != !requests[i].parse)
			return err_set(err, -EINVAL, "request %s: %s", name,
				       args ? "has no arguments" : "needs arguments");
		request.kind = requests[i].kind;
		r = args ? requests[i].parse(args, &request, err) : 0;
		if (r < 0)
			return err_prefix(err, r, "request %s", name);
		*ret = request;
		return 0;
	}
	return err_set(err, -EINVAL, "request %.64s: unknown or unsupported", name);
}

int control_parse(const char *text, size_t len, struct control_request *ret,
		  struct err *err)
{
	json_error_t why;
	json_t *value;
	int r;

	value = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
	if (!value)
		return err_set(err, -EINVAL, "not JSON: %s", why.text);
	r = parse_request(value, ret, err);
	json_decref(value);
	return r;
}

char *control_print(const struct control_request *q)
{
	json_t *value = NULL;
	char *text;

	switch (q->kind) {
	case CONTROL_BALLOON_STATS:
		value = json_pack("{s:s}", "BalloonCommand", "Stats");
		break;
	case CONTROL_BALLOON_ADJUST:
		value = json_pack("{s:{s:{s:I,s:b}}}", "BalloonCommand", "Adjust",
				  "num_bytes", (json_int_t)q->bytes, "wait_for_success",
				  q->wait);
		break;
	case CONTROL_DISK_RESIZE:
		value = json_pack("{s:{s:I,s:{s:{s:I}}}}", "DiskCommand", "disk_index",
				  (json_int_t)q->index, "command", "Resize", "new_size",
				  (json_int_t)q->bytes);
		break;
	default:
		for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
			if (requests[i].kind == q->kind)
				value = json_string(requests[i].name);
	}
	text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	json_decref(value);
	return text;
}

/* --- answers --------------------------------------------------------------- */

json_t *control_error(const char *sentence)
{
	json_t *text = json_string(sentence);

	/* A name may be in it that is not UTF-8. */
	if (!text)
		text = json_string("the request failed");
	return json_pack("{s:o}", "ErrString", text);
}

int control_parse_reply(const char *text, size_t len, json_t **ret_reply,
			struct err *err)
{
	json_t *reply = json_loadb(text, len, JSON_DECODE_ANY, NULL);
	const json_t *errno_ = json_object_get(reply, "Err");
	const json_t *sentence = json_object_get(reply, "ErrString");
	int r;

	if (json_is_string(sentence)) {
		r = err_set(err, -EREMOTEIO, "%s", json_string_value(sentence));
	} else if (json_is_integer(errno_)) {
		const char *what =
			strerrordesc_np((int)(json_integer_value(errno_) & 0xffff));

		r = err_set(err, -EREMOTEIO, "%s", what ? what : "unknown error");
	} else if (json_object_size(reply) == 1 ||
		   (json_is_string(reply) && !strcmp(json_string_value(reply), "Ok"))) {
		*ret_reply = reply;
		return 0;
	} else {
		r = err_set(err, -EPROTO, "the answer is not one of the protocol's");
	}
	json_decref(reply);
	return r;
}
