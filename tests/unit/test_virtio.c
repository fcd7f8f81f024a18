/*
 * The virtio PCI transport, driven from the guest's side: an echo device whose
 * queue 0 answers at once and whose queue 1 keeps what it gets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"

#define ID 42
#define FEATURE_TOY (1ull << 3)
#define QUEUES 3
#define GSI PCI_INTX_GSI(1)

struct echo {
	struct virtio_dev v;
	unsigned starts, stops, kicks[QUEUES];
	bool stop_saw_running;
	struct vq_chain chain;
	uint16_t kept; /* head on queue 1 */
};

struct rig {
	struct fake_host host;
	struct echo *echo;
	struct fake_driver d;
};

static void echo_start(struct virtio_dev *v)
{
	((struct echo *)v)->starts++;
}

static void echo_stop(struct virtio_dev *v)
{
	struct echo *e = (struct echo *)v;

	e->stops++;
	e->stop_saw_running |= v->running;
}

static void echo_kick(struct virtio_dev *v, unsigned n)
{
	struct echo *e = (struct echo *)v;
	struct vq *q = &v->queues[n];
	char buf[64];
	int r;

	e->kicks[n]++;
	do {
		vq_kicks(q, false);
		while ((r = vq_pop(q, &e->chain)) == 1) {
			size_t len = vq_read(&e->chain, 0, buf, sizeof(buf));

			if (n == 1) {
				e->kept = e->chain.head;
				continue;
			}
			len = vq_write(&e->chain, 0, buf, len);
			vq_push(q, e->chain.head, (uint32_t)len);
		}
	} while (r == 0 && vq_kicks(q, true));
	if (r < 0)
		virtio_broken(v, q->why);
	else
		virtio_signal(v, n);
}

static void echo_config_write(struct virtio_dev *v, uint64_t off, const void *buf,
			      size_t len)
{
	memcpy(v->config + off, buf, len);
}

static const struct virtio_ops echo_ops = {
	.id = ID,
	.pci_class = 0x088000,
	.start = echo_start,
	.kick = echo_kick,
	.stop = echo_stop,
	.config_write = echo_config_write,
};

static void echo_free(struct device *dev)
{
	struct echo *e = (struct echo *)dev;

	virtio_free(&e->v);
	free(e);
}

static const struct dev_class echo_class = {
	.name = "echo",
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.free = echo_free,
};

static struct echo *echo_new(struct fake_host *host)
{
	struct echo *e = calloc(1, sizeof(*e));
	struct err err = { "" };

	assert_non_null(e);
	e->v.offered = FEATURE_TOY;
	e->v.n_queues = QUEUES;
	e->v.queue_size[0] = 256;
	e->v.queue_size[1] = 16;
	e->v.queue_size[2] = 8;
	memcpy(e->v.config, "configuration", 13);
	e->v.config_len = 13;
	assert_int_equal(virtio_init(&e->v, &echo_class, &echo_ops, &host->host, &err),
			 0);
	return e;
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	fake_host_init(&r->host, "echo0", 1 << 20);
	r->echo = echo_new(&r->host);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	echo_free(&r->echo->v.dev);
	fake_host_free(&r->host);
	free(r);
	return 0;
}

/* One request of @text on queue @q, which comes back. */
static void echo(struct rig *r, unsigned q, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	gpa_t out = fake_put(&r->host, text, len);
	gpa_t in = fake_alloc(&r->host, len, 1);
	struct fake_seg segs[] = { { out, len, false }, { in, len, true } };

	assert_int_equal(fake_request(&r->d, q, segs, 2), len);
	assert_memory_equal(fake_ptr(&r->host, in, len), text, len);
}

static unsigned n_notifies(const struct rig *r)
{
	unsigned n = 0;

	for (size_t i = 0; i < FAKE_MAX_NOTIFIES; i++)
		n += r->host.notifies[i].dev != NULL;
	return n;
}

/* Found, reset, features accepted: where queue tests begin. */
static void negotiate(struct rig *r)
{
	fake_driver_find(&r->d, &r->host, ID, 0);
	fake_driver_reset(&r->d);
	assert_true(fake_driver_negotiate(&r->d, fake_driver_offered(&r->d)));
}

/* --- what it looks like ---------------------------------------------------- */

