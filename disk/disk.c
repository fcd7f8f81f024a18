/*
 * What all image formats share; see disk.h. The checks stand here once, so that
 * a format's functions see only requests that make sense.
 */
#include "disk/disk.h"

#include <errno.h>

#include "base/bytes.h"
#include "disk/raw.h"

int disk_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err)
{
	uint32_t bs = cfg->block_size;
	struct disk *d;
	int r;

	if (bs < 512 || bs > 4096 || (bs & (bs - 1)))
		return err_set(err, -EINVAL,
			       "block-size=%u: must be 512, 1024, 2048 or 4096", bs);
	r = raw_open(cfg, &d, err);
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
	if (d)
		d->ops->close(d);
}

static int check(const struct disk *d, uint64_t off, const struct iovec *iov,
		 unsigned n)
{
	uint64_t len = 0;

	for (unsigned i = 0; i < n; i++)
		if (__builtin_add_overflow(len, iov[i].iov_len, &len))
			return -EINVAL;
	if (!range_within(off, len, d->size) || ((off | len) & (d->align - 1)))
		return -EINVAL;
	return 0;
}

int disk_read(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n)
{
	int r = check(d, off, iov, n);

	return r < 0 ? r : d->ops->read(d, off, iov, n);
}

int disk_write(struct disk *d, uint64_t off, const struct iovec *iov, unsigned n)
{
	int r = d->read_only ? -EROFS : check(d, off, iov, n);

	return r < 0 ? r : d->ops->write(d, off, iov, n);
}

int disk_flush(struct disk *d)
{
	if (d->read_only)
		return 0;
	/*
	 * The kernel reports a write-back error once per open file and drops the
	 * pages: a later fdatasync() that succeeds says nothing about them.
	 */
	if (!d->flush_err)
		d->flush_err = d->ops->flush(d);
	return d->flush_err;
}
