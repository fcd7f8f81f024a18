/*
 * The user-space vsock device between real rings and real Unix sockets: what a guest
 * sends is written here packet by packet, and what it gets is looked at.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
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

#include "base/listen.h"
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
static void pass(struct env *e, unsigned seconds)
{
	usleep(seconds / 2 * MS_PER_SECOND * 1000);
	for (unsigned i = 0; i < seconds; i++) {
		fake_run(&e->host);
		usleep(MS_PER_SECOND * 1000);
	}
	fake_run(&e->host);
}

/* --- sockets --------------------------------------------------------------- */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof(addr.sun_path));
	memcpy(addr.sun_path, path, strlen(path));
	return addr;
}

static int serve(const char *path, int backlog)
{
	struct sockaddr_un addr = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int dial(const char *path)
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

static void write_all(int fd, const void *buf, size_t len)
{
	assert_int_equal(send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL), len);
}

/* Exactly @text is there to be read. */
static void reads(int fd, const char *text)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void reads_end(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
}

/* Closed before all was read that we said. */
static void reads_reset(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
}

static void reads_nothing(int fd)
{
	char c;

	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* --- the guest ------------------------------------------------------------- */

static void submit_buffers(struct env *e, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t slot = e->d.q[VSOCK_RX].avail_idx % RX_SLOTS;
		struct fake_seg seg = { GPA(e->rx.v + slot * RX_SIZE), size, true };

		fake_submit(&e->d, VSOCK_RX, &seg, 1);
	}
}

static void offer_sized(struct env *e, unsigned n, uint32_t size)
{
	submit_buffers(e, n, size);
	fake_kick(&e->d, VSOCK_RX);
}

static void offer(struct env *e, unsigned n)
{
	offer_sized(e, n, RX_SIZE);
}

static void start_empty(struct env *e)
{
	fake_driver_start(&e->d, &e->host, VSOCK_ID, FAKE_ALL_FEATURES);
	e->buf_alloc = 64 << 10;
	e->fwd_cnt = 0;
}

static void start(struct env *e)
{
	start_empty(e);
	offer(e, 16);
}

static void submit_packet(struct env *e, const struct vsock_packet *p, size_t len)
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

static struct vsock_packet packet(struct env *e, uint16_t op, uint32_t guest,
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

static void transmit(struct env *e, const struct vsock_packet *p, size_t len)
{
	submit_packet(e, p, len);
	assert_true(fake_used(&e->d, VSOCK_TX, NULL, NULL));
}

static void says(struct env *e, uint16_t op, uint32_t guest, uint32_t host)
{
	struct vsock_packet p = packet(e, op, guest, host);

	transmit(e, &p, 0);
}

static void shuts(struct env *e, uint32_t flags)
{
	struct vsock_packet p = packet(e, SHUTDOWN, GUEST, HOST);

	p.flags = flags;
	transmit(e, &p, 0);
}

static void sends_on(struct env *e, uint32_t guest, uint32_t host, const void *data,
		     uint32_t len)
{
	struct vsock_packet p = packet(e, RW, guest, host);

	assert_true(TX_PAYLOAD + len <= TX_AREA);
	p.len = len;
	memcpy(fake_ptr(&e->host, GPA(e->tx.v + TX_PAYLOAD), len), data, len);
	transmit(e, &p, len);
}

static void sends(struct env *e, const void *data, uint32_t len)
{
	sends_on(e, GUEST, HOST, data, len);
}

/* Whether a packet came; it is in e->got, and its buffer is offered again. */
static bool hears(struct env *e)
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

static void hears_nothing(struct env *e)
{
	if (hears(e))
		fail_msg("operation %u came", e->got.op);
}

static void hears_of(struct env *e, uint16_t op, uint32_t guest, uint32_t host)
{
	fake_run(&e->host);
	if (!hears(e))
		fail_msg("no packet came");
	assert_int_equal(e->got.op, op);
	assert_int_equal(e->got.dst_port, guest);
	assert_int_equal(e->got.src_port, host);
	offer(e, 1);
}

static void hears_op(struct env *e, uint16_t op)
{
	hears_of(e, op, GUEST, HOST);
}

static void hears_data(struct env *e, const char *text)
{
	hears_op(e, RW);
	assert_int_equal(e->got.len, strlen(text));
	assert_memory_equal(e->payload, text, strlen(text));
}

/* The guest connects to PATH_52; returns the server's socket. */
static int connect_out(struct env *e, uint32_t guest)
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
static int connect_in(struct env *e, uint32_t port, uint32_t *ret_host)
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

static void *new_env(void)
{
	struct env *e = calloc(1, sizeof(*e));
	char path[80];

	strcpy(e->dir, "/tmp/test_vsock.XXXXXX");
	assert_non_null(mkdtemp(e->dir));
	snprintf(e->path, sizeof(e->path), "%s/socket", e->dir);
	snprintf(path, sizeof(path), "%s_%u", e->path, HOST);
	e->server = serve(path, 128);
	fake_host_init(&e->host, "vsock", 8 << 20);
	return e;
}

static int create(struct env *e, const char *path, struct err *err)
{
	struct vsock_cfg cfg = { .cid = CID, .backend = VSOCK_UNIX };
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", path);
	cfg.path = copy;
	return virtio_vsock_class.create(&cfg, &e->host.host, &e->dev, err);
}

static int set_up(void **state)
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

static int tear_down(void **state)
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

/* --- connecting ------------------------------------------------------------ */

static void the_guest_finds_its_cid(void **state)
{
	struct env *e = *state;

	start(e);
	assert_int_equal(fake_config_in(&e->d, 0, 8), CID);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 3);
	assert_int_equal(fake_driver_offered(&e->d) & 7, 1);
}

