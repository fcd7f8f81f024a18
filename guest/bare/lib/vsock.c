/* virtio-vsock; see vsock.h. Slot i belongs to descriptor i, for ever. */
#include "vsock.h"

#include "apic.h"
#include "bare.h"

enum { TYPE_VSOCK = 19, RECEIVE = 0, TRANSMIT = 1 };

uint64_t vsock_cid;
static struct virtio dev;
static uint8_t buffers[VSOCK_SLOTS][VSOCK_SLOT] __attribute__((aligned(16)));

void vsock_give(int slot)
{
	struct vq *vq = &dev.vq[RECEIVE];
	struct vring_desc *d = &vq->rings->desc[slot];

	*d = (struct vring_desc){ .addr = (uintptr_t)buffers[slot],
				  .len = VSOCK_SLOT,
				  .flags = VRING_DESC_F_WRITE };
	vq->avail->ring[vq->next_avail++ % vq->size] = (uint16_t)slot;
	vq_kick(vq);
}

int vsock_packet(bool wait)
{
	struct vq *vq = &dev.vq[RECEIVE];
	struct wait w = wait_start();

	for (;;) {
		unsigned irqs = vq->irqs;

		cpu_barrier();
		if (vq->used->idx != vq->last_used)
			break;
		if (!wait)
			return -1;
		if (dev.irq == VIRTIO_POLL ? !wait_more(&w)
					   : !apic_sleep_until_changed(&vq->irqs, irqs))
			return -2;
	}
	cpu_barrier();
	return (int)vq->used->ring[vq->last_used++ % vq->size].id;
}

const struct virtio_vsock_hdr *vsock_header(int slot)
{
	return (const struct virtio_vsock_hdr *)buffers[slot];
}

bool vsock_send(const struct vsock_stream *s, uint16_t op, uint32_t flags,
		const void *data, uint32_t len)
{
	static struct virtio_vsock_hdr h;
	/* Segments are for both directions; of these the device only reads. */
	struct segment segments[] = { { &h, VSOCK_HEADER, false },
				      { (void *)(uintptr_t)data, len, false } };

	h = (struct virtio_vsock_hdr){
		.src_cid = vsock_cid,
		.dst_cid = VSOCK_HOST,
		.src_port = s->mine,
		.dst_port = s->host,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = VSOCK_ROOM,
		.fwd_cnt = s->taken,
	};
	return vq_request(&dev.vq[TRANSMIT], segments, len ? 2 : 1) >= 0;
}

bool vsock_open(enum virtio_irq irq)
{
	const char *why;

	if (!virtio_open(&dev, TYPE_VSOCK, 0, &why)) {
		test_fail("open", "%s", why);
		return false;
	}
	if (!virtio_negotiate(&dev, 0) || !virtio_use_irq(&dev, irq)) {
		test_fail("set up", "status %02x", virtio_status(&dev));
		return false;
	}
	for (unsigned q = 0; q < 3; q++)
		if (!virtio_queue(&dev, q, &why)) {
			test_fail("queues", "%s", why);
			return false;
		}
	virtio_ready(&dev);
	vsock_cid = mmio_read32(dev.config) | (uint64_t)mmio_read32(dev.config + 4)
						      << 32;
	for (int i = 0; i < VSOCK_SLOTS; i++)
		vsock_give(i);
	return true;
}
