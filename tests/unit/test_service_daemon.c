/* The host's service and its callers: rights, limits, what a death leaves. */
#include <poll.h>
#include <sys/prctl.h>
#include <sys/vfs.h>

#include "daemon_rig.h"

/* --- rights ------------------------------------------------------------------ */

static void test_who_is_not_in_the_group_is_told_so_whatever_he_calls(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *bus = rig_connect(rig, MALLORY);
	struct err err = { "" };
	uint32_t cid;
	int lease;

	assert_int_equal(rig_create(bus, "a", 1, &cid, &lease, &err), -EACCES);
	assert_string_equal(
		err.msg, "user 6003: is not in the group 5000, and may not have VMs");
	assert_int_equal(rig_call(bus, "ListVms", NULL, NULL, ""), -EACCES);
	assert_int_equal(rig_call(bus, "OpenVm", NULL, NULL, "s", "a"), -EACCES);
	assert_int_equal(rig_call(bus, "ReleaseVmContext", NULL, NULL, "u", 3000),
			 -EACCES);
	assert_int_equal(
		rig_call(bus, "UpdateVmContext", NULL, NULL, "ua{sv}", 3000, 0),
		-EACCES);
	assert_int_equal(
		rig_call(bus, "AdoptVmContext", NULL, NULL, "usa{sv}", 3000, "", 0),
		-EACCES);
	sd_bus_close_unref(bus);
}

static void test_others_vms_are_seen_by_root_and_the_debug_group_only(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	const uid_t uids[] = { ALICE, ALICE, BOB, DORA, 0 };
	sd_bus *bus[5];
	uint32_t cid;
	int lease;

	for (int i = 0; i < 5; i++)
		bus[i] = rig_connect(rig, uids[i]);
	assert_int_equal(rig_create(bus[0], "hers", 1, &cid, &lease, NULL), 0);
	assert_int_equal(rig_count(bus[0]), 1);
	assert_int_equal(rig_count(bus[1]), 1);
	assert_int_equal(rig_count(bus[2]), 0);
	assert_int_equal(rig_count(bus[3]), 1);
	assert_int_equal(rig_count(bus[4]), 1);
	for (int i = 0; i < 5; i++)
		sd_bus_close_unref(bus[i]);
	close(lease);
}

/* The CIDs that are listed; how many. */
static unsigned list_cids(sd_bus *bus, uint32_t *cids, unsigned max)
{
	sd_bus_message *reply = NULL;
	unsigned n = 0;
	const char *key;

	assert_int_equal(rig_call(bus, "ListVms", &reply, NULL, ""), 0);
	assert_true(sd_bus_message_enter_container(reply, 'a', "a{sv}") > 0);
	for (; n < max && sd_bus_message_enter_container(reply, 'a', "{sv}") > 0; n++) {
		assert_true(sd_bus_message_enter_container(reply, 'e', "sv") > 0);
		assert_true(sd_bus_message_read(reply, "s", &key) > 0);
		assert_string_equal(key, "cid");
		assert_true(sd_bus_message_read(reply, "v", "u", &cids[n]) > 0);
		assert_true(sd_bus_message_exit_container(reply) > 0);
		while (sd_bus_message_skip(reply, "{sv}") > 0)
			;
		assert_true(sd_bus_message_exit_container(reply) > 0);
	}
	sd_bus_message_unref(reply);
	return n;
}

