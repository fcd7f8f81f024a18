/*
 * Runs programs in turn, round after round, and prints what it measured as
 * tables. Each is watched by the library of preload.c, from exec to its first
 * KVM_RUN, where it ends; with -w to its own end.
 *
 *   launch [-w] [-n ROUNDS] [-t SECONDS] [-r RAW] PRELOAD.so
 *          :: LABEL STATUS COMMAND... [:: LABEL STATUS COMMAND...]...
 *
 * The first program is the one that the others are compared with. STATUS is the
 * exit status that -w expects. Standard input and output are /dev/null. RAW gets
 * one line for each sample. All processes below this one are killed after each
 * sample. Exit 1: a program could not be measured; its line says why.
 */
#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
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
#include "tests/bench/preload.h"

#define MAX_PROGRAMS 32
#define MAX_PROCESSES 4096
#define SPIN_LOOPS 5000000

enum value {
	V_TOTAL, /* ms: exec to the first KVM_RUN, or to the end */
	V_SPIN, /* ms: a fixed loop, just before */
	V_EXEC, /* ms: the parts of V_TOTAL, see enum preload_phase */
	V_VM,
	V_VCPU,
	V_RUN,
	V_KVM, /* ms: in KVM's ioctls */
	V_CPU, /* ms */
	V_IOCTLS,
	V_FAULTS, /* minor, of all processes */
	V_RSS, /* KiB: highest of any process */
	V_PSS, /* KiB: of all processes, guest memory aside */
	V_DIRTY, /* KiB: private and dirty, the same */
	V_RAM, /* KiB: guest memory in use */
	V_RUNS, /* calls of KVM_RUN, and what they returned for */
	V_PORT_EXITS,
	V_MMIO_EXITS,
	V_OTHER_EXITS,
	V_EXITS, /* KVM's own counters: exits, also those that it handles alone */
	V_EMULATED, /* instructions */
	V_GUEST_FAULTS, /* page faults of the guest */
	NUM_VALUES,
};

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

struct sample {
	double v[NUM_VALUES]; /* NAN: not known */
};

struct program {
	const char *label;
	int status;
	char **argv;
	struct sample *samples;
	char error[256];
};

static struct {
	bool whole;
	unsigned rounds, seconds;
	const char *preload;
	size_t n_programs;
	struct program programs[MAX_PROGRAMS];
	struct preload *shared;
	int shared_fd, stderr_fd, stats_sockets[2];
	char notes[8][256];
} b = { .rounds = 20, .seconds = 10 };

static volatile sig_atomic_t asked_to_end;

static double ms_between(uint64_t from, uint64_t to)
{
	return from && to ? (double)(to - from) / 1e6 : NAN;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t = { 0 };

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Said once below the tables: why something is missing, what a program said. */
static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	char text[sizeof(b.notes[0])];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < ARRAY_SIZE(b.notes); i++) {
		if (!b.notes[i][0])
			memcpy(b.notes[i], text, sizeof(text));
		if (!strcmp(b.notes[i], text))
			return;
	}
}

/* How fast this machine is at this moment, as far as a loop can tell. */
static double spin_ms(void)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < SPIN_LOOPS; i++)
		__asm__ volatile("" : "+r"(i));
	return ms_between(start, clock_ns(CLOCK_MONOTONIC));
}

/* --- the processes below us ---------------------------------------------- */

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return fopen(path, "re");
}

/* Of /proc/PID/stat: fields 4 and 10. */
static bool read_stat(pid_t pid, pid_t *ret_parent, uint64_t *ret_faults)
{
	FILE *f = open_proc(pid, "stat");
	char line[1024], *end;
	bool ok;

	if (!f)
		return false;
	ok = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	end = ok ? strrchr(line, ')') : NULL;
	return end && sscanf(end, ") %*c %d %*d %*d %*d %*d %*u %lu", ret_parent,
			     ret_faults) == 2;
}

