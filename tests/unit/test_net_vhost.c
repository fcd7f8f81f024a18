/* virtio/net.c with the host's kernel at the rings */
#include "tests/unit/net_rig.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "tests/unit/fake_vhost.h"

static struct fake_vhost *const kernel = &fake_vhost;

/* As set_up(), with what passes for /dev/vhost-net. */
static struct env *with_vhost(void **state, uint64_t features)
{
	static char path[32];
	const struct virtio_net_cfg cfg = { .vhost = NET_VHOST_ON,
					    .vhost_device = path };
	int file = memfd_create("vhost-net", 0);
	struct env *e;
	struct err err;

	tear_down(state);
	fake_vhost_init();
	kernel->offered = features;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	e = new_env(&cfg);
	*state = e;
	close(file);
	if (virtio_net_class.prepare(e->dev, &err) < 0)
		fail_msg("%s", err.msg);
	return e;
}

static void the_kernel_gets_the_rings_and_the_tap(void **state)
{
	struct env *e = with_vhost(state, FAKE_VHOST_FEATURES | F_MRG_RXBUF);
	char byte = 1;

	restart(e, FAKE_ALL_FEATURES);
	assert_true(kernel->features & F_MRG_RXBUF);
	assert_false(kernel->features & F_GUEST_TSO4); /* the tap's */
	assert_true(e->d.features & F_GUEST_TSO4);
	for (unsigned i = RX; i <= TX; i++) {
		assert_int_equal(kernel->q[i].num, 256);
		assert_ptr_equal(kernel->q[i].addr.desc_user_addr, e->d.q[i].desc);
		/* It is the tap: what is written there comes out of the wire. */
		assert_int_equal(write(kernel->q[i].backend, &byte, 1), 1);
		assert_int_equal(recv(e->wire, e->got, 10, 0), 1);
	}
	/* Nobody else looks at rings and tap. */
	offer_many(e, 4, 2048);
	arrives(e, 100);
	fake_run(&e->host);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_reset_takes_the_tap_from_the_kernel(void **state)
{
	struct env *e = with_vhost(state, FAKE_VHOST_FEATURES);

	for (unsigned i = 0; i < 2; i++) {
		restart(e, FAKE_ALL_FEATURES);
		assert_false(fake_status(&e->d) & FAKE_NEEDS_RESET);
		assert_true(kernel->q[RX].backend >= 0 && kernel->q[TX].backend >= 0);
		fake_driver_reset(&e->d);
		assert_int_equal(kernel->q[RX].backend, -1);
		assert_int_equal(kernel->q[TX].backend, -1);
	}
}

static void suspending_takes_the_tap_from_the_kernel_for_a_while(void **state)
{
	struct env *e = with_vhost(state, FAKE_VHOST_FEATURES);
	eventfd_t n;

	restart(e, FAKE_ALL_FEATURES);
	(void)eventfd_read(kernel->q[TX].kick, &n);
	virtio_net_class.pause(e->dev, DEV_SUSPENDED);
	assert_int_equal(kernel->q[RX].backend, -1);
	assert_int_equal(kernel->q[TX].backend, -1);
	virtio_net_class.pause(e->dev, DEV_RUNS);
	fake_run(&e->host);
	assert_true(kernel->q[RX].backend >= 0 && kernel->q[TX].backend >= 0);
	/* It looks at what has come meanwhile. */
	assert_int_equal(eventfd_read(kernel->q[TX].kick, &n), 0);
}

static void what_the_kernel_cannot_do_is_not_offered(void **state)
{
	struct env *e = with_vhost(state, FAKE_VHOST_FEATURES);

	fake_driver_find(&e->d, &e->host, NET_ID, 0);
	assert_false(fake_driver_offered(&e->d) & F_MRG_RXBUF);
	assert_true(fake_driver_offered(&e->d) & F_GUEST_TSO4);
}

static void a_kernel_that_refuses_the_tap_breaks_the_device(void **state)
{
	struct env *e = with_vhost(state, FAKE_VHOST_FEATURES);

	kernel->fail = VHOST_NET_SET_BACKEND;
	kernel->fail_errno = ENOTSOCK;
	kernel->fail_after = 1;
	fake_driver_find(&e->d, &e->host, NET_ID, 0);
	fake_driver_reset(&e->d);
	assert_true(fake_driver_negotiate(&e->d, fake_driver_offered(&e->d)));
	fake_driver_msix(&e->d);
	fake_driver_queue(&e->d, RX, 0);
	fake_driver_queue(&e->d, TX, 0);
	fake_driver_ok(&e->d);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	restart(e, FAKE_ALL_FEATURES);
	assert_false(fake_status(&e->d) & FAKE_NEEDS_RESET);
}

static void without_vhost_auto_goes_on_and_on_does_not(void **state)
{
	static char nowhere[] = "/dev/there-is-no-such-device";
	struct virtio_net_cfg cfg = { .vhost_device = nowhere };
	struct env *e = *state;
	struct device *dev;
	struct err err;

	tear_down(state);
	*state = e = new_env(&cfg);
	restart(e, FAKE_ALL_FEATURES);
	submit(e, 100);
	fake_kick(&e->d, TX);
	sent(e, 100);
	cfg.vhost = NET_VHOST_ON;
	assert_int_equal(virtio_net_new(&cfg, dup(e->wire), &e->host.host, &dev, &err),
			 -ENOENT);
	assert_non_null(strstr(err.msg, nowhere));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_kernel_gets_the_rings_and_the_tap),
		TEST(a_reset_takes_the_tap_from_the_kernel),
		TEST(suspending_takes_the_tap_from_the_kernel_for_a_while),
		TEST(what_the_kernel_cannot_do_is_not_offered),
		TEST(a_kernel_that_refuses_the_tap_breaks_the_device),
		TEST(without_vhost_auto_goes_on_and_on_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
