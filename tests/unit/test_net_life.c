/* virtio/net.c: configurations, suspensions, resets and hostile guests */
#include "tests/unit/net_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

static void there_is_an_address_if_one_is_given(void **state)
{
	static char mac[] = "02:00:5E:10:fe:01";
	const struct virtio_net_cfg cfg = { .mac = mac, .vhost = NET_VHOST_OFF };
	struct env *e = *state;

	assert_false(fake_driver_offered(&e->d) & F_MAC);
	tear_down(state);
	*state = e = new_env(&cfg);
	fake_driver_find(&e->d, &e->host, NET_ID, 0);
	assert_true(fake_driver_offered(&e->d) & F_MAC);
	assert_int_equal(fake_config_in(&e->d, 0, 4), 0x105e0002);
	assert_int_equal(fake_config_in(&e->d, 4, 2), 0x01fe);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 2);
}

static void configurations_are_checked(void **state)
{
	static const struct {
		const char *fd, *name, *mac, *says;
	} bad[] = {
		{ NULL, NULL, NULL, "tap-fd or tap-name" },
		{ "7", "tap0", NULL, "tap-fd or tap-name" },
		{ "seven", NULL, NULL, "not a file descriptor" },
		{ "-1", NULL, NULL, "not a file descriptor" },
		{ "/dev/net/tun", NULL, NULL, "not a file descriptor" },
		{ NULL, "tap0", "02:00:00:00:00", "is not like" },
		{ NULL, "tap0", "02:00:00:00:00:0", "is not like" },
		{ NULL, "tap0", "02:00:00:00:00:001", "is not like" },
		{ NULL, "tap0", "02:00:00:00:0::01", "is not like" },
		{ NULL, "tap0", "02-00-00-00-00-01", "is not like" },
		{ NULL, "tap0", "+2:00:00:00:00:01", "is not like" },
		{ NULL, "tap0", "01:00:00:00:00:01", "cannot be" },
		{ NULL, "tap0", "00:00:00:00:00:00", "cannot be" },
	};
	struct virtio_net_cfg good = { .tap_fd =
					       (char *)(uintptr_t) "/proc/self/fd/7" };
	struct err err;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct virtio_net_cfg cfg = {
			.tap_fd = (char *)(uintptr_t)bad[i].fd,
			.tap_name = (char *)(uintptr_t)bad[i].name,
			.mac = (char *)(uintptr_t)bad[i].mac,
		};

		assert_int_equal(virtio_net_class.check(&cfg, &err), -EINVAL);
		assert_non_null(strstr(err.msg, bad[i].says));
	}
	assert_int_equal(virtio_net_class.check(&good, &err), 0);
	good.tap_fd = (char *)(uintptr_t) "7";
	assert_int_equal(virtio_net_class.check(&good, &err), 0);
}

/* Descriptors that are anything but taps. */
static void what_is_not_a_tap_is_refused(void **state)
{
	struct virtio_net_cfg cfg = { 0 };
	char path[32];
	struct env *e = *state;
	struct device *dev;
	struct err err;
	int fd = open("/dev/null", O_RDWR);

	snprintf(path, sizeof(path), "%d", fd);
	cfg.tap_fd = path;
	assert_int_equal(virtio_net_class.create(&cfg, &e->host.host, &dev, &err),
			 -EINVAL);
	assert_non_null(strstr(err.msg, "is not a tap"));
	close(fd);
	assert_int_equal(virtio_net_class.create(&cfg, &e->host.host, &dev, &err),
			 -EBADF);
}

/* Not the first one, which is where packets are sent from. */
static void offer_others(struct env *e)
{
	for (unsigned i = 1; i < 64; i++)
		offer(e, i, 2048);
	fake_kick(&e->d, RX);
}

static void a_suspended_device_keeps_what_comes_for_later(void **state)
{
	struct env *e = *state;

	/* Whether it had buffers for the next packet or not. */
	for (unsigned had = 0; had < 2; had++) {
		restart(e, FAKE_ALL_FEATURES);
		if (had)
			offer_others(e);
		virtio_net_class.pause(e->dev, DEV_SUSPENDED);
		arrives(e, 100);
		fake_run(&e->host);
		if (!had)
			offer_others(e);
		submit(e, 200);
		fake_kick(&e->d, TX);
		fake_run(&e->host);
		assert_false(fake_used(&e->d, RX, NULL, NULL));
		assert_false(fake_used(&e->d, TX, NULL, NULL));
		assert_int_equal(recv(e->wire, e->got, 10, 0), -1);
		virtio_net_class.pause(e->dev, DEV_RUNS);
		fake_run(&e->host);
		assert_true(fake_used(&e->d, RX, NULL, NULL));
		sent(e, 200);
		arrives(e, 300);
		fake_run(&e->host);
		assert_true(fake_used(&e->d, RX, NULL, NULL));
	}
}

