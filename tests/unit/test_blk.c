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
#include "tests/unit/fake_driver.h"

#define BLK_ID 2
#define QUEUES 16
#define SECTORS 2048u
#define SIZE (SECTORS * 512)
#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	int image;
	unsigned char *map; /* of the image */
	char path[32];
	struct virtio_blk_cfg cfg;
	gpa_t header, data, status;
};

/* In place of libc's, for disk/raw.c. */
static unsigned syncs;
static int sync_errno;

int fdatasync(int fd)
{
	(void)fd;
	syncs++;
	errno = sync_errno;
	return sync_errno ? -1 : 0;
}

static unsigned char pattern(uint64_t off)
{
	return (unsigned char)(off / 512 * 7 + off);
}

static void create(struct env *e)
{
	struct err err;

	fake_host_init(&e->host, "blk0", 8 << 20);
	if (virtio_blk_class.create(&e->cfg, &e->host.host, &e->dev, &err) < 0)
		fail_msg("%s", err.msg);
	e->header = fake_alloc(&e->host, 16, 16);
	e->status = fake_alloc(&e->host, 1, 1);
	e->data = fake_alloc(&e->host, 256 << 10, 4096);
}

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	e->image = memfd_create("image", 0);
	assert_int_equal(ftruncate(e->image, SIZE), 0);
	e->map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, e->image, 0);
	assert_true(e->map != MAP_FAILED);
	for (uint64_t i = 0; i < SIZE; i++)
		e->map[i] = pattern(i);
	snprintf(e->path, sizeof(e->path), "/proc/self/fd/%d", e->image);
	e->cfg = (struct virtio_blk_cfg){ .path = e->path, .block_size = 512 };
	syncs = 0;
	sync_errno = 0;
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	if (e->dev) {
		virtio_blk_class.free(e->dev);
		fake_host_free(&e->host);
	}
	munmap(e->map, SIZE);
	close(e->image);
	free(e);
	return 0;
}

static void start(struct env *e, uint64_t features)
{
	if (!e->dev)
		create(e);
	fake_driver_start(&e->d, &e->host, BLK_ID, features);
}

static void *data(struct env *e)
{
	return fake_ptr(&e->host, e->data, 256 << 10);
}

static void put_header(struct env *e, uint32_t type, uint64_t sector)
{
	unsigned char *h = fake_ptr(&e->host, e->header, 16);

	le32_put(h, type);
	le32_put(h + 4, 0x5a5a5a5a);
	le64_put(h + 8, sector);
	*(unsigned char *)fake_ptr(&e->host, e->status, 1) = UNTOUCHED;
}

static uint8_t status(struct env *e)
{
	return *(unsigned char *)fake_ptr(&e->host, e->status, 1);
}

/* One request in three segments, or two without data. */
static uint8_t request(struct env *e, unsigned q, uint32_t type, uint64_t sector,
		       uint32_t len, uint32_t *ret_used)
{
	struct fake_seg segs[3] = { { e->header, 16, false } };
	unsigned n = 1;
	uint32_t used;

	put_header(e, type, sector);
	if (len)
		segs[n++] = (struct fake_seg){ e->data, len, type != OUT };
	segs[n++] = (struct fake_seg){ e->status, 1, true };
	used = fake_request(&e->d, q, segs, n);
	if (ret_used)
		*ret_used = used;
	return status(e);
}

static void image_holds_pattern(struct env *e, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		assert_int_equal(e->map[i], pattern(i));
}

static void data_holds_pattern(struct env *e, uint64_t off, uint64_t len)
{
	const unsigned char *p = data(e);

	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(p[i], pattern(off + i));
}

