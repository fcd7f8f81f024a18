/* The block device, through real rings, over an image in memory. */
#include "virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/blk_rig.h"

#define QUEUES 16
#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)
#define F_DISCARD (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

static void image_holds_pattern(struct rig *e, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		assert_int_equal(e->map[i], rig_pattern(i));
}

static void data_holds_pattern(struct rig *e, uint64_t off, uint64_t len)
{
	const unsigned char *p = rig_data(e);

	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(p[i], rig_pattern(off + i));
}

static unsigned syncs(const struct rig *e)
{
	return fault_count(e->fault, DISK_FLUSH);
}

/* --- start-up -------------------------------------------------------------- */

static void options_fill_the_configuration(void **state)
{
	struct virtio_blk_cfg cfg = { 0 };
	struct err err;

	(void)state;
	opt_defaults(virtio_blk_class.opts, &cfg);
	assert_true(cfg.lock);
	assert_int_equal(cfg.block_size, 512);
	assert_true(cfg.sparse);
	assert_int_equal(cfg.format, DISK_AUTO);
	assert_int_equal(cfg.executor, ENGINE_AUTO);
	assert_int_equal(opt_parse(virtio_blk_class.opts,
				   "a.img,ro,id=x,o_direct,lock=false,block_size=4096,"
				   "sparse=false,format=raw,async_executor=epoll",
				   &cfg, &err),
			 0);
	assert_string_equal(cfg.path, "a.img");
	assert_string_equal(cfg.id, "x");
	assert_true(cfg.read_only && cfg.direct && !cfg.lock);
	assert_int_equal(cfg.block_size, 4096);
	assert_false(cfg.sparse);
	assert_int_equal(cfg.format, DISK_RAW);
	assert_int_equal(cfg.executor, ENGINE_SYNC);
	opt_free(virtio_blk_class.opts, &cfg);

	memset(&cfg, 0, sizeof(cfg));
	assert_int_equal(opt_parse(virtio_blk_class.opts, "id=x", &cfg, &err), -EINVAL);
	opt_free(virtio_blk_class.opts, &cfg);
	memset(&cfg, 0, sizeof(cfg));
	assert_int_equal(opt_parse(virtio_blk_class.opts, "a.img,packed", &cfg, &err),
			 -EINVAL);
	opt_free(virtio_blk_class.opts, &cfg);
	memset(&cfg, 0, sizeof(cfg));
	assert_int_equal(opt_parse(virtio_blk_class.opts,
				   "a.img,id=123456789012345678901", &cfg, &err),
			 -EINVAL);
	assert_non_null(strstr(err.msg, "longer than 20 bytes"));
	opt_free(virtio_blk_class.opts, &cfg);
}

static void what_cannot_be_is_refused_with_a_reason(void **state)
{
	struct rig *e = *state;
	struct fake_host host;
	struct device *dev = NULL;
	struct err err;

	fake_host_init(&host, "blk0", 0);
	e->cfg.block_size = 1000;
	assert_int_equal(virtio_blk_class.create(&e->cfg, &host.host, &dev, &err),
			 -EINVAL);
	assert_non_null(strstr(err.msg, "block-size=1000"));
	e->cfg.block_size = 512;
	assert_int_equal(ftruncate(e->image, 0), 0);
	assert_int_equal(virtio_blk_class.create(&e->cfg, &host.host, &dev, &err),
			 -EINVAL);
	assert_non_null(strstr(err.msg, e->path));
	assert_null(dev);
	fake_host_free(&host);
}

static void the_guest_sees_size_queues_and_features(void **state)
{
	struct rig *e = *state;

	e->cfg.block_size = 4096;
	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(fake_driver_offered(&e->d) & 0xffffff, 0x7244);
	assert_int_equal(fake_config_in(&e->d, 0, 4), RIG_SECTORS);
	assert_int_equal(fake_config_in(&e->d, 4, 4), 0);
	assert_int_equal(fake_config_in(&e->d, 12, 4), 254);
	assert_int_equal(fake_config_in(&e->d, 20, 4), 4096);
	assert_int_equal(fake_config_in(&e->d, 34, 2), QUEUES);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), QUEUES);
	assert_int_equal(e->d.q[QUEUES - 1].size, 256);
}

