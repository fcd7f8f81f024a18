/*
 * service: what the service costs beside vmm and sockets alone, on this machine.
 *
 *	service [-n ROUNDS] start|memory|calls
 *
 * start: a VM by createVm and Start beside vmm started directly; both until the VM
 * answers that it runs. memory: private memory of the manager and the service, without
 * VMs and with 20. calls: GetState of 1 and of 50 clients, each with a manager of its
 * own, beside as many pairs of processes that pass a byte to and fro.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

enum { MAX_ROUNDS = 1000, IDLE_VMS = 20, MANY = 50, CALLS_MS = 400 };

static struct err why;

static void check(int r, const char *what)
{
	if (r < 0)
		errx(1, "%s: %s", what, why.msg);
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Sorts; @q: of four. */
static double quartile(double *values, unsigned n, unsigned q)
{
	qsort(values, n, sizeof(*values), compare);
	return values[q == 4 ? n - 1 : (size_t)n * q / 4];
}

/* --- start ----------------------------------------------------------------- */

/* With what the manager gives it, a control connection and a vsock aside. */
static double start_directly(void)
{
	char *guest = rig_guest("hello"), socket_option[64];
	char name[] = "vmm", run[] = "run", mem[] = "--mem=32", halt[] = "-pend=halt",
	     serial[] = "--serial=type=sink,hardware=serial,num=1";
	char *argv[] = { name, run, mem, halt, serial, socket_option, guest, NULL };
	posix_spawn_file_actions_t actions;
	double start = rig_ms();
	char answer[4096];
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	snprintf(socket_option, sizeof(socket_option), "--socket=/proc/self/fd/%d",
		 pair[1] + 100);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], pair[1] + 100);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, getenv("VMM"), &actions, NULL, argv, environ) != 0)
		errx(1, "%s does not start", getenv("VMM"));
	close(pair[1]);
	if (send(pair[0], "\"Status\"", 8, 0) != 8 ||
	    recv(pair[0], answer, sizeof(answer), 0) <= 0)
		errx(1, "vmm does not answer");
	start = rig_ms() - start;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(pair[0]);
	posix_spawn_file_actions_destroy(&actions);
	free(guest);
	return start;
}

static double start_by_service(struct client *client, double *ret_create)
{
	struct guest g;
	double start = rig_ms();

	check(guest_create(client, "hello", "end=halt", &g, &why), "CreateVm");
	*ret_create = rig_ms() - start;
	check(guest_call(&g, "Start", &why), "Start");
	start = rig_ms() - start;
	check(guest_call(&g, "Stop", &why), "Stop");
	guest_drop(&g);
	return start;
}

static void print_row(const char *name, double *values, unsigned n)
{
	printf("%-36s", name);
	for (unsigned q = 0; q <= 4; q += q == 0 ? 2 : 1)
		printf("%9.2f", quartile(values, n, q));
	putchar('\n');
}

static void measure_start(unsigned rounds)
{
	static double direct[MAX_ROUNDS], service[MAX_ROUNDS], create[MAX_ROUNDS],
		added[MAX_ROUNDS];
	struct client *client;

	check(client_spawn(NULL, &client, &why), "a manager");
	start_directly();
	start_by_service(client, &create[0]);
	for (unsigned i = 0; i < rounds; i++) {
		/* In turns, and who begins takes turns, too. */
		if (i % 2)
			direct[i] = start_directly();
		service[i] = start_by_service(client, &create[i]);
		if (i % 2 == 0)
			direct[i] = start_directly();
		added[i] = service[i] - direct[i];
	}
	printf("%-36s%9s%9s%9s%9s\n", "until the VM runs, ms", "min", "median", "75 %",
	       "max");
	print_row("vmm directly", direct, rounds);
	print_row("createVm and Start", service, rounds);
	print_row("  of it createVm", create, rounds);
	print_row("added, of the same round", added, rounds);
	client_free(client);
}

/* --- memory ---------------------------------------------------------------- */

static double private_kib(const char *name)
{
	struct rig_process p;
	char path[48], line[128];
	double sum = 0, kib;
	FILE *f;

	if (rig_processes(name, &p, 1) == 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", p.pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Clean: %lf", &kib) == 1 ||
		    sscanf(line, "Private_Dirty: %lf", &kib) == 1)
			sum += kib;
	if (f)
		fclose(f);
	return sum;
}