static void assert_listed(sd_bus *bus, const uint32_t *cids, unsigned n)
{
	uint32_t listed[8];

	assert_int_equal(list_cids(bus, listed, 8), n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(listed[i], cids[i]);
}

static void test_vms_are_listed_by_cid(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *bus[] = { rig_connect(rig, ALICE), rig_connect(rig, 0) };
	static const unsigned order[] = { 2, 0, 3, 1 };
	uint32_t cids[4];
	int leases[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(
			rig_create(bus[i % 2], "one", 1, &cids[i], &leases[i], NULL),
			0);
	assert_listed(bus[1], cids, 4);
	/* Adopted in any order. */
	assert_int_equal(rig_stop(rig, SIGKILL), -1);
	rig_start(rig);
	for (int i = 0; i < 2; i++) {
		sd_bus_close_unref(bus[i]);
		bus[i] = rig_connect(rig, i ? 0 : ALICE);
	}
	for (int i = 0; i < 4; i++) {
		char line[64] = "";
		unsigned n = order[i];

		assert_true(pread(leases[n], line, sizeof(line) - 1, 0) > 0);
		assert_int_equal(rig_call(bus[n % 2], "AdoptVmContext", NULL, NULL,
					  "usa{sv}", cids[n], line, 0),
				 0);
	}
	assert_listed(bus[1], cids, 4);
	assert_int_equal(rig_call(bus[1], "ReleaseVmContext", NULL, NULL, "u", cids[3]),
			 0);
	assert_listed(bus[1], cids, 3);
	for (int i = 0; i < 4; i++)
		close(leases[i]);
	for (int i = 0; i < 2; i++)
		sd_bus_close_unref(bus[i]);
}

static void test_nobody_but_its_manager_changes_a_vm(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice = rig_connect(rig, ALICE);
	const uid_t uids[] = { ALICE, BOB, DORA, 0 };
	char line[64] = "";
	uint32_t cid;
	int lease;

	assert_int_equal(rig_create(alice, "hers", 1, &cid, &lease, NULL), 0);
	assert_true(pread(lease, line, sizeof(line) - 1, 0) > 0);
	for (int i = 0; i < 4; i++) {
		sd_bus *bus = rig_connect(rig, uids[i]);

		assert_int_equal(
			rig_call(bus, "ReleaseVmContext", NULL, NULL, "u", cid),
			-ENOENT);
		assert_int_equal(rig_call(bus, "UpdateVmContext", NULL, NULL, "ua{sv}",
					  cid, 1, "state", "u", 6U),
				 -ENOENT);
		assert_int_equal(rig_call(bus, "AdoptVmContext", NULL, NULL, "usa{sv}",
					  cid, line, 0),
				 -EBADFD);
		sd_bus_close_unref(bus);
	}
	assert_int_equal(rig_count(alice), 1);
	sd_bus_close_unref(alice);
	close(lease);
}

static void test_another_users_vm_is_not_there_to_be_opened(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice = rig_connect(rig, ALICE), *bob = rig_connect(rig, BOB);
	struct err err = { "" };
	char number[16];
	uint32_t cid;
	int lease;

	assert_int_equal(rig_create(alice, "hers", 1, &cid, &lease, NULL), 0);
	snprintf(number, sizeof(number), "%u", cid);
	assert_int_equal(rig_call(bob, "OpenVm", NULL, &err, "s", "hers"), -ENOENT);
	assert_string_equal(err.msg, "hers: there is no such VM");
	assert_int_equal(rig_call(bob, "OpenVm", NULL, &err, "s", number), -ENOENT);
	sd_bus_close_unref(alice);
	sd_bus_close_unref(bob);
	close(lease);
}

/* --- from manager to manager ---------------------------------------------------- */

struct manager {
	sd_bus *bus;
	int handle, asked;
	bool mute;
	sd_bus_message *unanswered;
};

static int on_open(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	struct manager *manager = userdata;
	uint32_t cid;
	int fd;

	(void)ret_error;
	assert_true(sd_bus_message_read(m, "uh", &cid, &fd) > 0);
	manager->handle = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	manager->asked++;
	if (!manager->mute)
		return sd_bus_reply_method_return(m, "");
	manager->unanswered = sd_bus_message_ref(m);
	return 1;
}

static const sd_bus_vtable backend[] = { SD_BUS_VTABLE_START(0),
					 SD_BUS_METHOD("OpenVm", "uh", "", on_open,
						       SD_BUS_VTABLE_UNPRIVILEGED),
					 SD_BUS_VTABLE_END };

static void manager_start(struct manager *m, const struct daemon_rig *rig, uid_t uid)
{
	m->bus = rig_connect(rig, uid);
	m->handle = -1;
	assert_return_code(
		sd_bus_add_object_vtable(m->bus, NULL, "/org/vmm/VirtualizationManager",
					 "org.vmm.VirtualizationManager1", backend, m),
		0);
}

static int keep_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)ret_error;
	*(sd_bus_message **)userdata = sd_bus_message_ref(m);
	return 0;
}

