/* A VM's configuration, there and back over a real connection's messages. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/common/vm_config.h"

/* A bus whose messages can be sealed and read back; nothing is sent. */
static sd_bus *test_bus(void)
{
	sd_bus *bus;
	int fds[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), errno);
	assert_return_code(sd_bus_new(&bus), 0);
	assert_return_code(sd_bus_negotiate_fds(bus, 1), 0);
	assert_return_code(sd_bus_set_fd(bus, fds[0], fds[0]), 0);
	assert_return_code(sd_bus_start(bus), 0);
	close(fds[1]);
	return bus;
}

static int memfile(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	assert_return_code(fd, errno);
	return fd;
}

static sd_bus_message *new_message(sd_bus *bus)
{
	sd_bus_message *m;

	assert_return_code(
		sd_bus_message_new_method_call(bus, &m, NULL, "/a", "b.c", "D"), 0);
	return m;
}

static void finish(sd_bus_message *m)
{
	assert_return_code(sd_bus_message_seal(m, 1, 0), 0);
	assert_return_code(sd_bus_message_rewind(m, 1), 0);
}

static void test_everything_that_is_set_arrives(void **state)
{
	sd_bus *bus = test_bus();
	sd_bus_message *m = new_message(bus);
	struct vm_config c, got;
	struct err err = { "" };

	(void)state;
	vm_config_init(&c);
	c.name = strdup("db");
	c.kernel = memfile("kernel");
	c.params = strdup("quiet");
	c.memory_mib = 512;
	c.cpu_topology = CPUS_MATCH_HOST;
	c.balloon = false;
	c.has_instance_id = true;
	memset(c.instance_id, 7, sizeof(c.instance_id));
	c.disks = calloc(1, sizeof(*c.disks));
	c.n_disks = 1;
	c.disks[0] = (struct config_disk){ .image = -1, .writable = true };
	c.disks[0].partitions = calloc(2, sizeof(*c.disks[0].partitions));
	c.disks[0].n_partitions = 2;
	for (int i = 0; i < 2; i++)
		c.disks[0].partitions[i] =
			(struct config_partition){ .label = strdup(i ? "b" : "a"),
						   .image = memfile("part"),
						   .writable = i };
	assert_int_equal(vm_config_files(&c, NULL, 0), 3);
	assert_return_code(vm_config_append(m, &c, -1), 0);
	finish(m);

	vm_config_init(&got);
	assert_int_equal(vm_config_read(m, NULL, &got, &err), 0);
	assert_string_equal(got.name, "db");
	assert_string_equal(got.params, "quiet");
	assert_true(got.kernel >= 0 && got.kernel != c.kernel);
	assert_true(fcntl(got.kernel, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(got.memory_mib, 512);
	assert_int_equal(got.cpu_topology, CPUS_MATCH_HOST);
	assert_false(got.balloon);
	assert_true(got.has_instance_id && got.instance_id[63] == 7);
	assert_int_equal(got.n_disks, 1);
	assert_int_equal(got.disks[0].n_partitions, 2);
	assert_string_equal(got.disks[0].partitions[1].label, "b");
	assert_true(got.disks[0].partitions[1].writable);
	assert_false(got.disks[0].partitions[0].writable);
	vm_config_free(&got);
	vm_config_free(&c);
	sd_bus_message_unref(m);
	sd_bus_unref(bus);
}

static void test_files_passed_before_are_taken_once(void **state)
{
	sd_bus *bus = test_bus();
	struct vm_config c, got;
	struct err err = { "" };
	int fds[] = { memfile("kernel"), memfile("initrd") };
	struct config_store store = { fds, 2 };

	(void)state;
	vm_config_init(&c);
	c.kernel = 100; /* numbers are not looked at */
	c.initrd = 101;
	c.console_out = memfile("a stream, which comes with the message");
	assert_int_equal(vm_config_files(&c, NULL, 0), 2);
	for (int round = 0; round < 2; round++) {
		sd_bus_message *m = new_message(bus);

		assert_return_code(vm_config_append(m, &c, 0), 0);
		finish(m);
		vm_config_init(&got);
		if (round == 0) {
			assert_int_equal(vm_config_read(m, &store, &got, &err), 0);
			assert_int_equal(fds[0], -1);
			assert_int_equal(fds[1], -1);
			assert_return_code(fcntl(got.console_out, F_GETFD), errno);
		} else {
			assert_int_equal(vm_config_read(m, &store, &got, &err),
					 -EBADMSG);
			assert_non_null(strstr(err.msg, "kernel: no file of index 0"));
		}
		vm_config_free(&got);
		sd_bus_message_unref(m);
	}
	sd_bus_unref(bus);
}

/* One entry, and a kernel unless the entry is about it. */
static void assert_refused(const char *key, int code, const char *sentence,
			   const char *type, ...)
{
	sd_bus *bus = test_bus();
	sd_bus_message *m = new_message(bus);
	int kernel = memfile("kernel");
	struct err err = { "" };
	struct vm_config c;
	va_list ap;

	assert_return_code(sd_bus_message_open_container(m, 'a', "{sv}"), 0);
	assert_return_code(sd_bus_message_append(m, "{sv}", "kernel", "h", kernel), 0);
	assert_return_code(sd_bus_message_open_container(m, 'e', "sv"), 0);
	assert_return_code(sd_bus_message_append_basic(m, 's', key), 0);
	assert_return_code(sd_bus_message_open_container(m, 'v', type), 0);
	va_start(ap, type);
	assert_return_code(sd_bus_message_appendv(m, type, ap), 0);
	va_end(ap);
	for (int i = 0; i < 3; i++)
		assert_return_code(sd_bus_message_close_container(m), 0);
	finish(m);
	vm_config_init(&c);
	assert_int_equal(vm_config_read(m, NULL, &c, &err), code);
	if (!strstr(err.msg, sentence))
		fail_msg("\"%s\" has no \"%s\"", err.msg, sentence);
	vm_config_free(&c);
	close(kernel);
	sd_bus_message_unref(m);
	sd_bus_unref(bus);
}

static void test_what_is_wrong_is_named(void **state)
{
	(void)state;
	assert_refused("memory_mb", -EBADMSG, "did you mean memory_mib?", "u", 5);
	assert_refused("memory_mib", -EBADMSG, "memory_mib: must be 1 to", "t",
		       UINT64_C(0));
	assert_refused("memory_mib", -EBADMSG, "memory_mib: must be a number", "s",
		       "x");
	assert_refused("memory_mib", -EBADMSG, "memory_mib: must be 1 to", "i", -3);
	assert_refused("kernel", -EBADMSG, "kernel: is given twice", "s", "x");
	assert_refused("cpu_topology", -EBADMSG, "\"two\"", "s", "two");
	assert_refused("cpu_topology", -EBADMSG, "\"\"", "s", "");
	assert_refused("gpu_config", -ENOTSUP, "gpu_config: there is no GPU", "s", "x");
	assert_refused("bootloader", -EBADMSG, "bootloader: must be a file", "s", "/x");
	assert_refused("disks", -EBADMSG, "disks[0]", "aa{sv}", 1, 1, "writable", "b",
		       1);
	assert_refused("disks", -EBADMSG, "disks[0].partitions[0].labe: is not known",
		       "aa{sv}", 1, 1, "partitions", "aa{sv}", 1, 1, "labe", "s", "x");
	assert_refused("instance_id", -EBADMSG, "64 bytes", "ay", 3, 1, 2, 3);
}

static void test_what_asks_for_nothing_is_let_pass(void **state)
{
	(void)state;
	assert_refused("usb_config", -ENOTSUP, "no USB", "a{sv}", 1, "controller", "b",
		       1);
	assert_refused("devices", -ENOTSUP, "no assigned device", "as", 1, "/sys/x");
	assert_refused("devices", -ENOTSUP, "no assigned device", "(b)", 0);
	assert_refused("usb_config", -EBADMSG, "usb_config", "a{ub}", 1, 1, 0);
	assert_refused("usb_config", 0, "", "a{sv}", 1, "controller", "b", 0);
	assert_refused("devices", 0, "", "as", 0);
	assert_refused("audio_config", 0, "", "b", 0);
}

static void test_versions_are_compared(void **state)
{
	(void)state;
	assert_refused("platform_version", -EBADMSG, "platform_version", "s", "~2.0");
	assert_refused("platform_version", -EBADMSG, "platform_version", "s", "");
	assert_refused("platform_version", -EBADMSG, "platform_version", "s",
		       ">=1, <1");
	assert_refused("platform_version", -EBADMSG, "platform_version", "s", "1.x");
	/* Not the version, but what comes with it. */
	assert_refused("platform_version", 0, "", "s", "~1.0");
	assert_refused("platform_version", 0, "", "s", ">=0.9, <2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_that_is_set_arrives),
		cmocka_unit_test(test_files_passed_before_are_taken_once),
		cmocka_unit_test(test_what_is_wrong_is_named),
		cmocka_unit_test(test_what_asks_for_nothing_is_let_pass),
		cmocka_unit_test(test_versions_are_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
