/*
 * virtio-vsock (virtio 1.2, 5.10), one stream at a time, polled. Words:
 *   connect=PORT bytes=N count=C  C times: connects to the host's port, sends N bytes
 *                                 and wants them back, then closes
 *   refused=PORT                  nobody listens on that port of the host
 *   listen=PORT count=C           C times: sends back what a client of the host sends
 */
#include "apic.h"
#include "bare.h"
#include "vsock.h"

enum { FIRST_PORT = 1024, LONGEST = 32 << 10, MAX_BYTES = 4 << 20 };

#define OP VSOCK_OP

static uint64_t pattern[MAX_BYTES / 8];

static struct {
	struct vsock_stream s;
	uint32_t sent, peer_taken, peer_room;
} conn;

/* --- packets --------------------------------------------------------------- */

static bool send_data(uint16_t op, uint32_t flags, const void *data, uint32_t len)
{
	conn.sent += len;
	return vsock_send(&conn.s, op, flags, data, len);
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
		int slot = vsock_packet(wait);
		const struct virtio_vsock_hdr *h;

		if (slot < 0)
			return slot;
		h = vsock_header(slot);
		if (h->src_cid == VSOCK_HOST && h->dst_cid == vsock_cid &&
		    h->src_port == conn.s.host && h->dst_port == conn.s.mine) {
			conn.peer_room = h->buf_alloc;
			conn.peer_taken = h->fwd_cnt;
			return slot;
		}
		vsock_give(slot);
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
		got = vsock_header(slot)->op;
		vsock_give(slot);
		*ret_other = got;
	} while (got != op && got != OP(RST));
	return got == op;
}

/* --- the guest connects ---------------------------------------------------- */

static bool connect(uint32_t port, uint16_t wanted)
{
	static uint32_t next_port = FIRST_PORT;
	uint16_t other = 0;

	conn.s.mine = next_port++;
	conn.s.host = port;
	conn.sent = conn.peer_taken = conn.peer_room = conn.s.taken = 0;
	if (send_op(OP(REQUEST)) && expect(wanted, &other))
		return true;
	test_fail("connect", "operation %u came", other);
	return false;
}

/* Compares what came; how far the stream is behind it, or -1. */
static int64_t compare(int slot, uint32_t at, uint32_t bytes)
{
	const struct virtio_vsock_hdr *h = vsock_header(slot);

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
	conn.s.taken += h->len;
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
		told = len ? conn.s.taken : told;
		out += len;
		slot = receive(len == 0);
		if (slot == -2) {
			test_fail("echo", "%u bytes out, %ld back", out, in);
			return false;
		}
		if (slot < 0)
			continue;
		in = compare(slot, (uint32_t)in, bytes);
		vsock_give(slot);
		if (conn.s.taken - told > VSOCK_ROOM / 2) {
			send_op(OP(CREDIT_UPDATE));
			told = conn.s.taken;
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
		slot = vsock_packet(true);
	if (slot < 0) {
		test_fail("accept", "nobody came");
		return false;
	}
	conn.s.mine = vsock_header(slot)->dst_port;
	conn.s.host = vsock_header(slot)->src_port;
	conn.peer_room = vsock_header(slot)->buf_alloc;
	conn.sent = conn.peer_taken = conn.s.taken = 0;
	if (vsock_header(slot)->op != OP(REQUEST) || conn.s.mine != port) {
		test_fail("accept", "operation %u for port %u", vsock_header(slot)->op,
			  conn.s.mine);
		return false;
	}
	vsock_give(slot);
	return send_op(OP(RESPONSE));
}

/* What has come and cannot go back yet. */
static struct {
	int slot[VSOCK_SLOTS];
	unsigned first, n;
} held;

static bool send_held(void)
{
	while (held.n) {
		int slot = held.slot[held.first % VSOCK_SLOTS];
		uint32_t len = vsock_header(slot)->len;

		if (credit() < len)
			return true;
		conn.s.taken += len;
		if (!send_data(OP(RW), 0, vsock_header(slot) + 1, len))
			return false;
		vsock_give(slot);
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
		uint16_t op = slot < 0 ? 0 : vsock_header(slot)->op;

		if (slot < 0 || op == OP(RST)) {
			test_fail("send back", "operation %u came", op);
			return false;
		}
		if (op == OP(SHUTDOWN) &&
		    vsock_header(slot)->flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
			ended = true;
		if (op == OP(RW))
			held.slot[(held.first + held.n++) % VSOCK_SLOTS] = slot;
		else
			vsock_give(slot);
		if (op == OP(CREDIT_REQUEST))
			send_op(OP(CREDIT_UPDATE));
		if (!send_held())
			return false;
	}
	return true;
}

/* --- all ------------------------------------------------------------------- */

void guest_main(void)
{
	uint32_t bytes = (uint32_t)arg_number("bytes", 8);
	uint64_t count = arg_number("count", 1), done = 0;

	apic_init();
	if (!vsock_open(VIRTIO_POLL))
		return;
	print("hello from cid %lu\n", vsock_cid);
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
