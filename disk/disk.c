/*
 * What all image formats share; see disk.h. The checks stand here once, so that
 * a format's functions see only requests that make sense.
 */
#include "disk/disk.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "disk/format.h"

int disk_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err)
{
	uint32_t bs = cfg->block_size;
	struct disk *d;
	int r;

	if (bs < 512 || bs > 4096 || (bs & (bs - 1)))
		return err_set(err, -EINVAL,
			       "block-size=%u: must be 512, 1024, 2048 or 4096", bs);
	r = format_open(cfg, 0, &d, err);
	if (r < 0)
		return r;
	/* A guest could never reach the tail, and nobody would notice. */
	if (d->size % bs)
		r = err_set(
			err, -EINVAL,
			"image %s: size %llu is not a multiple of block-size=%u (truncate -s %%%u rounds it up)",
			cfg->path, (unsigned long long)d->size, bs, bs);
	else if (d->align > bs)
		r = err_set(
			err, -EINVAL,
			"image %s: block-size=%u is smaller than the %u bytes that direct I/O needs there",
			cfg->path, bs, d->align);
	if (r < 0) {
		disk_close(d);
		return r;
	}
	*ret_disk = d;
	return 0;
}

void disk_close(struct disk *d)
{
	char *name;

	if (!d)
		return;
	name = d->name;
	d->ops->close(d);
	free(name);
}

int disk_attach(struct disk *d, struct engine *engine, struct err *err)
{
	return d->ops->attach ? d->ops->attach(d, engine, err) : 0;
}

static void flush_done(struct disk_req *req, int result)
{
	struct disk *d = req->flushed;

	/*
	 * The kernel reports a write-back error once per open file and drops the
	 * pages: a later fdatasync() that succeeds says nothing about them.
	 */
	if (result < 0 && !d->flush_err)
		d->flush_err = result;
	req->flushed = NULL;
	req->done = req->flush_done;
	req->done(req, d->flush_err);
}

static void flush(struct disk *d, struct disk_req *req)
{
	if (d->read_only || d->flush_err) {
		req->done(req, d->read_only ? 0 : d->flush_err);
		return;
	}
	/* One that comes from a disk above, unchanged, is remembered up there. */
	if (!req->flushed && !d->ops->flushes_below) {
		req->flushed = d;
		req->flush_done = req->done;
		req->done = flush_done;
	}
	d->ops->submit(d, req);
}

void disk_submit(struct disk *d, struct disk_req *req)
{
	if (req->op == DISK_FLUSH) {
		flush(d, req);
		return;
	}
	if (req->op != DISK_READ && d->read_only) {
		req->done(req, -EROFS);
		return;
	}
	if (!range_within(req->off, req->len, d->size) ||
	    ((req->off | req->len) & (d->align - 1))) {
		req->done(req, -EINVAL);
		return;
	}
	if (req->len == 0 || (req->op == DISK_DISCARD && !d->sparse)) {
		req->done(req, 0);
		return;
	}
	if (!d->sparse)
		req->unmap = false;
	d->ops->submit(d, req);
}

int disk_resize(struct disk *d, uint64_t size, struct err *err)
{
	if (d->read_only)
		return err_set(err, -EROFS, "image %s: is read-only", d->name);
	if (!d->ops->resize)
		return err_set(err, -ENOTSUP, "image %s: a %s image cannot be resized",
			       d->name, d->ops->name);
	if (size == 0 || size > INT64_MAX || (size & (d->align - 1)))
		return err_set(err, -EINVAL, "image %s: cannot be %llu bytes long",
			       d->name, (unsigned long long)size);
	return d->ops->resize(d, size, err);
}
