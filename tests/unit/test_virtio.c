/* The life of a virtio device: features, status, requests, breaking, reset. */
#include "tests/unit/test_virtio_echo.h"

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

/* --- suspended -------------------------------------------------------------- */

static void a_suspended_device_leaves_its_queues_alone(void **state)
{
	struct rig *r = *state;
	struct device *dev = &r->echo->v.dev;
	struct fake_seg seg = { fake_alloc(&r->host, 4, 1), 4, true };

	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	/* A guest that stands still may have kicked just before. */
	dev->class->pause(dev, DEV_STILL);
	fake_submit(&r->d, 0, &seg, 1);
	fake_kick(&r->d, 0);
	assert_true(fake_used(&r->d, 0, NULL, NULL));
	dev->class->pause(dev, DEV_SUSPENDED);
	dev->class->pause(dev, DEV_SUSPENDED);
	fake_submit(&r->d, 0, &seg, 1);
	fake_kick(&r->d, 0);
	fake_run(&r->host);
	assert_false(fake_used(&r->d, 0, NULL, NULL));
	dev->class->pause(dev, DEV_RUNS);
	fake_run(&r->host);
	assert_true(fake_used(&r->d, 0, NULL, NULL));
	dev->class->pause(dev, DEV_RUNS);
	echo(r, 0, "goes on");
}

static void a_device_that_is_not_running_is_not_started_by_going_on(void **state)
{
	struct rig *r = *state;
	struct device *dev = &r->echo->v.dev;

	dev->class->pause(dev, DEV_SUSPENDED);
	dev->class->pause(dev, DEV_RUNS);
	assert_false(r->echo->v.running);
	/* Reset, and broken, while it was suspended. */
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	dev->class->pause(dev, DEV_SUSPENDED);
	virtio_reset(dev);
	dev->class->pause(dev, DEV_RUNS);
	assert_false(r->echo->v.running);
	fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
	dev->class->pause(dev, DEV_SUSPENDED);
	pthread_mutex_lock(&r->echo->v.io_lock);
	virtio_broken(&r->echo->v, "for a test");
	pthread_mutex_unlock(&r->echo->v.io_lock);
	dev->class->pause(dev, DEV_RUNS);
	assert_false(r->echo->v.running);
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
	fake_kick(&r->d, 1); /* still reaches the kernel, but nothing runs */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_work_by_msix),
		TEST(requests_work_by_intx),
		TEST(requests_work_without_any_option),
		TEST(indirect_requests_work),
		TEST(event_index_saves_kicks_and_interrupts),
		TEST(buffers_from_before_driver_ok_are_seen),
		TEST(a_suspended_device_leaves_its_queues_alone),
		TEST(a_device_that_is_not_running_is_not_started_by_going_on),
		TEST(features_must_be_offered_and_modern),
		TEST(features_are_frozen_once_accepted),
		TEST(features_beyond_64_are_ignored),
		TEST(status_bits_are_never_taken_back),
		TEST(all_status_bits_at_once_start_it),
		TEST(broken_rules_need_a_reset),
		TEST(reset_stops_and_clears),
		TEST(machine_reset_takes_the_function_along),
		TEST(bar_may_move_while_running),
		TEST(failure_to_find_a_slot_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
