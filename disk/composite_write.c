/* Writing the files of a composite disk; see composite_create.h. */
#include "disk/composite_create.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/bytes.h"
#include "base/file.h"
#include "disk/composite.h"
#include "disk/format.h"

/* The image comes last: where it is, the others are. */
enum { FILLER, HEADER, FOOTER, IMAGE, N_OUTPUTS };
static const char *const suffix[N_OUTPUTS] = { ".filler", ".header", ".footer", "" };

struct output {
	char *path, *temp;
	bool written; /* temp is there and ours */
	bool placed; /* path is new */
	bool swapped; /* temp is what path was */
};

struct job {
	const char *path, *base; /* of the image; its last part */
	struct output out[N_OUTPUTS];
	struct composite_source *sources; /* with sizes and final paths */
	char **paths; /* of the sources, allocated */
	size_t n;
	struct composite_image *image;
};

/* --- names ----------------------------------------------------------------- */

static bool name_outputs(struct job *j)
{
	uint64_t unique;

	if (getrandom(&unique, sizeof(unique), 0) != sizeof(unique))
		return false;
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		struct output *o = &j->out[i];

		if (asprintf(&o->path, "%s%s", j->path, suffix[i]) < 0) {
			o->path = NULL;
			return false;
		}
		if (asprintf(&o->temp, "%s.%016llx", o->path,
			     (unsigned long long)unique) < 0) {
			o->temp = NULL;
			return false;
		}
	}
	return true;
}

/* Whether output @i, which is there, looks as if we had made it, or is empty. */
static bool is_ours(const struct output *o, unsigned i, off_t size)
{
	char magic[COMPOSITE_MAGIC_LEN];
	AUTO_CLOSE int fd = -1;

	if (size == 0)
		return true;
	if (i != IMAGE)
		return size == (i == FILLER ? COMPOSITE_FILLER_LEN : GPT_AREA_LEN);
	fd = open(o->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, COMPOSITE_MAGIC, sizeof(magic));
}

/* An older composite may be replaced, but nothing else, nor a partition of ours. */
static int check_output(const struct job *j, unsigned which,
			const struct composite_source *sources, struct err *err)
{
	const struct output *o = &j->out[which];
	struct stat st, source;

	if (lstat(o->path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "image %s", o->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EEXIST,
			       "image %s: is there, and is not a regular file",
			       o->path);
	for (size_t i = 0; i < j->n; i++)
		if (stat(sources[i].path, &source) == 0 && source.st_dev == st.st_dev &&
		    source.st_ino == st.st_ino)
			return err_set(err, -EEXIST,
				       "image %s: is the file of partition %s", o->path,
				       sources[i].label);
	if (!is_ours(o, which, st.st_size))
		return err_set(
			err, -EEXIST,
			"image %s: is there, and is not of a composite disk; remove it first, if it can go",
			o->path);
	return 0;
}

static int find_path(const struct job *j, const char *path, char **ret_path,
		     struct err *err)
{
	AUTO_FREE char *cwd = NULL;
	char *p = NULL;

	if (*path == '/' || j->base == j->path) {
		p = strdup(path);
	} else {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return err_sys(err, -errno, "the current folder");
		if (asprintf(&p, "%s/%s", cwd, path) < 0)
			p = NULL;
	}
	if (!p)
		return err_sys(err, -ENOMEM, "image %s", j->path);
	*ret_path = p;
	return 0;
}

/* --- partitions ------------------------------------------------------------ */

/* The size that the reader of the composite will find. */
static int find_size(const struct composite_source *s, uint64_t *ret_size,
		     struct err *err)
{
	const struct disk_cfg cfg = {
		.path = s->path,
		.format = s->writable ? DISK_RAW : DISK_AUTO,
		.read_only = true,
	};
	struct disk *d;
	int r = format_open(&cfg, 1, &d, err);

	if (r < 0)
		return err_prefix(err, r, "partition %s", s->label);
	*ret_size = d->size;
	disk_close(d);
	return 0;
}

/* What a guest writes, no other partition may show: the VM would not start. */
static int check_shared(const struct composite_source *sources, size_t n,
			struct err *err)
{
	AUTO_FREE struct stat *st = calloc(n + 1, sizeof(*st));

	if (!st)
		return err_sys(err, -ENOMEM, "composite disk");
	for (size_t i = 0; i < n; i++) {
		if (stat(sources[i].path, &st[i]) < 0)
			return err_sys(err, -errno, "partition %s: %s",
				       sources[i].label, sources[i].path);
		for (size_t k = 0; k < i; k++) {
			bool block = S_ISBLK(st[i].st_mode) && S_ISBLK(st[k].st_mode);
			bool same = block ? st[i].st_rdev == st[k].st_rdev
					  : st[i].st_dev == st[k].st_dev &&
						    st[i].st_ino == st[k].st_ino;

			if (same && (sources[i].writable || sources[k].writable))
				return err_set(
					err, -EINVAL,
					"partition %s: %s is the file of partition %s, too, so neither may be writable",
					sources[i].label, sources[i].path,
					sources[k].label);
		}
	}
	return 0;
}

static int add_sources(struct job *j, const struct composite_source *sources,
		       struct err *err)
{
	int r = 0;

	j->sources = calloc(j->n + 1, sizeof(*j->sources));
	j->paths = calloc(j->n + 1, sizeof(*j->paths));
	if (!j->sources || !j->paths)
		return err_sys(err, -ENOMEM, "image %s", j->path);
	for (size_t i = 0; r == 0 && i < j->n; i++) {
		struct composite_source *s = &j->sources[i];

		*s = sources[i];
		r = find_size(s, &s->size, err);
		if (r == 0)
			r = find_path(j, s->path, &j->paths[i], err);
		s->path = j->paths[i];
	}
	return r == 0 ? check_shared(sources, j->n, err) : r;
}

/* --- files ----------------------------------------------------------------- */

static int write_file(struct output *o, const void *buf, size_t len, struct err *err)
{
	AUTO_CLOSE int fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
				 0666);
	const char *p = buf;

	if (fd < 0)
		return err_sys(err, -errno, "image %s: cannot create it", o->path);
	o->written = true;
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, -errno, "image %s: cannot write it",
				       o->path);
		p += n;
		len -= (size_t)n;
	}
	/* Else its name may survive a power cut and its bytes not. */
	if (fsync(fd) < 0)
		return err_sys(err, -errno, "image %s: cannot write it", o->path);
	return 0;
}

