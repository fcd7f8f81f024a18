/*
 * Many VMs, many clients, many rounds: CIDs are unique at every moment, and nothing
 * grows: 200 VMs for 5 rounds, 10,000 that are never started. Under the sanitizers,
 * fewer.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

enum { CLIENTS = 20, MAX_EACH = 10, CREATORS = 4, SERVERS_MAX = CLIENTS + 1 };
/* What an allocator's whims may add to a process, in KiB; and what the service's tables
 * have for each CID, in bytes, which costs memory when the CID is first used. */
enum { GROWTH_KIB = 512, CID_BYTES = 24 };

static const struct {
	unsigned each, rounds, creations;
} sizes = { MAX_EACH, RIG_MEASURES_MEMORY ? 5 : 2, RIG_MEASURES_MEMORY ? 10000 : 2000 };

/* Whose each CID is, for all processes of the test. */
static atomic_int *owners;

static int claim(uint32_t cid)
{
	return atomic_exchange(&owners[cid], getpid()) == 0 ? 0 : -1;
}

static void disclaim(uint32_t cid)
{
	atomic_store(&owners[cid], 0);
}

static void child_must(int r, const struct err *err, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "client: %s: %s\n", what, err->msg);
	_exit(91);
}

/* --- processes that do the same at the same time --------------------------- */

static struct {
	pid_t pid[CLIENTS];
	int fd[CLIENTS];
	unsigned n;
} team;

/* From a member: the step is done, and the next one may begin. */
static void step(int fd)
{
	char byte = 's';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		_exit(92);
}

static void team_start(unsigned n, void (*work)(int fd))
{
	for (team.n = 0; team.n < n; team.n++) {
		int pair[2];

		assert_return_code(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			errno);
		team.pid[team.n] = fork();
		if (team.pid[team.n] == 0) {
			close(pair[0]);
			for (unsigned i = 0; i < team.n; i++)
				close(team.fd[i]);
			work(pair[1]);
			_exit(0);
		}
		close(pair[1]);
		team.fd[team.n] = pair[0];
	}
}

/* All have done the step. */
static void team_done(void)
{
	char byte;

	for (unsigned i = 0; i < team.n; i++)
		assert_int_equal(read(team.fd[i], &byte, 1), 1);
}

static void team_go_on(void)
{
	for (unsigned i = 0; i < team.n; i++)
		assert_int_equal(write(team.fd[i], "g", 1), 1);
}

static void team_end(void)
{
	for (unsigned i = 0; i < team.n; i++) {
		int status;

		assert_int_equal(waitpid(team.pid[i], &status, 0), team.pid[i]);
		assert_int_equal(status, 0);
		close(team.fd[i]);
	}
}

/* --- what processes of the service have ------------------------------------ */

struct holdings {
	size_t n, fds[SERVERS_MAX];
	long kib[SERVERS_MAX];
};

static long private_kib(pid_t pid)
{
	char path[48], line[128];
	long kib = 0, sum = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %ld", &kib) == 1)
			sum += kib;
	if (f)
		fclose(f);
	return sum;
}

/* Of the managers, and of the service last; in the order of their pids. */
static struct holdings look(void)
{
	struct rig_process list[SERVERS_MAX];
	struct holdings h = { 0 };
	const char *const names[] = { RIG_VIRTMGR, RIG_SERVICE };

	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		size_t n = rig_processes(names[k], list, SERVERS_MAX);

		for (size_t i = 0; i < n && h.n < SERVERS_MAX; i++, h.n++) {
			h.fds[h.n] = rig_fds(list[i].pid);
			h.kib[h.n] = private_kib(list[i].pid);
		}
	}
	return h;
}

/* What they are about to close they have for a moment longer, in both looks. */
static struct holdings look_until_as_few(const struct holdings *before)
{
	for (double start = rig_ms();;) {
		struct holdings now = look();
		size_t i;

		assert_int_equal(now.n, before->n);
		for (i = 0; i < now.n && now.fds[i] <= before->fds[i]; i++)
			;
		if (i == now.n)
			return now;
		if (rig_ms() - start > 2e3 * RIG_PATIENCE)
			fail_msg("process %zu of %zu has %zu descriptors, not %zu", i,
				 now.n, now.fds[i], before->fds[i]);
		rig_sleep_ms(5);
	}
}

static void nothing_has_grown(const struct holdings *before)
{
	struct holdings now = look_until_as_few(before);
	long most = 0;

	for (size_t i = 0; i < now.n; i++) {
		long grown = now.kib[i] - before->kib[i];

		if (i + 1 == now.n)
			grown -= sizes.creations * CID_BYTES / 1024;
		if (RIG_MEASURES_MEMORY && grown > GROWTH_KIB)
			fail_msg("process %zu of %zu has grown by %ld KiB", i, now.n,
				 grown);
		most = grown > most ? grown : most;
	}
	print_message("no process has grown by more than %ld KiB\n", most);
}

/* What was let go is gone a little later. */
static void until_no_lease(void)
{
	for (double start = rig_ms(); rig_leases();) {
		if (rig_ms() - start > 2e3 * RIG_PATIENCE)
			fail_msg("%zu leases are held", rig_leases());
		rig_sleep_ms(5);
	}
}

static void until_vmms(size_t want)
{
	for (double start = rig_ms(); rig_processes(RIG_VMM, NULL, 0) != want;) {
		if (rig_ms() - start > 2e3 * RIG_PATIENCE)
			fail_msg("there are %zu processes of vmm, not %zu",
				 rig_processes(RIG_VMM, NULL, 0), want);
		rig_sleep_ms(5);
	}
}

/* --- VMs in parallel ------------------------------------------------------- */

