/* vmm/report.c: what is said of each end, and of pages that a guest has got at */
#include "vmm/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "vmm/exit.h"

static const char *const names[] = { "pc", "sp", NULL };
static struct report *page;
static struct death d;

static int setup(void **state)
{
	(void)state;
	return report_new(&page, NULL);
}

static int teardown(void **state)
{
	(void)state;
	munmap(page, sizeof(*page));
	return 0;
}

/* The status object of @d as others read it, who refuse NULs and bad UTF-8. */
static json_t *object(void)
{
	char *text = report_json(&d, names, 1234);
	json_error_t error;
	json_t *o;

	assert_non_null(text);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	o = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	assert_non_null(o);
	free(text);
	return o;
}

static const char *string(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	assert_non_null(s);
	return s;
}

static void each_end_has_its_words(void **state)
{
	static const struct {
		enum vm_end end;
		unsigned detail;
		int status;
		const char *reason, *by;
	} ends[] = {
		{ VM_END_SHUTDOWN, 0, 0, "shutdown", "guest" },
		{ VM_END_REBOOT, 0, 32, "reboot", "guest" },
		{ VM_END_CRASH, 0, 33, "crash", "guest" },
		{ VM_END_PANIC, 0, 34, "panic", "guest" },
		{ VM_END_WATCHDOG, 0, 36, "watchdog", "guest" },
		{ VM_END_TIMEOUT, 0, 37, "timeout", "host" },
		{ VM_END_KILLED, 0, 0, "killed", "host" },
		{ VM_END_DEBUG_EXIT, 63, 127, "debug-exit", "guest" },
		{ VM_END_ERROR, 0, 1, "error", "host" },
		{ VM_END_NONE, 0, 1, "error", "host" },
	};

	(void)state;
	page->started = true;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		report_end(page, ends[i].end, ends[i].detail, "because");
		report_exited(page, ends[i].status, &d);
		assert_int_equal(d.status, ends[i].status);
		assert_string_equal(d.reason, ends[i].reason);
		assert_string_equal(d.requested_by, ends[i].by);
		assert_string_equal(d.detail, "because");
	}
}

static void error_before_the_guest_ran_is_a_failed_start(void **state)
{
	(void)state;
	report_end(page, VM_END_ERROR, 0, "no memory");
	report_exited(page, EXIT_ERROR, &d);
	assert_string_equal(d.reason, "start-failed");
	assert_string_equal(d.detail, "no memory");
}

static void shutdown_on_request_is_the_hosts(void **state)
{
	(void)state;
	page->host_asked = true;
	report_end(page, VM_END_SHUTDOWN, 0, "off");
	report_exited(page, EXIT_STOP, &d);
	assert_string_equal(d.reason, "shutdown");
	assert_string_equal(d.requested_by, "host");
	report_end(page, VM_END_REBOOT, 0, "again");
	report_exited(page, EXIT_RESET, &d);
	assert_string_equal(d.requested_by, "guest");
}

static void process_that_contradicts_itself_has_crashed(void **state)
{
	(void)state;
	report_end(page, VM_END_SHUTDOWN, 0, "all is well");
	report_exited(page, 77, &d);
	assert_int_equal(d.status, EXIT_CRASH);
	assert_string_equal(d.reason, "crash");
	assert_non_null(strstr(d.detail, "77"));
}

static void object_has_all_fields(void **state)
{
	json_t *o, *regs;

	(void)state;
	report_end(page, VM_END_PANIC, 0, "the guest panicked");
	page->panicked = page->started = true;
	page->n_vcpus = 2;
	page->registers[1][0] = 0xfedcba9876543210;
	report_console(page, "last words\n", 11);
	report_exited(page, EXIT_PANIC, &d);
	o = object();
	assert_int_equal(json_object_size(o), 9);
	assert_string_equal(string(o, "reason"), "panic");
	assert_int_equal(json_integer_value(json_object_get(o, "exit_status")), 34);
	assert_string_equal(string(o, "detail"), "the guest panicked");
	assert_string_equal(string(o, "requested_by"), "guest");
	assert_true(json_is_null(json_object_get(o, "failure_code")));
	assert_true(json_is_true(json_object_get(o, "guest_panicked")));
	assert_string_equal(string(o, "console_tail"), "last words\n");
	assert_int_equal(json_integer_value(json_object_get(o, "run_time_ms")), 1234);
	regs = json_object_get(o, "registers");
	assert_int_equal(json_array_size(regs), 2);
	assert_string_equal(string(json_array_get(regs, 0), "sp"), "0x0");
	assert_string_equal(string(json_array_get(regs, 1), "pc"),
			    "0xfedcba9876543210");
	json_decref(o);
}

