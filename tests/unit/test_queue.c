/*
 * Split virtqueues against a guest that plays by the rules, one that breaks
 * each of them, and one that rewrites everything while it is read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "virtio/queue.h"

#define RAM_SIZE (64ull << 20)
#define HIGH_BASE (128ull << 20) /* a second range behind a hole */
#define HIGH_SIZE 0x10000ull
#define DESC 0x10000ull
#define AVAIL 0x20000ull
#define USED 0x30000ull
#define TABLE 0x40000ull
#define BUF 0x100000ull
#define SIZE 8u

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct rig {
	struct gmem mem;
	struct vq q;
	struct vring_desc *desc, *table;
	uint16_t *avail; /* flags, idx, ring, used_event */
	uint16_t *used;
	struct vq_chain chain;
};

static uint64_t page[4096 / 8];

static void start_with(struct rig *r, uint16_t size, bool event_idx, bool indirect)
{
	struct vq_cfg cfg = { size, GPA(DESC), GPA(AVAIL), GPA(USED) };
	const char *why = NULL;

	vq_stop(&r->q);
	memset(r->mem.base + DESC, 0, TABLE - DESC);
	assert_int_equal(vq_start(&r->q, &r->mem, &cfg, event_idx, indirect, &why), 0);
}

static int setup(void **state)
{
	struct gmem_range ranges[] = { { GPA(0), RAM_SIZE },
				       { GPA(HIGH_BASE), HIGH_SIZE } };
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	assert_int_equal(gmem_map(&r->mem, ranges, 2, NULL), 0);
	r->desc = (struct vring_desc *)(r->mem.base + DESC);
	r->table = (struct vring_desc *)(r->mem.base + TABLE);
	r->avail = (uint16_t *)(r->mem.base + AVAIL);
	r->used = (uint16_t *)(r->mem.base + USED);
	start_with(r, SIZE, true, true);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	gmem_unmap(&r->mem);
	free(r);
	return 0;
}

static void desc(struct rig *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	r->desc[i] = (struct vring_desc){ addr, len, flags, next };
}

static void entry(struct rig *r, unsigned i, uint64_t addr, uint32_t len,
		  uint16_t flags, uint16_t next)
{
	r->table[i] = (struct vring_desc){ addr, len, flags, next };
}

static void make_avail(struct rig *r, uint16_t head)
{
	r->avail[2 + r->avail[1] % r->q.size] = head;
	r->avail[1]++;
}

static struct vring_used_elem used_elem(const struct rig *r, unsigned i)
{
	struct vring_used_elem e;

	memcpy(&e, &r->used[2 + 4 * (i % r->q.size)], sizeof(e));
	return e;
}

static void assert_breaks(struct rig *r, const char *why)
{
	assert_int_equal(vq_pop(&r->q, &r->chain), -EPROTO);
	assert_true(r->q.broken);
	assert_string_equal(r->q.why, why);
	/* From then on there is nothing to take, or to say. */
	assert_int_equal(vq_pop(&r->q, &r->chain), 0);
	assert_false(vq_pending(&r->q));
	assert_false(vq_should_signal(&r->q));
	assert_false(vq_kicks(&r->q, true));
}

/* --- starting -------------------------------------------------------------- */

