/*
 * CIDs for early VMs; see early_registry.h. A CID's lock is a flock() on a file, by an
 * open file that the VM's processes share, so the kernel gives it up with the last of
 * them. The files themselves stay: to remove one would part those who lock the old from
 * those who lock the new.
 */
#include "service/early_virtmgr/early_registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "service/common/bus_error.h"
#include "service/common/death.h"
#include "service/early_virtmgr/caller.h"
#include "service/early_virtmgr/early_vms.h"

#define RUN_DIR "/run/early_virtmgr"

struct early {
	struct registry r; /* first */
	struct caller caller;
	const char *root; /* or NULL */
};

/* --- locks -------------------------------------------------------------------- */

static int open_folder(const struct early *e, struct err *err)
{
	AUTO_FREE char *path = NULL;
	int fd;

	if (asprintf(&path, "%s" RUN_DIR, e->root ?: "") < 0) {
		path = NULL;
		return err_sys(err, -ENOMEM, RUN_DIR);
	}
	/* Root's only, if nobody has made it for a group: who may open a file there may
	 * lock it. */
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "%s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(err, -errno, "%s", path) : fd;
}

/* Opened, or made for whoever may enter the folder; perhaps another does so meanwhile.
 */
static int open_lock(int folder_fd, uint32_t cid)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "%" PRIu32, cid);
	fd = openat(folder_fd, name, flags);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	fd = openat(folder_fd, name, flags | O_CREAT | O_EXCL, 0644);
	if (fd < 0 && errno == EEXIST)
		fd = openat(folder_fd, name, flags);
	else if (fd >= 0)
		(void)fchmod(fd, 0644); /* whatever the umask is */
	return fd < 0 ? -errno : fd;
}

static int lock(const struct early *e, uint32_t cid, int *ret_lease, struct err *err)
{
	AUTO_CLOSE int folder_fd = open_folder(e, err);
	AUTO_CLOSE int fd = -1;

	if (folder_fd < 0)
		return folder_fd;
	fd = open_lock(folder_fd, cid);
	if (fd < 0)
		return err_sys(err, fd, "%s" RUN_DIR "/%" PRIu32, e->root ?: "", cid);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return err_sys(err, -errno, "%s" RUN_DIR "/%" PRIu32,
				       e->root ?: "", cid);
		return err_set(err, -EBADFD,
			       "there is one already, which has its CID, %" PRIu32,
			       cid);
	}
	*ret_lease = TAKE_FD(fd);
	return 0;
}

/* --- what a manager asks ------------------------------------------------------ */

static int find(const struct early *e, const struct early_vms *vms, const char *name,
		uint32_t *ret_cid, struct err *err)
{
	const struct early_vm *vm = early_vms_find(vms, name);
	int r;

	if (!vm)
		return err_set(err, -ENOENT,
			       "no early_vms*.xml in /usr/lib/avf, /usr/local/lib/avf "
			       "or /etc/avf has it");
	r = caller_check(&e->caller, vm->path, err);
	if (r < 0)
		return err_prefix(err, r, "line %u of %s", vm->line, vm->file);
	*ret_cid = vm->cid;
	return 0;
}

static int early_create(struct registry *r, const char *name, uint64_t memory,
			unsigned cpus, uint32_t *ret_cid, int *ret_lease,
			struct err *err)
{
	const struct early *e = (const struct early *)r;
	struct early_vms vms = { 0 };
	uint32_t cid = 0;
	int res;

	(void)memory;
	(void)cpus;
	if (!name)
		return err_set(err, -EBADMSG,
			       "name: is needed, since early VMs are found by it");
	/* Now, and not at the start: a client hears of a mistake, and of its repair. */
	res = early_vms_load(&vms, e->root, err);
	if (res < 0) {
		early_vms_free(&vms);
		return -EIO; /* whatever is wrong there is nothing of the client's */
	}
	res = find(e, &vms, name, &cid, err);
	early_vms_free(&vms);
	if (res == 0)
		res = lock(e, cid, ret_lease, err);
	if (res < 0)
		return err_prefix(err, res, "early VM %s", name);
	*ret_cid = cid;
	return 0;
}

static void early_release(struct registry *r, uint32_t cid)
{
	(void)r;
	(void)cid;
}

/* A VM that is dead has handles yet, and its CID may be wanted for the next. */
static void early_update(struct registry *r, uint32_t cid, int lease, unsigned state,
			 bool suspended, const char *cgroup)
{
	(void)r;
	(void)cid;
	(void)suspended;
	(void)cgroup;
	if (state == VM_DEAD)
		(void)flock(lease, LOCK_UN);
}

static const char *early_kind(struct registry *r)
{
	(void)r;
	return "early";
}

static int refuse(const char *member, struct err *err)
{
	return err_set(err, -ENOTSUP,
		       "%s: there is none for early VMs, which have no service",
		       member);
}

static int early_forward(struct registry *r, const char *member, sd_bus_message *call,
			 sd_bus_error *ret_error)
{
	struct err err;

	(void)r;
	(void)call;
	return bus_error_set(ret_error, refuse(member, &err), &err);
}

static int early_instance_id(struct registry *r, uint8_t *id, struct err *err)
{
	(void)r;
	(void)id;
	return refuse("AllocateInstanceId", err);
}

static void early_free(struct registry *r)
{
	struct early *e = (struct early *)r;

	caller_free(&e->caller);
	free(e);
}

int early_registry_new(int fd, const char *root, struct registry **ret_registry,
		       struct err *err)
{
	static const struct registry_ops ops = {
		.others = 0,
		.create = early_create,
		.release = early_release,
		.update = early_update,
		.kind = early_kind,
		.forward = early_forward,
		.instance_id = early_instance_id,
		.free = early_free,
	};
	struct early *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return err_sys(err, -ENOMEM, "early VMs");
	e->r.ops = &ops;
	e->root = root;
	r = caller_new(fd, &e->caller, err);
	if (r < 0) {
		free(e);
		return r;
	}
	*ret_registry = &e->r;
	return 0;
}
