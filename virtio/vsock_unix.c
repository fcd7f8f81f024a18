/*
 * virtio-vsock without vhost: the guest's streams are Unix sockets. The guest
 * connects to SOCKET_PORT through the connector (base/connector.h); the host's
 * clients connect to SOCKET and say "CONNECT PORT\n", to which the answer is
 * "OK HOSTPORT\n", as with Firecracker and Cloud Hypervisor. Without a path, the
 * connector brings the clients, too.
 *
 * Here are the queues: which packet is whose, and who gets the next receive buffer.
 * Everything runs on the thread of host->loop, but stop(), which only leaves word.
 *
 * Memory is bounded: so many connections, a ring for each, and so many RSTs that
 * wait for receive buffers; after that the transmit queue waits, too. The event
 * queue is for migration, and nobody looks at it.
 */
#include "virtio/vsock_unix.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"

/* Packets before the loop's other watches have a turn. */
#define BUDGET 128u
#define MAX_EVENTS 32

static void wake(struct vsock *d)
{
	(void)eventfd_write(d->wake_fd, 1);
}

/* --- to the guest ---------------------------------------------------------- */

/*
 * Take receive buffers, some at once, so that one system call can fill them; false:
 * there is none, and the guest will kick.
 */
static bool hold_buffers(struct vsock *d)
{
	struct vq *q = &d->v.queues[VSOCK_RX];
	struct vsock_buffers *b = &d->rx;
	int r = 1;

	if (b->n > 0)
		return true;
	b->first = 0;
	vq_kicks(q, false);
	while (b->n < VSOCK_BATCH && r > 0) {
		r = vq_pop(q, &b->chain[b->n]);
		if (r > 0 && b->chain[b->n].in_len <= VSOCK_HDR_LEN) {
			virtio_broken(&d->v, "receive buffer too small for a packet");
			return false;
		}
		if (r > 0)
			b->n++;
		else if (r == 0 && b->n == 0 && vq_kicks(q, true))
			r = 1;
	}
	if (r < 0)
		virtio_broken(&d->v, q->why);
	return r >= 0 && b->n > 0;
}

/* A packet whose payload lies in the buffers; see vsock_conn_output(). */
static void send_packet(struct vsock *d, struct vsock_packet *p)
{
	struct vsock_buffers *b = &d->rx;
	uint64_t left = p->len;

	p->src_cid = VSOCK_HOST_CID;
	p->dst_cid = d->cid;
	do {
		const struct vq_chain *chain = &b->chain[b->first];
		uint64_t room = chain->in_len - VSOCK_HDR_LEN;
		struct virtio_vsock_hdr header;

		p->len = (uint32_t)(left < room ? left : room);
		header = vsock_packet_put(p);
		vq_write(chain, 0, &header, sizeof(header));
		vq_push(&d->v.queues[VSOCK_RX], chain->head,
			(uint32_t)sizeof(header) + p->len);
		b->first = (b->first + 1) % VSOCK_BATCH;
		b->n--;
		left -= p->len;
	} while (left > 0);
}

static void send_rst(struct vsock *d)
{
	const struct vsock_rst *r = &d->rsts[d->first_rst];
	struct vsock_packet p = {
		.src_port = r->host_port,
		.dst_port = r->guest_port,
		.type = r->type,
		.op = VIRTIO_VSOCK_OP_RST,
	};

	send_packet(d, &p);
	d->first_rst = (d->first_rst + 1) % VSOCK_MAX_RSTS;
	d->n_rsts--;
}

/* Connections take turns. */
static void send_turn(struct vsock *d)
{
	struct vsock_conn *c = TAILQ_FIRST(&d->output);
	struct vsock_packet p;

	vsock_line_up(d, c, NULL);
	if (vsock_conn_output(c, &d->rx, &p))
		send_packet(d, &p);
	vsock_settle(d, c);
}

static void output(struct vsock *d)
{
	unsigned budget = BUDGET;

	while (d->v.running && (d->n_rsts || !TAILQ_EMPTY(&d->output))) {
		if (budget-- == 0) {
			wake(d);
			break;
		}
		if (!hold_buffers(d))
			break;
		if (d->n_rsts)
			send_rst(d);
		else
			send_turn(d);
	}
	if (d->v.running)
		virtio_signal(&d->v, VSOCK_RX);
	if (d->tx_waits && d->n_rsts < VSOCK_MAX_RSTS / 2) {
		d->tx_waits = false;
		wake(d);
	}
}

/* --- from the guest -------------------------------------------------------- */

/* Section 5.10.6.6.2: what belongs to no connection is answered by RST. */
static void refuse(struct vsock *d, const struct vsock_packet *p)
{
	unsigned last = (d->first_rst + d->n_rsts) % VSOCK_MAX_RSTS;

	if (p->op == VIRTIO_VSOCK_OP_RST)
		return;
	/* There is room: receive() looks before it takes a packet. */
	d->rsts[last] = (struct vsock_rst){ p->src_port, p->dst_port, p->type };
	d->n_rsts++;
}

