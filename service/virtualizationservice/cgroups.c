/* Removing cgroups; see cgroups.h. */
#include "service/virtualizationservice/cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define ROOT "/sys/fs/cgroup/"
#define PREFIX "vmm-"
/* Of one that could be waited for; beyond, they are left alone. */
#define MAX_WAITING 4096

struct waiting {
	LIST_ENTRY(waiting) entry;
	struct cgroups *owner;
	sd_event_source *watch;
	int parent_fd;
	char name[NAME_MAX + 1];
};

struct cgroups {
	sd_event *event;
	cgroups_idle_fn *idle;
	void *userdata;
	unsigned n;
	LIST_HEAD(, waiting) waiting;
};

struct cgroups *cgroups_new(sd_event *event, cgroups_idle_fn *idle, void *userdata)
{
	struct cgroups *c = calloc(1, sizeof(*c));

	if (c) {
		c->event = event;
		c->idle = idle;
		c->userdata = userdata;
	}
	return c;
}

static void waiting_free(struct waiting *w)
{
	sd_event_source_disable_unref(w->watch);
	cleanup_close(&w->parent_fd);
	free(w);
}

static void forget(struct waiting *w)
{
	LIST_REMOVE(w, entry);
	w->owner->n--;
	waiting_free(w);
}

void cgroups_free(struct cgroups *c)
{
	if (!c)
		return;
	while (!LIST_EMPTY(&c->waiting))
		forget(LIST_FIRST(&c->waiting));
	free(c);
}

bool cgroups_busy(const struct cgroups *c)
{
	return c->n > 0;
}

bool cgroups_path_ok(const char *path)
{
	const char *name = strrchr(path, '/');

	return strncmp(path, ROOT, strlen(ROOT)) == 0 && strlen(path) < PATH_MAX &&
	       strncmp(name + 1, PREFIX, strlen(PREFIX)) == 0 &&
	       strlen(name + 1) <= NAME_MAX;
}

/*
 * The folder @path is in. From the root of all cgroups and by no link, so that nobody
 * leads us into a file system of his own, which could keep us waiting.
 */
static int open_parent(const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	const char *below = path + strlen(ROOT), *name = strrchr(below, '/');
	AUTO_FREE char *parent = name ? strndup(below, (size_t)(name - below))
				      : strdup(".");
	AUTO_CLOSE int root = open(ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	long fd;

	if (!parent)
		return -ENOMEM;
	if (root < 0)
		return -errno;
	fd = syscall(SYS_openat2, root, parent, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

/* Whether it is a cgroup, of version 2, that is this user's. */
static bool is_users(int parent_fd, const char *name, uid_t uid)
{
	struct statfs fs;
	struct stat st;

	return fstatfs(parent_fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC &&
	       fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode) && st.st_uid == uid;
}

/* False while somebody is in it. */
static bool try_remove(const struct waiting *w)
{
	if (unlinkat(w->parent_fd, w->name, AT_REMOVEDIR) == 0 || errno != EBUSY) {
		log_debug("cgroups", "%s: %m", w->name);
		return true;
	}
	return false;
}

static int on_events(sd_event_source *source, const struct inotify_event *event,
		     void *arg)
{
	struct waiting *w = arg;
	struct cgroups *c = w->owner;

	(void)source;
	(void)event;
	if (!try_remove(w))
		return 0;
	forget(w);
	if (!c->n)
		c->idle(c->userdata);
	return 0;
}

/* "populated" changes in cgroup.events. */
static int watch(struct waiting *w)
{
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "/proc/self/fd/%d/%s/cgroup.events", w->parent_fd,
		     w->name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return sd_event_add_inotify(w->owner->event, &w->watch, path, IN_MODIFY,
				    on_events, w);
}

void cgroups_remove(struct cgroups *c, const char *path, uid_t uid)
{
	struct waiting *w;
	int fd;

	if (!cgroups_path_ok(path) || c->n >= MAX_WAITING)
		return;
	fd = open_parent(path);
	w = fd < 0 ? NULL : calloc(1, sizeof(*w));
	if (!w) {
		cleanup_close(&fd);
		return;
	}
	w->owner = c;
	w->parent_fd = fd;
	snprintf(w->name, sizeof(w->name), "%s", strrchr(path, '/') + 1);
	/* Once more after the watch is there: it may have become empty before. */
	if (!is_users(fd, w->name, uid) || try_remove(w) || watch(w) < 0 ||
	    try_remove(w)) {
		waiting_free(w);
		return;
	}
	LIST_INSERT_HEAD(&c->waiting, w, entry);
	c->n++;
}