static void the_guest_connects_and_both_talk(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	assert_int_equal(e->got.buf_alloc, VSOCK_BUF);
	assert_int_equal(e->got.fwd_cnt, 0);
	sends(e, "from the guest", 14);
	reads(fd, "from the guest");
	hears_nothing(e);
	write_all(fd, "from the host", 13);
	hears_data(e, "from the host");
	assert_int_equal(e->got.fwd_cnt, 14);
	assert_true(fake_interrupts(&e->d, VSOCK_RX + 1) > 0);
	close(fd);
}

static void a_port_where_nobody_listens_is_refused(void **state)
{
	struct env *e = *state;

	start(e);
	says(e, REQUEST, GUEST, 99);
	hears_of(e, RST, GUEST, 99);
	says(e, RW, GUEST, 99); /* and is forgotten */
	hears_of(e, RST, GUEST, 99);
}

static void a_listener_whose_backlog_is_full_refuses(void **state)
{
	struct env *e = *state;
	char path[80];
	int full, first;

	snprintf(path, sizeof(path), "%s_%u", e->path, 53);
	full = serve(path, 0);
	start(e);
	says(e, REQUEST, GUEST, 53);
	hears_of(e, RESPONSE, GUEST, 53);
	first = accept4(full, NULL, NULL, SOCK_CLOEXEC);
	for (unsigned i = 1; i < 8; i++)
		says(e, REQUEST, GUEST + i, 53);
	fake_run(&e->host);
	for (unsigned i = 1; i < 7; i++)
		assert_true(hears(e));
	hears_of(e, RST, GUEST + 7, 53);
	close(first);
	close(full);
	unlink(path);
}

static void a_client_connects_to_the_guest(void **state)
{
	struct env *e = *state;
	uint32_t port, other;
	char line[32];
	int fd, fd2;

	start(e);
	fd = connect_in(e, 5555, &port);
	assert_int_equal(port, 1u << 30);
	fd2 = connect_in(e, 5555, &other);
	assert_int_equal(other, port + 1);
	reads_nothing(fd);
	says(e, RESPONSE, 5555, port);
	snprintf(line, sizeof(line), "OK %u\n", port);
	reads(fd, line);
	write_all(fd, "hello", 5);
	hears_of(e, RW, 5555, port);
	assert_memory_equal(e->payload, "hello", 5);
	sends_on(e, 5555, port, "welcome", 7);
	reads(fd, "welcome");
	close(fd);
	says(e, RST, 5555, other);
	fake_run(&e->host);
	reads_end(fd2);
	close(fd2);
}

static void what_a_client_says_with_its_greeting_is_kept(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int fd = dial(e->path);

	start(e);
	write_all(fd, "connect 7\r\nfirst words", 22);
	fake_run(&e->host);
	assert_true(hears(e));
	port = e->got.src_port;
	assert_int_equal(e->got.dst_port, 7);
	fake_run(&e->host);
	hears_nothing(e);
	says(e, RESPONSE, 7, port);
	hears_of(e, RW, 7, port);
	assert_int_equal(e->got.len, 11);
	assert_memory_equal(e->payload, "first words", 11);
	close(fd);
}

static void a_greeting_may_come_in_pieces(void **state)
{
	struct env *e = *state;
	int fd = dial(e->path);

	start(e);
	for (const char *p = "CONNECT 12\n"; *p; p++) {
		hears_nothing(e);
		write_all(fd, p, 1);
		fake_run(&e->host);
	}
	assert_true(hears(e));
	assert_int_equal(e->got.dst_port, 12);
	close(fd);
}

static void any_other_greeting_is_shown_the_door(void **state)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 1 2\n",
		"CONNECT -1\n",
		"CONNECT 4294967296\n",
		"CONNECT 00000000001\n",
		"CONNECT 99999999999999999999999999",
		"GET / HTTP/1.1\r\n",
		"CONNECT 1\r\r\n",
	};
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		int fd = dial(e->path);

		write_all(fd, lines[i], strlen(lines[i]));
		fake_run(&e->host);
		hears_nothing(e);
		reads_reset(fd);
		close(fd);
	}
}

