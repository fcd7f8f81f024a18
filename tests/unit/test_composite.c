/* Requests to composite disks, over disks in memory. */
#include "disk/composite.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/mem_disk.h"

/* --- fixtures -------------------------------------------------------------- */

/* Three components of 100 bytes, in a disk of 300, as most tests want them. */
struct trio {
	struct mem_disk *m[3];
	struct disk *d;
};

static struct disk *make(struct mem_disk *const *m, const uint64_t *offsets,
			 const uint64_t *file_offsets, size_t n, uint64_t size)
{
	struct composite_part *parts = calloc(n + 1, sizeof(*parts));
	struct err err = { "" };
	struct disk *d = NULL;

	for (size_t i = 0; i < n; i++)
		parts[i] = (struct composite_part){ &m[i]->disk, offsets[i],
						    file_offsets ? file_offsets[i]
								 : 0 };
	if (composite_new("disk.img", parts, n, size, false, -1, &d, &err) < 0)
		fail_msg("%s", err.msg);
	free(parts);
	return d;
}

static int setup(void **state)
{
	static const uint64_t offsets[] = { 0, 100, 200 };
	struct trio *t = calloc(1, sizeof(*t));

	for (int i = 0; i < 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "part%d", i);
		t->m[i] = mem_disk_new(name, 100);
		memset(t->m[i]->bytes, 'a' + i, 100);
	}
	t->d = make(t->m, offsets, NULL, 3, 300);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct trio *t = *state;

	disk_close(t->d);
	free(t);
	return 0;
}

#define PENDING 1

static void store_result(struct disk_req *req, int result)
{
	int *ret = req->owner;

	assert_int_equal(*ret, PENDING);
	*ret = result;
}

/* A request with one buffer, under way: *@result is its result, or PENDING. */
static struct disk_req *submit(struct disk *d, struct disk_req *req, enum disk_op op,
			       uint64_t off, const struct iovec *iov, int *result)
{
	*result = PENDING;
	*req = (struct disk_req){ .op = op,
				  .off = off,
				  .len = iov ? iov->iov_len : 0,
				  .done = store_result,
				  .owner = result };
	if (op == DISK_READ || op == DISK_WRITE) {
		req->iov = iov;
		req->n_iov = 1;
	}
	disk_submit(d, req);
	return req;
}

static int run(struct disk *d, enum disk_op op, uint64_t off, void *buf, size_t len)
{
	struct iovec v = { buf, len };
	struct disk_req req;
	int result;

	submit(d, &req, op, off, &v, &result);
	assert_int_not_equal(result, PENDING);
	return result;
}

static int flush(struct disk *d)
{
	return run(d, DISK_FLUSH, 0, NULL, 0);
}

/* --- making ---------------------------------------------------------------- */

static void what_cannot_be_is_refused(void **state)
{
	static const struct {
		size_t n;
		uint64_t offset[2], file_offset, size;
		const char *why;
	} cases[] = {
		{ 0, { 0 }, 0, 100, "has no components" },
		{ 2, { 50, 50 }, 0, 100, "does not begin before" },
		{ 2, { 0, 100 }, 0, 100, "ends before" },
		{ 2, { 0, 100 }, 0, 50, "ends before" },
		{ 1, { 0 }, 0, 0, "ends before" },
		{ 1, { 0 }, 0, 1ull << 63, "out of range" },
		{ 1, { 0 }, UINT64_MAX, 100, "out of range" },
		{ 1, { 0 }, INT64_MAX, 100, "out of range" },
		{ 2, { 0, UINT64_MAX }, 0, UINT64_MAX, "" },
	};
	struct mem_disk *m[] = { mem_disk_new("a", 100), mem_disk_new("b", 100) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct composite_part parts[] = {
			{ &m[0]->disk, cases[i].offset[0], cases[i].file_offset },
			{ &m[1]->disk, cases[i].offset[1], cases[i].file_offset },
		};
		struct err err = { "" };
		struct disk *d = NULL;

		assert_int_equal(composite_new("x.img", parts, cases[i].n,
					       cases[i].size, false, -1, &d, &err),
				 -EINVAL);
		assert_null(d);
		if (!strstr(err.msg, "x.img") || !strstr(err.msg, cases[i].why))
			fail_msg("case %zu: %s", i, err.msg);
	}
	disk_close(&m[0]->disk);
	disk_close(&m[1]->disk);
}

