/* base/log.c: filters of crosvm's grammar. */
#include "base/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void filters_give_the_level_of_everything(void **state)
{
	static const struct {
		const char *text;
		enum log_level level;
	} cases[] = {
		{ "off", LOG_LEVEL_OFF },
		{ "error", LOG_LEVEL_ERROR },
		{ "warn", LOG_LEVEL_WARN },
		{ "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG },
		{ "trace", LOG_LEVEL_DEBUG },
		{ "info,disk=warn", LOG_LEVEL_INFO },
		{ "disk=off,devices::virtio=trace,warn", LOG_LEVEL_WARN },
		{ "disk=warn", LOG_LEVEL_INFO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum log_level level = LOG_LEVEL_OFF;

		assert_int_equal(log_parse_filter(cases[i].text, &level, NULL), 0);
		assert_int_equal(level, cases[i].level);
	}
}

static void bad_filters_are_refused(void **state)
{
	static const char *const cases[] = { "",      "loud",  "info,",	    ",info",
					     "disk=", "=warn", "disk=loud", "info,warn",
					     "inf",   "infos" };
	enum log_level level = LOG_LEVEL_OFF;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(log_parse_filter(cases[i], &level, &err), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_OFF);
	assert_string_equal(
		err.msg,
		"\"infos\" is not one of: off, error, warn, info, debug, trace");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_give_the_level_of_everything),
		cmocka_unit_test(bad_filters_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