static bool broken(struct env *e)
{
	return fake_status(&e->d) & FAKE_NEEDS_RESET;
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
	assert_int_equal(opt_parse(virtio_blk_class.opts,
				   "a.img,ro,id=x,o_direct,lock=false,block_size=4096",
				   &cfg, &err),
			 0);
	assert_string_equal(cfg.path, "a.img");
	assert_string_equal(cfg.id, "x");
	assert_true(cfg.read_only && cfg.direct && !cfg.lock);
	assert_int_equal(cfg.block_size, 4096);
	opt_free(virtio_blk_class.opts, &cfg);

	memset(&cfg, 0, sizeof(cfg));
	assert_int_equal(opt_parse(virtio_blk_class.opts, "id=x", &cfg, &err), -EINVAL);
	opt_free(virtio_blk_class.opts, &cfg);
	memset(&cfg, 0, sizeof(cfg));
	assert_int_equal(opt_parse(virtio_blk_class.opts, "a.img,sparse", &cfg, &err),
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
	struct env *e = *state;
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
	struct env *e = *state;

	e->cfg.block_size = 4096;
	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(fake_driver_offered(&e->d) & 0xffffff, 0x1244);
	assert_int_equal(fake_config_in(&e->d, 0, 4), SECTORS);
	assert_int_equal(fake_config_in(&e->d, 4, 4), 0);
	assert_int_equal(fake_config_in(&e->d, 12, 4), 254);
	assert_int_equal(fake_config_in(&e->d, 20, 4), 4096);
	assert_int_equal(fake_config_in(&e->d, 34, 2), QUEUES);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), QUEUES);
	assert_int_equal(e->d.q[QUEUES - 1].size, 256);
}

/* --- requests -------------------------------------------------------------- */

static void every_request_works_on_every_queue(void **state)
{
	struct env *e = *state;
	char id[] = "serial";
	uint32_t used;

	e->cfg.id = id;
	start(e, FAKE_ALL_FEATURES);
	for (unsigned q = 0; q < QUEUES; q++) {
		assert_int_equal(request(e, q, IN, q * 3, 1536, &used), OK);
		assert_int_equal(used, 1537);
		data_holds_pattern(e, q * 1536, 1536);

		memset(data(e), (int)q + 1, 1024);
		assert_int_equal(request(e, q, OUT, 100 + 2 * q, 1024, &used), OK);
		assert_int_equal(used, 1);
		assert_int_equal(e->map[(101 + 2 * q) * 512], q + 1);

		assert_int_equal(request(e, q, FLUSH, 0, 0, &used), OK);
		assert_int_equal(used, 1);
		assert_int_equal(syncs, q + 1);

		assert_int_equal(request(e, q, GET_ID, 0, 20, &used), OK);
		assert_int_equal(used, 21);
		assert_memory_equal(data(e), "serial\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);

		assert_int_equal(request(e, q, 11, 0, 16, &used), UNSUPP);
		assert_int_equal(used, 1);
		assert_int_equal(request(e, q, UINT32_MAX, 0, 0, &used), UNSUPP);
		assert_int_equal(used, 1);
	}
	image_holds_pattern(e, 0, 100 * 512);
	image_holds_pattern(e, (100 + 2 * QUEUES) * 512, 512);
}

static void framing_is_the_drivers_choice(void **state)
{
	struct env *e = *state;
	gpa_t h, joint;
	unsigned char *p;

	start(e, FAKE_ALL_FEATURES);
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
	put_header(e, IN, 9);
	assert_int_equal(fake_request(&e->d, 0, in, 6), 513);
	p = fake_ptr(&e->host, joint, 513);
	memcpy((char *)data(e) + 3, p + 3, 509);
	data_holds_pattern(e, 9 * 512, 512);
	assert_int_equal(p[512], OK);

	/* Header and data in one; a writable segment that only its end is used of. */
	struct fake_seg out[] = {
		{ joint, 16 + 512, false },
		{ e->data, 100, true },
	};
	p = fake_ptr(&e->host, joint, 16 + 512);
	memset(p, 'x', 16 + 512);
	memset(data(e), UNTOUCHED, 100);
	put_header(e, OUT, 10);
	memcpy(p, fake_ptr(&e->host, h, 16), 16);
	assert_int_equal(fake_request(&e->d, 0, out, 2), 1);
	assert_int_equal(((unsigned char *)data(e))[98], UNTOUCHED);
	assert_int_equal(((unsigned char *)data(e))[99], OK);
	image_holds_pattern(e, 9 * 512, 512);
	image_holds_pattern(e, 11 * 512, 512);
	assert_int_equal(request(e, 0, IN, 10, 512, NULL), OK);
	assert_memory_equal(data(e), p + 16, 512);
}

/* 254 data segments, of uneven lengths that add up to whole sectors. */
static void data_may_lie_in_as_many_segments_as_promised(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[256];
	uint64_t at = 0;
	uint16_t head;

	start(e, FAKE_ALL_FEATURES);
	segs[0] = (struct fake_seg){ e->header, 16, false };
	for (unsigned i = 0; i < 254; i++) {
		uint32_t len = i == 253 ? 512 * 512 - (uint32_t)at : 1 + i * 31 % 1000;

		segs[1 + i] = (struct fake_seg){ GPA(e->data.v + at), len, true };
		at += len;
	}
	segs[255] = (struct fake_seg){ e->status, 1, true };
	assert_int_equal(at, 512 * 512);

	put_header(e, IN, 1000);
	assert_int_equal(fake_request(&e->d, 3, segs, 256), 512 * 512 + 1);
	assert_int_equal(status(e), OK);
	data_holds_pattern(e, 1000 * 512, 512 * 512);

	memset(data(e), 0, 512 * 512);
	put_header(e, IN, 1001);
	fake_submit_indirect(&e->d, 3, segs, 256);
	fake_kick(&e->d, 3);
	assert_int_equal(fake_wait_used(&e->d, 3, &head), 512 * 512 + 1);
	assert_int_equal(status(e), OK);
	data_holds_pattern(e, 1001 * 512, 512 * 512);
}

static void id_buffers_may_be_short_or_long(void **state)
{
	static const uint32_t lens[] = { 1, 5, 19, 20, 21, 4096 };
	struct env *e = *state;
	char id[] = "abcdefghijklmnopqrst";
	uint32_t used;

	e->cfg.id = id;
	start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		uint32_t n = lens[i] < 20 ? lens[i] : 20;

		memset(data(e), UNTOUCHED, 4096);
		assert_int_equal(request(e, 0, GET_ID, 0, lens[i], &used), OK);
		assert_int_equal(used, n + 1);
		assert_memory_equal(data(e), id, n);
		assert_int_equal(((unsigned char *)data(e))[n], UNTOUCHED);
	}
	assert_int_equal(request(e, 0, GET_ID, 0, 0, &used), OK);
	assert_int_equal(used, 1);
}

