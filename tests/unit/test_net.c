/* The network device; a pair of sockets stands for the tap, which keeps packets too. */
#include "virtio/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"
#include "tests/unit/fake_vhost.h"

#define NET_ID 1
#define RAM (8u << 20)
#define HDR 12u
#define MAX_PACKET 65562u

enum { RX, TX };
enum { F_MAC = 1 << 5, F_GUEST_TSO4 = 1 << 7, F_MRG_RXBUF = 1 << 15 };

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	int wire; /* the tap's other end */
	gpa_t buf; /* 4 MiB */
	unsigned char *mem; /* the same */
	unsigned char packet[MAX_PACKET + 100], got[MAX_PACKET + 100];
};

static struct env *new_env(const struct virtio_net_cfg *cfg)
{
	struct env *e = calloc(1, sizeof(*e));
	struct err err;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
				    pair),
			 0);
	fake_host_init(&e->host, "net0", RAM);
	if (virtio_net_new(cfg, pair[0], &e->host.host, &e->dev, &err) < 0)
		fail_msg("%s", err.msg);
	e->wire = pair[1];
	e->buf = fake_alloc(&e->host, 4 << 20, 4096);
	e->mem = fake_ptr(&e->host, e->buf, 4 << 20);
	for (unsigned i = 0; i < sizeof(e->packet); i++)
		e->packet[i] = (unsigned char)(i * 7 + i / 251 + 1);
	return e;
}

static int set_up(void **state)
{
	static const struct virtio_net_cfg cfg = { .vhost = NET_VHOST_OFF };
	struct env *e = new_env(&cfg);

	fake_driver_start(&e->d, &e->host, NET_ID, FAKE_ALL_FEATURES);
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	virtio_net_class.free(e->dev);
	fake_host_free(&e->host);
	close(e->wire);
	free(e);
	return 0;
}

static void restart(struct env *e, uint64_t features)
{
	fake_driver_start(&e->d, &e->host, NET_ID, features);
}

/* Buffer @i of @len bytes each, for the device to fill. */
static void offer(struct env *e, unsigned i, uint32_t len)
{
	struct fake_seg seg = { GPA(e->buf.v + (uint64_t)i * len), len, true };

	memset(e->mem + (size_t)i * len, 0xee, len);
	fake_submit(&e->d, RX, &seg, 1);
}

static void offer_many(struct env *e, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++)
		offer(e, i, len);
	fake_kick(&e->d, RX);
}

/* A packet, header included, comes from the wire. */
static void arrives(struct env *e, unsigned len)
{
	assert_int_equal(send(e->wire, e->packet, len, 0), len);
}

/*
 * The guest takes one packet out of buffers of @size bytes from @first on: returns how
 * many they are, and has seen that their content is right.
 */
static unsigned takes(struct env *e, unsigned first, uint32_t size, unsigned len)
{
	unsigned n = 0, done = 0;
	uint32_t used;

	while (done < len) {
		unsigned char *p = e->mem + (size_t)(first + n) * size;
		unsigned skip = n == 0 ? HDR : 0;

		if (!fake_used(&e->d, RX, NULL, &used))
			fail_msg("buffer %u is not there", n);
		assert_int_equal(used, len - done < size ? len - done : size);
		assert_memory_equal(p + skip, e->packet + done + skip, used - skip);
		if (used < size)
			assert_int_equal(p[used], 0xee);
		done += used;
		n++;
	}
	assert_memory_equal(e->mem + (size_t)first * size, e->packet, HDR - 2);
	assert_int_equal(le16_get(e->mem + (size_t)first * size + HDR - 2), n);
	return n;
}

/* --- receive --------------------------------------------------------------- */

