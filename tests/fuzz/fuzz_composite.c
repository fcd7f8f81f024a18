/*
 * Any bytes as what follows a composite image's magic. What is decoded must be the same
 * after encoding; what is opened must carry out or refuse each request, once, and read
 * what was written; nothing but the files below is ever opened.
 *
 * No message begins with the bytes 0xff and 0xfe: behind the first stands a whole
 * image, behind the second another byte, how to open the image, and its message.
 *
 * /proc/self/fd/101 and 102 are raw, 103 is sparse, 104 a composite of 101; "a" and "b"
 * are in the current folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "disk/composite.h"
#include "disk/engine.h"
#include "disk/format.h"
#include "disk/proto.h"
#include "disk/utf8.h"

enum { FD_IMAGE = 100, FD_SMALL, FD_LARGE, FD_SPARSE, FD_NESTED };
#define SMALL 100u
#define LARGE 10000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define REQUIRE(cond)            \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

/* --- files ----------------------------------------------------------------- */

static void make_fd(int fd, const void *buf, size_t len, size_t size)
{
	int made = memfd_create("fuzz", 0);

	REQUIRE(made >= 0 && dup2(made, fd) == fd && close(made) == 0);
	REQUIRE(ftruncate(fd, (off_t)size) == 0);
	REQUIRE(pwrite(fd, buf, len, 0) == (ssize_t)len);
}

static char dir[] = "/tmp/fuzz_composite.XXXXXX";
static const char *const names[] = { "a", "b", "spec" };

static const char *path_of(const char *name)
{
	static char path[sizeof(dir) + 8];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void remove_dir(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(path_of(names[i]));
	rmdir(dir);
}

static void make_file(const char *name)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT, 0600);

	REQUIRE(fd >= 0 && ftruncate(fd, LARGE) == 0 && close(fd) == 0);
}

/* What an input says. */
struct input {
	const uint8_t *data; /* an image, or what follows its magic */
	size_t size;
	bool whole; /* an image */
	bool locked; /* somebody else holds its lock */
	bool direct;
};

static struct input read_input(const uint8_t *data, size_t size)
{
	struct input in = { data, size, false, false, false };

	if (size >= 1 && data[0] == 0xff)
		in = (struct input){ data + 1, size - 1, true, false, false };
	else if (size >= 2 && data[0] == 0xfe)
		in = (struct input){ data + 2, size - 2, false, data[1] & 1,
				     data[1] & 2 };
	return in;
}

static void put_image(int fd, const struct input *in)
{
	size_t skip = in->whole ? 0 : COMPOSITE_MAGIC_LEN;
	struct iovec v[2] = { { (void *)(uintptr_t)COMPOSITE_MAGIC, skip },
			      { (void *)(uintptr_t)in->data, in->size } };

	REQUIRE(ftruncate(fd, (off_t)(skip + in->size)) == 0);
	REQUIRE(pwritev(fd, v, 2, 0) == (ssize_t)(skip + in->size));
}

/* Other open files of the image, and of "spec". */
static int lock_fd = -1, spec_fd = -1;