static void a_client_that_says_nothing_hurts_nobody(void **state)
{
	struct env *e = *state;
	int fds[200];
	uint32_t port;
	unsigned closed = 0;

	start(e);
	for (unsigned i = 0; i < 200; i++) {
		fds[i] = dial(e->path);
		fake_run(&e->host);
	}
	close(connect_in(e, 5, &port));
	for (unsigned i = 0; i < 200; i++) {
		char c;

		closed += recv(fds[i], &c, 1, MSG_DONTWAIT) == 0;
	}
	/* The oldest made room; 128 may wait, of which one has spoken and gone. */
	assert_int_equal(closed, 200 - 127);
	pass(e, 7);
	for (unsigned i = 0; i < 200; i++) {
		reads_end(fds[i]);
		close(fds[i]);
	}
}

static void a_guest_that_does_not_answer_is_given_up(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int fd;

	start(e);
	fd = connect_in(e, 5, &port);
	pass(e, 12);
	hears_of(e, RST, 5, port);
	reads_end(fd);
	close(fd);
}

/* --- rules ----------------------------------------------------------------- */

static void packets_with_forged_cids_are_dropped(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, REQUEST, GUEST, HOST);

	start(e);
	p.src_cid = CID + 1;
	transmit(e, &p, 0);
	p.src_cid = CID | 1ull << 32;
	transmit(e, &p, 0);
	p.src_cid = CID;
	p.dst_cid = 3;
	transmit(e, &p, 0);
	p.dst_cid = 2 | 1ull << 32;
	transmit(e, &p, 0);
	fake_run(&e->host);
	hears_nothing(e);
	p.dst_cid = 2;
	transmit(e, &p, 0);
	hears_op(e, RESPONSE);
}

static void another_type_is_reset_in_its_own_type(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, REQUEST, GUEST, HOST);

	start(e);
	p.type = 2;
	transmit(e, &p, 0);
	hears_op(e, RST);
	assert_int_equal(e->got.type, 2);
	p.op = RST;
	transmit(e, &p, 0);
	hears_nothing(e);
}

static void what_belongs_to_no_connection_is_reset(void **state)
{
	static const uint16_t ops[] = {
		0, RESPONSE, SHUTDOWN, RW, UPDATE, ASK, 8, 65535
	};
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		says(e, ops[i], GUEST, HOST);
		hears_op(e, RST);
	}
	says(e, RST, GUEST, HOST);
	hears_nothing(e);
}

static void what_makes_no_sense_on_a_connection_resets_it(void **state)
{
	static const uint16_t ops[] = { 0, REQUEST, RESPONSE, 8, 65535 };
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		int fd = connect_out(e, GUEST);

		says(e, ops[i], GUEST, HOST);
		hears_op(e, RST);
		reads_end(fd);
		close(fd);
	}
}

static void data_before_the_answer_resets(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int fd;

	start(e);
	fd = connect_in(e, 5, &port);
	sends_on(e, 5, port, "early", 5);
	hears_of(e, RST, 5, port);
	reads_end(fd);
	close(fd);
}

static void a_length_beyond_the_chain_resets(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, RW, GUEST, HOST);
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	p.len = 9;
	transmit(e, &p, 8);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
	fd = connect_out(e, GUEST);
	p.len = UINT32_MAX;
	transmit(e, &p, 8);
	hears_op(e, RST);
	close(fd);
}

static void bytes_behind_the_length_are_nobodys(void **state)
{
	struct env *e = *state;
	struct vsock_packet p;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	p = packet(e, RW, GUEST, HOST);
	p.len = 3;
	memcpy(fake_ptr(&e->host, GPA(e->tx.v + TX_PAYLOAD), 6), "abcdef", 6);
	transmit(e, &p, 6);
	reads(fd, "abc");
	close(fd);
}

static void a_chain_too_short_for_a_header_is_dropped(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { e->tx, HDR - 1, false };

	start(e);
	fake_submit(&e->d, VSOCK_TX, &seg, 1);
	fake_kick(&e->d, VSOCK_TX);
	assert_true(fake_used(&e->d, VSOCK_TX, NULL, NULL));
	hears_nothing(e);
}

static void a_header_in_pieces_is_understood(void **state)
{
	struct env *e = *state;
	struct vsock_packet p = packet(e, REQUEST, GUEST, HOST);
	struct virtio_vsock_hdr h;
	struct fake_seg segs[] = { { e->tx, 7, false },
				   { GPA(e->tx.v + 100), 30, false },
				   { GPA(e->tx.v + 200), 7, false } };
	uint8_t *mem = fake_ptr(&e->host, e->tx, 300);

	start(e);
	p.buf_alloc = 64 << 10;
	h = vsock_packet_put(&p);
	memcpy(mem, &h, 7);
	memcpy(mem + 100, (uint8_t *)&h + 7, 30);
	memcpy(mem + 200, (uint8_t *)&h + 37, 7);
	fake_submit_indirect(&e->d, VSOCK_TX, segs, 3);
	fake_kick(&e->d, VSOCK_TX);
	hears_op(e, RESPONSE);
}