static void function_looks_like_crosvms(void **state)
{
	struct rig *r = *state;

	fake_driver_find(&r->d, &r->host, ID, 0);
	assert_int_equal(r->d.slot, 1);
	assert_int_equal(fake_pci_in(&r->d, 8, 4), 0x08800001);
	assert_int_equal(fake_pci_in(&r->d, 0x2c, 2), 0x1af4);
	assert_true(fake_pci_in(&r->d, 0x2e, 2) >= 0x40);
	assert_int_equal(r->d.common - r->d.bar, 0);
	assert_int_equal(r->d.isr - r->d.bar, 0x1000);
	assert_int_equal(r->d.device - r->d.bar, 0x2000);
	assert_int_equal(r->d.notify - r->d.bar, 0x3000);
	assert_int_equal(r->d.notify_multiplier, 4);
	assert_int_equal(r->d.msix_table - r->d.bar, 0x6000);
	assert_int_equal(r->d.msix_pba - r->d.bar, 0x7000);
	assert_int_equal(r->d.n_vectors, QUEUES + 1);
	assert_int_equal(fake_driver_offered(&r->d),
			 FEATURE_TOY | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
				 VIRTIO_F_VERSION_1);
	fake_common_out(&r->d, FAKE_DEVICE_FEATURE_SELECT, 2, 4);
	assert_int_equal(fake_common_in(&r->d, FAKE_DEVICE_FEATURE, 4), 0);
	fake_common_out(&r->d, FAKE_DEVICE_FEATURE_SELECT, 0xffffffff, 4);
	assert_int_equal(fake_common_in(&r->d, FAKE_DEVICE_FEATURE, 4), 0);
}

/* --- end to end ------------------------------------------------------------ */

static void requests_work_by_msix(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	assert_int_equal(r->echo->starts, 1);
	assert_int_equal(n_notifies(r), QUEUES);
	echo(r, 0, "hello");
	assert_int_equal(fake_interrupts(&r->d, 1), 1);
	echo(r, 2, "there");
	assert_int_equal(fake_interrupts(&r->d, 3), 1);
	assert_int_equal(fake_interrupts(&r->d, 0), 0);
	assert_false(r->host.level[GSI]);
	assert_int_equal(r->echo->kicks[1], 0); /* had nothing */
}

static void requests_work_by_intx(void **state)
{
	struct rig *r = *state;

	fake_driver_start_intx(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 0, "hello");
	assert_true(r->host.level[GSI]);
	assert_int_equal(fake_isr(&r->d), 1);
	assert_false(r->host.level[GSI]);
	assert_int_equal(fake_isr(&r->d), 0);
	echo(r, 0, "again");
	assert_true(r->host.level[GSI]);
	assert_int_equal(r->host.rises[GSI], 2);
}

static void requests_work_without_any_option(void **state)
{
	struct rig *r = *state;

	/* No EVENT_IDX, no INDIRECT_DESC, no notify by the host. */
	r->host.no_notify = true;
	fake_driver_start(&r->d, &r->host, ID, VIRTIO_F_VERSION_1);
	assert_int_equal(n_notifies(r), 0);
	for (int i = 0; i < 600; i++)
		echo(r, 0, "slow");
	assert_int_equal(fake_interrupts(&r->d, 1), 600);
}

static void indirect_requests_work(void **state)
{
	struct rig *r = *state;
	gpa_t out = fake_put(&r->host, "indirect", 8);
	gpa_t in = fake_alloc(&r->host, 8, 1);
	struct fake_seg segs[] = { { out, 8, false },
				   { in, 4, true },
				   { GPA(in.v + 4), 4, true } };
	uint16_t head;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_submit_indirect(&r->d, 0, segs, 3);
	fake_kick(&r->d, 0);
	assert_int_equal(fake_wait_used(&r->d, 0, &head), 8);
	assert_memory_equal(fake_ptr(&r->host, in, 8), "indirect", 8);
}

static void event_index_saves_kicks_and_interrupts(void **state)
{
	struct rig *r = *state;
	gpa_t buf = fake_alloc(&r->host, 4, 1);
	struct fake_seg seg = { buf, 4, true };
	uint16_t old;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	for (int i = 0; i < 10; i++) {
		old = r->d.q[0].avail_idx;
		fake_submit(&r->d, 0, &seg, 1);
		/* Before the device looks, one kick is enough. */
		assert_int_equal(fake_wants_kick(&r->d, 0, old), i == 0);
	}
	fake_kick(&r->d, 0);
	assert_int_equal(fake_interrupts(&r->d, 1), 1);
	for (int i = 0; i < 10; i++)
		assert_true(fake_used(&r->d, 0, NULL, NULL));
	old = r->d.q[0].avail_idx;
	fake_submit(&r->d, 0, &seg, 1);
	assert_true(fake_wants_kick(&r->d, 0, old));
}

