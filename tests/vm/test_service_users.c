/*
 * One service, as a host has it, and several users, whom only root can be: what each
 * may see and do. The service has a socket in this test's folder.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dbus/global.h"
#include "dbus/manager.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

enum { GROUP = 54321, DEBUG_GROUP = 54322 };
enum { ALICE = 54001, BOB, STRANGER, DEBUGGER };

static char socket_path[128], programs[] = "/tmp/vmm-test-users-XXXXXX";
static pid_t service;

static bool am_root(void)
{
	if (geteuid() == 0)
		return true;
	print_message("only root can be several users\n");
	return false;
}

static void start_service(void)
{
	char name[] = "virtualizationservice", option[] = "--socket",
	     config[] = "--config";
	char file[128], folder[96],
		*argv[] = { name, option, socket_path, config, file, NULL };
	struct stat st;
	FILE *f;

	snprintf(folder, sizeof(folder), "%s-host", rig_folder());
	snprintf(socket_path, sizeof(socket_path), "%s/socket", folder);
	snprintf(file, sizeof(file), "%s.conf", rig_folder());
	/* Those who are not root come to it. */
	assert_return_code(chmod(getenv("XDG_RUNTIME_DIR"), 0755), errno);
	f = fopen(file, "we");
	assert_non_null(f);
	fprintf(f, "group = %d\ndebug_group = %d\n", GROUP, DEBUG_GROUP);
	fclose(f);
	unlink(socket_path); /* of one that did not end */
	service = fork();
	if (service == 0) {
		execv(getenv("VIRTUALIZATIONSERVICE"), argv);
		_exit(127);
	}
	assert_return_code(service, errno);
	for (double start = rig_ms();
	     stat(socket_path, &st) < 0 || !(st.st_mode & 2);) {
		assert_true(rig_ms() < start + RIG_PATIENCE * 1e3);
		rig_sleep_ms(2);
	}
	setenv("VIRTUALIZATIONSERVICE_SOCKET", socket_path, 1);
	unlink(file);
}

static size_t count_leases(void)
{
	char path[160];
	struct dirent *e;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s-host/cid", rig_folder());
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += isdigit((unsigned char)e->d_name[0]) != 0;
	if (dir)
		closedir(dir);
	return n;
}

/* When it has seen that all VMs are gone: one that ends earlier leaves their leases. */
static void end_service(void)
{
	int status;

	for (double start = rig_ms(); count_leases();) {
		if (rig_ms() > start + RIG_PATIENCE * 1e3)
			fail_msg("there are %zu leases", count_leases());
		rig_sleep_ms(5);
	}
	kill(service, SIGTERM);
	assert_int_equal(waitpid(service, &status, 0), service);
	assert_int_equal(status, 0);
	assert_int_equal(access(socket_path, F_OK), -1);
	unsetenv("VIRTUALIZATIONSERVICE_SOCKET");
}

/* --- users: each a process that answers a letter with a letter ------------- */

struct user {
	pid_t pid;
	int fd;
};

/* What each can be told; the answer: '+', or what the error is. */
enum { CREATE = 'c', LIST = 'l', OPEN = 'o', STOP = 's', ADOPT = 'a', QUIT = 'q' };

static char letter(int r)
{
	switch (r) {
	case 0:
		return '+';
	case -EACCES:
		return 'p'; /* permission denied */
	case -ENOENT:
		return 'n'; /* not found */
	default:
		return '?';
	}
}

static int list(struct client *c, struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	int r, n = 0;

	r = client_call(client_bus(c), MANAGER_PATH, MANAGER_INTERFACE, "ListVms",
			&reply, err, "");
	if (r < 0)
		return r;
	sd_bus_message_enter_container(reply, 'a', "a{sv}");
	while (sd_bus_message_skip(reply, "a{sv}") > 0)
		n++;
	return n;
}

static int open_vm(struct client *c, const char *name, struct guest *g, struct err *err)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
	int fd, r;

	r = client_call(client_bus(c), MANAGER_PATH, MANAGER_INTERFACE, "OpenVm",
			&reply, err, "s", name);
	if (r == 0)
		r = client_take_fd(reply, &fd, err);
	return r < 0 ? r : guest_open(fd, g, err);
}

/* To the service itself, as a manager would: a CID that is another user's. */
static int adopt(struct err *err)
{
	struct client *c;
	int r = client_connect(socket_path, &c, err);

	if (r < 0)
		return r;
	r = client_call(client_bus(c), GLOBAL_PATH, GLOBAL_INTERFACE, "AdoptVmContext",
			NULL, err, "usa{sv}", 2048,
			"54001 00000000000000000000000000000000", 0);
	client_free(c);
	return r;
}