static void discards_and_zeroes_have_the_limits_that_guests_expect(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(fake_config_in(&e->d, 36, 4), UINT32_MAX);
	assert_int_equal(fake_config_in(&e->d, 40, 4), 32);
	assert_int_equal(fake_config_in(&e->d, 44, 4), 128);
	assert_int_equal(fake_config_in(&e->d, 48, 4), UINT32_MAX);
	assert_int_equal(fake_config_in(&e->d, 52, 4), 32);
	assert_int_equal(fake_config_in(&e->d, 56, 1), 1);
}

static void a_disk_that_is_not_sparse_offers_no_discards(void **state)
{
	struct rig *e = *state;

	e->cfg.sparse = false;
	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(fake_driver_offered(&e->d) & 0xffffff, 0x5244);
	assert_int_equal(fake_config_in(&e->d, 40, 4), 0);
	assert_int_equal(fake_config_in(&e->d, 56, 1), 0);
}

/* --- requests -------------------------------------------------------------- */

static void every_request_works_on_every_queue(void **state)
{
	struct rig *e = *state;
	char id[] = "serial";
	uint32_t used;

	e->cfg.id = id;
	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned q = 0; q < QUEUES; q++) {
		assert_int_equal(rig_request(e, q, IN, q * 3, 1536, &used), OK);
		assert_int_equal(used, 1537);
		data_holds_pattern(e, q * 1536, 1536);

		memset(rig_data(e), (int)q + 1, 1024);
		assert_int_equal(rig_request(e, q, OUT, 100 + 2 * q, 1024, &used), OK);
		assert_int_equal(used, 1);
		assert_int_equal(e->map[(101 + 2 * q) * 512], q + 1);

		assert_int_equal(rig_request(e, q, FLUSH, 0, 0, &used), OK);
		assert_int_equal(used, 1);
		assert_int_equal(syncs(e), q + 1);

		assert_int_equal(rig_request(e, q, GET_ID, 0, 20, &used), OK);
		assert_int_equal(used, 21);
		assert_memory_equal(rig_data(e), "serial\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
				    20);

		assert_int_equal(rig_request(e, q, 12, 0, 16, &used), UNSUPP);
		assert_int_equal(used, 1);
		assert_int_equal(rig_request(e, q, UINT32_MAX, 0, 0, &used), UNSUPP);
		assert_int_equal(used, 1);
	}
	image_holds_pattern(e, 0, 100 * 512);
	image_holds_pattern(e, (100 + 2 * QUEUES) * 512, 512);
}

static void framing_is_the_drivers_choice(void **state)
{
	struct rig *e = *state;
	gpa_t h, joint;
	unsigned char *p;

	rig_start(e, FAKE_ALL_FEATURES);
	h = e->header;
	joint = fake_alloc(&e->host, 16 + 512, 1);

	/* The header in odd pieces; data and status in two that share a segment. */
	struct fake_seg in[] = {
		{ h, 1, false },
		{ GPA(h.v + 1), 4, false },
		{ GPA(h.v + 5), 10, false },
		{ GPA(h.v + 15), 1, false },
		{ e->data, 3, true },
		{ GPA(joint.v + 3), 510, true },
	};
	rig_put_header(e, IN, 9);
	assert_int_equal(fake_request(&e->d, 0, in, 6), 513);
	p = fake_ptr(&e->host, joint, 513);
	memcpy((char *)rig_data(e) + 3, p + 3, 509);
	data_holds_pattern(e, 9 * 512, 512);
	assert_int_equal(p[512], OK);

	/* Header and data in one; a writable segment that only its end is used of. */
	struct fake_seg out[] = {
		{ joint, 16 + 512, false },
		{ e->data, 100, true },
	};
	p = fake_ptr(&e->host, joint, 16 + 512);
	memset(p, 'x', 16 + 512);
	memset(rig_data(e), UNTOUCHED, 100);
	rig_put_header(e, OUT, 10);
	memcpy(p, fake_ptr(&e->host, h, 16), 16);
	assert_int_equal(fake_request(&e->d, 0, out, 2), 1);
	assert_int_equal(((unsigned char *)rig_data(e))[98], UNTOUCHED);
	assert_int_equal(((unsigned char *)rig_data(e))[99], OK);
	image_holds_pattern(e, 9 * 512, 512);
	image_holds_pattern(e, 11 * 512, 512);
	assert_int_equal(rig_request(e, 0, IN, 10, 512, NULL), OK);
	assert_memory_equal(rig_data(e), p + 16, 512);
}