static void slots_are_as_aligned_as_direct_io_needs(void **state)
{
	static const struct {
		uint64_t offset, file_offset, size;
		bool ok;
	} cases[] = {
		{ 0, 0, 4096, true },  { 512, 0, 4096, true },	{ 0, 1024, 4096, true },
		{ 0, 0, 4000, false }, { 100, 0, 4096, false }, { 0, 100, 4096, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mem_disk *m = mem_disk_new("direct", 8192);
		struct composite_part part = { &m->disk, cases[i].offset,
					       cases[i].file_offset };
		struct err err = { "" };
		struct disk *d = NULL;
		int r;

		m->disk.align = 512;
		r = composite_new("x.img", &part, 1, cases[i].size, false, -1, &d,
				  &err);
		assert_int_equal(r, cases[i].ok ? 0 : -EINVAL);
		if (r == 0)
			assert_int_equal(d->align, 512);
		disk_close(d ?: &m->disk);
	}
}

static void length_is_that_of_all(void **state)
{
	static const uint64_t offsets[] = { 0, 100 };
	struct mem_disk *m[] = { mem_disk_new("a", 100), mem_disk_new("b", 100) };
	struct disk *d = make(m, offsets, NULL, 2, 200);

	(void)state;
	assert_int_equal(d->size, 200);
	assert_string_equal(d->name, "disk.img");
	disk_close(d);
}

/* --- reading and writing --------------------------------------------------- */

static void one_component_passes_the_request_on(void **state)
{
	static const uint64_t offset = 0;
	struct mem_disk *m = mem_disk_new("a", 100);
	struct disk *d = make(&m, &offset, NULL, 1, 100);
	char buf[100];
	struct iovec v = { buf, sizeof(buf) };
	struct disk_req req;
	int result;

	(void)state;
	memset(m->bytes, 'x', 100);
	submit(d, &req, DISK_READ, 0, &v, &result);
	assert_int_equal(result, 0);
	assert_ptr_equal(m->last, &req);
	assert_memory_equal(buf, m->bytes, 100);
	memset(buf, 'y', sizeof(buf));
	submit(d, &req, DISK_WRITE, 0, &v, &result);
	assert_int_equal(result, 0);
	assert_ptr_equal(m->last, &req);
	assert_ptr_equal(req.owner, &result);
	assert_memory_equal(buf, m->bytes, 100);
	disk_close(d);
}

static void file_offset_is_added(void **state)
{
	static const uint64_t offset = 0, file_offset = 2;
	struct mem_disk *m = mem_disk_new("a", 102);
	struct disk *d = make(&m, &offset, &file_offset, 1, 100);
	char buf[10];

	(void)state;
	memcpy(m->bytes, "0123456789", 10);
	assert_int_equal(run(d, DISK_READ, 3, buf, 4), 0);
	assert_memory_equal(buf, "5678", 4);
	assert_int_equal(run(d, DISK_WRITE, 0, memcpy(buf, "X", 1), 1), 0);
	assert_memory_equal(m->bytes, "01X345", 6);
	disk_close(d);
}

static void requests_across_components_are_split_and_joined(void **state)
{
	struct trio *t = *state;
	char buf[200], want[200];

	memset(want, 'a', 50);
	memset(want + 50, 'b', 100);
	memset(want + 150, 'c', 50);
	assert_int_equal(run(t->d, DISK_READ, 50, buf, 200), 0);
	assert_memory_equal(buf, want, 200);

	for (unsigned i = 0; i < 200; i++)
		buf[i] = (char)i;
	assert_int_equal(run(t->d, DISK_WRITE, 50, buf, 200), 0);
	assert_memory_equal(t->m[0]->bytes + 50, buf, 50);
	assert_memory_equal(t->m[1]->bytes, buf + 50, 100);
	assert_memory_equal(t->m[2]->bytes, buf + 150, 50);
	assert_int_equal(t->m[0]->bytes[49], 'a');
	assert_int_equal(t->m[2]->bytes[50], 'c');
}

static void buffers_are_cut_where_components_are(void **state)
{
	struct trio *t = *state;
	char buf[300];
	/* Edges of the disks fall within, at the end of and at the begin of buffers. */
	struct iovec v[] = { { buf, 10 },	{ buf + 10, 0 }, { buf + 10, 80 },
			     { buf + 90, 0 },	{ buf + 90, 0 }, { buf + 90, 1 },
			     { buf + 91, 208 }, { buf + 299, 0 } };
	int result = PENDING;
	struct disk_req req = { .op = DISK_WRITE,
				.off = 1,
				.len = 299,
				.iov = v,
				.n_iov = ARRAY_SIZE(v),
				.done = store_result,
				.owner = &result };

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (char)i;
	disk_submit(t->d, &req);
	assert_int_equal(result, 0);
	assert_int_equal(t->m[0]->bytes[0], 'a');
	assert_memory_equal(t->m[0]->bytes + 1, buf, 99);
	assert_memory_equal(t->m[1]->bytes, buf + 99, 100);
	assert_memory_equal(t->m[2]->bytes, buf + 199, 100);
}

static void zeroing_and_discarding_reach_all_components(void **state)
{
	static const enum disk_op ops[] = { DISK_ZERO, DISK_DISCARD };
	static const unsigned char zeroes[100];
	struct trio *t = *state;

	for (unsigned i = 0; i < 2; i++) {
		for (int p = 0; p < 3; p++)
			memset(t->m[p]->bytes, 'a' + p, 100);
		assert_int_equal(run(t->d, ops[i], 50, NULL, 200), 0);
		assert_int_equal(t->m[0]->bytes[49], 'a');
		assert_memory_equal(t->m[0]->bytes + 50, zeroes, 50);
		assert_memory_equal(t->m[1]->bytes, zeroes, 100);
		assert_memory_equal(t->m[2]->bytes, zeroes, 50);
		assert_int_equal(t->m[2]->bytes[50], 'c');
	}
}

static void unmap_is_kept_in_the_pieces(void **state)
{
	struct trio *t = *state;
	int result = PENDING;
	struct disk_req req = { .op = DISK_ZERO,
				.unmap = true,
				.off = 50,
				.len = 100,
				.done = store_result,
				.owner = &result };

	t->m[0]->hold = t->m[1]->hold = true;
	disk_submit(t->d, &req);
	assert_true(t->m[0]->held->unmap && t->m[1]->held->unmap);
	mem_disk_finish(t->m[0]);
	mem_disk_finish(t->m[1]);
	assert_int_equal(result, 0);
}

static void write_is_done_when_all_components_have_it(void **state)
{
	struct trio *t = *state;
	char buf[300];
	struct iovec v = { buf, sizeof(buf) };
	struct disk_req req;
	int result;

	for (int i = 0; i < 3; i++)
		t->m[i]->hold = true;
	submit(t->d, &req, DISK_WRITE, 0, &v, &result);
	assert_int_equal(mem_disk_finish(t->m[1]), 1);
	assert_int_equal(mem_disk_finish(t->m[0]), 1);
	assert_int_equal(result, PENDING);
	assert_int_equal(mem_disk_finish(t->m[2]), 1);
	assert_int_equal(result, 0);
}

static void failure_of_one_piece_fails_the_request_when_all_are_done(void **state)
{
	struct trio *t = *state;
	char buf[300];
	struct iovec v = { buf, sizeof(buf) };
	struct disk_req req;
	int result;

	t->m[0]->hold = true;
	t->m[1]->fail = -ENOSPC;
	t->m[2]->fail = -EIO;
	submit(t->d, &req, DISK_WRITE, 0, &v, &result);
	assert_int_equal(result, PENDING);
	mem_disk_finish(t->m[0]);
	assert_int_equal(result, -ENOSPC);
	t->m[0]->hold = false;
	t->m[1]->fail = t->m[2]->fail = 0;
	assert_int_equal(run(t->d, DISK_READ, 0, buf, 300), 0);
}

static void many_splits_at_once(void **state)
{
	enum { N = 100 };
	struct trio *t = *state;
	char buf[2] = "zz";
	struct iovec v = { buf, 2 };
	struct disk_req req[N];
	int result[N];

	t->m[0]->hold = t->m[1]->hold = true;
	for (int i = 0; i < N; i++)
		submit(t->d, &req[i], DISK_WRITE, 99, &v, &result[i]);
	assert_int_equal(mem_disk_finish(t->m[0]), N);
	assert_int_equal(mem_disk_finish(t->m[1]), N);
	for (int i = 0; i < N; i++)
		assert_int_equal(result[i], 0);
	/* And unsplit ones, more than are provided for. */
	for (int i = 0; i < N; i++)
		submit(t->d, &req[i], DISK_WRITE, 10, &v, &result[i]);
	assert_int_equal(mem_disk_finish(t->m[0]), N);
	for (int i = 0; i < N; i++)
		assert_int_equal(result[i], 0);
}

static void hundreds_of_components_in_one_request(void **state)
{
	enum { N = 500 };
	static struct mem_disk *m[N];
	static uint64_t offsets[N];
	static unsigned char out[N * 3], in[N * 3];
	struct disk *d;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		m[i] = mem_disk_new("tiny", 3);
		offsets[i] = i * 3;
	}
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 7);
	d = make(m, offsets, NULL, N, N * 3);
	assert_int_equal(run(d, DISK_WRITE, 0, out, sizeof(out)), 0);
	for (unsigned i = 0; i < N; i++)
		assert_memory_equal(m[i]->bytes, out + i * 3, 3);
	assert_int_equal(run(d, DISK_READ, 1, in, sizeof(in) - 2), 0);
	assert_memory_equal(in, out + 1, sizeof(in) - 2);
	assert_int_equal(flush(d), 0);
	disk_close(d);
}

