/* The frames of a shell in a guest, as they are made and as anybody may send them. */
#include "base/shell_proto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct shell_reader reader;
static uint8_t buf[SHELL_FRAME_MAX];

static int setup(void **state)
{
	(void)state;
	memset(&reader, 0, sizeof(reader));
	return 0;
}

static void feed(const void *bytes, size_t len)
{
	size_t room;
	uint8_t *to = shell_room(&reader, &room);

	assert_true(room >= len);
	memcpy(to, bytes, len);
	shell_add(&reader, len);
}

static void a_frame_comes_byte_by_byte(void **state)
{
	static const uint8_t bytes[] = { SHELL_INPUT, 3, 0, 'a', 'b', 'c' };
	struct shell_frame f;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_false(shell_next(&reader, &f));
		feed(bytes + i, 1);
	}
	assert_true(shell_next(&reader, &f));
	assert_int_equal(f.type, SHELL_INPUT);
	assert_int_equal(f.len, 3);
	assert_memory_equal(f.data, "abc", 3);
	assert_false(shell_next(&reader, &f));
}

static void frames_come_at_once(void **state)
{
	static const uint8_t bytes[] = { SHELL_OUTPUT, 1, 0, 'o',
					 SHELL_EXIT,   1, 0, 7,
					 0xff,	       0, 0, SHELL_ERROR };
	struct shell_frame f;

	(void)state;
	feed(bytes, sizeof(bytes));
	assert_true(shell_next(&reader, &f) && f.type == SHELL_OUTPUT &&
		    *f.data == 'o');
	assert_true(shell_next(&reader, &f) && f.type == SHELL_EXIT && *f.data == 7);
	assert_true(shell_next(&reader, &f) && f.type == 0xff && f.len == 0);
	assert_false(shell_next(&reader, &f));
}

static void the_largest_frame_has_room(void **state)
{
	struct shell_frame f;
	size_t room;

	(void)state;
	/* Behind another one, so that it starts in the middle. */
	shell_header(buf, SHELL_INPUT, 0);
	feed(buf, SHELL_HEADER);
	assert_true(shell_next(&reader, &f));
	shell_header(buf, SHELL_INPUT, UINT16_MAX);
	memset(buf + SHELL_HEADER, 'x', UINT16_MAX);
	feed(buf, sizeof(buf) - 1);
	assert_false(shell_next(&reader, &f));
	shell_room(&reader, &room);
	assert_int_equal(room, 1);
	feed("y", 1);
	assert_true(shell_next(&reader, &f));
	assert_int_equal(f.len, UINT16_MAX);
	assert_int_equal(f.data[UINT16_MAX - 1], 'y');
}

static void assert_start(const struct shell_start *start)
{
	struct shell_start got = { .term = NULL };
	struct shell_frame f;
	size_t i = 0;
	int n = shell_put_start(buf, start);

	assert_true(n > 0);
	feed(buf, (size_t)n);
	assert_true(shell_next(&reader, &f));
	assert_int_equal(f.type, SHELL_START);
	assert_int_equal(shell_get_start(&f, &got), 0);
	assert_int_equal(got.terminal, start->terminal);
	assert_int_equal(got.size.rows, start->size.rows);
	assert_int_equal(got.size.columns, start->size.columns);
	assert_string_equal(got.term, start->term);
	for (; start->args[i]; i++)
		assert_string_equal(got.args[i], start->args[i]);
	assert_null(got.args[i]);
}

static void a_start_is_understood(void **state)
{
	(void)state;
	assert_start(&(struct shell_start){ .term = "" });
	assert_start(&(struct shell_start){ .terminal = true,
					    .size = { 65535, 258 },
					    .term = "xterm",
					    .args = { "sh", "-c", "", "exit 7" } });
}

static void a_start_that_does_not_fit_is_refused(void **state)
{
	static char longest[UINT16_MAX];
	struct shell_start s = { .term = "", .args = { longest } };

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	assert_int_equal(shell_put_start(buf, &s), -E2BIG);
	/* The five bytes before, and the NUL of TERM. */
	longest[UINT16_MAX - 7] = '\0';
	assert_int_equal(shell_put_start(buf, &s), SHELL_FRAME_MAX);
	assert_start(&s);
}

static void what_is_no_start_is_refused(void **state)
{
	static uint8_t many[6 + SHELL_ARGS_MAX + 1];
	static const struct {
		const char *bytes;
		uint16_t len;
	} bad[] = {
		{ "", 0 },
		{ "\0\1\0\1\0", 5 }, /* no TERM */
		{ "\0\1\0\1\0x", 6 }, /* that does not end */
		{ "\0\1\0\1\0\0sh", 8 },
		{ "\2\1\0\1\0\0", 6 }, /* neither a terminal nor none */
	};
	struct shell_start start;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct shell_frame f = { SHELL_START, bad[i].len,
					 (const uint8_t *)bad[i].bytes };

		if (shell_get_start(&f, &start) != -EBADMSG)
			fail_msg("%zu is a start", i);
	}
	/* Empty arguments. */
	assert_int_equal(
		shell_get_start(&(struct shell_frame){ 1, sizeof(many), many }, &start),
		-EBADMSG);
	assert_int_equal(
		shell_get_start(&(struct shell_frame){ 1, sizeof(many) - 1, many },
				&start),
		0);
	assert_null(start.args[SHELL_ARGS_MAX]);
	assert_string_equal(start.args[SHELL_ARGS_MAX - 1], "");
}

static void a_size_has_four_bytes(void **state)
{
	struct shell_size size = { 258, 80 };

	(void)state;
	assert_int_equal(shell_put_size(buf, &size), SHELL_HEADER + 4);
	assert_memory_equal(buf, "\3\4\0\2\1\120\0", 7);
	for (uint16_t len = 0; len < 9; len++)
		assert_int_equal(shell_get_size(&(struct shell_frame){ SHELL_SIZE, len,
								       buf + 3 },
						&size),
				 len == 4 ? 0 : -EBADMSG);
	assert_int_equal(size.rows, 258);
	assert_int_equal(size.columns, 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_frame_comes_byte_by_byte, setup),
		cmocka_unit_test_setup(frames_come_at_once, setup),
		cmocka_unit_test_setup(the_largest_frame_has_room, setup),
		cmocka_unit_test_setup(a_start_is_understood, setup),
		cmocka_unit_test_setup(a_start_that_does_not_fit_is_refused, setup),
		cmocka_unit_test_setup(what_is_no_start_is_refused, setup),
		cmocka_unit_test_setup(a_size_has_four_bytes, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
