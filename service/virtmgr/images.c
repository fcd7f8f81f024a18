/* Files that clients hand over, and disks of them; see images.h. */
#include "service/virtmgr/images.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "disk/composite.h"
#include "disk/composite_create.h"
#include "disk/sparse.h"

#define FD_NAME "/proc/self/fd/%d"
#define FD_NAME_LEN 32

/* --- what a file is ----------------------------------------------------------- */

static const char *kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a pipe";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
		return "a character device";
	case S_IFBLK:
		return "a block device";
	default:
		return "something else"; /* such as an eventfd */
	}
}

int images_check(int fd, unsigned what, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);
	int mode = flags & O_ACCMODE;
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_sys(err, -errno, "is no file");
	if (!S_ISREG(st.st_mode) && !(S_ISBLK(st.st_mode) && (what & FILE_BLOCK)))
		return err_set(err, -EBADMSG, "is %s, not a regular file%s",
			       kind(st.st_mode),
			       what & FILE_BLOCK ? " or block device" : "");
	if ((what & FILE_READ) && (mode == O_WRONLY || (flags & O_PATH)))
		return err_set(err, -EBADMSG, "is not open for reading");
	if ((what & FILE_WRITE) && (mode == O_RDONLY || (flags & O_PATH)))
		return err_set(err, -EBADMSG, "is not open for writing");
	return 0;
}

/* What it begins with, as far as there is so much. */
static size_t read_head(int fd, unsigned char *head, size_t len)
{
	ssize_t n = pread(fd, head, len, 0);

	return n < 0 ? 0 : (size_t)n;
}

/* An image whose parts are other files: theirs would be ours, by our numbers. */
static int refuse_composite(int fd, struct err *err)
{
	unsigned char head[COMPOSITE_MAGIC_LEN];

	if (read_head(fd, head, sizeof(head)) < sizeof(head) ||
	    memcmp(head, COMPOSITE_MAGIC, sizeof(head)) != 0)
		return 0;
	return err_set(
		err, -EBADMSG,
		"is a composite image, whose parts are files of its own: pass these, as partitions");
}

/*
 * The bytes that a guest will see. An Android sparse image tells them in its header;
 * vmm looks at the rest of it.
 */
static int find_size(int fd, bool writable, uint64_t *ret_size, struct err *err)
{
	unsigned char head[28];
	struct stat st;
	uint64_t size;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "its size");
	size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size) < 0)
		return err_sys(err, -errno, "its size");
	if (!writable && read_head(fd, head, sizeof(head)) == sizeof(head) &&
	    memcmp(head, SPARSE_MAGIC, 4) == 0)
		size = (uint64_t)le32_get(head + 12) * le32_get(head + 16);
	*ret_size = size;
	return 0;
}

/* --- composites --------------------------------------------------------------- */

/* A file in memory that cannot change any more; opened anew, for reading only. */
static int sealed_file(const char *name, const void *bytes, size_t len, struct err *err)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char path[FD_NAME_LEN];
	const char *p = bytes;
	int read_only;

	for (size_t at = 0; fd >= 0 && at < len;) {
		ssize_t n = pwrite(fd, p + at, len - at, (off_t)at);

		if (n <= 0)
			return err_sys(err, n < 0 ? -errno : -ENOSPC, "its tables");
		at += (size_t)n;
	}
	if (fd < 0 ||
	    fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_sys(err, -errno, "its tables");
	/* vmm believes the magic of a composite only where no guest can write it. */
	snprintf(path, sizeof(path), FD_NAME, fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	return read_only < 0 ? err_sys(err, -errno, "its tables") : read_only;
}

/* One, given to the child: its number there. */
static int pass_file(struct launch *l, const char *name, const void *bytes, size_t len,
		     struct err *err)
{
	int fd = sealed_file(name, bytes, len, err);

	if (fd < 0)
		return fd;
	fd = launch_fd(l, fd);
	return fd < 0 ? err_sys(err, fd, "its tables") : fd;
}

/* A file that some disk has. */
struct used {
	dev_t dev;
	ino_t ino;
	bool writable;
};

struct build {
	struct launch *launch;
	char filler[FD_NAME_LEN]; /* "": there is none so far */
	struct used *used;
	size_t n_used;
};

/*
 * Two places of the guest's for the same bytes are fine as long as none of them can
 * change them. vmm's locks see that only if they are not the same open file, too.
 */
static int use_once(struct build *b, int fd, bool writable, struct err *err)
{
	struct used *more = reallocarray(b->used, b->n_used + 1, sizeof(*more));
	struct used u = { .writable = writable };
	struct stat st;

	if (!more)
		return err_sys(err, -ENOMEM, "its descriptor");
	b->used = more;
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "is no file");
	u.dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	u.ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
	for (size_t i = 0; i < b->n_used; i++)
		if (b->used[i].dev == u.dev && b->used[i].ino == u.ino &&
		    (b->used[i].writable || writable))
			return err_set(
				err, -EBADMSG,
				"is a file of this VM's disks twice, and is writable");
	b->used[b->n_used++] = u;
	return 0;
}

/*
 * What a guest must not write, vmm shall not be able to, either. Where it cannot be
 * opened anew, by whom it was passed on, it stays as it is.
 */
static void narrow(int *fd)
{
	int flags = fcntl(*fd, F_GETFL), read_only;
	char path[FD_NAME_LEN];

	if ((flags & O_ACCMODE) != O_RDWR)
		return;
	snprintf(path, sizeof(path), FD_NAME, *fd);
	read_only = open(path, (flags & O_DIRECT) | O_RDONLY | O_NOCTTY | O_CLOEXEC);
	if (read_only < 0)
		return;
	close(*fd);
	*fd = read_only;
}

