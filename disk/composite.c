/*
 * Requests to composite disks; see composite.h. On the worker's thread; no system
 * calls of its own but those of the allocator.
 */
#include "disk/composite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "disk/split.h"

#define TAG "disk"
#define CHANGES 64 /* at first, then doubled */

struct part {
	struct disk *disk;
	uint64_t off, len, file_off;
	/*
	 * Changes that are done, and how many of them a flush has covered. Counted
	 * rather than flagged: a second flush must wait for what the first is still
	 * busy with, and a write that ends while a flush runs is not covered by it.
	 */
	uint64_t changed, flushed;
	struct log_limit failed;
};

/* A change that was passed on as it is, to be counted when it is done. */
struct change {
	void (*done)(struct disk_req *req, int result); /* the submitter's */
	void *owner;
	struct part *part;
	struct composite *composite;
	struct change *next;
};

/* Allocated in blocks, which live as long as the disk. */
struct change_block {
	struct change_block *next;
	size_t n;
	struct change changes[];
};

struct composite {
	struct disk disk;
	struct part *parts;
	size_t n;
	int fd; /* of the image, for its lock, or -1 */
	struct split_pool splits;
	struct change *free_changes;
	struct change_block *blocks;
	struct log_limit gap;
};

/* --- changes --------------------------------------------------------------- */

static int add_changes(struct composite *c)
{
	size_t n = c->blocks ? c->blocks->n * 2 : CHANGES;
	struct change_block *b = malloc(sizeof(*b) + n * sizeof(b->changes[0]));

	if (!b)
		return -ENOMEM;
	b->n = n;
	b->next = c->blocks;
	c->blocks = b;
	for (size_t i = 0; i < n; i++) {
		b->changes[i].next = c->free_changes;
		c->free_changes = &b->changes[i];
	}
	return 0;
}

static void change_done(struct disk_req *req, int result)
{
	struct change *change = req->owner;

	/* Whatever the result: a part of it may have been written. */
	change->part->changed++;
	req->owner = change->owner;
	req->done = change->done;
	change->next = change->composite->free_changes;
	change->composite->free_changes = change;
	req->done(req, result);
}

/* Take note of @req, which is about to be passed on to @p. */
static int note_change(struct composite *c, struct part *p, struct disk_req *req)
{
	struct change *change = c->free_changes;

	if (!change) {
		if (add_changes(c) < 0)
			return -ENOMEM;
		change = c->free_changes;
	}
	c->free_changes = change->next;
	*change = (struct change){
		.done = req->done, .owner = req->owner, .part = p, .composite = c
	};
	req->done = change_done;
	req->owner = change;
	return 0;
}

/* A piece of a split request. */
static void piece_done(struct split_piece *piece, int result)
{
	struct part *p = piece->part;

	/* After a failed flush each later one asks again, whatever others cover. */
	if (piece->req.op != DISK_FLUSH || result < 0)
		p->changed++;
	else if (result == 0 && p->flushed < piece->seq)
		p->flushed = piece->seq;
}

/* --- requests -------------------------------------------------------------- */

/* The part whose slot holds @off, or NULL: it is before the first. */
static struct part *find(const struct composite *c, uint64_t off)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->parts[mid].off <= off)
			low = mid + 1;
		else
			high = mid;
	}
	return low > 0 ? &c->parts[low - 1] : NULL;
}

/* How much of @len bytes at @off, which is in the slot of @p, is in that slot. */
static uint64_t clip(const struct part *p, uint64_t off, uint64_t len)
{
	uint64_t rest = p->len - (off - p->off);

	return len < rest ? len : rest;
}

static int check(struct part *p, const struct disk_req *req, uint64_t off, uint64_t len)
{
	if (req->op != DISK_READ && p->disk->read_only)
		return -EROFS;
	if (range_within(off - p->off + p->file_off, len, p->disk->size))
		return 0;
	log_guest(&p->failed, TAG,
		  "%s: request at %llu is past the end of component %s (%llu bytes)",
		  req->op == DISK_READ ? "read" : "write", (unsigned long long)off,
		  p->disk->name, (unsigned long long)p->disk->size);
	return -EIO;
}

/* Check a request's way through all parts, and count them. */
static int survey(struct part *p, const struct disk_req *req, unsigned *ret_n)
{
	uint64_t off = req->off, len = req->len;
	unsigned n = 0;

	for (; len > 0; p++, n++) {
		uint64_t here = clip(p, off, len);
		int r = check(p, req, off, here);

		if (r < 0)
			return r;
		off += here;
		len -= here;
	}
	*ret_n = n;
	return 0;
}

static void submit_split(struct composite *c, struct part *p, struct disk_req *req,
			 unsigned n)
{
	struct split *s = split_new(&c->splits, req, n,
				    req->op == DISK_READ ? NULL : piece_done);
	uint64_t off = req->off, len = req->len;

	if (!s) {
		req->done(req, -ENOMEM);
		return;
	}
	for (; len > 0; p++) {
		uint64_t here = clip(p, off, len);

		split_add(s, p->disk, off - p->off + p->file_off, here)->part = p;
		off += here;
		len -= here;
	}
	split_submit(s);
}

