/*
 * Raw images; see raw.h. Synchronous: the caller's thread waits for the host.
 *
 * Direct I/O: the host wants offsets and lengths aligned, which the disk passes
 * on as disk.align, and memory aligned, which a guest's buffers need not be:
 * such requests go through a bounce buffer.
 *
 * The size is the one at opening. A file that shrinks meanwhile gives -EIO for
 * reads past its new end.
 *
 * System calls after opening: preadv, pwritev, fdatasync.
 */
#include "disk/raw.h"

#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

#define MAX_ALIGN 4096u
#define BOUNCE_SIZE (256u << 10) /* a multiple of MAX_ALIGN */

struct raw {
	struct disk disk;
	int fd;
	uint32_t mem_align; /* direct I/O: of the buffers' addresses */
	unsigned char *bounce; /* direct I/O, else NULL */
};

/* --- requests -------------------------------------------------------------- */

/* All of it, however the host cuts it up. */
static int transfer(const struct raw *r, bool write, uint64_t off,
		    const struct iovec *iov, unsigned n)
{
	size_t done = 0; /* of iov[0] */

	for (;;) {
		struct iovec rest;
		const struct iovec *v;
		ssize_t len;
		int count;

		while (n > 0 && done >= iov->iov_len) {
			done -= iov->iov_len;
			iov++;
			n--;
		}
		if (n == 0)
			return 0;
		v = iov;
		count = n < IOV_MAX ? (int)n : IOV_MAX;
		if (done > 0) {
			rest.iov_base = (char *)iov->iov_base + done;
			rest.iov_len = iov->iov_len - done;
			v = &rest;
			count = 1;
		}
		len = write ? pwritev(r->fd, v, count, (off_t)off)
			    : preadv(r->fd, v, count, (off_t)off);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		if (len == 0) /* the file has shrunk */
			return -EIO;
		done += (size_t)len;
		off += (uint64_t)len;
	}
}

/* Copy @len bytes between @buf and the buffers at @iov, @skip bytes into the first. */
static void copy_buffers(bool gather, const struct iovec **iov, size_t *skip,
			 unsigned char *buf, size_t len)
{
	while (len > 0) {
		unsigned char *p = (unsigned char *)(*iov)->iov_base + *skip;
		size_t part = (*iov)->iov_len - *skip;

		if (part > len)
			part = len;
		if (gather)
			memcpy(buf, p, part);
		else
			memcpy(p, buf, part);
		buf += part;
		len -= part;
		*skip += part;
		if (*skip == (*iov)->iov_len) {
			(*iov)++;
			*skip = 0;
		}
	}
}

static int transfer_bounced(const struct raw *r, bool write, uint64_t off,
			    const struct iovec *iov, uint64_t len)
{
	size_t skip = 0;

	while (len > 0) {
		size_t chunk = len < BOUNCE_SIZE ? len : BOUNCE_SIZE;
		struct iovec v = { r->bounce, chunk };
		int ret;

		if (write)
			copy_buffers(true, &iov, &skip, r->bounce, chunk);
		ret = transfer(r, write, off, &v, 1);
		if (ret < 0)
			return ret;
		if (!write)
			copy_buffers(false, &iov, &skip, r->bounce, chunk);
		off += chunk;
		len -= chunk;
	}
	return 0;
}

static int request(struct disk *d, bool write, uint64_t off, const struct iovec *iov,
		   unsigned n)
{
	const struct raw *r = (const struct raw *)d;
	bool bounce = false;
	uint64_t len = 0;

	for (unsigned i = 0; r->bounce && i < n; i++) {
		/* The kernel wants each piece of a vector to be whole blocks. */
		if (((uintptr_t)iov[i].iov_base & (r->mem_align - 1)) ||
		    (iov[i].iov_len & (d->align - 1)))
			bounce = true;
		len += iov[i].iov_len;
	}
	return bounce ? transfer_bounced(r, write, off, iov, len)
		      : transfer(r, write, off, iov, n);
}

static int raw_read(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n)
{
	return request(d, false, off, iov, n);
}

static int raw_write(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n)
{
	return request(d, true, off, iov, n);
}

static int raw_flush(struct disk *d)
{
	const struct raw *r = (const struct raw *)d;

	while (fdatasync(r->fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

static void raw_close(struct disk *d)
{
	struct raw *r = (struct raw *)d;

	if (r->fd >= 0)
		close(r->fd);
	free(r->bounce);
	free(r);
}

static const struct disk_ops raw_ops = {
	.name = "raw",
	.read = raw_read,
	.write = raw_write,
	.flush = raw_flush,
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
	for (uint32_t len = 512; len <= MAX_ALIGN; len *= 2) {
		struct iovec v = { r->bounce, len };

		if (preadv(r->fd, &v, 1, 0) >= 0)
			return len;
	}
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
	r->bounce = aligned_alloc(MAX_ALIGN, BOUNCE_SIZE);
	if (!r->bounce)
		return err_sys(err, -ENOMEM, "image %s", path);
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
	if (cfg->lock &&
	    flock(r->fd, (cfg->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(
				err, -EBUSY,
				"image %s: in use by another process or disk (lock)",
				path);
		return err_sys(err, -errno, "image %s: cannot lock it", path);
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
	r->disk.align = 1;
	ret = prepare(r, cfg, err);
	if (ret < 0) {
		raw_close(&r->disk);
		return ret;
	}
	*ret_disk = &r->disk;
	return 0;
}
