/*
 * For the tests of the user-space vsock device, between real rings and real Unix
 * sockets: what a guest sends is written packet by packet, and what it gets is looked
 * at. In one program of tests only, since it replaces a function of the C library.
 */
#pragma once

#include "virtio/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/fake_driver.h"
#include "virtio/list.h"
#include "virtio/vsock_conn.h"

#define CID 42u
#define GUEST 1000u /* a port */
#define HOST 52u
#define RX_SIZE 4096u
#define RX_SLOTS 256u
/* A header for each descriptor, then one payload. */
#define TX_SLOT 64u
#define TX_PAYLOAD (256u * TX_SLOT)
#define TX_AREA (TX_PAYLOAD + (256u << 10))
#define HDR VSOCK_HDR_LEN

enum {
	REQUEST = VIRTIO_VSOCK_OP_REQUEST,
	RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
	RST = VIRTIO_VSOCK_OP_RST,
	SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN,
	RW = VIRTIO_VSOCK_OP_RW,
	UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE,
	ASK = VIRTIO_VSOCK_OP_CREDIT_REQUEST,
	RCV = VIRTIO_VSOCK_SHUTDOWN_RCV,
	SEND = VIRTIO_VSOCK_SHUTDOWN_SEND,
};

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	char dir[32], path[64];
	int server; /* listens at PATH_52 */
	gpa_t rx, tx;
	/* Our half of the flow control, sent with each packet. */
	uint32_t buf_alloc, fwd_cnt;
	struct vsock_packet got; /* the last packet, its payload below */
	const uint8_t *payload;
};

/* --- time ------------------------------------------------------------------ */

#define MS_PER_SECOND 5

/* In place of the C library's: the device's seconds are short here. */
int timerfd_settime(int fd, int flags, const struct itimerspec *new,
		    struct itimerspec *old)
{
	struct itimerspec t = *new;

	t.it_interval.tv_nsec = t.it_interval.tv_sec * MS_PER_SECOND * 1000000;
	t.it_value.tv_nsec = t.it_value.tv_sec * MS_PER_SECOND * 1000000;
	t.it_interval.tv_sec = t.it_value.tv_sec = 0;
	return (int)syscall(SYS_timerfd_settime, fd, flags, &t, old);
}

/* So many seconds; half of them while the device is busy elsewhere. */
static inline void pass(struct env *e, unsigned seconds)
{
	usleep(seconds / 2 * MS_PER_SECOND * 1000);
	for (unsigned i = 0; i < seconds; i++) {
		fake_run(&e->host);
		usleep(MS_PER_SECOND * 1000);
	}
	fake_run(&e->host);
}

/* --- sockets --------------------------------------------------------------- */

static inline struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path));
	return addr;
}

static inline int serve(const char *path, int backlog)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static inline int dial(const char *path)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static inline void write_all(int fd, const void *buf, size_t len)
{
	assert_int_equal(send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL), len);
}

/* Exactly @text is there to be read. */
static inline void reads(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static inline void reads_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
}

/* Closed before all was read that we said. */
static inline void reads_reset(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
}

static inline void reads_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- the guest ------------------------------------------------------------- */

static inline void submit_buffers(struct env *e, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t slot = e->d.q[VSOCK_RX].avail_idx % RX_SLOTS;
		struct fake_seg seg = { GPA(e->rx.v + slot * RX_SIZE), size, true };

		fake_submit(&e->d, VSOCK_RX, &seg, 1);
	}
}

static inline void offer_sized(struct env *e, unsigned n, uint32_t size)
{
	submit_buffers(e, n, size);
	fake_kick(&e->d, VSOCK_RX);
}

static inline void offer(struct env *e, unsigned n)
{
	offer_sized(e, n, RX_SIZE);
}

static inline void start_empty(struct env *e)
{
	fake_driver_start(&e->d, &e->host, VSOCK_ID, FAKE_ALL_FEATURES);
	e->buf_alloc = 64 << 10;
	e->fwd_cnt = 0;
}

static inline void start(struct env *e)
{
	start_empty(e);
	offer(e, 16);
}

static inline void submit_packet(struct env *e, const struct vsock_packet *p,
				 size_t len)
{
	struct virtio_vsock_hdr h = vsock_packet_put(p);
	gpa_t header = GPA(e->tx.v + e->d.q[VSOCK_TX].avail_idx % 256u * TX_SLOT);
	struct fake_seg segs[] = { { header, HDR, false },
				   { GPA(e->tx.v + TX_PAYLOAD), (uint32_t)len,
				     false } };

	memcpy(fake_ptr(&e->host, header, HDR), &h, HDR);
	fake_submit(&e->d, VSOCK_TX, segs, len ? 2 : 1);
	fake_kick(&e->d, VSOCK_TX);
}

static inline struct vsock_packet packet(struct env *e, uint16_t op, uint32_t guest,
					 uint32_t host)
{
	return (struct vsock_packet){
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = guest,
		.dst_port = host,
		.type = 1,
		.op = op,
		.buf_alloc = e->buf_alloc,
		.fwd_cnt = e->fwd_cnt,
	};
}

static inline void transmit(struct env *e, const struct vsock_packet *p, size_t len)
{
	submit_packet(e, p, len);
	assert_true(fake_used(&e->d, VSOCK_TX, NULL, NULL));
}

static inline void says(struct env *e, uint16_t op, uint32_t guest, uint32_t host)
{
	struct vsock_packet p = packet(e, op, guest, host);

	transmit(e, &p, 0);
}

