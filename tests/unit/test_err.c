/* base/err.c */
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void set_formats_and_returns_the_code(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_set(&err, -EINVAL, "disk %d: bad", 2), -EINVAL);
	assert_string_equal(err.msg, "disk 2: bad");
}

static void sys_appends_the_description(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_sys(&err, -ENOENT, "kernel %s", "vmlinuz"), -ENOENT);
	assert_string_equal(err.msg, "kernel vmlinuz: No such file or directory");
}

static void unknown_codes_are_no_crash(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_sys(&err, -123456, "x"), -123456);
	assert_string_equal(err.msg, "x: unknown error");
}

static void prefix_goes_before(void **state)
{
	struct err err;

	(void)state;
	err_set(&err, -EIO, "inner");
	assert_int_equal(err_prefix(&err, -EIO, "disk %d", 1), -EIO);
	assert_string_equal(err.msg, "disk 1: inner");
}

static void no_err_is_fine(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_sys(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_prefix(NULL, -EIO, "x"), -EIO);
}

static void long_text_is_cut_with_dots(void **state)
{
	char text[600];
	struct err err;

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + sizeof(err.msg) - 5, "a...");

	/* A cut sentence stays cut when more is put around it. */
	err_sys(&err, -EIO, "%s", text);
	assert_string_equal(err.msg + sizeof(err.msg) - 5, "a...");
	err_prefix(&err, -EIO, "disk");
	assert_memory_equal(err.msg, "disk: aaa", 9);
	assert_string_equal(err.msg + sizeof(err.msg) - 5, "a...");
}

static void longest_text_that_fits_is_whole(void **state)
{
	char text[512];
	struct err err;

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(&err, -EIO, "%s", text);
	assert_string_equal(err.msg, text);
}

static void control_characters_are_shown_harmless(void **state)
{
	struct err err;

	(void)state;
	err_set(&err, -EIO, "disk %s: \xc3\xa4", "a\nb\x1b[2J\x7f\xc2\x9b");
	assert_string_equal(err.msg, "disk a?b?[2J???: \xc3\xa4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_formats_and_returns_the_code),
		cmocka_unit_test(sys_appends_the_description),
		cmocka_unit_test(unknown_codes_are_no_crash),
		cmocka_unit_test(prefix_goes_before),
		cmocka_unit_test(no_err_is_fine),
		cmocka_unit_test(long_text_is_cut_with_dots),
		cmocka_unit_test(longest_text_that_fits_is_whole),
		cmocka_unit_test(control_characters_are_shown_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
