/*
 * virtio-rng (virtio 1.2, 5.4): random bytes come, differ, and a request far larger
 * than anyone needs (1 MiB, in pieces of one page used again and again) does no harm.
 */
#include "apic.h"
#include "bare.h"
#include "virtio.h"

enum { TYPE_ENTROPY = 4, SOME = 64, PIECE = 4096, MANY = 1 << 20 };

static struct virtio dev;
static uint8_t first[SOME], second[SOME], page[PIECE];

static bool get(uint8_t *to, const char *what)
{
	struct segment s = { to, SOME, true };
	int64_t len = vq_request(&dev.vq[0], &s, 1);

	cpu_barrier();
	return test_check(len > 0 && len <= SOME, what, "used length %ld", len);
}

static bool is_zero(const uint8_t *bytes)
{
	uint8_t any = 0;

	for (unsigned i = 0; i < SOME; i++)
		any |= bytes[i];
	return any == 0;
}

/* The table behind this one descriptor names the same page 256 times. */
static void oversized(void)
{
	static struct vring_desc table[MANY / PIECE];
	struct vq *vq = &dev.vq[0];
	struct vring_desc *desc = &vq->rings->desc[0];
	int64_t len;

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (struct vring_desc){
			.addr = (uintptr_t)page,
			.len = PIECE,
			.flags = VRING_DESC_F_WRITE |
				 (i + 1 < ARRAY_SIZE(table) ? VRING_DESC_F_NEXT : 0),
			.next = (uint16_t)(i + 1),
		};
	*desc = (struct vring_desc){ .addr = (uintptr_t)table,
				     .len = sizeof(table),
				     .flags = VRING_DESC_F_INDIRECT };
	vq->avail->ring[vq->next_avail++ % vq->size] = 0;
	vq->in_flight++;
	vq_kick(vq);
	len = vq_wait(vq);
	/* Longer than the queue, so the device may refuse it: then it wants a reset. */
	if (len < 0)
		print("oversized request: no completion, status %02x\n",
		      virtio_status(&dev));
	else
		print("oversized request: %ld bytes\n", len);
	test_check(len <= MANY, "oversized request", "used length %ld", len);
}

static bool setup(uint64_t features)
{
	const char *why;

	if (!virtio_open(&dev, TYPE_ENTROPY, 0, &why)) {
		test_fail("open", "%s", why);
		return false;
	}
	if (!virtio_negotiate(&dev, features) || !virtio_use_irq(&dev, VIRTIO_MSIX)) {
		test_fail("set up", "status %02x", virtio_status(&dev));
		return false;
	}
	if (!virtio_queue(&dev, 0, &why)) {
		test_fail("queue", "%s", why);
		return false;
	}
	virtio_ready(&dev);
	return true;
}

void guest_main(void)
{
	apic_init();
	if (!setup(0) || !get(first, "read") || !get(second, "read again"))
		return;
	test_check(!is_zero(first) && !is_zero(second), "bytes", "all are zero");
	test_check(memcmp(first, second, SOME) != 0, "bytes differ", "they do not");
	if (!setup(1ull << VIRTIO_RING_F_INDIRECT_DESC))
		return;
	if (dev.features >> VIRTIO_RING_F_INDIRECT_DESC & 1)
		oversized();
	if (setup(0))
		get(first, "read after it");
}