static inline void shuts(struct env *e, uint32_t flags)
{
	struct vsock_packet p = packet(e, SHUTDOWN, GUEST, HOST);

	p.flags = flags;
	transmit(e, &p, 0);
}

static inline void sends_on(struct env *e, uint32_t guest, uint32_t host,
			    const void *data, uint32_t len)
{
	struct vsock_packet p = packet(e, RW, guest, host);

	assert_true(TX_PAYLOAD + len <= TX_AREA);
	p.len = len;
	memcpy(fake_ptr(&e->host, GPA(e->tx.v + TX_PAYLOAD), len), data, len);
	transmit(e, &p, len);
}

static inline void sends(struct env *e, const void *data, uint32_t len)
{
	sends_on(e, GUEST, HOST, data, len);
}

/* Whether a packet came; it is in e->got, and its buffer is offered again. */
static inline bool hears(struct env *e)
{
	const struct virtio_vsock_hdr *h;
	uint16_t head;
	uint32_t len;

	if (!fake_used(&e->d, VSOCK_RX, &head, &len))
		return false;
	assert_true(len >= HDR);
	h = fake_ptr(&e->host, GPA(e->d.q[VSOCK_RX].desc[head].addr), len);
	e->got = vsock_packet_get(h);
	e->payload = (const uint8_t *)(h + 1);
	assert_int_equal(e->got.len, len - HDR);
	assert_int_equal(e->got.src_cid, 2);
	assert_int_equal(e->got.dst_cid, CID);
	return true;
}

static inline void hears_nothing(struct env *e)
{
	if (hears(e))
		fail_msg("operation %u came", e->got.op);
}

static inline void hears_of(struct env *e, uint16_t op, uint32_t guest, uint32_t host)
{
	fake_run(&e->host);
	if (!hears(e))
		fail_msg("no packet came");
	assert_int_equal(e->got.op, op);
	assert_int_equal(e->got.dst_port, guest);
	assert_int_equal(e->got.src_port, host);
	offer(e, 1);
}

static inline void hears_op(struct env *e, uint16_t op)
{
	hears_of(e, op, GUEST, HOST);
}

static inline void hears_data(struct env *e, const char *text)
{
	hears_op(e, RW);
	assert_int_equal(e->got.len, strlen(text));
	assert_memory_equal(e->payload, text, strlen(text));
}

/* The guest connects to PATH_52; returns the server's socket. */
static inline int connect_out(struct env *e, uint32_t guest)
{
	int fd;

	says(e, REQUEST, guest, HOST);
	fake_run(&e->host);
	hears_of(e, RESPONSE, guest, HOST);
	fd = accept4(e->server, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* A client of the host's connects to guest port @port; *ret_host: its port. */
static inline int connect_in(struct env *e, uint32_t port, uint32_t *ret_host)
{
	int fd = dial(e->path);
	char line[32];

	snprintf(line, sizeof(line), "CONNECT %u\n", port);
	assert_true(fd >= 0);
	write_all(fd, line, strlen(line));
	fake_run(&e->host);
	if (!hears(e))
		fail_msg("no REQUEST came");
	offer(e, 1);
	assert_int_equal(e->got.op, REQUEST);
	assert_int_equal(e->got.dst_port, port);
	*ret_host = e->got.src_port;
	return fd;
}

/* Fill the socket of a peer that does not read; returns how much went in. */
static inline uint32_t stuff(struct env *e, uint32_t *ret_room)
{
	static uint8_t block[4096];
	uint32_t sent = 0, told = 0;

	while (VSOCK_BUF - (sent - told) >= sizeof(block)) {
		for (unsigned i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((sent + i) * 7 + (sent >> 12));
		sends(e, block, sizeof(block));
		sent += (uint32_t)sizeof(block);
		while (hears(e)) {
			assert_int_equal(e->got.op, UPDATE);
			told = e->got.fwd_cnt;
			offer(e, 1);
		}
		assert_true(sent < 8u << 20);
	}
	*ret_room = VSOCK_BUF - (sent - told);
	return sent;
}

static inline void *new_env(void)
{
	struct env *e = calloc(1, sizeof(*e));
	char path[80];

	signal(SIGPIPE, SIG_IGN);
	strcpy(e->dir, "/tmp/test_vsock.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->path, sizeof(e->path), "%s/socket", e->dir);
	snprintf(path, sizeof(path), "%s_%u", e->path, HOST);
	e->server = serve(path, 128);
	fake_host_init(&e->host, "vsock", 8 << 20);
	return e;
}

static inline int create(struct env *e, const char *path, struct err *err)
{
	struct vsock_cfg cfg = { .cid = CID, .backend = VSOCK_UNIX };
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", path);
	cfg.path = copy;
	return virtio_vsock_class.create(&cfg, &e->host.host, &e->dev, err);
}

static inline int set_up(void **state)
{
	struct env *e = new_env();
	struct err err;

	if (create(e, e->path, &err) < 0)
		fail_msg("%s", err.msg);
	e->rx = fake_alloc(&e->host, RX_SLOTS * RX_SIZE, 1);
	e->tx = fake_alloc(&e->host, TX_AREA, 1);
	*state = e;
	return 0;
}

static inline int tear_down(void **state)
{
	struct env *e = *state;
	char path[80];

	if (e->dev)
		e->dev->class->free(e->dev);
	fake_host_free(&e->host);
	close(e->server);
	snprintf(path, sizeof(path), "%s_%u", e->path, HOST);
	unlink(path);
	unlink(e->path);
	assert_int_equal(rmdir(e->dir), 0);
	free(e);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
/* These make their own device. */
#define ALONE(f) cmocka_unit_test_setup_teardown(f, NULL, tear_down)
