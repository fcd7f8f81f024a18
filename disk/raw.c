/*
 * Raw images; see raw.h. The engine does the work: here is what a file needs before
 * and between.
 *
 * Direct I/O: the host wants offsets and lengths aligned, which the disk passes
 * on as disk.align, and memory aligned, which a guest's buffers need not be:
 * such requests go through a bounce buffer.
 *
 * The size is the one at opening or resizing. A file that shrinks meanwhile gives -EIO
 * for reads past its new end.
 *
 * System calls after opening: the engine's; ftruncate, fallocate and ioctl of
 * disk_resize().
 */
#include "disk/raw.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "disk/bounce.h"
#include "disk/engine.h"

#define MAX_ALIGN 4096u
#define LOCK_TRIES 30
#define LOCK_PAUSE_MS 10

struct raw {
	struct disk disk; /* first */
	int fd;
	bool is_block; /* a block device */
	uint32_t mem_align; /* direct I/O: of the buffers' addresses; else 1 */
	struct engine *engine; /* NULL until attached */
	unsigned file; /* of the engine */
	struct bounce *bounce; /* where mem_align or disk.align ask for it */
};

/* --- requests -------------------------------------------------------------- */

static int raw_attach(struct disk *d, struct engine *engine, struct err *err)
{
	struct raw *r = (struct raw *)d;
	int file = engine_file(engine, r->fd, err);

	if (file < 0)
		return err_prefix(err, file, "image %s", d->name);
	r->engine = engine;
	r->file = (unsigned)file;
	if (r->mem_align > 1 || d->align > 1) {
		int ret = bounce_new(engine, r->file, &r->bounce);

		if (ret < 0)
			return err_sys(err, ret, "image %s", d->name);
	}
	return 0;
}

/* The kernel wants each piece of a vector to be whole blocks. */
static bool needs_bounce(const struct raw *r, const struct disk_req *req)
{
	for (unsigned i = 0; i < req->n_iov; i++)
		if (((uintptr_t)req->iov[i].iov_base & (r->mem_align - 1)) ||
		    (req->iov[i].iov_len & (r->disk.align - 1)))
			return true;
	return false;
}

static void raw_submit(struct disk *d, struct disk_req *req)
{
	struct raw *r = (struct raw *)d;

	if (r->bounce && (req->op == DISK_READ || req->op == DISK_WRITE) &&
	    needs_bounce(r, req))
		bounce_submit(r->bounce, req);
	else
		engine_submit(r->engine, r->file, req);
}

static int raw_resize(struct disk *d, uint64_t size, struct err *err)
{
	const struct raw *r = (const struct raw *)d;
	uint64_t there;

	if (r->is_block) {
		/* Its size is not ours to change: only what of it is shown. */
		if (ioctl(r->fd, BLKGETSIZE64, &there) < 0)
			return err_sys(err, -errno, "image %s: cannot tell its size",
				       d->name);
		if (size > there)
			return err_set(err, -ENOSPC,
				       "image %s: the device is only %llu bytes long",
				       d->name, (unsigned long long)there);
	} else if (ftruncate(r->fd, (off_t)size) < 0) {
		return err_sys(err, -errno, "image %s: cannot resize it", d->name);
	} else if (!d->sparse && size > d->size &&
		   fallocate(r->fd, 0, (off_t)d->size, (off_t)(size - d->size)) < 0) {
		int ret = -errno;

		(void)!ftruncate(r->fd, (off_t)d->size);
		return err_sys(err, ret, "image %s: no room for %llu bytes", d->name,
			       (unsigned long long)size);
	}
	d->size = size;
	return 0;
}

static void raw_close(struct disk *d)
{
	struct raw *r = (struct raw *)d;

	if (r->fd >= 0)
		close(r->fd);
	bounce_free(r->bounce);
	free(r);
}

static const struct disk_ops raw_ops = {
	.name = "raw",
	.attach = raw_attach,
	.submit = raw_submit,
	.resize = raw_resize,
	.close = raw_close,
};

/* --- opening --------------------------------------------------------------- */

static int get_size(struct raw *r, const char *path, mode_t mode, struct err *err)
{
	struct stat st;

	if (S_ISBLK(mode)) {
		if (ioctl(r->fd, BLKGETSIZE64, &r->disk.size) < 0)
			return err_sys(err, -errno, "image %s: cannot tell its size",
				       path);
	} else {
		if (fstat(r->fd, &st) < 0)
			return err_sys(err, -errno, "image %s", path);
		r->disk.size = (uint64_t)st.st_size;
	}
	if (r->disk.size == 0)
		return err_set(err, -EINVAL, "image %s: is empty", path);
	return 0;
}

