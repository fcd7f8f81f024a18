/*
 * SIGKILL for each part of the service, at each stage of a VM's life: what dies with it
 * dies, what does not goes on, and nothing is left behind.
 *
 * The client is a process of its own, which tells by a pipe when the stage has come and
 * how it ended. What has no moment that could be waited for (a start, a stop) is cut
 * short after different times.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "dbus/manager.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

enum stage { CREATED, STARTING, RUNNING, STOPPING, N_STAGES };
enum victim { CLIENT, VIRTMGR, SERVICE, VMM, N_VICTIMS };

/* What the client tells: that the stage is there, or an end. */
enum {
	TOLD_STAGE = 'x',
	TOLD_LOST = 'l',
	TOLD_DIED = 'd',
	TOLD_ALIVE = 'a',
	FAILED = '!'
};

static const char *const stage_names[] = { "not started", "starting", "running",
					   "stopping" };
static double slowest[N_VICTIMS];

/* --- the client --------------------------------------------------------------- */

static void tell(int fd, char what)
{
	if (write(fd, &what, 1) != 1)
		_exit(92);
}

static void client_must(int fd, int r, const struct err *err, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "client: %s: %s\n", what, err->msg);
	tell(fd, FAILED);
	_exit(93);
}

/* Brings a VM to the stage; then, asked by a byte, checks that it lives, or waits until
 * it does not. */
static void client(int fd, enum stage stage)
{
	struct client *c;
	struct guest g = { 0 };
	struct err err = { "" };
	char ask;

	client_must(fd, client_spawn(NULL, &c, &err), &err, "a manager");
	client_must(fd, guest_create(c, "agent", "tell=r", &g, &err), &err, "CreateVm");
	if (stage == RUNNING || stage == STOPPING)
		client_must(fd, guest_call(&g, "Start", &err), &err, "Start");
	if (stage == STARTING)
		client_must(fd, guest_send(&g, "Start", &err), &err, "Start");
	if (stage == STOPPING)
		client_must(fd, guest_send(&g, "Stop", &err), &err, "Stop");
	tell(fd, TOLD_STAGE);
	if (read(fd, &ask, 1) != 1)
		_exit(94);
	if (ask == TOLD_ALIVE) {
		if (stage == CREATED)
			client_must(fd, guest_call(&g, "Start", &err), &err, "Start");
		if (stage == STOPPING)
			client_must(fd, guest_wait(&g, &g.n_died, &err), &err, "Died");
		else
			client_must(fd, guest_wait_ready(&g, &err), &err, "ready");
		if (stage != STOPPING)
			client_must(fd, guest_echo(&g, &err), &err, "ConnectVsock");
		tell(fd, TOLD_ALIVE);
	} else if (ask == TOLD_LOST) {
		client_must(fd, guest_wait_lost(&g, &err), &err, "the connection");
		tell(fd, TOLD_LOST);
	} else {
		client_must(fd, guest_wait(&g, &g.n_died, &err), &err, "Died");
		client_must(fd, guest_death(&g, &g.reason, &err), &err, "GetDeath");
		tell(fd, TOLD_DIED);
	}
	guest_drop(&g);
	client_free(c);
	_exit(0);
}

struct run {
	pid_t pid;
	int fd;
};

static char told(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char what = '?';

	if (poll(&p, 1, 3 * RIG_PATIENCE * 1000) != 1 || read(fd, &what, 1) != 1)
		return '?';
	return what;
}

static struct run start_client(enum stage stage)
{
	struct run run;
	int pair[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			   errno);
	run.pid = fork();
	if (run.pid == 0) {
		close(pair[0]);
		client(pair[1], stage);
	}
	assert_return_code(run.pid, errno);
	close(pair[1]);
	run.fd = pair[0];
	assert_int_equal(told(run.fd), TOLD_STAGE);
	if (getenv("CGROUPS") && stage == RUNNING)
		assert_int_equal(rig_cgroups(false), 1);
	return run;
}

static void end_client(struct run *run, bool killed)
{
	int status;

	assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
	if (!killed)
		assert_int_equal(status, 0);
	close(run->fd);
}

/* --- the victim --------------------------------------------------------------- */

/* vmm is a supervisor, a child of the manager's, and the VM's own process, its child.
 */
static pid_t find_vmm(bool inner)
{
	struct rig_process list[16];
	pid_t manager = rig_process(RIG_VIRTMGR);
	size_t n = rig_processes(RIG_VMM, list, 16);

	for (size_t i = 0; i < n && i < 16; i++)
		if ((list[i].parent == manager) != inner)
			return list[i].pid;
	return 0;
}

/* Kill it; false where it is not there any more, or not yet. */
static bool kill_victim(enum victim victim, bool inner, const struct run *run)
{
	pid_t pid = victim == CLIENT ? run->pid
		    : victim == VMM  ? find_vmm(inner)
				     : rig_process(victim == VIRTMGR ? RIG_VIRTMGR
								     : RIG_SERVICE);

	if (pid <= 0)
		return false;
	return kill(pid, SIGKILL) == 0;
}

