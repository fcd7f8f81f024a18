/*
 * For the tests of the network device: a driver on one side, and a pair of sockets in
 * place of the tap, which keep packets apart, too.
 */
#pragma once

#include "virtio/net.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"

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

static inline struct env *new_env(const struct virtio_net_cfg *cfg)
{
	struct env *e = calloc(1, sizeof(*e));
	struct err err;
	int pair[2];

	signal(SIGPIPE, SIG_IGN); /* a tap raises none */
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

static inline int set_up(void **state)
{
	static const struct virtio_net_cfg cfg = { .vhost = NET_VHOST_OFF };
	struct env *e = new_env(&cfg);

	fake_driver_start(&e->d, &e->host, NET_ID, FAKE_ALL_FEATURES);
	*state = e;
	return 0;
}

static inline int tear_down(void **state)
{
	struct env *e = *state;

	virtio_net_class.free(e->dev);
	fake_host_free(&e->host);
	close(e->wire);
	free(e);
	return 0;
}

static inline void restart(struct env *e, uint64_t features)
{
	fake_driver_start(&e->d, &e->host, NET_ID, features);
}

/* Buffer @i of @len bytes each, for the device to fill. */
static inline void offer(struct env *e, unsigned i, uint32_t len)
{
	struct fake_seg seg = { GPA(e->buf.v + (uint64_t)i * len), len, true };

	memset(e->mem + (size_t)i * len, 0xee, len);
	fake_submit(&e->d, RX, &seg, 1);
}

static inline void offer_many(struct env *e, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++)
		offer(e, i, len);
	fake_kick(&e->d, RX);
}

/* A packet, header included, comes from the wire. */
static inline void arrives(struct env *e, unsigned len)
{
	assert_int_equal(send(e->wire, e->packet, len, 0), len);
}

/*
 * The guest takes one packet out of buffers of @size bytes from @first on: returns how
 * many they are, and has seen that their content is right.
 */
static inline unsigned takes(struct env *e, unsigned first, uint32_t size, unsigned len)
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

static inline void submit(struct env *e, unsigned len)
{
	struct fake_seg segs[] = { { e->buf, HDR, false },
				   { GPA(e->buf.v + HDR), len - HDR, false } };

	memcpy(e->mem, e->packet, len);
	fake_submit_indirect(&e->d, TX, segs, 2);
}

static inline void sent(struct env *e, unsigned len)
{
	assert_int_equal(recv(e->wire, e->got, sizeof(e->got), MSG_DONTWAIT), len);
	assert_memory_equal(e->got, e->packet, len);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
