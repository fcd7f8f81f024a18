/*
 * The manager's connection, to services that this test starts and kills: the private
 * one that the manager starts itself, and the host's.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "dbus/global.h"
#include "service/client/client.h"
#include "service/common/peer.h"
#include "service/virtmgr/global.h"

struct rig {
	char dir[64];
	sd_event *event;
	struct registry *g;
	pid_t system; /* the host's service, or 0 */
	uint32_t opened; /* the CID that open_vm() was asked for */
	int handle; /* what it got */
	/* A client of the manager's: both ends. */
	struct peer *peer;
	sd_bus *client;
	sd_bus_message *answer;
};

static int on_open(void *userdata, uint32_t cid, int fd, struct err *err)
{
	struct rig *rig = userdata;

	rig->opened = cid;
	rig->handle = fd;
	return rig->handle < 0 ? err_set(err, -EIO, "no descriptor") : 0;
}

static const char *in(const struct rig *rig, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	return path;
}

static char *program(void)
{
	const char *build = getenv("BUILD");
	char *path;

	assert_true(asprintf(&path, "%s/virtualizationservice", build ?: "build") > 0);
	return path;
}

/* Ready when this returns: it gets its end of a pipe. */
static pid_t start(const struct rig *rig, const char *how, const char *where)
{
	char name[] = "virtualizationservice", ready[] = "--ready-fd", number[16];
	char config[] = "--config";
	AUTO_FREE char *option = strdup(how);
	AUTO_FREE char *path = strdup(in(rig, where));
	AUTO_FREE char *conf = strdup(in(rig, "conf"));
	AUTO_FREE char *file = program();
	char *argv[] = { name, option, path, ready, number, config, conf, NULL };
	FILE *out = fopen(conf, "w");
	int pipes[2];
	pid_t pid;
	char byte;

	/* Who runs the test is let in, also if he is not root. */
	assert_non_null(out);
	fprintf(out, "group = %u\n", getegid());
	fclose(out);
	assert_return_code(pipe(pipes), errno);
	snprintf(number, sizeof(number), "%d", pipes[1]);
	fcntl(pipes[0], F_SETFD, FD_CLOEXEC);
	assert_int_equal(posix_spawn(&pid, file, NULL, NULL, argv, environ), 0);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_equal(byte, 'o');
	close(pipes[0]);
	return pid;
}

static void start_system(struct rig *rig)
{
	rig->system = start(rig, "--socket", "system/socket");
}

static void kill_system(struct rig *rig)
{
	if (!rig->system)
		return;
	kill(rig->system, SIGKILL);
	assert_return_code(waitpid(rig->system, NULL, 0), errno);
	rig->system = 0;
}

static int connect_to(const struct rig *rig, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, in(rig, name));
	assert_return_code(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), errno);
	return fd;
}

/* Who listens there is who SO_PEERCRED names. */
static void kill_private(struct rig *rig)
{
	AUTO_CLOSE int fd = connect_to(rig, "virtualizationservice/socket");
	struct ucred cred;
	socklen_t len = sizeof(cred);
	char byte;

	assert_return_code(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len), errno);
	assert_return_code(kill(cred.pid, SIGKILL), errno);
	while (read(fd, &byte, 1) > 0)
		;
}

/* --- a client of the manager ------------------------------------------------- */

static int on_list(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct registry *g = ((struct rig *)userdata)->g;

	return g->ops->forward(g, "ListVms", m, error);
}

static int on_open_vm(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct registry *g = ((struct rig *)userdata)->g;

	return g->ops->forward(g, "OpenVm", m, error);
}

static const sd_bus_vtable vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("ListVms", "", "aa{sv}", on_list, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("OpenVm", "s", "h", on_open_vm, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END
};

static const struct peer_object object = { "/m", "m.m", vtable };

static void on_gone(struct peer *peer, void *userdata)
{
	struct rig *rig = userdata;

	peer_free(peer);
	rig->peer = NULL;
}

static const struct peer_ops peer_ops = {
	.objects = &object,
	.n_objects = 1,
	.gone = on_gone,
};

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
	struct rig *rig = userdata;

	(void)error;
	rig->answer = sd_bus_message_ref(m);
	return 0;
}

