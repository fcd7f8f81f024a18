/* A VM's control group; see cgroup.h. */
#include "service/virtmgr/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"

#define CPU_PERIOD_US 100000
/* A process that has closed all of its files leaves its group at once. */
#define PATIENCE_MS 200

struct cgroup {
	int dir_fd, parent_fd;
	char *path, *name; /* name: the last part of path */
	cgroup_announce_fn *announce;
	void *arg;
};

/* Where cgroup v2 is: all there is, or beside the hierarchies of v1. */
static const char *mount_point(void)
{
	static const char *const places[] = { "/sys/fs/cgroup",
					      "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (statfs(places[i], &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
			return places[i];
	return NULL;
}

/* The path of this process's own, allocated. */
static int find_own(char **ret_path, struct err *err)
{
	const char *mount = mount_point();
	char line[4096];
	FILE *f = mount ? fopen("/proc/self/cgroup", "re") : NULL;
	int r = -ENOENT;

	while (f && r == -ENOENT && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0)
			r = asprintf(ret_path, "%s%s", mount, line + 3) < 0 ? -ENOMEM
									    : 0;
	}
	if (f)
		fclose(f);
	if (r == 0) {
		/* Of the root, "/" is too much. */
		size_t len = strlen(*ret_path);

		if ((*ret_path)[len - 1] == '/')
			(*ret_path)[len - 1] = '\0';
	}
	return r < 0 ? err_set(err, r, "this host has no cgroup v2") : 0;
}

static int write_file(int dir_fd, const char *name, const char *text)
{
	AUTO_CLOSE int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

static int set_limits(const struct cgroup *c, uint64_t memory, uint64_t cpu_percent,
		      struct err *err)
{
	char text[64];
	int r = 0;

	snprintf(text, sizeof(text), "%" PRIu64, memory);
	if (memory)
		r = write_file(c->dir_fd, "memory.max", text);
	if (r < 0)
		return err_sys(err, r, "%s/memory.max", c->path);
	snprintf(text, sizeof(text), "%" PRIu64 " %u",
		 cpu_percent * CPU_PERIOD_US / 100, CPU_PERIOD_US);
	if (cpu_percent)
		r = write_file(c->dir_fd, "cpu.max", text);
	return r < 0 ? err_sys(err, r, "%s/cpu.max", c->path) : 0;
}

/* Another one below @parent, with its limits, or none. */
static int make(struct cgroup *c, const char *parent, uint64_t memory,
		uint64_t cpu_percent, struct err *err)
{
	int r;

	if (asprintf(&c->path, "%s/%s", parent, c->name) < 0) {
		c->path = NULL;
		return err_sys(err, -ENOMEM, "%s", parent);
	}
	c->announce(c->arg, c->path);
	c->parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->parent_fd < 0 || mkdirat(c->parent_fd, c->name, 0755) < 0)
		return err_sys(err, -errno, "%s", c->path);
	c->dir_fd = openat(c->parent_fd, c->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = c->dir_fd < 0 ? err_sys(err, -errno, "%s", c->path)
			  : set_limits(c, memory, cpu_percent, err);
	if (r == -ENOENT) {
		/* Refused where the parent has processes itself. */
		write_file(c->parent_fd, "cgroup.subtree_control", "+memory");
		write_file(c->parent_fd, "cgroup.subtree_control", "+cpu");
		r = set_limits(c, memory, cpu_percent, err);
	}
	if (r < 0)
		unlinkat(c->parent_fd, c->name, AT_REMOVEDIR);
	return r;
}

static void forget(struct cgroup *c)
{
	cleanup_close(&c->dir_fd);
	cleanup_close(&c->parent_fd);
	free(c->path);
	c->dir_fd = c->parent_fd = -1;
	c->path = NULL;
}

int cgroup_new(uint32_t cid, uint64_t memory, uint64_t cpu_percent,
	       cgroup_announce_fn *announce, void *arg, struct cgroup **ret_cgroup,
	       struct err *err)
{
	AUTO_FREE char *own = NULL;
	struct cgroup *c;
	char *slash;
	int r = find_own(&own, err);

	if (!own)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c || asprintf(&c->name, "vmm-%u-%d", cid, getpid()) < 0) {
		free(c);
		return err_sys(err, -ENOMEM, "a cgroup");
	}
	c->dir_fd = c->parent_fd = -1;
	c->announce = announce;
	c->arg = arg;
	r = make(c, own, memory, cpu_percent, err);
	slash = strrchr(own, '/');
	if (r < 0 && slash > own + strlen(mount_point()) - 1) {
		/* Beside this one: what has processes cannot limit its children. */
		*slash = '\0';
		forget(c);
		r = make(c, own, memory, cpu_percent, err);
	}
	if (r < 0) {
		forget(c);
		free(c->name);
		free(c);
		return r;
	}
	*ret_cgroup = c;
	return 0;
}

/* Until the kernel has noticed that nobody is in it any more. */
static void wait_until_empty(const struct cgroup *c)
{
	AUTO_CLOSE int fd = openat(c->dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	char text[128];
	ssize_t n;

	while (fd >= 0) {
		n = pread(fd, text, sizeof(text) - 1, 0);
		text[n < 0 ? 0 : n] = '\0';
		if (!strstr(text, "populated 1") || poll(&p, 1, PATIENCE_MS) <= 0)
			break;
	}
}

void cgroup_free(struct cgroup *c)
{
	if (!c)
		return;
	if (unlinkat(c->parent_fd, c->name, AT_REMOVEDIR) < 0 && errno == EBUSY) {
		wait_until_empty(c);
		unlinkat(c->parent_fd, c->name, AT_REMOVEDIR);
	}
	forget(c);
	free(c->name);
	free(c);
}

int cgroup_fd(const struct cgroup *c)
{
	return c ? c->dir_fd : -1;
}

const char *cgroup_path(const struct cgroup *c)
{
	return c ? c->path : NULL;
}