static void refuses_bad_configurations(void **state)
{
	struct rig *r = *state;
	static const struct {
		struct vq_cfg cfg;
		const char *why;
	} cases[] = {
		{ { 0, { DESC }, { AVAIL }, { USED } }, "queue size not allowed" },
		{ { 3, { DESC }, { AVAIL }, { USED } }, "queue size not allowed" },
		{ { 512, { DESC }, { AVAIL }, { USED } }, "queue size not allowed" },
		{ { 0x8000, { DESC }, { AVAIL }, { USED } }, "queue size not allowed" },
		{ { 8, { DESC + 8 }, { AVAIL }, { USED } },
		  "descriptor table misaligned" },
		{ { 8, { DESC }, { AVAIL + 1 }, { USED } },
		  "available ring misaligned" },
		{ { 8, { DESC }, { AVAIL }, { USED + 2 } }, "used ring misaligned" },
		{ { 8, { RAM_SIZE }, { AVAIL }, { USED } },
		  "descriptor table not in RAM" },
		{ { 8, { RAM_SIZE - 112 }, { AVAIL }, { USED } },
		  "descriptor table not in RAM" },
		{ { 8, { ~0xfull }, { AVAIL }, { USED } },
		  "descriptor table not in RAM" },
		{ { 8, { DESC }, { RAM_SIZE - 20 }, { USED } },
		  "available ring not in RAM" },
		{ { 8, { DESC }, { AVAIL }, { RAM_SIZE - 68 } },
		  "used ring not in RAM" },
		{ { 8, { DESC }, { AVAIL }, { HIGH_BASE - 4 } },
		  "used ring not in RAM" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vq q = { 0 };
		const char *why = NULL;

		assert_int_equal(vq_start(&q, &r->mem, &cases[i].cfg, true, true, &why),
				 -EINVAL);
		assert_string_equal(why, cases[i].why);
		assert_int_equal(q.size, 0);
	}
}

static void starts_at_the_very_end_of_ram(void **state)
{
	struct rig *r = *state;
	struct vq_cfg cfg = { 8, GPA(RAM_SIZE - 128), GPA(HIGH_BASE),
			      GPA(HIGH_BASE + HIGH_SIZE - 72) };
	const char *why = NULL;
	struct vq q;

	assert_int_equal(vq_start(&q, &r->mem, &cfg, true, true, &why), 0);
	assert_int_equal(vq_pop(&q, &r->chain), 0);
	assert_false(vq_kicks(&q, true)); /* writes the last field */
}

static void stopped_queue_is_inert(void **state)
{
	struct rig *r = *state;

	vq_stop(&r->q);
	make_avail(&(struct rig){ .avail = r->avail, .q.size = SIZE }, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 0);
	vq_push(&r->q, 0, 0);
	assert_false(vq_should_signal(&r->q));
	assert_false(vq_kicks(&r->q, true));
	assert_int_equal(r->used[1], 0);
}

/* --- honest chains --------------------------------------------------------- */

static void pops_a_chain_in_order(void **state)
{
	struct rig *r = *state;

	assert_int_equal(vq_pop(&r->q, &r->chain), 0);
	desc(r, 3, BUF, 16, NEXT, 5);
	desc(r, 5, BUF + 0x1000, 512, NEXT | WRITE, 1);
	desc(r, 1, BUF + 0x2000, 1, WRITE, 77 /* not looked at */);
	make_avail(r, 3);
	assert_true(vq_pending(&r->q));

	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(r->chain.head, 3);
	assert_int_equal(r->chain.n_out, 1);
	assert_int_equal(r->chain.n_in, 2);
	assert_int_equal(r->chain.out_len, 16);
	assert_int_equal(r->chain.in_len, 513);
	assert_ptr_equal(r->chain.iov[0].iov_base, r->mem.base + BUF);
	assert_ptr_equal(r->chain.iov[2].iov_base, r->mem.base + BUF + 0x2000);
	assert_false(vq_pending(&r->q));
	assert_int_equal(vq_pop(&r->q, &r->chain), 0);

	vq_push(&r->q, 3, 513);
	assert_int_equal(r->used[1], 1);
	assert_int_equal(used_elem(r, 0).id, 3);
	assert_int_equal(used_elem(r, 0).len, 513);
}

static void skips_empty_descriptors(void **state)
{
	struct rig *r = *state;

	/* The empty one would be out of RAM, and out of order. */
	desc(r, 0, BUF, 4, NEXT | WRITE, 1);
	desc(r, 1, ~0ull, 0, NEXT, 2);
	desc(r, 2, BUF, 4, WRITE, 0);
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(r->chain.n_out, 0);
	assert_int_equal(r->chain.n_in, 2);

	desc(r, 4, 0, 0, 0, 0);
	make_avail(r, 4);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(r->chain.n_out + r->chain.n_in, 0);
}

static void takes_indirect_tables(void **state)
{
	struct rig *r = *state;

	/* A direct descriptor first; the WRITE flag of the reference is ignored. */
	desc(r, 0, BUF, 16, NEXT, 1);
	desc(r, 1, TABLE + 1 /* needs no alignment */, 48, INDIRECT | WRITE, 0);
	entry(r, 0, BUF + 0x1000, 8, NEXT, 2);
	entry(r, 2, BUF + 0x2000, 9, WRITE | NEXT, 1);
	entry(r, 1, BUF + 0x3000, 10, WRITE, 0);
	memmove((char *)r->table + 1, r->table, 48);
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(r->chain.n_out, 2);
	assert_int_equal(r->chain.n_in, 2);
	assert_int_equal(r->chain.out_len, 24);
	assert_int_equal(r->chain.in_len, 19);
}

static void takes_the_longest_chains(void **state)
{
	struct rig *r = *state;

	for (uint16_t i = 0; i < SIZE; i++)
		desc(r, i, BUF, 1, i + 1u < SIZE ? NEXT : 0, (uint16_t)(i + 1));
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(r->chain.n_out, SIZE);
	vq_push(&r->q, 0, 0);

	for (uint16_t i = 0; i < VQ_MAX_SEGS; i++)
		entry(r, i, BUF, 1, i + 1u < VQ_MAX_SEGS ? NEXT : 0, (uint16_t)(i + 1));
	desc(r, 0, TABLE, VQ_MAX_SEGS * 16, INDIRECT, 0);
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(r->chain.n_out, VQ_MAX_SEGS);
}

static void full_ring_is_taken_whole(void **state)
{
	struct rig *r = *state;

	for (uint16_t i = 0; i < SIZE; i++) {
		desc(r, i, BUF, 1, 0, 0);
		make_avail(r, i);
	}
	for (uint16_t i = 0; i < SIZE; i++)
		assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_int_equal(vq_pop(&r->q, &r->chain), 0);
	/* Given back in another order. */
	for (uint16_t i = SIZE; i-- > 0;)
		vq_push(&r->q, i, i);
	assert_int_equal(r->used[1], SIZE);
	assert_int_equal(used_elem(r, 0).id, SIZE - 1);
}

static void indices_wrap_around(void **state)
{
	struct rig *r = *state;

	desc(r, 2, BUF, 4, WRITE, 0);
	for (uint32_t i = 0; i < 140000; i++) {
		make_avail(r, 2);
		r->avail[2 + SIZE] = (uint16_t)i; /* used_event */
		assert_int_equal(vq_pop(&r->q, &r->chain), 1);
		vq_push(&r->q, 2, i);
		assert_int_equal(r->used[1], (uint16_t)(i + 1));
		assert_int_equal(used_elem(r, i).len, i);
		assert_true(vq_should_signal(&r->q));
		assert_false(vq_should_signal(&r->q));
		assert_false(vq_kicks(&r->q, true));
		assert_int_equal(r->used[2 + 4 * SIZE], (uint16_t)(i + 1));
	}
}

/* --- broken rules ---------------------------------------------------------- */

static void available_index_must_not_jump(void **state)
{
	struct rig *r = *state;

	r->avail[1] = SIZE + 1;
	assert_true(vq_kicks(&r->q, true)); /* there is something: a broken rule */
	assert_breaks(r, "available index jumped");

	/* Backwards is a jump, too. */
	start_with(r, SIZE, true, true);
	r->avail[1] = 0xffff;
	assert_breaks(r, "available index jumped");
}

static void head_must_be_a_descriptor(void **state)
{
	struct rig *r = *state;

	make_avail(r, SIZE);
	assert_breaks(r, "head out of range");
	start_with(r, SIZE, true, true);
	make_avail(r, 0xffff);
	assert_breaks(r, "head out of range");
}

static void head_must_not_be_in_flight(void **state)
{
	struct rig *r = *state;

	desc(r, 1, BUF, 4, 0, 0);
	make_avail(r, 1);
	make_avail(r, 1);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_breaks(r, "head is already in flight");
	/* What was in flight is given back without effect. */
	vq_push(&r->q, 1, 0);
	assert_int_equal(r->used[1], 0);
}

static void same_head_may_come_again_when_given_back(void **state)
{
	struct rig *r = *state;

	start_with(r, 256, true, true);
	desc(r, 255, BUF, 4, 0, 0);
	for (int i = 0; i < 3; i++) {
		make_avail(r, 255);
		assert_int_equal(vq_pop(&r->q, &r->chain), 1);
		vq_push(&r->q, 255, 0);
	}
}

static void chain_must_end(void **state)
{
	struct rig *r = *state;

	desc(r, 0, BUF, 4, NEXT, 0);
	make_avail(r, 0);
	assert_breaks(r, "descriptor chain with a loop");

	/* Empty descriptors loop as well. */
	start_with(r, SIZE, true, true);
	desc(r, 0, BUF, 0, NEXT, 1);
	desc(r, 1, BUF, 0, NEXT, 0);
	make_avail(r, 0);
	assert_breaks(r, "descriptor chain with a loop");

	start_with(r, SIZE, true, true);
	desc(r, 0, TABLE, 32, INDIRECT, 0);
	entry(r, 0, BUF, 4, NEXT, 1);
	entry(r, 1, BUF, 4, NEXT, 0);
	make_avail(r, 0);
	assert_breaks(r, "descriptor chain with a loop");
}

static void next_must_be_a_descriptor(void **state)
{
	struct rig *r = *state;

	desc(r, 0, BUF, 4, NEXT, SIZE);
	make_avail(r, 0);
	assert_breaks(r, "next descriptor out of range");

	start_with(r, SIZE, true, true);
	desc(r, 0, TABLE, 32, INDIRECT, 0);
	entry(r, 0, BUF, 4, NEXT, 2);
	make_avail(r, 0);
	assert_breaks(r, "next descriptor out of range");
}

static void readable_comes_before_writable(void **state)
{
	struct rig *r = *state;

	desc(r, 0, BUF, 4, NEXT | WRITE, 1);
	desc(r, 1, BUF, 4, 0, 0);
	make_avail(r, 0);
	assert_breaks(r, "readable descriptor after a writable one");
}

static void buffers_must_be_in_ram(void **state)
{
	struct rig *r = *state;
	static const struct {
		uint64_t addr;
		uint32_t len;
		bool ok;
	} cases[] = {
		{ 0, 16, true }, /* address 0 is RAM like any other */
		{ DESC, 4096, true }, /* a guest may harm its own rings */
		{ RAM_SIZE - 1, 1, true },
		{ RAM_SIZE - 1, 2, false },
		{ RAM_SIZE, 1, false },
		{ 0, UINT32_MAX, false },
		{ HIGH_BASE - 1, 2, false },
		{ HIGH_BASE, HIGH_SIZE, true },
		{ HIGH_BASE, HIGH_SIZE + 1, false },
		{ RAM_SIZE - 4, HIGH_BASE - RAM_SIZE + 8, false },
		{ 0xd0000000, 4, false }, /* where BARs are */
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX - 3, 8, false }, /* wraps to 4 */
		{ UINT64_MAX - 0xfff, 0x2000, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start_with(r, SIZE, true, true);
		desc(r, 0, cases[i].addr, cases[i].len, WRITE, 0);
		make_avail(r, 0);
		if (cases[i].ok)
			assert_int_equal(vq_pop(&r->q, &r->chain), 1);
		else
			assert_breaks(r, "buffer not in RAM");
	}
}

static void chain_must_be_less_than_4_gib(void **state)
{
	struct rig *r = *state;

	/* 64 times all of RAM is 4 GiB; one byte less is allowed. */
	for (int over = 0; over <= 1; over++) {
		start_with(r, 64, true, true);
		for (uint16_t i = 0; i < 64; i++)
			desc(r, i, 0, RAM_SIZE, WRITE | (i < 63 ? NEXT : 0),
			     (uint16_t)(i + 1));
		r->desc[63].len -= !over;
		make_avail(r, 0);
		if (over) {
			assert_breaks(r, "chain of 4 GiB or more");
		} else {
			assert_int_equal(vq_pop(&r->q, &r->chain), 1);
			assert_int_equal(r->chain.in_len, UINT32_MAX);
		}
	}
}

static void indirect_rules(void **state)
{
	struct rig *r = *state;
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
		bool feature;
		const char *why;
	} cases[] = {
		{ TABLE, 16, INDIRECT, false,
		  "indirect descriptor without the feature" },
		{ TABLE, 16, INDIRECT | NEXT, true,
		  "indirect descriptor with a successor" },
		{ TABLE, 0, INDIRECT, true, "indirect table of a fractional size" },
		{ TABLE, 15, INDIRECT, true, "indirect table of a fractional size" },
		{ TABLE, 24, INDIRECT, true, "indirect table of a fractional size" },
		{ TABLE, 257 * 16, INDIRECT, true, "indirect table too long" },
		{ TABLE, 0xfffffff0, INDIRECT, true, "indirect table too long" },
		{ RAM_SIZE, 16, INDIRECT, true, "indirect table not in RAM" },
		{ RAM_SIZE - 16, 32, INDIRECT, true, "indirect table not in RAM" },
		{ UINT64_MAX - 15, 32, INDIRECT, true, "indirect table not in RAM" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		start_with(r, SIZE, true, cases[i].feature);
		desc(r, 0, cases[i].addr, cases[i].len, cases[i].flags, 1);
		desc(r, 1, BUF, 4, 0, 0);
		entry(r, 0, BUF, 4, 0, 0);
		make_avail(r, 0);
		assert_breaks(r, cases[i].why);
	}
}

static void indirect_tables_do_not_nest(void **state)
{
	struct rig *r = *state;

	desc(r, 0, TABLE, 32, INDIRECT, 0);
	entry(r, 0, TABLE, 16, INDIRECT, 0);
	make_avail(r, 0);
	assert_breaks(r, "nested indirect table");
}

static void segments_are_limited(void **state)
{
	struct rig *r = *state;

	desc(r, 0, BUF, 4, NEXT, 1);
	desc(r, 1, TABLE, VQ_MAX_SEGS * 16, INDIRECT, 0);
	for (uint16_t i = 0; i < VQ_MAX_SEGS; i++)
		entry(r, i, BUF, 1, i + 1u < VQ_MAX_SEGS ? NEXT : 0, (uint16_t)(i + 1));
	make_avail(r, 0);
	assert_breaks(r, "too many segments");
}

static void used_ring_is_never_read(void **state)
{
	struct rig *r = *state;

	desc(r, 0, BUF, 4, WRITE, 0);
	memset(r->used, 0xff, 6 + 8 * SIZE);
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	vq_push(&r->q, 0, 4);
	assert_int_equal(r->used[1], 1);
	assert_int_equal(used_elem(r, 0).id, 0);
}

/* --- who wants to be told -------------------------------------------------- */

/* Push @n entries, starting at free-running used index @from. */
static bool signals(struct rig *r, uint16_t from, unsigned n, uint16_t event)
{
	start_with(r, SIZE, true, true);
	r->q.next_used = r->q.signalled_used = from;
	r->avail[2 + SIZE] = event;
	desc(r, 0, BUF, 4, WRITE, 0);
	for (unsigned i = 0; i < n; i++) {
		make_avail(r, 0);
		assert_int_equal(vq_pop(&r->q, &r->chain), 1);
		vq_push(&r->q, 0, 0);
	}
	return vq_should_signal(&r->q);
}

static void event_index_asks_for_one_entry(void **state)
{
	struct rig *r = *state;

	assert_false(signals(r, 0, 0, 0)); /* nothing pushed */
	assert_true(signals(r, 0, 1, 0));
	assert_false(signals(r, 0, 1, 1)); /* not yet */
	assert_true(signals(r, 0, 2, 1));
	assert_true(signals(r, 0, 5, 2)); /* in the middle of a batch */
	assert_false(signals(r, 5, 1, 4)); /* long ago */
	assert_false(signals(r, 0, 1, 0xffff));
	assert_true(signals(r, 0xffff, 1, 0xffff));
	assert_true(signals(r, 0xfffe, 4, 0)); /* across the wrap */
	assert_false(signals(r, 0xfffe, 4, 2));
	assert_false(signals(r, 0x7fff, 3, 0xffff));
	assert_true(signals(r, 0, 65535, 65534));
	assert_false(signals(r, 0, 65535, 65535));
	/* After a full turn every event has passed. */
	assert_true(signals(r, 0, 65536, 12345));
	assert_true(signals(r, 7, 70000, 12345));
}

static void flag_asks_for_all_or_none(void **state)
{
	struct rig *r = *state;

	start_with(r, SIZE, false, false);
	desc(r, 0, BUF, 4, WRITE, 0);
	for (int i = 0; i < 4; i++) {
		r->avail[0] = i & 1;
		make_avail(r, 0);
		assert_int_equal(vq_pop(&r->q, &r->chain), 1);
		vq_push(&r->q, 0, 0);
		assert_int_equal(vq_should_signal(&r->q), !(i & 1));
		assert_false(vq_should_signal(&r->q)); /* nothing new */
	}
}

static void asks_for_kicks_by_event_index(void **state)
{
	struct rig *r = *state;
	const uint16_t *avail_event = &r->used[2 + 4 * SIZE];

	desc(r, 0, BUF, 4, 0, 0);
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);
	assert_false(vq_kicks(&r->q, false));
	assert_int_equal(*avail_event, 0);
	assert_false(vq_kicks(&r->q, true));
	assert_int_equal(*avail_event, 1);
	assert_int_equal(r->used[0], 0);
	/* Something came between the last look and the wish. */
	make_avail(r, 0);
	assert_true(vq_kicks(&r->q, true));
}

