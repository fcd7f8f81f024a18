/*
 * Random requests to composites of random geometry, many at a time, against a flat
 * model: over real files and both engines. VMM_SEED=N repeats a run.
 */
#include "disk/composite.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/disk_io.h"
#include "tests/unit/image_fixture.h"

#define MAX_PARTS 12
#define MAX_SIZE (MAX_PARTS * 40000u)
#define ROUNDS 25
#define REQUESTS 300 /* of a round */
#define AT_ONCE 16

struct piece {
	char path[16];
	uint64_t off, len, file_off, file_len;
	bool writable;
};

static struct {
	struct piece piece[MAX_PARTS];
	size_t n;
	uint64_t first, size;
	unsigned char bytes[MAX_SIZE];
	struct disk *d;
} m;

/* xorshift64*, so that a seed is the same everywhere. */
static uint64_t random_state;

static uint64_t rnd(uint64_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1d >> 11) % below;
}

/* --- geometry -------------------------------------------------------------- */

static void make_piece(struct piece *p, size_t i)
{
	snprintf(p->path, sizeof(p->path), "part%zu.img", i);
	p->off = m.size;
	p->len = rnd(4) ? 1 + rnd(20000) : 4096 * (1 + rnd(4));
	p->file_off = rnd(2) ? rnd(5000) : 0;
	p->writable = rnd(5) != 0;
	/* Some end before their slot does, some go on behind it. */
	p->file_len = p->file_off + p->len;
	if (!rnd(6) && p->len > 1)
		p->file_len -= rnd(p->len);
	else if (!rnd(3))
		p->file_len += rnd(5000);
	if (p->file_len == 0)
		p->file_len = 1;
	image_pattern(p->path, p->file_len, (unsigned)i);
	m.size += p->len;
	for (uint64_t b = 0; b < p->len; b++)
		m.bytes[p->off + b] = image_pattern_byte(p->file_off + b, (unsigned)i);
}

static void make(enum engine_kind kind)
{
	const struct disk_cfg cfg = { .path = "disk.img",
				      .format = DISK_COMPOSITE,
				      .lock = true,
				      .sparse = true };
	struct proto_component c[MAX_PARTS];

	m.n = 1 + rnd(MAX_PARTS);
	m.first = m.size = rnd(4) ? 0 : 1 + rnd(3000);
	for (size_t i = 0; i < m.n; i++) {
		make_piece(&m.piece[i], i);
		c[i] = (struct proto_component){ .path = m.piece[i].path,
						 .offset = m.piece[i].off,
						 .file_offset = m.piece[i].file_off,
						 .writable = m.piece[i].writable };
	}
	image_composite("disk.img", 2, m.size, c, m.n);
	m.d = image_open(&cfg);
	io_attach(m.d, kind);
}

/* What a request to this range must end with. */
static int expected(enum disk_op op, uint64_t off, uint64_t len)
{
	if (off < m.first)
		return -EIO;
	for (size_t i = 0; i < m.n; i++) {
		const struct piece *p = &m.piece[i];
		uint64_t end = off + len < p->off + p->len ? off + len
							   : p->off + p->len;

		if (off + len <= p->off || off >= p->off + p->len)
			continue;
		if (op != DISK_READ && !p->writable)
			return -EROFS;
		if (end - p->off + p->file_off > p->file_len)
			return -EIO;
	}
	return 0;
}

/* --- requests -------------------------------------------------------------- */

struct request {
	struct disk_req req;
	struct iovec iov[4];
	unsigned char *buf, *want;
	int result, expect; /* result 1: under way */
};

static void on_done(struct disk_req *req, int result)
{
	struct request *r = req->owner;

	assert_int_equal(r->result, 1);
	r->result = result;
}

/* Cut the buffer anywhere, perhaps into empty ones. */
static void cut(struct request *r)
{
	size_t left = r->req.len, at = 0;

	r->req.n_iov = 1 + (unsigned)rnd(ARRAY_SIZE(r->iov));
	for (unsigned i = 0; i < r->req.n_iov; i++) {
		size_t len = i + 1 < r->req.n_iov ? rnd(left + 1) : left;

		r->iov[i] = (struct iovec){ r->buf + at, len };
		at += len;
		left -= len;
	}
	r->req.iov = r->iov;
}

static void change_model(struct request *r)
{
	unsigned char *p = m.bytes + r->req.off;

	if (r->req.op == DISK_WRITE)
		memcpy(p, r->buf, r->req.len);
	else
		memset(p, 0, r->req.len);
}