static void without_a_page_the_object_is_complete(void **state)
{
	json_t *o;

	(void)state;
	report_died(NULL, EXIT_ARGS, "bad-arguments", "host", "--foo: unknown", &d);
	o = object();
	assert_int_equal(json_object_size(o), 9);
	assert_string_equal(string(o, "reason"), "bad-arguments");
	assert_string_equal(string(o, "console_tail"), "");
	assert_true(json_is_null(json_object_get(o, "registers")));
	assert_true(json_is_false(json_object_get(o, "guest_panicked")));
	json_decref(o);
}

/* Writes of one byte, of some, and of more than there is room for. */
static void tail_is_the_end_of_all_output(void **state)
{
	static const size_t lens[] = { 1, 100, REPORT_TAIL - 1, REPORT_TAIL,
				       3 * REPORT_TAIL + 5 };
	char *all = malloc(200000);
	size_t n = 0;

	(void)state;
	assert_non_null(all);
	for (unsigned i = 0; i < 40; i++) {
		size_t len = lens[i * 7 % ARRAY_SIZE(lens)];
		size_t tail;
		json_t *o;

		for (size_t k = 0; k < len; k++)
			all[n + k] = (char)('!' + (n + k) % 90);
		report_console(page, all + n, len);
		n += len;
		tail = n < REPORT_TAIL ? n : REPORT_TAIL;
		report_died(page, EXIT_CRASH, "killed", "host", "", &d);
		o = object();
		assert_int_equal(strlen(string(o, "console_tail")), tail);
		assert_memory_equal(string(o, "console_tail"), all + n - tail, tail);
		json_decref(o);
	}
	free(all);
}

static void every_byte_becomes_valid_text(void **state)
{
	uint8_t bytes[256];
	const char *tail;
	json_t *o;

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	report_console(page, bytes, sizeof(bytes));
	report_console(page, "\xc3\xa4\xf0\x9f\x90\xa7\xc0\x80|", 9);
	report_died(page, EXIT_CRASH, "killed", "host", "na\xffme", &d);
	o = object();
	tail = string(o, "console_tail");
	assert_memory_equal(tail, "\xef\xbf\xbd\x01\x02", 5);
	assert_int_equal(tail[2 + 10], '\n');
	/* 128 of them, then what is UTF-8, and an overlong NUL. */
	assert_int_equal(strlen(tail), 3 + 127 + 128 * 3 + 6 + 2 * 3 + 1);
	assert_non_null(
		strstr(tail, "\xef\xbf\xbd\xc3\xa4\xf0\x9f\x90\xa7\xef\xbf\xbd"));
	assert_string_equal(string(o, "detail"), "na\xef\xbf\xbdme");
	json_decref(o);
}

static void character_cut_by_the_ring_is_left_out(void **state)
{
	static uint8_t text[3 * 2000];
	json_t *o;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	report_console(page, text, sizeof(text));
	report_died(page, EXIT_CRASH, "killed", "host", "", &d);
	o = object();
	assert_int_equal(strlen(string(o, "console_tail")), REPORT_TAIL / 3 * 3);
	assert_null(strstr(string(o, "console_tail"), "\xef\xbf\xbd"));
	json_decref(o);
}

static void hostile_pages_hurt_nobody(void **state)
{
	static const uint8_t fills[] = { 0xff, 0x80, 'x', 0x01 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fills); i++) {
		memset(page, fills[i], sizeof(*page));
		report_exited(page, EXIT_STOP, &d);
		assert_int_equal(d.status, EXIT_CRASH);
		json_decref(object());
		page->end = VM_END_DEBUG_EXIT;
		report_exited(page, EXIT_DEBUG + (fills[i] & 63), &d);
		assert_string_equal(d.reason, "debug-exit");
		assert_int_equal(strlen(d.detail), REPORT_SENTENCE - 1);
		json_decref(object());
	}
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(each_end_has_its_words),
		T(error_before_the_guest_ran_is_a_failed_start),
		T(shutdown_on_request_is_the_hosts),
		T(process_that_contradicts_itself_has_crashed),
		T(object_has_all_fields),
		T(without_a_page_the_object_is_complete),
		T(tail_is_the_end_of_all_output),
		T(every_byte_becomes_valid_text),
		T(character_cut_by_the_ring_is_left_out),
		T(hostile_pages_hurt_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
