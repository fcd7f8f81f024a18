/* A vsock packet's header (virtio 1.2 section 5.10.6), as numbers and as bytes. */
#pragma once

#include <linux/virtio_vsock.h>

#include "base/bytes.h"

#define VSOCK_HDR_LEN sizeof(struct virtio_vsock_hdr)
#define VSOCK_HOST_CID 2
#define VSOCK_F_STREAM 0 /* newer than the oldest headers that we build with */
#define VSOCK_SHUT_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len; /* of the payload */
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt; /* the sender's: what it can take, and has taken */
};

static inline struct vsock_packet vsock_packet_get(const struct virtio_vsock_hdr *h)
{
	return (struct vsock_packet){
		.src_cid = le64toh(h->src_cid),
		.dst_cid = le64toh(h->dst_cid),
		.src_port = le32toh(h->src_port),
		.dst_port = le32toh(h->dst_port),
		.len = le32toh(h->len),
		.type = le16toh(h->type),
		.op = le16toh(h->op),
		.flags = le32toh(h->flags),
		.buf_alloc = le32toh(h->buf_alloc),
		.fwd_cnt = le32toh(h->fwd_cnt),
	};
}

static inline struct virtio_vsock_hdr vsock_packet_put(const struct vsock_packet *p)
{
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(p->src_cid),
		.dst_cid = htole64(p->dst_cid),
		.src_port = htole32(p->src_port),
		.dst_port = htole32(p->dst_port),
		.len = htole32(p->len),
		.type = htole16(p->type),
		.op = htole16(p->op),
		.flags = htole32(p->flags),
		.buf_alloc = htole32(p->buf_alloc),
		.fwd_cnt = htole32(p->fwd_cnt),
	};
}