static void requests_in_vain_get_an_error_and_change_nothing(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		uint8_t want;
	} cases[] = {
		{ SECTORS - 1, 512, OK },
		{ SECTORS, 0, OK },
		{ SECTORS - 1, 1024, IOERR },
		{ SECTORS, 512, IOERR },
		{ SECTORS + 1, 0, IOERR },
		{ 1ull << 55, 512, IOERR }, /* becomes 0 when shifted */
		{ UINT64_MAX / 512, 512, IOERR },
		{ UINT64_MAX, 512, IOERR },
		{ 0, 511, IOERR },
		{ 0, 513, IOERR },
		{ 0, 1, IOERR },
	};
	struct env *e = *state;
	uint32_t used;

	start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t len = cases[i].len;
		uint8_t want = cases[i].want;

		assert_int_equal(request(e, 0, IN, cases[i].sector, len, &used), want);
		assert_int_equal(used, want == OK ? len + 1 : 1);
		/* What the good ones write is what they have read. */
		if (want != OK)
			memset(data(e), 'x', 4096);
		assert_int_equal(request(e, 0, OUT, cases[i].sector, len, &used), want);
		assert_int_equal(used, 1);
	}
	image_holds_pattern(e, 0, SIZE);
	assert_int_equal(lseek(e->image, 0, SEEK_END), SIZE);
	assert_false(broken(e));
}

static void a_short_header_is_an_error_if_there_is_room_to_say_so(void **state)
{
	struct env *e = *state;
	struct fake_seg alone[] = { { e->status, 1, true } };
	struct fake_seg cut[] = { { e->header, 15, false }, { e->status, 1, true } };

	start(e, FAKE_ALL_FEATURES);
	alone[0].addr = cut[1].addr = e->status;
	cut[0].addr = e->header;
	put_header(e, IN, 0);
	assert_int_equal(fake_request(&e->d, 0, alone, 1), 1);
	assert_int_equal(status(e), IOERR);
	put_header(e, IN, 0);
	assert_int_equal(fake_request(&e->d, 1, cut, 2), 1);
	assert_int_equal(status(e), IOERR);
	assert_int_equal(request(e, 0, IN, 0, 512, NULL), OK);
}

