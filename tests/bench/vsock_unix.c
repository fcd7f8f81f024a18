/*
 * The user-space vsock device beside what it cannot do without: the same bytes through
 * a Unix socket pair.
 *
 *   vsock_unix [-n ROUNDS] [-t MS]
 *
 * Guest, device and the host's program take turns on one thread, as if KVM and the
 * scheduler took no time; so the table shows what the device costs. Bare and device
 * take turns, MS milliseconds each, round after round.
 */
#undef NDEBUG
#include <assert.h>
#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/bench/rounds.h"
#include "tests/unit/fake_driver.h"
#include "virtio/list.h"
#include "virtio/vsock.h"
#include "virtio/vsock_packet.h"

#define CID 3u
#define PORT 1000u
#define RX_SIZE 4096u /* Linux's */
#define RX_BUFFERS 128u
#define LARGE (64u << 10)
#define SMALL 64u

static struct fake_host host;
static struct fake_driver driver;
static gpa_t tx, rx;
static int bare[2]; /* a pair */
static int peer = -1, dialled = -1; /* the host's program; the last that was dialled */
static uint32_t sent, taken,
	told; /* by the guest; of what it got; as the device told */
static uint8_t block[LARGE];

/* --- the guest ------------------------------------------------------------- */

static void guest_sends(uint16_t op, uint32_t port, uint32_t flags, uint32_t len)
{
	struct vsock_packet p = {
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = port,
		.dst_port = 1,
		.type = 1,
		.op = op,
		.flags = flags,
		.len = len,
		.buf_alloc = RX_BUFFERS * RX_SIZE / 2,
		.fwd_cnt = taken,
	};
	struct virtio_vsock_hdr h = vsock_packet_put(&p);
	struct fake_seg segs[] = { { tx, VSOCK_HDR_LEN, false },
				   { GPA(tx.v + VSOCK_HDR_LEN), len, false } };

	memcpy(fake_ptr(&host, tx, VSOCK_HDR_LEN), &h, VSOCK_HDR_LEN);
	fake_submit(&driver, VSOCK_TX, segs, len ? 2 : 1);
	fake_kick(&driver, VSOCK_TX);
	assert(fake_used(&driver, VSOCK_TX, NULL, NULL));
}

/* Takes one packet: its operation, or 0; the buffer goes back. */
static uint16_t guest_hears(uint32_t *ret_len)
{
	const struct virtio_vsock_hdr *h;
	struct vsock_packet p;
	struct fake_seg seg = { .len = RX_SIZE, .writable = true };
	uint16_t head;

	if (!fake_used(&driver, VSOCK_RX, &head, NULL))
		return 0;
	seg.addr = GPA(driver.q[VSOCK_RX].desc[head].addr);
	h = fake_ptr(&host, seg.addr, RX_SIZE);
	p = vsock_packet_get(h);
	memcpy(block, h + 1, p.len); /* as a guest's driver must */
	taken += p.len;
	told = p.fwd_cnt;
	*ret_len = p.len;
	fake_submit(&driver, VSOCK_RX, &seg, 1);
	return p.op;
}

static void guest_expects(uint16_t op)
{
	uint32_t len;
	uint16_t got;

	while ((got = guest_hears(&len)) != op)
		if (got == 0)
			fake_run(&host);
}

static void guest_connects(uint32_t port)
{
	sent = taken = told = 0;
	guest_sends(VIRTIO_VSOCK_OP_REQUEST, port, 0, 0);
	guest_expects(VIRTIO_VSOCK_OP_RESPONSE);
}

static int on_dial(void *arg, uint32_t port)
{
	int pair[2];

	(void)arg, (void)port;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) <
	    0)
		err(1, "socketpair");
	dialled = pair[0];
	return pair[1];
}

static void set_up(void)
{
	static char dir[] = "/tmp/bench_vsock.XXXXXX", path[64];
	static struct vsock_cfg cfg = { .cid = CID,
					.backend = VSOCK_UNIX,
					.path = path };
	struct device *dev;
	struct err e = { "" };

	if (!mkdtemp(dir))
		err(1, "%s", dir);
	snprintf(path, sizeof(path), "%s/s", dir);
	fake_host_init(&host, "vsock", 8 << 20);
	host.dial = on_dial;
	if (virtio_vsock_class.create(&cfg, &host.host, &dev, &e) < 0)
		errx(1, "%s", e.msg);
	unlink(path);
	rmdir(dir);
	tx = fake_alloc(&host, VSOCK_HDR_LEN + LARGE, 64);
	rx = fake_alloc(&host, RX_BUFFERS * RX_SIZE, 4096);
	fake_driver_start(&driver, &host, VSOCK_ID, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < RX_BUFFERS; i++) {
		struct fake_seg seg = { GPA(rx.v + i * RX_SIZE), RX_SIZE, true };

		fake_submit(&driver, VSOCK_RX, &seg, 1);
	}
	guest_connects(PORT);
	peer = dialled;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bare) <
	    0)
		err(1, "socketpair");
}

