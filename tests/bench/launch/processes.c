/* The processes of a measured program, as /proc shows them; see measure.h. */
#include "tests/bench/launch/measure.h"

#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"

#define MAX_PROCESSES 4096

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
void processes_kill(void)
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

/* Whether most of a mapping is guest memory. */
static bool is_guest_memory(const struct preload *shared, uint64_t start, uint64_t end)
{
	uint64_t covered = 0;

	for (uint32_t i = 0; i < shared->n_slots && i < PRELOAD_MAX_SLOTS; i++) {
		uint64_t from = shared->slots[i].addr;
		uint64_t to = from + shared->slots[i].len;

		from = from > start ? from : start;
		to = to < end ? to : end;
		covered += to > from ? to - from : 0;
	}
	return covered > (end - start) / 2;
}

static void add_smaps(pid_t pid, const struct preload *shared, struct sample *s)
{
	FILE *f = open_proc(pid, "smaps");
	uint64_t start, end, n;
	static bool noted;
	bool guest = false, any = false;
	char line[4096];

	while (f && fgets(line, sizeof(line), f)) {
		any = true;
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			guest = is_guest_memory(shared, start, end);
		else if (sscanf(line, "Rss: %lu", &n) == 1 && guest)
			s->v[V_RAM] += (double)n;
		else if (sscanf(line, "Pss: %lu", &n) == 1 && !guest)
			s->v[V_PSS] += (double)n;
		else if (sscanf(line, "Private_Dirty: %lu", &n) == 1 && !guest)
			s->v[V_DIRTY] += (double)n;
	}
	if (!any) {
		if (!noted)
			fprintf(stderr, "note: Pss, dirty, guest: n/a: smaps: %s\n",
				f ? "empty; this takes root" : strerror(errno));
		noted = true;
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

void processes_measure(const struct preload *shared, struct sample *s)
{
	pid_t pids[64], parent;
	size_t n = descendants(pids, ARRAY_SIZE(pids));
	uint64_t faults;
	clockid_t clock;

	s->v[V_PSS] = s->v[V_DIRTY] = s->v[V_RAM] = s->v[V_RSS] = 0;
	s->v[V_FAULTS] = -(double)shared->start_faults;
	s->v[V_CPU] = -(double)shared->start_cpu_ns / 1e6;
	for (size_t i = 0; i < n; i++) {
		double peak = peak_rss(pids[i]);

		if (peak > s->v[V_RSS])
			s->v[V_RSS] = peak;
		if (read_stat(pids[i], &parent, &faults))
			s->v[V_FAULTS] += (double)faults;
		if (clock_getcpuclockid(pids[i], &clock) == 0)
			s->v[V_CPU] += (double)clock_ns(clock) / 1e6;
		add_smaps(pids[i], shared, s);
	}
}
