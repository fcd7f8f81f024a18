/*
 * virtio-vsock (virtio 1.2, 5.10): packets to and from the host, polled or by
 * interrupts. Connections are their user's affair.
 */
#pragma once

#include <linux/virtio_vsock.h>

#include "virtio.h"

enum { VSOCK_HOST = 2, VSOCK_SLOTS = 8, VSOCK_SLOT = 16 << 10 };
enum {
	VSOCK_HEADER = sizeof(struct virtio_vsock_hdr),
	VSOCK_ROOM = VSOCK_SLOTS * (VSOCK_SLOT - VSOCK_HEADER)
};

#define VSOCK_OP(name) VIRTIO_VSOCK_OP_##name

struct vsock_stream {
	uint32_t mine, host; /* ports */
	uint32_t taken; /* of what came */
};

extern uint64_t vsock_cid;

/* Says why not, as a verdict. */
bool vsock_open(enum virtio_irq irq);

/* The slot of the next packet; -1 when none came, -2 after some seconds without. */
int vsock_packet(bool wait);
const struct virtio_vsock_hdr *vsock_header(int slot); /* its data lies behind it */
void vsock_give(int slot); /* back to the host */

bool vsock_send(const struct vsock_stream *s, uint16_t op, uint32_t flags,
		const void *data, uint32_t len);