/* --- what fails ------------------------------------------------------------ */

static void component_shorter_than_its_slot_fails_past_its_end_only(void **state)
{
	static const uint64_t offsets[] = { 0, 100, 200 };
	struct mem_disk *m[] = { mem_disk_new("a", 100), mem_disk_new("short", 60),
				 mem_disk_new("c", 100) };
	struct disk *d = make(m, offsets, NULL, 3, 300);
	char buf[300] = "";

	(void)state;
	assert_int_equal(run(d, DISK_READ, 100, buf, 60), 0);
	assert_int_equal(run(d, DISK_READ, 100, buf, 61), -EIO);
	assert_int_equal(run(d, DISK_READ, 160, buf, 1), -EIO);
	assert_int_equal(run(d, DISK_READ, 199, buf, 2), -EIO);
	assert_int_equal(run(d, DISK_READ, 0, buf, 300), -EIO);
	assert_int_equal(run(d, DISK_WRITE, 0, memset(buf, 'w', 300), 300), -EIO);
	assert_int_equal(run(d, DISK_ZERO, 159, NULL, 2), -EIO);
	assert_int_equal(run(d, DISK_DISCARD, 159, NULL, 2), -EIO);
	/* None of it was begun. */
	assert_int_equal(m[0]->n_seen[DISK_WRITE], 0);
	assert_int_equal(m[0]->bytes[0], 0);
	assert_int_equal(run(d, DISK_WRITE, 40, buf, 120), 0);
	assert_int_equal(run(d, DISK_WRITE, 200, buf, 100), 0);
	assert_int_equal(flush(d), 0);
	disk_close(d);
}