/* 254 data segments, of uneven lengths that add up to whole sectors. */
static void data_may_lie_in_as_many_segments_as_promised(void **state)
{
	struct rig *e = *state;
	struct fake_seg segs[256];
	uint64_t at = 0;
	uint16_t head;

	rig_start(e, FAKE_ALL_FEATURES);
	segs[0] = (struct fake_seg){ e->header, 16, false };
	for (unsigned i = 0; i < 254; i++) {
		uint32_t len = i == 253 ? 512 * 512 - (uint32_t)at : 1 + i * 31 % 1000;

		segs[1 + i] = (struct fake_seg){ GPA(e->data.v + at), len, true };
		at += len;
	}
	segs[255] = (struct fake_seg){ e->status, 1, true };
	assert_int_equal(at, 512 * 512);

	rig_put_header(e, IN, 1000);
	assert_int_equal(fake_request(&e->d, 3, segs, 256), 512 * 512 + 1);
	assert_int_equal(rig_status(e), OK);
	data_holds_pattern(e, 1000 * 512, 512 * 512);

	memset(rig_data(e), 0, 512 * 512);
	rig_put_header(e, IN, 1001);
	fake_submit_indirect(&e->d, 3, segs, 256);
	fake_kick(&e->d, 3);
	assert_int_equal(fake_wait_used(&e->d, 3, &head), 512 * 512 + 1);
	assert_int_equal(rig_status(e), OK);
	data_holds_pattern(e, 1001 * 512, 512 * 512);
}

static void id_buffers_may_be_short_or_long(void **state)
{
	static const uint32_t lens[] = { 1, 5, 19, 20, 21, 4096 };
	struct rig *e = *state;
	char id[] = "abcdefghijklmnopqrst";
	uint32_t used;

	e->cfg.id = id;
	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		uint32_t n = lens[i] < 20 ? lens[i] : 20;

		memset(rig_data(e), UNTOUCHED, 4096);
		assert_int_equal(rig_request(e, 0, GET_ID, 0, lens[i], &used), OK);
		assert_int_equal(used, n + 1);
		assert_memory_equal(rig_data(e), id, n);
		assert_int_equal(((unsigned char *)rig_data(e))[n], UNTOUCHED);
	}
	assert_int_equal(rig_request(e, 0, GET_ID, 0, 0, &used), OK);
	assert_int_equal(used, 1);
}

