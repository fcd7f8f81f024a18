/*
 * virtio-vsock (virtio 1.2, 5.10), one stream at a time, polled. Words:
 *   connect=PORT bytes=N count=C  C times: connects to the host's port, sends N bytes
 *                                 and wants them back, then closes
 *   refused=PORT                  nobody listens on that port of the host
 *   listen=PORT count=C           C times: sends back what a client of the host sends
 */
#include <linux/virtio_vsock.h>

#include "apic.h"
#include "bare.h"
#include "virtio.h"

enum { TYPE_VSOCK = 19, RECEIVE = 0, TRANSMIT = 1, HOST = 2, FIRST_PORT = 1024 };
enum { SLOTS = 8, SLOT = 16 << 10, HEADER = sizeof(struct virtio_vsock_hdr) };
enum { ROOM = SLOTS * (SLOT - HEADER), LONGEST = 32 << 10, MAX_BYTES = 4 << 20 };

#define OP(name) VIRTIO_VSOCK_OP_##name

static struct virtio dev;
static uint64_t cid;
static uint8_t buffers[SLOTS][SLOT] __attribute__((aligned(16)));
static uint64_t pattern[MAX_BYTES / 8];

static struct {
	uint32_t mine, host; /* ports */
	uint32_t sent, peer_taken, peer_room;
	uint32_t taken; /* of what came */
} conn;

/* --- packets --------------------------------------------------------------- */

/* Slot i belongs to descriptor i, for ever. */
static void give(unsigned slot)
{
	struct vq *vq = &dev.vq[RECEIVE];
	struct vring_desc *d = &vq->rings->desc[slot];

	*d = (struct vring_desc){ .addr = (uintptr_t)buffers[slot],
				  .len = SLOT,
				  .flags = VRING_DESC_F_WRITE };
	vq->avail->ring[vq->next_avail++ % vq->size] = (uint16_t)slot;
	vq_kick(vq);
}

/* The slot of the next packet; -1 when none came, -2 after some seconds without. */
static int poll_packet(bool wait)
{
	struct vq *vq = &dev.vq[RECEIVE];
	struct wait w = wait_start();

	while (vq->used->idx == vq->last_used)
		if (!wait || !wait_more(&w))
			return wait ? -2 : -1;
	cpu_barrier();
	return (int)vq->used->ring[vq->last_used++ % vq->size].id;
}

static const struct virtio_vsock_hdr *header(int slot)
{
	return (const struct virtio_vsock_hdr *)buffers[slot];
}

static bool send_data(uint16_t op, uint32_t flags, const void *data, uint32_t len)
{
	static struct virtio_vsock_hdr h;
	/* Segments are for both directions; of these the device only reads. */
	struct segment s[] = { { &h, HEADER, false },
			       { (void *)(uintptr_t)data, len, false } };

	h = (struct virtio_vsock_hdr){
		.src_cid = cid,
		.dst_cid = HOST,
		.src_port = conn.mine,
		.dst_port = conn.host,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = ROOM,
		.fwd_cnt = conn.taken,
	};
	conn.sent += len;
	return vq_request(&dev.vq[TRANSMIT], s, len ? 2 : 1) >= 0;
}

static bool send_op(uint16_t op)
{
	return send_data(op, 0, NULL, 0);
}

static uint32_t credit(void)
{
	return conn.peer_room - (conn.sent - conn.peer_taken);
}

/*
 * A packet of this connection: its slot, which is to be given back. Others come late,
 * from connections that were; -1 and -2 as above.
 */
static int receive(bool wait)
{
	for (;;) {
		int slot = poll_packet(wait);
		const struct virtio_vsock_hdr *h;

		if (slot < 0)
			return slot;
		h = header(slot);
		if (h->src_cid == HOST && h->dst_cid == cid &&
		    h->src_port == conn.host && h->dst_port == conn.mine) {
			conn.peer_room = h->buf_alloc;
			conn.peer_taken = h->fwd_cnt;
			return slot;
		}
		give((unsigned)slot);
	}
}

/* Waits for one kind of packet without data; what else comes is passed over. */
static bool expect(uint16_t op, uint16_t *ret_other)
{
	uint16_t got;

	*ret_other = 0;
	do {
		int slot = receive(true);

		if (slot < 0)
			return false;
		got = header(slot)->op;
		give((unsigned)slot);
		*ret_other = got;
	} while (got != op && got != OP(RST));
	return got == op;
}

/* --- the guest connects ---------------------------------------------------- */

static bool connect(uint32_t port, uint16_t wanted)
{
	static uint32_t next_port = FIRST_PORT;
	uint16_t other = 0;

	conn.mine = next_port++;
	conn.host = port;
	conn.sent = conn.peer_taken = conn.peer_room = conn.taken = 0;
	if (send_op(OP(REQUEST)) && expect(wanted, &other))
		return true;
	test_fail("connect", "operation %u came", other);
	return false;
}

/* Compares what came; how far the stream is behind it, or -1. */
static int64_t compare(int slot, uint32_t at, uint32_t bytes)
{
	const struct virtio_vsock_hdr *h = header(slot);

	if (h->op == OP(SHUTDOWN) || h->op == OP(RST)) {
		test_fail("echo", "operation %u after %u bytes", h->op, at);
		return -1;
	}
	if (h->op == OP(CREDIT_REQUEST) && !send_op(OP(CREDIT_UPDATE)))
		return -1;
	if (h->op != OP(RW))
		return at;
	if (h->len > bytes - at || memcmp(h + 1, (uint8_t *)pattern + at, h->len)) {
		test_fail("echo", "other bytes at %u", at);
		return -1;
	}
	conn.taken += h->len;
	return at + h->len;
}