/* The caller asks; both are served until there is an answer. */
static sd_bus_message *open_vm(sd_bus *caller, struct manager *m, const char *vm)
{
	sd_bus_message *answer = NULL;

	assert_return_code(sd_bus_call_method_async(caller, NULL, NULL, GLOBAL_PATH,
						    GLOBAL_INTERFACE, "OpenVm",
						    keep_answer, &answer, "s", vm),
			   0);
	while (!answer) {
		struct pollfd p[] = { { .fd = sd_bus_get_fd(caller), .events = POLLIN },
				      { .fd = m->bus ? sd_bus_get_fd(m->bus) : -1,
					.events = POLLIN } };

		while (sd_bus_process(caller, NULL) > 0)
			;
		while (m->bus && sd_bus_process(m->bus, NULL) > 0)
			;
		if (m->mute && m->unanswered && m->asked < 0)
			m->bus = sd_bus_close_unref(m->bus);
		if (!answer)
			assert_return_code(poll(p, 2, 100), errno);
	}
	return answer;
}

static void test_a_vm_is_opened_over_a_socket_that_the_service_makes(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	const uid_t uids[] = { ALICE, DORA, 0 };
	struct manager alice = { 0 };
	uint32_t cid;
	int lease, fd;

	manager_start(&alice, rig, ALICE);
	assert_int_equal(rig_create(alice.bus, "hers", 1, &cid, &lease, NULL), 0);
	for (int i = 0; i < 3; i++) {
		sd_bus *bus = rig_connect(rig, uids[i]);
		sd_bus_message *answer = open_vm(bus, &alice, "hers");
		char byte;

		assert_false(sd_bus_message_is_method_error(answer, NULL));
		assert_return_code(sd_bus_message_read(answer, "h", &fd), 0);
		assert_int_equal(write(alice.handle, "x", 1), 1);
		assert_int_equal(read(fd, &byte, 1), 1);
		close(alice.handle);
		/* Nobody else holds the manager's end. */
		assert_int_equal(read(fd, &byte, 1), 0);
		sd_bus_message_unref(answer);
		sd_bus_close_unref(bus);
	}
	sd_bus_close_unref(alice.bus);
	close(lease);
}

static void test_a_manager_that_does_not_answer_is_an_error(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	struct manager alice = { .mute = true };
	sd_bus *root = rig_connect(rig, 0);
	sd_bus_message *answer;
	uint32_t cid;
	int lease;

	manager_start(&alice, rig, ALICE);
	assert_int_equal(rig_create(alice.bus, "hers", 1, &cid, &lease, NULL), 0);
	answer = open_vm(root, &alice, "hers");
	assert_true(
		sd_bus_message_is_method_error(answer, "org.vmm.Error.Infrastructure"));
	assert_non_null(
		strstr(sd_bus_message_get_error(answer)->message, "does not answer"));
	sd_bus_message_unref(answer);
	/* An answer that comes too late is nobody's. */
	assert_return_code(sd_bus_reply_method_return(alice.unanswered, ""), 0);
	sd_bus_message_unref(alice.unanswered);
	assert_int_equal(rig_count(alice.bus), 1);
	close(alice.handle);
	sd_bus_close_unref(alice.bus);
	sd_bus_close_unref(root);
	close(lease);
}

static void test_a_manager_that_dies_while_it_is_asked_is_an_error(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	/* The first one asked for is the last: see open_vm(). */
	struct manager alice = { .mute = true, .asked = -2 };
	sd_bus *root = rig_connect(rig, 0);
	sd_bus_message *answer;
	uint32_t cid;
	int lease;

	manager_start(&alice, rig, ALICE);
	assert_int_equal(rig_create(alice.bus, "hers", 1, &cid, &lease, NULL), 0);
	answer = open_vm(root, &alice, "hers");
	assert_true(sd_bus_message_is_method_error(answer, "org.vmm.Error.NotFound"));
	assert_non_null(strstr(sd_bus_message_get_error(answer)->message, "has gone"));
	sd_bus_message_unref(answer);
	assert_int_equal(rig_count(root), 0);
	sd_bus_message_unref(alice.unanswered);
	close(alice.handle);
	sd_bus_close_unref(root);
	close(lease);
}

