/* Command lines of vm's subcommands, and sizes. */
#include "service/vm/command.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct opts {
	uint64_t mem;
	bool net, boost;
	int type;
};

static const char *const types[] = { "raw", "instance", NULL };
static const struct opt table[] = {
	{ .key = "mem",
	  .letter = 'm',
	  .type = OPT_U64,
	  .min = 1,
	  .max = 1000,
	  .offset = offsetof(struct opts, mem) },
	{ .key = "net",
	  .letter = 'n',
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct opts, net) },
	{ .key = "boost-it",
	  .letter = 'b',
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct opts, boost) },
	{ .key = "type",
	  .letter = 't',
	  .type = OPT_ENUM,
	  .names = types,
	  .offset = offsetof(struct opts, type) },
	{ 0 },
};
static const struct command command = {
	.name = "cmd", .synopsis = "A [B]", .opts = table, .min = 1, .max = 2
};

static const struct command shell = { .name = "sh",
				      .synopsis = "A [B]",
				      .opts = table,
				      .min = 1,
				      .max = 9,
				      .rest = true };

/* Words, separated by spaces. @rest: what is left of them, or the sentence of @code. */
static void assert_parsed_by(const struct command *c, const char *words, int code,
			     const char *rest, const struct opts *want)
{
	char *text = strdup(words), *args[16], *at = text, left[128] = "";
	struct opts o = { 0 };
	struct err err = { "" };
	size_t n = 0;
	int r;

	while (at)
		args[n++] = strsep(&at, " ");
	args[n] = NULL;
	r = command_parse(c, &o, args, &err);
	if (r != code)
		fail_msg("%s: %d: %s", words, r, err.msg);
	for (n = 0; r == 0 && args[n]; n++) {
		strcat(left, args[n]);
		strcat(left, " ");
	}
	assert_string_equal(r < 0 ? err.msg : left, rest);
	if (want) {
		assert_int_equal(o.mem, want->mem);
		assert_int_equal(o.net, want->net);
		assert_int_equal(o.boost, want->boost);
		assert_int_equal(o.type, want->type);
	}
	free(text);
}

static void assert_parsed(const char *words, int code, const char *rest,
			  const struct opts *want)
{
	assert_parsed_by(&command, words, code, rest, want);
}

static void options_may_stand_anywhere(void **state)
{
	(void)state;
	assert_parsed("a", 0, "a ", &(struct opts){ 0 });
	assert_parsed("-m 5 a", 0, "a ", &(struct opts){ .mem = 5 });
	assert_parsed("a -m5 b", 0, "a b ", &(struct opts){ .mem = 5 });
	assert_parsed("a -m=5", 0, "a ", &(struct opts){ .mem = 5 });
	assert_parsed("--mem=5 a", 0, "a ", &(struct opts){ .mem = 5 });
	assert_parsed("--mem 5 a", 0, "a ", &(struct opts){ .mem = 5 });
	assert_parsed("-nbm 5 a", 0, "a ",
		      &(struct opts){ .mem = 5, .net = true, .boost = true });
	assert_parsed("--boost-it --net=false a", 0, "a ",
		      &(struct opts){ .boost = true });
	assert_parsed("-t instance a", 0, "a ", &(struct opts){ .type = 1 });
	assert_parsed("- -- -m", 0, "- -m ", &(struct opts){ 0 });
}

static void those_of_another_program_are_left(void **state)
{
	const struct opts five = { .mem = 5 };

	(void)state;
	assert_parsed_by(&shell, "-m 5 a ls -m --help x", 0, "a ls -m --help x ",
			 &five);
	assert_parsed_by(&shell, "-m 5 a -- -m -- x", 0, "a -m -- x ", &five);
	assert_parsed_by(&shell, "-m 5 -- a -- -m", 0, "a -m ", &five);
	assert_parsed_by(&shell, "a --", 0, "a ", NULL);
	assert_parsed_by(&shell, "--help", -ECANCELED, "", NULL);
	assert_parsed_by(&shell, "-m 5", -EINVAL, "sh: needs A [B]", NULL);
}

static void help_is_asked_for(void **state)
{
	(void)state;
	assert_parsed("--help", -ECANCELED, "", NULL);
	assert_parsed("a b c -h", -ECANCELED, "", NULL);
}

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	assert_parsed("-n", -EINVAL, "cmd: needs A [B]", NULL);
	assert_parsed("a b c", -EINVAL, "c: one argument too many", NULL);
	assert_parsed("a --frob=1", -EINVAL, "--frob: unknown option", NULL);
	assert_parsed("a --helpx", -EINVAL, "--helpx: unknown option", NULL);
	assert_parsed("a -nz", -EINVAL, "-z: unknown option", NULL);
	assert_parsed("a -m", -EINVAL, "--mem: needs a value", NULL);
	assert_parsed("a --mem 5 -m 6", -EINVAL, "--mem: given twice", NULL);
}

static void sizes_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 },	      { "4096", 4096 },	      { "10K", 10 << 10 },
		{ "3KiB", 3 << 10 },  { "512M", 512 << 20 },  { "0x10M", 16 << 20 },
		{ "2G", 2ull << 30 }, { "1TiB", 1ull << 40 },
	};
	static const char *const bad[] = {
		"",	    "K",
		"5X",	    "5Kb",
		"5KiBx",    "-5K",
		"5 K",	    "1.5G",
		"8388608T", "123456789012345678901234567890123456789K"
	};
	struct err err;
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(command_bytes("x", good[i].text, &bytes, &err), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (command_bytes("x", bad[i], &bytes, &err) != -EINVAL)
			fail_msg("%s is a size", bad[i]);
		assert_non_null(strstr(err.msg, "x: must be a size such as 64M"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(those_of_another_program_are_left),
		cmocka_unit_test(help_is_asked_for),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(sizes_have_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
