/* The lines of the guest's agent, which may say anything. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/virtmgr/payload.h"

static struct payload_line line;

static int parse(const char *text)
{
	return payload_parse(text, strlen(text), &line);
}

static void each_event_is_understood(void **state)
{
	(void)state;
	assert_int_equal(parse("started"), 0);
	assert_int_equal(line.event, PAYLOAD_STARTED);
	assert_int_equal(parse("ready"), 0);
	assert_int_equal(line.event, PAYLOAD_READY);
	assert_int_equal(parse("finished 0"), 0);
	assert_int_equal(line.event, PAYLOAD_FINISHED);
	assert_int_equal(line.code, 0);
	assert_string_equal(line.message, "");
	assert_int_equal(parse("error 2 kein Gerät: \xf0\x9f\x92\xa5"), 0);
	assert_int_equal(line.event, PAYLOAD_ERROR);
	assert_int_equal(line.code, 2);
	assert_string_equal(line.message, "kein Gerät: \xf0\x9f\x92\xa5");
	assert_int_equal(parse("error 2 "), 0);
	assert_string_equal(line.message, "");
}

static void codes_have_32_bits(void **state)
{
	(void)state;
	assert_int_equal(parse("finished 2147483647"), 0);
	assert_int_equal(line.code, INT32_MAX);
	assert_int_equal(parse("finished -2147483648"), 0);
	assert_int_equal(line.code, INT32_MIN);
	assert_int_equal(parse("finished -0"), 0);
	assert_int_equal(line.code, 0);
	assert_int_equal(parse("finished 2147483648"), -EBADMSG);
	assert_int_equal(parse("finished -2147483649"), -EBADMSG);
	assert_int_equal(parse("finished 99999999999999999999999"), -EBADMSG);
}

static void anything_else_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"Started",
		"started ",
		"started 1",
		"starte",
		"ready\r",
		" ready",
		"finished",
		"finished ",
		"finished -",
		"finished +1",
		"finished 1 ",
		"finished 0x1",
		"finished  1",
		"error 1",
		"error x y",
		"error 1\ty",
		"error 1 tab\there",
		"error 1 \x1b[31m",
		"error 1 \x7f",
		"error 1 \xc2\x9b" /* a control character of 8 bits */,
		"error 1 \xff",
		"error 1 \xed\xa0\x80" /* a surrogate */,
		"error 1 \xc3" /* cut */,
		"stop",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		if (parse(lines[i]) != -EBADMSG)
			fail_msg("taken: \"%s\"", lines[i]);
	assert_int_equal(payload_parse("ready\0", 6, &line), -EBADMSG);
	assert_int_equal(payload_parse("error 1 a\0b", 11, &line), -EBADMSG);
}

/* --- streams --------------------------------------------------------------------- */

struct env {
	sd_event *event;
	struct payload *payload;
	unsigned told;
	char text[PAYLOAD_MAX_LINE];
	bool free_it;
	int agent;
};

static void on_payload(void *userdata, enum payload_event event, int32_t code,
		       const char *message)
{
	struct env *e = userdata;

	(void)event;
	(void)code;
	e->told++;
	snprintf(e->text, sizeof(e->text), "%s", message);
	if (e->free_it) {
		payload_free(e->payload);
		e->payload = NULL;
	}
}

static const struct vsock_ops ops = { on_payload };

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));
	int pair[2];

	assert_true(sd_event_new(&e->event) >= 0);
	assert_int_equal(payload_new(e->event, &ops, e, &e->payload, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	payload_add(e->payload, pair[0]);
	e->agent = pair[1];
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	payload_free(e->payload);
	sd_event_unref(e->event);
	close(e->agent);
	free(e);
	return 0;
}

static void run(struct env *e)
{
	while (sd_event_run(e->event, 0) > 0)
		;
}

static void says(struct env *e, const char *text, size_t len)
{
	assert_int_equal(send(e->agent, text, len, MSG_NOSIGNAL), len);
	run(e);
}

static bool is_closed(struct env *e)
{
	char c;

	return recv(e->agent, &c, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static void a_line_of_1024_bytes_is_the_longest(void **state)
{
	struct env *e = *state;
	char text[PAYLOAD_MAX_LINE + 1];

	memset(text, 'x', sizeof(text));
	memcpy(text, "error 1 ", 8);
	text[PAYLOAD_MAX_LINE - 1] = '\n';
	says(e, text, PAYLOAD_MAX_LINE);
	assert_int_equal(e->told, 1);
	assert_int_equal(strlen(e->text), PAYLOAD_MAX_LINE - 9);
	text[PAYLOAD_MAX_LINE - 1] = 'x';
	text[PAYLOAD_MAX_LINE] = '\n';
	says(e, text, sizeof(text));
	assert_int_equal(e->told, 1);
	assert_true(is_closed(e));
}

static void bytes_may_come_one_by_one(void **state)
{
	struct env *e = *state;

	for (const char *s = "ready\nerror 5 slow\n"; *s; s++)
		says(e, s, 1);
	assert_int_equal(e->told, 2);
	assert_string_equal(e->text, "slow");
	assert_false(is_closed(e));
}

static void what_follows_a_bad_line_is_not_heard(void **state)
{
	struct env *e = *state;

	says(e, "ready\nbad\nready\n", 16);
	assert_int_equal(e->told, 1);
	assert_true(is_closed(e));
}

static void half_a_line_at_the_end_is_nothing(void **state)
{
	struct env *e = *state;

	says(e, "ready", 5);
	shutdown(e->agent, SHUT_WR);
	run(e);
	assert_int_equal(e->told, 0);
	assert_true(is_closed(e));
}

static void who_is_told_may_free_it(void **state)
{
	struct env *e = *state;

	e->free_it = true;
	says(e, "finished 0\nready\n", 17);
	assert_int_equal(e->told, 1);
	assert_true(is_closed(e));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_event_is_understood),
		cmocka_unit_test(codes_have_32_bits),
		cmocka_unit_test(anything_else_is_refused),
		TEST(a_line_of_1024_bytes_is_the_longest),
		TEST(bytes_may_come_one_by_one),
		TEST(what_follows_a_bad_line_is_not_heard),
		TEST(half_a_line_at_the_end_is_nothing),
		TEST(who_is_told_may_free_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
