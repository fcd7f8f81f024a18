/* Processes, folders and descriptors of a test; see service_rig.h. */
#include "tests/vm/service_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define MAX_PROCESSES 8192

static char runtime[64], folder[96], build[4096];
static size_t fds_at_start;
static bool cgroups_matter;

const char *rig_folder(void)
{
	return folder;
}

char *rig_guest(const char *name)
{
	const char *guests = getenv("GUESTS");
	char *path;

	if (guests ? asprintf(&path, "%s/%s.elf", guests, name) < 0
		   : asprintf(&path, "%s/guest/%s.elf", build, name) < 0)
		abort();
	return path;
}

double rig_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void rig_sleep_ms(double ms)
{
	struct timespec t = { (time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000 };

	nanosleep(&t, NULL);
}

/* --- processes ---------------------------------------------------------------- */

static int read_process(pid_t pid, struct rig_process *p)
{
	char path[32], text[512], *end;
	AUTO_CLOSE int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	end = strrchr(text, ')');
	if (!end || sscanf(end, ") %c %d", &p->state, &p->parent) != 2)
		return -1;
	*end = '\0';
	p->pid = pid;
	snprintf(p->name, sizeof(p->name), "%s", strchr(text, '(') + 1);
	return 0;
}

static bool descends(const struct rig_process *all, size_t n, pid_t pid)
{
	for (size_t depth = 0; depth < 64; depth++) {
		size_t i = 0;

		if (pid == getpid())
			return true;
		while (i < n && all[i].pid != pid)
			i++;
		if (i == n)
			return false;
		pid = all[i].parent;
	}
	return false;
}

size_t rig_processes(const char *name, struct rig_process *list, size_t max)
{
	static struct rig_process all[MAX_PROCESSES];
	DIR *dir = opendir("/proc");
	struct dirent *e;
	size_t n = 0, found = 0;

	while (dir && (e = readdir(dir)) && n < MAX_PROCESSES) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && read_process(pid, &all[n]) == 0)
			n++;
	}
	if (dir)
		closedir(dir);
	for (size_t i = 0; i < n; i++) {
		if (all[i].pid == getpid() || strchr("ZX", all[i].state) ||
		    (name && strcmp(all[i].name, name) != 0) ||
		    !descends(all, n, all[i].parent))
			continue;
		if (found < max)
			list[found] = all[i];
		found++;
	}
	return found;
}

pid_t rig_process(const char *name)
{
	double until = rig_ms() + RIG_PATIENCE * 1e3;
	struct rig_process p;

	while (rig_processes(name, &p, 1) == 0) {
		if (rig_ms() > until)
			return 0;
		rig_sleep_ms(1);
	}
	return p.pid;
}

size_t rig_fds(pid_t pid)
{
	char path[32];
	struct dirent *e;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		n += e->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

/* --- what is left ------------------------------------------------------------- */

size_t rig_leases(void)
{
	char path[512];
	struct dirent *e;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/cid", folder);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		int fd = e->d_name[0] == '.'
				 ? -1
				 : openat(dirfd(dir), e->d_name, O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		n += flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
		close(fd);
	}
	if (dir)
		closedir(dir);
	return n;
}

static const char *left_in_folder;
static bool killed;

static bool listens(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	AUTO_CLOSE int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return connect(s, (struct sockaddr *)&a, sizeof(a)) == 0;
}

static int on_left(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	static char kept[512];

	/* The service may leave its folders and the number of the last CID. */
	if (kind == FTW_D || strcmp(path + at->base, "last-cid") == 0)
		return 0;
	/* One that was killed, also what the next one finds to be nobody's. */
	if (killed && (S_ISSOCK(st->st_mode) ? !listens(path) : rig_leases() == 0))
		return 0;
	snprintf(kept, sizeof(kept), "%s", path);
	left_in_folder = kept;
	return 1;
}

void rig_service_was_killed(bool was)
{
	killed = was;
}

/* Folders of VMs in this process' own cgroup, or beside it; where there is cgroup v2.
 */
size_t rig_cgroups(bool remove_empty)
{
	char line[512], path[600];
	FILE *f = fopen("/proc/self/cgroup", "re");
	size_t n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		for (const char *place = ""; place; place = *place ? NULL : "/..") {
			struct dirent *e;
			DIR *dir;

			snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s", line + 3,
				 place);
			dir = opendir(path);
			while (dir && (e = readdir(dir)))
				n += strncmp(e->d_name, "vmm-", 4) == 0 &&
				     !(remove_empty && unlinkat(dirfd(dir), e->d_name,
								AT_REMOVEDIR) == 0);
			if (dir)
				closedir(dir);
			/* Above the root there is none. */
			if (strcmp(line, "0::/") == 0)
				break;
		}
	}
	if (f)
		fclose(f);
	return n;
}