static void buffers_from_before_driver_ok_are_seen(void **state)
{
	struct rig *r = *state;
	struct fake_seg seg = { fake_alloc(&r->host, 4, 1), 4, true };

	negotiate(r);
	fake_driver_queue(&r->d, 0, 0);
	fake_submit(&r->d, 0, &seg, 1);
	fake_kick(&r->d, 0); /* too early: nothing may happen */
	assert_false(fake_used(&r->d, 0, NULL, NULL));
	fake_driver_ok(&r->d);
	fake_run(&r->host);
	assert_true(fake_used(&r->d, 0, NULL, NULL));
}

/* --- features and status --------------------------------------------------- */

static void features_must_be_offered_and_modern(void **state)
{
	struct rig *r = *state;
	static const uint64_t bad[] = {
		0,
		FEATURE_TOY,
		VIRTIO_F_VERSION_1 | 1,
		VIRTIO_F_VERSION_1 | 1ull << 34,
		UINT64_MAX,
	};

	fake_driver_find(&r->d, &r->host, ID, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fake_driver_reset(&r->d);
		assert_false(fake_driver_negotiate(&r->d, bad[i]));
		/* DRIVER_OK without FEATURES_OK does not happen. */
		fake_common_out(&r->d, FAKE_STATUS, 0x0f, 1);
		assert_int_equal(fake_status(&r->d), 3);
	}
	assert_int_equal(r->echo->starts, 0);
	fake_driver_reset(&r->d);
	assert_true(fake_driver_negotiate(&r->d, VIRTIO_F_VERSION_1));
	assert_int_equal(r->echo->v.acked, VIRTIO_F_VERSION_1);
}

static void features_are_frozen_once_accepted(void **state)
{
	struct rig *r = *state;

	negotiate(r);
	fake_common_out(&r->d, FAKE_DRIVER_FEATURE_SELECT, 0, 4);
	fake_common_out(&r->d, FAKE_DRIVER_FEATURE, 0xffffffff, 4);
	assert_int_equal(fake_common_in(&r->d, FAKE_DRIVER_FEATURE, 4),
			 (uint32_t)r->d.features);
	fake_common_out(&r->d, FAKE_STATUS, 0x0f, 1);
	assert_int_equal(r->echo->v.acked, r->d.features);
}

static void features_beyond_64_are_ignored(void **state)
{
	struct rig *r = *state;

	fake_driver_find(&r->d, &r->host, ID, 0);
	for (uint32_t select = 2; select < 70; select += 31) {
		fake_common_out(&r->d, FAKE_DRIVER_FEATURE_SELECT, select, 4);
		fake_common_out(&r->d, FAKE_DRIVER_FEATURE, 0xffffffff, 4);
		assert_int_equal(fake_common_in(&r->d, FAKE_DRIVER_FEATURE, 4), 0);
	}
	assert_true(fake_driver_negotiate(&r->d, VIRTIO_F_VERSION_1));
}

static void status_bits_are_never_taken_back(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_common_out(&r->d, FAKE_STATUS, 1, 1);
	assert_int_equal(fake_status(&r->d), 0x0f);
	fake_common_out(&r->d, FAKE_STATUS, 0x0f, 1); /* not a second start */
	fake_common_out(&r->d, FAKE_STATUS, 0x70,
			1); /* bits that are not the driver's */
	assert_int_equal(fake_status(&r->d), 0x0f);
	fake_common_out(&r->d, FAKE_STATUS, 0x80, 1);
	assert_int_equal(fake_status(&r->d), 0x8f);
	assert_int_equal(r->echo->starts, 1);
	assert_int_equal(r->echo->stops, 0);
	echo(r, 0, "still alive");
}

static void all_status_bits_at_once_start_it(void **state)
{
	struct rig *r = *state;

	fake_driver_find(&r->d, &r->host, ID, 0);
	fake_common_out(&r->d, FAKE_DRIVER_FEATURE_SELECT, 1, 4);
	fake_common_out(&r->d, FAKE_DRIVER_FEATURE, 1, 4);
	fake_driver_queue(&r->d, 0, 0);
	fake_common_out(&r->d, FAKE_STATUS, 0x0f, 1);
	assert_int_equal(fake_status(&r->d), 0x0f);
	echo(r, 0, "in a hurry");
}

/* --- queue configuration --------------------------------------------------- */

