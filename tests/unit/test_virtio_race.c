/*
 * A virtio device whose queues run on a thread of their own, while one vCPU
 * submits, kicks and resets and another one touches every register: the lock
 * order holds, nothing is lost, and after a reset nobody writes to guest memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fake_driver.h"

#define ID 42
#define ROUNDS 200
#define REQUESTS 20

/* Fills every writable byte with 0xaa. */
struct filler {
	struct virtio_dev v;
	struct vq_chain chain;
};

struct rig {
	struct fake_host host;
	struct filler f;
	struct fake_driver d, second; /* one for each vCPU */
	bool stop;
};

static void kick(struct virtio_dev *v, unsigned n)
{
	struct filler *f = (struct filler *)v;
	struct vq *q = &v->queues[n];
	int r;

	do {
		while ((r = vq_pop(q, &f->chain)) == 1) {
			for (unsigned i = 0; i < f->chain.n_in; i++)
				memset(f->chain.iov[i].iov_base, 0xaa,
				       f->chain.iov[i].iov_len);
			vq_push(q, f->chain.head, (uint32_t)f->chain.in_len);
		}
	} while (r == 0 && vq_kicks(q, true));
	if (r < 0)
		virtio_broken(v, q->why);
	else
		virtio_signal(v, n);
}

static const struct virtio_ops ops = { .id = ID, .kick = kick };
static const struct dev_class class = {
	.name = "filler",
	.read = virtio_read,
	.write = virtio_write,
};

static void *loop_thread(void *arg)
{
	struct rig *r = arg;
	struct err err;

	return loop_run(r->host.host.loop, &err) < 0 ? r : NULL;
}

/* Reads everything, and turns what a second vCPU may turn at any time. */
static void *second_vcpu(void *arg)
{
	struct rig *r = arg;
	struct fake_driver d = r->second;

	for (uint32_t i = 0; !__atomic_load_n(&r->stop, __ATOMIC_RELAXED); i++) {
		fake_in(&r->host, DEV_MMIO, d.bar + i * 4 % 0x8000, 4);
		fake_isr(&d);
		fake_out(&r->host, DEV_MMIO, d.msix_table + 16 + 12, i & 1, 4);
		fake_out(&r->host, DEV_MMIO, d.notify + 4 * (i & 1), 0, 2);
		pthread_mutex_lock(&r->f.v.dev.lock);
		r->f.v.config[0]++;
		virtio_config_changed(&r->f.v);
		pthread_mutex_unlock(&r->f.v.dev.lock);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static void wait_used(struct fake_driver *d, unsigned q)
{
	while (!fake_used(d, q, NULL, NULL))
		sched_yield();
}

static void run_rounds(struct rig *r, bool msix)
{
	gpa_t base = fake_alloc(&r->host, 64, 64);
	struct fake_seg seg = { base, 64, true };
	uint64_t keep = r->host.next_alloc;
	unsigned char zero[64] = { 0 };

	for (int round = 0; round < ROUNDS; round++) {
		r->host.next_alloc = keep;
		if (msix)
			fake_driver_start(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
		else
			fake_driver_start_intx(&r->d, &r->host, ID, FAKE_ALL_FEATURES);
		for (unsigned i = 0; i < REQUESTS; i++) {
			fake_submit(&r->d, i & 1, &seg, 1);
			fake_common_out(&r->d, FAKE_QUEUE_SELECT, ~i & 1, 2);
			fake_common_out(&r->d, FAKE_QUEUE_VECTOR, i & 3, 2);
			fake_common_out(&r->d, FAKE_CONFIG_VECTOR, i & 3, 2);
			fake_out(&r->host, DEV_MMIO, r->d.kick_addr[i & 1], 0, 2);
			wait_used(&r->d, i & 1);
		}
		/* Requests in flight when the reset comes. */
		for (unsigned i = 0; i < 8; i++)
			fake_submit(&r->d, 0, &seg, 1);
		fake_out(&r->host, DEV_MMIO, r->d.kick_addr[0], 0, 2);
		fake_driver_reset(&r->d);
		memset(fake_ptr(&r->host, base, 64), 0, 64);
		sched_yield();
		assert_memory_equal(fake_ptr(&r->host, base, 64), zero, 64);
	}
}

static void run(bool msix, bool no_notify)
{
	struct rig *r = calloc(1, sizeof(*r));
	pthread_t loop, vcpu;
	void *result;
	struct err err;

	assert_non_null(r);
	fake_host_init(&r->host, "filler0", 1 << 20);
	r->host.no_notify = no_notify;
	r->f.v.n_queues = 2;
	r->f.v.queue_size[0] = r->f.v.queue_size[1] = 16;
	r->f.v.config_len = 8;
	assert_int_equal(virtio_init(&r->f.v, &class, &ops, &r->host.host, &err), 0);
	/* Now: two vCPUs cannot use the configuration ports at once. */
	fake_driver_find(&r->second, &r->host, ID, 0);
	assert_int_equal(pthread_create(&loop, NULL, loop_thread, r), 0);
	assert_int_equal(pthread_create(&vcpu, NULL, second_vcpu, r), 0);

	run_rounds(r, msix);

	__atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
	pthread_join(vcpu, NULL);
	loop_stop(r->host.host.loop);
	pthread_join(loop, &result);
	assert_null(result);
	virtio_free(&r->f.v);
	fake_host_free(&r->host);
	free(r);
}

static void survives_with_msix(void **state)
{
	(void)state;
	run(true, false);
}

static void survives_with_intx(void **state)
{
	(void)state;
	run(false, false);
}

static void survives_with_kicks_by_write(void **state)
{
	(void)state;
	run(true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(survives_with_msix),
		cmocka_unit_test(survives_with_intx),
		cmocka_unit_test(survives_with_kicks_by_write),
	};

	alarm(300); /* a lost kick would wait for ever */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
