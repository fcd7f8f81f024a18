/* vmm/config*.c: options become a configuration. */
#include "vmm/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices/chardev.h"
#include "virtio/blk.h"

static char dir[] = "/tmp/test_config.XXXXXX";
static struct config cfg;
static struct err err;

static int group_setup(void **state)
{
	(void)state;
	return !mkdtemp(dir) || chdir(dir) < 0;
}

static int group_teardown(void **state)
{
	(void)state;
	return chdir("/") < 0 || rmdir(dir) < 0;
}

static int teardown(void **state)
{
	(void)state;
	config_free(&cfg);
	unlink("vm.json");
	return 0;
}

/* The words of @line, after those of an earlier one are forgotten. */
static int parse(const char *line)
{
	static char copy[1000];
	char *args[40], *at = copy;
	int n = 0;

	config_free(&cfg);
	strcpy(copy, line);
	while ((args[n] = strsep(&at, " ")))
		n++;
	return config_parse(&cfg, args, &err);
}

static int parse_json(const char *text)
{
	config_free(&cfg);
	return config_parse_json(&cfg, "vm.json", text, strlen(text), &err);
}

/* A command line with a file; single quotes of @json stand for double ones. */
static int parse_both(const char *json, const char *line)
{
	FILE *f = fopen("vm.json", "w");
	char args[1000];

	for (; *json; json++)
		fputc(*json == '\'' ? '"' : *json, f);
	fclose(f);
	snprintf(args, sizeof(args), "--config vm.json%s%s", *line ? " " : "", line);
	return parse(args);
}

static const void *device(const char *name, unsigned n)
{
	for (size_t i = 0; i < cfg.n_devices; i++)
		if (!strcmp(cfg.devices[i].class->name, name) && n-- == 0)
			return cfg.devices[i].cfg;
	return NULL;
}

static bool has(const char *name)
{
	for (size_t i = 0; i < cfg.n_devices; i++)
		if (!strcmp(cfg.devices[i].class->name, name))
			return true;
	return false;
}

static void assert_cmdline(const char *want)
{
	char *text;

	assert_int_equal(config_cmdline(&cfg, &text, &err), 0);
	assert_string_equal(text, want);
	free(text);
}

static void assert_says(const char *text)
{
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, text);
}

static void json_is_the_same_as_flags(void **state)
{
	const struct virtio_blk_cfg *blk;
	const struct serial_cfg *s;

	(void)state;
	assert_int_equal(
		parse_json("{ \"kernel\": \"k\", \"initrd\": \"i\", \"mem\": 512,"
			   "\"cpus\": {\"num-cores\": 3}, \"params\": [\"a b\", \"c\"],"
			   "\"block\": [{\"path\": \"a,b\\\"\\\\c\", \"ro\": true,"
			   "\"block-size\": 4096}, \"d,lock=false\"],"
			   "\"serial\": {\"type\": \"sink\", \"console\": true},"
			   "\"disable-sandbox\": true, \"require-sandbox\": false,"
			   "\"debug-exit\": true, \"rng\": false, \"no-usb\": true,"
			   "\"timeout\": 7 }"),
		0);
	assert_string_equal(cfg.kernel, "k");
	assert_string_equal(cfg.initrd, "i");
	assert_int_equal(cfg.mem.size, 512);
	assert_int_equal(cfg.cpus.num_cores, 3);
	assert_int_equal(cfg.timeout, 7);
	assert_true(cfg.disable_sandbox);
	assert_true(has("debug-exit"));
	assert_false(has("rng"));
	blk = device("block", 0);
	assert_string_equal(blk->path, "a,b\"\\c");
	assert_true(blk->read_only && blk->lock);
	assert_int_equal(blk->block_size, 4096);
	blk = device("block", 1);
	assert_string_equal(blk->path, "d");
	assert_false(blk->lock);
	s = device("serial", 0);
	assert_int_equal(s->type, CHARDEV_SINK);
	assert_cmdline("panic=-1 console=ttyS0 a b c");
}

