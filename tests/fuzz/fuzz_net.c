/*
 * Packets of any size through buffers of any shape, both ways, and descriptors that
 * are no such thing. A pair of sockets stands for the tap.
 *
 * Input: a byte of settings (bit 0: no merged buffers, bit 1: no EVENT_IDX), then
 * operations, by a byte's low 3 bits; its bits 3 to 5 are a number of segments less
 * one: 0  a receive buffer: two bytes of length for each segment 1  a packet to be
 * sent: the same 2  a packet from the wire: two bytes of length, and what its bytes
 * begin with 3  the wire's other end reads a packet 4  a raw descriptor for each
 * segment, the queue (1 byte) and the head (1 byte) 5  a reset, and settings as above
 * Until there was a raw one, packets have to come out in order and whole, though what
 * comes from the wire may be dropped.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/driver.h"
#include "virtio/net.h"

#define HDR 12u
#define MAX_PACKET 65562u
#define SIZE 16u /* of a queue */
#define MAX_SEGS 8u
#define SEG 0x2000u /* more than a segment's 13 bits of length */
#define FIFO 512u
#define F_MRG_RXBUF (1ull << 15)

enum { RX, TX };

struct fifo {
	uint32_t len[FIFO];
	unsigned first, n;
};

static struct fake_host host;
static struct device *dev;
static struct fake_driver driver;
static int tap, wire;
static uint64_t first_free;
static gpa_t slots[2]; /* SIZE times MAX_SEGS times SEG bytes, by the chain's head */
static unsigned segs_free[2];
static uint8_t segs_of[2][SIZE]; /* by head */
static uint32_t room_of[SIZE]; /* of receive buffers, by head */
static struct fifo incoming, outgoing; /* lengths of packets */
static uint8_t packet[MAX_PACKET], got[MAX_PACKET];
static bool raw;

static void fifo_put(struct fifo *f, uint32_t len)
{
	assert(f->n < FIFO);
	f->len[(f->first + f->n++) % FIFO] = len;
}

static uint32_t fifo_get(struct fifo *f)
{
	uint32_t len = f->len[f->first];

	assert(f->n > 0);
	f->first = (f->first + 1) % FIFO;
	f->n--;
	return len;
}

static void set_up(void)
{
	const struct virtio_net_cfg cfg = { .vhost = NET_VHOST_OFF };
	int pair[2], r;

	r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair);
	assert(r == 0);
	tap = dup(pair[0]);
	wire = pair[1];
	fake_host_init(&host, "net0", 4 << 20);
	r = virtio_net_new(&cfg, pair[0], &host.host, &dev, NULL);
	assert(r == 0);
	for (unsigned q = RX; q <= TX; q++)
		slots[q] = fake_alloc(&host, SIZE * MAX_SEGS * SEG, 1);
	first_free = host.next_alloc;
}

static void start(unsigned settings)
{
	host.next_alloc = first_free;
	fake_driver_find(&driver, &host, 1, 0);
	fake_driver_reset(&driver);
	fake_run(&host);
	while (recv(wire, got, sizeof(got), 0) >= 0)
		;
	outgoing.n = 0;
	segs_free[RX] = segs_free[TX] = SIZE;
	go(&driver,
	   (settings & 1 ? F_MRG_RXBUF : 0) | (settings & 2 ? VIRTIO_F_EVENT_IDX : 0),
	   TX + 1, SIZE);
	fake_run(&host);
	raw = false;
}

/* Submits a chain and returns its length. */
static uint32_t submit(struct input *in, unsigned q, unsigned n)
{
	struct fake_seg segs[MAX_SEGS];
	unsigned used = 0, head;
	uint32_t sum = 0;

	/* The lowest free descriptor becomes the head. */
	for (head = 0; driver.q[q].busy[head]; head++)
		;
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = take16(in) % SEG;

		segs[used++] = (struct fake_seg){
			GPA(slots[q].v + (head * MAX_SEGS + i) * SEG),
			len,
			q == RX,
		};
		sum += len;
	}
	assert(fake_submit(&driver, q, segs, used) == head);
	segs_of[q][head] = (uint8_t)used;
	segs_free[q] -= used;
	return sum;
}