static void run_vms(int fd)
{
	struct guest g[MAX_EACH] = { 0 };
	struct client *client;
	struct err err;

	child_must(client_spawn(NULL, &client, &err), &err, "a manager");
	for (unsigned round = 0; round < sizes.rounds; round++) {
		for (unsigned i = 0; i < sizes.each; i++) {
			child_must(
				guest_create(client, "hello", "end=halt", &g[i], &err),
				&err, "CreateVm");
			child_must(claim(g[i].cid), &err, "a CID is somebody else's");
		}
		step(fd);
		for (unsigned i = 0; i < sizes.each; i++)
			child_must(guest_call(&g[i], "Start", &err), &err, "Start");
		step(fd);
		/* Some are stopped, and the others go with their handles. */
		for (unsigned i = 0; i < sizes.each; i++) {
			if (i % 2)
				child_must(guest_call(&g[i], "Stop", &err), &err,
					   "Stop");
			disclaim(g[i].cid);
			guest_drop(&g[i]);
		}
		step(fd);
	}
	client_free(client);
}

static void test_many_vms_of_many_clients_come_and_go(void **state)
{
	unsigned vms = sizes.each * CLIENTS;
	struct holdings before = { 0 };
	double start = rig_ms(), begun, running = 0;

	(void)state;
	team_start(CLIENTS, run_vms);
	for (unsigned round = 0; round < sizes.rounds; round++) {
		team_done();
		assert_int_equal(rig_leases(), vms);
		begun = rig_ms();
		team_go_on();
		team_done();
		running += rig_ms() - begun;
		assert_int_equal(rig_processes(RIG_VMM, NULL, 0), 2 * vms);
		team_go_on();
		team_done();
		until_no_lease();
		until_vmms(0);
		if (round == 0)
			before = look();
		if (round + 1 == sizes.rounds)
			nothing_has_grown(&before);
		team_go_on();
	}
	team_end();
	print_message("%u rounds of %u VMs: %.1f s, of which %.1f until all ran\n",
		      sizes.rounds, vms, (rig_ms() - start) / 1e3, running / 1e3);
}

/* --- VMs that are never started -------------------------------------------- */

static void create_vms(int fd)
{
	struct client *client;
	struct err err;

	child_must(client_spawn(NULL, &client, &err), &err, "a manager");
	for (unsigned i = 0; i < sizes.creations / CREATORS; i++) {
		uint32_t cid;
		int handle;

		child_must(
			guest_create_handle(client, "hello", "", &handle, &cid, &err),
			&err, "CreateVm");
		child_must(claim(cid), &err, "a CID is somebody else's");
		disclaim(cid);
		close(handle);
		/* When everything has its size. */
		if (i == 99)
			step(fd);
	}
	step(fd);
	client_free(client);
}

static void test_vms_that_are_never_started_leave_nothing(void **state)
{
	struct holdings before;
	double start = rig_ms();

	(void)state;
	team_start(CREATORS, create_vms);
	team_done();
	until_no_lease();
	before = look();
	team_go_on();
	team_done();
	until_no_lease();
	nothing_has_grown(&before);
	team_go_on();
	team_end();
	print_message("%u VMs created and dropped: %.1f s\n", sizes.creations,
		      (rig_ms() - start) / 1e3);
}

/* --- CIDs come round again ------------------------------------------------- */

/* A service with few CIDs, which the managers find. */
static void start_service(const char *cids)
{
	char program[] = "virtualizationservice", private[] = "--private", folder[128],
	     option[] = "--cids", range[32], detach[] = "--detach";
	char *argv[] = { program, private, folder, option, range, detach, NULL };
	int status;
	pid_t pid;

	snprintf(folder, sizeof(folder), "%s", rig_folder());
	snprintf(range, sizeof(range), "%s", cids);
	assert_int_equal(posix_spawn(&pid, getenv("VIRTUALIZATIONSERVICE"), NULL, NULL,
				     argv, environ),
			 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Handles that were closed take a moment to be noticed. */
static uint32_t create(struct client *client, int *ret_handle)
{
	double until = rig_ms() + RIG_PATIENCE * 1e3;
	struct err why = { "" };
	uint32_t cid = 0;
	int r;

	while ((r = guest_create_handle(client, "hello", "", ret_handle, &cid, &why)) ==
		       -EDQUOT &&
	       rig_ms() < until)
		rig_sleep_ms(2);
	if (r < 0)
		fail_msg("CreateVm: %s", why.msg);
	return cid;
}

static void test_cids_come_round_again_without_those_that_are_held(void **state)
{
	struct client *client = NULL;
	struct err why = { "" };
	int held, handle, all[5];
	uint32_t mine;

	(void)state;
	start_service("65530-65535");
	must(client_spawn(NULL, &client, &err));
	mine = create(client, &held);
	for (int i = 0; i < 50; i++) {
		uint32_t cid = create(client, &handle);

		assert_in_range(cid, 65530, 65535);
		assert_int_not_equal(cid, mine);
		close(handle);
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_not_equal(create(client, &all[i]), mine);
	assert_int_equal(rig_leases(), 6);
	assert_int_equal(guest_create_handle(client, "hello", "", &handle, NULL, &why),
			 -EDQUOT);
	print_message("when none is left: %s\n", why.msg);
	close(held);
	assert_int_equal(create(client, &handle), mine);
	close(handle);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		close(all[i]);
	client_free(client);
}

static int setup(void **state)
{
	owners = mmap(NULL, 65536 * sizeof(*owners), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return owners == MAP_FAILED ? -1 : rig_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_many_vms_of_many_clients_come_and_go),
		TEST(test_vms_that_are_never_started_leave_nothing),
		TEST(test_cids_come_round_again_without_those_that_are_held),
#undef TEST
	};

	return cmocka_run_group_tests(tests, setup, rig_teardown);
}