static void absent_queues_have_size_zero(void **state)
{
	struct rig *r = *state;
	static const uint16_t absent[] = { QUEUES, VIRTIO_MAX_QUEUES, 0x8000, 0xffff };

	negotiate(r);
	assert_int_equal(fake_common_in(&r->d, FAKE_NUM_QUEUES, 2), QUEUES);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		fake_common_out(&r->d, FAKE_QUEUE_SELECT, absent[i], 2);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_SELECT, 2),
				 absent[i]);
		for (unsigned reg = FAKE_QUEUE_SIZE; reg < 56; reg += 2) {
			fake_common_out(&r->d, reg, 1, 2);
			fake_common_out(&r->d, reg, 1, 4);
			assert_int_equal(fake_common_in(&r->d, reg, 2), 0);
		}
	}
	for (uint16_t i = 0; i < QUEUES; i++) {
		fake_common_out(&r->d, FAKE_QUEUE_SELECT, i, 2);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_SIZE, 2),
				 r->echo->v.queue_size[i]);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_NOTIFY_OFF, 2), i);
	}
}

static void bad_sizes_cannot_be_enabled(void **state)
{
	struct rig *r = *state;
	static const uint16_t bad[] = { 0, 3, 15, 17, 32, 256, 0x8000, 0xffff };

	negotiate(r);
	fake_common_out(&r->d, FAKE_QUEUE_SELECT, 1, 2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fake_common_out(&r->d, FAKE_QUEUE_SIZE, bad[i], 2);
		fake_common_out(&r->d, FAKE_QUEUE_ENABLE, 1, 2);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_ENABLE, 2), 0);
	}
	fake_common_out(&r->d, FAKE_QUEUE_SIZE, 16, 2);
	fake_common_out(&r->d, FAKE_QUEUE_ENABLE, 2, 2); /* only 1 enables */
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_ENABLE, 2), 0);
	fake_common_out(&r->d, FAKE_QUEUE_ENABLE, 1, 2);
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_ENABLE, 2), 1);
}

static void smaller_queues_work(void **state)
{
	struct rig *r = *state;

	negotiate(r);
	fake_driver_queue(&r->d, 0, 2);
	fake_driver_ok(&r->d);
	for (int i = 0; i < 10; i++)
		echo(r, 0, "small");
	assert_int_equal(r->echo->v.queues[0].size, 2);
	assert_int_equal(r->echo->v.queues[1].size, 0);
	assert_int_equal(n_notifies(r), 1);
}

static void configuration_is_frozen_when_enabled(void **state)
{
	struct rig *r = *state;

	negotiate(r);
	fake_driver_queue(&r->d, 0, 16);
	for (int ok = 0; ok <= 1; ok++) {
		fake_common_out(&r->d, FAKE_QUEUE_SELECT, 0, 2);
		fake_common_out(&r->d, FAKE_QUEUE_SIZE, 256, 2);
		fake_common_out(&r->d, FAKE_QUEUE_ENABLE, 0, 2);
		for (unsigned reg = FAKE_QUEUE_DESC; reg < 56; reg += 8)
			fake_common_out(&r->d, reg, 0xfffffffffff0, 8);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_SIZE, 2), 16);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_ENABLE, 2), 1);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_DESC, 8),
				 r->d.q[0].desc_gpa.v);
		if (!ok)
			fake_driver_ok(&r->d);
	}
	/* After DRIVER_OK no further queue can be configured either. */
	fake_common_out(&r->d, FAKE_QUEUE_SELECT, 1, 2);
	fake_common_out(&r->d, FAKE_QUEUE_ENABLE, 1, 2);
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_ENABLE, 2), 0);
	echo(r, 0, "frozen");
}