static void a_receive_buffer_without_room_breaks_the_device(void **state)
{
	struct env *e = *state;

	start_empty(e);
	offer_sized(e, 1, HDR);
	says(e, REQUEST, GUEST, 99);
	fake_run(&e->host);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	start(e);
	close(connect_out(e, GUEST));
}

static void a_broken_ring_breaks_the_device_until_reset(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	fake_avail(&e->d, VSOCK_TX, 256);
	fake_kick(&e->d, VSOCK_TX);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	write_all(fd, "x", 1);
	fake_run(&e->host);
	start(e);
	fake_run(&e->host);
	reads_reset(fd);
	close(fd);
	close(connect_out(e, GUEST));
}

/* --- flow control ---------------------------------------------------------- */

static void the_guest_gets_no_more_than_it_has_room_for(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	e->buf_alloc = 10;
	fd = connect_out(e, GUEST);
	write_all(fd, "0123456789abcdef", 16);
	hears_data(e, "0123456789");
	hears_op(e, ASK);
	hears_nothing(e);
	e->fwd_cnt = 4;
	says(e, UPDATE, GUEST, HOST);
	hears_data(e, "abcd");
	hears_op(e, ASK);
	e->buf_alloc = 5; /* it may shrink: 10 are under way */
	says(e, UPDATE, GUEST, HOST);
	hears_nothing(e);
	e->fwd_cnt = 14;
	says(e, UPDATE, GUEST, HOST);
	hears_data(e, "ef");
	hears_nothing(e);
	close(fd);
}

static void a_guest_that_lies_about_its_room_gets_nothing(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	e->buf_alloc = 0;
	fd = connect_out(e, GUEST);
	write_all(fd, "data", 4);
	hears_op(e, ASK);
	hears_nothing(e);
	e->buf_alloc = 100;
	e->fwd_cnt = 1; /* of nothing that it got */
	says(e, UPDATE, GUEST, HOST);
	hears_nothing(e);
	e->fwd_cnt = 0;
	says(e, UPDATE, GUEST, HOST);
	hears_data(e, "data");
	e->buf_alloc = UINT32_MAX;
	says(e, UPDATE, GUEST, HOST);
	write_all(fd, "more", 4);
	hears_data(e, "more");
	close(fd);
}

/* Fill the socket of a peer that does not read; returns how much went in. */
static uint32_t stuff(struct env *e, uint32_t *ret_room)
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

static void a_peer_that_does_not_read_fills_a_bounded_buffer(void **state)
{
	struct env *e = *state;
	uint32_t room, sent, seen = 0, told = 0;
	uint8_t buf[4096];
	ssize_t n;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sent = stuff(e, &room);
	assert_true(sent >= VSOCK_BUF);
	says(e, ASK, GUEST, HOST);
	hears_op(e, UPDATE);
	assert_true(VSOCK_BUF - (sent - e->got.fwd_cnt) < sizeof(buf));
	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0 || seen < sent) {
		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, seen++)
			assert_int_equal(buf[i],
					 (uint8_t)((seen & 4095) * 7 +
						   (seen & ~4095u) * 7 + (seen >> 12)));
		fake_run(&e->host);
		while (hears(e)) {
			told = e->got.fwd_cnt;
			offer(e, 1);
		}
	}
	assert_int_equal(seen, sent);
	assert_true(sent - told < VSOCK_BUF / 2 + 1);
	close(fd);
}

static void more_than_was_granted_resets(void **state)
{
	struct env *e = *state;
	static uint8_t block[VSOCK_BUF + 1];
	uint32_t room;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	stuff(e, &room);
	assert_true(room < 4096);
	sends(e, block, 8192);
	hears_op(e, RST);
	close(fd);
	fd = connect_out(e, GUEST);
	sends(e, block, sizeof(block));
	hears_op(e, RST);
	close(fd);
}

static void a_full_socket_does_not_stop_others(void **state)
{
	struct env *e = *state;
	uint32_t room;
	int slow, quick;

	start(e);
	slow = connect_out(e, GUEST);
	quick = connect_out(e, GUEST + 1);
	stuff(e, &room);
	sends_on(e, GUEST + 1, HOST, "quick", 5);
	reads(quick, "quick");
	close(slow);
	close(quick);
}

/* --- the receive ring ------------------------------------------------------ */