static bool among(const pid_t *pids, size_t n, pid_t pid)
{
	while (n--)
		if (pids[n] == pid)
			return true;
	return false;
}

/* Children, their children, and so on; zombies too. */
static size_t descendants(pid_t *ret_pids, size_t max)
{
	static pid_t all[MAX_PROCESSES], parents[MAX_PROCESSES];
	DIR *proc = opendir("/proc");
	size_t n_all = 0, n = 0;
	struct dirent *e;
	uint64_t faults;
	bool more = true;

	if (!proc)
		err(EXIT_FAILURE, "/proc");
	while (n_all < MAX_PROCESSES && (e = readdir(proc))) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : 0;

		if (pid && read_stat(pid, &parents[n_all], &faults))
			all[n_all++] = pid;
	}
	closedir(proc);
	while (more) {
		more = false;
		for (size_t i = 0; i < n_all && n < max; i++) {
			if ((parents[i] != getpid() &&
			     !among(ret_pids, n, parents[i])) ||
			    among(ret_pids, n, all[i]))
				continue;
			ret_pids[n++] = all[i];
			more = true;
		}
	}
	return n;
}

/* We are their reaper, so none can escape, whatever it forked. */
static void kill_descendants(void)
{
	pid_t pids[64];

	for (unsigned i = 0; i < 5000; i++) {
		pid_t pid;

		do
			pid = waitpid(-1, NULL, WNOHANG);
		while (pid > 0);
		if (pid < 0)
			return;
		/* Not at each turn: the ending of a VM can take a while. */
		if (i % 32 == 0)
			for (size_t n = descendants(pids, ARRAY_SIZE(pids)); n--;)
				kill(pids[n], SIGKILL);
		usleep(1000);
	}
	errx(EXIT_FAILURE, "processes that cannot be killed");
}

/* --- memory -------------------------------------------------------------- */

/* Whether most of a mapping is guest memory. */
static bool is_guest_memory(uint64_t start, uint64_t end)
{
	uint64_t covered = 0;

	for (uint32_t i = 0; i < b.shared->n_slots && i < PRELOAD_MAX_SLOTS; i++) {
		uint64_t from = b.shared->slots[i].addr;
		uint64_t to = from + b.shared->slots[i].len;

		from = from > start ? from : start;
		to = to < end ? to : end;
		covered += to > from ? to - from : 0;
	}
	return covered > (end - start) / 2;
}

static void add_smaps(pid_t pid, struct sample *s)
{
	FILE *f = open_proc(pid, "smaps");
	uint64_t start, end, n;
	char line[4096];
	bool guest = false, any = false;

	while (f && fgets(line, sizeof(line), f)) {
		any = true;
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			guest = is_guest_memory(start, end);
		else if (sscanf(line, "Rss: %lu", &n) == 1 && guest)
			s->v[V_RAM] += (double)n;
		else if (sscanf(line, "Pss: %lu", &n) == 1 && !guest)
			s->v[V_PSS] += (double)n;
		else if (sscanf(line, "Private_Dirty: %lu", &n) == 1 && !guest)
			s->v[V_DIRTY] += (double)n;
	}
	/* A process that makes itself not dumpable is open to root only. */
	if (!any) {
		note("Pss and the like n/a: /proc/PID/smaps: %s",
		     f ? "empty" : strerror(errno));
		s->v[V_PSS] = s->v[V_DIRTY] = s->v[V_RAM] = NAN;
	}
	if (f)
		fclose(f);
}

static double peak_rss(pid_t pid)
{
	FILE *f = open_proc(pid, "status");
	double peak = 0;
	uint64_t n;
	char line[4096];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lu", &n) == 1)
			peak = (double)n;
	if (f)
		fclose(f);
	return peak;
}