static void nothing_is_before_the_first_component(void **state)
{
	static const uint64_t offset = 100;
	struct mem_disk *m = mem_disk_new("a", 100);
	struct disk *d = make(&m, &offset, NULL, 1, 200);
	char buf[20];

	(void)state;
	assert_int_equal(run(d, DISK_READ, 0, buf, 10), -EIO);
	assert_int_equal(run(d, DISK_READ, 95, buf, 10), -EIO);
	assert_int_equal(run(d, DISK_WRITE, 99, buf, 1), -EIO);
	assert_int_equal(run(d, DISK_READ, 100, buf, 10), 0);
	disk_close(d);
}

static void read_only_component_refuses_writes(void **state)
{
	struct trio *t = *state;
	char buf[150] = "";

	t->m[1]->disk.read_only = true;
	assert_int_equal(run(t->d, DISK_WRITE, 100, buf, 100), -EROFS);
	assert_int_equal(run(t->d, DISK_WRITE, 80, buf, 30), -EROFS);
	assert_int_equal(run(t->d, DISK_DISCARD, 80, NULL, 30), -EROFS);
	assert_int_equal(run(t->d, DISK_ZERO, 150, NULL, 10), -EROFS);
	assert_int_equal(t->m[0]->bytes[99], 'a');
	assert_int_equal(t->m[1]->bytes[0], 'b');
	assert_int_equal(run(t->d, DISK_READ, 80, buf, 150), 0);
	assert_int_equal(run(t->d, DISK_WRITE, 0, buf, 100), 0);
}