/* --- limits ---------------------------------------------------------------------- */

static void test_a_user_has_as_many_vms_as_he_may(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *bob = rig_connect(rig, BOB), *again = rig_connect(rig, BOB);
	sd_bus *alice = rig_connect(rig, ALICE);
	struct err err = { "" };
	uint32_t cid[5];
	int lease[5];

	for (int i = 0; i < 3; i++)
		assert_int_equal(
			rig_create(i ? bob : again, "his", 1, &cid[i], &lease[i], NULL),
			0);
	assert_int_equal(rig_create(again, "his", 1, &cid[3], &lease[3], &err),
			 -EDQUOT);
	assert_string_equal(err.msg, "user 6002: has 3 VMs, and may not have more");
	assert_int_equal(rig_create(alice, "hers", 1, &cid[4], &lease[4], NULL), 0);
	assert_int_equal(rig_call(bob, "ReleaseVmContext", NULL, NULL, "u", cid[1]), 0);
	close(lease[1]);
	assert_int_equal(rig_create(again, "his", 1, &cid[1], &lease[1], NULL), 0);
	sd_bus_close_unref(bob);
	sd_bus_close_unref(again);
	sd_bus_close_unref(alice);
	for (int i = 0; i < 5; i++)
		if (i != 3)
			close(lease[i]);
}

static void test_a_user_has_as_much_memory_as_he_may(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *bob = rig_connect(rig, BOB);
	struct err err = { "" };
	uint32_t cid;
	int lease, none;

	assert_int_equal(rig_create(bob, "his", 1000, &cid, &lease, NULL), 0);
	assert_int_equal(rig_create(bob, "his", 25, &cid, &none, &err), -EDQUOT);
	assert_non_null(strstr(err.msg, "the limit is 1024 MiB"));
	assert_int_equal(rig_create(bob, "his", UINT64_MAX >> 20, &cid, &none, &err),
			 -EINVAL);
	assert_int_equal(rig_create(bob, "his", 24, &cid, &none, &err), 0);
	close(none);
	close(lease);
	sd_bus_close_unref(bob);
}

static void test_cids_that_are_held_on_to_are_counted(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *bob = rig_connect(rig, BOB);
	struct err err = { "" };
	int lease[4], none;
	uint32_t cid;

	for (int i = 0; i < 4; i++) {
		assert_int_equal(rig_create(bob, "his", 1, &cid, &lease[i], NULL), 0);
		assert_int_equal(
			rig_call(bob, "ReleaseVmContext", NULL, NULL, "u", cid), 0);
	}
	assert_int_equal(rig_count(bob), 0);
	assert_int_equal(rig_create(bob, "his", 1, &cid, &none, &err), -EDQUOT);
	assert_string_equal(err.msg, "user 6002: has 4 CIDs, and may not have more");
	/* Nor does a new connection help, or a new service. */
	sd_bus_close_unref(bob);
	assert_int_equal(rig_stop(rig, SIGKILL), -1);
	rig_start(rig);
	bob = rig_connect(rig, BOB);
	assert_int_equal(rig_create(bob, "his", 1, &cid, &none, &err), -EDQUOT);
	close(lease[2]);
	assert_int_equal(rig_create(bob, "his", 1, &cid, &lease[2], &err), 0);
	sd_bus_close_unref(bob);
	for (int i = 0; i < 4; i++)
		close(lease[i]);
}

static void test_connections_beyond_the_limit_are_told_so(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *bus[6], *alice;
	struct err err = { "" };

	for (int i = 0; i < 6; i++)
		bus[i] = rig_connect(rig, BOB);
	for (int i = 0; i < 5; i++)
		assert_int_equal(rig_count(bus[i]), 0);
	assert_int_equal(rig_call(bus[5], "ListVms", NULL, &err, ""), -EDQUOT);
	assert_string_equal(err.msg,
			    "user 6002: has 5 connections, and may not have more");
	alice = rig_connect(rig, ALICE);
	assert_int_equal(rig_count(alice), 0);
	sd_bus_close_unref(alice);
	sd_bus_close_unref(bus[0]);
	/* The place is free as soon as the service has seen that. */
	for (int r = -EDQUOT; r == -EDQUOT;) {
		sd_bus_close_unref(bus[5]);
		bus[5] = rig_connect(rig, BOB);
		r = rig_count(bus[5]);
	}
	for (int i = 1; i < 6; i++)
		sd_bus_close_unref(bus[i]);
}