static void set_lock(bool locked)
{
	static bool now;

	if (locked == now)
		return;
	/* The image's own descriptor stays open, and so its lock stays. */
	REQUIRE(flock(FD_IMAGE, LOCK_UN) == 0);
	REQUIRE(flock(lock_fd, (locked ? LOCK_EX : LOCK_UN) | LOCK_NB) == 0);
	now = locked;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	/* Two blocks of 512: a fill, and nothing. */
	static const char sparse[] = "\x3a\xff\x26\xed\1\0\0\0\x1c\0\x0c\0\0\2\0\0"
				     "\2\0\0\0\2\0\0\0\0\0\0\0"
				     "\xc2\xca\0\0\1\0\0\0\x10\0\0\0fill"
				     "\xc3\xca\0\0\1\0\0\0\x0c\0\0\0";
	static const char nested[] = COMPOSITE_MAGIC
		"\x08\2\x12\x13\x0a\x11/proc/self/fd/101\x18\x64";
	(void)argc;
	(void)argv;
	make_fd(FD_IMAGE, "", 0, 0);
	make_fd(FD_SMALL, "small", 5, SMALL);
	make_fd(FD_LARGE, "large", 5, LARGE);
	make_fd(FD_SPARSE, sparse, sizeof(sparse) - 1, sizeof(sparse) - 1);
	make_fd(FD_NESTED, nested, sizeof(nested) - 1, sizeof(nested) - 1);
	REQUIRE(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		make_file(names[i]);
	lock_fd = open("/proc/self/fd/100", O_RDWR);
	spec_fd = open(path_of("spec"), O_RDWR);
	REQUIRE(lock_fd >= 0 && spec_fd >= 0);
	atexit(remove_dir);
	return 0;
}

/* --- the message ----------------------------------------------------------- */

static void check_same(const struct proto_composite *a, const struct proto_composite *b)
{
	REQUIRE(a->version == b->version && a->length == b->length && a->n == b->n);
	for (size_t i = 0; i < a->n; i++) {
		const struct proto_component *c = &a->components[i];
		const struct proto_component *d = &b->components[i];

		REQUIRE(strcmp(c->path, d->path) == 0 && c->offset == d->offset);
		REQUIRE(c->file_offset == d->file_offset && c->writable == d->writable);
		REQUIRE(utf8_valid(c->path, strlen(c->path)));
	}
}

/* Whether every path is one that may be opened here when the format is told. */
static bool is_tame(const struct proto_composite *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (strchr(c->components[i].path, '/') || *c->components[i].path == '.')
			return false;
	return true;
}

static bool check_message(const uint8_t *data, size_t size)
{
	struct proto_composite first = { 0 }, second = { 0 };
	struct err err = { "" };
	unsigned char *again;
	size_t len;
	bool tame;

	if (proto_decode(data, size, &first, &err) < 0) {
		REQUIRE(err.msg[0]);
		return false;
	}
	REQUIRE(first.n <= PROTO_MAX_COMPONENTS);
	REQUIRE(proto_encode(&first, &again, &len, &err) == 0);
	REQUIRE(proto_decode(again, len, &second, &err) == 0);
	check_same(&first, &second);
	tame = is_tame(&first);
	proto_free(&first);
	proto_free(&second);
	free(again);
	return tame;
}

/* --- requests -------------------------------------------------------------- */

static void on_done(struct disk_req *req, int result)
{
	int *ret = req->owner;

	REQUIRE(*ret == 1 && result <= 0);
	*ret = result;
}

static int request(struct disk *d, struct engine *e, enum disk_op op, uint64_t off,
		   void *buf, size_t len)
{
	bool data = op == DISK_READ || op == DISK_WRITE;
	size_t cut = data ? len / 3 : 0;
	struct iovec v[2] = { { buf, cut },
			      { data ? (char *)buf + cut : NULL, len - cut } };
	int result = 1;
	struct disk_req req = { .op = op,
				.off = off,
				.len = len,
				.iov = data ? v : NULL,
				.n_iov = data ? 2 : 0,
				.done = on_done,
				.owner = &result };

	disk_submit(d, &req);
	engine_drain(e);
	REQUIRE(result <= 0);
	return result;
}

static void use(struct disk *d, struct engine *e, const uint8_t *data, size_t size)
{
	unsigned char out[3000], in[3000];

	for (uint64_t off = 0; off < d->size && off < 30000; off += 1021)
		request(d, e, DISK_READ, off, in,
			d->size - off < 1021 ? (size_t)(d->size - off) : 1021);
	for (size_t i = 0; i + 4 <= size && i < 64; i += 4) {
		uint64_t off = le32_get(data + i) % 20000;
		size_t len = 1 + data[i + 1] * 11;

		if (off >= d->size)
			off %= d->size;
		if (len > d->size - off)
			len = (size_t)(d->size - off);
		memset(out, data[i], sizeof(out));
		request(d, e, DISK_READ, off, in, len);
		if (request(d, e, DISK_WRITE, off, out, len) == 0 &&
		    request(d, e, DISK_READ, off, in, len) == 0 && size < 200)
			REQUIRE(memcmp(in, out, 1) == 0); /* slots may share a file */
		request(d, e, data[i] & 1 ? DISK_ZERO : DISK_DISCARD, off, NULL, len);
	}
	REQUIRE(request(d, e, DISK_FLUSH, 0, NULL, 0) == 0);
	REQUIRE(request(d, e, DISK_READ, d->size - 1, in, 2) == -EINVAL);
}

static void open_and_use(const struct disk_cfg *cfg, const uint8_t *data, size_t size)
{
	struct engine *e = NULL;
	struct disk *d = NULL;
	struct err err = { "" };

	if (format_open(cfg, 0, &d, &err) < 0) {
		REQUIRE(!d && strstr(err.msg, cfg->path));
		return;
	}
	REQUIRE(d->size > 0 && d->size <= INT64_MAX);
	REQUIRE(engine_new(ENGINE_SYNC, &e, &err) == 0);
	REQUIRE(disk_attach(d, e, &err) == 0 && engine_start(e, &err) == 0);
	use(d, e, data, size);
	engine_stop(e);
	engine_free(e);
	disk_close(d);
}

/* Whether the paths that an image names are all tame. */
static bool check_input(const struct input *in)
{
	if (!in->whole)
		return check_message(in->data, in->size);
	return in->size < COMPOSITE_MAGIC_LEN ||
	       memcmp(in->data, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN) != 0 ||
	       check_message(in->data + COMPOSITE_MAGIC_LEN,
			     in->size - COMPOSITE_MAGIC_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct disk_cfg cfg = { .path = "/proc/self/fd/100", .read_only = true };
	const struct input in = read_input(data, size);
	bool tame = check_input(&in);

	/* By its magic: descriptors only. */
	put_image(FD_IMAGE, &in);
	open_and_use(&cfg, data, size);
	if (!tame)
		return 0;
	/* As told: a writable one of files, which a descriptor has not. */
	set_lock(in.locked);
	cfg = (struct disk_cfg){ .path = "/proc/self/fd/100",
				 .format = DISK_COMPOSITE,
				 .lock = true };
	open_and_use(&cfg, data, size);
	put_image(spec_fd, &in);
	/* Direct writes would wait for a real disk. */
	cfg = (struct disk_cfg){ .path = path_of("spec"),
				 .format = DISK_COMPOSITE,
				 .direct = in.direct,
				 .read_only = in.direct,
				 .sparse = true };
	open_and_use(&cfg, data, size);
	if (size == 0) { /* once is enough */
		cfg.path = "/proc/self/fd/199";
		open_and_use(&cfg, data, size);
	}
	return 0;
}