/* --- flushing -------------------------------------------------------------- */

static void flush_goes_where_something_changed(void **state)
{
	struct trio *t = *state;
	char buf[20] = "";

	assert_int_equal(flush(t->d), 0);
	assert_int_equal(run(t->d, DISK_READ, 190, buf, 20), 0);
	assert_int_equal(flush(t->d), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(t->m[i]->n_seen[DISK_FLUSH], 0);
	assert_int_equal(run(t->d, DISK_WRITE, 10, buf, 20), 0);
	assert_int_equal(run(t->d, DISK_ZERO, 110, NULL, 20), 0);
	assert_int_equal(flush(t->d), 0);
	assert_int_equal(flush(t->d), 0);
	assert_int_equal(t->m[0]->n_seen[DISK_FLUSH], 1);
	assert_int_equal(t->m[1]->n_seen[DISK_FLUSH], 1);
	assert_int_equal(t->m[2]->n_seen[DISK_FLUSH], 0);
	/* Split requests and discards count as well. */
	assert_int_equal(run(t->d, DISK_WRITE, 190, buf, 20), 0);
	assert_int_equal(run(t->d, DISK_DISCARD, 10, NULL, 20), 0);
	assert_int_equal(flush(t->d), 0);
	assert_int_equal(t->m[0]->n_seen[DISK_FLUSH], 2);
	assert_int_equal(t->m[1]->n_seen[DISK_FLUSH], 2);
	assert_int_equal(t->m[2]->n_seen[DISK_FLUSH], 1);
}

static void flush_skips_unchanged_read_only_component(void **state)
{
	struct trio *t = *state;
	char buf[10] = "";

	t->m[0]->disk.read_only = true;
	assert_int_equal(run(t->d, DISK_READ, 0, buf, 10), 0);
	assert_int_equal(run(t->d, DISK_WRITE, 100, buf, 10), 0);
	assert_int_equal(flush(t->d), 0);
	assert_int_equal(t->m[0]->n_seen[DISK_FLUSH], 0);
	assert_int_equal(t->m[1]->n_seen[DISK_FLUSH], 1);
}

static void write_that_ends_during_a_flush_needs_another(void **state)
{
	struct trio *t = *state;
	char buf[10] = "";
	struct iovec v = { buf, sizeof(buf) };
	struct disk_req first, write, second;
	int r_first, r_write, r_second;

	assert_int_equal(run(t->d, DISK_WRITE, 0, buf, 10), 0);
	t->m[0]->hold = true;
	submit(t->d, &write, DISK_WRITE, 0, &v, &r_write);
	submit(t->d, &first, DISK_FLUSH, 0, NULL, &r_first);
	assert_int_equal(mem_disk_finish(t->m[0]), 2); /* the flush first */
	assert_int_equal(r_first, 0);
	assert_int_equal(r_write, 0);
	submit(t->d, &second, DISK_FLUSH, 0, NULL, &r_second);
	assert_int_equal(t->m[0]->n_seen[DISK_FLUSH], 2);
	assert_int_equal(mem_disk_finish(t->m[0]), 1);
	assert_int_equal(r_second, 0);
}

static void second_flush_waits_for_what_the_first_covers(void **state)
{
	struct trio *t = *state;
	char buf[10] = "";
	struct disk_req first, second;
	int r_first, r_second;

	assert_int_equal(run(t->d, DISK_WRITE, 0, buf, 10), 0);
	t->m[0]->hold = true;
	submit(t->d, &first, DISK_FLUSH, 0, NULL, &r_first);
	submit(t->d, &second, DISK_FLUSH, 0, NULL, &r_second);
	assert_int_equal(r_second, PENDING);
	mem_disk_finish(t->m[0]);
	assert_int_equal(r_first, 0);
	assert_int_equal(r_second, 0);
}

static void failed_flush_is_remembered(void **state)
{
	struct trio *t = *state;
	char buf[20] = "";

	assert_int_equal(run(t->d, DISK_WRITE, 90, buf, 20), 0);
	t->m[1]->fail = -EIO;
	assert_int_equal(flush(t->d), -EIO);
	t->m[1]->fail = 0;
	assert_int_equal(flush(t->d), -EIO);
	/* The disk goes on otherwise. */
	assert_int_equal(run(t->d, DISK_WRITE, 90, buf, 20), 0);
	assert_int_equal(run(t->d, DISK_READ, 90, buf, 20), 0);
	assert_int_equal(flush(t->d), -EIO);
}

static void failed_flush_is_remembered_whichever_ends_first(void **state)
{
	struct trio *t = *state;
	char buf[10] = "";
	struct disk_req first, second;
	int r_first, r_second;

	assert_int_equal(run(t->d, DISK_WRITE, 0, buf, 10), 0);
	t->m[0]->hold = true;
	submit(t->d, &first, DISK_FLUSH, 0, NULL, &r_first);
	t->m[0]->hold = false;
	submit(t->d, &second, DISK_FLUSH, 0, NULL, &r_second);
	assert_int_equal(r_second, 0);
	t->m[0]->fail = -EIO;
	assert_int_equal(mem_disk_finish(t->m[0]), 1);
	assert_int_equal(r_first, -EIO);
	t->m[0]->fail = 0;
	assert_int_equal(flush(t->d), -EIO);
}

/* Sanitizers end a program that has no more memory. */
#ifndef SANITIZED
static void flush_without_memory_fails_once(void **state)
{
	enum { MANY = 1000 }; /* their pieces need new pages */
	struct mem_disk *m[MANY];
	uint64_t offset[MANY];
	struct rlimit old, none;
	struct disk *d;
	int r;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		m[i] = mem_disk_new("m", 1);
		offset[i] = (uint64_t)i;
	}
	d = make(m, offset, NULL, MANY, MANY);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(run(d, DISK_WRITE, (uint64_t)i, &(char){ 0 }, 1), 0);
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	r = flush(d);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(flush(d), 0);
	assert_int_equal(m[0]->n_seen[DISK_FLUSH], 1);
	disk_close(d);
}
#endif