static void json_errors_name_file_line_and_key(void **state)
{
	static const struct {
		const char *json, *say;
	} cases[] = {
		{ "", "vm.json:1: " },
		{ "{\n\"mem\": 1,\n}", "vm.json:3: " },
		{ "[]", "vm.json: is not a JSON object" },
		{ "{\"mem\": 1, \"mem\": 2}", "duplicate" },
		{ "{\"a\\u0000b\": 1}", "vm.json:1: " },
		{ "{\n\n\"memory\": 1}", "vm.json:3: --memory: unknown option" },
		{ "{\n\"name\": \"mem\", \"params\": \"{\\\"\",\n\"mem\": \"x\"}",
		  "vm.json:3: --mem: size: \"x\" is not a number" },
		{ "{\"mem\": 1.5}", "vm.json:1: --mem: is a fraction" },
		{ "{\"mem\": null}", "vm.json:1: --mem: is null" },
		{ "{\"mem\": -1}", "\"-1\" is not a number" },
		{ "{\"mem\": [1, 2]}", "vm.json:1: mem[1]: --mem: given twice" },
		{ "{\"block\": [[\"a\"]]}", "block[0]: is a list in a list" },
		{ "{\"block\": [\"a\",\n{\"path\": \"b\", \"size\": 1}]}",
		  "vm.json:1: block[1]: --block: unknown key \"size\"" },
		{ "{\"block\": {\"path=a,ro\": 1}}", "unknown key \"path=a,ro\"" },
		{ "{\"block\": {\"path\": {\"x\": null}}}",
		  "--block: path: x: is null" },
		{ "{\"block=a\": true}", "unknown key \"block=a\"" },
		{ "{\"\": true}", "unknown key \"\"" },
		{ "{\"m\": 1}", "--m: unknown option" },
		{ "{\"gpu\": true}", "--gpu: not supported by this VMM" },
		{ "{\"help\": true}", "--help: not in a file" },
		{ "{\"config\": \"x\"}", "--config: not in a file" },
		{ "{\"block\": true}", "--block: needs a value" },
		{ "{\"block\": false}", "--block: cannot be false" },
		{ "{\"kernel\": [\"a\", \"b\"]}", "a second kernel" },
		{ "{\"rng\": true, \"no-rng\": true, \"kernel\": \"k\"}",
		  "--no-rng: contradicts --rng" },
		{ "{}", "no kernel given" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse_json(cases[i].json), -EINVAL);
		assert_says(cases[i].say);
	}
}

static void deep_json_is_an_error(void **state)
{
	char text[200] = "{\"block\": {\"id\": ";

	(void)state;
	memset(text + strlen(text), '[', 30);
	strcat(text, "1");
	memset(text + strlen(text), ']', 30);
	strcat(text, "}}");
	assert_int_equal(parse_json(text), -EINVAL);
	assert_says("--block: id: too deep");
}

static void command_line_goes_before_its_file(void **state)
{
	const char *json = "{'kernel': 'k', 'mem': 512, 'cpus': 4, 'params': 'a',"
			   "'name': 'x', 'block': 'one', 'debug-exit': 'iobase=0x500',"
			   "'rng': true, 'disable-sandbox': true}";

	(void)state;
	assert_int_equal(parse_both(json, ""), 0);
	assert_int_equal(cfg.mem.size, 512);
	assert_string_equal(cfg.kernel, "k");
	assert_int_equal(parse_both(json, "-m 64 -p b --block two --name y K "
					  "--disable-sandbox=false"),
			 0);
	assert_string_equal(cfg.kernel, "K");
	assert_string_equal(cfg.name, "y");
	assert_int_equal(cfg.mem.size, 64);
	assert_int_equal(cfg.cpus.num_cores, 4);
	assert_false(cfg.disable_sandbox);
	assert_string_equal(((const struct virtio_blk_cfg *)device("block", 0))->path,
			    "one");
	assert_string_equal(((const struct virtio_blk_cfg *)device("block", 1))->path,
			    "two");
	assert_cmdline("panic=-1 console=ttyS0 a b");
}

