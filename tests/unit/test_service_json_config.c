/* A VM's configuration file: every key, what is wrong with one, and where. */
#include "service/vm/json_config.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define KERNEL "\"kernel\": \"k\", \"platform_version\": \"~1.0\""

struct seen {
	struct vm_config config;
	char told[4096]; /* a line for each fault, and for each warning with a '?' */
	char opened[1024]; /* " PATH" or " PATH!" for writing */
	int code;
};

/* Files whose names begin with "no" are missing. */
static int fake_open(void *arg, const char *what, const char *path, bool writable,
		     struct err *err)
{
	struct seen *s = arg;

	if (strncmp(path, "no", 2) == 0)
		return err_set(err, -ENOENT, "%s %s: not there", what, path);
	strcat(s->opened, " ");
	strcat(s->opened, path);
	strcat(s->opened, writable ? "!" : "");
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void fake_tell(void *arg, bool warning, const char *sentence)
{
	struct seen *s = arg;

	strcat(s->told, warning ? "?" : "");
	strcat(s->told, sentence);
	strcat(s->told, "\n");
}

static struct seen *read_text(const char *text)
{
	static const struct json_config_ops ops = { fake_open, fake_tell };
	struct seen *s = calloc(1, sizeof(*s));

	vm_config_init(&s->config);
	s->code = json_config_parse("f", text, strlen(text), &ops, s, &s->config);
	return s;
}

static void forget(struct seen *s)
{
	vm_config_free(&s->config);
	free(s);
}

/* What is told of the text, all of it. */
static void assert_told(const char *text, int code, const char *told)
{
	struct seen *s = read_text(text);

	if (strcmp(s->told, told) != 0)
		fail_msg("of %s it is told:\n%s", text, s->told);
	assert_int_equal(s->code, code);
	forget(s);
}

/* Of KERNEL and @more, one fault. */
static void assert_fault(const char *more, const char *fault)
{
	char text[512], told[256];

	snprintf(text, sizeof(text), "{%s, %s}", KERNEL, more);
	snprintf(told, sizeof(told), "f: %s\n", fault);
	assert_told(text, -EBADMSG, told);
}

static void every_key_is_read(void **state)
{
	struct seen *s;
	struct vm_config *c;

	(void)state;
	s = read_text(
		"{ \"name\": \"db\", \"kernel\": \"k\", \"initrd\": \"i\","
		"  \"params\": \"quiet\", \"platform_version\": \"^1\","
		"  \"protected\": true, \"memory_mib\": 512, \"swiotlb_mib\": 8,"
		"  \"cpu_topology\": \"match_host\", \"gdb_port\": 1234,"
		"  \"hugepages\": true, \"boost_uclamp\": true, \"balloon\": false,"
		"  \"watchdog\": true, \"console_input_device\": \"ttyS0\","
		"  \"vsock\": \"unix\", \"timeout_s\": 10, \"start_timeout_s\": 5,"
		"  \"cpu_percent\": 50, \"memory_max_mib\": 1024,"
		"  \"instance_id\": \"00112233445566778899aabbccddeeff"
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
		"00112233445566778899AABBCCDDEEFF\","
		"  \"disks\": [ { \"image\": \"d\", \"partitions\": [], \"writable\": true },"
		"    { \"writable\": true, \"partitions\": ["
		"      { \"label\": \"a\", \"path\": \"p\" },"
		"      { \"label\": \"b\", \"path\": \"q\", \"writable\": true,"
		"        \"guid\": \"0fc63daf-8483-4772-8e79-3d69d8477de4\" } ] } ] }");
	c = &s->config;
	assert_string_equal(s->told, "");
	assert_int_equal(s->code, 0);
	assert_string_equal(s->opened, " k i d! p q!");
	assert_string_equal(c->name, "db");
	assert_string_equal(c->params, "quiet");
	assert_string_equal(c->platform_version, "^1");
	assert_true(c->kernel >= 0 && c->initrd >= 0 && c->bootloader < 0);
	assert_true(c->protected && c->hugepages && c->boost_uclamp && c->watchdog);
	assert_false(c->balloon);
	assert_int_equal(c->memory_mib, 512);
	assert_int_equal(c->swiotlb_mib, 8);
	assert_int_equal(c->cpu_topology, CPUS_MATCH_HOST);
	assert_int_equal(c->gdb_port, 1234);
	assert_int_equal(c->console_input_device, CONSOLE_TTYS0);
	assert_int_equal(c->vsock, VSOCK_UNIX);
	assert_int_equal(c->timeout_s, 10);
	assert_int_equal(c->start_timeout_s, 5);
	assert_int_equal(c->cpu_percent, 50);
	assert_int_equal(c->memory_max_mib, 1024);
	assert_true(c->has_instance_id);
	assert_int_equal(c->instance_id[1], 0x11);
	assert_int_equal(c->instance_id[63], 0xff);
	assert_int_equal(c->n_disks, 2);
	assert_true(c->disks[0].writable && c->disks[0].image >= 0);
	assert_int_equal(c->disks[1].n_partitions, 2);
	assert_int_equal(c->disks[1].image, -1);
	assert_string_equal(c->disks[1].partitions[0].label, "a");
	assert_false(c->disks[1].partitions[0].writable);
	assert_true(c->disks[1].partitions[1].writable);
	assert_string_equal(c->disks[1].partitions[1].guid,
			    "0fc63daf-8483-4772-8e79-3d69d8477de4");
	forget(s);
}

static void a_bootloader_is_read(void **state)
{
	struct seen *s;

	(void)state;
	s = read_text("{\"bootloader\": \"b\", \"bios_key\": \"k\", \"cpu_count\": 4,"
		      " \"platform_version\": \"~1.0\"}");
	assert_string_equal(s->told, "");
	assert_true(s->config.bootloader >= 0 && s->config.bios_key >= 0);
	assert_int_equal(s->config.cpu_count, 4);
	assert_true(s->config.balloon);
	forget(s);
}

static void syntax_is_told_with_line_and_column(void **state)
{
	(void)state;
	assert_told("{\n  \"name\": \"x\",\n}", -EBADMSG,
		    "f:3:1: string or '}' expected near '}'\n");
	assert_told("", -EBADMSG, "f:1:0: '[' or '{' expected near end of file\n");
	assert_told("{\"name\": \"a\", \"name\": \"b\"}", -EBADMSG,
		    "f:1:20: duplicate object key near '\"name\"'\n");
	assert_told("[]", -EBADMSG, "f: must be a JSON object\n");
	assert_told("{} {}", -EBADMSG, "f:1:4: end of file expected near '{'\n");
	assert_told(
		"{\"name\": \"\\u0000\"}", -EBADMSG,
		"f:1:17: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'\n");
}

static void wrong_values_are_told_with_their_path(void **state)
{
	(void)state;
	assert_fault("\"name\": 5", "name: must be a string, not a number");
	assert_fault("\"name\": null", "name: must be a string, not null");
	assert_fault("\"name\": \"\"", "name: must have 1 to 100 bytes");
	assert_fault("\"protected\": \"yes\"",
		     "protected: must be true or false, not a string");
	assert_fault("\"memory_mib\": 0", "memory_mib: must be 1 to 16777216, not 0");
	assert_fault("\"memory_mib\": -5", "memory_mib: must be 1 to 16777216, not -5");
	assert_fault("\"memory_mib\": 2.5",
		     "memory_mib: must be a whole number, not a fraction");
	assert_fault("\"memory_mib\": \"512\"",
		     "memory_mib: must be a whole number, not a string");
	assert_fault(
		"\"cpu_topology\": \"two\"",
		"cpu_topology: must be \"one_cpu\" or \"match_host\", not \"two\"");
	assert_fault("\"cpu_topology\": \"\"",
		     "cpu_topology: must be \"one_cpu\" or \"match_host\", not \"\"");
	assert_fault("\"cpu_topology\": 2",
		     "cpu_topology: must be a string, not a number");
	assert_fault("\"instance_id\": \"00\"",
		     "instance_id: must have 128 hexadecimal digits");
	assert_fault("\"instance_id\": 1",
		     "instance_id: must be a string, not a number");
	assert_fault("\"initrd\": {}", "initrd: must be a path, not an object");
	assert_fault("\"disks\": {}", "disks: must be an array, not an object");
	assert_fault("\"disks\": [true]", "disks[0]: must be an object, not true");
	assert_fault("\"disks\": [{\"image\": \"d\"}]",
		     "disks[0].writable: is missing");
	assert_fault("\"disks\": [{\"writable\": false, \"partitions\": [{\"label\": 3,"
		     "\"path\": \"p\"}]}]",
		     "disks[0].partitions[0].label: must be a string, not a number");
	assert_fault("\"disks\": [{\"writable\": false, \"partitions\": 3}]",
		     "disks[0].partitions: must be an array, not a number");
}

static void what_contradicts_itself_is_told(void **state)
{
	(void)state;
	assert_told("{\"platform_version\": \"~1.0\"}", -EBADMSG,
		    "f: kernel: is missing, and so is a bootloader\n");
	assert_told("{\"kernel\": \"k\"}", -EBADMSG,
		    "f: platform_version: is missing\n");
	assert_fault("\"bootloader\": \"b\"",
		     "bootloader: cannot be together with a kernel");
	assert_fault("\"bios_key\": \"b\"", "bios_key: is of use to a bootloader only");
	assert_fault("\"cpu_count\": 2, \"cpu_topology\": \"one_cpu\"",
		     "cpu_count: cannot be together with cpu_topology");
	assert_fault("\"swiotlb_mib\": 8",
		     "swiotlb_mib: is of use to protected VMs only");
	assert_fault("\"start_timeout_s\": 8, \"vsock\": \"none\"",
		     "start_timeout_s: needs a vsock, by which payloads tell");
	assert_fault("\"disks\": [{\"writable\": false}]",
		     "disks[0]: needs either an image or partitions");
	assert_fault("\"disks\": [{\"writable\": false, \"image\": \"d\","
		     "\"partitions\": [{\"label\": \"a\", \"path\": \"p\"}]}]",
		     "disks[0]: needs either an image or partitions");
	assert_fault("\"disks\": [{\"writable\": false, \"partitions\": ["
		     "{\"label\": \"a\", \"path\": \"p\"},"
		     "{\"label\": \"a\", \"path\": \"p\"}]}]",
		     "disks[0].partitions[1].label: is another partition's, too");
	assert_fault(
		"\"disks\": [{\"writable\": false, \"partitions\": ["
		"{\"label\": \"a\", \"path\": \"p\", \"writable\": true}]}]",
		"disks[0].partitions[0].writable: cannot be in a disk that is not");
	assert_fault("\"disks\": [{\"writable\": false, \"partitions\": ["
		     "{\"label\": \"a\", \"path\": \"p\", \"guid\": \"x\"}]}]",
		     "disks[0].partitions[0].guid: is not a GUID");
}

static void versions_are_compared(void **state)
{
	static const char *const good[] = { "1",   "1.0.0",  "=1.0",
					    "~1",  "^1.0.0", ">=0.9, <2",
					    "<=1", ">0",     "< 2" };
	static const char *const bad[] = { "2",	  "~1.1",    "^0.9",	  ">1",	 "<1",
					   "1.x", "",	     "1,",	  "=>1", "~~1",
					   "1 1", ">=1, <1", "1.0.0-beta" };
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		snprintf(text, sizeof(text),
			 "{\"kernel\": \"k\", \"platform_version\": \"%s\"}", good[i]);
		assert_told(text, 0, "");
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(text, sizeof(text),
			 "{\"kernel\": \"k\", \"platform_version\": \"%s\"}", bad[i]);
		assert_told(text, -EBADMSG,
			    "f: platform_version: does not admit this one, 1.0.0\n");
	}
}

