/* The registers of the virtio PCI transport, used well and badly. */
#include "tests/unit/test_virtio_echo.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(function_looks_like_crosvms),
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
		TEST(window_reaches_the_bar),
		TEST(window_is_bounded),
		TEST(kicks_work_through_the_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
