/* One connection between guest and Unix socket; see vsock_conn.h. */
#include "virtio/vsock_conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The longest line is "CONNECT 4294967295\r\n". */
#define GREETING_MAX 32
/* Bytes for the guest before others have a turn; as Linux limits its packets. */
#define TURN_MAX (64u << 10)
/* How long a guest that was told of the end may keep the connection, in seconds. */
#define LINGER 10

#define OWES(op) (1u << VIRTIO_VSOCK_OP_##op)

void vsock_conn_close(struct vsock_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	free(c->ring);
	c->ring = NULL;
	c->fill = 0;
	c->readable = false;
	c->patience = 0;
}

void vsock_conn_reset(struct vsock_conn *c)
{
	vsock_conn_close(c);
	c->state = VSOCK_RESET;
	c->owed = OWES(RST);
}

/* --- the greeting ---------------------------------------------------------- */

/* The port of a line of @n bytes, its end included; -1 when it is none. */
static int64_t parse_greeting(const char *line, size_t n)
{
	static const char word[] = "CONNECT ";
	size_t i = sizeof(word) - 1, digits;
	uint64_t port = 0;

	n -= n >= 2 && line[n - 2] == '\r' ? 2 : 1;
	if (n <= i || strncasecmp(line, word, i) != 0)
		return -1;
	for (digits = 0; i < n && line[i] >= '0' && line[i] <= '9' && digits < 10;
	     digits++)
		port = port * 10 + (uint64_t)(line[i++] - '0');
	return i == n && port <= UINT32_MAX ? (int64_t)port : -1;
}

int vsock_conn_greet(struct vsock_conn *c, uint32_t *ret_port)
{
	char line[GREETING_MAX];
	/* What follows the line is the guest's, and stays in the socket. */
	ssize_t n = recv(c->fd, line, sizeof(line), MSG_DONTWAIT | MSG_PEEK);
	const char *end;
	int64_t port;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	end = memchr(line, '\n', (size_t)n);
	if (!end)
		return n > 0 && (size_t)n < sizeof(line) ? 0 : -1;
	n = end + 1 - line;
	port = parse_greeting(line, (size_t)n);
	if (port < 0 || recv(c->fd, line, (size_t)n, MSG_DONTWAIT) != n)
		return -1;
	*ret_port = (uint32_t)port;
	return 1;
}

/* The guest has accepted: its client may begin. */
static void answer_client(struct vsock_conn *c)
{
	char line[GREETING_MAX];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	/* There is room for it in a socket to which nothing was sent so far. */
	if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL) != n) {
		vsock_conn_reset(c);
		return;
	}
	c->state = VSOCK_OPEN;
	c->patience = 0;
}

void vsock_conn_open(struct vsock_conn *c, int fd)
{
	c->fd = fd;
	c->state = VSOCK_OPEN;
	c->owed |= OWES(RESPONSE);
}

/* --- flow control ---------------------------------------------------------- */

/* What the guest can still take. It may shrink its buffer, or lie. */
static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->peer_fwd_cnt;

	return under_way < c->peer_buf_alloc ? c->peer_buf_alloc - under_way : 0;
}

/* Tell the guest of room before it runs out of it, but not of each byte. */
static void offer_room(struct vsock_conn *c)
{
	uint32_t taken = c->fwd_cnt - c->told_fwd_cnt;

	if (c->fill + taken > VSOCK_BUF / 2 && taken > 0)
		c->owed |= OWES(CREDIT_UPDATE);
}

static bool wants_data(const struct vsock_conn *c)
{
	return c->state == VSOCK_OPEN && c->readable &&
	       !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) && credit(c) > 0;
}

/* Data waits for credit: ask for it once, as the guest may see no reason to tell. */
static void ask_for_credit(struct vsock_conn *c)
{
	if (c->state == VSOCK_OPEN && c->readable && credit(c) == 0)
		c->owed |= OWES(CREDIT_REQUEST);
}

/* --- the end --------------------------------------------------------------- */

