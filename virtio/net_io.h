/*
 * The inside of the network device: between its life (net.c) and its packets
 * (net_io.c); nobody else includes this.
 *
 * Theory of operation. Everything below is under io_lock, and happens on the device's
 * thread but for starts and stops. Receiving: buffers are taken from the ring until
 * they would hold the largest packet, the tap writes into them, and as many as it
 * filled are given back, all at once; the others wait for the next packet. With too
 * few buffers the tap is not looked at (starved) until the guest kicks. Sending: the
 * tap reads from the guest's buffers; where it is full, the packet at hand waits until
 * it is not. Neither waits for the other.
 */
#pragma once

#include "base/log.h"
#include "virtio/vhost.h"
#include "virtio/virtio.h"

enum { NET_RX, NET_TX, NET_QUEUES };

#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_MRG_RXBUF (1ull << 15)

/* Section 5.1.6.3.1: 65550 bytes and the header. */
#define NET_MAX_PACKET 65562u
/* What the tap takes at a time: IOV_MAX. */
#define NET_MAX_IOV 1024u

struct net {
	struct virtio_dev v; /* first */
	int tap;
	bool has_vhost; /* the kernel does it all */
	struct vhost vhost;
	struct loop_watch *watch; /* of the tap */

	/* Receive buffers taken from the ring, in order. */
	struct vq_done bufs[VQ_MAX_SIZE]; /* written: the size, until it is filled */
	unsigned n_bufs, most_bufs;
	struct iovec iov[NET_MAX_IOV]; /* all of them, and overflow */
	unsigned n_iov;
	uint64_t room; /* bytes in all of them */
	bool starved; /* waits for a kick */
	uint8_t overflow[NET_MAX_PACKET]; /* the end of a packet that did not fit */
	struct vq_chain chain; /* being taken */

	struct vq_chain tx; /* the packet at hand */
	bool tx_waits; /* for room in the tap */

	struct log_limit dropped;
};

/* A start of the driver's: forget all packets. */
void net_io_start(struct net *n);

/* After a while of not running: look at the tap again. */
void net_io_resume(struct net *n);

/* There are buffers in queue @q; the ops' kick. */
void net_io_kick(struct virtio_dev *v, unsigned q);

/* The tap is ready: a callback of the loop. */
void net_io_tap(void *arg, uint32_t events);
