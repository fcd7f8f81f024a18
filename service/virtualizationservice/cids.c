/* CIDs and their leases; see cids.h. One thread. */
#include "service/virtualizationservice/cids.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/opt.h"

#define TAG "cids"
#define TOKEN_BYTES 16
#define NAME_LEN 8
/* inotify tells of a close just before the kernel drops the lock. */
#define SETTLE_US 10000

enum slot_state { SLOT_FREE, SLOT_TAKEN, SLOT_LINGERING };

struct slot {
	enum slot_state state;
	unsigned *count; /* that it is charged to */
};

struct cids {
	const struct cids_ops *ops;
	void *userdata;
	char *path; /* of the folder of leases */
	int folder_fd, dir_fd, last_fd;
	uint32_t first, last; /* the range */
	uint32_t given; /* the last one given */
	unsigned lingering;
	sd_event_source *watch, *settle;
	bool closed_meanwhile; /* since settle was set */
	struct slot slots[CID_LAST + 1];
};

static const char *name_of(uint32_t cid, char name[static NAME_LEN])
{
	snprintf(name, NAME_LEN, "%" PRIu32, cid);
	return name;
}

/* Whether nobody holds the lease; it is removed then. */
static bool lease_free(struct cids *c, uint32_t cid)
{
	char name[NAME_LEN];
	/* For writing, since cids_watch() does not look at the closing of such files.
	 */
	AUTO_CLOSE int fd = openat(c->dir_fd, name_of(cid, name),
				   O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return errno == ENOENT;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	unlinkat(c->dir_fd, name, 0);
	return true;
}

static void slot_free(struct slot *slot)
{
	(*slot->count)--;
	slot->state = SLOT_FREE;
}

static int lease_read(struct cids *c, uint32_t cid, char line[static CID_LEASE_LEN])
{
	char name[NAME_LEN];
	AUTO_CLOSE int fd = openat(c->dir_fd, name_of(cid, name),
				   O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : pread(fd, line, CID_LEASE_LEN - 1, 0);

	if (n < 0)
		return -errno;
	line[n] = '\0';
	return 0;
}

/* --- the folder -------------------------------------------------------------- */

/* A lease that is there at the start: another service gave it. */
static int inherit(struct cids *c, uint32_t cid)
{
	struct slot *slot = &c->slots[cid];
	char line[CID_LEASE_LEN];
	uid_t uid = 0;

	if (lease_free(c, cid))
		return 0;
	if (lease_read(c, cid, line) == 0)
		uid = (uid_t)strtoul(line, NULL, 10);
	slot->count = c->ops->count(c->userdata, uid);
	if (!slot->count)
		return -ENOMEM;
	slot->state = SLOT_LINGERING;
	(*slot->count)++;
	c->lingering++;
	return 0;
}

static int inherit_all(struct cids *c)
{
	int fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	uint64_t cid;
	int r = 0;

	if (!dir) {
		r = -errno;
		cleanup_close(&fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir)))
		/* Beyond the range, too: it is another one than the last time. */
		if (opt_number(entry->d_name, &cid) == 0 && cid <= CID_LAST)
			r = inherit(c, (uint32_t)cid);
	closedir(dir);
	return r;
}

/*
 * Two services with one folder would take one another's unlocked leases for stale. The
 * other is about to end, where there is one: it has given up the socket.
 */
static int lock_folder(struct cids *c, struct err *err)
{
	int r = flock(c->dir_fd, LOCK_EX | LOCK_NB);

	if (r < 0 && errno == EWOULDBLOCK) {
		log_debug(TAG, "%s: waiting for another service to end", c->path);
		do
			r = flock(c->dir_fd, LOCK_EX);
		while (r < 0 && errno == EINTR);
	}
	return r < 0 ? err_sys(err, -errno, "%s", c->path) : 0;
}

/* The folder of leases, made and locked; one that ends may take it away meanwhile. */
static int open_leases(struct cids *c, struct err *err)
{
	struct stat st;
	int r;

	for (;;) {
		if (mkdirat(c->folder_fd, "cid", 0700) < 0 && errno != EEXIST)
			return err_sys(err, -errno, "%s", c->path);
		c->dir_fd = openat(c->folder_fd, "cid",
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (c->dir_fd < 0 && errno == ENOENT)
			continue;
		if (c->dir_fd < 0)
			return err_sys(err, -errno, "%s", c->path);
		r = lock_folder(c, err);
		if (r < 0 || fstat(c->dir_fd, &st) < 0 || st.st_nlink > 0)
			return r;
		close(TAKE_FD(c->dir_fd));
	}
}

static int open_folder(struct cids *c, const char *folder, struct err *err)
{
	c->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->folder_fd < 0)
		return err_sys(err, -errno, "%s", folder);
	c->last_fd = openat(c->folder_fd, "last-cid",
			    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->last_fd < 0)
		return err_sys(err, -errno, "%s/last-cid", folder);
	return open_leases(c, err);
}

static uint32_t read_last(struct cids *c, uint32_t start)
{
	char text[16] = "";
	uint64_t last;

	if (pread(c->last_fd, text, sizeof(text) - 1, 0) > 0) {
		text[strcspn(text, "\n")] = '\0';
		if (opt_number(text, &last) == 0 && last >= c->first && last <= c->last)
			return (uint32_t)last;
	}
	return start > c->first && start <= c->last ? start - 1 : c->last;
}

int cids_new(const char *folder, uint32_t first, uint32_t last, uint32_t start,
	     const struct cids_ops *ops, void *userdata, struct cids **ret_cids,
	     struct err *err)
{
	struct cids *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_sys(err, -ENOMEM, "CIDs");
	c->ops = ops;
	c->userdata = userdata;
	c->folder_fd = c->dir_fd = c->last_fd = -1;
	c->first = first;
	c->last = last;
	if (asprintf(&c->path, "%s/cid", folder) < 0) {
		c->path = NULL;
		r = err_sys(err, -ENOMEM, "CIDs");
	} else {
		r = open_folder(c, folder, err);
	}
	if (r == 0) {
		c->given = read_last(c, start);
		r = inherit_all(c);
		if (r < 0)
			err_sys(err, r, "%s", c->path);
	}
	if (r < 0) {
		cids_free(c);
		return r;
	}
	*ret_cids = c;
	return 0;
}

void cids_free(struct cids *c)
{
	if (!c)
		return;
	sd_event_source_disable_unref(c->watch);
	sd_event_source_disable_unref(c->settle);
	if (c->folder_fd >= 0)
		unlinkat(c->folder_fd, "cid", AT_REMOVEDIR);
	cleanup_close(&c->dir_fd);
	cleanup_close(&c->last_fd);
	cleanup_close(&c->folder_fd);
	free(c->path);
	free(c);
}

/* --- giving and taking back -------------------------------------------------- */

static int lease_write(struct cids *c, const char *name, uid_t uid)
{
	AUTO_CLOSE int fd = openat(c->dir_fd, name,
				   O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW);
	unsigned char token[TOKEN_BYTES];
	char line[CID_LEASE_LEN];
	int n;

	if (fd < 0)
		return -errno;
	if (getrandom(token, sizeof(token), 0) != sizeof(token))
		return -EIO;
	n = snprintf(line, sizeof(line), "%u ", uid);
	for (size_t i = 0; i < sizeof(token); i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%02x", token[i]);
	line[n++] = '\n';
	return write(fd, line, (size_t)n) == n ? 0 : -ENOSPC;
}

/* -EWOULDBLOCK: somebody holds it, though we did not know. */
static int lease_make(struct cids *c, uint32_t cid, uid_t uid, int *ret_fd)
{
	char name[NAME_LEN];
	/* What the VM gets cannot be written: nobody is to fill the folder with it. */
	AUTO_CLOSE int fd = openat(c->dir_fd, name_of(cid, name),
				   O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	r = lease_write(c, name, uid);
	if (r < 0) {
		unlinkat(c->dir_fd, name, 0);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* So that one started anew goes on after it. What fails here costs only that. */
static void write_last(struct cids *c)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%05" PRIu32 "\n", c->given);

	if (pwrite(c->last_fd, text, (size_t)n, 0) != n)
		log_warn(TAG, "last-cid: %m");
}

static int take_next(struct cids *c, uid_t uid, unsigned *count, uint32_t *ret_cid,
		     int *ret_lease)
{
	uint32_t cid = c->given;
	int r = -EWOULDBLOCK;

	for (uint32_t i = c->first; r == -EWOULDBLOCK && i <= c->last; i++) {
		cid = cid == c->last ? c->first : cid + 1;
		if (c->slots[cid].state == SLOT_FREE)
			r = lease_make(c, cid, uid, ret_lease);
	}
	if (r < 0)
		return r;
	c->slots[cid] = (struct slot){ SLOT_TAKEN, count };
	(*count)++;
	c->given = *ret_cid = cid;
	write_last(c);
	return 0;
}

int cids_take(struct cids *c, uid_t uid, uint32_t *ret_cid, int *ret_lease,
	      struct err *err)
{
	unsigned *count = c->ops->count(c->userdata, uid);
	int r;

	if (!count)
		return err_sys(err, -ENOMEM, "CIDs");
	r = take_next(c, uid, count, ret_cid, ret_lease);
	if (r == -EWOULDBLOCK && c->lingering) {
		/* Some may be free of which we have not heard yet. */
		cids_sweep(c);
		r = take_next(c, uid, count, ret_cid, ret_lease);
	}
	if (r == -EWOULDBLOCK)
		return err_set(err, -EDQUOT, "CIDs: all %" PRIu32 " are in use",
			       c->last - c->first + 1);
	return r < 0 ? err_sys(err, r, "%s", c->path) : 0;
}

int cids_adopt(struct cids *c, uint32_t cid, uid_t uid, const char *line,
	       struct err *err)
{
	struct slot *slot = cid <= CID_LAST ? &c->slots[cid] : NULL;
	char held[CID_LEASE_LEN];

	if (!slot || slot->state == SLOT_FREE)
		return err_set(err, -EINVAL, "CID %" PRIu32 ": has no lease", cid);
	if (slot->state == SLOT_TAKEN)
		return err_set(err, -EBADFD, "CID %" PRIu32 ": has a VM already", cid);
	/* The number at the line's start is the uid it was given to. */
	if (lease_read(c, cid, held) < 0 || strcmp(held, line) != 0 ||
	    strtoul(held, NULL, 10) != uid)
		return err_set(err, -EINVAL, "CID %" PRIu32 ": is not of this lease",
			       cid);
	if (lease_free(c, cid)) {
		slot_free(slot);
		c->lingering--;
		return err_set(err, -EINVAL, "CID %" PRIu32 ": nobody holds its lease",
			       cid);
	}
	slot->state = SLOT_TAKEN;
	c->lingering--;
	return 0;
}

void cids_give_back(struct cids *c, uint32_t cid)
{
	struct slot *slot = &c->slots[cid];

	if (lease_free(c, cid)) {
		slot_free(slot);
		return;
	}
	slot->state = SLOT_LINGERING;
	c->lingering++;
}

unsigned cids_lingering(const struct cids *c)
{
	return c->lingering;
}

static void look_again(struct cids *c, uint32_t cid)
{
	struct slot *slot = &c->slots[cid];

	if (slot->state != SLOT_LINGERING || !lease_free(c, cid))
		return;
	slot_free(slot);
	c->lingering--;
}

void cids_sweep(struct cids *c)
{
	for (uint32_t cid = 0; c->lingering && cid <= CID_LAST; cid++)
		look_again(c, cid);
}

/* --- noticing ---------------------------------------------------------------- */

static void start_to_settle(struct cids *c)
{
	c->closed_meanwhile = false;
	sd_event_source_set_time_relative(c->settle, SETTLE_US);
	sd_event_source_set_enabled(c->settle, SD_EVENT_ONESHOT);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *arg)
{
	struct cids *c = arg;

	(void)source;
	(void)usec;
	cids_sweep(c);
	if (c->closed_meanwhile)
		start_to_settle(c);
	c->ops->freed(c->userdata);
	return 0;
}

static int on_closed(sd_event_source *source, const struct inotify_event *event,
		     void *arg)
{
	struct cids *c = arg;

	(void)source;
	(void)event;
	if (!c->lingering)
		return 0;
	if (sd_event_source_get_enabled(c->settle, NULL) > 0)
		c->closed_meanwhile = true;
	else
		start_to_settle(c);
	return 0;
}

int cids_watch(struct cids *c, sd_event *event, struct err *err)
{
	int r;

	r = sd_event_add_time_relative(event, &c->settle, CLOCK_MONOTONIC, 0, 1,
				       on_settled, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->settle, SD_EVENT_OFF);
	/* Leases are read-only open files; what else is closed here was opened by us.
	 */
	if (r >= 0)
		r = sd_event_add_inotify(event, &c->watch, c->path, IN_CLOSE_NOWRITE,
					 on_closed, c);
	return r < 0 ? err_sys(err, r, "%s", c->path) : 0;
}
