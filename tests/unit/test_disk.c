/* What all image formats share, over a format that only counts. */
#include "disk/disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

struct counting {
	struct disk disk; /* first */
	unsigned counts[DISK_ZERO + 1];
	int result; /* of every operation */
	bool unmap; /* of the last one */
};

static void counting_submit(struct disk *d, struct disk_req *req)
{
	struct counting *c = (struct counting *)d;

	c->counts[req->op]++;
	c->unmap = req->unmap;
	req->done(req, c->result);
}

static int counting_resize(struct disk *d, uint64_t size, struct err *err)
{
	(void)err;
	d->size = size;
	return 0;
}

static void counting_close(struct disk *d)
{
	(void)d;
}

static const struct disk_ops counting_ops = {
	.name = "counting",
	.submit = counting_submit,
	.resize = counting_resize,
	.close = counting_close,
};

static struct counting make(uint64_t size, uint32_t align)
{
	return (struct counting){
		.disk = { .ops = &counting_ops,
			  .size = size,
			  .align = align,
			  .sparse = true },
	};
}

static void on_done(struct disk_req *req, int result)
{
	int *r = req->owner;

	assert_int_equal(*r, 1); /* once */
	*r = result;
}

/* One request; the memory is never looked at. */
static int request(struct counting *c, enum disk_op op, uint64_t off, uint64_t len)
{
	struct iovec iov = { NULL, len };
	int result = 1;
	struct disk_req req = {
		.op = op,
		.unmap = true,
		.off = off,
		.len = len,
		.iov = &iov,
		.n_iov = 1,
		.done = on_done,
		.owner = &result,
	};

	disk_submit(&c->disk, &req);
	assert_true(result <= 0);
	assert_ptr_equal(req.done, on_done);
	assert_null(req.flushed);
	return result;
}

static const enum disk_op ranged[] = { DISK_READ, DISK_WRITE, DISK_DISCARD, DISK_ZERO };

static unsigned total(const struct counting *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(c->counts); i++)
		n += c->counts[i];
	return n;
}

static void requests_within_the_disk_reach_the_format(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
		struct counting c = make(1000, 1);

		assert_int_equal(request(&c, ranged[i], 0, 1000), 0);
		assert_int_equal(request(&c, ranged[i], 999, 1), 0);
		assert_int_equal(c.counts[ranged[i]], 2);
		assert_int_equal(total(&c), 2);
	}
}

static void requests_without_anything_to_do_are_done(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	c.result = -EIO;
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++)
		assert_int_equal(request(&c, ranged[i], 1000, 0), 0);
	c.disk.sparse = false;
	assert_int_equal(request(&c, DISK_DISCARD, 0, 10), 0);
	assert_int_equal(total(&c), 0);
}

static void requests_beyond_the_end_do_not(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++) {
		assert_int_equal(request(&c, ranged[i], 0, 1001), -EINVAL);
		assert_int_equal(request(&c, ranged[i], 999, 2), -EINVAL);
		assert_int_equal(request(&c, ranged[i], 1001, 0), -EINVAL);
		assert_int_equal(request(&c, ranged[i], UINT64_MAX, 1), -EINVAL);
		assert_int_equal(request(&c, ranged[i], 1, UINT64_MAX), -EINVAL);
	}
	assert_int_equal(total(&c), 0);
}

static void requests_against_the_alignment_do_not(void **state)
{
	struct counting c = make(8192, 4096);

	(void)state;
	assert_int_equal(request(&c, DISK_READ, 512, 4096), -EINVAL);
	assert_int_equal(request(&c, DISK_WRITE, 0, 512), -EINVAL);
	assert_int_equal(request(&c, DISK_ZERO, 512, 4096), -EINVAL);
	assert_int_equal(total(&c), 0);
	assert_int_equal(request(&c, DISK_WRITE, 4096, 4096), 0);
}

static void a_read_only_disk_refuses_changes_and_needs_no_flush(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	c.disk.read_only = true;
	c.result = -EIO;
	assert_int_equal(request(&c, DISK_WRITE, 0, 10), -EROFS);
	assert_int_equal(request(&c, DISK_DISCARD, 0, 10), -EROFS);
	assert_int_equal(request(&c, DISK_ZERO, 0, 10), -EROFS);
	assert_int_equal(request(&c, DISK_FLUSH, 0, 0), 0);
	assert_int_equal(total(&c), 0);
}

