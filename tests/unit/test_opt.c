/* base/opt.c */
#include "base/opt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"

struct sub {
	uint64_t x, y;
	char *s;
};

struct cfg {
	char *path, *id;
	bool ro, direct;
	uint64_t num, port;
	int kind;
	struct sub sub;
	struct opt_list list;
};

#define AT(f) .offset = offsetof(struct cfg, f)

static const char *const kinds[] = { "stdout", "file", "sink", NULL };

static const struct opt sub_table[] = {
	{ .key = "x", .type = OPT_U64, .flags = OPT_FIRST, .def = 7, .help = "x" },
	{ .key = "y", .type = OPT_U64, .offset = offsetof(struct sub, y), .help = "y" },
	{ .key = "s", .type = OPT_STR, .offset = offsetof(struct sub, s), .help = "s" },
	{ 0 },
};

static const struct opt table[] = {
	{ .key = "path",
	  .type = OPT_STR,
	  .flags = OPT_FIRST | OPT_REQUIRED,
	  AT(path),
	  .arg = "PATH",
	  .help = "the file" },
	{ .key = "ro", .alias = "read-only", .type = OPT_BOOL, AT(ro), .help = "read" },
	{ .key = "direct", .type = OPT_BOOL, .def = 1, AT(direct), .help = "bypass" },
	{ .key = "id", .type = OPT_STR, AT(id), .help = "serial number" },
	{ .key = "block-num",
	  .type = OPT_U64,
	  .min = 1,
	  .max = 4,
	  .def = 2,
	  AT(num),
	  .help = "which" },
	{ .key = "port",
	  .type = OPT_U64,
	  .flags = OPT_HEX,
	  .max = 0xffff,
	  .def = 0xf4,
	  AT(port),
	  .help = "port" },
	{ .key = "kind",
	  .type = OPT_ENUM,
	  .names = kinds,
	  .def = 2,
	  AT(kind),
	  .help = "how" },
	{ .key = "sub", .type = OPT_GROUP, .sub = sub_table, AT(sub), .help = "more" },
	{ .key = "list", .type = OPT_LIST, AT(list), .help = "any" },
	{ 0 },
};

static struct cfg cfg;
static struct err err;

static int setup(void **state)
{
	(void)state;
	cfg = (struct cfg){ 0 };
	opt_defaults(table, &cfg);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	opt_free(table, &cfg);
	return 0;
}

static void defaults_are_set(void **state)
{
	(void)state;
	assert_false(cfg.ro);
	assert_true(cfg.direct);
	assert_int_equal(cfg.num, 2);
	assert_int_equal(cfg.kind, 2);
	assert_int_equal(cfg.sub.x, 7);
	assert_null(cfg.path);
}

static void every_type_is_parsed(void **state)
{
	(void)state;
	assert_int_equal(opt_parse(table,
				   "a.img,ro,direct=false,block-num=0x3,kind=file,"
				   "sub=[5,y=6,s=t],list=1,list=,id=Z",
				   &cfg, &err),
			 0);
	assert_string_equal(cfg.path, "a.img");
	assert_true(cfg.ro);
	assert_false(cfg.direct);
	assert_int_equal(cfg.num, 3);
	assert_int_equal(cfg.kind, 1);
	assert_int_equal(cfg.sub.x, 5);
	assert_int_equal(cfg.sub.y, 6);
	assert_string_equal(cfg.sub.s, "t");
	assert_int_equal(cfg.list.n, 2);
	assert_string_equal(cfg.list.v[0], "1");
	assert_string_equal(cfg.list.v[1], "");
	assert_string_equal(cfg.id, "Z");
}

