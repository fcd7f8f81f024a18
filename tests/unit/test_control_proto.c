/* vmm/control_proto.c: every message, and what is none */
#include "vmm/control_proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static struct err err;

static int parse(const char *text, struct control_request *ret)
{
	err.msg[0] = '\0';
	return control_parse(text, strlen(text), ret, &err);
}

/* As a client of crosvm's writes them (serde). */
static const struct {
	const char *text;
	struct control_request request;
} messages[] = {
	{ "\"Exit\"", { .kind = CONTROL_EXIT } },
	{ "\"Powerbtn\"", { .kind = CONTROL_POWERBTN } },
	{ "\"SuspendVcpus\"", { .kind = CONTROL_SUSPEND_VCPUS } },
	{ "\"ResumeVcpus\"", { .kind = CONTROL_RESUME_VCPUS } },
	{ "\"SuspendVm\"", { .kind = CONTROL_SUSPEND_VM } },
	{ "\"ResumeVm\"", { .kind = CONTROL_RESUME_VM } },
	{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":1048576,"
	  "\"wait_for_success\":true}}}",
	  { .kind = CONTROL_BALLOON_ADJUST, .bytes = 1048576, .wait = true } },
	{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":0,"
	  "\"wait_for_success\":false}}}",
	  { .kind = CONTROL_BALLOON_ADJUST } },
	{ "{\"BalloonCommand\":\"Stats\"}", { .kind = CONTROL_BALLOON_STATS } },
	{ "{\"DiskCommand\":{\"disk_index\":3,\"command\":{\"Resize\":{"
	  "\"new_size\":9223372036854775807}}}}",
	  { .kind = CONTROL_DISK_RESIZE, .index = 3, .bytes = INT64_MAX } },
	{ "\"VcpuPidTid\"", { .kind = CONTROL_VCPU_PID_TID } },
	{ "\"GetVmDescriptor\"", { .kind = CONTROL_VM_DESCRIPTOR } },
	{ "\"Dump\"", { .kind = CONTROL_DUMP } },
	{ "\"Status\"", { .kind = CONTROL_STATUS } },
};

static void assert_same(const struct control_request *a,
			const struct control_request *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->index, b->index);
	assert_int_equal(a->bytes, b->bytes);
	assert_int_equal(a->wait, b->wait);
}

static void every_message_is_understood(void **state)
{
	unsigned seen = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		struct control_request q = { .fd = 0 };

		assert_int_equal(parse(messages[i].text, &q), 0);
		assert_same(&q, &messages[i].request);
		assert_int_equal(q.fd, -1);
		seen |= 1u << q.kind;
	}
	assert_int_equal(seen, (1u << CONTROL_KINDS) - 1);
}

static void every_message_is_printed_as_it_is_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		char *text = control_print(&messages[i].request);

		assert_string_equal(text, messages[i].text);
		free(text);
	}
}

static void older_and_newer_clients_are_understood(void **state)
{
	struct control_request q;

	(void)state;
	assert_int_equal(
		parse(" {\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":4096}}}\n", &q),
		0);
	assert_int_equal(q.bytes, 4096);
	assert_false(q.wait);
	assert_int_equal(parse("{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":1,"
			       "\"new_in_2030\":[{}]}}}",
			       &q),
			 0);
}