static void bad_rings_need_a_reset(void **state)
{
	struct rig *r = *state;
	static const struct {
		unsigned reg;
		uint64_t addr;
	} bad[] = {
		{ FAKE_QUEUE_DESC, 0x20008 },	      { FAKE_QUEUE_DESC, 1 << 20 },
		{ FAKE_QUEUE_DESC, UINT64_MAX - 15 }, { FAKE_QUEUE_DRIVER, 0x20001 },
		{ FAKE_QUEUE_DRIVER, 0xd0000000 },    { FAKE_QUEUE_DEVICE, 0x20002 },
		{ FAKE_QUEUE_DEVICE, 1ull << 63 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		negotiate(r);
		fake_driver_msix(&r->d);
		fake_driver_queue(&r->d, 0, 0);
		fake_common_out(&r->d, FAKE_QUEUE_SELECT, 1, 2);
		fake_common_out(&r->d, FAKE_QUEUE_DESC, 0x20000, 8);
		fake_common_out(&r->d, FAKE_QUEUE_DRIVER, 0x21000, 8);
		fake_common_out(&r->d, FAKE_QUEUE_DEVICE, 0x22000, 8);
		fake_common_out(&r->d, bad[i].reg, bad[i].addr, 8);
		fake_common_out(&r->d, FAKE_QUEUE_ENABLE, 1, 2);
		fake_driver_ok(&r->d);
		assert_int_equal(fake_status(&r->d), 0x4f);
		assert_int_equal(fake_interrupts(&r->d, 0), 1);
		/* None is started, not even the good one. */
		assert_int_equal(r->echo->v.queues[0].size, 0);
		fake_avail(&r->d, 0, 0);
		fake_kick(&r->d, 0);
		fake_driver_reset(&r->d);
	}
	assert_int_equal(r->echo->starts, 0);
	assert_int_equal(r->echo->stops, 0);
	assert_int_equal(r->echo->kicks[0], 0);
}

/* --- registers in odd ways ------------------------------------------------- */

static void registers_are_read_in_any_width(void **state)
{
	struct rig *r = *state;

	negotiate(r);
	fake_common_out(&r->d, FAKE_QUEUE_SELECT, 1, 2);
	fake_common_out(&r->d, FAKE_QUEUE_DESC, 0x1122334455667788, 8);
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_DESC, 8), 0x1122334455667788);
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_DESC + 3, 2), 0x4455);
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_DESC + 7, 1), 0x11);
	assert_int_equal(fake_common_in(&r->d, FAKE_STATUS, 4), 0x1000b);
	assert_int_equal(fake_common_in(&r->d, FAKE_NUM_QUEUES, 8), 0x00100001000b0003);
	/* Past the end there is nothing. */
	assert_int_equal(fake_common_in(&r->d, 56, 8), 0);
	assert_int_equal(fake_common_in(&r->d, 52, 8), 0);
}

static void odd_writes_are_ignored(void **state)
{
	struct rig *r = *state;
	uint8_t before[64], after[64];

	negotiate(r);
	fake_common_out(&r->d, FAKE_QUEUE_SELECT, 1, 2);
	for (unsigned i = 0; i < 64; i++)
		before[i] = (uint8_t)fake_common_in(&r->d, i, 1);
	for (size_t len = 1; len <= 8; len++) {
		for (unsigned off = 0; off < 64; off++) {
			bool aligned = off % len == 0;

			/* Left out: the accesses that are right. */
			if (aligned && ((len == 8 && off >= 32) ||
					(len == 4 && (off < 16 || off >= 32)) ||
					(len == 2 && off >= 16 && off < 32) ||
					(len == 1 && off == FAKE_STATUS)))
				continue;
			fake_common_out(&r->d, off, 0, len);
			fake_common_out(&r->d, off, UINT64_MAX, len);
		}
	}
	for (unsigned i = 0; i < 64; i++)
		after[i] = (uint8_t)fake_common_in(&r->d, i, 1);
	assert_memory_equal(before, after, 64);
}

static void every_access_everywhere_is_survived(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	for (unsigned off = 0; off < 0x8000; off += off < 0x100 ? 1 : 61) {
		for (size_t len = 1; len <= 8; len++) {
			if (off + len > 0x8000)
				continue;
			fake_in(&r->host, DEV_MMIO, r->d.bar + off, len);
			fake_out(&r->host, DEV_MMIO, r->d.bar + off, UINT64_MAX, len);
			fake_run(&r->host);
		}
	}
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 0, "alive");
}

static void notifications_elsewhere_are_ignored(void **state)
{
	struct rig *r = *state;
	struct fake_seg seg = { fake_alloc(&r->host, 4, 1), 4, true };

	r->host.no_notify = true;
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_submit(&r->d, 0, &seg, 1);
	fake_run(&r->host); /* the start's own look at the queues */
	assert_true(fake_used(&r->d, 0, NULL, NULL));
	fake_submit(&r->d, 0, &seg, 1);
	fake_out(&r->host, DEV_MMIO, r->d.notify + 4 * QUEUES, 0, 2);
	fake_out(&r->host, DEV_MMIO, r->d.notify + 0xffc, 0, 2);
	fake_run(&r->host);
	assert_false(fake_used(&r->d, 0, NULL, NULL));
	/* In any width, with any value: the address says which queue. */
	fake_out(&r->host, DEV_MMIO, r->d.notify, 0xdeadbeef, 4);
	fake_run(&r->host);
	assert_true(fake_used(&r->d, 0, NULL, NULL));
}

/* --- vectors --------------------------------------------------------------- */

