/* The files of early VMs: what they say, and what is told of what is wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "service/early_virtmgr/early_vms.h"

#define ALL(entries) "<early_vms>\n" entries "</early_vms>\n"
#define ENTRY(name, cid) \
	"<early_vm name=\"" name "\" cid=\"" cid "\" path=\"/bin/" name "\"/>\n"

static int parse(struct early_vms *vms, const char *text, struct err *err)
{
	return early_vms_parse(vms, "f.xml", 100, 199, text, strlen(text), err);
}

static void is(const struct early_vm *vm, const char *name, uint32_t cid,
	       const char *path, unsigned line)
{
	assert_non_null(vm);
	assert_string_equal(vm->name, name);
	assert_int_equal(vm->cid, cid);
	assert_string_equal(vm->path, path);
	assert_int_equal(vm->line, line);
}

/* --- one file ----------------------------------------------------------------- */

static void test_attributes_and_elements_say_the_same(void **state)
{
	static const char text[] =
		"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
		"<!-- of the distribution -->\n"
		"<early_vms>\n"
		"  <early_vm name=\"one\" cid=\"100\" path=\"/usr/bin/one\"/>\n"
		"  <early_vm>\n"
		"    <name>\n      two &amp; a half\n    </name>\n"
		"    <cid> 0xc7 </cid> <!-- the last -->\n"
		"    <path><![CDATA[/opt/<two>]]></path>\n"
		"  </early_vm>\n"
		"  <early_vm cid='150'><path>/bin/three</path><name>three</name></early_vm>\n"
		"</early_vms>\n";
	struct early_vms vms = { 0 };
	struct err err = { "" };

	(void)state;
	if (parse(&vms, text, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(vms.n, 3);
	is(early_vms_find(&vms, "one"), "one", 100, "/usr/bin/one", 4);
	is(early_vms_find(&vms, "two & a half"), "two & a half", 199, "/opt/<two>", 5);
	is(early_vms_find(&vms, "three"), "three", 150, "/bin/three", 12);
	assert_null(early_vms_find(&vms, "four"));
	early_vms_free(&vms);
}

static void test_a_file_may_have_none(void **state)
{
	struct early_vms vms = { 0 };

	(void)state;
	assert_int_equal(parse(&vms, "<early_vms/>", NULL), 0);
	assert_int_equal(vms.n, 0);
	early_vms_free(&vms);
}

static void test_what_is_wrong_is_told_with_its_line(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{ "", "f.xml: line 1: no element found" },
		{ "early", "f.xml: line 1: syntax error" },
		{ "<early_vms>\n<early_vm>\n</early_vms>",
		  "f.xml: line 3: mismatched tag" },
		{ "<vms/>", "f.xml: line 1: <vms> is not <early_vms>" },
		{ "<early_vms version=\"1\"/>",
		  "f.xml: line 1: <early_vms> has no attribute version" },
		{ ALL("<vm/>"), "f.xml: line 2: <vm> is not <early_vm>" },
		{ ALL("<early_vm name='a' uid='0'/>"),
		  "f.xml: line 2: early_vm a: <early_vm> has no attribute uid" },
		{ ALL("<early_vm>\n<user>me</user></early_vm>"),
		  "f.xml: line 3: <user> is not <name>, <cid> or <path>" },
		{ ALL("<early_vm><cid base='10'>100</cid></early_vm>"),
		  "f.xml: line 2: <cid> has no attribute base" },
		{ ALL("<early_vm><name><b>bold</b></name></early_vm>"),
		  "f.xml: line 2: <b> is within <name>" },
		{ ALL("\n\n<early_vm cid='100' path='/a'\n/>"),
		  "f.xml: line 4: <early_vm> has no name" },
		{ ALL("<early_vm name='a' path='/a'>\n</early_vm>"),
		  "f.xml: line 2: early_vm a: <early_vm> has no cid" },
		{ ALL("<early_vm name='a' cid='100'/>"),
		  "f.xml: line 2: early_vm a: <early_vm> has no path" },
		{ ALL("<early_vm name=' '/>"), "f.xml: line 2: name: is empty" },
		{ ALL("<early_vm name='a'>\n<cid>\n</cid></early_vm>"),
		  "f.xml: line 4: early_vm a: cid: is empty" },
		{ ALL("<early_vm name='a'><name>a</name></early_vm>"),
		  "f.xml: line 2: early_vm a: name: is given twice" },
		{ ALL("<early_vm name='a' name='a'/>"),
		  "f.xml: line 2: duplicate attribute" },
		{ ALL("<early_vm name='a' cid='ten' path='/a'/>"),
		  "f.xml: line 2: early_vm a: cid: \"ten\" is not a number" },
		{ ALL("<early_vm name='a' cid='-100' path='/a'/>"),
		  "f.xml: line 2: early_vm a: cid: \"-100\" is not a number" },
		{ ALL(ENTRY("a", "99")),
		  "f.xml: line 2: early_vm a: cid: 99 is not within 100 to 199, which "
		  "are this folder's" },
		{ ALL(ENTRY("a", "200")),
		  "f.xml: line 2: early_vm a: cid: 200 is not within 100 to 199, which "
		  "are this folder's" },
		{ ALL(ENTRY("a", "4294967396")),
		  "f.xml: line 2: early_vm a: cid: 4294967396 is not within 100 to 199, "
		  "which are this folder's" },
		{ ALL(ENTRY("a", "18446744073709551716")),
		  "f.xml: line 2: early_vm a: cid: \"18446744073709551716\" is not a "
		  "number" },
		{ ALL("<early_vm name='a' cid='100' path='bin/a'/>"),
		  "f.xml: line 2: early_vm a: path: bin/a does not begin with /" },
		{ ALL(ENTRY("a", "100") ENTRY("b", "101") ENTRY("a", "102")),
		  "f.xml: line 4: early_vm a: name: is that of line 2 of f.xml, too" },
		{ ALL(ENTRY("a", "100") ENTRY("b", "0x64")),
		  "f.xml: line 3: early_vm b: cid: 100 is that of a, line 2 of f.xml, "
		  "too" },
		{ ALL("early"), "f.xml: line 2: text where none belongs" },
		{ ALL("<early_vm name='a'>a</early_vm>"),
		  "f.xml: line 2: early_vm a: text where none belongs" },
		{ ALL(ENTRY("a", "100")) "<early_vms/>",
		  "f.xml: line 4: junk after document element" },
		{ ALL("<early_vm name='&a;'/>"), "f.xml: line 2: undefined entity" },
		{ "<!DOCTYPE early_vms>\n<early_vms/>",
		  "f.xml: line 1: a DTD is not read" },
		{ "<!DOCTYPE early_vms [\n<!ENTITY a \"aaaa\">\n]>\n"
		  "<early_vms>&a;</early_vms>",
		  "f.xml: line 1: a DTD is not read" },
		{ "<!DOCTYPE early_vms SYSTEM \"file:///etc/passwd\">\n<early_vms/>",
		  "f.xml: line 1: a DTD is not read" },
		{ "<?xml version=\"1.0\" encoding=\"klingon\"?><early_vms/>",
		  "f.xml: line 1: unknown encoding" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct early_vms vms = { 0 };
		struct err err = { "" };

		assert_int_equal(parse(&vms, cases[i].text, &err), -EINVAL);
		assert_string_equal(err.msg, cases[i].sentence);
		early_vms_free(&vms);
	}
}

/* With @n letters between the two. */
static int parse_long(const char *before, int n, const char *after, struct err *err)
{
	AUTO_FREE char *letters = malloc((size_t)n + 1);
	AUTO_FREE char *text = NULL;
	struct early_vms vms = { 0 };
	int r;

	memset(letters, 'x', (size_t)n);
	letters[n] = '\0';
	assert_true(asprintf(&text, "<early_vms>%s%s%s</early_vms>", before, letters,
			     after) > 0);
	r = parse(&vms, text, err);
	early_vms_free(&vms);
	return r;
}

static void test_values_have_a_longest(void **state)
{
	static const struct {
		const char *before, *after, *sentence;
		int most;
	} cases[] = {
		{ "<early_vm name='", "' cid='100' path='/a'/>",
		  "f.xml: line 1: name: is too long", 100 },
		{ "<early_vm cid='100' path='/a'><name>", "</name></early_vm>",
		  "f.xml: line 1: name: is too long", 100 },
		{ "<early_vm name='a' cid='100' path='/", "'/>",
		  "f.xml: line 1: early_vm a: path: is too long", 4094 },
		{ "<early_vm name='a' cid='100'><path>/", "</path></early_vm>",
		  "f.xml: line 1: early_vm a: path: is too long", 4094 },
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse_long(cases[i].before, cases[i].most,
					    cases[i].after, &err),
				 0);
		assert_int_equal(parse_long(cases[i].before, cases[i].most + 1,
					    cases[i].after, &err),
				 -EINVAL);
		assert_string_equal(err.msg, cases[i].sentence);
	}
}

static void test_a_file_that_is_too_large_is_not_read(void **state)
{
	static char text[EARLY_VMS_MAX_BYTES + 1];
	static const char some[] = "<early_vms/>";
	struct early_vms vms = { 0 };
	struct err err;

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, some, sizeof(some) - 1);
	assert_int_equal(early_vms_parse(&vms, "f", 1, 2, text, sizeof(text) - 1, &err),
			 0);
	assert_int_equal(early_vms_parse(&vms, "f", 1, 2, text, sizeof(text), &err),
			 -EINVAL);
	assert_string_equal(err.msg, "f: line 1: is larger than 64 KiB");
}

