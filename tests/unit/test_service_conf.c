/* The service's configuration file: what it sets, and what is told of what is wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/virtualizationservice/conf.h"

static int parse(struct conf *conf, const char *text, struct err *err)
{
	conf_init(conf);
	return conf_parse(conf, text, strlen(text), err);
}

static void refused(const char *text, const char *sentence)
{
	struct err err = { "" };
	struct conf conf;

	assert_int_equal(parse(&conf, text, &err), -EINVAL);
	assert_string_equal(err.msg, sentence);
	conf_free(&conf);
}

static void test_without_a_file_there_are_limits(void **state)
{
	struct limits limits;
	struct conf conf;

	(void)state;
	conf_init(&conf);
	assert_int_equal(conf_load(&conf, "/nonexistent/file", true, NULL), 0);
	limits = conf_limits(&conf, 0);
	assert_int_equal(limits.vms, 1024);
	assert_int_equal(limits.cids, 2048);
	assert_int_equal(limits.connections, 512);
	assert_int_equal(limits.memory_mib, LIMIT_NONE);
	assert_null(conf.group);
	conf_free(&conf);
}

static void test_a_file_that_was_named_must_be_there(void **state)
{
	struct err err = { "" };
	struct conf conf;

	(void)state;
	conf_init(&conf);
	assert_int_equal(conf_load(&conf, "/nonexistent/file", false, &err), -ENOENT);
	assert_non_null(strstr(err.msg, "/nonexistent/file"));
	conf_free(&conf);
}

static void test_a_user_has_the_defaults_but_for_what_is_said_of_him(void **state)
{
	struct limits limits;
	struct conf conf;

	(void)state;
	/* Also where the defaults come last. */
	assert_int_equal(parse(&conf,
			       "# a comment\n"
			       "group = kvm\n"
			       " debug_group=999 \n"
			       "\n"
			       "[uid 1000]\n"
			       "vms = 0\r\n"
			       "memory_mib = unlimited\n"
			       "[ uid  1001 ]\n"
			       "connections = 0x10\n"
			       "[default]\n"
			       "vms = 7\n"
			       "memory_mib = 2048\n"
			       "cids = 9\n"
			       "connections = 3",
			       NULL),
			 0);
	assert_string_equal(conf.group, "kvm");
	assert_string_equal(conf.debug_group, "999");
	limits = conf_limits(&conf, 1000);
	assert_int_equal(limits.vms, 0);
	assert_int_equal(limits.memory_mib, LIMIT_NONE);
	assert_int_equal(limits.cids, 9);
	assert_int_equal(limits.connections, 3);
	limits = conf_limits(&conf, 1001);
	assert_int_equal(limits.vms, 7);
	assert_int_equal(limits.connections, 16);
	limits = conf_limits(&conf, 1002);
	assert_int_equal(limits.memory_mib, 2048);
	conf_free(&conf);
}

static void test_users_have_names(void **state)
{
	struct err err = { "" };
	struct conf conf;

	(void)state;
	assert_int_equal(
		parse(&conf, "[default]\nvms = 1\n[user root]\nvms = 2\n", NULL), 0);
	assert_int_equal(conf_resolve(&conf, NULL), 0);
	assert_int_equal(conf_limits(&conf, 0).vms, 2);
	assert_int_equal(conf_limits(&conf, 1).vms, 1);
	conf_free(&conf);
	assert_int_equal(parse(&conf, "\n[user no-such-user]\n", NULL), 0);
	assert_int_equal(conf_resolve(&conf, &err), -EINVAL);
	assert_string_equal(err.msg, "line 2: no-such-user: there is no such user");
	conf_free(&conf);
}

static void test_what_is_wrong_is_told_with_its_line(void **state)
{
	(void)state;
	refused("[default]\nvm = 1", "line 2: vm: there is no such key here");
	refused("[default]\nVMS = 1", "line 2: VMS: there is no such key here");
	refused("vms = 1", "line 1: vms: there is no such key before a [section]");
	refused("[default]\ngroup = a", "line 2: group: there is no such key here");
	refused("\n\nnonsense", "line 3: nonsense: is not KEY = VALUE");
	refused("[default]\nvms =", "line 2: vms: has no value");
	refused("[default]\nvms = -1",
		"line 2: vms: -1: is neither a number nor \"unlimited\"");
	refused("[default]\nmemory_mib = 18446744073709551615",
		"line 2: memory_mib: 18446744073709551615: is neither a number nor "
		"\"unlimited\"");
	refused("[default]\nvms = 1 # one",
		"line 2: vms: 1 # one: is neither a number nor \"unlimited\"");
	refused("[default", "line 1: [default: ] is missing");
	refused("[]", "line 1: []: is not [default], [user NAME] or [uid NUMBER]");
	refused("[uid]",
		"line 1: [uid]: is not [default], [user NAME] or [uid NUMBER]");
	refused("[group 1]",
		"line 1: [group]: is not [default], [user NAME] or [uid NUMBER]");
	refused("[uid root]", "line 1: root: is not a uid");
	refused("[uid 12x]", "line 1: 12x: is not a uid");
	refused("[uid 4294967295]", "line 1: 4294967295: is not a uid");
}

static void test_a_nul_is_no_text(void **state)
{
	struct err err = { "" };
	struct conf conf;

	(void)state;
	conf_init(&conf);
	assert_int_equal(conf_parse(&conf, "[default]\n\0", 11, &err), -EINVAL);
	conf_free(&conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_file_there_are_limits),
		cmocka_unit_test(test_a_file_that_was_named_must_be_there),
		cmocka_unit_test(
			test_a_user_has_the_defaults_but_for_what_is_said_of_him),
		cmocka_unit_test(test_users_have_names),
		cmocka_unit_test(test_what_is_wrong_is_told_with_its_line),
		cmocka_unit_test(test_a_nul_is_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