static int swap(const struct output *o)
{
	return renameat2(AT_FDCWD, o->temp, AT_FDCWD, o->path, RENAME_EXCHANGE);
}

/* What was there stays until all are in place, in case that one cannot be. */
static int put_in_place(struct output *o, struct err *err)
{
	if (swap(o) == 0) {
		o->swapped = true;
		return 0;
	}
	/* Nothing was there, or the file system (NFS, 9p) cannot swap names. */
	if ((errno != ENOENT && errno != EINVAL) || rename(o->temp, o->path) < 0)
		return err_sys(err, -errno, "image %s: cannot create it", o->path);
	o->written = false;
	o->placed = true;
	return 0;
}

static int write_files(struct job *j, struct err *err)
{
	static const unsigned char zeroes[COMPOSITE_FILLER_LEN];
	const struct composite_image *im = j->image;
	const struct {
		const void *buf;
		size_t len;
	} content[N_OUTPUTS] = {
		[FILLER] = { zeroes, sizeof(zeroes) },
		[HEADER] = { im->header, sizeof(im->header) },
		[FOOTER] = { im->footer, sizeof(im->footer) },
		[IMAGE] = { im->spec, im->spec_len },
	};

	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		int r = write_file(&j->out[i], content[i].buf, content[i].len, err);

		if (r < 0)
			return r;
	}
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		int r = put_in_place(&j->out[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static void clean_up(struct job *j, bool failed)
{
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		struct output *o = &j->out[i];

		if (o->swapped && failed)
			(void)swap(o);
		if (o->temp && o->written)
			unlink(o->temp);
		if (o->path && o->placed && failed)
			unlink(o->path);
		free(o->path);
		free(o->temp);
	}
	for (size_t i = 0; j->paths && i < j->n; i++)
		free(j->paths[i]);
	free(j->paths);
	free(j->sources);
	composite_image_free(j->image);
}

static int build(struct job *j, struct err *err)
{
	size_t dir = (size_t)(j->base - j->path);
	/* They lie beside the image, which looks for them in its own folder. */
	const struct composite_names names = { .header = j->out[HEADER].path + dir,
					       .footer = j->out[FOOTER].path + dir,
					       .filler = j->out[FILLER].path + dir };

	return composite_build(j->sources, j->n, &names, &j->image, err);
}

int composite_create(const char *path, const struct composite_source *sources, size_t n,
		     struct err *err)
{
	const char *slash = strrchr(path, '/');
	struct job j = { .path = path, .base = slash ? slash + 1 : path, .n = n };
	int r;

	if (!*j.base || file_is_inherited(path))
		return err_set(
			err, -EINVAL,
			"image %s: must be the name of a file that is to be made",
			path);
	if (!name_outputs(&j)) {
		clean_up(&j, true);
		return err_sys(err, -ENOMEM, "image %s", path);
	}
	r = 0;
	for (unsigned i = 0; r == 0 && i < N_OUTPUTS; i++)
		r = check_output(&j, i, sources, err);
	if (r == 0)
		r = add_sources(&j, sources, err);
	if (r == 0)
		r = build(&j, err);
	if (r == 0)
		r = write_files(&j, err);
	clean_up(&j, r < 0);
	return r;
}
