/*
 * Opening composite disk images; see composite.h. An image is COMPOSITE_MAGIC and one
 * protobuf message (proto.h) to the end of the file.
 */
#include "disk/composite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "disk/format.h"
#include "disk/proto.h"

#define MAX_VERSION 2
#define DIRECT_ALIGN 4096
#define MAX_IMAGE (8u << 20) /* PROTO_MAX_COMPONENTS of the longest paths and more */

static int lock_image(int fd, const struct disk_cfg *cfg, struct err *err)
{
	if (!cfg->lock ||
	    flock(fd, (cfg->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(err, -EBUSY,
			       "image %s: in use by another process or disk (lock)",
			       cfg->path);
	return err_sys(err, -errno, "image %s: cannot lock it", cfg->path);
}

static int read_message(int fd, uint64_t size, const char *path,
			struct proto_composite *ret, struct err *err)
{
	AUTO_FREE char *buf = NULL;
	size_t len;
	ssize_t n;
	int r;

	if (size < COMPOSITE_MAGIC_LEN || size > MAX_IMAGE)
		return err_set(err, -EINVAL, "image %s: too %s to be a composite disk",
			       path, size > MAX_IMAGE ? "large" : "short");
	/* An inherited descriptor may be one for direct I/O: whole blocks, aligned. */
	len = (size_t)size;
	buf = aligned_alloc(DIRECT_ALIGN, align_up(len, DIRECT_ALIGN));
	if (!buf)
		return err_sys(err, -ENOMEM, "image %s", path);
	n = pread(fd, buf, align_up(len, DIRECT_ALIGN), 0);
	if (n < (ssize_t)len)
		return err_sys(err, n < 0 ? -errno : -ENODATA,
			       "image %s: cannot read it", path);
	if (memcmp(buf, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN) != 0)
		return err_set(err, -EINVAL, "image %s: is not a composite disk", path);
	r = proto_decode(buf + COMPOSITE_MAGIC_LEN, len - COMPOSITE_MAGIC_LEN, ret,
			 err);
	return r < 0 ? err_prefix(err, r, "image %s", path) : 0;
}

/* What a component's path means: *@ret_path is allocated. */
static int resolve(const struct disk_cfg *cfg, const char *path, bool told,
		   char **ret_path, struct err *err)
{
	const char *slash = strrchr(cfg->path, '/');
	size_t dir = slash ? (size_t)(slash + 1 - cfg->path) : 0;
	char *p;

	if (!*path)
		return err_set(err, -EINVAL, "image %s: a component has no path",
			       cfg->path);
	if (!told && !file_is_inherited(path))
		return err_set(
			err, -EPERM,
			"image %s: wants to open %s: without format=composite it may open nothing but descriptors (/proc/self/fd/N)",
			cfg->path, path);
	if (*path == '/')
		dir = 0;
	else if (file_is_inherited(cfg->path))
		return err_set(
			err, -EINVAL,
			"image %s: component %s: a relative path, and a descriptor has no folder",
			cfg->path, path);
	p = malloc(dir + strlen(path) + 1);
	if (!p)
		return err_sys(err, -ENOMEM, "image %s", cfg->path);
	memcpy(p, cfg->path, dir);
	memcpy(p + dir, path, strlen(path) + 1);
	*ret_path = p;
	return 0;
}

/* @len: of the slot. */
static int open_part(const struct disk_cfg *cfg, int depth, bool told,
		     const struct proto_component *from, uint64_t len,
		     struct composite_part *part, struct err *err)
{
	AUTO_FREE char *path = NULL;
	struct disk_cfg sub = *cfg;
	int r = resolve(cfg, from->path, told, &path, err);

	if (r < 0)
		return r;
	sub.path = path;
	sub.read_only = cfg->read_only || !from->writable;
	sub.format = from->writable ? DISK_RAW : DISK_AUTO;
	part->offset = from->offset;
	part->file_offset = from->file_offset;
	r = format_open(&sub, depth + 1, &part->disk, err);
	if (r == 0 && sub.direct &&
	    !composite_fits(part->disk->align, part->offset, part->file_offset, len)) {
		/* Such a slot can be cut at any byte: through the page cache, then. */
		log_debug("disk", "%s: component %s: not aligned for direct I/O",
			  cfg->path, path);
		disk_close(part->disk);
		part->disk = NULL;
		sub.direct = false;
		r = format_open(&sub, depth + 1, &part->disk, err);
	}
	return r < 0 ? err_prefix(err, r, "image %s", cfg->path) : 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct proto_component *x = a, *y = b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Their order in the image says nothing; that their offsets differ, composite_new(). */
static int open_parts(const struct disk_cfg *cfg, int depth, bool told, int fd,
		      struct proto_composite *image, struct disk **ret_disk,
		      struct err *err)
{
	struct composite_part *parts = calloc(image->n + 1, sizeof(*parts));
	int r = 0;

	if (!parts)
		return err_sys(err, -ENOMEM, "image %s", cfg->path);
	if (image->n > 0)
		qsort(image->components, image->n, sizeof(*image->components),
		      by_offset);
	for (size_t i = 0; r == 0 && i < image->n; i++) {
		const struct proto_component *from = &image->components[i];
		uint64_t end = i + 1 < image->n ? from[1].offset : image->length;

		r = open_part(cfg, depth, told, from, end - from->offset, &parts[i],
			      err);
	}
	if (r == 0)
		r = composite_new(cfg->path, parts, image->n, image->length,
				  cfg->read_only, fd, ret_disk, err);
	for (size_t i = 0; r < 0 && i < image->n; i++)
		disk_close(parts[i].disk);
	free(parts);
	return r;
}

int composite_open(const struct disk_cfg *cfg, int depth, bool told,
		   struct disk **ret_disk, struct err *err)
{
	struct proto_composite image = { 0 };
	AUTO_CLOSE int fd = -1;
	uint64_t size;
	int r;

	fd = file_open_regular("image", cfg->path, O_RDONLY, &size, err);
	if (fd < 0)
		return fd;
	r = lock_image(fd, cfg, err);
	if (r == 0)
		r = read_message(fd, size, cfg->path, &image, err);
	if (r < 0)
		return r;
	if (image.version > MAX_VERSION)
		r = err_set(err, -EINVAL,
			    "image %s: composite disk version %llu is not known",
			    cfg->path, (unsigned long long)image.version);
	else
		r = open_parts(cfg, depth, told, fd, &image, ret_disk, err);
	if (r == 0)
		TAKE_FD(fd);
	proto_free(&image);
	return r;
}
