/* service/common/bus_error.c: errors there and back. */
#include "service/common/bus_error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void an_error_comes_back_as_it_was(void **state)
{
	static const int codes[] = { -EBADMSG, -EINVAL, -EBADFD,  -EACCES, -ENOTSUP,
				     -ENOENT,  -EDQUOT, -ENOEXEC, -EIO };

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		sd_bus_error error = SD_BUS_ERROR_NULL;
		struct err err = { "a sentence" }, got = { "" };
		int r = bus_error_set(&error, codes[i], &err);

		assert_true(r < 0);
		assert_int_equal(bus_error_get(&error, r, &got), codes[i]);
		assert_string_equal(got.msg, "a sentence");
		sd_bus_error_free(&error);
	}
}

static void what_has_no_name_is_infrastructure(void **state)
{
	static const struct {
		int code, seen;
	} cases[] = { { -ENOMEM, -EIO }, { -EMFILE, -EDQUOT }, { -EPERM, -EACCES } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sd_bus_error error = SD_BUS_ERROR_NULL;
		int r = bus_error_set(&error, cases[i].code, NULL);

		assert_int_equal(bus_error_get(&error, r, NULL), cases[i].seen);
		sd_bus_error_free(&error);
	}
}

/* Or there would be no answer at all. */
static void a_sentence_is_text_that_can_be_sent(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "" },
		{ "\xc3\xa4 \xf0\x9f\x92\xbe", "\xc3\xa4 \xf0\x9f\x92\xbe" },
		{ "cut \xf0\x9f\x92", "cut ???" },
		{ "\xef\xbf\xbf|\xef\xb7\x90|\xf4\x8f\xbf\xbe", "???|???|????" },
		{ "\xef\xb7\xb0|\xef\xbf\xbd", "\xef\xb7\xb0|\xef\xbf\xbd" },
		{ "\xff\xc0\x80", "???" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		sd_bus_error error = SD_BUS_ERROR_NULL;
		struct err err;

		strcpy(err.msg, cases[i].text);
		bus_text(err.msg);
		assert_string_equal(err.msg, cases[i].want);
		strcpy(err.msg, cases[i].text);
		bus_error_set(&error, -EINVAL, &err);
		if (*cases[i].want)
			assert_string_equal(error.message, cases[i].want);
		sd_bus_error_free(&error);
	}
}

static void an_error_without_a_sentence_is_told_by_its_name(void **state)
{
	static const sd_bus_error errors[] = {
		{ .name = "org.vmm.Error.NotFound", .message = "" },
		{ .name = "org.vmm.Error.NotFound" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct err err = { "" };

		assert_int_equal(bus_error_get(&errors[i], -EIO, &err), -ENOENT);
		assert_string_equal(err.msg, "org.vmm.Error.NotFound");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_comes_back_as_it_was),
		cmocka_unit_test(what_has_no_name_is_infrastructure),
		cmocka_unit_test(a_sentence_is_text_that_can_be_sent),
		cmocka_unit_test(an_error_without_a_sentence_is_told_by_its_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