static void look_at_processes(struct sample *s)
{
	pid_t pids[64], parent;
	size_t n = descendants(pids, ARRAY_SIZE(pids));
	uint64_t faults;
	clockid_t clock;

	s->v[V_PSS] = s->v[V_DIRTY] = s->v[V_RAM] = s->v[V_RSS] = 0;
	s->v[V_FAULTS] = -(double)b.shared->start_faults;
	s->v[V_CPU] = -(double)b.shared->start_cpu_ns / 1e6;
	for (size_t i = 0; i < n; i++) {
		double peak = peak_rss(pids[i]);

		if (peak > s->v[V_RSS])
			s->v[V_RSS] = peak;
		if (read_stat(pids[i], &parent, &faults))
			s->v[V_FAULTS] += (double)faults;
		if (clock_getcpuclockid(pids[i], &clock) == 0)
			s->v[V_CPU] += (double)clock_ns(clock) / 1e6;
		add_smaps(pids[i], s);
	}
}

/* --- KVM's own counters -------------------------------------------------- */

static const struct {
	const char *name;
	enum value value;
} stats[] = {
	{ "exits", V_EXITS },
	{ "insn_emulation", V_EMULATED },
	{ "pf_taken", V_GUEST_FAULTS },
};

/* Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD. */
static void add_stats(int fd, struct sample *s)
{
	union {
		struct kvm_stats_desc desc;
		char space[sizeof(struct kvm_stats_desc) + 256];
	} d = { 0 };
	struct kvm_stats_header h;
	uint64_t value;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h) || h.name_size > 255)
		return;
	for (uint32_t i = 0; i < h.num_desc; i++) {
		ssize_t size = (ssize_t)(sizeof(d.desc) + h.name_size);

		if (pread(fd, &d, (size_t)size, h.desc_offset + i * size) != size)
			return;
		for (size_t j = 0; j < ARRAY_SIZE(stats); j++) {
			double *v = &s->v[stats[j].value];

			if (strcmp(d.desc.name, stats[j].name) != 0 ||
			    pread(fd, &value, sizeof(value),
				  h.data_offset + d.desc.offset) != sizeof(value))
				continue;
			*v = (isnan(*v) ? 0 : *v) + (double)value;
		}
	}
}