/* The smallest length that the host reads directly, or 0. */
static uint32_t probe_align(const struct raw *r)
{
	AUTO_FREE void *buf = aligned_alloc(MAX_ALIGN, MAX_ALIGN);

	for (uint32_t len = 512; buf && len <= MAX_ALIGN; len *= 2)
		if (pread(r->fd, buf, len, 0) >= 0)
			return len;
	return 0;
}

static int get_align(struct raw *r, const char *path, mode_t mode, struct err *err)
{
	uint32_t mem = 0, off = 0;
	struct statx stx;
	int sector;

	/* Linux 6.1 knows, for the file systems that say so. */
	if (statx(r->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN)) {
		mem = stx.stx_dio_mem_align;
		off = stx.stx_dio_offset_align;
	} else if (S_ISBLK(mode)) {
		if (ioctl(r->fd, BLKSSZGET, &sector) == 0)
			mem = off = (uint32_t)sector;
	} else {
		mem = off = probe_align(r);
	}
	if (off == 0 || mem == 0)
		return err_set(err, -EOPNOTSUPP,
			       "image %s: its file system has no direct I/O", path);
	if (off > MAX_ALIGN || mem > MAX_ALIGN || (off & (off - 1)) ||
	    (mem & (mem - 1)))
		return err_set(
			err, -EOPNOTSUPP,
			"image %s: direct I/O there needs alignment to %u bytes, more than %u",
			path, off > mem ? off : mem, MAX_ALIGN);
	r->disk.align = off;
	r->mem_align = mem;
	return 0;
}

/*
 * Make r->fd a direct one. A new open file, because an inherited one is shared
 * with whoever passed it, and its flags with it.
 */
static int set_direct(struct raw *r, const char *path, int flags, struct err *err)
{
	char self[32];
	int fd;

	if (!(flags & O_DIRECT)) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", r->fd);
		fd = open(self, (flags & O_ACCMODE) | O_DIRECT | O_CLOEXEC);
		if (fd < 0 && errno == EINVAL)
			return err_set(err, -EOPNOTSUPP,
				       "image %s: its file system has no direct I/O",
				       path);
		if (fd < 0)
			return err_sys(err, -errno,
				       "image %s: cannot reopen it for direct I/O",
				       path);
		close(r->fd);
		r->fd = fd;
	}
	return 0;
}

static int lock(const struct raw *r, const struct disk_cfg *cfg, struct err *err)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000l };
	int how = (cfg->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;

	/*
	 * The kernel lets go of the files of an io_uring a little after its process
	 * was killed: whoever starts a VM again at once shall not notice.
	 */
	for (unsigned i = 0; flock(r->fd, how) < 0; i++) {
		if (errno != EWOULDBLOCK)
			return err_sys(err, -errno, "image %s: cannot lock it",
				       cfg->path);
		if (i == LOCK_TRIES)
			return err_set(
				err, -EBUSY,
				"image %s: in use by another process or disk (lock)",
				cfg->path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int prepare(struct raw *r, const struct disk_cfg *cfg, struct err *err)
{
	const char *path = cfg->path;
	struct stat st;
	int flags, ret;

	r->fd = file_open("image", path, cfg->read_only ? O_RDONLY : O_RDWR, err);
	if (r->fd < 0)
		return r->fd;
	flags = fcntl(r->fd, F_GETFL);
	if (flags < 0 || fstat(r->fd, &st) < 0)
		return err_sys(err, -errno, "image %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EINVAL,
			       "image %s: not a regular file or block device", path);
	r->is_block = S_ISBLK(st.st_mode);
	/* pwritev() on such a file ignores the offset. */
	if (!cfg->read_only && (flags & O_APPEND))
		return err_set(err, -EINVAL, "image %s: is open for appending", path);
	/* An inherited fd may be direct already: then its rules hold. */
	if (cfg->direct || (flags & O_DIRECT)) {
		flags = (flags & ~O_ACCMODE) | (cfg->read_only ? O_RDONLY : O_RDWR);
		ret = set_direct(r, path, flags, err);
		if (ret < 0)
			return ret;
		ret = get_align(r, path, st.st_mode, err);
		if (ret < 0)
			return ret;
	}
	if (cfg->lock) {
		ret = lock(r, cfg, err);
		if (ret < 0)
			return ret;
	}
	return get_size(r, path, st.st_mode, err);
}

int raw_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err)
{
	struct raw *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return err_sys(err, -ENOMEM, "image %s", cfg->path);
	r->disk.ops = &raw_ops;
	r->disk.read_only = cfg->read_only;
	r->disk.sparse = cfg->sparse;
	r->disk.align = r->mem_align = 1;
	r->disk.name = strdup(cfg->path);
	r->fd = -1;
	ret = r->disk.name ? prepare(r, cfg, err)
			   : err_sys(err, -ENOMEM, "image %s", cfg->path);
	if (ret < 0) {
		disk_close(&r->disk);
		return ret;
	}
	*ret_disk = &r->disk;
	return 0;
}
