/* Packets of the network device; see net_io.h. */
#include "virtio/net_io.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/tap.h"

/* Packets, each way, before the other way and the loop's other watches have a turn. */
#define BUDGET 64

#define HDR_NUM_BUFFERS 10 /* offset in the header */

/* --- receive --------------------------------------------------------------- */

static bool is_mergeable(const struct net *n)
{
	return n->v.acked & NET_F_MRG_RXBUF;
}

/* Whether the buffers at hand are worth reading a packet into. */
static bool has_enough(const struct net *n)
{
	/* One iovec is for what does not fit. */
	return n->room >= NET_MAX_PACKET || (n->n_bufs > 0 && !is_mergeable(n)) ||
	       n->n_iov + VQ_MAX_SEGS >= NET_MAX_IOV;
}

/*
 * The ring is empty, and the buffers at hand are fewer than the largest packet needs.
 * More will come, and until then packets wait in the tap; but a guest that never offers
 * many would wait for ever, so a quarter of what it once offered will do.
 */
static bool must_do(struct net *n)
{
	if (n->n_bufs > n->most_bufs)
		n->most_bufs = n->n_bufs;
	return n->n_bufs > 0 && n->n_bufs * 4 >= n->most_bufs;
}

static void take_buffer(struct net *n)
{
	const struct vq_chain *c = &n->chain;

	if (c->in_len < TAP_HDR_LEN) {
		/* Not given back, or such buffers could come for ever. */
		virtio_broken(&n->v, "receive buffer smaller than a header");
		return;
	}
	memcpy(n->iov + n->n_iov, c->iov + c->n_out, c->n_in * sizeof(*n->iov));
	n->n_iov += c->n_in;
	n->room += c->in_len;
	n->bufs[n->n_bufs++] = (struct vq_done){ c->head, (uint32_t)c->in_len };
}

/* Get buffers; false: there are too few, and the guest will kick when it has more. */
static bool get_buffers(struct net *n)
{
	struct vq *q = &n->v.queues[NET_RX];

	while (!has_enough(n)) {
		int r = vq_pop(q, &n->chain);

		if (r < 0)
			virtio_broken(&n->v, q->why);
		if (r > 0)
			take_buffer(n);
		if (!n->v.running)
			return false;
		if (r == 0 && !vq_kicks(q, true))
			return must_do(n);
	}
	if (n->n_bufs > n->most_bufs)
		n->most_bufs = n->n_bufs;
	vq_kicks(q, false);
	return true;
}

/* Section 5.1.6.4: also where buffers are not merged. The tap leaves it as it was. */
static void set_num_buffers(struct net *n, uint16_t num)
{
	uint8_t bytes[2];
	size_t off = HDR_NUM_BUFFERS;

	le16_put(bytes, num);
	for (unsigned i = 0, done = 0; done < sizeof(bytes); i++) {
		for (; off < n->iov[i].iov_len && done < sizeof(bytes); off++)
			((uint8_t *)n->iov[i].iov_base)[off] = bytes[done++];
		off -= n->iov[i].iov_len;
	}
}

/* Give the first buffers back, which hold a packet of @len bytes. */
static void deliver(struct net *n, uint64_t len)
{
	uint64_t bytes = 0, left = len;
	unsigned used = 0, segs = 0;

	while (left > 0) {
		uint32_t size = n->bufs[used].written;

		bytes += size;
		if (left < size)
			n->bufs[used].written = (uint32_t)left;
		left -= n->bufs[used++].written;
	}
	set_num_buffers(n, (uint16_t)used);
	vq_push_all(&n->v.queues[NET_RX], n->bufs, used);
	n->room -= bytes;
	while (bytes > 0)
		bytes -= n->iov[segs++].iov_len;
	n->n_bufs -= used;
	n->n_iov -= segs;
	memmove(n->bufs, n->bufs + used, n->n_bufs * sizeof(*n->bufs));
	memmove(n->iov, n->iov + segs, n->n_iov * sizeof(*n->iov));
}

