/*
 * Any bytes as an Android sparse image. What is opened must be read the same in one
 * request and in two, and nothing outside of the buffers is touched.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/engine.h"
#include "disk/format.h"
#include "disk/sparse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)            \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static void on_done(struct disk_req *req, int result)
{
	int *ret = req->owner;

	REQUIRE(*ret == 1 && result <= 0);
	*ret = result;
}

static int request(struct disk *d, struct engine *e, enum disk_op op, uint64_t off,
		   const struct iovec *v, unsigned n)
{
	int result = 1;
	struct disk_req req = { .op = op,
				.off = off,
				.iov = v,
				.n_iov = n,
				.done = on_done,
				.owner = &result };

	for (unsigned i = 0; i < n; i++)
		req.len += v[i].iov_len;
	disk_submit(d, &req);
	engine_drain(e);
	REQUIRE(result <= 0);
	return result;
}

static void use(struct disk *d, struct engine *e, const uint8_t *data, size_t size)
{
	static unsigned char a[2000], b[2000];

	/* Numbers from all over the image, so that its header is not all that counts.
	 */
	for (size_t i = 0; i + 8 <= size; i += 8 + size / 6) {
		uint64_t off = le64_get(data + i) % d->size;
		uint64_t left = d->size - off;
		size_t len = left < sizeof(a) ? (size_t)left : sizeof(a);
		size_t cut = data[i] % (len + 1);
		struct iovec one = { a, len };
		struct iovec two[] = { { b, cut }, { b + cut, len - cut } };

		REQUIRE(request(d, e, DISK_READ, off, &one, 1) == 0);
		REQUIRE(request(d, e, DISK_READ, off, two, 2) == 0);
		REQUIRE(memcmp(a, b, len) == 0);
		REQUIRE(request(d, e, DISK_READ, off, &two[0], 1) == 0);
		REQUIRE(request(d, e, DISK_READ, off + cut, &two[1], 1) == 0);
		REQUIRE(memcmp(a, b, len) == 0);
	}
	REQUIRE(request(d, e, DISK_WRITE, 0, &(struct iovec){ a, 1 }, 1) == -EROFS);
	REQUIRE(request(d, e, DISK_FLUSH, 0, NULL, 0) == 0);
}

/* What no bytes bring about. */
static void check_refusals(const char *path)
{
	struct disk_cfg cfg = { .path = path, .format = DISK_SPARSE };
	struct err err = { "" };
	struct disk *d = NULL;

	REQUIRE(format_open(&cfg, 0, &d, &err) == -EROFS && !d);
	cfg.path = "/proc/self/fd/199";
	cfg.read_only = true;
	REQUIRE(format_open(&cfg, 0, &d, &err) == -EBADF && !d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	char path[32];
	const struct disk_cfg cfg = { .path = path,
				      .format = DISK_SPARSE,
				      .read_only = true };
	struct engine *e = NULL;
	struct disk *d = NULL;
	struct err err = { "" };

	if (fd < 0)
		fd = memfd_create("fuzz", 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	if (size == 0)
		check_refusals(path);
	REQUIRE(pwrite(fd, data, size, 0) == (ssize_t)size);
	if (format_open(&cfg, 0, &d, &err) < 0) {
		REQUIRE(!d && strstr(err.msg, path));
		return 0;
	}
	REQUIRE(d->size > 0 && d->size <= INT64_MAX && d->read_only);
	REQUIRE(engine_new(ENGINE_SYNC, &e, &err) == 0);
	REQUIRE(disk_attach(d, e, &err) == 0 && engine_start(e, &err) == 0);
	use(d, e, data, size);
	engine_stop(e);
	engine_free(e);
	disk_close(d);
	return 0;
}
