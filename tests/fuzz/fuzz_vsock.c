/*
 * A guest, its host's servers and clients, and time, in any order, against the
 * user-space vsock device.
 *
 * Input: steps. A step is a byte (bits 0 to 2: what, bits 3 to 7: of which, or how
 * much), and what it needs:
 *   0  a packet: operation, ports (bit 2: to who called last, or those before),
 *      flags, credit, length (8 bytes)
 *   1  a packet as it stands (44 bytes), with a payload of so many times 100 bytes
 *   2  so many receive buffers, and their size (1 byte, times 32)
 *   3  a server or client does something (1 byte: bits 0 to 2: what, the rest: size)
 *   4  a client comes, with so many bytes of greeting; 31: a good one
 *   5  the connector rests, or works again; bit 4: it offers a stream for port 1000
 *   6  a second passes
 *   7  the guest resets the device
 * Whatever happens: the device never breaks, since the rings are sound, and each
 * packet to the guest is well-formed and within the credit that its connection has.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/connector.h"
#include "tests/fuzz/driver.h"
#include "virtio/list.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

#define CID 3u
#define PEERS 16u
#define RX_SIZE 8192u
#define TX_SIZE 65536u

static struct fake_host host;
static struct fake_driver driver;
static struct device *device;
static char dir[] = "/tmp/fuzz_vsock.XXXXXX", path[64];
static gpa_t tx, rx;
static uint64_t first_free;
static int peers[PEERS]; /* -1: none */
static int timer = -1;
static uint16_t rx_slot;
static uint32_t caller; /* the host's port of the last REQUEST to the guest */

/* In place of the C library's: time passes when the input says so. */
int timerfd_settime(int fd, int flags, const struct itimerspec *new,
		    struct itimerspec *old)
{
	(void)flags, (void)old;
	timer = new->it_value.tv_sec ? fd : -1;
	return 0;
}

static void clean_up(void)
{
	unlink(path);
	rmdir(dir);
}

static int *free_peer(void)
{
	for (unsigned i = 0; i < PEERS; i++)
		if (peers[i] < 0)
			return &peers[i];
	return NULL;
}

static int on_dial(void *arg, uint32_t port)
{
	int *peer = free_peer(), pair[2];

	(void)arg;
	if (port == 1 || !peer)
		return -ECONNREFUSED;
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
			  pair) == 0);
	*peer = pair[0];
	return pair[1];
}

static void set_up(void)
{
	static struct vsock_cfg cfg = { .cid = CID, .backend = VSOCK_UNIX };
	int r;

	signal(SIGPIPE, SIG_IGN);
	assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	cfg.path = path;
	atexit(clean_up);
	fake_host_init(&host, "vsock", 8 << 20);
	host.dial = on_dial;
	r = virtio_vsock_class.create(&cfg, &host.host, &device, NULL);
	assert(r == 0);
	tx = fake_alloc(&host, TX_SIZE, 1);
	rx = fake_alloc(&host, VQ_MAX_SIZE * RX_SIZE, 1);
	first_free = host.next_alloc;
	fake_driver_find(&driver, &host, VSOCK_ID, 0);
	for (unsigned i = 0; i < PEERS; i++)
		peers[i] = -1;
}

static void start(void)
{
	fake_driver_reset(&driver);
	host.next_alloc = first_free;
	loop_set(host.dialling, EPOLLIN);
	for (unsigned i = 0; i < PEERS; i++) {
		if (peers[i] >= 0)
			close(peers[i]);
		peers[i] = -1;
	}
	fake_run(&host);
	go(&driver, 0, VSOCK_QUEUES, 0);
	rx_slot = 0;
	caller = 0;
}

/* --- the guest ------------------------------------------------------------- */

/* What the guest has told of its room, and got since it began; by its ports. */
static struct credit {
	uint32_t guest, host;
	uint32_t room, taken, got;
	bool used;
} credits[64];

static struct credit *credit_of(uint32_t guest, uint32_t port, bool add)
{
	for (unsigned i = 0; i < 64; i++) {
		struct credit *c = &credits[i];

		if (!c->used && add)
			*c = (struct credit){ guest, port, 0, 0, 0, true };
		if (c->used && c->guest == guest && c->host == port)
			return c;
	}
	return NULL;
}

static void remember(const struct vsock_packet *p)
{
	struct credit *c;

	if (p->src_cid != CID || p->dst_cid != 2 || p->type != 1)
		return;
	c = credit_of(p->src_port, p->dst_port, true);
	if (!c)
		return;
	c->room = p->buf_alloc;
	c->taken = p->fwd_cnt;
}