static void everything_waits_for_receive_buffers(void **state)
{
	struct env *e = *state;
	int fd;

	start_empty(e);
	says(e, REQUEST, GUEST, HOST);
	says(e, REQUEST, GUEST + 1, 99);
	fake_run(&e->host);
	hears_nothing(e);
	fd = accept4(e->server, NULL, NULL, SOCK_CLOEXEC);
	write_all(fd, "patience", 8);
	fake_run(&e->host);
	submit_buffers(e, 3, RX_SIZE);
	assert_true(fake_wants_kick(&e->d, VSOCK_RX,
				    (uint16_t)(e->d.q[VSOCK_RX].avail_idx - 3)));
	fake_kick(&e->d, VSOCK_RX);
	assert_true(hears(e) && e->got.op == RESPONSE);
	assert_true(hears(e) && e->got.op == RST);
	assert_true(hears(e) && e->got.op == RW);
	assert_memory_equal(e->payload, "patience", 8);
	close(fd);
}

/* Each gets its answer, though only so many may wait at a time. */
static void a_storm_of_resets_is_bounded_and_loses_none(void **state)
{
	enum { STORM = 2000 };
	struct env *e = *state;
	static bool answered[STORM];
	unsigned submitted = 0, taken = 0, heard = 0;

	memset(answered, 0, sizeof(answered));
	start_empty(e);
	while (submitted - taken < 200) {
		struct vsock_packet p = packet(e, RW, submitted++, HOST);

		submit_packet(e, &p, 0);
		while (fake_used(&e->d, VSOCK_TX, NULL, NULL))
			taken++;
	}
	/* The transmit queue stands still. */
	assert_in_range(taken, 200, 300);
	while (heard < STORM) {
		offer(e, 1);
		fake_run(&e->host);
		while (hears(e)) {
			assert_int_equal(e->got.op, RST);
			assert_true(e->got.dst_port < STORM);
			assert_false(answered[e->got.dst_port]);
			answered[e->got.dst_port] = true;
			heard++;
		}
		while (fake_used(&e->d, VSOCK_TX, NULL, NULL))
			taken++;
		while (submitted < STORM && submitted - taken < 200) {
			struct vsock_packet p = packet(e, RW, submitted++, HOST);

			submit_packet(e, &p, 0);
		}
	}
	assert_int_equal(taken, STORM);
}

static void connections_beyond_the_limit_are_refused(void **state)
{
	struct env *e = *state;
	unsigned opened = 0, refused = 0;
	int *fds = calloc(1100, sizeof(*fds));

	start(e);
	for (unsigned i = 0; i < 1100; i++) {
		says(e, REQUEST, i, HOST);
		fake_run(&e->host);
		assert_true(hears(e));
		offer(e, 1);
		if (e->got.op == RESPONSE)
			fds[opened++] = accept4(e->server, NULL, NULL, SOCK_CLOEXEC);
		else
			refused++;
	}
	assert_int_equal(opened, 1024);
	assert_int_equal(refused, 1100 - 1024);
	/* Nor do clients get in; but what is there works, and makes room when it ends.
	 */
	close(dial(e->path));
	fake_run(&e->host);
	sends_on(e, 7, HOST, "still here", 10);
	reads(fds[7], "still here");
	says(e, RST, 7, HOST);
	fake_run(&e->host);
	says(e, REQUEST, 2000, HOST);
	hears_of(e, RESPONSE, 2000, HOST);
	for (unsigned i = 0; i < opened; i++)
		close(fds[i]);
	free(fds);
}

static void a_flood_of_connects_without_buffers_is_bounded(void **state)
{
	struct env *e = *state;
	unsigned taken = 0;

	start_empty(e);
	for (unsigned i = 0; i < 2000; i++) {
		struct vsock_packet p = packet(e, REQUEST, i, 99);

		if (i - taken == 200)
			break;
		submit_packet(e, &p, 0);
		while (fake_used(&e->d, VSOCK_TX, NULL, NULL))
			taken++;
	}
	/* As many connections as there may be, and as many refusals. */
	assert_in_range(taken, 1024 + 200, 1024 + 256);
}

/* --- ends ------------------------------------------------------------------ */

static void the_guest_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sends(e, "bye", 3);
	shuts(e, RCV | SEND);
	hears_op(e, RST);
	reads(fd, "bye");
	reads_end(fd);
	close(fd);
	says(e, RW, GUEST, HOST);
	hears_op(e, RST);
}

static void the_guest_closes_but_what_it_sent_arrives_first(void **state)
{
	struct env *e = *state;
	uint32_t room, sent, seen = 0;
	uint8_t buf[4096];
	ssize_t n;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sent = stuff(e, &room);
	shuts(e, RCV | SEND);
	fake_run(&e->host);
	hears_nothing(e);
	/* It has no patience, and uses the port again. */
	says(e, RST, GUEST, HOST);
	close(connect_out(e, GUEST));
	hears_op(e, SHUTDOWN);
	assert_int_equal(send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		seen += (uint32_t)n;
		fake_run(&e->host);
	}
	assert_int_equal(n, 0);
	assert_int_equal(seen, sent);
	close(fd);
}