static void a_request_without_a_status_byte_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[1];
	unsigned char before[16];
	uint16_t head;
	uint32_t len;

	start(e, FAKE_ALL_FEATURES);
	segs[0] = (struct fake_seg){ e->header, 16, false };
	put_header(e, OUT, 0);
	memcpy(before, fake_ptr(&e->host, e->header, 16), 16);
	fake_submit(&e->d, 2, segs, 1);
	fake_kick(&e->d, 2);
	assert_true(broken(e));
	assert_false(fake_used(&e->d, 2, &head, &len));
	assert_memory_equal(before, fake_ptr(&e->host, e->header, 16), 16);

	/* No queue is served now. */
	fake_submit(&e->d, 3, segs, 1);
	fake_kick(&e->d, 3);
	assert_false(fake_used(&e->d, 3, &head, &len));

	start(e, FAKE_ALL_FEATURES);
	assert_false(broken(e));
	assert_int_equal(request(e, 2, IN, 5, 512, NULL), OK);
	data_holds_pattern(e, 5 * 512, 512);
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;

	start(e, FAKE_ALL_FEATURES);
	fake_avail(&e->d, 1, 65535);
	fake_kick(&e->d, 1);
	assert_true(broken(e));
	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(request(e, 1, IN, 5, 512, NULL), OK);
}

static void a_read_only_disk_can_be_read_and_nothing_else(void **state)
{
	struct env *e = *state;
	uint32_t used;

	e->cfg.read_only = true;
	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(fake_driver_offered(&e->d) & (F_RO | F_FLUSH), F_RO);
	assert_int_equal(request(e, 0, IN, 7, 512, &used), OK);
	data_holds_pattern(e, 7 * 512, 512);
	memset(data(e), 0, 512);
	assert_int_equal(request(e, 0, OUT, 7, 512, &used), IOERR);
	assert_int_equal(used, 1);
	assert_int_equal(request(e, 0, FLUSH, 0, 0, &used), OK);
	assert_int_equal(syncs, 0);
	image_holds_pattern(e, 7 * 512, 512);
}

static void writes_are_stable_at_once_for_a_driver_without_flush(void **state)
{
	struct env *e = *state;

	start(e, FAKE_ALL_FEATURES & ~F_FLUSH);
	assert_int_equal(request(e, 0, OUT, 1, 512, NULL), OK);
	assert_int_equal(syncs, 1);
	assert_int_equal(request(e, 0, IN, 1, 512, NULL), OK);
	assert_int_equal(syncs, 1);
	sync_errno = EIO;
	assert_int_equal(request(e, 0, OUT, 1, 512, NULL), IOERR);

	start(e, FAKE_ALL_FEATURES);
	syncs = 0;
	assert_int_equal(request(e, 0, OUT, 1, 512, NULL), OK);
	assert_int_equal(syncs, 0);
}

static void a_failed_flush_is_reported_for_ever(void **state)
{
	struct env *e = *state;

	start(e, FAKE_ALL_FEATURES);
	sync_errno = EIO;
	assert_int_equal(request(e, 0, FLUSH, 0, 0, NULL), IOERR);
	sync_errno = 0;
	assert_int_equal(request(e, 1, FLUSH, 0, 0, NULL), IOERR);
	assert_int_equal(request(e, 0, OUT, 0, 512, NULL), OK);
	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(request(e, 0, FLUSH, 0, 0, NULL), IOERR);
	assert_int_equal(request(e, 0, IN, 1, 512, NULL), OK);
}

static void a_host_error_fails_its_request_only(void **state)
{
	struct env *e = *state;

	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(ftruncate(e->image, 4096), 0);
	assert_int_equal(request(e, 0, IN, 100, 512, NULL), IOERR);
	assert_int_equal(request(e, 0, IN, 7, 1024, NULL), IOERR);
	assert_int_equal(request(e, 0, IN, 7, 512, NULL), OK);
	assert_false(broken(e));
}

/* --- the device's manners -------------------------------------------------- */