static void requests_in_vain_get_an_error_and_change_nothing(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t want;
	} cases[] = {
		{ RIG_SECTORS - 1, 512, OK },
		{ RIG_SECTORS, 0, OK },
		{ RIG_SECTORS - 1, 1024, IOERR },
		{ RIG_SECTORS, 512, IOERR },
		{ RIG_SECTORS + 1, 0, IOERR },
		{ 1ull << 55, 512, IOERR }, /* becomes 0 when shifted */
		{ UINT64_MAX / 512, 512, IOERR },
		{ UINT64_MAX, 512, IOERR },
		{ 0, 511, IOERR },
		{ 0, 513, IOERR },
		{ 0, 1, IOERR },
	};
	struct rig *e = *state;
	uint32_t used;

	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t len = cases[i].len;
		uint8_t want = cases[i].want;

		assert_int_equal(rig_request(e, 0, IN, cases[i].sector, len, &used),
				 want);
		assert_int_equal(used, want == OK ? len + 1 : 1);
		/* What the good ones write is what they have read. */
		if (want != OK)
			memset(rig_data(e), 'x', 4096);
		assert_int_equal(rig_request(e, 0, OUT, cases[i].sector, len, &used),
				 want);
		assert_int_equal(used, 1);
	}
	image_holds_pattern(e, 0, RIG_SIZE);
	assert_int_equal(lseek(e->image, 0, SEEK_END), RIG_SIZE);
	assert_false(rig_broken(e));
}

static void a_short_header_is_an_error_if_there_is_room_to_say_so(void **state)
{
	struct rig *e = *state;
	struct fake_seg alone[] = { { e->status, 1, true } };
	struct fake_seg cut[] = { { e->header, 15, false }, { e->status, 1, true } };

	rig_start(e, FAKE_ALL_FEATURES);
	alone[0].addr = cut[1].addr = e->status;
	cut[0].addr = e->header;
	rig_put_header(e, IN, 0);
	assert_int_equal(fake_request(&e->d, 0, alone, 1), 1);
	assert_int_equal(rig_status(e), IOERR);
	rig_put_header(e, IN, 0);
	assert_int_equal(fake_request(&e->d, 1, cut, 2), 1);
	assert_int_equal(rig_status(e), IOERR);
	assert_int_equal(rig_request(e, 0, IN, 0, 512, NULL), OK);
}

static void a_request_without_a_status_byte_breaks_the_device_until_reset(void **state)
{
	struct rig *e = *state;
	struct fake_seg segs[1];
	unsigned char before[16];
	uint16_t head;
	uint32_t len;

	rig_start(e, FAKE_ALL_FEATURES);
	segs[0] = (struct fake_seg){ e->header, 16, false };
	rig_put_header(e, OUT, 0);
	memcpy(before, fake_ptr(&e->host, e->header, 16), 16);
	fake_submit(&e->d, 2, segs, 1);
	fake_kick(&e->d, 2);
	assert_true(rig_broken(e));
	assert_false(fake_used(&e->d, 2, &head, &len));
	assert_memory_equal(before, fake_ptr(&e->host, e->header, 16), 16);

	/* No queue is served now. */
	fake_submit(&e->d, 3, segs, 1);
	fake_kick(&e->d, 3);
	assert_false(fake_used(&e->d, 3, &head, &len));

	rig_start(e, FAKE_ALL_FEATURES);
	assert_false(rig_broken(e));
	assert_int_equal(rig_request(e, 2, IN, 5, 512, NULL), OK);
	data_holds_pattern(e, 5 * 512, 512);
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	fake_avail(&e->d, 1, 65535);
	fake_kick(&e->d, 1);
	assert_true(rig_broken(e));
	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(rig_request(e, 1, IN, 5, 512, NULL), OK);
}

static void put_range(struct rig *e, unsigned i, uint64_t sector, uint32_t count,
		      uint32_t flags)
{
	unsigned char *p = (unsigned char *)rig_data(e) + (size_t)i * 16;

	le64_put(p, sector);
	le32_put(p + 8, count);
	le32_put(p + 12, flags);
}

static void image_is_zero(struct rig *e, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		assert_int_equal(e->map[i], 0);
}