static void absent_vectors_read_back_as_none(void **state)
{
	struct rig *r = *state;

	negotiate(r);
	assert_int_equal(fake_common_in(&r->d, FAKE_CONFIG_VECTOR, 2), 0xffff);
	fake_common_out(&r->d, FAKE_CONFIG_VECTOR, QUEUES, 2);
	assert_int_equal(fake_common_in(&r->d, FAKE_CONFIG_VECTOR, 2), QUEUES);
	fake_common_out(&r->d, FAKE_CONFIG_VECTOR, QUEUES + 1, 2);
	assert_int_equal(fake_common_in(&r->d, FAKE_CONFIG_VECTOR, 2), 0xffff);
	fake_common_out(&r->d, FAKE_QUEUE_SELECT, 0, 2);
	fake_common_out(&r->d, FAKE_QUEUE_VECTOR, 2047, 2);
	assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_VECTOR, 2), 0xffff);
}

static void queue_without_vector_is_silent(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_common_out(&r->d, FAKE_QUEUE_SELECT, 0, 2);
	fake_common_out(&r->d, FAKE_QUEUE_VECTOR, 0xffff, 2);
	echo(r, 0, "polled");
	for (unsigned v = 0; v <= QUEUES; v++)
		assert_int_equal(fake_interrupts(&r->d, v), 0);
	/* Two queues may share one. */
	fake_common_out(&r->d, FAKE_QUEUE_VECTOR, 3, 2);
	echo(r, 0, "shared");
	assert_int_equal(fake_interrupts(&r->d, 3), 1);
}

static void vector_masked_in_mid_io_is_sent_later(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_out(&r->host, DEV_MMIO, r->d.msix_table + 16 + 12, 1, 4);
	echo(r, 0, "masked");
	assert_int_equal(fake_interrupts(&r->d, 1), 0);
	assert_int_equal(fake_in(&r->host, DEV_MMIO, r->d.msix_pba, 8), 2);
	fake_out(&r->host, DEV_MMIO, r->d.msix_table + 16 + 12, 0, 4);
	assert_int_equal(fake_interrupts(&r->d, 1), 1);
	assert_int_equal(fake_in(&r->host, DEV_MMIO, r->d.msix_pba, 8), 0);
}

/* --- device configuration -------------------------------------------------- */

static void configuration_is_bounded(void **state)
{
	struct rig *r = *state;

	fake_driver_find(&r->d, &r->host, ID, 0);
	assert_int_equal(fake_config_in(&r->d, 0, 8), 0x72756769666e6f63);
	assert_int_equal(fake_config_in(&r->d, 12, 1), 'n');
	assert_int_equal(fake_config_in(&r->d, 12, 4), 'n');
	assert_int_equal(fake_config_in(&r->d, 13, 8), 0);
	assert_int_equal(fake_config_in(&r->d, 0xff8, 8), 0);
	fake_config_out(&r->d, 12, 'N', 1);
	fake_config_out(&r->d, 12, 0, 2); /* not all of it is there */
	fake_config_out(&r->d, 13, 0xff, 1);
	assert_int_equal(fake_config_in(&r->d, 12, 8), 'N');
	assert_int_equal(r->echo->v.config[13], 0);
}

static void configuration_change_is_told(void **state)
{
	struct rig *r = *state;
	struct virtio_dev *v = &r->echo->v;

	/* Not before DRIVER_OK; the generation counts all the same. */
	pthread_mutex_lock(&v->dev.lock);
	virtio_config_changed(v);
	pthread_mutex_unlock(&v->dev.lock);
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	assert_int_equal(fake_interrupts(&r->d, 0), 0);
	assert_int_equal(fake_common_in(&r->d, FAKE_GENERATION, 1), 1);
	pthread_mutex_lock(&v->dev.lock);
	v->config[0] = 'C';
	virtio_config_changed(v);
	pthread_mutex_unlock(&v->dev.lock);
	assert_int_equal(fake_interrupts(&r->d, 0), 1);
	assert_int_equal(fake_common_in(&r->d, FAKE_GENERATION, 1), 2);
	assert_int_equal(fake_config_in(&r->d, 0, 1), 'C');
	assert_int_equal(fake_isr(&r->d), 2);
}

static void configuration_change_is_told_by_intx(void **state)
{
	struct rig *r = *state;
	struct virtio_dev *v = &r->echo->v;

	fake_driver_start_intx(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 0, "x");
	pthread_mutex_lock(&v->dev.lock);
	virtio_config_changed(v);
	pthread_mutex_unlock(&v->dev.lock);
	assert_true(r->host.level[GSI]);
	assert_int_equal(fake_isr(&r->d), 3);
	assert_false(r->host.level[GSI]);
}

/* --- broken, and reset ----------------------------------------------------- */