/* Directions that are over are closed; a connection without any ends. */
static void settle(struct vsock_conn *c)
{
	if (c->state == VSOCK_LEFT && c->fill == 0)
		c->state = VSOCK_GONE;
	if (c->state != VSOCK_OPEN)
		return;
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND && c->fill == 0 &&
	    !c->finished) {
		c->finished = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (c->finished && (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV ||
			    c->told_shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
		vsock_conn_reset(c);
}

static void shut(struct vsock_conn *c, unsigned flags)
{
	c->shut |= flags;
	if (c->shut != c->told_shut)
		c->owed |= OWES(SHUTDOWN);
}

/* Nobody reads from the socket any more. */
static void deafen(struct vsock_conn *c)
{
	if (c->deaf)
		return;
	c->deaf = true;
	c->fwd_cnt += c->fill;
	c->fill = 0;
	shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* --- from the guest -------------------------------------------------------- */

/* What the socket takes of @iov; 0 also when it never will again. */
static size_t push(struct vsock_conn *c, const struct iovec *iov, unsigned n_iov)
{
	ssize_t n;

	do
		n = writev(c->fd, iov, (int)n_iov);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		deafen(c);
	return n < 0 ? 0 : (size_t)n;
}

static void flush(struct vsock_conn *c)
{
	/* To the end, or until it is full: only then will epoll tell of room. */
	while (c->fill > 0) {
		uint32_t to_end = VSOCK_BUF - c->first;
		struct iovec iov[2] = {
			{ c->ring + c->first, c->fill < to_end ? c->fill : to_end },
			{ c->ring, c->fill < to_end ? 0 : c->fill - to_end },
		};
		uint32_t n = (uint32_t)push(c, iov, 2);

		if (c->deaf || n == 0)
			break;
		c->first = (c->first + n) % VSOCK_BUF;
		c->fill -= n;
		c->fwd_cnt += n;
	}
	offer_room(c);
}

/* Keep the rest of a packet, from @off; there is room for it. */
static int stash(struct vsock_conn *c, const struct vq_chain *chain, uint64_t off,
		 uint32_t len)
{
	uint32_t at = (c->first + c->fill) % VSOCK_BUF;
	uint32_t part = len < VSOCK_BUF - at ? len : VSOCK_BUF - at;

	if (!c->ring)
		c->ring = malloc(VSOCK_BUF);
	if (!c->ring)
		return -ENOMEM;
	vq_read(chain, off, c->ring + at, part);
	vq_read(chain, off + part, c->ring, len - part);
	c->fill += len;
	return 0;
}

static void take_data(struct vsock_conn *c, const struct vsock_packet *p,
		      const struct vq_chain *chain)
{
	struct iovec iov[VQ_MAX_SEGS];
	uint32_t done = 0;

	if (p->len > VSOCK_BUF - c->fill ||
	    c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) {
		vsock_conn_reset(c);
		return;
	}
	if (c->fill == 0 && p->len > 0 && !c->deaf) {
		unsigned n = vq_slices(chain, false, VSOCK_HDR_LEN, p->len, iov);

		done = (uint32_t)push(c, iov, n);
	}
	if (c->deaf)
		done = p->len;
	c->fwd_cnt += done;
	if (done < p->len) {
		if (stash(c, chain, VSOCK_HDR_LEN + done, p->len - done) < 0) {
			vsock_conn_reset(c);
			return;
		}
		flush(c);
	}
	offer_room(c);
}

static void leave(struct vsock_conn *c)
{
	c->owed = 0;
	c->patience = 0;
	c->state = c->fill > 0 ? VSOCK_LEFT : VSOCK_GONE;
	/* Who still writes must not wait for ever, for then he might never read. */
	if (c->state == VSOCK_LEFT)
		shutdown(c->fd, SHUT_RD);
}

static void take_open(struct vsock_conn *c, const struct vsock_packet *p,
		      const struct vq_chain *chain)
{
	switch (p->op) {
	case VIRTIO_VSOCK_OP_RW:
		take_data(c, p, chain);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_shut |= p->flags & VSOCK_SHUT_BOTH;
		if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
			shutdown(c->fd, SHUT_RD);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		c->owed |= OWES(CREDIT_UPDATE);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	default:
		vsock_conn_reset(c);
		return;
	}
	settle(c);
}

void vsock_conn_input(struct vsock_conn *c, const struct vsock_packet *p,
		      const struct vq_chain *chain)
{
	uint32_t had = credit(c);

	if (p->op == VIRTIO_VSOCK_OP_RST) {
		leave(c);
		return;
	}
	if (c->state == VSOCK_RESET)
		return;
	c->peer_buf_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
	if (c->state == VSOCK_OPEN)
		take_open(c, p, chain);
	else if (c->state == VSOCK_ASKING_GUEST && p->op == VIRTIO_VSOCK_OP_RESPONSE &&
		 !(c->owed & OWES(REQUEST)))
		answer_client(c);
	else
		vsock_conn_reset(c);
	if (had > 0)
		ask_for_credit(c);
}

/* --- to the guest ---------------------------------------------------------- */

void vsock_conn_ready(struct vsock_conn *c, uint32_t events)
{
	bool was_readable = c->readable;

	if (events & ~(uint32_t)EPOLLOUT)
		c->readable = true;
	if (c->state != VSOCK_OPEN && c->state != VSOCK_LEFT)
		return;
	if (events & EPOLLOUT)
		flush(c);
	if (events & EPOLLHUP)
		deafen(c);
	settle(c);
	if (!was_readable)
		ask_for_credit(c);
}

bool vsock_conn_wants(const struct vsock_conn *c)
{
	return c->state != VSOCK_LEFT && (c->owed || wants_data(c));
}

/* The first @len bytes of payload that @b have room for, or fewer, as slices. */
static unsigned payload_slices(const struct vsock_buffers *b, uint64_t len,
			       struct iovec *ret_iov)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n && len > 0; i++) {
		const struct vq_chain *chain = &b->chain[(b->first + i) % VSOCK_BATCH];
		uint64_t part = chain->in_len - VSOCK_HDR_LEN;

		if (n + chain->n_in > VQ_MAX_SEGS)
			break;
		part = part < len ? part : len;
		n += vq_slices(chain, true, VSOCK_HDR_LEN, part, ret_iov + n);
		len -= part;
	}
	return n;
}

/* Bytes that were read into @b; 0: nothing now, or the end, which sets shut. */
static uint32_t read_data(struct vsock_conn *c, const struct vsock_buffers *b)
{
	struct iovec iov[VQ_MAX_SEGS];
	struct msghdr msg = { .msg_iov = iov };
	uint32_t room = credit(c);
	ssize_t n;

	msg.msg_iovlen = payload_slices(b, room < TURN_MAX ? room : TURN_MAX, iov);
	do
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		c->sent += (uint32_t)n;
		ask_for_credit(c);
		return (uint32_t)n;
	}
	c->readable = false;
	if (n == 0)
		shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	else if (errno != EAGAIN)
		vsock_conn_reset(c);
	return 0;
}

