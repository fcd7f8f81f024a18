/*
 * Runs programs in turn, round after round, and prints each sample as a line of
 * tab-separated values, with a header, for tests/bench/table. Each program is
 * watched by the library of preload.c, from exec to its first KVM_RUN, where it
 * ends; with -w to its own end.
 *
 *   launch [-w] [-n ROUNDS] [-t SECONDS] PRELOAD.so
 *          :: LABEL STATUS COMMAND... [:: LABEL STATUS COMMAND...]...
 *
 * STATUS is the exit status that -w expects, after a '?' where the program is
 * optional. The programs' standard input and output are /dev/null. All processes
 * below this one are killed after each sample. Exit 1: a program could not be
 * measured and is not optional; its error field says why.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/bench/launch/measure.h"
#include "tests/bench/preload.h"

#define MAX_PROGRAMS 32
#define SPIN_LOOPS 5000000

static const char *const value_names[] = {
	[V_TOTAL] = "total_ms",
	[V_SPIN] = "spin_ms",
	[V_EXEC] = "exec_ms",
	[V_VM] = "to_vm_ms",
	[V_VCPU] = "to_vcpu_ms",
	[V_RUN] = "to_run_ms",
	[V_KVM] = "in_kvm_ms",
	[V_CPU] = "cpu_ms",
	[V_IOCTLS] = "ioctls",
	[V_FAULTS] = "minor_faults",
	[V_RSS] = "max_rss_kib",
	[V_PSS] = "pss_kib",
	[V_DIRTY] = "dirty_kib",
	[V_RAM] = "guest_kib",
	[V_RUNS] = "runs",
	[V_PORT_EXITS] = "port_exits",
	[V_MMIO_EXITS] = "mmio_exits",
	[V_OTHER_EXITS] = "other_exits",
	[V_EXITS] = "exits",
	[V_EMULATED] = "emulated",
	[V_GUEST_FAULTS] = "guest_faults",
};
_Static_assert(ARRAY_SIZE(value_names) == NUM_VALUES, "a name for each value");

struct program {
	const char *label;
	int status;
	bool optional;
	char **argv;
	char error[256]; /* "": none so far */
	bool spoke;
};

static struct {
	bool whole;
	unsigned rounds, seconds;
	const char *preload;
	size_t n_programs;
	struct program programs[MAX_PROGRAMS];
	struct preload *shared;
	int shared_fd, stderr_fd, stats_sockets[2];
} b = { .rounds = 20, .seconds = 10 };

static volatile sig_atomic_t asked_to_end;

uint64_t clock_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double ms_between(uint64_t from, uint64_t to)
{
	return from && to ? (double)(to - from) / 1e6 : NAN;
}

/* How fast this machine is at this moment, as far as a loop can tell. */
static double spin_ms(void)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < SPIN_LOOPS; i++)
		__asm__ volatile("" : "+r"(i));
	return ms_between(start, clock_ns(CLOCK_MONOTONIC));
}

/* --- one sample ---------------------------------------------------------- */

static void child(const struct program *p)
{
	int null = open("/dev/null", O_RDWR);
	struct rusage usage;
	char text[32];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* No terminal to play with, and Ctrl-C is ours to handle. */
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(b.stderr_fd, STDERR_FILENO);
	close(null);
	fcntl(b.shared_fd, F_SETFD, 0);
	fcntl(b.stats_sockets[1], F_SETFD, 0);
	snprintf(text, sizeof(text), "%d %d", b.shared_fd, b.stats_sockets[1]);
	setenv(PRELOAD_ENV, text, 1);
	setenv("LD_PRELOAD", b.preload, 1);

	getrusage(RUSAGE_SELF, &usage);
	b.shared->start_faults = (uint64_t)usage.ru_minflt;
	b.shared->start_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	b.shared->start_ns = clock_ns(CLOCK_MONOTONIC);
	execvp(p->argv[0], p->argv);
	fprintf(stderr, "%s: %s\n", p->argv[0], strerror(errno));
	_exit(127);
}