/* One call through manager and service; the answer lasts until the next one. */
static sd_bus_message *ask(struct rig *rig, const char *member, const char *text)
{
	rig->answer = sd_bus_message_unref(rig->answer);
	assert_return_code(sd_bus_call_method_async(rig->client, NULL, NULL, "/m",
						    "m.m", member, on_answer, rig,
						    text ? "s" : "", text),
			   0);
	while (!rig->answer)
		assert_true(sd_event_run(rig->event, 20 * 1000000ULL) > 0);
	return rig->answer;
}

/* The value of a key of the only VM that there is. */
static uint32_t only_vm(struct rig *rig, const char *wanted)
{
	sd_bus_message *m = ask(rig, "ListVms", NULL);
	uint32_t value = UINT32_MAX;
	const char *key;

	if (sd_bus_message_is_method_error(m, NULL))
		fail_msg("%s", sd_bus_message_get_error(m)->message);
	assert_true(sd_bus_message_enter_container(m, 'a', "a{sv}") > 0);
	if (sd_bus_message_enter_container(m, 'a', "{sv}") <= 0)
		return 0;
	while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		assert_return_code(sd_bus_message_read(m, "s", &key), 0);
		if (strcmp(key, wanted) == 0)
			assert_return_code(
				sd_bus_message_read(m, "v",
						    strcmp(key, "suspended") == 0 ? "b"
										  : "u",
						    &value),
				0);
		else
			assert_return_code(sd_bus_message_skip(m, "v"), 0);
		sd_bus_message_exit_container(m);
	}
	sd_bus_message_exit_container(m);
	assert_int_equal(sd_bus_message_at_end(m, false), 1);
	assert_int_not_equal(value, UINT32_MAX);
	return value;
}

/* How many VMs the service at @fd knows, asked without the manager. */
static unsigned known_to(int fd)
{
	sd_bus_message *reply;
	unsigned n = 0;
	sd_bus *bus;

	assert_return_code(client_open(fd, &bus, NULL), 0);
	assert_return_code(client_call(bus, GLOBAL_PATH, GLOBAL_INTERFACE, "ListVms",
				       &reply, NULL, ""),
			   0);
	assert_true(sd_bus_message_enter_container(reply, 'a', "a{sv}") > 0);
	for (; sd_bus_message_skip(reply, "a{sv}") > 0; n++)
		;
	sd_bus_message_unref(reply);
	sd_bus_close_unref(bus);
	return n;
}

