/*
 * Early VMs by real programs: early_virtmgr, vmm, and guests (guest/bare/agent.c).
 * Their files and locks are in a folder of the test's own, and there is no service.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/vhost.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmm/avf.h>

#include "base/cleanup.h"
#include "dbus/manager.h"
#include "dbus/vm.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

#define RIG_EARLY "early_virtmgr"

static char root[64], self[4096];

static const char *in_root(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

static void write_file(const char *name, mode_t mode, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void write_file(const char *name, mode_t mode, const char *fmt, ...)
{
	FILE *f = fopen(in_root(name), "we");
	va_list ap;

	assert_non_null(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
	assert_return_code(chmod(in_root(name), mode), errno);
}

/* Two of this program's, and one of another's. */
static void write_entries(void)
{
	write_file("etc/avf/early_vms.xml", 0644,
		   "<early_vms>\n"
		   "<early_vm name='first' cid='300' path='%s'/>\n"
		   "<early_vm name='second' cid='301' path='%s'/>\n"
		   "<early_vm name='other' cid='302' path='/bin/sh'/>\n"
		   "</early_vms>\n",
		   self, self);
}

static struct client *new_client(void)
{
	struct client *c;

	must(client_spawn(getenv("EARLY_VIRTMGR"), &c, &err));
	return c;
}

static int create(struct client *c, const char *name, int vsock, struct guest *g,
		  struct err *err)
{
	struct vm_config config;
	int handle, r = guest_config(&config, "agent", "tell=sr", err);

	if (r < 0)
		return r;
	*g = (struct guest){ 0 };
	free(config.name);
	config.name = name ? strdup(name) : NULL;
	config.vsock = vsock;
	r = client_create_vm(c, &config, &handle, &g->cid, err);
	vm_config_free(&config);
	return r < 0 ? r : guest_open(handle, g, err);
}

static void run(struct client *c, const char *name, struct guest *g)
{
	must(create(c, name, VSOCK_AUTO, g, &err));
	must(guest_call(g, "Start", &err));
	must(guest_wait_ready(g, &err));
	must(guest_echo(g, &err));
}

static void refused(struct client *c, const char *name, int code, const char *sentence)
{
	struct err err = { "" };
	struct guest g;

	assert_int_equal(create(c, name, VSOCK_AUTO, &g, &err), code);
	if (!strstr(err.msg, sentence))
		fail_msg("\"%s\" is not in \"%s\"", sentence, err.msg);
}

static void must_end(struct guest *g)
{
	must(guest_call(g, "Stop", &err));
	guest_drop(g);
}

/* What a client is told of itself and of its VM. */
static void get_info(sd_bus *bus, const char *path, const char *interface,
		     const char *member, const char *key, char *ret_text, size_t size)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	const char *got, *text;

	*ret_text = '\0';
	must(client_call(bus, path, interface, member, &reply, &err, ""));
	sd_bus_message_enter_container(reply, 'a', "{sv}");
	while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
		sd_bus_message_read(reply, "s", &got);
		if (strcmp(got, key) == 0 &&
		    sd_bus_message_read(reply, "v", "s", &text) > 0)
			snprintf(ret_text, size, "%s", text);
		else
			sd_bus_message_skip(reply, "v");
		sd_bus_message_exit_container(reply);
	}
}

static bool has_vhost(void)
{
	return access("/dev/vhost-vsock", R_OK | W_OK) == 0 && geteuid() == 0;
}

static void assert_vsock(struct guest *g, const char *kind)
{
	char text[16];

	get_info(g->bus, VM_PATH, VM_INTERFACE, "GetDebugInfo", "vsock", text,
		 sizeof(text));
	assert_string_equal(text, kind);
}

/* --- tests -------------------------------------------------------------------- */