/* One packet from the tap; false: there is none, or nothing to put it into. */
static bool receive_one(struct net *n)
{
	ssize_t len;

	n->starved = !get_buffers(n);
	if (n->starved)
		return false;
	n->iov[n->n_iov] = (struct iovec){ n->overflow, sizeof(n->overflow) };
	len = readv(n->tap, n->iov, (int)n->n_iov + 1);
	if (len < 0)
		return false;
	if (len < TAP_HDR_LEN || (uint64_t)len > n->room)
		log_guest(&n->dropped, n->v.dev.host->name,
			  "packet of %zd bytes, buffers for %llu: dropped", len,
			  (unsigned long long)n->room);
	else
		deliver(n, (uint64_t)len);
	return true;
}

static void receive(struct net *n)
{
	unsigned budget = BUDGET;

	while (budget > 0 && receive_one(n))
		budget--;
	/* The rest is not forgotten: the tap stays ready. */
	virtio_signal(&n->v, NET_RX);
}

/* --- send ------------------------------------------------------------------ */

/* False: the tap has no room for it now. What it refuses is lost, as on any wire. */
static bool send_one(struct net *n)
{
	const struct vq_chain *c = &n->tx;

	if (c->out_len <= TAP_HDR_LEN || c->out_len > NET_MAX_PACKET) {
		log_guest(&n->dropped, n->v.dev.host->name,
			  "packet of %llu bytes to be sent: dropped",
			  (unsigned long long)c->out_len);
		return true;
	}
	return writev(n->tap, c->iov, (int)c->n_out) >= 0 || errno != EAGAIN;
}

/* Whether the ring is empty, or the tap full: nothing more to do for now. */
static bool send_some(struct net *n, unsigned *budget)
{
	struct vq *q = &n->v.queues[NET_TX];

	for (; *budget > 0; (*budget)--) {
		if (!n->tx_waits) {
			int r = vq_pop(q, &n->tx);

			if (r < 0)
				virtio_broken(&n->v, q->why);
			if (r <= 0)
				return true;
		}
		n->tx_waits = !send_one(n);
		if (n->tx_waits)
			return true;
		vq_push(q, n->tx.head, 0);
	}
	return false;
}

static void transmit(struct net *n)
{
	struct vq *q = &n->v.queues[NET_TX];
	unsigned budget = BUDGET;
	bool more;

	do {
		vq_kicks(q, false);
		more = !send_some(n, &budget);
		/* While the tap is full no kick is of use. */
	} while (!more && !n->tx_waits && n->v.running && vq_kicks(q, true));
	virtio_signal(&n->v, NET_TX);
	if (more && vq_kicks(q, true))
		(void)eventfd_write(n->v.kick_fd, 1);
}

/* --- events ---------------------------------------------------------------- */

static void watch_tap(struct net *n)
{
	uint32_t events = 0;

	if (!n->watch)
		return;
	if (n->v.running && !n->starved)
		events |= EPOLLIN;
	if (n->v.running && n->tx_waits)
		events |= EPOLLOUT;
	loop_set(n->watch, events);
}

void net_io_start(struct net *n)
{
	n->n_bufs = n->n_iov = n->most_bufs = 0;
	n->room = 0;
	n->starved = true;
	n->tx_waits = false;
}

void net_io_resume(struct net *n)
{
	watch_tap(n);
}

void net_io_kick(struct virtio_dev *v, unsigned q)
{
	struct net *n = (struct net *)v;

	if (q == NET_RX && n->starved)
		receive(n);
	else if (q == NET_TX && !n->tx_waits)
		transmit(n);
	watch_tap(n);
}

void net_io_tap(void *arg, uint32_t events)
{
	struct net *n = arg;
	AUTO_LOCK(&n->v.io_lock);

	if (events & (EPOLLERR | EPOLLHUP)) {
		/* Somebody deleted it. It would be ready for ever. */
		log_debug(n->v.dev.host->name, "the tap has gone");
		loop_del(TAKE_PTR(n->watch));
		return;
	}
	if (n->v.running && (events & EPOLLIN))
		receive(n);
	if (n->v.running && n->tx_waits && (events & EPOLLOUT))
		transmit(n);
	watch_tap(n);
}