static void command_line_turns_devices_of_its_file_on_and_off(void **state)
{
	(void)state;
	assert_int_equal(parse_both("{'kernel': 'k', 'rng': true}", "--no-rng"), 0);
	assert_false(has("rng"));
	assert_int_equal(parse_both("{'kernel': 'k', 'no-rng': true}", ""), 0);
	assert_false(has("rng"));
	assert_int_equal(parse_both("{'kernel': 'k', 'no-rng': true}", "--rng"), 0);
	assert_true(has("rng"));
	assert_int_equal(
		parse_both("{'kernel': 'k', 'rng': true, 'no-rng': true}", "--no-rng"),
		-EINVAL);
	assert_int_equal(parse_both("{'kernel': 'k', 'debug-exit': {'iobase': 1}}",
				    "--debug-exit"),
			 0);
	assert_non_null(device("debug-exit", 0));
	assert_null(device("debug-exit", 1));
	assert_int_equal(parse_both("{'kernel': 'k'}", "--debug-exit --debug-exit"),
			 -EINVAL);
	assert_int_equal(parse("--no-rng --rng k"), -EINVAL);
}

static void unreadable_files_are_named(void **state)
{
	(void)state;
	assert_int_equal(parse("--config /nonexistent k"), -ENOENT);
	assert_says("configuration /nonexistent: ");
	assert_int_equal(parse("--config /dev/zero k"), -EFBIG);
	assert_int_equal(parse("--config /tmp k"), -EISDIR);
	assert_int_equal(parse_both("{'kernel': 1}", "--config x"), -EINVAL);
	assert_says("--config: given twice");
}

static void disk_aliases_force_their_modes(void **state)
{
	static const struct {
		const char *line;
		bool ro, root;
	} cases[] = {
		{ "--root a k", true, true },
		{ "-r a,ro=false k", true, true },
		{ "-ra k", true, true },
		{ "--rwroot=a,ro=true k", false, true },
		{ "--disk a,root k", true, false },
		{ "-d a k", true, false },
		{ "--rwdisk a k", false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct virtio_blk_cfg *blk;

		assert_int_equal(parse(cases[i].line), 0);
		blk = device("block", 0);
		assert_string_equal(blk->path, "a");
		assert_int_equal(blk->read_only, cases[i].ro);
		assert_int_equal(blk->root, cases[i].root);
	}
	assert_int_equal(parse("k -d"), -EINVAL);
	assert_says("--disk: needs a value");
}

static void root_disk_is_on_the_command_line(void **state)
{
	char line[1000] = "k -p x";

	(void)state;
	assert_int_equal(parse("k -p x --block a --block b,root,ro=true"), 0);
	assert_cmdline("panic=-1 console=ttyS0 root=/dev/vdb ro x");
	for (int i = 0; i < 26; i++)
		strcat(line, " --block=a");
	strcat(line, " --rwroot=b");
	assert_int_equal(parse(line), 0);
	assert_cmdline("panic=-1 console=ttyS0 root=/dev/vdaa rw x");
	assert_int_equal(parse("k --root a --block b,root"), -EINVAL);
	assert_says("root is given twice");
}

static void host_cpu_topology_counts_the_hosts_cpus(void **state)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	(void)state;
	assert_int_equal(parse("k --host-cpu-topology"), 0);
	assert_int_equal(cfg.cpus.num_cores, n < 64 ? n : 64);
	assert_int_equal(parse("k --host-cpu-topology --cpus 1"), -EINVAL);
	assert_says("contradicts --cpus");
}

static void a_pc_is_for_firmware_only(void **state)
{
	(void)state;
	assert_int_equal(parse("--bios b"), 0);
	assert_false(cfg.firmware_compat);
	assert_int_equal(parse("--bios b --firmware-compat --block d"), 0);
	assert_true(cfg.firmware_compat);
	assert_int_equal(parse("k --firmware-compat"), -EINVAL);
	assert_string_equal(err.msg, "--firmware-compat: needs --bios");
	/* Nobody would see these. */
	assert_int_equal(parse("--bios b --firmware-compat -p quiet"), -EINVAL);
	assert_says("--firmware-compat: contradicts --params");
	assert_int_equal(parse("--bios b --firmware-compat --root d"), -EINVAL);
	assert_says("--block: root contradicts --firmware-compat");
	assert_int_equal(parse("--bios b --firmware-compat --bios-key k"), -EINVAL);
	assert_says("--firmware-compat: contradicts --bios-key");
}