static void collect_sent(void)
{
	uint16_t head;
	uint32_t len;

	while (fake_used(&driver, TX, &head, &len)) {
		assert(len == 0);
		segs_free[TX] += segs_of[TX][head];
	}
}

/* The bytes of a receive buffer, which may be in pieces. */
static uint8_t *byte_at(uint16_t head, uint32_t off)
{
	const struct fake_vq *q = &driver.q[RX];
	unsigned d = head;

	while (off >= q->desc[d].len) {
		off -= q->desc[d].len;
		d = q->desc[d].next;
	}
	return fake_ptr(&host, GPA(q->desc[d].addr + off), 1);
}

/* All buffers of a packet are there with the first. */
static void collect_received(void)
{
	uint16_t head;
	uint32_t len, sum;

	while (fake_used(&driver, RX, &head, &len)) {
		unsigned num = *byte_at(head, 10) | *byte_at(head, 11) << 8;

		assert(num > 0 && len >= HDR && len <= room_of[head]);
		segs_free[RX] += segs_of[RX][head];
		sum = len;
		while (--num > 0) {
			assert(len == room_of[head]); /* the one before is full */
			assert(fake_used(&driver, RX, &head, &len));
			assert(len > 0 && len <= room_of[head]);
			segs_free[RX] += segs_of[RX][head];
			sum += len;
		}
		while (fifo_get(&incoming) != sum)
			;
	}
}

static void collect(void)
{
	fake_run(&host);
	if (raw || broken(&driver))
		return;
	collect_sent();
	collect_received();
}

static void offer(struct input *in, unsigned n)
{
	unsigned head;
	uint32_t sum;

	if (raw || broken(&driver) || segs_free[RX] < n)
		return;
	for (head = 0; driver.q[RX].busy[head]; head++)
		;
	sum = submit(in, RX, n);
	room_of[head] = sum;
	fake_kick(&driver, RX);
}

static void send_packet(struct input *in, unsigned n)
{
	uint32_t sum;

	if (raw || broken(&driver) || segs_free[TX] < n)
		return;
	sum = submit(in, TX, n);
	if (sum > HDR && sum <= MAX_PACKET)
		fifo_put(&outgoing, sum);
	fake_kick(&driver, TX);
}

static void arrive(struct input *in)
{
	uint32_t len = take16(in);

	take(in, packet, 16);
	if (len > 0 && incoming.n < FIFO && send(wire, packet, len, 0) >= 0)
		fifo_put(&incoming, len);
}

static void read_wire(void)
{
	ssize_t len = recv(wire, got, sizeof(got), 0);

	if (len >= 0 && !raw)
		assert((uint32_t)len == fifo_get(&outgoing));
}

static void raw_chain(struct input *in, unsigned n)
{
	unsigned q = take16(in) & 1;

	raw = true;
	take_descs(in, &driver, q, n);
	fake_avail(&driver, q, take16(in));
	fake_kick(&driver, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t op;

	if (!dev)
		set_up();
	take(&in, &op, 1);
	start(op);
	while (in.left > 0) {
		unsigned n;

		take(&in, &op, 1);
		n = (op >> 3) % MAX_SEGS + 1;
		switch (op & 7) {
		case 0:
			offer(&in, n);
			break;
		case 1:
			send_packet(&in, n);
			break;
		case 2:
			arrive(&in);
			break;
		case 3:
			read_wire();
			break;
		case 4:
			raw_chain(&in, n);
			break;
		case 5:
			take(&in, &op, 1);
			start(op);
			break;
		}
		collect();
	}
	/* What the tap still holds would be the next input's. */
	fake_driver_reset(&driver);
	while (recv(tap, got, sizeof(got), 0) >= 0)
		;
	incoming.n = 0;
	return 0;
}