static void test_an_early_vm_runs_with_its_cid_and_without_a_service(void **state)
{
	struct client *c = new_client();
	struct rig_process p;
	struct guest g;
	int reason;

	(void)state;
	run(c, "first", &g);
	assert_int_equal(g.cid, 300);
	assert_vsock(&g, has_vhost() ? "vhost" : "unix");
	assert_int_equal(rig_processes(RIG_EARLY, &p, 1), 1);
	assert_int_equal(rig_processes(RIG_VIRTMGR, &p, 1), 0);
	assert_int_equal(rig_processes(RIG_SERVICE, &p, 1), 0);
	assert_int_equal(access(rig_folder(), F_OK), -1);
	/* Its guest ends it. */
	must(guest_order(&g, 'o', false, &err));
	must(guest_wait(&g, &g.n_died, &err));
	must(guest_death(&g, &reason, &err));
	assert_int_equal(reason, DEATH_SHUTDOWN);
	guest_drop(&g);
	client_free(c);
}

static void test_there_is_one_of_a_name_at_a_time(void **state)
{
	static const char sentence[] =
		"early VM first: there is one already, which has its CID, 300";
	struct client *c = new_client(), *d = new_client();
	struct guest first, second, next;

	(void)state;
	/* From the moment that it is made. */
	must(create(c, "first", VSOCK_AUTO, &first, &err));
	refused(c, "first", -EBADFD, sentence);
	refused(d, "first", -EBADFD, sentence);
	must(guest_call(&first, "Start", &err));
	must(guest_wait_ready(&first, &err));
	refused(d, "first", -EBADFD, sentence);
	run(d, "second", &second);
	assert_int_equal(second.cid, 301);
	/* Until nothing of it is left, though there is a handle. */
	must(guest_call(&first, "Stop", &err));
	run(d, "first", &next);
	assert_int_equal(next.cid, 300);
	/* Which may close without harm to the next. */
	guest_drop(&first);
	refused(c, "first", -EBADFD, sentence);
	must(guest_echo(&next, &err));
	must_end(&next);
	must_end(&second);
	client_free(c);
	client_free(d);
}

static void the_next_client_has_it(void)
{
	struct client *c;
	struct guest g;

	assert_true(rig_nothing_left() >= 0);
	c = new_client();
	run(c, "first", &g);
	guest_drop(&g);
	client_free(c);
}

static void test_a_dropped_handle_frees_the_cid(void **state)
{
	struct client *c = new_client();
	struct guest g;

	(void)state;
	/* At once, where nothing has to be killed. */
	for (int i = 0; i < 100; i++) {
		must(create(c, "first", VSOCK_AUTO, &g, &err));
		guest_drop(&g);
	}
	run(c, "first", &g);
	guest_drop(&g);
	client_free(c);
	the_next_client_has_it();
}

static void test_a_killed_manager_leaves_no_vm_and_no_lock(void **state)
{
	struct client *c = new_client();
	struct guest g;

	(void)state;
	run(c, "first", &g);
	assert_return_code(kill(rig_process(RIG_EARLY), SIGKILL), errno);
	must(guest_wait_lost(&g, &err));
	guest_drop(&g);
	client_free(c);
	the_next_client_has_it();
}

static void test_who_may_not_have_one_is_told_why(void **state)
{
	struct client *c = new_client();
	char sentence[256];

	(void)state;
	refused(c, NULL, -EBADMSG, "name: is needed");
	refused(c, "third", -ENOENT, "early VM third: no early_vms*.xml in ");
	snprintf(sentence, sizeof(sentence),
		 "early VM other: line 4 of %s/etc/avf/early_vms.xml: it is for ",
		 root);
	refused(c, "other", -EACCES, sentence);
	snprintf(sentence, sizeof(sentence), ", and client %d is /", getpid());
	refused(c, "other", -EACCES, sentence);
	client_free(c);
}

static void test_a_mistake_in_a_file_is_told_until_it_is_repaired(void **state)
{
	struct client *c = new_client();
	char sentence[256];
	struct guest g;

	(void)state;
	write_file(
		"usr/lib/avf/early_vms.xml", 0644,
		"<early_vms>\n<early_vm name='zero' cid='0' path='/a'/></early_vms>");
	snprintf(sentence, sizeof(sentence),
		 "%s/usr/lib/avf/early_vms.xml: line 2: early_vm zero: cid: 0 is not "
		 "within 100 to 199",
		 root);
	refused(c, "first", -EIO, sentence);
	unlink(in_root("usr/lib/avf/early_vms.xml"));
	run(c, "first", &g);
	must_end(&g);
	unlink(in_root("etc/avf/early_vms.xml"));
	refused(c, "first", -ENOENT, "no early_vms*.xml in ");
	write_entries();
	client_free(c);
}