static void unknown_keys_name_the_nearest(void **state)
{
	(void)state;
	assert_fault("\"memory_mb\": 5",
		     "memory_mb: is not known; did you mean memory_mib?");
	assert_fault("\"zzzzzz\": 5", "zzzzzz: is not known");
	assert_fault("\"log\": \"x\"", "log: is not for the file: see vm run --help");
	assert_fault("\"disks\": [{\"writable\": true, \"image\": \"d\", \"ro\": 1}]",
		     "disks[0].ro: is not known");
	assert_fault("\"disks\": [{\"writable\": true, \"partitions\": [{\"label\":"
		     "\"a\", \"path\": \"p\", \"uuid\": \"x\"}]}]",
		     "disks[0].partitions[0].uuid: is not known; did you mean guid?");
}

static void keys_of_launchers_are_warned_of(void **state)
{
	(void)state;
	assert_told(
		"{" KERNEL ", \"debuggable\": true, \"console_out\": true}", 0,
		"?f: debuggable: is for AVF's launcher apps, and is not looked at\n"
		"?f: console_out: is for AVF's launcher apps, and is not looked at\n");
}

static void what_this_host_lacks_is_refused_unless_nothing_is_asked_for(void **state)
{
	(void)state;
	assert_fault("\"usb_config\": {\"controller\": true}",
		     "usb_config: there is no USB for guests here");
	assert_fault("\"devices\": [\"/sys/x\"]",
		     "devices: there is no assigned device for guests here");
	assert_told("{" KERNEL ", \"usb_config\": {\"controller\": false},"
		    " \"devices\": []}",
		    0, "");
}