/* One fd for each vCPU; it keeps the counters of a VM that has gone. */
static void read_stats(struct sample *s)
{
	bool any = false;

	for (;;) {
		union {
			struct cmsghdr head;
			char space[CMSG_SPACE(sizeof(int))];
		} control;
		char byte;
		struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		int fd;

		if (recvmsg(b.stats_sockets[0], &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <
			    0 ||
		    msg.msg_controllen < sizeof(struct cmsghdr))
			break;
		memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
		any = true;
		add_stats(fd, s);
		close(fd);
	}
	if (!any)
		note("KVM's counters n/a: no KVM_GET_STATS_FD on this kernel");
	/* No guest runs without one. */
	if (s->v[V_GUEST_FAULTS] == 0) {
		s->v[V_GUEST_FAULTS] = NAN;
		note("guest faults n/a: this machine's KVM does not count them");
	}
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
	text[strcspn(text, "\n")] = 0;
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
	look_at_processes(s);
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
	read_stats(s);
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
	if (*said() && !p->error[0])
		note("%s says: %s", p->label, said());
	kill_descendants();
	while (recv(b.stats_sockets[0], &pid, sizeof(pid), MSG_DONTWAIT) > 0)
		;
}

/* --- tables -------------------------------------------------------------- */

/* The last three compare with the first program. */
enum statistic { MIN, MEDIAN, MAX, MIN_RATIO, MEDIAN_RATIO, PAIRED_RATIO };

struct column {
	const char *title;
	enum value value;
	enum statistic stat;
	int decimals;
};

static const struct column times[] = {
	{ "min", V_TOTAL, MIN, 2 },
	{ "median", V_TOTAL, MEDIAN, 2 },
	{ "max", V_TOTAL, MAX, 2 },
	{ "x min", V_TOTAL, MIN_RATIO, 2 },
	{ "x median", V_TOTAL, MEDIAN_RATIO, 2 },
	{ "x paired", V_TOTAL, PAIRED_RATIO, 2 },
	{ "CPU", V_CPU, MEDIAN, 2 },
	{ "x CPU", V_CPU, MEDIAN_RATIO, 2 },
	{ "spin", V_SPIN, MEDIAN, 2 },
	{ NULL, 0, 0, 0 },
};
static const struct column parts[] = {
	{ "exec", V_EXEC, MEDIAN, 2 },
	{ "to VM", V_VM, MEDIAN, 2 },
	{ "to vCPU", V_VCPU, MEDIAN, 2 },
	{ "to run", V_RUN, MEDIAN, 2 },
	{ "in KVM", V_KVM, MEDIAN, 2 },
	{ "spin", V_SPIN, MEDIAN, 2 },
	{ NULL, 0, 0, 0 },
};
static const struct column counts[] = {
	{ "ioctls", V_IOCTLS, MEDIAN, 0 },
	{ "faults", V_FAULTS, MEDIAN, 0 },
	{ "max RSS", V_RSS, MEDIAN, 0 },
	{ "Pss", V_PSS, MEDIAN, 0 },
	{ "dirty", V_DIRTY, MEDIAN, 0 },
	{ "guest", V_RAM, MEDIAN, 0 },
	{ NULL, 0, 0, 0 },
};
static const struct column whole[] = {
	{ "min", V_TOTAL, MIN, 2 },
	{ "median", V_TOTAL, MEDIAN, 2 },
	{ "max", V_TOTAL, MAX, 2 },
	{ "x median", V_TOTAL, MEDIAN_RATIO, 2 },
	{ "CPU", V_CPU, MEDIAN, 0 },
	{ "spin", V_SPIN, MEDIAN, 2 },
	{ "runs", V_RUNS, MEDIAN, 0 },
	{ "port", V_PORT_EXITS, MEDIAN, 0 },
	{ "MMIO", V_MMIO_EXITS, MEDIAN, 0 },
	{ "other", V_OTHER_EXITS, MEDIAN, 0 },
	{ "exits", V_EXITS, MEDIAN, 0 },
	{ "emulated", V_EMULATED, MEDIAN, 0 },
	{ "guest pf", V_GUEST_FAULTS, MEDIAN, 0 },
	{ "faults", V_FAULTS, MEDIAN, 0 },
	{ "max RSS", V_RSS, MEDIAN, 0 },
	{ NULL, 0, 0, 0 },
};

static int compare(const void *a, const void *c)
{
	double x = *(const double *)a, y = *(const double *)c;

	return (x > y) - (x < y);
}

/* @over: divide each sample by that program's of the same round. */
static double aggregate(const struct program *p, enum value v, enum statistic stat,
			const struct program *over)
{
	double *x = calloc(b.rounds, sizeof(*x)), r = NAN;
	size_t n = 0;

	if (!x)
		err(EXIT_FAILURE, "memory");
	for (unsigned i = 0; i < b.rounds; i++) {
		x[n] = p->samples[i].v[v] / (over ? over->samples[i].v[v] : 1);
		n += !isnan(x[n]);
	}
	qsort(x, n, sizeof(*x), compare);
	if (n && stat == MIN)
		r = x[0];
	else if (n && stat == MAX)
		r = x[n - 1];
	else if (n)
		r = (x[(n - 1) / 2] + x[n / 2]) / 2;
	free(x);
	return r;
}

static double cell(const struct program *p, const struct column *c)
{
	const struct program *first = &b.programs[0];

	switch (c->stat) {
	case MIN_RATIO:
		return aggregate(p, c->value, MIN, NULL) /
		       aggregate(first, c->value, MIN, NULL);
	case MEDIAN_RATIO:
		return aggregate(p, c->value, MEDIAN, NULL) /
		       aggregate(first, c->value, MEDIAN, NULL);
	case PAIRED_RATIO:
		return aggregate(p, c->value, MEDIAN, first);
	case MIN:
	case MEDIAN:
	case MAX:
		break;
	}
	return aggregate(p, c->value, c->stat, NULL);
}

static void print_table(const char *title, const struct column *columns)
{
	printf("\n%-32s", title);
	for (const struct column *c = columns; c->title; c++)
		printf("%9s", c->title);
	putchar('\n');
	for (size_t i = 0; i < b.n_programs; i++) {
		const struct program *p = &b.programs[i];

		printf("%-32s", p->label);
		if (p->error[0]) {
			printf("   not measured: %s\n", p->error);
			continue;
		}
		for (const struct column *c = columns; c->title; c++) {
			double v = cell(p, c);

			if (isnan(v))
				printf("%9s", "-");
			else
				printf("%9.*f", c->decimals, v);
		}
		putchar('\n');
	}
}

static void write_raw(const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		err(EXIT_FAILURE, "%s", path);
	fprintf(f, "round\tprogram");
	for (size_t v = 0; v < NUM_VALUES; v++)
		fprintf(f, "\t%s", value_names[v]);
	for (unsigned r = 0; r < b.rounds; r++)
		for (size_t i = 0; i < b.n_programs; i++) {
			fprintf(f, "\n%u\t%s", r, b.programs[i].label);
			for (size_t v = 0; v < NUM_VALUES; v++)
				fprintf(f, "\t%.3f", b.programs[i].samples[r].v[v]);
		}
	fputc('\n', f);
	if (fclose(f) != 0)
		err(EXIT_FAILURE, "%s", path);
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
			errx(2, "usage: launch [-w] [-n N] [-t S] [-r FILE] PRELOAD "
				":: LABEL STATUS COMMAND...");
		p = &b.programs[b.n_programs++];
		args[0] = NULL;
		p->label = args[1];
		p->status = atoi(args[2]);
		p->argv = args + 3;
		p->samples = calloc(b.rounds, sizeof(*p->samples));
		if (!p->samples)
			err(EXIT_FAILURE, "memory");
		while (*args == NULL || strcmp(*args, "::") != 0)
			if (!*++args)
				return;
	}
}