static void a_disk_that_is_not_sparse_keeps_its_space(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	assert_int_equal(request(&c, DISK_ZERO, 0, 10), 0);
	assert_true(c.unmap);
	c.disk.sparse = false;
	assert_int_equal(request(&c, DISK_ZERO, 0, 10), 0);
	assert_false(c.unmap);
}

static void a_failed_request_is_reported_and_forgotten(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	c.result = -ENOSPC;
	for (unsigned i = 0; i < ARRAY_SIZE(ranged); i++)
		assert_int_equal(request(&c, ranged[i], 0, 10), -ENOSPC);
	c.result = 0;
	assert_int_equal(request(&c, DISK_WRITE, 0, 10), 0);
	assert_int_equal(request(&c, DISK_FLUSH, 0, 0), 0);
}

static void a_failed_flush_is_never_forgotten(void **state)
{
	struct counting c = make(1000, 1);

	(void)state;
	assert_int_equal(request(&c, DISK_FLUSH, 0, 0), 0);
	c.result = -EIO;
	assert_int_equal(request(&c, DISK_FLUSH, 0, 0), -EIO);
	c.result = 0;
	assert_int_equal(request(&c, DISK_FLUSH, 0, 0), -EIO);
	assert_int_equal(request(&c, DISK_WRITE, 0, 10), 0);
	assert_int_equal(request(&c, DISK_FLUSH, 0, 0), -EIO);
	assert_int_equal(c.counts[DISK_FLUSH], 2);
}

/* A format that hands requests on as they are. */
struct passing {
	struct disk disk; /* first */
	struct disk *next;
};

static void passing_submit(struct disk *d, struct disk_req *req)
{
	disk_submit(((struct passing *)d)->next, req);
}

static void a_failed_flush_is_remembered_through_layers(void **state)
{
	static const struct disk_ops ops = { .name = "passing",
					     .submit = passing_submit };
	struct counting c = make(1000, 1), *top;
	struct passing p = { .disk = c.disk, .next = &c.disk };

	(void)state;
	p.disk.ops = &ops;
	top = (struct counting *)&p.disk; /* for request(), which looks at disk only */
	assert_int_equal(request(top, DISK_FLUSH, 0, 0), 0);
	c.result = -EIO;
	assert_int_equal(request(top, DISK_FLUSH, 0, 0), -EIO);
	c.result = 0;
	assert_int_equal(request(top, DISK_FLUSH, 0, 0), -EIO);
	assert_int_equal(request(top, DISK_READ, 0, 1), 0);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
	struct counting c = make(8192, 4096);
	struct disk_ops fixed = counting_ops;
	char name[] = "img";
	struct err err;

	(void)state;
	c.disk.name = name;
	assert_int_equal(disk_resize(&c.disk, 4096, &err), 0);
	assert_int_equal(disk_resize(&c.disk, 0, &err), -EINVAL);
	assert_int_equal(disk_resize(&c.disk, 4097, &err), -EINVAL);
	assert_int_equal(disk_resize(&c.disk, 1ull << 63, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "image img: "));
	c.disk.read_only = true;
	assert_int_equal(disk_resize(&c.disk, 8192, &err), -EROFS);
	c.disk.read_only = false;
	fixed.resize = NULL;
	c.disk.ops = &fixed;
	assert_int_equal(disk_resize(&c.disk, 8192, &err), -ENOTSUP);
	assert_int_equal(c.disk.size, 4096);
}

static void closing_nothing_is_harmless(void **state)
{
	(void)state;
	disk_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_within_the_disk_reach_the_format),
		cmocka_unit_test(requests_without_anything_to_do_are_done),
		cmocka_unit_test(requests_beyond_the_end_do_not),
		cmocka_unit_test(requests_against_the_alignment_do_not),
		cmocka_unit_test(a_read_only_disk_refuses_changes_and_needs_no_flush),
		cmocka_unit_test(a_disk_that_is_not_sparse_keeps_its_space),
		cmocka_unit_test(a_failed_request_is_reported_and_forgotten),
		cmocka_unit_test(a_failed_flush_is_never_forgotten),
		cmocka_unit_test(a_failed_flush_is_remembered_through_layers),
		cmocka_unit_test(sizes_that_cannot_be_are_refused),
		cmocka_unit_test(closing_nothing_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