static void a_packet_takes_one_buffer(void **state)
{
	struct env *e = *state;

	offer_many(e, 64, 2048);
	assert_int_equal(fake_interrupts(&e->d, 1 + RX), 0);
	arrives(e, HDR + 1500);
	fake_run(&e->host);
	assert_int_equal(takes(e, 0, 2048, HDR + 1500), 1);
	assert_int_equal(fake_interrupts(&e->d, 1 + RX), 1);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_large_packet_takes_several_buffers_and_the_next_the_next(void **state)
{
	struct env *e = *state;
	const unsigned sizes[] = { 5000, 1024, 100, MAX_PACKET, 1025, HDR + 14 };
	unsigned at = 0;

	offer_many(e, 200, 1024);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		arrives(e, sizes[i]);
	fake_run(&e->host);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned n = takes(e, at, 1024, sizes[i]);

		assert_int_equal(n, (sizes[i] + 1023) / 1024);
		at += n;
	}
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_packet_that_came_before_its_buffers_waits(void **state)
{
	struct env *e = *state;

	arrives(e, 1000);
	fake_run(&e->host);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer_many(e, 1, 2048);
	takes(e, 0, 2048, 1000);
	/* And again, with a ring that has been empty. */
	arrives(e, 1001);
	fake_run(&e->host);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer(e, 0, 2048);
	assert_true(fake_wants_kick(&e->d, RX, (uint16_t)(e->d.q[RX].avail_idx - 1)));
	fake_kick(&e->d, RX);
	takes(e, 0, 2048, 1001);
}

/* The wire keeps what does not fit yet, and none of it is lost. */
static void a_slow_guest_gets_everything(void **state)
{
	struct env *e = *state;
	unsigned sent = 0, got = 0, round = 0;

	/* Two are left over whenever it has none left. */
	offer_many(e, 126, 1024);
	while (got < 200) {
		uint32_t used;
		unsigned n = 0;

		while (sent < 200 &&
		       send(e->wire, e->packet, 4000 + sent % 5, MSG_DONTWAIT) > 0)
			sent++;
		fake_run(&e->host);
		while (n < 40 && fake_used(&e->d, RX, NULL, &used))
			n++;
		assert_true(n > 0 && round++ < 1000);
		/* 4 buffers a packet: 4000 + 0 to 4 bytes. */
		assert_int_equal(n % 4, 0);
		got += n / 4;
		for (unsigned i = 0; i < n; i++)
			offer(e, i, 1024);
		fake_kick(&e->d, RX);
	}
	assert_int_equal(sent, 200);
}

static void a_guest_with_few_buffers_gets_what_fits(void **state)
{
	struct env *e = *state;

	offer_many(e, 4, 2048);
	arrives(e, 8192);
	arrives(e, 100); /* the first has taken all */
	fake_run(&e->host);
	takes(e, 0, 2048, 8192);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
	offer_many(e, 4, 2048);
	takes(e, 0, 2048, 100);
	/* Three are left: it is dropped, and they take the next. */
	arrives(e, 8193);
	arrives(e, 6144);
	fake_run(&e->host);
	takes(e, 1, 2048, 6144);
}

static void without_merging_a_packet_has_one_buffer(void **state)
{
	struct env *e = *state;

	restart(e, FAKE_ALL_FEATURES & ~(uint64_t)F_MRG_RXBUF);
	offer_many(e, 8, 2048);
	arrives(e, 2049); /* does not fit */
	arrives(e, 2048);
	arrives(e, HDR + 1);
	fake_run(&e->host);
	assert_int_equal(takes(e, 0, 2048, 2048), 1);
	assert_int_equal(takes(e, 1, 2048, HDR + 1), 1);
	assert_false(fake_used(&e->d, RX, NULL, NULL));
}

static void a_header_may_be_in_pieces(void **state)
{
	struct env *e = *state;
	struct fake_seg segs[] = { { GPA(e->buf.v), 5, true },
				   { GPA(e->buf.v + 5), 6, true },
				   { GPA(e->buf.v + 11), 2000, true } };

	fake_submit_indirect(&e->d, RX, segs, 3);
	fake_kick(&e->d, RX);
	arrives(e, 1000);
	fake_run(&e->host);
	memset(e->mem + 1000, 0xee, 1);
	takes(e, 0, 2011, 1000);
}

static void runts_from_the_wire_are_dropped(void **state)
{
	struct env *e = *state;

	offer_many(e, 4, 2048);
	arrives(e, HDR - 1);
	arrives(e, 100);
	fake_run(&e->host);
	takes(e, 0, 2048, 100);
}

static void many_packets_come_in_one_go(void **state)
{
	struct env *e = *state;

	offer_many(e, 256, 2048);
	for (unsigned i = 0; i < 150; i++) {
		arrives(e, 100 + i);
		if (i % 50 == 49)
			fake_run(&e->host);
	}
	for (unsigned i = 0; i < 150; i++)
		takes(e, i, 2048, 100 + i);
}

/* --- send ------------------------------------------------------------------ */

static void submit(struct env *e, unsigned len)
{
	struct fake_seg segs[] = { { e->buf, HDR, false },
				   { GPA(e->buf.v + HDR), len - HDR, false } };

	memcpy(e->mem, e->packet, len);
	fake_submit_indirect(&e->d, TX, segs, 2);
}

static void sent(struct env *e, unsigned len)
{
	assert_int_equal(recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT), len);
	assert_memory_equal(e->got, e->packet, len);
}

static void nothing_is_sent(struct env *e)
{
	assert_int_equal(recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT), -1);
}