static void ranges_are_discarded_and_zeroed(void **state)
{
	struct rig *e = *state;
	uint32_t used;

	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < 32; i++)
		put_range(e, i, 10 + 20 * i, 8, 0);
	assert_int_equal(rig_request(e, 1, WRITE_ZEROES, 0, 32 * 16, &used), OK);
	assert_int_equal(used, 1);
	image_holds_pattern(e, 0, 10 * 512);
	for (unsigned i = 0; i < 32; i++) {
		image_is_zero(e, (10 + 20 * i) * 512, 8 * 512);
		image_holds_pattern(e, (18 + 20 * i) * 512, 12 * 512);
	}
	/* Unmapped; in a memfd that is a hole. */
	put_range(e, 0, 1000, 16, 1);
	put_range(e, 1, 1100, 0, 1);
	assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, 32, NULL), OK);
	image_is_zero(e, 1000 * 512, 16 * 512);
	image_holds_pattern(e, 1016 * 512, 200 * 512);
	assert_int_equal(fault_count(e->fault, DISK_ZERO), 33);
	put_range(e, 0, 1200, 16, 0);
	assert_int_equal(rig_request(e, 0, DISCARD, 77, 16, NULL), OK);
	image_is_zero(e, 1200 * 512, 16 * 512);
	assert_int_equal(fault_count(e->fault, DISK_DISCARD), 1);
}

static void ranges_in_vain_get_an_error_and_change_nothing(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t count, flags;
		uint8_t want;
	} cases[] = {
		{ DISCARD, 0, 8, 1, UNSUPP },
		{ DISCARD, 0, 8, 2, UNSUPP },
		{ WRITE_ZEROES, 0, 8, 2, UNSUPP },
		{ WRITE_ZEROES, 0, 8, 0x80000001, UNSUPP },
		{ DISCARD, RIG_SECTORS - 1, 2, 0, IOERR },
		{ WRITE_ZEROES, RIG_SECTORS - 1, 2, 0, IOERR },
		{ WRITE_ZEROES, RIG_SECTORS, 1, 0, IOERR },
		{ WRITE_ZEROES, 0, UINT32_MAX, 0, IOERR },
		{ WRITE_ZEROES, UINT64_MAX, UINT32_MAX, 0, IOERR },
		{ WRITE_ZEROES, 1ull << 55, 1, 0, IOERR },
	};
	static const uint32_t lens[] = { 0, 1, 15, 17, 33 * 16 };
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		/* Nor is the good range before it touched. */
		put_range(e, 0, 100, 8, 0);
		put_range(e, 1, cases[i].sector, cases[i].count, cases[i].flags);
		assert_int_equal(rig_request(e, 0, cases[i].type, 0, 32, NULL),
				 cases[i].want);
	}
	memset(rig_data(e), 0, 33 * 16);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(rig_request(e, 0, DISCARD, 0, lens[i], NULL), IOERR);
		assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, lens[i], NULL),
				 IOERR);
	}
	image_holds_pattern(e, 0, RIG_SIZE);
	assert_false(rig_broken(e));

	/* Nor without the feature. */
	rig_start(e, FAKE_ALL_FEATURES & ~(F_DISCARD | F_WRITE_ZEROES));
	put_range(e, 0, 100, 8, 0);
	assert_int_equal(rig_request(e, 0, DISCARD, 0, 16, NULL), UNSUPP);
	assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, 16, NULL), UNSUPP);
	image_holds_pattern(e, 0, RIG_SIZE);
}

static void a_range_that_the_host_refuses_fails_the_request(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < 4; i++)
		put_range(e, i, 8 * i, 8, 0);
	fault_fail(e->fault, DISK_ZERO, 2, 1, -ENOSPC, 0);
	assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, 64, NULL), IOERR);
	image_holds_pattern(e, 16 * 512, 16 * 512);
	assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, 64, NULL), OK);
	image_is_zero(e, 0, 32 * 512);
}