/* Check the image of a disk or partition, and give it to the child: its number there.
 */
static int take_image(struct build *b, int *fd, bool writable, uint64_t *ret_size,
		      struct err *err)
{
	unsigned what = FILE_READ | FILE_BLOCK | (writable ? FILE_WRITE : 0);
	int r = images_check(*fd, what, err);

	if (r == 0 && !writable)
		r = refuse_composite(*fd, err);
	if (r == 0)
		r = find_size(*fd, writable, ret_size, err);
	if (r == 0)
		r = use_once(b, *fd, writable, err);
	if (r < 0)
		return r;
	if (!writable)
		narrow(fd);
	r = launch_fd(b->launch, TAKE_FD(*fd));
	return r < 0 ? err_sys(err, r, "its descriptor") : r;
}

static int pass_filler(struct build *b, struct err *err)
{
	static const unsigned char zeroes[COMPOSITE_FILLER_LEN];
	int n;

	if (*b->filler)
		return 0;
	n = pass_file(b->launch, "filler", zeroes, sizeof(zeroes), err);
	if (n >= 0)
		snprintf(b->filler, sizeof(b->filler), FD_NAME, n);
	return n < 0 ? n : 0;
}

static int describe_partition(struct build *b, struct config_partition *p,
			      struct composite_source *src, char path[FD_NAME_LEN],
			      struct err *err)
{
	int n = take_image(b, &p->image, p->writable, &src->size, err);

	if (n < 0)
		return err_prefix(err, n, "path");
	snprintf(path, FD_NAME_LEN, FD_NAME, n);
	src->label = p->label;
	src->path = path;
	src->writable = p->writable;
	if (p->guid && guid_parse(p->guid, &src->guid) < 0)
		return err_set(err, -EBADMSG, "guid: is not a GUID");
	return 0;
}

/* Lay the disk out: the tables are known only with the parts, and named before them. */
static int build_composite(struct build *b, const struct config_disk *d,
			   const struct composite_source *sources,
			   struct composite_image **ret_image, struct err *err)
{
	char header[FD_NAME_LEN], footer[FD_NAME_LEN];
	const struct composite_names names = { header, footer, b->filler };
	int first = launch_next_fd(b->launch), r;

	snprintf(header, sizeof(header), FD_NAME, first);
	snprintf(footer, sizeof(footer), FD_NAME, first + 1);
	r = composite_build(sources, d->n_partitions, &names, ret_image, err);
	/* The sentence is about a partition by its label. */
	return r == -EINVAL ? err_prefix(err, -EBADMSG, "partitions") : r;
}

/* The number of the image in the child, where it has this @name. */
static int pass_composite(struct build *b, struct config_disk *d, const char *name,
			  struct composite_source *sources, char (*paths)[FD_NAME_LEN],
			  struct err *err)
{
	struct composite_image *im = NULL;
	int r = pass_filler(b, err);

	for (size_t i = 0; r == 0 && i < d->n_partitions; i++) {
		r = describe_partition(b, &d->partitions[i], &sources[i], paths[i],
				       err);
		if (r < 0)
			return vm_config_within(err, r, "partitions", i);
	}
	if (r == 0)
		r = build_composite(b, d, sources, &im, err);
	if (!im)
		return r;
	r = pass_file(b->launch, "header", im->header, sizeof(im->header), err);
	if (r >= 0)
		r = pass_file(b->launch, "footer", im->footer, sizeof(im->footer), err);
	if (r >= 0)
		r = pass_file(b->launch, name, im->spec, im->spec_len, err);
	composite_image_free(im);
	return r;
}

static int add_composite(struct build *b, struct config_disk *d, const char *name,
			 struct err *err)
{
	AUTO_FREE struct composite_source *sources = calloc(d->n_partitions,
							    sizeof(*sources));
	AUTO_FREE char(*paths)[FD_NAME_LEN] = calloc(d->n_partitions, sizeof(*paths));

	if (!sources || !paths)
		return err_sys(err, -ENOMEM, "partitions");
	return pass_composite(b, d, name, sources, paths, err);
}

static int add_image(struct build *b, struct config_disk *d, struct err *err)
{
	uint64_t size;
	int n = take_image(b, &d->image, d->writable, &size, err);

	return n < 0 ? err_prefix(err, n, "image") : n;
}

static int add_disks(struct build *b, struct vm_config *c, struct err *err)
{
	for (size_t i = 0; i < c->n_disks; i++) {
		struct config_disk *d = &c->disks[i];
		char name[32];
		int n;

		snprintf(name, sizeof(name), "disks[%zu]", i);
		n = d->n_partitions ? add_composite(b, d, name, err)
				    : add_image(b, d, err);
		if (n < 0)
			return vm_config_within(err, n, "disks", i);
		/*
		 * It is locked, unlike AVF's: two VMs that write to one disk destroy
		 * it. The lock is the open file's, so it lasts until the client has
		 * closed the file, too.
		 */
		launch_arg(b->launch, "--block");
		if (launch_arg(b->launch, "path=" FD_NAME ",ro=%s", n,
			       d->writable ? "false" : "true") < 0)
			return err_sys(err, -ENOMEM, "%s", name);
	}
	return 0;
}

int images_launch(struct vm_config *c, struct launch *l, struct err *err)
{
	struct build b = { .launch = l };
	int r = add_disks(&b, c, err);

	free(b.used);
	return r;
}