static void be(uid_t uid, const gid_t *groups, size_t n)
{
	struct stat kvm;
	gid_t all[4];

	if (stat("/dev/kvm", &kvm) < 0)
		_exit(97);
	for (size_t i = 0; i < n; i++)
		all[i] = groups[i];
	all[n++] = kvm.st_gid;
	if (setgroups(n, all) < 0 || setresgid(uid, uid, uid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		_exit(98);
}

static void serve_user(int fd)
{
	struct guest mine = { 0 }, other = { 0 };
	struct client *c;
	struct err err;
	char order, answer;

	if (client_spawn(NULL, &c, &err) < 0) {
		fprintf(stderr, "user: %s\n", err.msg);
		_exit(99);
	}
	while (read(fd, &order, 1) == 1 && order != QUIT) {
		int r = -1;

		err.msg[0] = '\0';
		if (order == CREATE) {
			r = guest_create(c, "agent", "tell=r", &mine, &err);
			if (r == 0)
				r = guest_call(&mine, "Start", &err);
		} else if (order == LIST) {
			r = list(c, &err);
		} else if (order == OPEN) {
			r = open_vm(c, "agent", &other, &err);
		} else if (order == STOP) {
			r = guest_call(&other, "Stop", &err);
		} else if (order == ADOPT) {
			r = adopt(&err);
		}
		answer = order == LIST && r >= 0 ? (char)('0' + r) : letter(r);
		if (answer == '?')
			fprintf(stderr, "user: %c: %d: %s\n", order, r, err.msg);
		if (write(fd, &answer, 1) != 1)
			_exit(96);
	}
	guest_drop(&mine);
	if (other.bus)
		guest_drop(&other);
	client_free(c);
	_exit(0);
}

static struct user start_user(uid_t uid, const gid_t *groups, size_t n)
{
	struct user user;
	int pair[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			   errno);
	user.pid = fork();
	if (user.pid == 0) {
		close(pair[0]);
		be(uid, groups, n);
		serve_user(pair[1]);
	}
	assert_return_code(user.pid, errno);
	close(pair[1]);
	user.fd = pair[0];
	return user;
}

static char ask(const struct user *user, char order)
{
	char answer = '!';

	if (write(user->fd, &order, 1) != 1 || read(user->fd, &answer, 1) != 1)
		return '!';
	return answer;
}

static void end_user(struct user *user)
{
	int status;

	assert_int_equal(write(user->fd, "q", 1), 1);
	assert_int_equal(waitpid(user->pid, &status, 0), user->pid);
	assert_int_equal(status, 0);
	close(user->fd);
}

static const gid_t member[] = { GROUP }, debugger[] = { GROUP, DEBUG_GROUP };

static void test_who_is_not_in_the_group_is_refused(void **state)
{
	struct user stranger;

	(void)state;
	if (!am_root())
		skip();
	start_service();
	stranger = start_user(STRANGER, NULL, 0);
	assert_int_equal(ask(&stranger, CREATE), 'p');
	assert_int_equal(ask(&stranger, LIST), 'p');
	assert_int_equal(ask(&stranger, OPEN), 'p');
	assert_int_equal(ask(&stranger, ADOPT), 'p');
	end_user(&stranger);
	end_service();
}

static void test_a_user_cannot_see_nor_open_another_ones_vm(void **state)
{
	struct user alice, bob;

	(void)state;
	if (!am_root())
		skip();
	start_service();
	alice = start_user(ALICE, member, 1);
	bob = start_user(BOB, member, 1);
	assert_int_equal(ask(&alice, CREATE), '+');
	assert_int_equal(ask(&alice, LIST), '1');
	assert_int_equal(ask(&bob, LIST), '0');
	assert_int_equal(ask(&bob, OPEN), 'n');
	assert_int_not_equal(ask(&bob, ADOPT), '+');
	/* Two of the same name are not in one another's way. */
	assert_int_equal(ask(&bob, CREATE), '+');
	assert_int_equal(ask(&bob, LIST), '1');
	assert_int_equal(ask(&alice, LIST), '1');
	assert_int_equal(ask(&bob, OPEN), '+');
	assert_int_equal(ask(&bob, STOP), '+');
	assert_int_equal(ask(&alice, OPEN), '+');
	assert_int_equal(ask(&alice, STOP), '+');
	end_user(&alice);
	end_user(&bob);
	end_service();
}

static void test_the_debug_group_sees_and_stops_what_others_have(void **state)
{
	struct user alice, debug;

	(void)state;
	if (!am_root())
		skip();
	start_service();
	alice = start_user(ALICE, member, 1);
	debug = start_user(DEBUGGER, debugger, 2);
	assert_int_equal(ask(&alice, CREATE), '+');
	assert_int_equal(ask(&debug, LIST), '1');
	assert_int_equal(ask(&debug, OPEN), '+');
	assert_int_equal(ask(&debug, STOP), '+');
	end_user(&alice);
	for (double start = rig_ms(); ask(&debug, LIST) != '0'; rig_sleep_ms(5))
		assert_true(rig_ms() < start + RIG_PATIENCE * 1e3);
	end_user(&debug);
	end_service();
}

/* --- the surroundings --------------------------------------------------------- */

static int publish(const char *file, const char *name)
{
	char command[8400];

	snprintf(command, sizeof(command), "install -m 755 '%s' %s/%s", file, programs,
		 name);
	return system(command) == 0 ? 0 : -1;
}

static int publish_program(const char *variable, const char *name)
{
	char path[64];

	if (publish(getenv(variable), name) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", programs, name);
	return setenv(variable, path, 1);
}

/* The tree may be in a folder that other users do not come to. */
static int setup(void **state)
{
	AUTO_FREE char *guest = NULL;

	if (rig_setup(state) < 0 || !mkdtemp(programs) || chmod(programs, 0755) < 0)
		return -1;
	guest = rig_guest("agent");
	if (publish_program("VMM", "vmm") < 0 ||
	    publish_program("VIRTMGR", "virtmgr") < 0 ||
	    publish(guest, "agent.elf") < 0)
		return -1;
	return setenv("GUESTS", programs, 1);
}

static int teardown(void **state)
{
	return rig_remove(programs) == 0 ? rig_teardown(state) : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_who_is_not_in_the_group_is_refused),
		TEST(test_a_user_cannot_see_nor_open_another_ones_vm),
		TEST(test_the_debug_group_sees_and_stops_what_others_have),
#undef TEST
	};

	cmocka_set_test_filter(getenv("TEST"));
	return cmocka_run_group_tests(tests, setup, teardown);
}