static void a_read_only_disk_can_be_read_and_nothing_else(void **state)
{
	struct rig *e = *state;
	uint32_t used;

	e->cfg.read_only = true;
	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(fake_driver_offered(&e->d) & 0xffffff, 0x1064);
	assert_int_equal(rig_request(e, 0, IN, 7, 512, &used), OK);
	data_holds_pattern(e, 7 * 512, 512);
	memset(rig_data(e), 0, 512);
	assert_int_equal(rig_request(e, 0, OUT, 7, 512, &used), IOERR);
	assert_int_equal(used, 1);
	put_range(e, 0, 0, 8, 0);
	assert_int_equal(rig_request(e, 0, DISCARD, 0, 16, &used), UNSUPP);
	assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, 16, &used), UNSUPP);
	assert_int_equal(rig_request(e, 0, FLUSH, 0, 0, &used), OK);
	assert_int_equal(syncs(e), 0);
	image_holds_pattern(e, 7 * 512, 512);
}

static void writes_are_stable_at_once_for_a_driver_without_flush(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES & ~F_FLUSH);
	assert_int_equal(rig_request(e, 0, OUT, 1, 512, NULL), OK);
	assert_int_equal(syncs(e), 1);
	assert_int_equal(rig_request(e, 0, IN, 1, 512, NULL), OK);
	assert_int_equal(syncs(e), 1);
	put_range(e, 0, 0, 8, 0);
	assert_int_equal(rig_request(e, 0, WRITE_ZEROES, 0, 16, NULL), OK);
	assert_int_equal(syncs(e), 2);
	fault_fail(e->fault, DISK_FLUSH, 0, 1, -EIO, 0);
	assert_int_equal(rig_request(e, 0, OUT, 1, 512, NULL), IOERR);

	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(rig_request(e, 0, OUT, 1, 512, NULL), OK);
	assert_int_equal(syncs(e), 3);
}

static void a_failed_flush_is_reported_for_ever(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	fault_fail(e->fault, DISK_FLUSH, 0, 1, -EIO, 0);
	assert_int_equal(rig_request(e, 0, FLUSH, 0, 0, NULL), IOERR);
	assert_int_equal(rig_request(e, 1, FLUSH, 0, 0, NULL), IOERR);
	assert_int_equal(rig_request(e, 0, OUT, 0, 512, NULL), OK);
	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(rig_request(e, 0, FLUSH, 0, 0, NULL), IOERR);
	assert_int_equal(rig_request(e, 0, IN, 1, 512, NULL), OK);
}

static void a_host_error_fails_its_request_only(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(ftruncate(e->image, 4096), 0);
	assert_int_equal(rig_request(e, 0, IN, 100, 512, NULL), IOERR);
	assert_int_equal(rig_request(e, 0, IN, 7, 1024, NULL), IOERR);
	assert_int_equal(rig_request(e, 0, IN, 7, 512, NULL), OK);
	assert_false(rig_broken(e));
}

/* --- the device's manners -------------------------------------------------- */

static void full_queues_are_all_served(void **state)
{
	struct rig *e = *state;
	uint32_t len;
	uint16_t head;

	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned q = 0; q < 4; q++)
		for (unsigned i = 0; i < 256; i++) {
			struct fake_seg segs[] = {
				{ e->header, 16, false },
				{ GPA(e->data.v + 1024 * i), 512, true },
				{ GPA(e->data.v + 1024 * i + 512), 1, true },
			};

			rig_put_header(e, IN, 77);
			fake_submit_indirect(&e->d, q, segs, 3);
		}
	memset(rig_data(e), UNTOUCHED, 256 << 10);
	for (unsigned q = 0; q < 4; q++)
		fake_kick(&e->d, q);
	for (unsigned q = 0; q < 4; q++) {
		for (unsigned i = 0; i < 256; i++) {
			len = fake_wait_used(&e->d, q, &head);
			assert_int_equal(len, 513);
		}
		assert_false(fake_used(&e->d, q, &head, &len));
		assert_int_equal(fake_interrupts(&e->d, q + 1) > 0, 1);
	}
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(((unsigned char *)rig_data(e))[1024 * i + 512], OK);
	/* It asks to be kicked for what comes now. */
	fake_submit(&e->d, 0, (struct fake_seg[]){ { e->status, 1, true } }, 1);
	assert_true(fake_wants_kick(&e->d, 0, (uint16_t)(e->d.q[0].avail_idx - 1)));
}