static void packets_go_out_as_they_are(void **state)
{
	struct env *e = *state;
	uint32_t used;

	submit(e, HDR + 60);
	fake_kick(&e->d, TX);
	sent(e, HDR + 60);
	submit(e, MAX_PACKET);
	fake_kick(&e->d, TX);
	sent(e, MAX_PACKET);
	assert_true(fake_used(&e->d, TX, NULL, &used));
	assert_int_equal(used, 0);
	assert_true(fake_used(&e->d, TX, NULL, &used));
	assert_true(fake_interrupts(&e->d, 1 + TX) > 0);
}

static void packets_without_payload_and_giants_are_dropped(void **state)
{
	struct env *e = *state;
	struct fake_seg none = { e->buf, HDR, false };
	struct fake_seg tiny = { e->buf, 1, false };
	struct fake_seg giant = { e->buf, 4 << 20, false };
	struct fake_seg wrong = { e->buf, 100, true };
	struct fake_seg many[100];

	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = giant;
	assert_int_equal(fake_request(&e->d, TX, &none, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, &tiny, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, &giant, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, &wrong, 1), 0);
	assert_int_equal(fake_request(&e->d, TX, many, ARRAY_SIZE(many)), 0);
	nothing_is_sent(e);
	submit(e, 100);
	fake_kick(&e->d, TX);
	sent(e, 100);
}

/* More than the tap takes, and more than one turn's budget: all come, in order. */
static void a_full_tap_holds_packets_back_and_loses_none(void **state)
{
	struct env *e = *state;
	unsigned completed = 0, got = 0;

	for (unsigned i = 0; i < 256; i++) {
		struct fake_seg seg = { GPA(e->buf.v + i * 16384), HDR + 10000 + i,
					false };

		e->mem[i * 16384 + HDR] = (unsigned char)i;
		fake_submit(&e->d, TX, &seg, 1);
	}
	fake_kick(&e->d, TX);
	while (fake_used(&e->d, TX, NULL, NULL))
		completed++;
	assert_true(completed > 0 && completed < 256);
	/* While it is full, packets still come in. */
	offer_many(e, 1, 2048);
	arrives(e, 100);
	fake_run(&e->host);
	assert_true(fake_used(&e->d, RX, NULL, NULL));
	while (got < 256) {
		ssize_t len = recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT);

		if (len < 0) {
			assert_int_equal(errno, EAGAIN);
			fake_run(&e->host);
			len = recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT);
		}
		assert_int_equal(len, HDR + 10000 + got);
		got++;
	}
	fake_run(&e->host);
	while (fake_used(&e->d, TX, NULL, NULL))
		completed++;
	assert_int_equal(completed, 256);
}

/* A turn ends where the ring does, too: the next packet's kick must be wanted. */
static void exactly_one_turn_of_packets_does_not_stop_the_queue(void **state)
{
	struct env *e = *state;

	for (unsigned n = 1; n <= 130; n++) {
		uint16_t old = e->d.q[TX].avail_idx;

		for (unsigned i = 0; i < n; i++)
			submit(e, 100);
		assert_true(fake_wants_kick(&e->d, TX, old));
		fake_kick(&e->d, TX);
		for (unsigned i = 0; i < n; i++) {
			sent(e, 100);
			fake_run(&e->host);
		}
		for (unsigned i = 0; i < n; i++)
			assert_true(fake_used(&e->d, TX, NULL, NULL));
	}
}

/* --- the host's kernel ----------------------------------------------------- */

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

/* --- configuration, resets, hostile guests --------------------------------- */

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_packet_takes_one_buffer),
		TEST(a_large_packet_takes_several_buffers_and_the_next_the_next),
		TEST(a_packet_that_came_before_its_buffers_waits),
		TEST(a_slow_guest_gets_everything),
		TEST(a_guest_with_few_buffers_gets_what_fits),
		TEST(without_merging_a_packet_has_one_buffer),
		TEST(a_header_may_be_in_pieces),
		TEST(runts_from_the_wire_are_dropped),
		TEST(many_packets_come_in_one_go),
		TEST(packets_go_out_as_they_are),
		TEST(packets_without_payload_and_giants_are_dropped),
		TEST(a_full_tap_holds_packets_back_and_loses_none),
		TEST(exactly_one_turn_of_packets_does_not_stop_the_queue),
		TEST(the_kernel_gets_the_rings_and_the_tap),
		TEST(a_reset_takes_the_tap_from_the_kernel),
		TEST(suspending_takes_the_tap_from_the_kernel_for_a_while),
		TEST(what_the_kernel_cannot_do_is_not_offered),
		TEST(a_kernel_that_refuses_the_tap_breaks_the_device),
		TEST(without_vhost_auto_goes_on_and_on_does_not),
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

	/* A tap raises no signal. */
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