static void what_is_no_request_is_told_so(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{ "", "not JSON" },
		{ "\"Exit", "not JSON" },
		{ "\"Exit\"x", "not JSON" },
		{ "\"Exit\"\"Exit\"", "not JSON" },
		{ "Exit", "not JSON" },
		{ "\"Ex\\u0000it\"", "not JSON" },
		{ "\"\xff\"", "not JSON" },
		{ "{\"Exit\":1,\"Exit\":2}", "not JSON" },
		{ "\"exit\"", "request exit: unknown" },
		{ "\"Nonsense\"", "request Nonsense: unknown" },
		{ "\"BalloonCommand\"", "needs arguments" },
		{ "\"DiskCommand\"", "needs arguments" },
		{ "{\"Exit\":null}", "has no arguments" },
		{ "{\"Exit\":{}}", "has no arguments" },
		{ "{}", "object with one key" },
		{ "{\"Exit\":1,\"Powerbtn\":2}", "object with one key" },
		{ "[]", "object with one key" },
		{ "[\"Exit\"]", "object with one key" },
		{ "null", "object with one key" },
		{ "true", "object with one key" },
		{ "7", "object with one key" },
		{ "{\"BalloonCommand\":null}", "request BalloonCommand" },
		{ "{\"BalloonCommand\":\"Adjust\"}", "Adjust: unknown or incomplete" },
		{ "{\"BalloonCommand\":{\"Stats\":{}}}", "Stats: unknown" },
		{ "{\"BalloonCommand\":{\"Adjust\":{}}}", "num_bytes" },
		{ "{\"BalloonCommand\":{\"Adjust\":[1]}}", "num_bytes" },
		{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":-1}}}", "num_bytes" },
		{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":1.5}}}",
		  "num_bytes" },
		{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":\"1\"}}}",
		  "num_bytes" },
		{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":18446744073709551616}}}",
		  "not JSON" },
		{ "{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":1,"
		  "\"wait_for_success\":1}}}",
		  "wait_for_success" },
		{ "{\"DiskCommand\":{}}", "disk_index" },
		{ "{\"DiskCommand\":{\"disk_index\":0}}", "request DiskCommand" },
		{ "{\"DiskCommand\":{\"disk_index\":0,\"command\":\"Resize\"}}",
		  "Resize: unknown or incomplete" },
		{ "{\"DiskCommand\":{\"disk_index\":0,\"command\":{\"Shrink\":{}}}}",
		  "Shrink: unknown" },
		{ "{\"DiskCommand\":{\"disk_index\":0,\"command\":{\"Resize\":{}}}}",
		  "new_size" },
		{ "{\"DiskCommand\":{\"disk_index\":-1,\"command\":{\"Resize\":"
		  "{\"new_size\":1}}}}",
		  "disk_index" },
	};
	static const struct control_request untouched = { .index = 77, .fd = 5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct control_request q = untouched;

		assert_int_equal(parse(wrong[i].text, &q), -EINVAL);
		if (!strstr(err.msg, wrong[i].why))
			fail_msg("%s: \"%s\" lacks \"%s\"", wrong[i].text, err.msg,
				 wrong[i].why);
		assert_memory_equal(&q, &untouched, sizeof(q));
	}
}

static void deep_nesting_is_refused(void **state)
{
	static char text[CONTROL_MAX_PACKET];
	struct control_request q;

	(void)state;
	memset(text, '[', sizeof(text));
	assert_int_equal(control_parse(text, sizeof(text), &q, &err), -EINVAL);
	/* Closed, and as deep as is accepted. */
	memset(text, '[', 2000);
	memset(text + 2000, ']', 2000);
	assert_int_equal(control_parse(text, 4000, &q, &err), -EINVAL);
}

static int reply(const char *text, char *ret, size_t size)
{
	json_t *value = NULL;
	int r = control_parse_reply(text, strlen(text), &value, &err);
	char *printed = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

	snprintf(ret, size, "%s", printed ?: "");
	free(printed);
	json_decref(value);
	return r;
}

static void answers_are_told_apart(void **state)
{
	char text[128];

	(void)state;
	assert_int_equal(reply("\"Ok\"", text, sizeof(text)), 0);
	assert_string_equal(text, "\"Ok\"");
	assert_int_equal(reply("{\"Status\":{\"pid\":1}}", text, sizeof(text)), 0);
	assert_string_equal(text, "{\"Status\":{\"pid\":1}}");
	assert_int_equal(
		reply("{\"ErrString\":\"no \\u001b[2J disk\"}", text, sizeof(text)),
		-EREMOTEIO);
	assert_string_equal(err.msg, "no ?[2J disk");
	assert_int_equal(reply("{\"Err\":16}", text, sizeof(text)), -EREMOTEIO);
	assert_string_equal(err.msg, "Device or resource busy");
	assert_int_equal(reply("{\"Err\":123456}", text, sizeof(text)), -EREMOTEIO);
	assert_int_equal(reply("{\"Err\":-9223372036854775808}", text, sizeof(text)),
			 -EREMOTEIO);
	assert_int_equal(reply("\"Yes\"", text, sizeof(text)), -EPROTO);
	assert_int_equal(reply("{}", text, sizeof(text)), -EPROTO);
	assert_int_equal(reply("[]", text, sizeof(text)), -EPROTO);
	assert_int_equal(reply("", text, sizeof(text)), -EPROTO);
}

static void an_error_is_an_answer_whatever_it_says(void **state)
{
	json_t *value = control_error("disk 0: \xff\xfe");
	char *text = json_dumps(value, JSON_COMPACT);

	(void)state;
	assert_string_equal(text, "{\"ErrString\":\"the request failed\"}");
	free(text);
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_is_understood),
		cmocka_unit_test(every_message_is_printed_as_it_is_read),
		cmocka_unit_test(older_and_newer_clients_are_understood),
		cmocka_unit_test(what_is_no_request_is_told_so),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(answers_are_told_apart),
		cmocka_unit_test(an_error_is_an_answer_whatever_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