/* --- the rig ----------------------------------------------------------------- */

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	AUTO_FREE char *file = program();
	int fds[2];

	assert_non_null(rig);
	rig->handle = -1;
	strcpy(rig->dir, "/tmp/test_service_XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	setenv("VIRTUALIZATIONSERVICE", file, 1);
	setenv("XDG_RUNTIME_DIR", rig->dir, 1);
	setenv("VIRTUALIZATIONSERVICE_SOCKET", in(rig, "system/socket"), 1);
	assert_return_code(sd_event_new(&rig->event), 0);
	assert_return_code(global_new(rig->event, &rig->g, NULL), 0);
	rig->g->open_vm = on_open;
	rig->g->arg = rig;
	assert_return_code(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
		errno);
	assert_return_code(
		peer_new(rig->event, fds[0], &peer_ops, rig, &rig->peer, NULL), 0);
	assert_return_code(client_open(fds[1], &rig->client, NULL), 0);
	assert_return_code(sd_bus_attach_event(rig->client, rig->event, 0), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	char command[128];

	if (rig->g)
		rig->g->ops->free(rig->g);
	sd_bus_message_unref(rig->answer);
	sd_bus_close_unref(rig->client);
	peer_free(rig->peer);
	sd_event_unref(rig->event);
	kill_system(rig);
	cleanup_close(&rig->handle);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

static uint32_t create(struct rig *rig, int *ret_lease)
{
	struct err err = { "" };
	uint32_t cid;

	if (rig->g->ops->create(rig->g, "one", 1 << 28, 3, &cid, ret_lease, &err) < 0)
		fail_msg("%s", err.msg);
	return cid;
}

static void test_a_private_service_is_started_where_there_is_none(void **state)
{
	struct rig *rig = *state;
	uint32_t cid[2];
	int lease[2];

	for (int i = 0; i < 2; i++) {
		cid[i] = create(rig, &lease[i]);
		assert_int_equal(fcntl(lease[i], F_GETFD), FD_CLOEXEC);
	}
	assert_int_equal(cid[1], cid[0] == 65535 ? 2048 : cid[0] + 1);
	assert_string_equal(rig->g->ops->kind(rig->g), "private");
	rig->g->ops->release(rig->g, cid[0]);
	assert_int_equal(only_vm(rig, "cid"), cid[1]);
	close(lease[0]);
	close(lease[1]);
}

static void test_nothing_of_a_private_service_outlives_its_managers(void **state)
{
	struct rig *rig = *state;
	int lease;

	create(rig, &lease);
	close(lease);
	rig->g->ops->free(rig->g);
	rig->g = NULL;
	for (int i = 0;
	     i < 200 && access(in(rig, "virtualizationservice/socket"), F_OK) == 0; i++)
		usleep(50000);
	assert_int_equal(access(in(rig, "virtualizationservice/socket"), F_OK), -1);
	for (int i = 0;
	     i < 200 && access(in(rig, "virtualizationservice/cid"), F_OK) == 0; i++)
		usleep(50000);
	assert_int_equal(access(in(rig, "virtualizationservice/cid"), F_OK), -1);
}

/* So does who starts another one, to see whether the socket is a dead one's. */
static void test_who_only_connects_does_not_end_it(void **state)
{
	struct rig *rig = *state;
	pid_t pid = start(rig, "--private", "virtualizationservice");
	int status;

	for (int i = 0; i < 100; i++)
		close(connect_to(rig, "virtualizationservice/socket"));
	assert_int_equal(known_to(connect_to(rig, "virtualizationservice/socket")), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Its last connection closes when the next one waits already: both at once for it. */
static void test_who_waits_when_it_would_end_is_served(void **state)
{
	struct rig *rig = *state;
	pid_t pid = start(rig, "--private", "virtualizationservice");
	int lease, next, status;
	siginfo_t info;

	rig->g->ops->release(rig->g, create(rig, &lease));
	close(lease);
	assert_int_equal(only_vm(rig, "cid"), 0); /* it has heard of that */
	assert_return_code(kill(pid, SIGSTOP), errno);
	assert_return_code(waitid(P_PID, (id_t)pid, &info, WSTOPPED), errno);
	rig->g->ops->free(rig->g);
	rig->g = NULL;
	next = connect_to(rig, "virtualizationservice/socket");
	assert_return_code(kill(pid, SIGCONT), errno);
	assert_int_equal(known_to(next), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_what_a_lost_service_did_not_answer_the_next_one_does(void **state)
{
	struct rig *rig = *state;
	pid_t pid = start(rig, "--private", "virtualizationservice");

	assert_int_equal(only_vm(rig, "cid"), 0);
	assert_return_code(kill(pid, SIGSTOP), errno);
	rig->answer = sd_bus_message_unref(rig->answer);
	assert_return_code(sd_bus_call_method_async(rig->client, NULL, NULL, "/m",
						    "m.m", "ListVms", on_answer, rig,
						    ""),
			   0);
	/* It is asked, and cannot answer. */
	while (sd_event_run(rig->event, 100000) > 0)
		;
	assert_null(rig->answer);
	assert_return_code(kill(pid, SIGKILL), errno);
	assert_return_code(waitpid(pid, NULL, 0), errno);
	while (!rig->answer)
		assert_true(sd_event_run(rig->event, 20 * 1000000ULL) > 0);
	assert_null(sd_bus_message_get_error(rig->answer));
}

/* A manager in a process of its own: has a VM until it is told to end. */
static void manager_process(int started, int go, int told, int end)
{
	struct err err = { "" };
	struct registry *g;
	sd_event *event;
	uint32_t cid;
	int lease;
	char byte;

	if (sd_event_new(&event) < 0 || global_new(event, &g, &err) < 0 ||
	    write(started, "", 1) != 1 || read(go, &byte, 1) != 1 ||
	    g->ops->create(g, "one", 1, 1, &cid, &lease, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		cid = 0;
	}
	if (write(told, &cid, sizeof(cid)) != sizeof(cid) || read(end, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

/* They start the service, or meet one that another starts, or one that ends. */
static void test_managers_that_start_together_share_one_service(void **state)
{
	enum { N = 8, ROUNDS = 5 };
	struct rig *rig = *state;
	int started[2], go[2], told[2], end[2];
	uint32_t cids[N];
	char bytes[N] = "";

	(void)rig;
	assert_return_code(pipe2(started, O_CLOEXEC), errno);
	assert_return_code(pipe2(go, O_CLOEXEC), errno);
	assert_return_code(pipe2(told, O_CLOEXEC), errno);
	assert_return_code(pipe2(end, O_CLOEXEC), errno);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pids[N];

		for (int i = 0; i < N; i++) {
			pids[i] = fork();
			if (pids[i] == 0)
				manager_process(started[1], go[0], told[1], end[0]);
			assert_int_equal(read(started[0], bytes, 1), 1);
		}
		assert_int_equal(write(go[1], bytes, N), N);
		for (int i = 0; i < N; i++) {
			assert_int_equal(read(told[0], &cids[i], sizeof(cids[i])),
					 sizeof(cids[i]));
			assert_int_not_equal(cids[i], 0);
			for (int j = 0; j < i; j++)
				assert_int_not_equal(cids[i], cids[j]);
		}
		assert_int_equal(write(end[1], bytes, N), N);
		for (int i = 0; i < N; i++)
			assert_return_code(waitpid(pids[i], NULL, 0), errno);
	}
	for (int i = 0; i < 2; i++) {
		close(started[i]);
		close(go[i]);
		close(told[i]);
		close(end[i]);
	}
}

static void test_what_the_manager_tells_is_listed(void **state)
{
	struct rig *rig = *state;
	int lease;
	uint32_t cid = create(rig, &lease);

	assert_int_equal(only_vm(rig, "cid"), cid);
	assert_int_equal(only_vm(rig, "state"), 0);
	assert_int_equal(only_vm(rig, "cpus"), 3);
	assert_int_equal(only_vm(rig, "uid"), geteuid());
	assert_int_equal(only_vm(rig, "pid"), getpid());
	rig->g->ops->update(rig->g, cid, -1, 2, true, NULL);
	assert_int_equal(only_vm(rig, "state"), 2);
	assert_int_equal(only_vm(rig, "suspended"), true);
	rig->g->ops->update(rig->g, cid, -1, 2, false, NULL);
	assert_int_equal(only_vm(rig, "suspended"), false);
	close(lease);
}

static void test_a_private_service_that_is_killed_is_replaced(void **state)
{
	struct rig *rig = *state;
	int lease, more;
	uint32_t cid = create(rig, &lease);

	rig->g->ops->update(rig->g, cid, -1, 3, true, NULL);
	kill_private(rig);
	/* The call that meets the loss may fail; it is not to be in vain twice. */
	while (sd_bus_message_is_method_error(ask(rig, "ListVms", NULL), NULL))
		;
	assert_int_equal(only_vm(rig, "cid"), cid);
	assert_int_equal(only_vm(rig, "state"), 3);
	assert_int_equal(only_vm(rig, "suspended"), true);
	assert_int_not_equal(create(rig, &more), cid);
	close(lease);
	close(more);
}

static void test_the_hosts_service_is_used_where_there_is_one(void **state)
{
	struct rig *rig = *state;
	int lease;

	start_system(rig);
	assert_int_equal(create(rig, &lease), 2048);
	assert_string_equal(rig->g->ops->kind(rig->g), "system");
	assert_int_equal(access(in(rig, "virtualizationservice"), F_OK), -1);
	close(lease);
}

/* A private one would give out CIDs that the host's has given. */
static void test_a_manager_with_vms_waits_for_the_hosts_service(void **state)
{
	struct rig *rig = *state;
	struct err err = { "" };
	int lease, none;
	uint32_t cid, no;

	start_system(rig);
	cid = create(rig, &lease);
	kill_system(rig);
	assert_true(rig->g->ops->create(rig->g, "two", 1, 1, &no, &none, &err) < 0);
	assert_int_equal(access(in(rig, "virtualizationservice"), F_OK), -1);
	assert_string_equal(rig->g->ops->kind(rig->g), "system");
	start_system(rig);
	/* It is the watch that notices. */
	for (int i = 0; i < 200 && known_to(connect_to(rig, "system/socket")) == 0; i++)
		assert_return_code(sd_event_run(rig->event, 100000), 0);
	assert_int_equal(known_to(connect_to(rig, "system/socket")), 1);
	assert_int_equal(only_vm(rig, "cid"), cid);
	assert_int_equal(create(rig, &none), cid + 1);
	close(lease);
	close(none);
}

/* As create(), however long the service takes. */
static uint32_t create_at_last(struct rig *rig, int *ret_lease)
{
	struct err err = { "" };
	uint32_t cid;
	int r;

	do
		r = rig->g->ops->create(rig->g, "one", 1, 1, &cid, ret_lease, &err);
	while (r == -ETIMEDOUT);
	if (r < 0)
		fail_msg("%s", err.msg);
	return cid;
}

/* Nobody waits for that answer any more, so nobody else would give it back. */
static void test_a_cid_that_comes_too_late_is_given_back(void **state)
{
	struct rig *rig = *state;
	uint32_t first, late, next;
	int leases[2];

	start_system(rig);
	setenv("SYSTEMD_BUS_TIMEOUT", "1s", 1);
	first = create_at_last(rig, &leases[0]);
	unsetenv("SYSTEMD_BUS_TIMEOUT");
	assert_return_code(kill(rig->system, SIGSTOP), errno);
	assert_int_equal(
		rig->g->ops->create(rig->g, "late", 1, 1, &late, &leases[1], NULL),
		-ETIMEDOUT);
	assert_return_code(kill(rig->system, SIGCONT), errno);
	/* Asked for after the other, so that one has been given. */
	next = create_at_last(rig, &leases[1]);
	assert_true(next > first + 1);
	for (int i = 0; i < 200 && known_to(connect_to(rig, "system/socket")) > 2; i++)
		assert_return_code(sd_event_run(rig->event, 50000), 0);
	assert_int_equal(known_to(connect_to(rig, "system/socket")), 2);
	close(leases[0]);
	close(leases[1]);
}

static void test_another_clients_vm_is_opened_by_its_manager(void **state)
{
	struct rig *rig = *state;
	char text[16], byte;
	int lease, fd;
	uint32_t cid = create(rig, &lease);

	snprintf(text, sizeof(text), "%u", cid);
	for (int i = 0; i < 2; i++) {
		sd_bus_message *m = ask(rig, "OpenVm", i ? "one" : text);

		if (sd_bus_message_is_method_error(m, NULL))
			fail_msg("%s", sd_bus_message_get_error(m)->message);
		assert_return_code(sd_bus_message_read(m, "h", &fd), 0);
		assert_int_equal(rig->opened, cid);
		assert_int_equal(write(rig->handle, "x", 1), 1);
		assert_int_equal(read(fd, &byte, 1), 1);
		assert_int_equal(byte, 'x');
		close(TAKE_FD(rig->handle));
	}
	close(lease);
}

static void test_what_is_not_there_or_ambiguous_is_not_opened(void **state)
{
	struct rig *rig = *state;
	int lease[2];

	create(rig, &lease[0]);
	create(rig, &lease[1]);
	assert_true(sd_bus_message_is_method_error(ask(rig, "OpenVm", "two"),
						   "org.vmm.Error.NotFound"));
	assert_true(sd_bus_message_is_method_error(ask(rig, "OpenVm", "99999999"),
						   "org.vmm.Error.NotFound"));
	assert_true(sd_bus_message_is_method_error(ask(rig, "OpenVm", "one"),
						   "org.vmm.Error.BadArgument"));
	assert_int_equal(rig->opened, 0);
	close(lease[0]);
	close(lease[1]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_private_service_is_started_where_there_is_none),
		TEST(test_nothing_of_a_private_service_outlives_its_managers),
		TEST(test_who_only_connects_does_not_end_it),
		TEST(test_who_waits_when_it_would_end_is_served),
		TEST(test_what_a_lost_service_did_not_answer_the_next_one_does),
		TEST(test_managers_that_start_together_share_one_service),
		TEST(test_what_the_manager_tells_is_listed),
		TEST(test_a_private_service_that_is_killed_is_replaced),
		TEST(test_the_hosts_service_is_used_where_there_is_one),
		TEST(test_a_manager_with_vms_waits_for_the_hosts_service),
		TEST(test_a_cid_that_comes_too_late_is_given_back),
		TEST(test_another_clients_vm_is_opened_by_its_manager),
		TEST(test_what_is_not_there_or_ambiguous_is_not_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