/* --- loads: each returns how many units were done ---------------------------- */

static uint64_t drain(int fd)
{
	uint64_t done = 0;
	ssize_t n;

	while ((n = recv(fd, block, sizeof(block), 0)) > 0)
		done += (uint64_t)n;
	return done;
}

static uint64_t bare_round_trip(void)
{
	assert(send(bare[0], block, SMALL, 0) == SMALL);
	assert(recv(bare[1], block, sizeof(block), 0) == SMALL);
	assert(send(bare[1], block, SMALL, 0) == SMALL);
	assert(recv(bare[0], block, sizeof(block), 0) == SMALL);
	return 1;
}

static uint64_t device_round_trip(void)
{
	guest_sends(VIRTIO_VSOCK_OP_RW, PORT, 0, SMALL);
	sent += SMALL;
	assert(recv(peer, block, sizeof(block), 0) == SMALL);
	assert(send(peer, block, SMALL, 0) == SMALL);
	fake_run(&host);
	guest_expects(VIRTIO_VSOCK_OP_RW);
	return 1;
}

static uint64_t bare_stream(void)
{
	assert(send(bare[0], block, LARGE, 0) == LARGE);
	return drain(bare[1]);
}

static uint64_t device_to_host(void)
{
	uint32_t len;

	guest_sends(VIRTIO_VSOCK_OP_RW, PORT, 0, LARGE);
	sent += LARGE;
	while (guest_hears(&len))
		;
	assert(sent - told <= LARGE);
	return drain(peer);
}

static uint64_t device_to_guest(void)
{
	uint64_t done = 0;
	uint32_t len;

	assert(send(peer, block, LARGE, 0) == LARGE);
	while (done < LARGE) {
		fake_run(&host);
		while (guest_hears(&len))
			done += len;
	}
	guest_sends(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, 0, 0);
	return done;
}

static uint64_t bare_connect(void)
{
	close(on_dial(NULL, 0));
	close(dialled);
	return 1;
}

static uint64_t device_connect(void)
{
	static uint32_t port = PORT + 1;
	uint32_t was[3] = { sent, taken, told };

	guest_connects(++port);
	guest_sends(VIRTIO_VSOCK_OP_SHUTDOWN, port, VSOCK_SHUT_BOTH, 0);
	guest_expects(VIRTIO_VSOCK_OP_RST);
	close(dialled);
	sent = was[0];
	taken = was[1];
	told = was[2];
	return 1;
}

static const struct load {
	const char *name;
	double unit; /* of which so many are one of the table */
	uint64_t (*bare)(void);
	uint64_t (*device)(void);
} loads[] = {
	{ "64 bytes, to the host and back /s", 1, bare_round_trip, device_round_trip },
	{ "64 KiB packets to the host, MiB/s", 1 << 20, bare_stream, device_to_host },
	{ "4 KiB buffers of the guest, MiB/s", 1 << 20, bare_stream, device_to_guest },
	{ "connect and close /s", 1, bare_connect, device_connect },
};

/* --- the table ------------------------------------------------------------- */

static double rate(const struct load *l, uint64_t (*turn)(void), uint64_t ns)
{
	uint64_t start = now_ns(), done = 0;

	do
		for (unsigned i = 0; i < 16; i++)
			done += turn();
	while (now_ns() - start < ns);
	return (double)done / l->unit * 1e9 / (double)(now_ns() - start);
}

static void measure(const struct load *l, unsigned rounds, uint64_t ns)
{
	static double a[MAX_ROUNDS], b[MAX_ROUNDS], ratio[MAX_ROUNDS];

	for (unsigned i = 0; i < rounds; i++) {
		a[i] = rate(l, l->bare, ns);
		b[i] = rate(l, l->device, ns);
		ratio[i] = b[i] / a[i];
	}
	printf("%-36s %9.0f  %9.0f", l->name, percentile(a, rounds, 50),
	       percentile(b, rounds, 50));
	print_ratio(ratio, rounds);
	putchar('\n');
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned rounds = 12;
	uint64_t ms = 100;
	int c;

	while ((c = getopt(argc, argv, "n:t:")) >= 0)
		switch (c) {
		case 'n':
			rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			ms = strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	if (optind != argc || rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "usage: vsock_unix [-n ROUNDS] [-t MS]");
	signal(SIGPIPE, SIG_IGN);
	set_up();
	printf("%-36s %9s  %s\n", "", "bare", "device, x bare");
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++)
		measure(&loads[i], rounds, ms * 1000000);
	return 0;
}