static void flush(struct composite *c, struct disk_req *req)
{
	struct split *s;
	unsigned n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->parts[i].changed != c->parts[i].flushed;
	if (n == 0) {
		req->done(req, 0);
		return;
	}
	s = split_new(&c->splits, req, n, piece_done);
	if (!s) {
		req->done(req, -ENOMEM);
		return;
	}
	for (size_t i = 0; i < c->n; i++) {
		struct part *p = &c->parts[i];
		struct split_piece *piece;

		if (p->changed == p->flushed)
			continue;
		piece = split_add(s, p->disk, 0, 0);
		piece->part = p;
		piece->seq = p->changed;
	}
	split_submit(s);
}

static void composite_submit(struct disk *d, struct disk_req *req)
{
	struct composite *c = (struct composite *)d;
	struct part *p;
	unsigned n;
	int r;

	if (req->op == DISK_FLUSH) {
		flush(c, req);
		return;
	}
	p = find(c, req->off);
	if (!p) {
		log_guest(&c->gap, TAG, "%s: no component at offset %llu", d->name,
			  (unsigned long long)req->off);
		req->done(req, -EIO);
		return;
	}
	r = survey(p, req, &n);
	if (r == 0 && n == 1) {
		if (req->op != DISK_READ)
			r = note_change(c, p, req);
		if (r == 0) {
			req->off = req->off - p->off + p->file_off;
			disk_submit(p->disk, req);
			return;
		}
	}
	if (r < 0)
		req->done(req, r);
	else
		submit_split(c, p, req, n);
}

static int composite_attach(struct disk *d, struct engine *engine, struct err *err)
{
	struct composite *c = (struct composite *)d;

	for (size_t i = 0; i < c->n; i++) {
		int r = disk_attach(c->parts[i].disk, engine, err);

		if (r < 0)
			return err_prefix(err, r, "image %s", d->name);
	}
	return 0;
}

/* Everything but the components' disks. */
static void free_shell(struct composite *c)
{
	while (c->blocks) {
		struct change_block *b = c->blocks;

		c->blocks = b->next;
		free(b);
	}
	split_pool_free(&c->splits);
	free(c->parts);
	free(c);
}

static void composite_close(struct disk *d)
{
	struct composite *c = (struct composite *)d;

	for (size_t i = 0; i < c->n; i++)
		disk_close(c->parts[i].disk);
	if (c->fd >= 0)
		close(c->fd);
	free_shell(c);
}

static const struct disk_ops composite_ops = {
	.name = "composite",
	.attach = composite_attach,
	.submit = composite_submit,
	.close = composite_close,
	/* So lack of memory for a split passes, and is not taken for lost data. */
	.flushes_below = true,
};

/* --- making ---------------------------------------------------------------- */

bool composite_fits(uint32_t align, uint64_t offset, uint64_t file_offset, uint64_t len)
{
	return ((offset | file_offset | len) & (align - 1)) == 0;
}

static int set_part(struct composite *c, size_t i, const struct composite_part *from,
		    uint64_t end, struct err *err)
{
	struct part *p = &c->parts[i];
	uint64_t file_end;

	*p = (struct part){ .disk = from->disk,
			    .off = from->offset,
			    .len = end - from->offset,
			    .file_off = from->file_offset };
	if (end <= from->offset)
		return err_set(
			err, -EINVAL,
			i + 1 < c->n
				? "image %s: component %s does not begin before the next one"
				: "image %s: ends before its component %s begins",
			c->disk.name, p->disk->name);
	if (end > INT64_MAX || __builtin_add_overflow(p->file_off, p->len, &file_end) ||
	    file_end > INT64_MAX)
		return err_set(err, -EINVAL,
			       "image %s: component %s: its offsets are out of range",
			       c->disk.name, p->disk->name);
	if (!composite_fits(p->disk->align, p->off, p->file_off, p->len))
		return err_set(
			err, -EINVAL,
			"image %s: component %s: its place is not aligned to the %u bytes that direct I/O needs there",
			c->disk.name, p->disk->name, p->disk->align);
	if (p->disk->align > c->disk.align)
		c->disk.align = p->disk->align;
	if (!p->disk->read_only && p->disk->sparse)
		c->disk.sparse = true;
	return 0;
}

static struct composite *new_shell(const char *name, size_t n, uint64_t size,
				   bool read_only)
{
	struct composite *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->disk = (struct disk){ .ops = &composite_ops,
				 .size = size,
				 .read_only = read_only,
				 .align = 1,
				 .name = strdup(name) };
	c->n = n;
	c->parts = calloc(n, sizeof(*c->parts));
	if (c->disk.name && c->parts && split_pool_init(&c->splits) == 0 &&
	    (read_only || add_changes(c) == 0))
		return c;
	free(c->disk.name);
	free_shell(c);
	return NULL;
}

int composite_new(const char *name, const struct composite_part *parts, size_t n,
		  uint64_t size, bool read_only, int fd, struct disk **ret_disk,
		  struct err *err)
{
	struct composite *c;
	int r = 0;

	if (n == 0)
		return err_set(err, -EINVAL, "image %s: has no components", name);
	c = new_shell(name, n, size, read_only);
	if (!c)
		return err_sys(err, -ENOMEM, "image %s", name);
	c->fd = fd;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = set_part(c, i, &parts[i], i + 1 < n ? parts[i + 1].offset : size,
			     err);
	if (r < 0) {
		free(c->disk.name);
		free_shell(c);
		return r;
	}
	*ret_disk = &c->disk;
	return 0;
}
