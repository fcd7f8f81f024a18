/*
 * Android sparse images; see sparse.h. The chunks' places are read once, when it is
 * opened; a file that changes afterwards can only give wrong bytes or errors.
 */
#include "disk/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "disk/raw.h"
#include "disk/split.h"

#define HEADER_LEN 28
#define CHUNK_HEADER_LEN 12
enum {
	CHUNK_RAW = 0xcac1,
	CHUNK_FILL = 0xcac2,
	CHUNK_NONE = 0xcac3,
	CHUNK_CRC = 0xcac4
};

/* Real images have thousands; this is 32 MiB. */
#define MAX_EXTENTS (1u << 20)

/* Of one request, each with memory of its own: 32 MiB of the usual blocks. */
#define MAX_PIECES 8192u

struct extent {
	uint64_t off; /* of the disk; it goes on to the next one's */
	uint64_t file_off; /* of its data; 0: it repeats fill, from the disk's start */
	uint8_t fill[4];
};

struct sparse {
	struct disk disk;
	struct disk *file;
	struct extent *extents; /* ascending, without gaps, from 0 */
	size_t n, room;
	struct split_pool splits;
};

/* --- requests -------------------------------------------------------------- */

/* The extent that holds @off: there is one for each offset. */
static size_t find(const struct sparse *s, uint64_t off)
{
	size_t low = 0, high = s->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (s->extents[mid].off <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* How much of @len bytes at @off is in extent @i. */
static uint64_t clip(const struct sparse *s, size_t i, uint64_t off, uint64_t len)
{
	uint64_t end = i + 1 < s->n ? s->extents[i + 1].off : s->disk.size;

	return len < end - off ? len : end - off;
}

static void sparse_submit(struct disk *d, struct disk_req *req)
{
	struct sparse *s = (struct sparse *)d;
	size_t first = find(s, req->off), i = first;
	const struct extent *e = &s->extents[first];
	uint64_t off = req->off, len = req->len;
	struct split *split;
	unsigned n = 0;

	if (req->op != DISK_READ) { /* disk_submit() lets nothing else through */
		req->done(req, -EROFS);
		return;
	}
	if (e->file_off && clip(s, first, off, len) == len) {
		req->off = off - e->off + e->file_off;
		disk_submit(s->file, req);
		return;
	}
	for (; len > 0; i++) {
		uint64_t here = clip(s, i, off, len);

		n += s->extents[i].file_off != 0;
		off += here;
		len -= here;
	}
	if (n > MAX_PIECES) {
		req->done(req, -EIO);
		return;
	}
	split = split_new(&s->splits, req, n, NULL);
	if (!split) {
		req->done(req, -ENOMEM);
		return;
	}
	off = req->off;
	len = req->len;
	for (i = first; len > 0; i++) {
		uint64_t here = clip(s, i, off, len);

		e = &s->extents[i];
		if (e->file_off)
			split_add(split, s->file, off - e->off + e->file_off, here);
		else
			split_fill(split, here, e->fill, off & 3);
		off += here;
		len -= here;
	}
	split_submit(split);
}

static int sparse_attach(struct disk *d, struct engine *engine, struct err *err)
{
	return disk_attach(((struct sparse *)d)->file, engine, err);
}

static void sparse_close(struct disk *d)
{
	struct sparse *s = (struct sparse *)d;

	disk_close(s->file);
	split_pool_free(&s->splits);
	free(s->extents);
	free(s);
}

static const struct disk_ops sparse_ops = {
	.name = "sparse",
	.attach = sparse_attach,
	.submit = sparse_submit,
	.close = sparse_close,
};

/* --- opening --------------------------------------------------------------- */

struct header {
	uint32_t block_size, blocks, chunks;
	uint16_t len;
};

struct chunk {
	uint16_t type;
	uint64_t len; /* of the disk */
	uint64_t body; /* bytes behind the chunk's header */
};

static int read_header(int fd, struct header *h, struct err *err)
{
	unsigned char b[HEADER_LEN];
	int r = file_read_at(fd, b, sizeof(b), 0);

	if (r < 0)
		return err_sys(err, r, "cannot read its header");
	if (memcmp(b, SPARSE_MAGIC, 4) != 0)
		return err_set(err, -EINVAL, "is not an Android sparse image");
	if (le16_get(b + 4) != 1)
		return err_set(err, -EINVAL, "sparse version %u is not known",
			       le16_get(b + 4));
	h->len = le16_get(b + 8);
	h->block_size = le32_get(b + 12);
	h->blocks = le32_get(b + 16);
	h->chunks = le32_get(b + 20);
	if (h->len < HEADER_LEN || le16_get(b + 10) != CHUNK_HEADER_LEN)
		return err_set(err, -EINVAL, "its sparse headers have unknown lengths");
	if (h->block_size == 0 || h->block_size % 4)
		return err_set(err, -EINVAL, "its block size %u is not a multiple of 4",
			       h->block_size);
	if (h->blocks == 0)
		return err_set(err, -EINVAL, "is empty");
	if ((uint64_t)h->blocks * h->block_size > INT64_MAX)
		return err_set(err, -EINVAL, "is too large");
	return 0;
}

/* The body that a chunk of this type and length must have, or UINT64_MAX. */
static uint64_t body_of(uint16_t type, uint64_t len)
{
	switch (type) {
	case CHUNK_RAW:
		return len;
	case CHUNK_FILL:
		return 4;
	case CHUNK_NONE:
		return 0;
	case CHUNK_CRC: /* not looked at, as nobody does */
		return len == 0 ? 4 : UINT64_MAX;
	}
	return UINT64_MAX;
}

static int read_chunk(int fd, const struct header *h, uint64_t pos, struct chunk *c,
		      struct err *err)
{
	unsigned char b[CHUNK_HEADER_LEN];
	int r = file_read_at(fd, b, sizeof(b), pos);
	uint64_t body;

	if (r < 0)
		return err_sys(err, r, "cannot read a chunk's header");
	c->type = le16_get(b);
	c->len = (uint64_t)le32_get(b + 4) * h->block_size;
	body = body_of(c->type, c->len);
	c->body = body;
	if (body == UINT64_MAX || body + CHUNK_HEADER_LEN != le32_get(b + 8))
		return err_set(err, -EINVAL,
			       "a chunk is of unknown type or wrong length");
	return 0;
}

/* Take in an extent that begins at @off, unless it merely goes on like the last. */
static int add_extent(struct sparse *s, uint64_t off, uint64_t file_off,
		      const uint8_t fill[4], struct err *err)
{
	struct extent *last = s->n ? &s->extents[s->n - 1] : NULL;

	if (!file_off && last && !last->file_off && !memcmp(last->fill, fill, 4))
		return 0;
	if (s->n == MAX_EXTENTS)
		return err_set(err, -EINVAL, "more than %u chunks", MAX_EXTENTS);
	if (!s->extents || s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		void *grown = reallocarray(s->extents, room, sizeof(*s->extents));

		if (!grown)
			return err_sys(err, -ENOMEM, "chunks");
		s->extents = grown;
		s->room = room;
	}
	s->extents[s->n] = (struct extent){ .off = off, .file_off = file_off };
	memcpy(s->extents[s->n++].fill, fill, 4);
	return 0;
}

static int read_chunks(struct sparse *s, int fd, const struct header *h,
		       struct err *err)
{
	uint64_t pos = h->len, off = 0;

	for (uint32_t i = 0; i < h->chunks; i++) {
		uint8_t fill[4] = { 0 };
		struct chunk c = { 0 };
		int r = read_chunk(fd, h, pos, &c, err);

		if (r < 0)
			return r;
		pos += CHUNK_HEADER_LEN;
		if (!range_within(off, c.len, s->disk.size))
			return err_set(err, -EINVAL, "its chunks exceed its size");
		if (c.type == CHUNK_RAW && !range_within(pos, c.body, s->file->size))
			return err_set(err, -EINVAL, "ends within a chunk");
		if (c.type == CHUNK_FILL) {
			r = file_read_at(fd, fill, sizeof(fill), pos);
			if (r < 0)
				return err_sys(err, r, "cannot read a chunk");
		}
		if (c.len > 0)
			r = add_extent(s, off, c.type == CHUNK_RAW ? pos : 0, fill,
				       err);
		if (r < 0)
			return r;
		pos += c.body;
		off += c.len;
	}
	if (off != s->disk.size)
		return err_set(err, -EINVAL, "its chunks do not fill its size");
	return 0;
}

static int read_image(struct sparse *s, const struct disk_cfg *cfg, struct err *err)
{
	struct disk_cfg raw = *cfg;
	AUTO_CLOSE int fd = -1;
	struct header h = { 0 };
	uint64_t size;
	int r;

	fd = file_open_regular("image", cfg->path, O_RDONLY, &size, err);
	if (fd < 0)
		return fd;
	raw.direct = false;
	r = raw_open(&raw, &s->file, err);
	if (r < 0)
		return r;
	if (s->file->align > 1)
		return err_set(
			err, -ENOTSUP,
			"image %s: direct I/O is not possible with Android sparse images",
			cfg->path);
	r = read_header(fd, &h, err);
	if (r == 0) {
		s->disk.size = (uint64_t)h.blocks * h.block_size;
		r = read_chunks(s, fd, &h, err);
	}
	return r < 0 ? err_prefix(err, r, "image %s", cfg->path) : 0;
}

int sparse_open(const struct disk_cfg *cfg, struct disk **ret_disk, struct err *err)
{
	struct sparse *s;
	int r;

	if (!cfg->read_only)
		return err_set(
			err, -EROFS,
			"image %s: an Android sparse image can only be read: add ro=true",
			cfg->path);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(err, -ENOMEM, "image %s", cfg->path);
	s->disk = (struct disk){ .ops = &sparse_ops,
				 .read_only = true,
				 .align = 1,
				 .name = strdup(cfg->path) };
	if (!s->disk.name || split_pool_init(&s->splits) < 0)
		r = err_sys(err, -ENOMEM, "image %s", cfg->path);
	else
		r = read_image(s, cfg, err);
	if (r < 0) {
		disk_close(&s->disk);
		return r;
	}
	*ret_disk = &s->disk;
	return 0;
}
