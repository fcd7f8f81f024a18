/* Disks in unit tests; see disk_io.h. */
#undef NDEBUG
#include "tests/unit/disk_io.h"

#include <assert.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct engine *io_engine;

void io_attach(struct disk *d, enum engine_kind kind)
{
	struct err err = { "" };
	int r;

	assert(!io_engine);
	r = engine_new(kind, &io_engine, &err);
	if (r < 0 && kind == ENGINE_URING) {
		disk_close(d);
		print_message("skip: %s\n", err.msg);
		skip();
	}
	if (r == 0)
		r = disk_attach(d, io_engine, &err);
	if (r == 0)
		r = engine_start(io_engine, &err);
	if (r < 0)
		fail_msg("%s", err.msg);
}

void io_close(struct disk *d)
{
	engine_stop(io_engine);
	engine_free(io_engine);
	io_engine = NULL;
	disk_close(d);
}

struct waited {
	int result;
	unsigned calls;
};

static void on_done(struct disk_req *req, int result)
{
	struct waited *w = req->owner;

	w->result = result;
	w->calls++;
}

int io_request(struct disk *d, struct disk_req *req)
{
	struct waited w = { 0 };

	req->owner = &w;
	req->done = on_done;
	disk_submit(d, req);
	while (w.calls == 0)
		engine_drain(io_engine);
	assert(w.calls == 1);
	return w.result;
}

int io_vector(struct disk *d, enum disk_op op, uint64_t off, const struct iovec *iov,
	      unsigned n)
{
	struct disk_req req = { .op = op, .off = off, .iov = iov, .n_iov = n };

	for (unsigned i = 0; i < n; i++)
		req.len += iov[i].iov_len;
	return io_request(d, &req);
}

int io_read(struct disk *d, uint64_t off, void *buf, size_t len)
{
	struct iovec v = { buf, len };

	return io_vector(d, DISK_READ, off, &v, 1);
}

int io_write(struct disk *d, uint64_t off, const void *buf, size_t len)
{
	/* Only read from. */
	struct iovec v = { (void *)(uintptr_t)buf, len };

	return io_vector(d, DISK_WRITE, off, &v, 1);
}

int io_range(struct disk *d, enum disk_op op, bool unmap, uint64_t off, uint64_t len)
{
	struct disk_req req = { .op = op, .unmap = unmap, .off = off, .len = len };

	return io_request(d, &req);
}

int io_flush(struct disk *d)
{
	struct disk_req req = { .op = DISK_FLUSH };

	return io_request(d, &req);
}
