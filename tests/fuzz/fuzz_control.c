/*
 * Control packets: a request that is understood is one of those that there are, and
 * prints as one that means the same; an answer is one, an error, or neither.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(const char *text, size_t len)
{
	struct control_request q = { .kind = CONTROL_KINDS, .fd = 7 }, again;
	struct err err = { "" };
	char *printed;

	if (control_parse(text, len, &q, &err) < 0) {
		assert(err.msg[0] && q.kind == CONTROL_KINDS && q.fd == 7);
		return;
	}
	assert(q.kind < CONTROL_KINDS && q.fd == -1 && q.bytes <= INT64_MAX);
	printed = control_print(&q);
	assert(control_parse(printed, strlen(printed), &again, NULL) == 0);
	assert(again.kind == q.kind && again.index == q.index &&
	       again.bytes == q.bytes && again.wait == q.wait);
	free(printed);
}

static void answer(const char *text, size_t len)
{
	struct err err = { "" };
	json_t *reply = NULL;

	if (control_parse_reply(text, len, &reply, &err) < 0)
		assert(!reply);
	else
		assert(json_is_string(reply) || json_object_size(reply) == 1);
	json_decref(reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	request((const char *)data, size);
	answer((const char *)data, size);
	return 0;
}
