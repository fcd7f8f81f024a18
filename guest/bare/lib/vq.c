/* Split virtqueues (virtio 1.2, 2.7), driver's side. See virtio.h. */
#include "apic.h"
#include "bare.h"
#include "virtio.h"

static bool vq_has(const struct vq *vq, unsigned feature)
{
	return vq->dev->features >> feature & 1;
}

static void vq_chain(struct vring_desc *desc, uint16_t first, const struct segment *s,
		     unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		desc[i].addr = (uintptr_t)s[i].addr;
		desc[i].len = s[i].len;
		desc[i].flags = (s[i].device_writes ? VRING_DESC_F_WRITE : 0) |
				(i + 1 < n ? VRING_DESC_F_NEXT : 0);
		desc[i].next = (uint16_t)(first + i + 1);
	}
}

bool vq_add(struct vq *vq, const struct segment *segments, unsigned n)
{
	bool indirect = vq_has(vq, VIRTIO_RING_F_INDIRECT_DESC);
	uint16_t head = vq->in_flight ? vq->next_desc : 0;
	struct vring_desc *desc = &vq->rings->desc[head];

	if (n > VQ_SEGMENTS || head + (indirect ? 1 : n) > vq->size)
		return false;
	if (indirect) {
		vq_chain(vq->rings->table[head], 0, segments, n);
		desc->addr = (uintptr_t)vq->rings->table[head];
		desc->len = (uint32_t)(n * sizeof(*desc));
		desc->flags = VRING_DESC_F_INDIRECT;
	} else {
		vq_chain(desc, head, segments, n);
	}
	vq->next_desc = (uint16_t)(head + (indirect ? 1 : n));
	vq->avail->ring[vq->next_avail++ % vq->size] = head;
	vq->in_flight++;
	return true;
}

void vq_kick(struct vq *vq)
{
	uint16_t was = vq->avail->idx, avail_event;

	vq->avail->ring[vq->size] = vq->last_used; /* used_event */
	vq->irqs_at_kick = vq->irqs;
	cpu_barrier();
	vq->avail->idx = vq->next_avail;
	cpu_fence();
	avail_event = (uint16_t)vq->used->ring[vq->size].id;
	if (vq_has(vq, VIRTIO_RING_F_EVENT_IDX)
		    ? vring_need_event(avail_event, vq->next_avail, was)
		    : !(vq->used->flags & VRING_USED_F_NO_NOTIFY))
		mmio_write16(vq->notify, vq->index);
}

static int64_t vq_pop(struct vq *vq)
{
	int64_t len = vq->used->ring[vq->last_used % vq->size].len;

	vq->last_used++;
	vq->in_flight--;
	return len;
}

int64_t vq_wait(struct vq *vq)
{
	struct wait w = wait_start();

	if (vq->dev->irq == VIRTIO_POLL) {
		while (vq->used->idx == vq->last_used)
			if (!wait_more(&w))
				return -1;
		return vq_pop(vq);
	}
	/* The first completion behind a kick must interrupt, whatever the rings say. */
	if (!apic_sleep_until_changed(&vq->irqs, vq->irqs_at_kick))
		return -1;
	while (vq->used->idx == vq->last_used) {
		unsigned irqs = vq->irqs;

		vq->avail->ring[vq->size] = vq->last_used;
		cpu_fence();
		if (vq->used->idx == vq->last_used &&
		    !apic_sleep_until_changed(&vq->irqs, irqs))
			return -1;
	}
	return vq_pop(vq);
}

int64_t vq_request(struct vq *vq, const struct segment *segments, unsigned n)
{
	if (!vq_add(vq, segments, n))
		return -1;
	vq_kick(vq);
	return vq_wait(vq);
}