static void broken_rules_need_a_reset(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 2, "good so far");
	fake_avail(&r->d, 0, 65535);
	fake_kick(&r->d, 0);
	assert_int_equal(fake_status(&r->d), 0x4f);
	assert_int_equal(fake_interrupts(&r->d, 0), 1);
	fake_interrupts(&r->d, 3);
	/* Other queues of the device rest, too. */
	fake_avail(&r->d, 2, 0);
	fake_kick(&r->d, 2);
	assert_int_equal(fake_interrupts(&r->d, 3), 0);
	assert_int_equal(r->echo->kicks[2], 1);
	fake_driver_reset(&r->d);
	assert_int_equal(r->echo->stops, 1);
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 0, "as good as new");
}

static void reset_stops_and_clears(void **state)
{
	struct rig *r = *state;
	struct fake_seg seg = { fake_alloc(&r->host, 4, 1), 4, true };

	fake_driver_start_intx(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_submit(&r->d, 1, &seg, 1);
	fake_kick(&r->d, 1); /* stays in flight */
	echo(r, 0, "x");
	assert_true(r->host.level[GSI]);
	fake_common_out(&r->d, FAKE_CONFIG_VECTOR, 1, 2);

	fake_driver_reset(&r->d);
	assert_int_equal(r->echo->stops, 1);
	assert_false(r->echo->stop_saw_running);
	assert_int_equal(n_notifies(r), 0);
	assert_false(r->host.level[GSI]);
	assert_int_equal(fake_isr(&r->d), 0);
	assert_int_equal(fake_common_in(&r->d, FAKE_CONFIG_VECTOR, 2), 0xffff);
	assert_int_equal(fake_common_in(&r->d, FAKE_DRIVER_FEATURE, 4), 0);
	assert_int_equal(r->echo->v.acked, 0);
	for (uint16_t i = 0; i < QUEUES; i++) {
		fake_common_out(&r->d, FAKE_QUEUE_SELECT, i, 2);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_ENABLE, 2), 0);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_SIZE, 2),
				 r->echo->v.queue_size[i]);
		assert_int_equal(fake_common_in(&r->d, FAKE_QUEUE_DESC, 8), 0);
		assert_int_equal(r->echo->v.queues[i].size, 0);
	}
	/* A late completion goes nowhere. */
	vq_push(&r->echo->v.queues[1], r->echo->kept, 4);
	fake_driver_reset(&r->d); /* once is enough */
	assert_int_equal(r->echo->stops, 1);
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 0, "again");
}

static void machine_reset_takes_the_function_along(void **state)
{
	struct rig *r = *state;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 8, 0x2000, 4);
	virtio_reset(&r->echo->v.dev);
	assert_int_equal(r->echo->stops, 1);
	assert_int_equal(fake_pci_in(&r->d, r->d.pci_cfg_cap + 8, 4), 0);
	assert_int_equal(n_notifies(r), 0);
	assert_int_equal(fake_pci_in(&r->d, 4, 2), 0);
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	echo(r, 0, "again");
}

static void bar_may_move_while_running(void **state)
{
	struct rig *r = *state;
	uint32_t to = PCI_WINDOW_END - 0x8000;

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_pci_out(&r->d, 0x10, to, 4);
	assert_int_equal(n_notifies(r), QUEUES);
	r->d.common += to - r->d.bar;
	for (unsigned i = 0; i < QUEUES; i++)
		r->d.kick_addr[i] += to - r->d.bar;
	echo(r, 0, "moved");
	/* Decoding off and on. */
	fake_pci_out(&r->d, 4, 0, 2);
	assert_int_equal(n_notifies(r), 0);
	fake_pci_out(&r->d, 4, 6, 2);
	assert_int_equal(n_notifies(r), QUEUES);
	echo(r, 0, "back");
	/* Started while nobody can see it: by the window in configuration space. */
	fake_pci_out(&r->d, 4, 0, 2);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 8, FAKE_STATUS, 4);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 12, 1, 4);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 16, 0, 4);
	assert_int_equal(r->echo->stops, 1);
	fake_pci_out(&r->d, 4, 6, 2);
	assert_int_equal(n_notifies(r), 0);
}

/* --- the window in configuration space ------------------------------------- */

static uint32_t window_in(struct rig *r, uint32_t off, uint32_t len)
{
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 8, off, 4);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 12, len, 4);
	return fake_pci_in(&r->d, r->d.pci_cfg_cap + 16, 4);
}

