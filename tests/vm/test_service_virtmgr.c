/*
 * The manager with real VMs: how they end and what they can be asked, configurations
 * that cannot be, and clients that misbehave.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix.h"
#include "dbus/manager.h"
#include "dbus/vm.h"
#include "service/common/paths.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

static struct client *new_client(void)
{
	struct client *c;

	must(client_spawn(NULL, &c, &err));
	return c;
}

static int memory_file(size_t len)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_return_code(fd, errno);
	assert_return_code(ftruncate(fd, (off_t)len), errno);
	return fd;
}

static void assert_state(struct guest *g, uint32_t want)
{
	uint32_t state;

	must(guest_state(g, &state, &err));
	assert_int_equal(state, want);
}

/* A call that must fail so. */
static void assert_fails(int code, const char *sentence, sd_bus *bus, const char *path,
			 const char *interface, const char *member, const char *types,
			 uint64_t arg)
{
	struct err err = { "" };

	assert_int_equal(
		client_call(bus, path, interface, member, NULL, &err, types, arg),
		code);
	if (!strstr(err.msg, sentence))
		fail_msg("%s: \"%s\" is not in \"%s\"", member, sentence, err.msg);
}

#define assert_vm_fails(g, code, sentence, member) \
	assert_fails(code, sentence, (g)->bus, VM_PATH, VM_INTERFACE, member, "", 0)

/* --- life and death ----------------------------------------------------------- */

static void test_each_way_to_end_has_its_reason(void **state)
{
	static const struct {
		const char *params;
		int reason;
		const char *name;
	} cases[] = {
		{ "end=poweroff", DEATH_SHUTDOWN, "shutdown" },
		{ "end=cf9", DEATH_REBOOT, "reboot" },
		{ "end=triple", DEATH_REBOOT, "reboot" },
		{ "end=crash", DEATH_CRASH, "crash" },
		{ "event=1 end=cf9", DEATH_PANIC, "panic" },
		{ "failure=MICRODROID_PAYLOAD_HAS_CHANGED end=poweroff",
		  DEATH_MICRODROID_PAYLOAD_HAS_CHANGED,
		  "microdroid-payload-has-changed" },
		{ "failure=SOMETHING_ELSE end=poweroff", DEATH_SHUTDOWN, "shutdown" },
	};
	struct client *c = new_client();

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest g;
		int32_t reason;

		must(guest_create(c, "hello", cases[i].params, &g, &err));
		assert_state(&g, VM_NOT_STARTED);
		must(guest_call(&g, "Start", &err));
		must(guest_wait(&g, &g.n_died, &err));
		assert_int_equal(g.reason, cases[i].reason);
		assert_string_equal(g.reason_name, cases[i].name);
		assert_int_equal(g.state, VM_DEAD);
		assert_non_null(strstr(g.console_tail, cases[i].params));
		assert_true(*g.detail);
		/* It can still be asked, and no more than that. */
		assert_state(&g, VM_DEAD);
		must(guest_death(&g, &reason, &err));
		assert_int_equal(reason, cases[i].reason);
		assert_vm_fails(&g, -EBADFD, "is dead", "Start");
		assert_vm_fails(&g, -EBADFD, "not running", "Stop");
		assert_vm_fails(&g, -EBADFD, "not running", "Suspend");
		guest_drop(&g);
	}
	client_free(c);
}