static bool echo(uint32_t bytes)
{
	uint32_t out = 0, told = 0;
	int64_t in = 0;

	while (in >= 0 && in < bytes) {
		uint32_t len = bytes - out < LONGEST ? bytes - out : LONGEST;
		int slot;

		len = len < credit() ? len : credit();
		if (len && !send_data(OP(RW), 0, (uint8_t *)pattern + out, len))
			return false;
		told = len ? conn.taken : told;
		out += len;
		slot = receive(len == 0);
		if (slot == -2) {
			test_fail("echo", "%u bytes out, %ld back", out, in);
			return false;
		}
		if (slot < 0)
			continue;
		in = compare(slot, (uint32_t)in, bytes);
		give((unsigned)slot);
		if (conn.taken - told > ROOM / 2) {
			send_op(OP(CREDIT_UPDATE));
			told = conn.taken;
		}
	}
	return in == bytes;
}

static bool close(void)
{
	uint16_t other = 0;

	if (send_data(OP(SHUTDOWN),
		      VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND, NULL,
		      0) &&
	    expect(OP(RST), &other))
		return true;
	test_fail("close", "operation %u came", other);
	return false;
}

/* --- the host connects ----------------------------------------------------- */

static bool accept(uint32_t port)
{
	int slot = -2;

	/* The host may take its time. */
	for (unsigned i = 0; i < 4 && slot < 0; i++)
		slot = poll_packet(true);
	if (slot < 0) {
		test_fail("accept", "nobody came");
		return false;
	}
	conn.mine = header(slot)->dst_port;
	conn.host = header(slot)->src_port;
	conn.peer_room = header(slot)->buf_alloc;
	conn.sent = conn.peer_taken = conn.taken = 0;
	if (header(slot)->op != OP(REQUEST) || conn.mine != port) {
		test_fail("accept", "operation %u for port %u", header(slot)->op,
			  conn.mine);
		return false;
	}
	give((unsigned)slot);
	return send_op(OP(RESPONSE));
}

/* What has come and cannot go back yet. */
static struct {
	int slot[SLOTS];
	unsigned first, n;
} held;

static bool send_held(void)
{
	while (held.n) {
		int slot = held.slot[held.first % SLOTS];
		uint32_t len = header(slot)->len;

		if (credit() < len)
			return true;
		conn.taken += len;
		if (!send_data(OP(RW), 0, header(slot) + 1, len))
			return false;
		give((unsigned)slot);
		held.first++;
		held.n--;
	}
	return true;
}

static bool send_back(void)
{
	bool ended = false;

	while (!ended || held.n) {
		int slot = receive(true);
		uint16_t op = slot < 0 ? 0 : header(slot)->op;

		if (slot < 0 || op == OP(RST)) {
			test_fail("send back", "operation %u came", op);
			return false;
		}
		if (op == OP(SHUTDOWN) &&
		    header(slot)->flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
			ended = true;
		if (op == OP(RW))
			held.slot[(held.first + held.n++) % SLOTS] = slot;
		else
			give((unsigned)slot);
		if (op == OP(CREDIT_REQUEST))
			send_op(OP(CREDIT_UPDATE));
		if (!send_held())
			return false;
	}
	return true;
}

/* --- all ------------------------------------------------------------------- */

static bool setup(void)
{
	const char *why;

	if (!virtio_open(&dev, TYPE_VSOCK, 0, &why)) {
		test_fail("open", "%s", why);
		return false;
	}
	if (!virtio_negotiate(&dev, 0) || !virtio_use_irq(&dev, VIRTIO_POLL)) {
		test_fail("set up", "status %02x", virtio_status(&dev));
		return false;
	}
	for (unsigned q = 0; q < 3; q++)
		if (!virtio_queue(&dev, q, &why)) {
			test_fail("queues", "%s", why);
			return false;
		}
	virtio_ready(&dev);
	cid = mmio_read32(dev.config) | (uint64_t)mmio_read32(dev.config + 4) << 32;
	print("hello from cid %lu\n", cid);
	for (unsigned i = 0; i < SLOTS; i++)
		give(i);
	return true;
}

void guest_main(void)
{
	uint32_t bytes = (uint32_t)arg_number("bytes", 8);
	uint64_t count = arg_number("count", 1), done = 0;

	apic_init();
	if (!setup())
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(pattern) && i < bytes / 8 + 1; i++)
		pattern[i] = (i + 1) * 0x9e3779b97f4a7c15;
	if (arg_has("refused"))
		test_check(connect((uint32_t)arg_number("refused", 0), OP(RST)),
			   "refused", "it is not");
	if (arg_has("connect")) {
		while (done < count &&
		       connect((uint32_t)arg_number("connect", 0), OP(RESPONSE)) &&
		       echo(bytes) && close())
			done++;
		test_check(done == count, "connect and echo", "%lu times", done);
	}
	if (arg_has("listen")) {
		print("listening\n");
		for (done = 0; done < count; done++)
			if (!accept((uint32_t)arg_number("listen", 0)) ||
			    !send_back() || !close())
				break;
		test_check(done == count, "listen and echo", "%lu times", done);
	}
}