static void test_what_needs_a_service_is_refused_by_name(void **state)
{
	static const struct {
		const char *member, *types;
	} calls[] = { { "ListVms", "" },
		      { "OpenVm", "s" },
		      { "AllocateInstanceId", "" } };
	struct client *c = new_client();
	struct err err = { "" };

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		assert_int_equal(client_call(client_bus(c), MANAGER_PATH,
					     MANAGER_INTERFACE, calls[i].member, NULL,
					     &err, calls[i].types, "first"),
				 -ENOTSUP);
		assert_ptr_equal(strstr(err.msg, calls[i].member), err.msg);
	}
	client_free(c);
}

static void test_it_serves_one_client_and_nobody_else(void **state)
{
	static const char *const arguments[] = { "", "--listen /nonexistent/socket",
						 "--rpc-server-fd 99" };
	char command[256];

	(void)state;
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
		snprintf(command, sizeof(command), "%s/early_virtmgr %s 2>/dev/null",
			 root, arguments[i]);
		assert_int_equal(WEXITSTATUS(system(command)), 2);
	}
}

static void test_a_client_learns_that_it_is_early(void **state)
{
	struct client *c = new_client();
	char text[16];

	(void)state;
	get_info(client_bus(c), MANAGER_PATH, MANAGER_INTERFACE, "GetInfo", "service",
		 text, sizeof(text));
	assert_string_equal(text, "early");
	client_free(c);
}

static void test_a_cid_that_another_vmm_has_is_not_replaced(void **state)
{
	AUTO_CLOSE int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	const uint64_t cid = 300;
	struct client *c;
	struct guest g;

	(void)state;
	if (!has_vhost()) {
		print_message("there is no /dev/vhost-vsock for this user\n");
		skip();
	}
	assert_return_code(ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid), errno);
	c = new_client();
	refused(c, "first", -EIO,
		"vsock: /dev/vhost-vsock: CID 300: Address already in use");
	assert_return_code(close(TAKE_FD(fd)), errno);
	run(c, "first", &g);
	must_end(&g);
	client_free(c);
}

/* --- rights ------------------------------------------------------------------- */

/* A client that lacks it, and so does its manager: a status for exit(). */
static int without_capability(void)
{
	const char *lacking;
	struct client *c;
	struct err err = { "" };
	struct guest g;
	char text[16];

	if (prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE) < 0)
		return 2;
	if (client_spawn(getenv("EARLY_VIRTMGR"), &c, &err) < 0)
		return 3;
	lacking = has_vhost() ? "vsock: port 300 for the agent, without "
				"CAP_NET_BIND_SERVICE: Permission denied"
			      : "vsock: /dev/vhost-vsock: ";
	if (create(c, "first", VSOCK_VHOST, &g, &err) >= 0 || !strstr(err.msg, lacking))
		return 4;
	if (create(c, "first", VSOCK_AUTO, &g, &err) < 0 ||
	    guest_call(&g, "Start", &err) < 0 || guest_wait_ready(&g, &err) < 0 ||
	    guest_echo(&g, &err) < 0)
		return 5;
	get_info(g.bus, VM_PATH, VM_INTERFACE, "GetDebugInfo", "vsock", text,
		 sizeof(text));
	if (strcmp(text, "unix") != 0)
		return 6;
	guest_drop(&g);
	client_free(c);
	return 0;
}

static void test_without_the_capability_for_the_port_vsock_is_by_descriptors(
	void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("only root has a capability to drop\n");
		skip();
	}
	pid = fork();
	if (pid == 0)
		_exit(without_capability());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* --- the C library ------------------------------------------------------------ */