static void run_config(struct vm_config *config, int reason)
{
	struct client *c = new_client();
	struct guest g = { 0 };
	int handle;

	must(client_create_vm(c, config, &handle, &g.cid, &err));
	must(guest_open(handle, &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_wait(&g, &g.n_died, &err));
	assert_int_equal(g.reason, reason);
	guest_drop(&g);
	client_free(c);
	vm_config_free(config);
}

static void test_limits_end_it_with_their_reason(void **state)
{
	struct vm_config config;

	(void)state;
	must(guest_config(&config, "watchdog", "count=100", &err));
	config.watchdog = true;
	run_config(&config, DEATH_WATCHDOG_REBOOT);
	must(guest_config(&config, "hello", "end=halt", &err));
	config.timeout_s = 1;
	run_config(&config, DEATH_TIMEOUT);
	must(guest_config(&config, "hello", "end=halt", &err));
	config.start_timeout_s = 1;
	run_config(&config, DEATH_HANGUP);
}

static void test_a_start_that_fails_says_why(void **state)
{
	struct client *c = new_client();
	struct vm_config config;
	struct guest g = { 0 };
	int handle;

	(void)state;
	vm_config_init(&config);
	config.kernel = memory_file(4096);
	must(client_create_vm(c, &config, &handle, &g.cid, &err));
	must(guest_open(handle, &g, &err));
	assert_vm_fails(&g, -EBADFD, "not dead", "GetDeath");
	assert_vm_fails(&g, -ENOEXEC, "not a kernel", "Start");
	must(guest_wait(&g, &g.n_died, &err));
	assert_int_equal(g.reason, DEATH_START_FAILED);
	assert_non_null(strstr(g.detail, "not a kernel"));
	guest_drop(&g);

	/* vmm itself is not there. */
	setenv("VMM", "/nowhere/vmm", 1);
	client_free(c);
	c = new_client();
	unsetenv("VMM");
	must(guest_create(c, "hello", "", &g, &err));
	assert_vm_fails(&g, -ENOEXEC, "/nowhere/vmm: No such file", "Start");
	assert_state(&g, VM_DEAD);
	guest_drop(&g);
	client_free(c);
	vm_config_free(&config);
}

static void test_stop_returns_when_nothing_is_left(void **state)
{
	struct client *c = new_client();
	struct guest g;

	(void)state;
	must(guest_create(c, "hello", "end=spin", &g, &err));
	assert_vm_fails(&g, -EBADFD, "not running", "Stop");
	must(guest_call(&g, "Start", &err));
	assert_int_equal(rig_processes(RIG_VMM, NULL, 0), 2);
	assert_vm_fails(&g, -EBADFD, "started already", "Start");
	must(guest_call(&g, "Stop", &err));
	assert_int_equal(rig_processes(RIG_VMM, NULL, 0), 0);
	must(guest_wait(&g, &g.n_died, &err));
	assert_int_equal(g.reason, DEATH_KILLED);
	assert_string_equal(g.detail, "the VM was stopped");
	guest_drop(&g);
	client_free(c);
}

/* --- what it can be asked ----------------------------------------------------- */

static uint64_t balloon(struct guest *g)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	uint64_t bytes;

	must(client_call(g->bus, VM_PATH, VM_INTERFACE, "GetMemoryBalloon", &reply,
			 &err, ""));
	assert_return_code(sd_bus_message_read(reply, "t", &bytes), 0);
	return bytes;
}

static void test_a_running_vm_does_what_it_is_asked(void **state)
{
	struct client *c = new_client();
	int file = memory_file(0), folder = open("/", O_RDONLY | O_CLOEXEC);
	struct guest g;
	struct stat st;
	char magic[4];

	(void)state;
	must(guest_create(c, "hello", "end=halt", &g, &err));
	assert_vm_fails(&g, -EBADFD, "not running", "Resume");
	must(guest_call(&g, "Start", &err));
	must(guest_call(&g, "Suspend", &err));
	must(guest_call(&g, "Suspend", &err));
	must(guest_call(&g, "Resume", &err));
	must(client_call(g.bus, VM_PATH, VM_INTERFACE, "SetMemoryBalloon", NULL, &err,
			 "t", (uint64_t)1 << 20));
	assert_int_equal(balloon(&g), 0); /* this guest does not care */
	assert_vm_fails(&g, -EBADFD, "does not listen", "PowerButton");
	must(client_call(g.bus, VM_PATH, VM_INTERFACE, "Dump", NULL, &err, "h", file));
	assert_return_code(fstat(file, &st), errno);
	assert_true(st.st_size > 32 << 20);
	assert_int_equal(pread(file, magic, 4, 0), 4);
	assert_memory_equal(magic, "\177ELF", 4);
	assert_fails(-EINVAL, "is a directory", g.bus, VM_PATH, VM_INTERFACE, "Dump",
		     "h", (uint64_t)folder);
	assert_fails(-EINVAL, "1024 or higher", g.bus, VM_PATH, VM_INTERFACE,
		     "ConnectVsock", "u", 1023);
	must(guest_call(&g, "GetDebugInfo", &err));
	guest_drop(&g);
	client_free(c);
	close(folder);
	close(file);
}