#define TRIO_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(slots_are_as_aligned_as_direct_io_needs),
		cmocka_unit_test(length_is_that_of_all),
		cmocka_unit_test(one_component_passes_the_request_on),
		cmocka_unit_test(file_offset_is_added),
		TRIO_TEST(requests_across_components_are_split_and_joined),
		TRIO_TEST(buffers_are_cut_where_components_are),
		TRIO_TEST(zeroing_and_discarding_reach_all_components),
		TRIO_TEST(unmap_is_kept_in_the_pieces),
		TRIO_TEST(write_is_done_when_all_components_have_it),
		TRIO_TEST(failure_of_one_piece_fails_the_request_when_all_are_done),
		TRIO_TEST(many_splits_at_once),
		cmocka_unit_test(hundreds_of_components_in_one_request),
		cmocka_unit_test(
			component_shorter_than_its_slot_fails_past_its_end_only),
		cmocka_unit_test(nothing_is_before_the_first_component),
		TRIO_TEST(read_only_component_refuses_writes),
		TRIO_TEST(flush_goes_where_something_changed),
		TRIO_TEST(flush_skips_unchanged_read_only_component),
		TRIO_TEST(write_that_ends_during_a_flush_needs_another),
		TRIO_TEST(second_flush_waits_for_what_the_first_covers),
		TRIO_TEST(failed_flush_is_remembered),
		TRIO_TEST(failed_flush_is_remembered_whichever_ends_first),
#ifndef SANITIZED
		cmocka_unit_test(flush_without_memory_fails_once),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