/* The packet that goes first of those owed, or RW for data. */
static uint16_t next_op(const struct vsock_conn *c)
{
	static const uint16_t order[] = { VIRTIO_VSOCK_OP_RST, VIRTIO_VSOCK_OP_REQUEST,
					  VIRTIO_VSOCK_OP_RESPONSE,
					  VIRTIO_VSOCK_OP_SHUTDOWN };

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (c->owed & 1u << order[i])
			return order[i];
	if (wants_data(c))
		return VIRTIO_VSOCK_OP_RW;
	if (c->owed & OWES(CREDIT_REQUEST))
		return VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	if (c->owed & OWES(CREDIT_UPDATE))
		return VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	return VIRTIO_VSOCK_OP_INVALID;
}

static void told_shutdown(struct vsock_conn *c)
{
	c->told_shut = c->shut;
	if (c->told_shut == VSOCK_SHUT_BOTH)
		c->patience = LINGER;
	settle(c);
}

bool vsock_conn_output(struct vsock_conn *c, const struct vsock_buffers *b,
		       struct vsock_packet *ret)
{
	uint16_t op = next_op(c);
	uint32_t len = 0;

	if (op == VIRTIO_VSOCK_OP_RW) {
		len = read_data(c, b);
		if (len == 0) /* and maybe an end was found instead */
			op = next_op(c);
	}
	if (op == VIRTIO_VSOCK_OP_INVALID)
		return false;
	*ret = (struct vsock_packet){
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? c->shut : 0,
		.buf_alloc = VSOCK_BUF,
		.fwd_cnt = c->fwd_cnt,
	};
	c->told_fwd_cnt = c->fwd_cnt;
	c->owed &= ~(1u << op | OWES(CREDIT_UPDATE));
	if (op == VIRTIO_VSOCK_OP_SHUTDOWN)
		told_shutdown(c);
	if (op == VIRTIO_VSOCK_OP_RST)
		c->state = VSOCK_GONE;
	return true;
}

void vsock_conn_tick(struct vsock_conn *c, uint64_t seconds)
{
	if (c->patience > seconds) {
		c->patience -= (unsigned)seconds;
		return;
	}
	if (c->state == VSOCK_GREETING)
		c->state = VSOCK_GONE;
	else
		vsock_conn_reset(c);
}