static void prepare(struct request *r)
{
	static const enum disk_op ops[] = { DISK_READ,	DISK_READ,    DISK_READ,
					    DISK_WRITE, DISK_WRITE,   DISK_WRITE,
					    DISK_ZERO,	DISK_DISCARD, DISK_FLUSH };
	enum disk_op op = ops[rnd(ARRAY_SIZE(ops))];
	uint64_t off = rnd(m.size), len = 1 + rnd(rnd(3) ? 3000 : m.size);

	if (len > m.size - off)
		len = m.size - off;
	if (op == DISK_FLUSH)
		off = len = 0;
	r->buf = malloc(len + 1);
	r->want = NULL;
	r->result = 1;
	r->req = (struct disk_req){ .op = op,
				    .unmap = rnd(2),
				    .off = off,
				    .len = len,
				    .done = on_done,
				    .owner = r };
	r->expect = op == DISK_FLUSH ? 0 : expected(op, off, len);
	for (uint64_t i = 0; i < len; i++)
		r->buf[i] = (unsigned char)rnd(256);
	if (op == DISK_READ || op == DISK_WRITE)
		cut(r);
}

/* Those that change something must not meet others: their order is nobody's. */
static bool meets(const struct request *a, const struct request *b)
{
	return (a->req.op != DISK_READ || b->req.op != DISK_READ) &&
	       a->req.off < b->req.off + b->req.len &&
	       b->req.off < a->req.off + a->req.len;
}

static void check(struct request *r, const char *where)
{
	if (r->result != r->expect)
		fail_msg("%s: operation %d at %llu + %llu: %d instead of %d", where,
			 r->req.op, (unsigned long long)r->req.off,
			 (unsigned long long)r->req.len, r->result, r->expect);
	if (r->want && memcmp(r->buf, r->want, r->req.len) != 0)
		fail_msg("%s: wrong bytes at %llu + %llu", where,
			 (unsigned long long)r->req.off,
			 (unsigned long long)r->req.len);
	free(r->buf);
	free(r->want);
}

/* A batch of requests that do not meet, all under way at once. */
static void batch(const char *where)
{
	struct request r[AT_ONCE];
	uint64_t offs[AT_ONCE];
	unsigned n = 0;

	while (n < AT_ONCE) {
		bool met = false;

		prepare(&r[n]);
		for (unsigned i = 0; i < n; i++)
			met |= meets(&r[i], &r[n]);
		if (met) {
			free(r[n].buf);
			break;
		}
		if (r[n].req.op == DISK_READ && r[n].expect == 0) {
			r[n].want = malloc(r[n].req.len);
			memcpy(r[n].want, m.bytes + r[n].req.off, r[n].req.len);
		}
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		offs[i] = r[i].req.off;
		if (r[i].expect == 0 && r[i].req.op != DISK_READ &&
		    r[i].req.op != DISK_FLUSH)
			change_model(&r[i]);
		disk_submit(m.d, &r[i].req);
	}
	engine_drain(io_engine);
	for (unsigned i = 0; i < n; i++) {
		r[i].req.off = offs[i];
		check(&r[i], where);
	}
}

/* Each file holds its part of the model, and around it what it held. */
static void check_files(const char *where)
{
	for (size_t i = 0; i < m.n; i++) {
		const struct piece *p = &m.piece[i];
		size_t len;
		unsigned char *file = image_read(p->path, &len);

		assert_int_equal(len, p->file_len);
		for (uint64_t b = 0; b < len; b++) {
			bool in = b >= p->file_off && b < p->file_off + p->len;
			unsigned char want = in ? m.bytes[p->off + b - p->file_off]
						: image_pattern_byte(b, (unsigned)i);

			if (file[b] != want)
				fail_msg("%s: %s: byte %llu", where, p->path,
					 (unsigned long long)b);
		}
		free(file);
	}
}

static void compare(enum engine_kind kind)
{
	const char *seed = getenv("VMM_SEED");

	random_state = seed ? strtoull(seed, NULL, 0) : 88172645463325252;
	for (unsigned round = 0; round < ROUNDS; round++) {
		char where[64];

		snprintf(where, sizeof(where), "round %u, seed 0x%llx", round,
			 (unsigned long long)random_state);
		make(kind);
		for (unsigned i = 0; i < REQUESTS / AT_ONCE * 2; i++)
			batch(where);
		io_close(m.d);
		check_files(where);
	}
}

static void composite_behaves_like_one_flat_disk_uring(void **state)
{
	(void)state;
	compare(ENGINE_URING);
}

static void composite_behaves_like_one_flat_disk_sync(void **state)
{
	(void)state;
	compare(ENGINE_SYNC);
}

#define IMAGE_TEST(f) cmocka_unit_test_setup_teardown(f, image_setup, image_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IMAGE_TEST(composite_behaves_like_one_flat_disk_uring),
		IMAGE_TEST(composite_behaves_like_one_flat_disk_sync),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