/* The first line that the program wrote to stderr, or "". */
static const char *said(void)
{
	static char text[160];
	ssize_t n = pread(b.stderr_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	text[strcspn(text, "\n\t")] = 0;
	return text;
}

static void fail(struct program *p, const char *what)
{
	snprintf(p->error, sizeof(p->error), "%s%s%s", what, *said() ? ": " : "",
		 said());
}

static void fill_times(struct sample *s, uint64_t end)
{
	const struct preload *m = b.shared;

	s->v[V_TOTAL] = ms_between(m->start_ns, end);
	s->v[V_EXEC] = ms_between(m->start_ns, m->ns[PHASE_LOADED]);
	s->v[V_VM] = ms_between(m->ns[PHASE_LOADED], m->ns[PHASE_CREATE_VM]);
	s->v[V_VCPU] = ms_between(m->ns[PHASE_CREATE_VM], m->ns[PHASE_CREATE_VCPU]);
	s->v[V_RUN] = ms_between(m->ns[PHASE_CREATE_VCPU], m->ns[PHASE_RUN]);
	s->v[V_KVM] = (double)m->kvm_ns / 1e6;
	s->v[V_IOCTLS] = (double)m->ioctls;
	s->v[V_RUNS] = (double)m->runs;
	s->v[V_PORT_EXITS] = (double)m->port_exits;
	s->v[V_MMIO_EXITS] = (double)m->mmio_exits;
	s->v[V_OTHER_EXITS] = (double)m->other_exits;
}

static void until_first_run(struct program *p, pid_t pid, struct sample *s)
{
	uint64_t limit = clock_ns(CLOCK_MONOTONIC) + b.seconds * 1000000000ull;
	struct timespec slice = { .tv_nsec = 20000000 };
	int status;

	while (!__atomic_load_n(&b.shared->stopped, __ATOMIC_ACQUIRE)) {
		/* Slices, because an exit of the program does not wake us. */
		syscall(SYS_futex, &b.shared->stopped, FUTEX_WAIT, 0, &slice, NULL, 0);
		if (waitpid(pid, &status, WNOHANG) == pid &&
		    !__atomic_load_n(&b.shared->stopped, __ATOMIC_ACQUIRE)) {
			fail(p, "ended before its first KVM_RUN");
			return;
		}
		if (asked_to_end || clock_ns(CLOCK_MONOTONIC) > limit) {
			fail(p, "no KVM_RUN within the time limit");
			return;
		}
	}
	fill_times(s, b.shared->ns[PHASE_RUN]);
	processes_measure(b.shared, s);
}

static void until_end(struct program *p, pid_t pid, struct sample *s)
{
	struct pollfd end = { .events = POLLIN };
	struct rusage usage;
	uint64_t end_ns;
	char text[64];
	int status;

	end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (end.fd < 0)
		err(EXIT_FAILURE, "pidfd");
	status = poll(&end, 1, (int)b.seconds * 1000);
	end_ns = clock_ns(CLOCK_MONOTONIC);
	close(end.fd);
	if (status != 1) {
		fail(p, "did not end within the time limit");
		return;
	}
	wait4(pid, &status, 0, &usage);
	status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (status != p->status) {
		snprintf(text, sizeof(text), "exit status %d, not %d", status,
			 p->status);
		fail(p, text);
		return;
	}
	fill_times(s, end_ns);
	s->v[V_FAULTS] = (double)usage.ru_minflt - (double)b.shared->start_faults;
	s->v[V_RSS] = (double)usage.ru_maxrss;
	s->v[V_CPU] = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
		      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
	stats_read(b.stats_sockets[0], s);
}

static void measure(struct program *p, struct sample *s)
{
	pid_t pid;

	for (size_t i = 0; i < NUM_VALUES; i++)
		s->v[i] = NAN;
	if (p->error[0])
		return;
	*b.shared = (struct preload){ .whole = b.whole };
	if (ftruncate(b.stderr_fd, 0) < 0 || lseek(b.stderr_fd, 0, SEEK_SET) < 0)
		err(EXIT_FAILURE, "memfd");
	s->v[V_SPIN] = spin_ms();
	pid = fork();
	if (pid < 0)
		err(EXIT_FAILURE, "fork");
	if (pid == 0)
		child(p);
	if (b.whole)
		until_end(p, pid, s);
	else
		until_first_run(p, pid, s);
	if (*said() && !p->error[0] && !p->spoke) {
		fprintf(stderr, "note: %s says: %s\n", p->label, said());
		p->spoke = true;
	}
	processes_kill();
	while (recv(b.stats_sockets[0], &pid, sizeof(pid), MSG_DONTWAIT) > 0)
		;
}

static void print_header(void)
{
	printf("round\tprogram\terror");
	for (size_t v = 0; v < NUM_VALUES; v++)
		printf("\t%s", value_names[v]);
	putchar('\n');
}

static void print_sample(unsigned round, const struct program *p,
			 const struct sample *s)
{
	printf("%u\t%s\t%s", round, p->label, p->error);
	for (size_t v = 0; v < NUM_VALUES; v++) {
		if (isnan(s->v[v]))
			printf("\t-");
		else
			printf("\t%.3f", s->v[v]);
	}
	putchar('\n');
}

/* --- main ---------------------------------------------------------------- */

static void on_signal(int sig)
{
	asked_to_end = sig;
}

static void prepare(void)
{
	struct sigaction end = { .sa_handler = on_signal };

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	b.shared_fd = memfd_create("bench", MFD_CLOEXEC);
	b.stderr_fd = memfd_create("stderr", MFD_CLOEXEC);
	if (b.shared_fd < 0 || b.stderr_fd < 0 ||
	    ftruncate(b.shared_fd, sizeof(*b.shared)) < 0 ||
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, b.stats_sockets) < 0)
		err(EXIT_FAILURE, "memfd, socketpair");
	b.shared = mmap(NULL, sizeof(*b.shared), PROT_READ | PROT_WRITE, MAP_SHARED,
			b.shared_fd, 0);
	if (b.shared == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
}

/* "::" before each; it becomes the end of the command before it. */
static void parse_programs(char **args)
{
	struct program *p;

	while (*args) {
		if (b.n_programs == MAX_PROGRAMS || strcmp(args[0], "::") != 0 ||
		    !args[1] || !args[2] || !args[3])
			errx(2, "usage: launch [-w] [-n N] [-t S] PRELOAD "
				":: LABEL STATUS COMMAND...");
		p = &b.programs[b.n_programs++];
		args[0] = NULL;
		p->label = args[1];
		p->optional = args[2][0] == '?';
		p->status = atoi(args[2] + p->optional);
		p->argv = args + 3;
		while (*args == NULL || strcmp(*args, "::") != 0)
			if (!*++args)
				return;
	}
}

int main(int argc, char **argv)
{
	bool failed = false;
	struct sample s;
	int opt;

	while ((opt = getopt(argc, argv, "+wn:t:")) >= 0) {
		if (opt == 'w')
			b.whole = true;
		else if (opt == 'n')
			b.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (opt == 't')
			b.seconds = (unsigned)strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	if (optind < argc)
		b.preload = argv[optind++];
	parse_programs(argv + optind);
	if (!b.n_programs || !b.rounds)
		errx(2, "nothing to measure");
	prepare();
	print_header();
	for (unsigned r = 1; r <= b.rounds; r++)
		for (size_t i = 0; i < b.n_programs; i++) {
			measure(&b.programs[i], &s);
			if (asked_to_end)
				return 128 + asked_to_end;
			print_sample(r, &b.programs[i], &s);
			failed |= b.programs[i].error[0] && !b.programs[i].optional;
		}
	if (fflush(stdout) != 0)
		err(EXIT_FAILURE, "stdout");
	return failed;
}
