/* The failure port: which words become a code, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/failure.h"

static unsigned code_of(const char *text)
{
	struct failure_port p = { 0 };

	failure_port_write(&p, text, strlen(text));
	return p.code;
}

static void known_name_is_a_code(void **state)
{
	unsigned code = code_of("BOOTLOADER_ROLLBACK|");

	(void)state;
	assert_int_not_equal(code, 0);
	assert_string_equal(failure_name(code), "BOOTLOADER_ROLLBACK");
	assert_string_equal(failure_meaning(code), "older than what may be booted");
}

static void name_may_come_in_pieces(void **state)
{
	static const char text[] = "PVM_FIRMWARE_PUBLIC_KEY_MISMATCH|";
	struct failure_port p = { 0 };

	(void)state;
	for (const char *s = text; *s; s++) {
		assert_int_equal(p.code, 0);
		failure_port_write(&p, s, 1);
	}
	assert_string_equal(failure_name(p.code), "PVM_FIRMWARE_PUBLIC_KEY_MISMATCH");
}

static void other_words_are_none(void **state)
{
	(void)state;
	assert_int_equal(code_of(""), 0);
	assert_int_equal(code_of("|"), 0);
	assert_int_equal(code_of("BOOTLOADER_ROLLBACK"), 0); /* not ended */
	assert_int_equal(code_of("BOOTLOADER_ROLLBACKS|"), 0);
	assert_int_equal(code_of("x BOOTLOADER_ROLLBACK|"), 0);
	/* The first word counts. */
	assert_int_equal(code_of("x|BOOTLOADER_ROLLBACK|"), 0);
}

static void flood_is_cut(void **state)
{
	struct failure_port p = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		failure_port_write(&p, "BOOTLOADER_", 11);
	failure_port_write(&p, "|", 1);
	assert_int_equal(p.code, 0);
	assert_int_equal(p.len, FAILURE_TEXT_MAX);
}

static void every_name_fits_and_there_is_an_end(void **state)
{
	unsigned n = 1;

	(void)state;
	for (; failure_name(n); n++)
		assert_true(strlen(failure_name(n)) < FAILURE_TEXT_MAX);
	assert_true(n > 15);
	assert_null(failure_name(0xffffffff));
	assert_null(failure_name(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_name_is_a_code),
		cmocka_unit_test(name_may_come_in_pieces),
		cmocka_unit_test(other_words_are_none),
		cmocka_unit_test(flood_is_cut),
		cmocka_unit_test(every_name_fits_and_there_is_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