static void asks_for_kicks_by_flag(void **state)
{
	struct rig *r = *state;

	start_with(r, SIZE, false, false);
	assert_false(vq_kicks(&r->q, false));
	assert_int_equal(r->used[0], VRING_USED_F_NO_NOTIFY);
	assert_false(vq_kicks(&r->q, true));
	assert_int_equal(r->used[0], 0);
	make_avail(r, 0);
	assert_true(vq_kicks(&r->q, true));
}

/* --- the bytes ------------------------------------------------------------- */

static void bytes_are_copied_across_segments(void **state)
{
	struct rig *r = *state;
	unsigned char *ram = r->mem.base;
	char buf[16] = "";
	struct iovec iov[VQ_MAX_SEGS];

	memcpy(ram + BUF, "abc", 3);
	memcpy(ram + BUF + 0x1000, "defg", 4);
	desc(r, 0, BUF, 3, NEXT, 1);
	desc(r, 1, BUF + 0x1000, 4, NEXT, 2);
	desc(r, 2, BUF + 0x2000, 2, NEXT | WRITE, 3);
	desc(r, 3, BUF + 0x3000, 5, WRITE, 0);
	make_avail(r, 0);
	assert_int_equal(vq_pop(&r->q, &r->chain), 1);

	assert_int_equal(vq_read(&r->chain, 0, buf, sizeof(buf)), 7);
	assert_memory_equal(buf, "abcdefg", 7);
	assert_int_equal(vq_read(&r->chain, 2, buf, 3), 3);
	assert_memory_equal(buf, "cde", 3);
	assert_int_equal(vq_read(&r->chain, 7, buf, 1), 0);
	assert_int_equal(vq_read(&r->chain, UINT64_MAX, buf, 1), 0);

	assert_int_equal(vq_write(&r->chain, 1, "12345678", 8), 6);
	assert_memory_equal(ram + BUF + 0x2000, "\0001", 2);
	assert_memory_equal(ram + BUF + 0x3000, "23456", 5);
	assert_int_equal(vq_write(&r->chain, 7, "x", 1), 0);

	assert_int_equal(vq_slices(&r->chain, true, 1, 3, iov), 2);
	assert_ptr_equal(iov[0].iov_base, ram + BUF + 0x2001);
	assert_int_equal(iov[0].iov_len, 1);
	assert_ptr_equal(iov[1].iov_base, ram + BUF + 0x3000);
	assert_int_equal(iov[1].iov_len, 2);
	assert_int_equal(vq_slices(&r->chain, true, 2, 5, iov), 1);
	assert_int_equal(vq_slices(&r->chain, true, 2, 6, iov), 0); /* too short */
	assert_int_equal(vq_slices(&r->chain, false, 3, 0, iov), 0);
	assert_int_equal(vq_slices(&r->chain, false, 1, UINT64_MAX, iov), 0);
}