static void nothing_is_written_after_a_reset(void **state)
{
	struct rig *e = *state;
	struct fake_seg segs[3];
	const volatile uint16_t *used;

	rig_start(e, FAKE_ALL_FEATURES);
	used = e->d.q[0].used;
	segs[0] = (struct fake_seg){ e->header, 16, false };
	segs[1] = (struct fake_seg){ e->data, 512, true };
	segs[2] = (struct fake_seg){ e->status, 1, true };
	rig_put_header(e, IN, 3);
	memset(rig_data(e), UNTOUCHED, 512);
	fake_submit(&e->d, 0, segs, 3);
	/* The kick is there, but the device's thread has not seen it yet. */
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[0], 0, 2);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	assert_int_equal(rig_status(e), UNTOUCHED);
	assert_int_equal(((unsigned char *)rig_data(e))[0], UNTOUCHED);
	assert_int_equal(used[1], 0);

	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(rig_request(e, 0, IN, 3, 512, NULL), OK);
	data_holds_pattern(e, 3 * 512, 512);
}

static void completions_interrupt_by_msix(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	fake_interrupts(&e->d, 6);
	assert_int_equal(rig_request(e, 5, IN, 0, 512, NULL), OK);
	assert_int_equal(fake_interrupts(&e->d, 6), 1);
}

static void completions_interrupt_by_intx(void **state)
{
	struct rig *e = *state;

	rig_create(e);
	fake_driver_start_intx(&e->d, &e->host, RIG_BLK_ID, FAKE_ALL_FEATURES);
	fake_isr(&e->d);
	assert_int_equal(rig_request(e, 5, IN, 0, 512, NULL), OK);
	assert_true(e->host.level[PCI_INTX_GSI(e->d.slot)]);
	assert_int_equal(fake_isr(&e->d), 1);
	assert_false(e->host.level[PCI_INTX_GSI(e->d.slot)]);
}

static void a_resize_shows_in_the_configuration(void **state)
{
	struct rig *e = *state;
	struct err err = { "" };
	uint8_t generation;
	int fd = e->image;

	rig_start(e, FAKE_ALL_FEATURES);
	generation = (uint8_t)fake_common_in(&e->d, FAKE_GENERATION, 1);
	fake_interrupts(&e->d, 0);

	assert_int_equal(virtio_blk_resize(e->dev, 2 * RIG_SIZE, &err), 0);
	assert_int_equal(fake_config_in(&e->d, 0, 4), 2 * RIG_SECTORS);
	assert_int_equal(fake_interrupts(&e->d, 0), 1);
	assert_int_not_equal(fake_common_in(&e->d, FAKE_GENERATION, 1), generation);
	assert_int_equal(lseek(fd, 0, SEEK_END), 2 * RIG_SIZE);
	assert_int_equal(rig_request(e, 0, OUT, 2 * RIG_SECTORS - 1, 512, NULL), OK);
	assert_int_equal(rig_request(e, 0, OUT, 2 * RIG_SECTORS, 512, NULL), IOERR);

	assert_int_equal(virtio_blk_resize(e->dev, RIG_SIZE, &err), 0);
	assert_int_equal(rig_request(e, 0, IN, RIG_SECTORS, 512, NULL), IOERR);
	assert_int_equal(fake_interrupts(&e->d, 0), 1);
	assert_int_equal(virtio_blk_resize(e->dev, RIG_SIZE + 100, &err), -EINVAL);
	assert_int_equal(fake_interrupts(&e->d, 0), 0);
	assert_int_equal(fake_config_in(&e->d, 0, 4), RIG_SECTORS);
}

struct hammer {
	struct rig *e;
	bool stop;
};