/* What the client must see of it. */
static void check_outcome(enum victim victim, struct run *run)
{
	static const char outcomes[] = {
		[VIRTMGR] = TOLD_LOST, [SERVICE] = TOLD_ALIVE, [VMM] = TOLD_DIED
	};

	assert_int_equal(write(run->fd, &outcomes[victim], 1), 1);
	assert_int_equal(told(run->fd), outcomes[victim]);
}

static void one(enum victim victim, enum stage stage, bool inner, double delay)
{
	struct run run = start_client(stage);
	double took;

	rig_sleep_ms(delay);
	if (!kill_victim(victim, inner, &run)) {
		/* Only a VM that is about to start or to end can be missed. */
		assert_true(victim == VMM && stage != RUNNING);
		kill(run.pid, SIGKILL);
		victim = CLIENT;
	}
	if (victim != CLIENT)
		check_outcome(victim, &run);
	end_client(&run, victim == CLIENT);
	took = rig_nothing_left();
	if (took < 0)
		fail_msg("when %s, %.1f ms after", stage_names[stage], delay);
	if (took > slowest[victim])
		slowest[victim] = took;
}

static void at_each_stage(enum victim victim, bool inner)
{
	static const double delays[] = { 0, 0.5, 1, 2, 4, 8, 16, 32 };

	for (enum stage stage = CREATED; stage < N_STAGES; stage++) {
		size_t n = stage == STARTING || stage == STOPPING ? ARRAY_SIZE(delays)
								  : 1;

		if (victim == VMM && stage == CREATED)
			continue; /* there is none */
		for (size_t i = 0; i < n; i++)
			one(victim, stage, inner, delays[i]);
	}
	print_message("all gone at most %.0f ms later\n", slowest[victim]);
}

static void test_a_client_that_is_killed_leaves_nothing(void **state)
{
	(void)state;
	at_each_stage(CLIENT, false);
}

static void test_a_manager_that_is_killed_takes_its_vms_along(void **state)
{
	(void)state;
	at_each_stage(VIRTMGR, false);
}

/* The next service clears away what a killed one has left. */
static void clear_away(void)
{
	struct client *c = NULL;
	struct guest g;

	must(client_spawn(NULL, &c, &err));
	must(guest_create(c, "agent", "", &g, &err));
	guest_drop(&g);
	client_free(c);
	rig_service_was_killed(false);
	assert_true(rig_nothing_left() >= 0);
}

static void test_vms_go_on_when_the_service_is_killed(void **state)
{
	(void)state;
	rig_service_was_killed(true);
	at_each_stage(SERVICE, false);
	clear_away();
}

static void test_the_client_is_told_when_vmm_is_killed(void **state)
{
	(void)state;
	at_each_stage(VMM, false);
}

static void test_the_client_is_told_when_the_vms_process_is_killed(void **state)
{
	(void)state;
	at_each_stage(VMM, true);
}

static void test_nothing_is_left_when_all_are_killed_at_once(void **state)
{
	struct rig_process list[16];

	(void)state;
	rig_service_was_killed(true);
	for (enum stage stage = CREATED; stage < N_STAGES; stage++) {
		struct run run = start_client(stage);
		size_t n = rig_processes(NULL, list, 16);

		assert_in_range(n, 3, 16);
		for (size_t i = 0; i < n; i++)
			kill(list[i].pid, SIGKILL);
		end_client(&run, true);
		/* Those who would remove them are dead; they are only empty. */
		for (double start = rig_ms(); getenv("CGROUPS") && rig_cgroups(true);)
			assert_true(rig_ms() < start + RIG_PATIENCE * 1e3);
		assert_true(rig_nothing_left() >= 0);
	}
	clear_away();
}

/* --- descriptors under way ------------------------------------------------- */

/* A client that sends @n requests with files, does not read an answer, and is gone. */
static void send_and_vanish(unsigned n)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct client *c;
		struct vm_config config;
		struct err err;

		if (client_spawn(NULL, &c, &err) < 0 ||
		    guest_config(&config, "agent", "tell=r", &err) < 0)
			_exit(95);
		for (unsigned i = 0; i < n; i++) {
			sd_bus_message *m;

			if (sd_bus_message_new_method_call(
				    client_bus(c), &m, NULL, MANAGER_PATH,
				    MANAGER_INTERFACE, "CreateVm") < 0 ||
			    vm_config_append(m, &config, -1) < 0 ||
			    sd_bus_send(client_bus(c), m, NULL) < 0)
				_exit(96);
			sd_bus_message_unref(m);
		}
		sd_bus_flush(client_bus(c));
		kill(getpid(), SIGKILL);
	}
	assert_return_code(pid, errno);
	waitpid(pid, NULL, 0);
}

static void test_a_client_that_dies_with_files_under_way_leaves_nothing(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 64; n *= 4) {
		send_and_vanish(n);
		assert_true(rig_nothing_left() >= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_a_client_that_is_killed_leaves_nothing),
		TEST(test_a_manager_that_is_killed_takes_its_vms_along),
		TEST(test_vms_go_on_when_the_service_is_killed),
		TEST(test_the_client_is_told_when_vmm_is_killed),
		TEST(test_the_client_is_told_when_the_vms_process_is_killed),
		TEST(test_nothing_is_left_when_all_are_killed_at_once),
		TEST(test_a_client_that_dies_with_files_under_way_leaves_nothing),
#undef TEST
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
