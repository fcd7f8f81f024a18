/*
 * The host's side of the user-space vsock device: clients who connect to SOCKET, the
 * connector who connects to SOCKET_PORT, and time. The sockets have an epoll of their
 * own, in which nothing is left of one that is closed. See vsock_unix.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix.h"
#include "base/connector.h"
#include "virtio/vsock_unix.h"

/* Clients that have not said what they want; the oldest makes room for the next. */
#define MAX_GREETING 128u
/* Before others have a turn. */
#define MAX_ACCEPTS 16u

/* Seconds, rounded up by the time until the next tick. */
#define GREETING_TIME 6
#define GUEST_TIME 11

/* Ports of the host's clients, as Firecracker gives them. */
#define FIRST_PORT (1u << 30)
#define LAST_PORT (FIRST_PORT | (FIRST_PORT - 1))

static int watch_fd(struct vsock *d, int fd, uint32_t events, uint64_t id)
{
	struct epoll_event ev = { .events = events, .data.u64 = id };

	return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Ticks come as long as somebody waits for one: see on_tick(). */
void vsock_start_ticking(struct vsock *d)
{
	const struct itimerspec second = { .it_interval.tv_sec = 1,
					   .it_value.tv_sec = 1 };

	if (!d->ticking)
		timerfd_settime(d->timer_fd, 0, &second, NULL);
	d->ticking = true;
}

/* --- from the host --------------------------------------------------------- */

static void connect_guest(struct vsock *d, struct vsock_conn *c, uint32_t port)
{
	vsock_line_up(d, c, NULL);
	do {
		c->host_port = d->next_port;
		d->next_port = d->next_port == LAST_PORT ? FIRST_PORT
							 : d->next_port + 1;
	} while (vsock_by_ports(d, port, c->host_port));
	vsock_give_ports(d, c, port, c->host_port);
	c->state = VSOCK_ASKING_GUEST;
	c->owed = 1u << VIRTIO_VSOCK_OP_REQUEST;
	c->patience = GUEST_TIME;
}

static void on_conn(struct vsock *d, struct vsock_conn *c, uint32_t events)
{
	uint32_t port;
	int r;

	vsock_conn_ready(c, events);
	if (c->state == VSOCK_GREETING) {
		r = vsock_conn_greet(c, &port);
		if (r < 0 || (r > 0 && !d->v.running))
			c->state = VSOCK_GONE;
		else if (r > 0)
			connect_guest(d, c, port);
	}
	vsock_settle(d, c);
}

static int watch_conn(struct vsock *d, const struct vsock_conn *c)
{
	return watch_fd(d, c->fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, c->id);
}

static void add_client(struct vsock *d, int fd)
{
	struct vsock_conn *c;

	if (d->n_greeting == MAX_GREETING)
		vsock_drop(d, TAILQ_FIRST(&d->greeting));
	c = vsock_add(d, VSOCK_GREETING);
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->patience = GREETING_TIME;
	vsock_line_up(d, c, &d->greeting);
	if (watch_conn(d, c) < 0)
		c->state = VSOCK_GONE;
	vsock_settle(d, c);
}

static void listen_again(struct vsock *d)
{
	if (!d->listening)
		d->listening = watch_fd(d, d->listen_fd, EPOLLIN, VSOCK_ON_LISTEN) == 0;
}

static void on_listen(struct vsock *d)
{
	for (unsigned i = 0; i < MAX_ACCEPTS; i++) {
		int fd = accept4(d->listen_fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_client(d, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			/* Not for ever: look again with the next tick. */
			epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, d->listen_fd, NULL);
			d->listening = false;
			vsock_start_ticking(d);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

static void on_tick(struct vsock *d)
{
	const struct itimerspec never = { 0 };
	uint64_t seconds;

	if (read(d->timer_fd, &seconds, sizeof(seconds)) != sizeof(seconds))
		return;
	listen_again(d);
	d->ticking = !d->listening;
	for (unsigned i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct vsock_conn *c = d->conns[i];

		if (!c || !c->patience)
			continue;
		d->ticking = true;
		vsock_conn_tick(c, seconds);
		vsock_settle(d, c);
	}
	if (!d->ticking)
		timerfd_settime(d->timer_fd, 0, &never, NULL);
}

/* --- the connector --------------------------------------------------------- */

static void on_answer(struct vsock *d, uint64_t id, int sock)
{
	struct vsock_conn *c = vsock_by_id(d, id);

	/* The guest may not have waited for it. */
	if (!c || c->state != VSOCK_ASKING_HOST) {
		cleanup_close(&sock);
		return;
	}
	if (sock >= 0)
		vsock_conn_open(c, sock);
	if (sock < 0 || watch_conn(d, c) < 0)
		vsock_conn_reset(c);
	vsock_settle(d, c);
}

/*
 * Somebody whom the manager brings; he gets the same answer as a client. As with vhost
 * he waits for a guest whose driver is not there yet.
 */
static void on_offer(struct vsock *d, uint32_t port, int sock)
{
	struct vsock_conn *c = vsock_add(d, VSOCK_ASKING_GUEST);

	if (!c) {
		cleanup_close(&sock);
		return;
	}
	c->fd = sock;
	connect_guest(d, c, port);
	if (watch_conn(d, c) < 0)
		c->state = VSOCK_GONE;
	vsock_settle(d, c);
}

static void lose_connector(struct vsock *d)
{
	log_debug(d->v.dev.host->name, "the connector has gone: "
				       "the guest cannot connect any more");
	close(d->connector_fd);
	d->connector_fd = -1;
	for (unsigned i = 0; i < VSOCK_MAX_CONNS; i++) {
		struct vsock_conn *c = d->conns[i];

		if (!c || c->state != VSOCK_ASKING_HOST)
			continue;
		vsock_line_up(d, c, NULL);
		vsock_conn_reset(c);
		vsock_settle(d, c);
	}
}

/* Those who wait for it; it may have no room for their requests yet. */
static void ask_connector(struct vsock *d)
{
	struct vsock_conn *c;

	while ((c = TAILQ_FIRST(&d->asking))) {
		int r = connector_ask(d->connector_fd, c->id, c->host_port);

		if (r == -EAGAIN)
			return;
		vsock_line_up(d, c, NULL);
		if (r < 0) {
			vsock_conn_reset(c);
			vsock_settle(d, c);
		}
	}
}

bool vsock_host_connect(struct vsock *d, const struct vsock_packet *p)
{
	struct vsock_conn *c = d->connector_fd < 0 ? NULL
						   : vsock_add(d, VSOCK_ASKING_HOST);

	if (!c)
		return false;
	vsock_give_ports(d, c, p->src_port, p->dst_port);
	c->peer_buf_alloc = p->buf_alloc;
	c->peer_fwd_cnt = p->fwd_cnt;
	vsock_line_up(d, c, &d->asking);
	ask_connector(d);
	return true;
}

/* Edge-triggered, so that room for requests is told of, too. */
static void on_connector(struct vsock *d)
{
	uint64_t id;
	int sock, r;

	while ((r = connector_hear(d->connector_fd, &id, &sock)) > 0) {
		if (id >= CONNECTOR_FIRST_ID)
			on_answer(d, id, sock);
		else if (sock >= 0)
			on_offer(d, (uint32_t)id, sock);
	}
	if (r < 0)
		lose_connector(d);
	else
		ask_connector(d);
}

/* --- events ---------------------------------------------------------------- */

void vsock_host_event(struct vsock *d, uint64_t id, uint32_t events)
{
	struct vsock_conn *c;

	switch (id) {
	case VSOCK_ON_TICK:
		on_tick(d);
		break;
	case VSOCK_ON_LISTEN:
		on_listen(d);
		break;
	case VSOCK_ON_CONNECTOR:
		on_connector(d);
		break;
	default:
		/* What came before it in this batch may have ended it. */
		c = vsock_by_id(d, id);
		if (c)
			on_conn(d, c, events);
		break;
	}
}

/* The listening socket, and who connects for us. */
static int open_sockets(struct vsock *d, const char *path, const struct dev_host *host,
			struct err *err)
{
	static const char longest[] = "_4294967295";
	struct sockaddr_un addr = { 0 };
	const size_t max = sizeof(addr.sun_path) - sizeof(longest);
	socklen_t len = sizeof(addr);
	struct unix_name name;

	if (strlen(path) > max)
		return err_set(err, -ENAMETOOLONG, "%s %s: longer than %zu bytes",
			       host->name, path, max);
	d->listen_fd = unix_listen(host->name, path, SOCK_STREAM, &name, err);
	if (d->listen_fd < 0)
		return d->listen_fd;
	/* An inherited socket has a path of its own, which may be too long, */
	if (getsockname(d->listen_fd, (struct sockaddr *)&addr, &len) < 0 ||
	    strnlen(addr.sun_path, sizeof(addr.sun_path)) > max)
		addr.sun_path[0] = '\0';
	/* or none: then the guest can only be connected to. */
	if (!addr.sun_path[0])
		return 0;
	return host->ops->connector(host->ctx, addr.sun_path, &name, &d->connector_fd,
				    err);
}

static int watch_all(struct vsock *d)
{
	int r;

	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (d->epoll_fd < 0 || d->wake_fd < 0 || d->timer_fd < 0)
		return -errno;
	r = watch_fd(d, d->wake_fd, EPOLLIN | EPOLLET, VSOCK_ON_WAKE);
	if (r == 0)
		r = watch_fd(d, d->timer_fd, EPOLLIN, VSOCK_ON_TICK);
	if (r == 0 && d->listen_fd >= 0)
		r = watch_fd(d, d->listen_fd, EPOLLIN, VSOCK_ON_LISTEN);
	d->listening = r == 0;
	if (r == 0 && d->connector_fd >= 0)
		r = watch_fd(d, d->connector_fd, EPOLLIN | EPOLLOUT | EPOLLET,
			     VSOCK_ON_CONNECTOR);
	return r;
}

/* All connections are the manager's to make. */
static int open_manager(struct vsock *d, uint64_t fd, struct err *err)
{
	const struct unix_patience none = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%" PRIu64, fd);
	d->connector_fd = unix_connect("--vsock: fd", path, SOCK_SEQPACKET, &none, err);
	return d->connector_fd < 0 ? d->connector_fd : 0;
}

int vsock_host_open(struct vsock *d, const struct vsock_cfg *cfg,
		    const struct dev_host *host, struct err *err)
{
	int r = cfg->path ? open_sockets(d, cfg->path, host, err)
			  : open_manager(d, cfg->fd, err);

	d->next_port = FIRST_PORT;
	if (r < 0)
		return r;
	r = watch_all(d);
	return r < 0 ? err_sys(err, r, "%s", host->name) : 0;
}