static void all_faults_are_told_once(void **state)
{
	(void)state;
	/* What follows from a fault is not another one. */
	assert_told("{\"bootloader\": 5, \"nam\": 1, \"memory_mib\": true,"
		    " \"disks\": [{\"image\": 7, \"writable\": 1},"
		    "  {\"partitions\": [{\"label\": \"\"}], \"writable\": true}]}",
		    -EBADMSG,
		    "f: bootloader: must be a path, not a number\n"
		    "f: nam: is not known; did you mean name?\n"
		    "f: memory_mib: must be a whole number, not true\n"
		    "f: disks[0].image: must be a path, not a number\n"
		    "f: disks[0].writable: must be true or false, not a number\n"
		    "f: disks[1].partitions[0].path: is missing\n"
		    "f: platform_version: is missing\n"
		    "f: disks[1].partitions[0].label: is missing\n");
}

static void missing_files_are_all_told(void **state)
{
	(void)state;
	assert_told("{\"kernel\": \"nok\", \"initrd\": \"noi\","
		    " \"platform_version\": \"1\","
		    " \"disks\": [{\"image\": \"nod\", \"writable\": true}]}",
		    -ENOENT,
		    "f: kernel: nok: not there\n"
		    "f: initrd: noi: not there\n"
		    "f: disks[0].image: nod: not there\n");
	/* But meaning goes first. */
	assert_told("{\"kernel\": \"nok\"}", -EBADMSG,
		    "f: kernel: nok: not there\n"
		    "f: platform_version: is missing\n");
}