static void full_queues_are_all_served(void **state)
{
	struct env *e = *state;
	uint32_t len;
	uint16_t head;

	start(e, FAKE_ALL_FEATURES);
	for (unsigned q = 0; q < 4; q++)
		for (unsigned i = 0; i < 256; i++) {
			struct fake_seg segs[] = {
				{ e->header, 16, false },
				{ GPA(e->data.v + 1024 * i), 512, true },
				{ GPA(e->data.v + 1024 * i + 512), 1, true },
			};

			put_header(e, IN, 77);
			fake_submit_indirect(&e->d, q, segs, 3);
		}
	memset(data(e), UNTOUCHED, 256 << 10);
	for (unsigned q = 0; q < 4; q++)
		fake_kick(&e->d, q);
	for (unsigned q = 0; q < 4; q++) {
		for (unsigned i = 0; i < 256; i++) {
			assert_true(fake_used(&e->d, q, &head, &len));
			assert_int_equal(len, 513);
		}
		assert_false(fake_used(&e->d, q, &head, &len));
		assert_int_equal(fake_interrupts(&e->d, q + 1) > 0, 1);
	}
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(((unsigned char *)data(e))[1024 * i + 512], OK);
	/* It asks to be kicked for what comes now. */
	fake_submit(&e->d, 0, (struct fake_seg[]){ { e->status, 1, true } }, 1);
	assert_true(fake_wants_kick(&e->d, 0, (uint16_t)(e->d.q[0].avail_idx - 1)));
}

static void nothing_is_written_after_a_reset(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[3];
	const volatile uint16_t *used;

	start(e, FAKE_ALL_FEATURES);
	used = e->d.q[0].used;
	segs[0] = (struct fake_seg){ e->header, 16, false };
	segs[1] = (struct fake_seg){ e->data, 512, true };
	segs[2] = (struct fake_seg){ e->status, 1, true };
	put_header(e, IN, 3);
	memset(data(e), UNTOUCHED, 512);
	fake_submit(&e->d, 0, segs, 3);
	/* The kick is there, but the device's thread has not seen it yet. */
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[0], 0, 2);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	assert_int_equal(status(e), UNTOUCHED);
	assert_int_equal(((unsigned char *)data(e))[0], UNTOUCHED);
	assert_int_equal(used[1], 0);

	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(request(e, 0, IN, 3, 512, NULL), OK);
	data_holds_pattern(e, 3 * 512, 512);
}

static void completions_interrupt_by_msix(void **state)
{
	struct env *e = *state;

	start(e, FAKE_ALL_FEATURES);
	fake_interrupts(&e->d, 6);
	assert_int_equal(request(e, 5, IN, 0, 512, NULL), OK);
	assert_int_equal(fake_interrupts(&e->d, 6), 1);
}

static void completions_interrupt_by_intx(void **state)
{
	struct env *e = *state;

	create(e);
	fake_driver_start_intx(&e->d, &e->host, BLK_ID, FAKE_ALL_FEATURES);
	fake_isr(&e->d);
	assert_int_equal(request(e, 5, IN, 0, 512, NULL), OK);
	assert_true(e->host.level[PCI_INTX_GSI(e->d.slot)]);
	assert_int_equal(fake_isr(&e->d), 1);
	assert_false(e->host.level[PCI_INTX_GSI(e->d.slot)]);
}

struct hammer {
	struct env *e;
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
	struct env *e = *state;
	unsigned served = 0;

	for (unsigned round = 0; round < 40; round++) {
		struct hammer h = { .e = e };
		volatile struct fake_desc *desc;
		pthread_t thread;

		start(e, FAKE_ALL_FEATURES);
		desc = e->d.q[0].desc;
		assert_int_equal(pthread_create(&thread, NULL, hammer, &h), 0);
		for (unsigned i = 0; i < 100 && !broken(e); i++) {
			put_header(e, IN, i);
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
			served += status(e) != UNTOUCHED;
		}
		__atomic_store_n(&h.stop, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
	}
	assert_true(served > 0);
	start(e, FAKE_ALL_FEATURES);
	assert_int_equal(request(e, 0, GET_ID, 0, 20, NULL), OK);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_fill_the_configuration),
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

	return cmocka_run_group_tests(tests, NULL, NULL);
}