/* The first value is positional unless "key=" stands before it. */
static void first_value_may_lack_its_key(void **state)
{
	static const struct {
		const char *text, *path;
	} cases[] = {
		{ "x", "x" },
		{ "path=x", "x" },
		{ "ro", "ro" },
		{ "/a=b", "/a=b" },
		{ "/tmp/x y;z", "/tmp/x y;z" },
		{ "\"a,b=c\"", "a,b=c" },
		{ "'it''s", NULL },
		{ "path='a\"b'", "a\"b" },
		{ "path=\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d" },
		{ "path=a=b", "a=b" },
		{ "path=\"[\"", "[" },
		{ "path=[a,[b],\"]\",c]", "[a,[b],\"]\",c]" },
		{ "path=[\"a\\\"]\\\\\"],ro", "[\"a\\\"]\\\\\"]" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = opt_parse(table, cases[i].text, &cfg, &err);

		assert_int_equal(r, cases[i].path ? 0 : -EINVAL);
		if (r == 0)
			assert_string_equal(cfg.path, cases[i].path);
		opt_free(table, &cfg);
	}
}

static void keys_have_aliases_and_two_dashes(void **state)
{
	(void)state;
	assert_int_equal(opt_parse(table, "x,read_only=1,block_num=4", &cfg, &err), 0);
	assert_true(cfg.ro);
	assert_int_equal(cfg.num, 4);
}

static void mistakes_are_sentences(void **state)
{
	static const struct {
		const char *text, *msg;
	} cases[] = {
		{ "", "path: must be given" },
		{ "ro=true", "path: must be given" },
		{ "path=", "path: the value is empty" },
		{ "path=\"\"", "path: the value is empty" },
		{ "x,path=y", "path: given twice" },
		{ "x,ro,read-only", "ro: given twice" },
		{ "x,id", "id: needs a value" },
		{ "x,ro=yes", "ro: \"yes\" is neither true nor false" },
		{ "x,ro=", "ro: the value is empty" },
		{ "x,block-num=0", "block-num: 0 is not within 1 to 4" },
		{ "x,block-num=5", "block-num: 5 is not within 1 to 4" },
		{ "x,block-num=99999999999999999999",
		  "block-num: 99999999999999999999 is not within 1 to 4" },
		{ "x,block-num=-1", "block-num: \"-1\" is not a number" },
		{ "x,port=0x10000", "port: 0x10000 is not within 0x0 to 0xffff" },
		{ "x,kind=pty", "kind: \"pty\" is not one of: stdout, file, sink" },
		{ "x,kind", "kind: needs a value" },
		{ "x,,ro", "a key is missing" },
		{ "x,", "a key is missing" },
		{ ",", "a key is missing" },
		{ "x,=y",
		  "unknown key \"=y\" (path, ro, direct, id, block-num, port, kind, sub, list)" },
		{ "x,id=\"a", "id: \" without its end" },
		{ "x,id=\"a\\\"", "id: \" without its end" },
		{ "x,id=\"a\"b", "id: \"b\" follows a closing \"" },
		{ "x,id=[a", "id: [ without its end" },
		{ "x,id=[a]b", "id: \"b\" follows a closing ]" },
		{ "x,sub=", "sub: the value is empty" },
		{ "x,sub=y=q", "sub: y: \"q\" is not a number" },
		{ "x,sub=[z=1]", "sub: unknown key \"z\" (x, y, s)" },
		{ "x,foo=1",
		  "unknown key \"foo\" (path, ro, direct, id, block-num, port, kind, sub, list)" },
		{ "foo=1",
		  "unknown key \"foo\" (path, ro, direct, id, block-num, port, kind, sub, list)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(opt_parse(table, cases[i].text, &cfg, &err), -EINVAL);
		assert_string_equal(err.msg, cases[i].msg);
		opt_free(table, &cfg);
		setup(NULL);
	}
}

static void failed_set_changes_nothing(void **state)
{
	const struct opt *num = opt_find(table, "block-num", 9);
	struct opt_seen seen = { 0 };

	(void)state;
	assert_int_equal(opt_set(table, num, "9", &cfg, &seen, &err), -EINVAL);
	assert_int_equal(cfg.num, 2);
	/* It was not given, then. */
	assert_int_equal(opt_set(table, num, "3", &cfg, &seen, &err), 0);
	assert_int_equal(cfg.num, 3);
	assert_int_equal(opt_set(table, num, "4", &cfg, &seen, &err), -EINVAL);
	assert_int_equal(cfg.num, 3);
}

static void bare_options_keep_their_default(void **state)
{
	static const struct opt bare[] = {
		{ .key = "n", .type = OPT_U64, .flags = OPT_BARE, .def = 3 },
		{ .key = "sub",
		  .type = OPT_GROUP,
		  .flags = OPT_BARE,
		  .sub = sub_table,
		  .offset = offsetof(struct cfg, sub) },
		{ 0 },
	};
	struct opt_seen seen = { 0 };
	union {
		struct cfg cfg;
		uint64_t n;
	} u = { 0 };

	(void)state;
	opt_defaults(bare, &u);
	assert_int_equal(opt_set(bare, &bare[0], NULL, &u, &seen, &err), 0);
	assert_int_equal(opt_set(bare, &bare[1], NULL, &u, &seen, &err), 0);
	assert_int_equal(u.n, 3);
	assert_int_equal(u.cfg.sub.x, 7);
	assert_int_equal(seen.bits, 3);
}

static void numbers_have_four_bases(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t v;
	} cases[] = {
		{ "0", 0, 0 },
		{ "10", 0, 10 },
		{ "010", 0, 10 },
		{ "0x1F", 0, 31 },
		{ "0o17", 0, 15 },
		{ "0b101", 0, 5 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "0xffffffffffffffff", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "99999999999999999999999x", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "0x", -EINVAL, 0 },
		{ "0X1", -EINVAL, 0 },
		{ "0b2", -EINVAL, 0 },
		{ "1a", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 0;

		assert_int_equal(opt_number(cases[i].text, &v), cases[i].r);
		assert_int_equal(v, cases[i].v);
	}
}

static void help_lists_keys_in_a_column(void **state)
{
	static const char want[] = "  path=PATH              the file (required)\n"
				   "  ro[=true|false]        read\n"
				   "  direct[=true|false]    bypass (default true)\n"
				   "  id=TEXT                serial number\n"
				   "  block-num=N            which (default 2)\n"
				   "  port=N                 port (default 0xf4)\n"
				   "  kind=stdout|file|sink  how (default sink)\n"
				   "  sub=KEY=VALUE,...      more\n"
				   "      x=N     x (default 7)\n"
				   "      y=N     y\n"
				   "      s=TEXT  s\n"
				   "  list=TEXT              any\n";
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	opt_help(table, out, 2);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void help_shows_options_as_they_are_typed(void **state)
{
	static const struct opt options[] = {
		{ .key = "mem",
		  .letter = 'm',
		  .type = OPT_U64,
		  .arg = "MIB",
		  .help = "a" },
		{ .key = "no-rng", .type = OPT_BOOL, .flags = OPT_BARE, .help = "b" },
		{ .key = "core", .type = OPT_BOOL, .arg = "BOOL", .help = "f" },
		{ .key = "exit", .type = OPT_U64, .flags = OPT_BARE, .help = "c" },
		{ .key = "log-level-with-a-very-long-name",
		  .type = OPT_ENUM,
		  .names = kinds,
		  .help = "d" },
		{ .key = "sub", .type = OPT_GROUP, .sub = sub_table, .help = "e" },
		{ 0 },
	};
	static const char want[] =
		"-m, --mem MIB            a\n"
		"    --no-rng             b\n"
		"    --core BOOL          f\n"
		"    --exit[=N]           c\n"
		"    --log-level-with-a-very-long-name stdout|file|sink\n"
		"                         d (default stdout)\n"
		"    --sub KEY=VALUE,...  e\n"
		"        x=N     x (default 7)\n"
		"        y=N     y\n"
		"        s=TEXT  s\n";
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	opt_help_options(options, out, 0);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

#define OPT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OPT_TEST(defaults_are_set),
		OPT_TEST(every_type_is_parsed),
		OPT_TEST(first_value_may_lack_its_key),
		OPT_TEST(keys_have_aliases_and_two_dashes),
		OPT_TEST(mistakes_are_sentences),
		OPT_TEST(failed_set_changes_nothing),
		OPT_TEST(bare_options_keep_their_default),
		cmocka_unit_test(numbers_have_four_bases),
		cmocka_unit_test(help_lists_keys_in_a_column),
		cmocka_unit_test(help_shows_options_as_they_are_typed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