/* --- a second vCPU --------------------------------------------------------- */

struct hammer {
	struct rig *r;
	bool stop;
};

static uint32_t random_next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Rewrites descriptors, tables and rings as fast as it can. */
static void *hammer(void *arg)
{
	struct hammer *h = arg;
	struct rig *r = h->r;
	uint32_t x = 2463534242u;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		uint32_t v = random_next(&x);
		bool good = v & 0x30000;
		volatile struct vring_desc *d = v & 0x40000 ? &r->desc[v % SIZE]
							    : &r->table[v % SIZE];

		d->addr = good ? BUF : (uint64_t)v << (v % 33);
		d->addr = v & 0x80000 ? TABLE : d->addr;
		d->len = good ? v % 129 & ~15u : v;
		d->flags = v >> 20 & 7;
		d->next = v >> 23 & (good ? SIZE - 1 : 31);
		if (!(v & 0xf00))
			((volatile uint16_t *)r->avail)[1 + v % (SIZE + 1)] =
				(uint16_t)(v >> 9);
		else
			((volatile uint16_t *)r->avail)[2 + v % SIZE] = v >> 8 &
									(SIZE - 1);
		((volatile uint16_t *)r->avail)[1] += v >> 31;
	}
	return NULL;
}

static void survives_rewriting_while_it_walks(void **state)
{
	struct rig *r = *state;
	struct hammer h = { .r = r };
	unsigned popped = 0, broke = 0;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, hammer, &h), 0);
	/* Until both have happened, on however busy a machine. */
	for (unsigned i = 0; i < 300000 || !popped || !broke; i++) {
		const struct vq_chain *c = &r->chain;
		int n = vq_pop(&r->q, &r->chain);

		if (r->q.broken) {
			struct vq_cfg cfg = { SIZE, GPA(DESC), GPA(AVAIL), GPA(USED) };
			const char *why;

			broke++;
			assert_int_equal(
				vq_start(&r->q, &r->mem, &cfg, true, true, &why), 0);
			r->q.next_avail = __atomic_load_n(&r->avail[1],
							  __ATOMIC_RELAXED);
		}
		if (n != 1)
			continue;
		popped++;
		assert_in_range(c->n_out + c->n_in, 0, VQ_MAX_SEGS);
		for (unsigned s = 0; s < c->n_out + c->n_in; s++) {
			uint64_t at = (uint64_t)((unsigned char *)c->iov[s].iov_base -
						 r->mem.base);

			assert_true(c->iov[s].iov_len > 0);
			assert_non_null(
				gmem_slice(&r->mem, GPA(at), c->iov[s].iov_len));
		}
		/* What a device would do with it. */
		vq_read(c, 0, page, sizeof(page));
		vq_push(&r->q, c->head, (uint32_t)c->in_len);
		vq_should_signal(&r->q);
		vq_kicks(&r->q, i & 1);
	}
	__atomic_store_n(&h.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refuses_bad_configurations),
		TEST(starts_at_the_very_end_of_ram),
		TEST(stopped_queue_is_inert),
		TEST(pops_a_chain_in_order),
		TEST(skips_empty_descriptors),
		TEST(takes_indirect_tables),
		TEST(takes_the_longest_chains),
		TEST(full_ring_is_taken_whole),
		TEST(indices_wrap_around),
		TEST(available_index_must_not_jump),
		TEST(head_must_be_a_descriptor),
		TEST(head_must_not_be_in_flight),
		TEST(same_head_may_come_again_when_given_back),
		TEST(chain_must_end),
		TEST(next_must_be_a_descriptor),
		TEST(readable_comes_before_writable),
		TEST(buffers_must_be_in_ram),
		TEST(chain_must_be_less_than_4_gib),
		TEST(indirect_rules),
		TEST(indirect_tables_do_not_nest),
		TEST(segments_are_limited),
		TEST(used_ring_is_never_read),
		TEST(event_index_asks_for_one_entry),
		TEST(flag_asks_for_all_or_none),
		TEST(asks_for_kicks_by_event_index),
		TEST(asks_for_kicks_by_flag),
		TEST(bytes_are_copied_across_segments),
		TEST(survives_rewriting_while_it_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