int main(int argc, char **argv)
{
	const char *raw = NULL;
	bool failed = false;
	int opt;

	while ((opt = getopt(argc, argv, "+wn:t:r:")) >= 0) {
		if (opt == 'w')
			b.whole = true;
		else if (opt == 'n')
			b.rounds = (unsigned)strtoul(optarg, NULL, 10);
		else if (opt == 't')
			b.seconds = (unsigned)strtoul(optarg, NULL, 10);
		else if (opt == 'r')
			raw = optarg;
		else
			return 2;
	}
	if (optind < argc)
		b.preload = argv[optind++];
	parse_programs(argv + optind);
	if (!b.n_programs || !b.rounds)
		errx(2, "nothing to measure");
	prepare();
	for (unsigned r = 0; r < b.rounds && !asked_to_end; r++)
		for (size_t i = 0; i < b.n_programs && !asked_to_end; i++)
			measure(&b.programs[i], &b.programs[i].samples[r]);
	if (asked_to_end)
		return 128 + asked_to_end;
	if (b.whole) {
		print_table("exec to exit, ms; counts; KiB", whole);
	} else {
		print_table("exec to first KVM_RUN, ms", times);
		print_table("its parts, ms", parts);
		print_table("counts; KiB", counts);
	}
	for (size_t i = 0; i < ARRAY_SIZE(b.notes) && b.notes[i][0]; i++)
		printf("note: %s\n", b.notes[i]);
	if (raw)
		write_raw(raw);
	for (size_t i = 0; i < b.n_programs; i++)
		failed |= b.programs[i].error[0] != 0;
	return failed;
}