/* A second vCPU that rewrites header and descriptors all the time. */
__attribute__((no_sanitize("thread"))) static void *hammer(void *arg)
{
	struct hammer *h = arg;
	volatile unsigned char *header = fake_ptr(&h->e->host, h->e->header, 16);
	volatile unsigned char *desc = (volatile unsigned char *)h->e->d.q[0].desc;
	uint32_t r = 1;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		r = r * 1664525 + 1013904223;
		header[r >> 28] = (unsigned char)(r >> 16 & 0x0b);
		/* Often enough to be seen, not so often that nothing else is. */
		if ((r >> 8 & 0x3f) == 0)
			desc[r >> 26] = (unsigned char)(r >> 16);
	}
	return NULL;
}

static void a_guest_that_rewrites_requests_hurts_only_itself(void **state)
{
	struct rig *e = *state;
	unsigned served = 0;

	for (unsigned round = 0; round < 40; round++) {
		struct hammer h = { .e = e };
		volatile struct fake_desc *desc;
		pthread_t thread;

		rig_start(e, FAKE_ALL_FEATURES);
		desc = e->d.q[0].desc;
		assert_int_equal(pthread_create(&thread, NULL, hammer, &h), 0);
		for (unsigned i = 0; i < 100 && !rig_broken(e); i++) {
			rig_put_header(e, IN, i);
			desc[0].addr = e->header.v;
			desc[0].len = 16;
			desc[0].flags = FAKE_F_NEXT;
			desc[0].next = 1;
			desc[1].addr = e->data.v;
			desc[1].len = 8192;
			desc[1].flags = FAKE_F_NEXT | FAKE_F_WRITE;
			desc[1].next = 2;
			desc[2].addr = e->status.v;
			desc[2].len = 1;
			desc[2].flags = FAKE_F_WRITE;
			fake_avail(&e->d, 0, 0);
			fake_kick(&e->d, 0);
			rig_settle(e, 0);
			served += rig_status(e) != UNTOUCHED;
		}
		__atomic_store_n(&h.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
	}
	assert_true(served > 0);
	rig_start(e, FAKE_ALL_FEATURES);
	assert_int_equal(rig_request(e, 0, GET_ID, 0, 20, NULL), OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_fill_the_configuration),
		TEST(discards_and_zeroes_have_the_limits_that_guests_expect),
		TEST(a_disk_that_is_not_sparse_offers_no_discards),
		TEST(ranges_are_discarded_and_zeroed),
		TEST(ranges_in_vain_get_an_error_and_change_nothing),
		TEST(a_range_that_the_host_refuses_fails_the_request),
		TEST(a_resize_shows_in_the_configuration),
		TEST(what_cannot_be_is_refused_with_a_reason),
		TEST(the_guest_sees_size_queues_and_features),
		TEST(every_request_works_on_every_queue),
		TEST(framing_is_the_drivers_choice),
		TEST(data_may_lie_in_as_many_segments_as_promised),
		TEST(id_buffers_may_be_short_or_long),
		TEST(requests_in_vain_get_an_error_and_change_nothing),
		TEST(a_short_header_is_an_error_if_there_is_room_to_say_so),
		TEST(a_request_without_a_status_byte_breaks_the_device_until_reset),
		TEST(a_broken_ring_breaks_the_device_until_reset),
		TEST(a_read_only_disk_can_be_read_and_nothing_else),
		TEST(writes_are_stable_at_once_for_a_driver_without_flush),
		TEST(a_failed_flush_is_reported_for_ever),
		TEST(a_host_error_fails_its_request_only),
		TEST(full_queues_are_all_served),
		TEST(nothing_is_written_after_a_reset),
		TEST(completions_interrupt_by_msix),
		TEST(completions_interrupt_by_intx),
		TEST(a_guest_that_rewrites_requests_hurts_only_itself),
	};

	int failed;

	rig_kind = ENGINE_URING;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_kind = ENGINE_SYNC;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