/* Answers come in order, and one that takes its time holds nobody up but its VM. */
static void test_requests_may_wait_for_one_another(void **state)
{
	struct client *c = new_client();
	int file = memory_file(0);
	struct guest g, other;

	(void)state;
	must(guest_create(c, "hello", "end=halt", &g, &err));
	must(guest_create(c, "hello", "end=poweroff", &other, &err));
	must(guest_call(&g, "Start", &err));
	for (int i = 0; i < 8; i++)
		must(guest_send(&g, i % 2 ? "Resume" : "Suspend", &err));
	must(guest_call(&other, "Start", &err));
	must(guest_wait(&other, &other.n_died, &err));
	must(guest_call(&g, "Stop", &err));
	guest_drop(&g);
	guest_drop(&other);
	client_free(c);
	close(file);
}

static void test_too_many_requests_and_handles_are_refused(void **state)
{
	struct client *c = new_client();
	int *handles = calloc(1100, sizeof(*handles));
	struct err why = { "" };
	struct guest g;
	int n = 0, r;

	(void)state;
	must(guest_create(c, "hello", "", &g, &err));
	while ((r = guest_stream(&g, "Clone", 0, &handles[n], &why)) == 0)
		n++;
	assert_int_equal(r, -EDQUOT);
	assert_int_equal(n, 1023);
	close(handles[--n]);
	/* That one has gone may not be known yet. */
	while ((r = guest_stream(&g, "Clone", 0, &handles[n], &why)) == -EDQUOT)
		;
	assert_int_equal(r, 0);
	while (n >= 0)
		close(handles[n--]);
	assert_state(&g, VM_NOT_STARTED);
	guest_drop(&g);
	client_free(c);
	free(handles);
}

/* It sees how the VM ends, though. */
static void test_another_clients_handle_does_not_keep_the_vm(void **state)
{
	struct client *c = new_client(), *other = new_client();
	struct guest g, seen = { 0 };
	sd_bus_message *reply;
	char cid[16];
	int fd, clone;

	(void)state;
	must(guest_create(c, "hello", "end=spin", &g, &err));
	must(guest_call(&g, "Start", &err));
	snprintf(cid, sizeof(cid), "%u", g.cid);
	must(client_call(client_bus(other), MANAGER_PATH, MANAGER_INTERFACE, "OpenVm",
			 &reply, &err, "s", cid));
	must(client_take_fd(reply, &fd, &err));
	sd_bus_message_unref(reply);
	must(guest_open(fd, &seen, &err));
	must(guest_stream(&seen, "Clone", 0, &clone, &err));
	assert_state(&seen, VM_STARTING);
	guest_drop(&g);
	must(guest_wait(&seen, &seen.n_died, &err));
	assert_int_equal(seen.reason, DEATH_KILLED);
	must(guest_wait_lost(&seen, &err));
	assert_int_equal(recv(clone, cid, 1, 0), 0);
	close(clone);
	guest_drop(&seen);
	client_free(other);
	client_free(c);
}

/* --- configurations ----------------------------------------------------------- */

static void assert_config(struct client *c, struct vm_config *config, int code,
			  const char *sentence)
{
	struct err err = { "" };
	int handle;

	assert_int_equal(client_create_vm(c, config, &handle, NULL, &err), code);
	assert_string_equal(err.msg, sentence);
	vm_config_free(config);
}

static void test_what_cannot_be_is_said_before_anything_starts(void **state)
{
	struct client *c = new_client();
	struct vm_config config;
	int pipes[2];

	(void)state;
	vm_config_init(&config);
	config.kernel = open("/", O_RDONLY | O_CLOEXEC);
	assert_config(c, &config, -EBADMSG,
		      "kernel: is a directory, not a regular file");
	vm_config_init(&config);
	config.kernel = open("/dev/null", O_PATH | O_CLOEXEC);
	assert_config(c, &config, -EBADMSG,
		      "kernel: is a character device, not a regular file");
	must(guest_config(&config, "hello", "", &err));
	assert_return_code(pipe2(pipes, O_CLOEXEC), errno);
	config.initrd = pipes[0];
	close(pipes[1]);
	assert_config(c, &config, -EBADMSG, "initrd: is a pipe, not a regular file");
	must(guest_config(&config, "hello", "", &err));
	config.ramdump = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_config(c, &config, -EBADMSG, "ramdump: is not open for writing");
	must(guest_config(&config, "hello", "", &err));
	config.tap = memory_file(0);
	assert_config(c, &config, -EBADMSG, "tap: is not a tap's descriptor");
	must(guest_config(&config, "hello", "", &err));
	config.protected = true;
	assert_config(
		c, &config, -ENOTSUP,
		"protected: this host's KVM cannot hide a guest's memory from it");
	/* Nothing has been started, or kept. */
	assert_int_equal(rig_processes(RIG_VMM, NULL, 0), 0);
	assert_int_equal(rig_leases(), 0);
	client_free(c);
}