/* --- deaths ----------------------------------------------------------------------- */

/* Waits for what the service does when it notices. */
static void until_free(const struct daemon_rig *rig, uint32_t cid)
{
	for (int i = 0; i < 400 && rig_leased(rig, cid); i++)
		usleep(25000);
	assert_false(rig_leased(rig, cid));
}

static void test_a_manager_that_dies_leaves_no_vm_and_no_lease(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice = rig_connect(rig, ALICE), *root = rig_connect(rig, 0);
	uint32_t cid[2], other;
	int lease[2], none;

	for (int i = 0; i < 2; i++)
		assert_int_equal(rig_create(alice, "hers", 1, &cid[i], &lease[i], NULL),
				 0);
	close(lease[0]);
	sd_bus_close_unref(alice);
	until_free(rig, cid[0]);
	assert_int_equal(rig_count(root), 0);
	/* vmm still has the other. */
	assert_true(rig_leased(rig, cid[1]));
	for (int i = 0; i < 70; i++) {
		assert_int_equal(rig_create(root, "r", 1, &other, &none, NULL), 0);
		assert_int_not_equal(other, cid[1]);
		close(none);
		assert_int_equal(
			rig_call(root, "ReleaseVmContext", NULL, NULL, "u", other), 0);
	}
	close(lease[1]);
	until_free(rig, cid[1]);
	sd_bus_close_unref(root);
}

static void test_a_service_that_is_killed_gives_out_no_cid_in_use(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice = rig_connect(rig, ALICE);
	uint32_t cid[4], other;
	int lease[4], none;
	char line[64] = "";

	for (int i = 0; i < 4; i++)
		assert_int_equal(rig_create(alice, "hers", 1, &cid[i], &lease[i], NULL),
				 0);
	close(lease[3]);
	assert_int_equal(rig_stop(rig, SIGKILL), -1);
	sd_bus_close_unref(alice);
	rig_start(rig);
	assert_false(rig_leased(rig, cid[3]));
	alice = rig_connect(rig, ALICE);
	assert_true(pread(lease[0], line, sizeof(line) - 1, 0) > 0);
	assert_int_equal(rig_call(alice, "AdoptVmContext", NULL, NULL, "usa{sv}",
				  cid[0], line, 1, "name", "s", "hers"),
			 0);
	assert_int_equal(rig_count(alice), 1);
	/* All 64 in turn. */
	for (int i = 0; i < 64; i++) {
		assert_int_equal(rig_create(alice, "a", 1, &other, &none, NULL), 0);
		for (int j = 0; j < 3; j++)
			assert_int_not_equal(other, cid[j]);
		assert_int_equal(
			rig_call(alice, "ReleaseVmContext", NULL, NULL, "u", other), 0);
		close(none);
	}
	sd_bus_close_unref(alice);
	for (int i = 0; i < 3; i++)
		close(lease[i]);
}