static bool anything_left(bool tell)
{
	struct rig_process list[16];
	size_t n, fds, cgroups = cgroups_matter ? rig_cgroups(false) : 0;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	n = rig_processes(NULL, list, 16);
	fds = rig_fds(getpid());
	left_in_folder = NULL;
	nftw(runtime, on_left, 16, FTW_PHYS);
	if (tell) {
		for (size_t i = 0; i < n && i < 16; i++)
			fprintf(stderr, "left: process %d, %s, of %d\n", list[i].pid,
				list[i].name, list[i].parent);
		if (left_in_folder)
			fprintf(stderr, "left: %s\n", left_in_folder);
		if (cgroups)
			fprintf(stderr, "left: %zu cgroups\n", cgroups);
		if (fds > fds_at_start)
			fprintf(stderr, "left: %zu descriptors\n", fds - fds_at_start);
	}
	return n || cgroups || left_in_folder || fds > fds_at_start;
}

double rig_nothing_left(void)
{
	double start = rig_ms();

	while (anything_left(false)) {
		if (rig_ms() - start > RIG_PATIENCE * 1e3) {
			anything_left(true);
			return -1;
		}
		rig_sleep_ms(2);
	}
	return rig_ms() - start;
}

static int on_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

int rig_remove(const char *path)
{
	return nftw(path, on_remove, 16, FTW_PHYS | FTW_DEPTH);
}

static void kill_all(void)
{
	struct rig_process list[64];
	size_t n;

	while ((n = rig_processes(NULL, list, 64)) > 0) {
		for (size_t i = 0; i < n && i < 64; i++)
			kill(list[i].pid, SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		rig_sleep_ms(5);
	}
}

int rig_clean(void **state)
{
	(void)state;
	if (rig_nothing_left() >= 0)
		return 0;
	/* The next test is not to suffer from it. */
	kill_all();
	rig_remove(folder);
	fds_at_start = rig_fds(getpid());
	return -1;
}

/* --- the surroundings --------------------------------------------------------- */

static void set_program(const char *variable, const char *name)
{
	char path[4200];

	snprintf(path, sizeof(path), "%s/%s", build, name);
	setenv(variable, path, 1);
}

int rig_setup(void **state)
{
	char *slash;
	ssize_t n;

	(void)state;
	/* This lies somewhere below it. */
	n = readlink("/proc/self/exe", build, sizeof(build) - 1);
	if (n < 0)
		return -1;
	build[n] = '\0';
	do {
		slash = strrchr(build, '/');
		if (!slash)
			return -1;
		*slash = '\0';
		set_program("VIRTMGR", "virtmgr");
	} while (access(getenv("VIRTMGR"), X_OK) < 0);
	set_program("VMM", "vmm");
	set_program("VIRTUALIZATIONSERVICE", "virtualizationservice");
	snprintf(runtime, sizeof(runtime), "/tmp/vmm-test-XXXXXX");
	if (!mkdtemp(runtime))
		return -1;
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	snprintf(folder, sizeof(folder), "%s/virtualizationservice", runtime);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return -1;
	fds_at_start = rig_fds(getpid());
	/* On a host of its own; elsewhere others may have VMs. */
	cgroups_matter = getenv("CGROUPS") != NULL;
	return 0;
}

int rig_teardown(void **state)
{
	(void)state;
	kill_all();
	return rig_remove(runtime);
}