static void hear(void)
{
	uint16_t head;
	uint32_t len;

	while (fake_used(&driver, VSOCK_RX, &head, &len)) {
		gpa_t at = GPA(driver.q[VSOCK_RX].desc[head].addr);
		struct vsock_packet p =
			vsock_packet_get(fake_ptr(&host, at, VSOCK_HDR_LEN));
		struct credit *c = credit_of(p.dst_port, p.src_port, false);

		assert(len == VSOCK_HDR_LEN + p.len);
		assert(p.src_cid == 2 && p.dst_cid == CID);
		assert(p.op >= VIRTIO_VSOCK_OP_REQUEST &&
		       p.op <= VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		assert(p.op == VIRTIO_VSOCK_OP_RW ? p.len > 0 : p.len == 0);
		if (p.op == VIRTIO_VSOCK_OP_REQUEST)
			caller = p.src_port;
		if (c && (p.op == VIRTIO_VSOCK_OP_REQUEST ||
			  p.op == VIRTIO_VSOCK_OP_RESPONSE))
			c->got = 0;
		if (c && p.op == VIRTIO_VSOCK_OP_RW) {
			c->got += p.len;
			assert(c->got - c->taken <= c->room);
		}
	}
}

/* Not while the transmit queue stands still: there is one payload for all. */
static void transmit(const struct vsock_packet *p, uint32_t payload)
{
	struct virtio_vsock_hdr h = vsock_packet_put(p);
	struct fake_seg segs[] = {
		{ tx, VSOCK_HDR_LEN, false },
		{ GPA(tx.v + VSOCK_HDR_LEN), payload, false },
	};

	while (fake_used(&driver, VSOCK_TX, NULL, NULL))
		;
	if (driver.q[VSOCK_TX].used_idx != driver.q[VSOCK_TX].avail_idx)
		return;
	/* What was heard so far was within what had been told. */
	hear();
	remember(p);
	memcpy(fake_ptr(&host, tx, VSOCK_HDR_LEN), &h, VSOCK_HDR_LEN);
	fake_submit(&driver, VSOCK_TX, segs, payload ? 2 : 1);
	fake_kick(&driver, VSOCK_TX);
}

static void made_packet(struct input *in)
{
	uint8_t b[8];
	uint32_t len;
	struct vsock_packet p;

	take(in, b, sizeof(b));
	len = b[5] * 200u;
	p = (struct vsock_packet){
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = 1000u + (b[1] & 3),
		.dst_port = b[1] & 4 ? caller - (b[1] >> 6) : b[1] >> 6,
		.type = 1,
		.op = b[0],
		.flags = b[2],
		.buf_alloc = b[3] * 100u,
		.fwd_cnt = b[4] * 50u,
		.len = b[0] == VIRTIO_VSOCK_OP_RW ? len : 0,
	};
	if (b[6]) /* as one that is all ears */
		p.buf_alloc = 1u << 20;
	transmit(&p, p.len);
}

static void raw_packet(struct input *in, unsigned n)
{
	struct virtio_vsock_hdr h;
	struct vsock_packet p;

	take(in, &h, sizeof(h));
	p = vsock_packet_get(&h);
	transmit(&p, n * 100);
}

static void offer(struct input *in, unsigned n)
{
	uint32_t size = (uint32_t)VSOCK_HDR_LEN + 1 + take_byte(in) * 31u;
	const struct fake_vq *q = &driver.q[VSOCK_RX];

	hear();
	for (; n > 0 && (uint16_t)(q->avail_idx - q->used_idx) < 250; n--) {
		struct fake_seg seg = { GPA(rx.v + rx_slot++ % VQ_MAX_SIZE * RX_SIZE),
					size, true };

		fake_submit(&driver, VSOCK_RX, &seg, 1);
	}
	fake_kick(&driver, VSOCK_RX);
}

/* --- the host -------------------------------------------------------------- */

static void act(struct input *in, unsigned n)
{
	static uint8_t data[16384];
	uint8_t what = take_byte(in);
	size_t size = (size_t)(what >> 3) * 512 + 1;
	int *peer = &peers[n % PEERS];

	if (*peer < 0)
		return;
	switch (what & 7) {
	case 0:
	case 1:
		(void)!send(*peer, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 2:
	case 3:
		(void)!recv(*peer, data, size, MSG_DONTWAIT);
		break;
	case 4:
		shutdown(*peer, SHUT_WR);
		break;
	case 5:
		shutdown(*peer, SHUT_RD);
		break;
	case 6:
		shutdown(*peer, SHUT_RDWR);
		break;
	case 7:
		close(*peer);
		*peer = -1;
		break;
	}
}

static void client(struct input *in, unsigned n)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	uint8_t greeting[32] = "CONNECT 1000\n";
	int *peer = free_peer();

	if (n != 31)
		take(in, greeting, n);
	if (!peer)
		return;
	strcpy(addr.sun_path, path);
	*peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert(*peer >= 0);
	if (connect(*peer, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(*peer);
		*peer = -1;
		return;
	}
	(void)!send(*peer, greeting, n == 31 ? 13 : n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void offer_stream(void)
{
	int *peer = free_peer(), sock = peer ? on_dial(NULL, 0) : -1;

	if (sock < 0)
		return;
	/* The device may be slow to take it, as here while the machine rests. */
	(void)connector_offer(host.connector, 1000, sock);
	close(sock);
}

static void second(void)
{
	const struct itimerspec now = { .it_value.tv_nsec = 1 };

	if (timer < 0)
		return;
	assert(syscall(SYS_timerfd_settime, timer, 0, &now, NULL) == 0);
	usleep(1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (!device)
		set_up();
	start();
	memset(credits, 0, sizeof(credits));
	while (in.left > 0) {
		uint8_t step = take_byte(&in);
		unsigned n = step >> 3;

		switch (step & 7) {
		case 0:
			made_packet(&in);
			break;
		case 1:
			raw_packet(&in, n);
			break;
		case 2:
			offer(&in, n);
			break;
		case 3:
			act(&in, n);
			break;
		case 4:
			client(&in, n);
			break;
		case 5:
			if (n & 2)
				offer_stream();
			else
				loop_set(host.dialling, n & 1 ? EPOLLIN : 0);
			break;
		case 6:
			second();
			break;
		case 7:
			hear();
			start();
			memset(credits, 0, sizeof(credits));
			break;
		}
		fake_run(&host);
		hear();
		assert(!(fake_status(&driver) & FAKE_NEEDS_RESET));
	}
	return 0;
}