static void test_a_service_that_is_stopped_leaves_leases_to_vms(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice = rig_connect(rig, ALICE);
	uint32_t cid[2];
	int lease[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(rig_create(alice, "hers", 1, &cid[i], &lease[i], NULL),
				 0);
	close(lease[0]);
	assert_int_equal(rig_stop(rig, SIGTERM), 0);
	assert_false(rig_leased(rig, cid[0]));
	assert_true(rig_leased(rig, cid[1]));
	assert_int_equal(access(rig_path(rig, "socket"), F_OK), -1);
	sd_bus_close_unref(alice);
	close(lease[1]);
}

/* --- control groups ----------------------------------------------------------- */

static const char *cgroup_root(void)
{
	const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (int i = 0; i < 2; i++)
		if (statfs(roots[i], &fs) == 0 && fs.f_type == 0x63677270)
			return roots[i];
	return NULL;
}

/* A cgroup of this user's, with a child in it if @ret_child is given; or a skip. */
static void make_cgroup(char folder[static 64], uid_t uid, pid_t *ret_child)
{
	char procs[96];
	FILE *out;

	if (!cgroup_root()) {
		print_message("no cgroup of version 2 is mounted\n");
		skip();
	}
	snprintf(folder, 64, "%s/vmm-test-%d", cgroup_root(), getpid());
	if (mkdir(folder, 0755) < 0 || chown(folder, uid, uid) < 0) {
		print_message("%s: cannot be made: %s\n", folder, strerror(errno));
		skip();
	}
	if (!ret_child)
		return;
	*ret_child = fork();
	if (*ret_child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", folder);
	out = fopen(procs, "w");
	assert_non_null(out);
	fprintf(out, "%d", *ret_child);
	assert_int_equal(fclose(out), 0);
}

static void test_a_cgroup_goes_when_its_last_process_has(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice, *root;
	char folder[64];
	uint32_t cid;
	pid_t child;
	int lease;

	make_cgroup(folder, ALICE, &child);
	/* After the fork: a child would hold them, too. */
	alice = rig_connect(rig, ALICE);
	root = rig_connect(rig, 0);
	assert_int_equal(rig_create(alice, "hers", 1, &cid, &lease, NULL), 0);
	assert_int_equal(rig_call(alice, "UpdateVmContext", NULL, NULL, "ua{sv}", cid,
				  1, "cgroup", "s", folder),
			 0);
	close(lease);
	sd_bus_close_unref(alice);
	until_free(rig, cid);
	assert_int_equal(rig_count(root), 0);
	assert_int_equal(access(folder, F_OK), 0);
	kill(child, SIGKILL);
	assert_return_code(waitpid(child, NULL, 0), errno);
	for (int i = 0; i < 400 && access(folder, F_OK) == 0; i++)
		usleep(25000);
	assert_int_equal(access(folder, F_OK), -1);
	sd_bus_close_unref(root);
}

static void test_only_a_users_own_vm_cgroup_is_removed(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice, *root;
	const char *const no[] = { "/etc/vmm-1", "/sys/fs/cgroup/user.slice",
				   "/sys/fs/cgroup/x/vmm-1/../a", "vmm-1" };
	char folder[64];
	uint32_t cid;
	int lease;

	/* Root's, though it is empty and has the name. */
	make_cgroup(folder, 0, NULL);
	alice = rig_connect(rig, ALICE);
	root = rig_connect(rig, 0);
	assert_int_equal(rig_create(alice, "hers", 1, &cid, &lease, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(rig_call(alice, "UpdateVmContext", NULL, NULL,
					  "ua{sv}", cid, 1, "cgroup", "s", no[i]),
				 -EINVAL);
	assert_int_equal(rig_call(alice, "UpdateVmContext", NULL, NULL, "ua{sv}", cid,
				  1, "cgroup", "s", folder),
			 0);
	close(lease);
	sd_bus_close_unref(alice);
	until_free(rig, cid);
	assert_int_equal(rig_count(root), 0);
	assert_int_equal(rmdir(folder), 0);
	sd_bus_close_unref(root);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_who_is_not_in_the_group_is_told_so_whatever_he_calls),
		TEST(test_others_vms_are_seen_by_root_and_the_debug_group_only),
		TEST(test_vms_are_listed_by_cid),
		TEST(test_nobody_but_its_manager_changes_a_vm),
		TEST(test_another_users_vm_is_not_there_to_be_opened),
		TEST(test_a_vm_is_opened_over_a_socket_that_the_service_makes),
		TEST(test_a_manager_that_does_not_answer_is_an_error),
		TEST(test_a_manager_that_dies_while_it_is_asked_is_an_error),
		TEST(test_a_user_has_as_many_vms_as_he_may),
		TEST(test_a_user_has_as_much_memory_as_he_may),
		TEST(test_cids_that_are_held_on_to_are_counted),
		TEST(test_connections_beyond_the_limit_are_told_so),
		TEST(test_a_manager_that_dies_leaves_no_vm_and_no_lease),
		TEST(test_a_service_that_is_killed_gives_out_no_cid_in_use),
		TEST(test_a_service_that_is_stopped_leaves_leases_to_vms),
		TEST(test_a_cgroup_goes_when_its_last_process_has),
		TEST(test_only_a_users_own_vm_cgroup_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