static void measure_memory(void)
{
	struct guest g[IDLE_VMS], first;
	double manager[3], service[3];
	struct client *client;

	check(client_spawn(NULL, &client, &why), "a manager");
	/* After one VM everything has its size. */
	check(guest_create(client, "hello", "end=halt", &first, &why), "CreateVm");
	check(guest_call(&first, "Start", &why), "Start");
	check(guest_call(&first, "Stop", &why), "Stop");
	for (int step = 0; step < 3; step++) {
		for (int i = 0; i < IDLE_VMS; i++) {
			if (step == 1)
				check(guest_create(client, "hello", "end=halt", &g[i],
						   &why),
				      "CreateVm");
			if (step == 2)
				check(guest_call(&g[i], "Start", &why), "Start");
		}
		manager[step] = private_kib(RIG_VIRTMGR);
		service[step] = private_kib(RIG_SERVICE);
	}
	printf("%-36s%9s%9s\n", "private memory, KiB", "manager", "service");
	printf("%-36s%9.0f%9.0f\n", "without VMs", manager[0], service[0]);
	printf("%-36s%9.1f%9.1f\n", "each VM that is created",
	       (manager[1] - manager[0]) / IDLE_VMS,
	       (service[1] - service[0]) / IDLE_VMS);
	printf("%-36s%9.1f%9.1f\n", "each VM that runs, idle",
	       (manager[2] - manager[0]) / IDLE_VMS,
	       (service[2] - service[0]) / IDLE_VMS);
	for (int i = 0; i < IDLE_VMS; i++)
		guest_drop(&g[i]);
	guest_drop(&first);
	client_free(client);
}

/* --- calls ----------------------------------------------------------------- */

struct shared {
	volatile int go, stop;
	volatile unsigned ready, done[MANY];
};

static void wait_for(const volatile int *flag)
{
	while (!*flag)
		rig_sleep_ms(1);
}

static void call_service(struct shared *s, unsigned i)
{
	struct client *client;
	struct guest g;
	uint32_t state;

	check(client_spawn(NULL, &client, &why), "a manager");
	check(guest_create(client, "hello", "", &g, &why), "CreateVm");
	__atomic_add_fetch(&s->ready, 1, __ATOMIC_SEQ_CST);
	for (wait_for(&s->go); !s->stop; s->done[i]++)
		check(guest_state(&g, &state, &why), "GetState");
	guest_drop(&g);
	client_free(client);
}

static void call_socket(struct shared *s, unsigned i)
{
	int pair[2];
	char byte = 'x';
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err(1, "socketpair");
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		while (read(pair[1], &byte, 1) == 1 && write(pair[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	close(pair[1]);
	__atomic_add_fetch(&s->ready, 1, __ATOMIC_SEQ_CST);
	for (wait_for(&s->go); !s->stop; s->done[i]++)
		if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1)
			err(1, "ping");
	close(pair[0]);
	waitpid(pid, NULL, 0);
}

/* Of @n processes that do it at the same time, in all. */
static double per_second(unsigned n, void (*work)(struct shared *, unsigned))
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start, sum = 0;
	pid_t pids[MANY];
	int status;

	if (s == MAP_FAILED)
		err(1, "mmap");
	for (unsigned i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			work(s, i);
			_exit(0);
		}
	}
	while (s->ready < n)
		rig_sleep_ms(1);
	start = rig_ms();
	s->go = 1;
	rig_sleep_ms(CALLS_MS);
	s->stop = 1;
	start = rig_ms() - start;
	for (unsigned i = 0; i < n; i++) {
		if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
			errx(1, "a client failed");
		sum += s->done[i];
	}
	munmap(s, sizeof(*s));
	return sum / start * 1e3;
}

static void measure_calls(unsigned rounds)
{
	static const unsigned clients[] = { 1, MANY };
	static double sockets[MAX_ROUNDS], calls[MAX_ROUNDS], ratios[MAX_ROUNDS];

	printf("%-36s%9s%9s%9s\n", "round trips a second", "sockets", "GetState", "x");
	for (size_t k = 0; k < ARRAY_SIZE(clients); k++) {
		for (unsigned i = 0; i < rounds; i++) {
			sockets[i] = per_second(clients[k], call_socket);
			calls[i] = per_second(clients[k], call_service);
			ratios[i] = calls[i] / sockets[i];
		}
		printf("%3u %-32s%9.0f%9.0f%9.3f\n", clients[k],
		       clients[k] > 1 ? "clients, together" : "client",
		       quartile(sockets, rounds, 2), quartile(calls, rounds, 2),
		       quartile(ratios, rounds, 2));
	}
}

int main(int argc, char **argv)
{
	unsigned rounds = 20;
	int c, status = 0;

	while ((c = getopt(argc, argv, "n:")) >= 0) {
		if (c != 'n')
			return 2;
		rounds = (unsigned)strtoul(optarg, NULL, 10);
	}
	if (optind + 1 != argc || rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "usage: service [-n ROUNDS] start|memory|calls");
	if (rig_setup(NULL) < 0)
		errx(1, "the service cannot be set up");
	if (strcmp(argv[optind], "start") == 0)
		measure_start(rounds);
	else if (strcmp(argv[optind], "memory") == 0)
		measure_memory();
	else if (strcmp(argv[optind], "calls") == 0)
		measure_calls(rounds);
	else
		status = 2;
	fflush(stdout);
	rig_teardown(NULL);
	return status;
}
