/*
 * For the tests of the virtio transport: an echo device, driven from the guest's
 * side, whose queue 0 answers at once and whose queue 1 keeps what it gets.
 */
#pragma once

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

static inline void echo_start(struct virtio_dev *v)
{
	((struct echo *)v)->starts++;
}

static inline void echo_stop(struct virtio_dev *v)
{
	struct echo *e = (struct echo *)v;

	e->stops++;
	e->stop_saw_running |= v->running;
}

static inline void echo_kick(struct virtio_dev *v, unsigned n)
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

static inline void echo_config_write(struct virtio_dev *v, uint64_t off,
				     const void *buf, size_t len)
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

static inline void echo_free(struct device *dev)
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
	.pause = virtio_pause,
	.free = echo_free,
};

static inline struct echo *echo_new(struct fake_host *host)
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

static inline int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	fake_host_init(&r->host, "echo0", 1 << 20);
	r->echo = echo_new(&r->host);
	*state = r;
	return 0;
}

static inline int teardown(void **state)
{
	struct rig *r = *state;

	echo_free(&r->echo->v.dev);
	fake_host_free(&r->host);
	free(r);
	return 0;
}

/* One request of @text on queue @q, which comes back. */
static inline void echo(struct rig *r, unsigned q, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	gpa_t out = fake_put(&r->host, text, len);
	gpa_t in = fake_alloc(&r->host, len, 1);
	struct fake_seg segs[] = { { out, len, false }, { in, len, true } };

	assert_int_equal(fake_request(&r->d, q, segs, 2), len);
	assert_memory_equal(fake_ptr(&r->host, in, len), text, len);
}

static inline unsigned n_notifies(const struct rig *r)
{
	unsigned n = 0;

	for (size_t i = 0; i < FAKE_MAX_NOTIFIES; i++)
		n += r->host.notifies[i].dev != NULL;
	return n;
}

/* Found, reset, features accepted: where queue tests begin. */
static inline void negotiate(struct rig *r)
{
	fake_driver_find(&r->d, &r->host, ID, 0);
	fake_driver_reset(&r->d);
	assert_true(fake_driver_negotiate(&r->d, fake_driver_offered(&r->d)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