static void limits_hold(void **state)
{
	char *text = malloc(1 << 20), *p = text;

	(void)state;
	p += sprintf(p, "{%s, \"disks\": [", KERNEL);
	for (int i = 0; i < 65; i++)
		p += sprintf(p, "%s{}", i ? "," : "");
	strcpy(p, "]}");
	assert_told(text, -EBADMSG, "f: disks: are more than 64\n");
	p = text + sprintf(text,
			   "{%s, \"disks\": [{\"writable\": true,"
			   "\"partitions\": [",
			   KERNEL);
	for (int i = 0; i < 129; i++)
		p += sprintf(p, "%s{}", i ? "," : "");
	strcpy(p, "]}]}");
	assert_told(text, -EBADMSG, "f: disks[0].partitions: are more than 128\n");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(a_bootloader_is_read),
		cmocka_unit_test(syntax_is_told_with_line_and_column),
		cmocka_unit_test(wrong_values_are_told_with_their_path),
		cmocka_unit_test(what_contradicts_itself_is_told),
		cmocka_unit_test(versions_are_compared),
		cmocka_unit_test(unknown_keys_name_the_nearest),
		cmocka_unit_test(keys_of_launchers_are_warned_of),
		cmocka_unit_test(
			what_this_host_lacks_is_refused_unless_nothing_is_asked_for),
		cmocka_unit_test(all_faults_are_told_once),
		cmocka_unit_test(missing_files_are_all_told),
		cmocka_unit_test(limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