/* --- all of them -------------------------------------------------------------- */

static char root[64];

static const char *in_root(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(in_root(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_return_code(chmod(in_root(name), 0644), errno);
}

static int setup(void **state)
{
	static const char *const folders[] = { "usr",		"usr/lib",
					       "usr/lib/avf",	"usr/local",
					       "usr/local/lib", "usr/local/lib/avf",
					       "etc",		"etc/avf" };

	(void)state;
	strcpy(root, "/tmp/test_early_XXXXXX");
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		assert_return_code(mkdir(in_root(folders[i]), 0755), errno);
		assert_return_code(chmod(in_root(folders[i]), 0755), errno);
	}
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static int load(struct early_vms *vms, struct err *err)
{
	*vms = (struct early_vms){ 0 };
	return early_vms_load(vms, root, err);
}

/* The sentence has the file's path between @before and @after. */
static void load_fails(int code, const char *before, const char *name,
		       const char *after)
{
	struct early_vms vms;
	struct err err = { "" };
	char want[512];

	snprintf(want, sizeof(want), "%s%s%s", before, in_root(name), after);
	assert_int_equal(load(&vms, &err), code);
	assert_string_equal(err.msg, want);
	early_vms_free(&vms);
}

static void test_each_place_has_its_range(void **state)
{
	struct early_vms vms;
	struct err err;

	(void)state;
	write_file("usr/lib/avf/early_vms.xml", ALL(ENTRY("d", "100")));
	write_file("usr/local/lib/avf/early_vms-x.xml", ALL(ENTRY("l", "299")));
	write_file("etc/avf/early_vms.xml", ALL(ENTRY("a", "300") ENTRY("b", "399")));
	if (load(&vms, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(vms.n, 4);
	is(early_vms_find(&vms, "d"), "d", 100, "/bin/d", 2);
	is(early_vms_find(&vms, "l"), "l", 299, "/bin/l", 2);
	is(early_vms_find(&vms, "b"), "b", 399, "/bin/b", 3);
	early_vms_free(&vms);
	write_file("etc/avf/early_vms.xml", ALL(ENTRY("a", "299")));
	load_fails(
		-EINVAL, "", "etc/avf/early_vms.xml",
		": line 2: early_vm a: cid: 299 is not within 300 to 399, which are this folder's");
}

static void test_files_are_read_in_the_order_of_their_names(void **state)
{
	struct early_vms vms;

	(void)state;
	write_file("etc/avf/early_vms_b.xml", ALL(ENTRY("b", "302")));
	write_file("etc/avf/early_vms_B.xml", ALL(ENTRY("B", "301")));
	write_file("etc/avf/early_vms10.xml", ALL(ENTRY("ten", "303")));
	write_file("etc/avf/early_vms9.xml", ALL(ENTRY("nine", "304")));
	/* Not of them. */
	write_file("etc/avf/early_vms.xml~", "?");
	write_file("etc/avf/early_vms_c.xml.dpkg-new", "?");
	write_file("etc/avf/.early_vms.xml", "?");
	write_file("etc/avf/vms.xml", "?");
	assert_int_equal(load(&vms, NULL), 0);
	assert_int_equal(vms.n, 4);
	assert_string_equal(vms.list[0].name, "ten");
	assert_string_equal(vms.list[1].name, "nine");
	assert_string_equal(vms.list[2].name, "B");
	assert_string_equal(vms.list[3].name, "b");
	early_vms_free(&vms);
}

static void test_two_files_may_not_have_the_same(void **state)
{
	char want[512];
	(void)state;
	write_file("etc/avf/early_vms1.xml", ALL(ENTRY("a", "300")));
	write_file("etc/avf/early_vms2.xml", ALL("\n" ENTRY("b", "300")));
	snprintf(want, sizeof(want),
		 ": line 3: early_vm b: cid: 300 is that of a, line 2 of %s, too",
		 in_root("etc/avf/early_vms1.xml"));
	load_fails(-EINVAL, "", "etc/avf/early_vms2.xml", want);
	write_file("etc/avf/early_vms2.xml", "<early_vms/>");
	write_file("usr/lib/avf/early_vms.xml", ALL(ENTRY("a", "100")));
	snprintf(want, sizeof(want),
		 ": line 2: early_vm a: name: is that of line 2 of %s, too",
		 in_root("usr/lib/avf/early_vms.xml"));
	load_fails(-EINVAL, "", "etc/avf/early_vms1.xml", want);
}

static void test_without_files_and_folders_there_are_none(void **state)
{
	struct early_vms vms;

	(void)state;
	assert_int_equal(load(&vms, NULL), 0);
	assert_int_equal(vms.n, 0);
	assert_return_code(rmdir(in_root("etc/avf")), errno);
	assert_int_equal(load(&vms, NULL), 0);
}

static void test_what_others_may_write_does_not_count(void **state)
{
	(void)state;
	write_file("etc/avf/early_vms.xml", "<early_vms/>");
	chmod(in_root("etc/avf/early_vms.xml"), 0664);
	load_fails(-EACCES, "early VMs ", "etc/avf/early_vms.xml",
		   ": others than its owner may write to it");
	chmod(in_root("etc/avf/early_vms.xml"), 0646);
	load_fails(-EACCES, "early VMs ", "etc/avf/early_vms.xml",
		   ": others than its owner may write to it");
	chmod(in_root("etc/avf/early_vms.xml"), 0644);
	chmod(in_root("etc/avf"), 01777);
	load_fails(-EACCES, "early VMs ", "etc/avf",
		   ": others than its owner may write to it");
}

static void test_what_belongs_to_others_does_not_count(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("only root gives files away\n");
		skip();
	}
	write_file("etc/avf/early_vms.xml", "<early_vms/>");
	assert_return_code(chown(in_root("etc/avf/early_vms.xml"), 65534, 0), errno);
	load_fails(-EACCES, "early VMs ", "etc/avf/early_vms.xml",
		   ": belongs to user 65534, not to root");
	assert_return_code(chown(in_root("etc/avf"), 65534, 0), errno);
	load_fails(-EACCES, "early VMs ", "etc/avf",
		   ": belongs to user 65534, not to root");
}

static void test_what_is_no_file_is_an_error(void **state)
{
	(void)state;
	assert_return_code(mkdir(in_root("etc/avf/early_vms.xml"), 0755), errno);
	load_fails(-EISDIR, "early VMs ", "etc/avf/early_vms.xml", ": is a directory");
	assert_return_code(rmdir(in_root("etc/avf/early_vms.xml")), errno);
	assert_return_code(symlink("nowhere", in_root("etc/avf/early_vms.xml")), errno);
	load_fails(-ENOENT, "early VMs ", "etc/avf/early_vms.xml",
		   ": No such file or directory");
	unlink(in_root("etc/avf/early_vms.xml"));
	write_file("etc/avf/early_vms.xml", "");
	assert_return_code(
		truncate(in_root("etc/avf/early_vms.xml"), EARLY_VMS_MAX_BYTES + 1),
		errno);
	load_fails(-EFBIG, "early VMs ", "etc/avf/early_vms.xml",
		   ": is larger than 64 KiB");
}

#define LOADS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attributes_and_elements_say_the_same),
		cmocka_unit_test(test_a_file_may_have_none),
		cmocka_unit_test(test_what_is_wrong_is_told_with_its_line),
		cmocka_unit_test(test_values_have_a_longest),
		cmocka_unit_test(test_a_file_that_is_too_large_is_not_read),
		LOADS(test_each_place_has_its_range),
		LOADS(test_files_are_read_in_the_order_of_their_names),
		LOADS(test_two_files_may_not_have_the_same),
		LOADS(test_without_files_and_folders_there_are_none),
		LOADS(test_what_others_may_write_does_not_count),
		LOADS(test_what_belongs_to_others_does_not_count),
		LOADS(test_what_is_no_file_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