static void the_host_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	write_all(fd, "last", 4);
	close(fd);
	fake_run(&e->host);
	hears_op(e, SHUTDOWN); /* nobody reads any more */
	assert_int_equal(e->got.flags, RCV);
	hears_data(e, "last");
	hears_op(e, SHUTDOWN);
	assert_int_equal(e->got.flags, RCV | SEND);
	sends(e, "into the void", 13);
	hears_nothing(e);
	says(e, RST, GUEST, HOST);
	fake_run(&e->host);
	hears_nothing(e);
	says(e, RW, GUEST, HOST);
	hears_op(e, RST);
}

static void a_guest_that_ignores_the_end_is_reset(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	close(fd);
	fake_run(&e->host);
	while (hears(e))
		offer(e, 1);
	pass(e, 11);
	hears_op(e, RST);
}

static void the_host_half_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	write_all(fd, "question", 8);
	shutdown(fd, SHUT_WR);
	hears_data(e, "question");
	hears_op(e, SHUTDOWN);
	assert_int_equal(e->got.flags, SEND);
	sends(e, "answer", 6);
	reads(fd, "answer");
	hears_nothing(e);
	shuts(e, SEND);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
}

static void the_guest_half_closes(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	sends(e, "question", 8);
	shuts(e, SEND);
	reads(fd, "question");
	reads_end(fd);
	hears_nothing(e);
	write_all(fd, "answer", 6);
	hears_data(e, "answer");
	close(fd);
	fake_run(&e->host);
	while (hears(e) && e->got.op == SHUTDOWN)
		offer(e, 1);
	assert_int_equal(e->got.op, RST);
}

static void data_after_its_end_resets(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	shuts(e, SEND);
	sends(e, "oh", 2);
	hears_op(e, RST);
	close(fd);
}

