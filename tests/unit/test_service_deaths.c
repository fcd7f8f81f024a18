/* service/virtmgr/deaths.c: what each way to end is called. */
#include "service/virtmgr/deaths.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_reason(const char *object, int wait_code, int wait_status,
			  int killed_for, int reason, const char *sentence)
{
	const struct death_signs signs = {
		.wait_code = wait_code,
		.wait_status = wait_status,
		.object = object,
		.object_len = object ? strlen(object) : 0,
		.last_words = "vmm: a sentence",
		.killed_for = killed_for,
	};
	struct death d;

	death_find(&signs, &d);
	assert_int_equal(d.reason, reason);
	if (sentence)
		assert_string_equal(death_sentence(&d), sentence);
	death_clear(&d);
}

static void each_word_of_vmm_has_its_reason(void **state)
{
	static const struct {
		const char *word;
		int reason;
	} cases[] = {
		{ "shutdown", 3 },	   { "reboot", 5 },    { "crash", 6 },
		{ "sandbox", 6 },	   { "panic", 1000 },  { "watchdog", 17 },
		{ "timeout", 1002 },	   { "killed", 1 },    { "start-failed", 4 },
		{ "bad-arguments", 1001 }, { "error", 0 },     { "debug-exit", 1003 },
		{ "bootloader", 1004 },	   { "something", 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char object[128];

		snprintf(object, sizeof(object),
			 "{\"reason\":\"%s\",\"detail\":\"why\"}", cases[i].word);
		assert_reason(object, CLD_EXITED, 0, -1, cases[i].reason, "why");
		assert_non_null(death_name(cases[i].reason));
	}
}

static void what_androids_guests_tell_wins(void **state)
{
	static const struct {
		const char *code;
		int reason;
	} cases[] = {
		{ "PVM_FIRMWARE_PUBLIC_KEY_MISMATCH", 7 },
		{ "PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED", 8 },
		{ "MICRODROID_FAILED_TO_CONNECT_TO_VIRTUALIZATION_SERVICE", 11 },
		{ "MICRODROID_PAYLOAD_HAS_CHANGED", 12 },
		{ "MICRODROID_PAYLOAD_VERIFICATION_FAILED", 13 },
		{ "MICRODROID_INVALID_PAYLOAD_CONFIG", 14 },
		{ "MICRODROID_UNKNOWN_RUNTIME_ERROR", 15 },
		{ "BOOTLOADER_BAD_HASH", 1004 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char object[160];

		snprintf(object, sizeof(object),
			 "{\"reason\":\"bootloader\",\"failure_code\":\"%s\"}",
			 cases[i].code);
		assert_reason(object, CLD_EXITED, 1, -1, cases[i].reason, NULL);
	}
}

static void without_an_object_the_status_tells(void **state)
{
	static const struct {
		int code, status, reason;
		const char *sentence;
	} cases[] = {
		{ CLD_EXITED, 0, DEATH_SHUTDOWN, "vmm: a sentence" },
		{ CLD_EXITED, 1, DEATH_START_FAILED, "vmm: a sentence" },
		{ CLD_EXITED, 32, DEATH_REBOOT, NULL },
		{ CLD_EXITED, 33, DEATH_CRASH, NULL },
		{ CLD_EXITED, 34, DEATH_PANIC, NULL },
		{ CLD_EXITED, 35, DEATH_BAD_ARGUMENTS, NULL },
		{ CLD_EXITED, 36, DEATH_WATCHDOG_REBOOT, NULL },
		{ CLD_EXITED, 37, DEATH_TIMEOUT, NULL },
		{ CLD_EXITED, 64, DEATH_DEBUG_EXIT, NULL },
		{ CLD_EXITED, 127, DEATH_DEBUG_EXIT, NULL },
		{ CLD_EXITED, 63, DEATH_UNKNOWN, NULL },
		{ CLD_EXITED, 128, DEATH_UNKNOWN, NULL },
		{ CLD_KILLED, SIGKILL, DEATH_KILLED, "vmm was killed by SIGKILL" },
		{ CLD_DUMPED, SIGSEGV, DEATH_CRASH, "vmm was killed by SIGSEGV" },
		{ 0, 0, DEATH_INFRASTRUCTURE_ERROR, "vmm's process is lost" },
	};
	static const char *const none[] = { NULL,  "",	   "{\"reason\":",
					    "[1]", "null", "{\"reason\":\"sh\xff\"}" };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t j = 0; j < sizeof(none) / sizeof(none[0]); j++)
			assert_reason(none[j], cases[i].code, cases[i].status, -1,
				      cases[i].reason, cases[i].sentence);
}

static void why_we_killed_it_counts_if_that_ended_it(void **state)
{
	(void)state;
	assert_reason(NULL, CLD_KILLED, SIGKILL, DEATH_KILLED, DEATH_KILLED,
		      "the VM was stopped");
	assert_reason(NULL, CLD_KILLED, SIGKILL, DEATH_HANGUP, DEATH_HANGUP,
		      "the payload has not told in time that it started");
	assert_reason("{\"reason\":\"killed\"}", CLD_EXITED, 0, DEATH_HANGUP,
		      DEATH_HANGUP, NULL);
	/* It had ended before. */
	assert_reason("{\"reason\":\"shutdown\"}", CLD_EXITED, 0, DEATH_KILLED,
		      DEATH_SHUTDOWN, NULL);
	assert_reason(NULL, CLD_EXITED, 33, DEATH_HANGUP, DEATH_CRASH, NULL);
}

static void a_sentence_is_never_missing(void **state)
{
	(void)state;
	assert_reason("{}", CLD_EXITED, 0, -1, DEATH_UNKNOWN,
		      "the VM has ended, and nobody knows why");
	assert_reason("{\"detail\":7}", CLD_EXITED, 0, -1, DEATH_UNKNOWN,
		      "the VM has ended, and nobody knows why");
}

static void details_travel_with_their_types(void **state)
{
	static const char object[] =
		"{\"reason\":\"shutdown\",\"exit_status\":0,\"detail\":\"a b\","
		"\"requested_by\":\"guest\",\"failure_code\":null,"
		"\"console_tail\":\"bye\\uffff\\ufdd0\\n\xc3\xa4\",\"registers\":[{\"rip\":\"0x0\"}],"
		"\"guest_panicked\":false,\"run_time_ms\":12345678901}";
	const struct death_signs signs = { .wait_code = CLD_EXITED,
					   .object = object,
					   .object_len = strlen(object),
					   .killed_for = -1 };
	static const char *const want[] = { "exit_status", "detail", "requested_by",
					    "console_tail", "run_time_ms" };
	sd_bus_message *m;
	const char *key, *type, *name;
	struct death d;
	int32_t reason;
	sd_bus *bus;
	int fds[2];

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), errno);
	assert_return_code(sd_bus_new(&bus), 0);
	assert_return_code(sd_bus_set_fd(bus, fds[0], fds[0]), 0);
	assert_return_code(sd_bus_start(bus), 0);
	assert_return_code(sd_bus_message_new_signal(bus, &m, "/a", "a.b", "Died"), 0);
	death_find(&signs, &d);
	assert_return_code(death_append(m, &d), 0);
	assert_return_code(sd_bus_message_seal(m, 1, 0), 0);
	assert_string_equal(sd_bus_message_get_signature(m, 1), "isa{sv}");
	assert_return_code(sd_bus_message_read(m, "is", &reason, &name), 0);
	assert_int_equal(reason, 3);
	assert_string_equal(name, "shutdown");
	assert_return_code(sd_bus_message_enter_container(m, 'a', "{sv}"), 0);
	/* A guest may print what D-Bus does not take. */
	assert_string_equal(
		json_string_value(json_object_get(d.details, "console_tail")),
		"bye??????\n\xc3\xa4");
	death_clear(&d);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_true(sd_bus_message_enter_container(m, 'e', "sv") > 0);
		assert_return_code(sd_bus_message_read_basic(m, 's', &key), 0);
		assert_string_equal(key, want[i]);
		assert_return_code(sd_bus_message_peek_type(m, NULL, &type), 0);
		assert_string_equal(type, i == 0 ? "i" : i == 4 ? "t" : "s");
		assert_return_code(sd_bus_message_skip(m, "v"), 0);
		assert_return_code(sd_bus_message_exit_container(m), 0);
	}
	assert_int_equal(sd_bus_message_enter_container(m, 'e', "sv"), 0);
	sd_bus_message_unref(m);
	sd_bus_unref(bus);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_word_of_vmm_has_its_reason),
		cmocka_unit_test(what_androids_guests_tell_wins),
		cmocka_unit_test(without_an_object_the_status_tells),
		cmocka_unit_test(why_we_killed_it_counts_if_that_ended_it),
		cmocka_unit_test(a_sentence_is_never_missing),
		cmocka_unit_test(details_travel_with_their_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