static void rollback_indices_are_a_list(void **state)
{
	static const char *const bad[] = { "1",
					   "[]",
					   "[",
					   "[1",
					   "[1,",
					   "[1,]",
					   "[x]",
					   "[-1]",
					   "[1]2",
					   "[1 ]",
					   "[18446744073709551616]" };
	char line[200] = "--bios b --bios-key k,rollback-indices=[0";
	uint64_t indices[BOOT_MAX_CHAINED];

	(void)state;
	assert_int_equal(
		parse("--bios b --bios-key "
		      "k,rollback-index=9,rollback-indices=[0,5,18446744073709551615]"),
		0);
	assert_int_equal(config_rollback_indices(&cfg.bios_key, indices, &err), 0);
	assert_int_equal(indices[0], 0);
	assert_int_equal(indices[1], 5);
	assert_int_equal(indices[2], UINT64_MAX);
	assert_int_equal(indices[3], 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line),
			 "--bios b --bios-key k,rollback-indices=%s", bad[i]);
		assert_int_equal(parse(line), -EINVAL);
		assert_says("--bios-key: ");
	}
	strcpy(line, "--bios b --bios-key k,rollback-indices=[0");
	for (unsigned i = 1; i < BOOT_MAX_CHAINED; i++)
		strcat(line, ",1");
	strcat(line, "]");
	assert_int_equal(parse(line), 0);
	strcpy(line + strlen(line) - 1, ",1]");
	assert_int_equal(parse(line), -EINVAL);
	assert_says("at most 31 numbers");
}

static void escape_keys_are_control_characters(void **state)
{
	static const struct {
		const char *line;
		uint8_t key;
	} cases[] = {
		{ "k", 1 },
		{ "--escape ^a k", 1 },
		{ "--escape ^] k", 29 },
		{ "--escape ^T k", 20 },
		{ "--escape none k", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].line), 0);
		assert_int_equal(cfg.escape_key, cases[i].key);
	}
	assert_int_equal(parse("--escape a k"), -EINVAL);
	assert_int_equal(parse("--escape ^ k"), -EINVAL);
	assert_int_equal(parse("--escape ^@ k"), -EINVAL);
	assert_int_equal(parse("--escape ^1 k"), -EINVAL);
	assert_int_equal(parse("--escape ^ab k"), -EINVAL);
}

static void queue_sizes_are_powers_of_two(void **state)
{
	static const char *const bad[] = { "[]",      "2",     "[2",
					   "[3]",     "[0,2]", "[512]",
					   "[2,2,2]", "[2]]",  "[2,100000000]" };
	char line[100];
	uint16_t sizes[2];

	(void)state;
	assert_int_equal(
		parse("k --serial "
		      "type=sink,hardware=virtio-console,max-queue-sizes=[2,32]"),
		0);
	assert_int_equal(config_queue_sizes(device("serial", 0), sizes, &err), 0);
	assert_int_equal(sizes[0], 2);
	assert_int_equal(sizes[1], 32);
	assert_int_equal(parse_json("{\"kernel\": \"k\", \"serial\": {\"hardware\":"
				    "\"virtio-console\", \"max-queue-sizes\": [64]}}"),
			 0);
	assert_int_equal(config_queue_sizes(device("serial", 0), sizes, &err), 0);
	assert_int_equal(sizes[0], 64);
	assert_int_equal(sizes[1], 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line),
			 "k --serial hardware=virtio-console,max-queue-sizes=%s",
			 bad[i]);
		assert_int_equal(parse(line), -EINVAL);
	}
}

static void serials_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		const char *serial, *say;
	} cases[] = {
		{ "type=unix", "serial 1: its type needs path=" },
		{ "type=unix-stream,num=2", "serial 2: its type needs path=" },
		{ "type=sink,path=x", "path= needs type=" },
		{ "type=file,path=x,input-unix-stream", "needs type=unix-stream" },
		{ "type=unix-stream,path=x,input-unix-stream,stdin", "exclude" },
		{ "stdin=true,input=x", "exclude" },
		{ "hardware=debugcon,console", "cannot be the kernel's console" },
		{ "hardware=debugcon,stdin", "debugcon 1: it has no input" },
		{ "hardware=debugcon,earlycon", "only hardware=serial" },
		{ "hardware=virtio-console,earlycon", "only hardware=serial" },
		{ "max-queue-sizes=[2]", "needs hardware=virtio-console" },
		{ "hardware=debugcon,debugcon-port=0x10000", "debugcon-port" },
		{ "pci-address=00:03.0", "unknown key \"pci-address\"" },
		{ "type=syslog", "\"syslog\" is not one of" },
	};
	char line[200];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(line, sizeof(line), "k --serial %s", cases[i].serial);
		assert_int_equal(parse(line), -EINVAL);
		assert_says(cases[i].say);
	}
}

