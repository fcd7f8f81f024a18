/* Detection of image formats; see format.h. */
#include "disk/format.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "disk/composite.h"
#include "disk/raw.h"
#include "disk/sparse.h"

#define HEAD 4096u /* of an image that is looked at; of a tail 512 */
#define TAIL 512u

struct magic {
	const char *name; /* as in "is a ..." */
	const char *bytes;
	uint8_t len;
	uint8_t off;
	bool tail; /* in the last 512 bytes */
	bool zstd; /* which qemu-img does not read */
};

#define MAGIC(text) .bytes = (text), .len = sizeof(text) - 1

/* What qemu-img reads and we do not; zstd has no name of its own there. */
static const struct magic foreign[] = {
	{ "qcow2 image", MAGIC("QFI\xfb") },
	{ "QED image", MAGIC("QED\0") },
	{ "VHDX image", MAGIC("vhdxfile") },
	{ "VHD image", MAGIC("conectix") },
	{ "VHD image", MAGIC("conectix"), .tail = true }, /* of fixed size */
	{ "VMDK image", MAGIC("KDMV") },
	{ "VMDK image", MAGIC("COWD") },
	{ "VMDK image", MAGIC("# Disk DescriptorFile") },
	{ "VDI image", MAGIC("\x7f\x10\xda\xbe"), .off = 64 },
	{ "Parallels image", MAGIC("WithoutFreeSpace") },
	{ "Parallels image", MAGIC("WithouFreSpacExt") },
	{ "Bochs image", MAGIC("Bochs Virtual HD Image") },
	{ "DMG image", MAGIC("koly"), .tail = true },
	{ "zstd file", MAGIC("\x28\xb5\x2f\xfd"), .zstd = true },
};

struct image {
	alignas(HEAD) unsigned char head[HEAD]; /* an inherited fd may want direct I/O
						 */
	alignas(HEAD) unsigned char tail[TAIL];
	size_t head_len, tail_len;
	bool fixed; /* by its descriptor: no guest of ours can write into it */
};

/* What there is to see; a file that cannot be read here fails when it is opened. */
static int look(const struct disk_cfg *cfg, struct image *im, struct err *err)
{
	AUTO_CLOSE int fd = file_open("image", cfg->path, O_RDONLY, err);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	im->head_len = im->tail_len = 0;
	im->fixed = file_is_inherited(cfg->path) &&
		    (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "image %s", cfg->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return 0;
	n = pread(fd, im->head, HEAD, 0);
	if (n < 0)
		return err_sys(err, -errno, "image %s: cannot read it", cfg->path);
	im->head_len = (size_t)n;
	if (S_ISREG(st.st_mode) && st.st_size >= (off_t)TAIL) {
		n = pread(fd, im->tail, TAIL, st.st_size - (off_t)TAIL);
		im->tail_len = n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

static bool matches(const struct image *im, const struct magic *m)
{
	const unsigned char *p = m->tail ? im->tail : im->head;
	size_t len = m->tail ? im->tail_len : im->head_len;

	return m->off + m->len <= len && !memcmp(p + m->off, m->bytes, m->len);
}

/* zstd's frames that hold no data (RFC 8878, section 3.1.2). */
static bool is_skippable_frame(const struct image *im)
{
	return im->head_len >= 4 && (le32_get(im->head) & ~0xfu) == 0x184d2a50;
}

static int refuse_foreign(const struct image *im, const char *path, struct err *err)
{
	const struct magic *found = NULL;

	for (size_t i = 0; !found && i < ARRAY_SIZE(foreign); i++)
		if (matches(im, &foreign[i]) ||
		    (foreign[i].zstd && is_skippable_frame(im)))
			found = &foreign[i];
	if (!found)
		return 0;
	return err_set(err, -ENOTSUP,
		       "image %s: is a %s, which is not supported; convert it: "
		       "%s %s %s%s.raw (or say format=raw)",
		       path, found->name,
		       found->zstd ? "zstd -d" : "qemu-img convert -O raw", path,
		       found->zstd ? "-o " : "", path);
}

static int detect(const struct disk_cfg *cfg, enum disk_format *ret_format,
		  struct err *err)
{
	static const struct magic composite = { .name = "composite",
						MAGIC(COMPOSITE_MAGIC) };
	static const struct magic sparse = { .name = "sparse", MAGIC(SPARSE_MAGIC) };
	struct image im;
	const struct magic *found = NULL;
	int r = look(cfg, &im, err);

	if (r == 0)
		r = refuse_foreign(&im, cfg->path, err);
	if (r < 0)
		return r;
	*ret_format = DISK_RAW;
	if (matches(&im, &composite)) {
		found = &composite;
		*ret_format = DISK_COMPOSITE;
	} else if (matches(&im, &sparse)) {
		found = &sparse;
		*ret_format = DISK_SPARSE;
	}
	if (found && !cfg->read_only && !im.fixed)
		return err_set(
			err, -EPERM,
			"image %s: begins like a %s image, but a guest can write that into a raw one: say format=%s or format=raw",
			cfg->path, found->name, found->name);
	return 0;
}

int format_open(const struct disk_cfg *cfg, int depth, struct disk **ret_disk,
		struct err *err)
{
	enum disk_format format = (enum disk_format)cfg->format;
	bool told = format != DISK_AUTO;

	if (depth > FORMAT_MAX_DEPTH)
		return err_set(err, -ELOOP,
			       "image %s: more than %d composite disks in one another",
			       cfg->path, FORMAT_MAX_DEPTH);
	if (!told) {
		int r = detect(cfg, &format, err);

		if (r < 0)
			return r;
	}
	switch (format) {
	case DISK_COMPOSITE:
		return composite_open(cfg, depth, told, ret_disk, err);
	case DISK_SPARSE:
		/* A component may; it is the composite that was asked for direct I/O.
		 */
		if (cfg->direct && depth == 0)
			return err_set(
				err, -ENOTSUP,
				"image %s: direct=true is not possible with Android sparse images",
				cfg->path);
		return sparse_open(cfg, ret_disk, err);
	case DISK_AUTO:
	case DISK_RAW:
		break;
	}
	return raw_open(cfg, ret_disk, err);
}
