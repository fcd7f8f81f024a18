/*
 * A driver for virtio 1.x over PCI (virtio 1.2, chapters 2.7 and 4.1): finds a device's
 * registers by its capabilities, negotiates, and runs split queues by polling, INTx or
 * MSI-X. Small on purpose: a queue hands out descriptors in order and starts again when
 * nothing is in flight. Ring memory is public so that hostile guests can spoil it.
 */
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VQ_MAX = 16, VQ_SIZE = 16, VQ_SEGMENTS = 6 };
enum virtio_irq { VIRTIO_POLL, VIRTIO_INTX, VIRTIO_MSIX };

/* Behind the last entry of each ring lies an event word: avail_event and used_event. */
struct vq_used {
	uint16_t flags, idx;
	struct vring_used_elem ring[VQ_SIZE + 1];
};
struct vq_avail {
	uint16_t flags, idx, ring[VQ_SIZE + 1];
};
struct vq_rings {
	struct vring_desc desc[VQ_SIZE];
	struct vring_desc table[VQ_SIZE][VQ_SEGMENTS]; /* indirect tables */
	struct vq_avail avail;
	struct vq_used used __attribute__((aligned(4)));
} __attribute__((aligned(16)));

struct vq {
	struct virtio *dev;
	struct vq_rings *rings;
	volatile struct vq_used *used;
	volatile struct vq_avail *avail;
	uint16_t index;
	uint16_t size; /* as it was set: VQ_SIZE, or the device's maximum if less */
	uint16_t next_desc, next_avail, last_used, in_flight;
	uintptr_t notify;
	volatile unsigned irqs;
	unsigned irqs_at_kick;
};

struct virtio {
	uint8_t devfn;
	uintptr_t common, isr, config, notify; /* zero: no such capability */
	uint32_t notify_step, config_length;
	uint8_t window_cap, msix_cap;
	uintptr_t msix_table, msix_pending;
	unsigned msix_vectors;
	uint64_t offered, features;
	enum virtio_irq irq;
	volatile unsigned config_irqs;
	struct vq vq[VQ_MAX];
};

struct segment {
	void *addr;
	uint32_t len;
	bool device_writes;
};

/* Finds the n-th device of a type (virtio 1.2, chapter 5), enables and resets it. */
bool virtio_open(struct virtio *dev, unsigned type, unsigned n, const char **ret_why);
/* Acknowledges, and agrees on those of the wanted features that are offered. */
bool virtio_negotiate(struct virtio *dev, uint64_t wanted);
/* How completions are told; before queues are set up. */
bool virtio_use_irq(struct virtio *dev, enum virtio_irq irq);
bool virtio_queue(struct virtio *dev, unsigned index, const char **ret_why);
void virtio_ready(struct virtio *dev);
/* Writes 0 to the status and waits until it reads so. */
bool virtio_reset(struct virtio *dev);

/* Masks one MSI-X entry or all interrupts by INTx, and tells whether one waits. */
void virtio_mask(struct virtio *dev, unsigned entry, bool masked);
bool virtio_pending(const struct virtio *dev, unsigned entry);

uint8_t virtio_status(const struct virtio *dev);
void virtio_set_status(const struct virtio *dev, uint8_t status);
uint16_t virtio_queue_max(const struct virtio *dev, unsigned index);
uint64_t virtio_offered(const struct virtio *dev);
void virtio_accept(const struct virtio *dev, uint64_t features);

/* Queues one chain (one descriptor if the queue uses indirect tables); not yet told. */
bool vq_add(struct vq *vq, const struct segment *segments, unsigned n);
/* Tells the device, unless EVENT_IDX says that it does not want to know. */
void vq_kick(struct vq *vq);
/* Waits for one completion; its used length, or -1 after some seconds. */
int64_t vq_wait(struct vq *vq);
/* All three: the used length, or -1. */
int64_t vq_request(struct vq *vq, const struct segment *segments, unsigned n);