static void take_packet(struct vsock *d)
{
	struct virtio_vsock_hdr header;
	struct vsock_packet p;
	struct vsock_conn *c;

	if (vq_read(&d->tx, 0, &header, sizeof(header)) < sizeof(header))
		return;
	p = vsock_packet_get(&header);
	if (p.src_cid != d->cid || p.dst_cid != VSOCK_HOST_CID)
		return;
	if (p.type != VIRTIO_VSOCK_TYPE_STREAM) {
		refuse(d, &p);
		return;
	}
	c = vsock_by_ports(d, p.src_port, p.dst_port);
	if (!c) {
		if (p.op != VIRTIO_VSOCK_OP_REQUEST || !vsock_host_connect(d, &p))
			refuse(d, &p);
		return;
	}
	if (p.len > d->tx.out_len - sizeof(header))
		vsock_conn_reset(c);
	else
		vsock_conn_input(c, &p, &d->tx);
	vsock_settle(d, c);
}

static void receive(struct vsock *d)
{
	struct vq *q = &d->v.queues[VSOCK_TX];
	unsigned budget = BUDGET;
	int r = 0;

	if (!d->v.running || d->tx_waits)
		return;
	vq_kicks(q, false);
	do {
		while (d->n_rsts < VSOCK_MAX_RSTS && budget > 0 &&
		       (r = vq_pop(q, &d->tx)) > 0) {
			take_packet(d);
			vq_push(q, d->tx.head, 0);
			budget--;
		}
		if (r < 0) {
			virtio_broken(&d->v, q->why);
			return;
		}
		if (d->n_rsts == VSOCK_MAX_RSTS || budget == 0)
			break;
	} while (vq_kicks(q, true));
	virtio_signal(&d->v, VSOCK_TX);
	d->tx_waits = d->n_rsts == VSOCK_MAX_RSTS;
	if (budget == 0)
		wake(d);
}

/* --- the loop -------------------------------------------------------------- */

/* The guest has forgotten all connections. */
static void drop_all(struct vsock *d)
{
	for (unsigned i = 0; i < VSOCK_MAX_CONNS; i++)
		if (d->conns[i])
			vsock_drop(d, d->conns[i]);
	d->n_rsts = 0;
	d->tx_waits = false;
	d->stopped = false;
}

static void on_events(void *arg, uint32_t events)
{
	struct vsock *d = arg;
	struct epoll_event list[MAX_EVENTS];
	AUTO_LOCK(&d->v.io_lock);
	int n;

	(void)events;
	if (d->stopped)
		drop_all(d);
	n = epoll_wait(d->epoll_fd, list, MAX_EVENTS, 0);
	for (int i = 0; i < n; i++) {
		/* Edge-triggered: nobody has to read what woke us. */
		if (list[i].data.u64 == VSOCK_ON_WAKE)
			receive(d);
		else
			vsock_host_event(d, list[i].data.u64, list[i].events);
	}
	output(d);
}

static void vsock_kick(struct virtio_dev *v, unsigned n)
{
	struct vsock *d = (struct vsock *)v;

	if (d->stopped)
		drop_all(d);
	if (n == VSOCK_TX)
		receive(d);
	if (n != VSOCK_EVENT)
		output(d);
}

/* Hosts have gone on talking. */
static void vsock_resume(struct virtio_dev *v)
{
	struct vsock *d = (struct vsock *)v;

	if (d->stopped)
		drop_all(d);
	receive(d);
	output(d);
}

/* On a vCPU's thread, whose jail does not let it close anything. */
static void vsock_stop(struct virtio_dev *v)
{
	struct vsock *d = (struct vsock *)v;

	d->rx.n = 0;
	d->stopped = true;
	wake(d);
}

/* --- its life -------------------------------------------------------------- */

static const struct virtio_ops vsock_unix_ops = {
	.id = VSOCK_ID,
	.pci_class = 0x078000, /* communication, other */
	.kick = vsock_kick,
	.stop = vsock_stop,
	.resume = vsock_resume,
};

static void vsock_unix_free(struct device *dev)
{
	struct vsock *d = (struct vsock *)dev;

	virtio_free(&d->v);
	loop_del(d->watch);
	drop_all(d);
	cleanup_close(&d->epoll_fd);
	cleanup_close(&d->wake_fd);
	cleanup_close(&d->timer_fd);
	cleanup_close(&d->listen_fd);
	cleanup_close(&d->connector_fd);
	free(d);
}

static const struct dev_class vsock_unix_class = {
	.name = "vsock",
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = vsock_unix_free,
};

static struct vsock *new_vsock(uint64_t cid)
{
	struct vsock *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	vsock_table_init(d);
	d->cid = cid;
	d->epoll_fd = d->wake_fd = d->timer_fd = d->listen_fd = d->connector_fd = -1;
	d->v.offered = 1ull << VSOCK_F_STREAM;
	d->v.n_queues = VSOCK_QUEUES;
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		d->v.queue_size[i] = VSOCK_QUEUE_SIZE;
	d->v.config_len = sizeof(struct virtio_vsock_config);
	le64_put(d->v.config, cid);
	return d;
}

int vsock_unix_create(const void *arg, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	const struct vsock_cfg *cfg = arg;
	struct vsock *d = new_vsock(cfg->cid);
	int r;

	if (!d)
		return err_sys(err, -ENOMEM, "%s", host->name);
	r = vsock_host_open(d, cfg, host, err);
	if (r == 0)
		r = virtio_init(&d->v, &vsock_unix_class, &vsock_unix_ops, host, err);
	if (r == 0)
		r = loop_add(host->loop, d->epoll_fd, EPOLLIN, on_events, d, &d->watch,
			     err);
	if (r < 0) {
		vsock_unix_free(&d->v.dev);
		return r;
	}
	*ret_dev = &d->v.dev;
	return 0;
}