static AVirtualMachineRawConfig *new_config(const char *name)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();
	AUTO_FREE char *path = rig_guest("agent");

	AVirtualMachineRawConfig_setKernel(config, open(path, O_RDONLY | O_CLOEXEC));
	AVirtualMachineRawConfig_setMemoryMiB(config, 32);
	AVirtualMachineRawConfig_setName(config, name);
	return config;
}

static void test_androids_functions_have_early_vms(void **state)
{
	const struct timespec patience = { .tv_sec = RIG_PATIENCE };
	enum AVirtualMachineStopReason reason;
	struct avf_error error = { "" };
	AVirtualizationService *service;
	AVirtualMachine *vm;
	int fd;

	(void)state;
	assert_int_equal(AVirtualizationService_create(&service, true), 0);
	assert_int_equal(AVirtualMachine_createRaw(service, new_config("other"), -1, -1,
						   -1, &vm),
			 -EIO);
	assert_int_equal(avf_vm_create(service, new_config("other"), &vm, &error),
			 -EACCES);
	assert_non_null(strstr(error.message, "early VM other: "));
	assert_int_equal(AVirtualMachine_createRaw(service, new_config("first"), -1, -1,
						   -1, &vm),
			 0);
	AVirtualizationService_destroy(service);
	assert_int_equal(avf_vm_cid(vm), 300);
	assert_int_equal(AVirtualMachine_start(vm), 0);
	fd = AVirtualMachine_connectVsock(vm, GUEST_ECHO);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(AVirtualMachine_stop(vm), 0);
	assert_true(AVirtualMachine_waitForStop(vm, &patience, &reason));
	assert_int_equal(reason, AVIRTUAL_MACHINE_KILLED);
	AVirtualMachine_destroy(vm);
}

/* --- surroundings ------------------------------------------------------------- */

static int setup(void **state)
{
	static const char *const folders[] = { "etc",	  "etc/avf",	 "usr",
					       "usr/lib", "usr/lib/avf", "run" };
	char build[4096];

	if (rig_setup(state) < 0)
		return -1;
	strcpy(root, "/tmp/vmm-early-XXXXXX");
	if (!mkdtemp(root) || readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (mkdir(in_root(folders[i]), 0755) < 0)
			return -1;
	snprintf(build, sizeof(build), "%s", getenv("VIRTMGR"));
	*strrchr(build, '/') = '\0';
	write_file("early_virtmgr", 0755,
		   "#!/bin/sh\nexec '%s/early_virtmgr' --root '%s' \"$@\"\n", build,
		   root);
	write_entries();
	setenv("EARLY_VIRTMGR", in_root("early_virtmgr"), 1);
	/* One that is asked for anything would fail. */
	setenv("VIRTUALIZATIONSERVICE_SOCKET", "/nonexistent/socket", 1);
	setenv("VIRTUALIZATIONSERVICE", "/bin/false", 1);
	return 0;
}

static int teardown(void **state)
{
	rig_remove(root);
	return rig_teardown(state);
}

#define EARLY_TEST(f) cmocka_unit_test_teardown(f, rig_clean)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EARLY_TEST(test_an_early_vm_runs_with_its_cid_and_without_a_service),
		EARLY_TEST(test_there_is_one_of_a_name_at_a_time),
		EARLY_TEST(test_a_dropped_handle_frees_the_cid),
		EARLY_TEST(test_a_killed_manager_leaves_no_vm_and_no_lock),
		EARLY_TEST(test_who_may_not_have_one_is_told_why),
		EARLY_TEST(test_a_mistake_in_a_file_is_told_until_it_is_repaired),
		EARLY_TEST(test_what_needs_a_service_is_refused_by_name),
		EARLY_TEST(test_a_cid_that_another_vmm_has_is_not_replaced),
		EARLY_TEST(test_it_serves_one_client_and_nobody_else),
		EARLY_TEST(test_a_client_learns_that_it_is_early),
		EARLY_TEST(
			test_without_the_capability_for_the_port_vsock_is_by_descriptors),
		EARLY_TEST(test_androids_functions_have_early_vms),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