static void test_hundreds_of_partitions_reach_the_vm(void **state)
{
	struct client *c = new_client();
	struct vm_config config;
	struct guest g = { 0 };
	struct rig_process vmm[2];
	int handle;

	(void)state;
	must(guest_config(&config, "hello", "end=halt", &err));
	config.disks = calloc(3, sizeof(*config.disks));
	for (int i = 0; i < 300; i++) {
		struct config_disk *d = &config.disks[i / 100];
		struct config_partition *p;

		if (i % 100 == 0) {
			*d = (struct config_disk){ .image = -1, .writable = true };
			d->partitions = calloc(100, sizeof(*d->partitions));
			config.n_disks++;
		}
		p = &d->partitions[d->n_partitions++];
		p->image = memory_file(8192);
		p->writable = i % 2;
		assert_true(asprintf(&p->label, "p%d", i % 100) > 0);
	}
	config.console_out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	must(client_create_vm(c, &config, &handle, &g.cid, &err));
	must(guest_open(handle, &g, &err));
	must(guest_call(&g, "Start", &err));
	assert_int_equal(rig_processes(RIG_VMM, vmm, 2), 2);
	assert_true(rig_fds(vmm[1].pid) > 300 || rig_fds(vmm[0].pid) > 300);
	guest_drop(&g);
	client_free(c);
	vm_config_free(&config);
}

static void test_only_files_can_be_passed_ahead(void **state)
{
	struct client *c = new_client();
	sd_bus *bus = client_bus(c);
	int file = memory_file(4096), sockets[2];
	struct err why = { "" };

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets),
			   errno);
	for (uint32_t i = 0; i < 3; i++) {
		sd_bus_message *reply;
		uint32_t first;

		assert_int_equal(client_call(bus, MANAGER_PATH, MANAGER_INTERFACE,
					     "PassFiles", NULL, &why, "ah", 2, file,
					     sockets[0]),
				 -EINVAL);
		assert_non_null(strstr(why.msg, "is a socket"));
		/* A call that fails keeps nothing. */
		must(client_call(bus, MANAGER_PATH, MANAGER_INTERFACE, "PassFiles",
				 &reply, &err, "ah", 2, file, file));
		assert_return_code(sd_bus_message_read(reply, "u", &first), 0);
		assert_int_equal(first, 2 * i);
		sd_bus_message_unref(reply);
	}
	assert_int_equal(client_call(bus, MANAGER_PATH, MANAGER_INTERFACE, "CreateVm",
				     NULL, &why, "a{sv}", 1, "kernel", "u", 6),
			 -EBADMSG);
	/* That has taken all of them. */
	assert_int_equal(client_call(bus, MANAGER_PATH, MANAGER_INTERFACE, "CreateVm",
				     NULL, &why, "a{sv}", 1, "kernel", "u", 0),
			 -EBADMSG);
	assert_non_null(strstr(why.msg, "no file of index 0"));
	close(sockets[0]);
	close(sockets[1]);
	close(file);
	client_free(c);
}

/* --- the program -------------------------------------------------------------- */

/* Listening at @path. */
static pid_t listener(const char *path)
{
	AUTO_FREE char *program = paths_program("virtmgr");
	const struct unix_patience patience = { .may_come = true };
	pid_t pid = fork();
	int fd;

	assert_return_code(pid, errno);
	if (pid == 0) {
		execl(program, "virtmgr", "--listen", path, NULL);
		_exit(1);
	}
	fd = unix_connect("manager", path, SOCK_STREAM, &patience, NULL);
	assert_return_code(fd, -fd);
	close(fd);
	return pid;
}