static void a_guest_that_reads_no_more_gets_no_more(void **state)
{
	struct env *e = *state;
	int fd;

	start(e);
	fd = connect_out(e, GUEST);
	shuts(e, RCV);
	fake_run(&e->host);
	assert_int_equal(send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	hears_nothing(e);
	sends(e, "but talks", 9);
	reads(fd, "but talks");
	shuts(e, SEND);
	hears_op(e, RST);
	reads_end(fd);
	close(fd);
}

static void a_guest_may_change_its_mind_before_the_answer(void **state)
{
	struct env *e = *state;

	start(e);
	/* The connector is not asked before the loop runs again. */
	loop_set(e->host.dialling, 0);
	says(e, REQUEST, GUEST, HOST);
	says(e, RST, GUEST, HOST);
	says(e, REQUEST, GUEST, HOST);
	loop_set(e->host.dialling, EPOLLIN);
	hears_op(e, RESPONSE);
	hears_nothing(e);
	/* Of the first there is nothing left. */
	close(accept4(e->server, NULL, NULL, SOCK_CLOEXEC));
	sends(e, "x", 1);
	reads(accept4(e->server, NULL, NULL, SOCK_CLOEXEC), "x");
}

/* More than the connector's socket holds requests for. */
static void many_connects_wait_for_the_connector(void **state)
{
	struct env *e = *state;
	unsigned answered = 0;

	start(e);
	loop_set(e->host.dialling, 0);
	for (unsigned i = 0; i < 1000; i++)
		says(e, REQUEST, i, 99);
	says(e, RST, 999, 99); /* the last has changed its mind */
	hears_nothing(e);
	loop_set(e->host.dialling, EPOLLIN);
	fake_run(&e->host);
	while (hears(e)) {
		assert_int_equal(e->got.op, RST);
		answered++;
		offer(e, 1);
		fake_run(&e->host);
	}
	assert_int_equal(answered, 999);
}

static void without_a_connector_the_guest_is_refused(void **state)
{
	struct env *e = *state;
	uint32_t port;

	start(e);
	loop_set(e->host.dialling, 0);
	says(e, REQUEST, GUEST, HOST);
	shutdown(e->host.connector, SHUT_RDWR);
	hears_op(e, RST);
	says(e, REQUEST, GUEST + 1, HOST);
	hears_of(e, RST, GUEST + 1, HOST);
	close(connect_in(e, 5, &port));
}

static void a_reset_closes_all_and_listening_goes_on(void **state)
{
	struct env *e = *state;
	uint32_t port;
	int out, in, idle = dial(e->path);

	start(e);
	out = connect_out(e, GUEST);
	in = connect_in(e, 5, &port);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	reads_end(out);
	reads_end(in);
	reads_end(idle);
	close(out);
	close(in);
	close(idle);
	/* Nobody is there to be connected to. */
	in = dial(e->path);
	write_all(in, "CONNECT 5\n", 10);
	fake_run(&e->host);
	reads_end(in);
	close(in);
	start(e);
	close(connect_in(e, 5, &port));
	close(connect_out(e, GUEST));
}

static void a_reset_forgets_what_was_owed(void **state)
{
	struct env *e = *state;

	start_empty(e);
	for (unsigned i = 0; i < 100; i++)
		says(e, RW, GUEST + i, HOST);
	fake_driver_reset(&e->d);
	start(e);
	fake_run(&e->host);
	hears_nothing(e);
}

/* --- the path -------------------------------------------------------------- */

static void a_live_socket_is_in_use(void **state)
{
	struct env *e = *state, *other = new_env();
	struct err err;
	void *p = other;

	assert_int_equal(create(other, e->path, &err), -EADDRINUSE);
	assert_non_null(strstr(err.msg, "--vsock"));
	assert_non_null(strstr(err.msg, "is in use"));
	assert_non_null(strstr(err.msg, e->path));
	assert_int_equal(tear_down(&p), 0);
	start(e);
	close(connect_out(e, GUEST));
}

static void a_stale_socket_is_replaced(void **state)
{
	struct env *e = new_env();
	struct err err;

	(void)state;
	close(serve(e->path, 1));
	assert_int_equal(create(e, e->path, &err), 0);
	close(dial(e->path));
	*state = e;
}

static void another_file_is_left_alone(void **state)
{
	struct env *e = new_env();
	struct err err;

	fclose(fopen(e->path, "w"));
	assert_int_equal(create(e, e->path, &err), -EEXIST);
	assert_non_null(strstr(err.msg, "not a socket"));
	assert_int_equal(access(e->path, F_OK), 0);
	*state = e;
}

static void a_path_too_long_for_ports_is_refused(void **state)
{
	struct env *e = new_env();
	char path[128];
	struct err err;

	memset(path, 'x', sizeof(path));
	path[97] = '\0';
	assert_int_equal(create(e, path, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.msg, "longer than 96 bytes"));
	*state = e;
}

static void an_inherited_socket_will_do(void **state)
{
	struct env *e = new_env();
	int fd = serve(e->path, 8), plain = socket(AF_UNIX, SOCK_STREAM, 0);
	char path[32];
	struct err err;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", plain);
	assert_int_equal(create(e, path, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "not a Unix stream socket that listens"));
	close(plain);
	assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(create(e, path, &err), 0);
	close(fd);
	e->rx = fake_alloc(&e->host, RX_SLOTS * RX_SIZE, 1);
	e->tx = fake_alloc(&e->host, TX_AREA, 1);
	start(e);
	close(connect_out(e, GUEST)); /* by the name that the socket has */
	*state = e;
}

/* --- a model --------------------------------------------------------------- */

/* The byte at @i of what one side of connection @n sends. */
static uint8_t byte_at(unsigned n, bool to_guest, uint32_t i)
{
	return (uint8_t)(i * 13 + (i >> 8) * 31 + n * 5 + to_guest);
}

struct stream {
	int fd;
	uint32_t out, out_seen, told; /* guest to host; as the device told */
	uint32_t in, in_seen; /* host to guest */
	uint32_t fwd_cnt; /* of what it got, what the guest has told */
};

enum { STREAMS = 5, TOTAL = 1 << 20 };

static void guest_hears(struct env *e, struct stream *s)
{
	while (hears(e)) {
		struct stream *c = &s[e->got.dst_port - GUEST];
		unsigned n = (unsigned)(c - s);

		assert_in_range(e->got.dst_port, GUEST, GUEST + STREAMS - 1);
		c->told = e->got.fwd_cnt;
		if (e->got.op != RW) {
			assert_true(e->got.op == UPDATE || e->got.op == ASK);
			continue;
		}
		for (uint32_t i = 0; i < e->got.len; i++, c->in_seen++)
			assert_int_equal(e->payload[i], byte_at(n, true, c->in_seen));
		assert_true(c->in_seen - c->fwd_cnt <= e->buf_alloc);
	}
}

static void guest_acts(struct env *e, struct stream *s, unsigned n)
{
	static uint8_t buf[VSOCK_BUF];
	uint32_t room = VSOCK_BUF - (s->out - s->told);
	uint32_t len = (uint32_t)(rand() % (rand() % 4 ? 5000 : VSOCK_BUF)) + 1;

	e->fwd_cnt = s->fwd_cnt = s->in_seen - (uint32_t)(rand() % 2) *
						       ((s->in_seen - s->fwd_cnt) / 2);
	len = len < room ? len : room;
	len = len < TOTAL - s->out ? len : TOTAL - s->out;
	if (len == 0) {
		says(e, UPDATE, GUEST + n, HOST);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		buf[i] = byte_at(n, false, s->out + i);
	sends_on(e, GUEST + n, HOST, buf, len);
	s->out += len;
}

static void host_acts(struct stream *s, unsigned n)
{
	static uint8_t buf[100000];
	uint32_t len = (uint32_t)rand() % sizeof(buf);
	ssize_t done;

	if (len > TOTAL - s->in)
		len = TOTAL - s->in;
	for (uint32_t i = 0; i < len; i++)
		buf[i] = byte_at(n, true, s->in + i);
	done = len ? send(s->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	s->in += done > 0 ? (uint32_t)done : 0;
	done = recv(s->fd, buf, (size_t)(rand() % (int)sizeof(buf)) + 1, MSG_DONTWAIT);
	for (ssize_t i = 0; i < done; i++, s->out_seen++)
		assert_int_equal(buf[i], byte_at(n, false, s->out_seen));
}

static void streams_arrive_byte_for_byte(void **state)
{
	struct env *e = *state;
	struct stream s[STREAMS] = { 0 };
	unsigned done = 0;

	srand(1);
	start_empty(e);
	offer(e, 8);
	e->buf_alloc = 30000;
	for (unsigned i = 0; i < STREAMS; i++)
		s[i].fd = connect_out(e, GUEST + i);
	for (unsigned turn = 0; done < STREAMS; turn++) {
		unsigned n = (unsigned)rand() % STREAMS;

		assert_true(turn < 200000);
		if (e->d.q[VSOCK_RX].avail_idx - e->d.q[VSOCK_RX].used_idx < 200)
			offer_sized(e, (unsigned)rand() % 6,
				    (uint32_t)(rand() % 4000) + HDR + 1);
		if (rand() % 2)
			guest_acts(e, &s[n], n);
		else
			host_acts(&s[n], n);
		if (rand() % 3)
			fake_run(&e->host);
		guest_hears(e, s);
		done = 0;
		for (unsigned i = 0; i < STREAMS; i++)
			done += s[i].in_seen == TOTAL && s[i].out_seen == TOTAL;
	}
	for (unsigned i = 0; i < STREAMS; i++)
		close(s[i].fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
/* These make their own device. */
#define ALONE(f) cmocka_unit_test_setup_teardown(f, NULL, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_guest_finds_its_cid),
		TEST(the_guest_connects_and_both_talk),
		TEST(a_port_where_nobody_listens_is_refused),
		TEST(a_listener_whose_backlog_is_full_refuses),
		TEST(a_client_connects_to_the_guest),
		TEST(what_a_client_says_with_its_greeting_is_kept),
		TEST(a_greeting_may_come_in_pieces),
		TEST(any_other_greeting_is_shown_the_door),
		TEST(a_client_that_says_nothing_hurts_nobody),
		TEST(a_guest_that_does_not_answer_is_given_up),
		TEST(packets_with_forged_cids_are_dropped),
		TEST(another_type_is_reset_in_its_own_type),
		TEST(what_belongs_to_no_connection_is_reset),
		TEST(what_makes_no_sense_on_a_connection_resets_it),
		TEST(data_before_the_answer_resets),
		TEST(a_length_beyond_the_chain_resets),
		TEST(bytes_behind_the_length_are_nobodys),
		TEST(a_chain_too_short_for_a_header_is_dropped),
		TEST(a_header_in_pieces_is_understood),
		TEST(a_receive_buffer_without_room_breaks_the_device),
		TEST(a_broken_ring_breaks_the_device_until_reset),
		TEST(the_guest_gets_no_more_than_it_has_room_for),
		TEST(a_guest_that_lies_about_its_room_gets_nothing),
		TEST(a_peer_that_does_not_read_fills_a_bounded_buffer),
		TEST(more_than_was_granted_resets),
		TEST(a_full_socket_does_not_stop_others),
		TEST(everything_waits_for_receive_buffers),
		TEST(a_storm_of_resets_is_bounded_and_loses_none),
		TEST(connections_beyond_the_limit_are_refused),
		TEST(a_flood_of_connects_without_buffers_is_bounded),
		TEST(the_guest_closes),
		TEST(the_guest_closes_but_what_it_sent_arrives_first),
		TEST(the_host_closes),
		TEST(a_guest_that_ignores_the_end_is_reset),
		TEST(the_host_half_closes),
		TEST(the_guest_half_closes),
		TEST(data_after_its_end_resets),
		TEST(a_guest_that_reads_no_more_gets_no_more),
		TEST(a_guest_may_change_its_mind_before_the_answer),
		TEST(many_connects_wait_for_the_connector),
		TEST(without_a_connector_the_guest_is_refused),
		TEST(a_reset_closes_all_and_listening_goes_on),
		TEST(a_reset_forgets_what_was_owed),
		TEST(a_live_socket_is_in_use),
		ALONE(a_stale_socket_is_replaced),
		ALONE(another_file_is_left_alone),
		ALONE(a_path_too_long_for_ports_is_refused),
		ALONE(an_inherited_socket_will_do),
		TEST(streams_arrive_byte_for_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