static void window_reaches_the_bar(void **state)
{
	struct rig *r = *state;

	fake_driver_find(&r->d, &r->host, ID, 0);
	assert_int_equal(window_in(r, FAKE_NUM_QUEUES, 2) & 0xffff, QUEUES);
	assert_int_equal(window_in(r, 0x2000, 4), 0x666e6f63);
	window_in(r, FAKE_STATUS, 1);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 16, FAKE_ACKNOWLEDGE, 1);
	assert_int_equal(fake_status(&r->d), FAKE_ACKNOWLEDGE);
	assert_int_equal(window_in(r, FAKE_STATUS, 1) & 0xff, FAKE_ACKNOWLEDGE);
}

static void window_is_bounded(void **state)
{
	struct rig *r = *state;
	static const struct {
		uint32_t off, len;
	} bad[] = {
		{ 0x8000, 1 }, { 0x7ffe, 4 }, { 0xfffffffc, 4 }, { 0xffffffff, 1 },
		{ 0, 0 },      { 0, 3 },      { 0, 8 },		 { 0, 0xffffffff },
		{ 1, 2 },      { 0x2002, 4 },
	};

	fake_driver_find(&r->d, &r->host, ID, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fake_pci_out(&r->d, r->d.pci_cfg_cap + 8, 0, 4);
		fake_pci_out(&r->d, r->d.pci_cfg_cap + 12, 0, 4);
		fake_pci_out(&r->d, r->d.pci_cfg_cap + 16, 0x77777777, 4);
		assert_int_equal(window_in(r, bad[i].off, bad[i].len), 0x77777777);
		fake_pci_out(&r->d, r->d.pci_cfg_cap + 16, 0xffffffff, 4);
	}
	/* Another BAR than ours. */
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 4, 1, 1);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 16, 0x77777777, 4);
	assert_int_equal(window_in(r, 0x2000, 4), 0x77777777);
	assert_int_equal(fake_status(&r->d), 0);
}

static void kicks_work_through_the_window(void **state)
{
	struct rig *r = *state;
	struct fake_seg seg = { fake_alloc(&r->host, 4, 1), 4, true };

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	fake_run(&r->host);
	fake_submit(&r->d, 2, &seg, 1);
	window_in(r, 0x3008, 2);
	fake_pci_out(&r->d, r->d.pci_cfg_cap + 16, 2, 2);
	fake_run(&r->host);
	assert_true(fake_used(&r->d, 2, NULL, NULL));
}

/* --- making it ------------------------------------------------------------- */

static void failure_to_find_a_slot_is_told(void **state)
{
	struct rig *r = *state;
	struct echo *e = calloc(1, sizeof(*e));
	struct err err = { "" };

	assert_non_null(e);
	for (unsigned i = 0; i < PCI_MAX_SLOTS; i++)
		r->host.bus.slots[i] = &r->echo->v.pci;
	e->v.n_queues = 1;
	assert_int_equal(
		virtio_init(&e->v, &echo_class, &echo_ops, &r->host.host, &err),
		-ENOSPC);
	assert_string_equal(err.msg, "echo0: all 32 PCI slots are taken");
	echo_free(&e->v.dev);
	/* And one that virtio_init() never saw. */
	echo_free(calloc(1, sizeof(*e)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(function_looks_like_crosvms),
		TEST(requests_work_by_msix),
		TEST(requests_work_by_intx),
		TEST(requests_work_without_any_option),
		TEST(indirect_requests_work),
		TEST(event_index_saves_kicks_and_interrupts),
		TEST(buffers_from_before_driver_ok_are_seen),
		TEST(features_must_be_offered_and_modern),
		TEST(features_are_frozen_once_accepted),
		TEST(features_beyond_64_are_ignored),
		TEST(status_bits_are_never_taken_back),
		TEST(all_status_bits_at_once_start_it),
		TEST(absent_queues_have_size_zero),
		TEST(bad_sizes_cannot_be_enabled),
		TEST(smaller_queues_work),
		TEST(configuration_is_frozen_when_enabled),
		TEST(bad_rings_need_a_reset),
		TEST(registers_are_read_in_any_width),
		TEST(odd_writes_are_ignored),
		TEST(every_access_everywhere_is_survived),
		TEST(notifications_elsewhere_are_ignored),
		TEST(absent_vectors_read_back_as_none),
		TEST(queue_without_vector_is_silent),
		TEST(vector_masked_in_mid_io_is_sent_later),
		TEST(configuration_is_bounded),
		TEST(configuration_change_is_told),
		TEST(configuration_change_is_told_by_intx),
		TEST(broken_rules_need_a_reset),
		TEST(reset_stops_and_clears),
		TEST(machine_reset_takes_the_function_along),
		TEST(bar_may_move_while_running),
		TEST(window_reaches_the_bar),
		TEST(window_is_bounded),
		TEST(kicks_work_through_the_window),
		TEST(failure_to_find_a_slot_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