static void gdb_is_at_a_port_or_a_path(void **state)
{
	(void)state;
	assert_int_equal(parse("--gdb 65535 k"), 0);
	assert_int_equal(cfg.gdb_port, 65535);
	assert_int_equal(parse("--gdb ./1234 k"), 0);
	assert_int_equal(cfg.gdb_port, 0);
	assert_string_equal(cfg.gdb, "./1234");
	assert_int_equal(parse("--gdb 0 k"), -EINVAL);
	assert_string_equal(err.msg, "--gdb: 0 is not a port, 1 to 65535");
	assert_int_equal(parse("--gdb 65536 k"), -EINVAL);
	assert_int_equal(parse("--gdb 99999999999999999999 k"), -EINVAL);
}

static void vsock_keys_are_for_their_backend(void **state)
{
	(void)state;
	assert_int_equal(parse("--vsock 3,backend=unix,path=x k"), 0);
	assert_int_equal(parse("--vsock 3,device=x k"), 0);
	assert_int_equal(parse("--vsock 3,backend=unix k"), -EINVAL);
	assert_string_equal(err.msg, "--vsock: backend=unix needs path= or fd=");
	assert_int_equal(parse("--vsock 3,path=x k"), -EINVAL);
	assert_string_equal(err.msg, "--vsock: path= is not for backend=vhost");
	assert_int_equal(parse("--vsock 3,backend=unix,path=x,device=x k"), -EINVAL);
	assert_string_equal(err.msg, "--vsock: device= is not for backend=unix");
}

static void memory_has_a_limit(void **state)
{
	(void)state;
	assert_int_equal(parse("-m 67108864 k"), 0);
	assert_int_equal(parse("-m 67108865 k"), -EINVAL);
	assert_says("--mem: size: 67108865 is not within 1 to 67108864");
}

static void options_that_are_lacking_are_refused_by_name(void **state)
{
	(void)state;
	assert_int_equal(parse("k --vfio=/sys/x,iommu=on"), -EINVAL);
	assert_string_equal(err.msg, "--vfio: not supported by this VMM");
	assert_int_equal(parse("--protected-vm k"), -EINVAL);
	assert_string_equal(err.msg, "--protected-vm: not supported by this VMM");
	assert_int_equal(parse("--protected k"), -EINVAL);
	assert_string_equal(err.msg, "--protected: unknown option");
	assert_int_equal(parse("--no-usb=1 k"), -EINVAL);
	assert_int_equal(parse("k --no-usb --no-pmu --unmap-guest-memory-on-fork "
			       "--no-i8042 --core-scheduling false --boost-uclamp"),
			 0);
	assert_false(has("i8042"));
	assert_false(cfg.core_scheduling);
	assert_true(cfg.boost_uclamp);
}

#define CFG_TEST(t) cmocka_unit_test_teardown(t, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CFG_TEST(json_is_the_same_as_flags),
		CFG_TEST(json_errors_name_file_line_and_key),
		CFG_TEST(deep_json_is_an_error),
		CFG_TEST(command_line_goes_before_its_file),
		CFG_TEST(command_line_turns_devices_of_its_file_on_and_off),
		CFG_TEST(unreadable_files_are_named),
		CFG_TEST(disk_aliases_force_their_modes),
		CFG_TEST(root_disk_is_on_the_command_line),
		CFG_TEST(host_cpu_topology_counts_the_hosts_cpus),
		CFG_TEST(a_pc_is_for_firmware_only),
		CFG_TEST(rollback_indices_are_a_list),
		CFG_TEST(escape_keys_are_control_characters),
		CFG_TEST(queue_sizes_are_powers_of_two),
		CFG_TEST(serials_that_make_no_sense_are_refused),
		CFG_TEST(gdb_is_at_a_port_or_a_path),
		CFG_TEST(vsock_keys_are_for_their_backend),
		CFG_TEST(memory_has_a_limit),
		CFG_TEST(options_that_are_lacking_are_refused_by_name),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