static void get_info(struct client *c)
{
	must(client_call(client_bus(c), MANAGER_PATH, MANAGER_INTERFACE, "GetInfo",
			 NULL, &err, ""));
}

static void test_who_misbehaves_does_so_alone(void **state)
{
	enum { N = 400 };
	struct unix_patience patience = { 0 };
	struct client *good, *late;
	char path[128], byte;
	int fds[N], status;
	pid_t pid;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vmm-manager-%d", getpid());
	pid = listener(path);
	must(client_connect(path, &good, &err));
	get_info(good);
	/* More than may be: the last ones are hung up on. */
	for (int i = 0; i < N; i++) {
		fds[i] = unix_connect("m", path, SOCK_STREAM, &patience, NULL);
		assert_return_code(fds[i], -fds[i]);
	}
	assert_int_equal(recv(fds[N - 1], &byte, 1, 0), 0);
	get_info(good);
	/* Bytes that are no D-Bus. */
	for (int i = 0; i < 100; i++)
		send(fds[i], "junk\r\n\0\1\2\3", 10, MSG_NOSIGNAL);
	get_info(good);
	for (int i = 0; i < 100; i++)
		assert_true(recv(fds[i], &byte, 1, 0) <= 0);
	must(client_connect(path, &late, &err));
	get_info(late);
	client_free(late);
	client_free(good);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_a_manager_that_is_told_to_end_takes_its_vms_along(void **state)
{
	struct client *c;
	struct guest g;
	char path[128];
	int status;
	pid_t pid;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/vmm-manager-%d", getpid());
	pid = listener(path);
	must(client_connect(path, &c, &err));
	must(guest_create(c, "hello", "end=spin", &g, &err));
	must(guest_call(&g, "Start", &err));
	kill(pid, SIGTERM);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(rig_processes(RIG_VMM, NULL, 0), 0);
	guest_drop(&g);
	client_free(c);
}

/* As AVF's clients start it: in the foreground, with descriptors of any number. */
static void test_it_tells_when_it_is_ready_and_ends_with_its_client(void **state)
{
	AUTO_FREE char *program = paths_program("virtmgr");
	int rpc[2], ready[2], status;
	char byte;
	pid_t pid;

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, rpc),
			   errno);
	assert_return_code(pipe2(ready, O_CLOEXEC), errno);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		dup2(rpc[1], 77);
		dup2(ready[1], 78);
		execl(program, "virtmgr", "--rpc-server-fd", "77", "--ready-fd", "78",
		      NULL);
		_exit(1);
	}
	close(rpc[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 'o');
	assert_int_equal(read(ready[0], &byte, 1), 0);
	close(ready[0]);
	close(rpc[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_bad_arguments_are_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"--rpc-server-fd 99",
		"--rpc-server-fd x",
		"--rpc-server-fd 1",
		"--listen /nowhere/socket",
		"--listen a --rpc-server-fd 0",
		"--bogus",
		"--listen a b",
	};
	AUTO_FREE char *program = paths_program("virtmgr");
	char command[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(command, sizeof(command), "%s %s 2>&1 | grep -q '^virtmgr: '",
			 program, cases[i]);
		assert_int_equal(system(command), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_each_way_to_end_has_its_reason),
		TEST(test_limits_end_it_with_their_reason),
		TEST(test_a_start_that_fails_says_why),
		TEST(test_stop_returns_when_nothing_is_left),
		TEST(test_a_running_vm_does_what_it_is_asked),
		TEST(test_requests_may_wait_for_one_another),
		TEST(test_too_many_requests_and_handles_are_refused),
		TEST(test_another_clients_handle_does_not_keep_the_vm),
		TEST(test_what_cannot_be_is_said_before_anything_starts),
		TEST(test_hundreds_of_partitions_reach_the_vm),
		TEST(test_only_files_can_be_passed_ahead),
		TEST(test_who_misbehaves_does_so_alone),
		TEST(test_a_manager_that_is_told_to_end_takes_its_vms_along),
		TEST(test_it_tells_when_it_is_ready_and_ends_with_its_client),
		TEST(test_bad_arguments_are_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