static void a_reset_forgets_buffers_and_packets(void **state)
{
	struct env *e = *state;

	offer_many(e, 64, 2048);
	arrives(e, 100);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	for (unsigned i = 0; i < 2048; i++)
		assert_int_equal(e->mem[i], 0xee);
	restart(e, FAKE_ALL_FEATURES);
	fake_run(&e->host);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer_many(e, 1, 2048);
	takes(e, 0, 2048, 100);
}

static void a_reset_while_the_tap_is_full_forgets_the_packet(void **state)
{
	struct env *e = *state;
	unsigned n = 0;

	for (unsigned i = 0; i < 256; i++) {
		struct fake_seg seg = { e->buf, HDR + 10000, false };

		fake_submit(&e->d, TX, &seg, 1);
	}
	fake_kick(&e->d, TX);
	restart(e, FAKE_ALL_FEATURES);
	fake_run(&e->host);
	while (recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT) > 0) {
		n++;
		fake_run(&e->host);
	}
	assert_true(n > 0 && n < 256);
	submit(e, 100);
	fake_kick(&e->d, TX);
	sent(e, 100);
}

static void works_again(struct env *e)
{
	restart(e, FAKE_ALL_FEATURES);
	fake_run(&e->host);
	while (recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT) > 0)
		;
	offer_many(e, 4, 2048);
	arrives(e, 100);
	fake_run(&e->host);
	takes(e, 0, 2048, 100);
	submit(e, 200);
	fake_kick(&e->d, TX);
	sent(e, 200);
}

static void bad_receive_buffers_break_the_device_until_reset(void **state)
{
	struct env *e = *state;
	struct fake_seg small = { e->buf, HDR - 1, true };
	struct fake_seg readable = { e->buf, 2048, false };

	fake_submit(&e->d, RX, &small, 1);
	fake_kick(&e->d, RX);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	works_again(e);
	restart(e, FAKE_ALL_FEATURES);
	fake_submit(&e->d, RX, &readable, 1);
	fake_kick(&e->d, RX);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	arrives(e, 100);
	fake_run(&e->host);
	assert_int_equal(recv(e->wire, e->got, 1, MSG_DONTWAIT), -1);
	restart(e, FAKE_ALL_FEATURES);
	offer_many(e, 1, 2048);
	takes(e, 0, 2048, 100);
}

static void broken_rings_break_the_device_until_reset(void **state)
{
	struct env *e = *state;

	for (unsigned q = RX; q <= TX; q++) {
		fake_avail(&e->d, q, 256);
		fake_kick(&e->d, q);
		assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
		works_again(e);
	}
}

static void giant_receive_buffers_are_used_in_part(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[200];

	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		segs[i] = (struct fake_seg){ e->buf, 1 << 20, true };
	/* Three chains of 200 pieces: more than one call of readv() takes. */
	for (unsigned i = 0; i < 8; i++)
		segs[i].len = 1;
	fake_submit_indirect(&e->d, RX, segs, ARRAY_SIZE(segs));
	for (unsigned i = 0; i < ARRAY_SIZE(segs); i++)
		segs[i].len = 1;
	for (unsigned i = 0; i < 8; i++)
		fake_submit_indirect(&e->d, RX, segs, ARRAY_SIZE(segs));
	fake_kick(&e->d, RX);
	for (unsigned i = 0; i < 3; i++)
		arrives(e, 150);
	fake_run(&e->host);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t used;

		assert_true(fake_used(&e->d, RX, NULL, &used));
		assert_int_equal(used, 150);
	}
}

static void a_tap_that_goes_away_ends_nothing_else(void **state)
{
	struct env *e = *state;

	offer_many(e, 4, 2048);
	close(e->wire);
	fake_run(&e->host);
	submit(e, 100);
	fake_kick(&e->d, TX);
	assert_true(fake_used(&e->d, TX, NULL, NULL));
	assert_false(fake_status(&e->d) & FAKE_NEEDS_RESET);
	e->wire = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_is_an_address_if_one_is_given),
		TEST(configurations_are_checked),
		TEST(what_is_not_a_tap_is_refused),
		TEST(a_suspended_device_keeps_what_comes_for_later),
		TEST(a_reset_forgets_buffers_and_packets),
		TEST(a_reset_while_the_tap_is_full_forgets_the_packet),
		TEST(bad_receive_buffers_break_the_device_until_reset),
		TEST(broken_rings_break_the_device_until_reset),
		TEST(giant_receive_buffers_are_used_in_part),
		TEST(a_tap_that_goes_away_ends_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
