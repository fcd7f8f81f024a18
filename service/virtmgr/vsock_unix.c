/*
 * A VM's sockets by descriptors: the other end of vmm's --vsock backend=unix,fd=N. What
 * comes from there may be of a guest that has taken its vmm over: it gets a stream to
 * read its agent's lines from, and nothing else. See vsock_backend.h.
 */
#include "service/virtmgr/vsock_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/connector.h"
#include "base/log.h"

/* Before others of the event loop have a turn. */
#define MAX_REQUESTS 16

struct backend {
	struct vsock_backend b; /* first */
	int fd, vmm_fd; /* -1: it has gone; vmm has it */
	sd_event_source *io;
};

static void unix_free(struct vsock_backend *b)
{
	struct backend *u = (struct backend *)b;

	sd_event_source_disable_unref(u->io);
	cleanup_close(&u->fd);
	cleanup_close(&u->vmm_fd);
	free(u);
}

static int unix_launch(struct vsock_backend *b, struct launch *l, struct err *err)
{
	struct backend *u = (struct backend *)b;
	int fd = launch_fd(l, TAKE_FD(u->vmm_fd)), r = fd;

	if (r >= 0)
		r = launch_arg(l, "--vsock");
	if (r >= 0)
		r = launch_arg(l, "cid=%" PRIu32 ",backend=unix,fd=%d", b->cid, fd);
	return r < 0 ? err_sys(err, r, "vsock") : 0;
}

/* Ours, which blocks, as a client's or a reader's does; and vmm's, which must not. */
static int make_stream(int *ret_ours, int *ret_vmms)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	if (fcntl(pair[1], F_SETFL, O_NONBLOCK) < 0) {
		int r = -errno;

		close(pair[0]);
		close(pair[1]);
		return r;
	}
	*ret_ours = pair[0];
	*ret_vmms = pair[1];
	return 0;
}

/* --- to the guest ---------------------------------------------------------------- */

static int unix_connect_guest(struct vsock_backend *b, uint32_t port)
{
	struct backend *u = (struct backend *)b;
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int vmms = -1;
	int r;

	if (u->fd < 0)
		return -ECONNRESET;
	r = make_stream(&ours, &vmms);
	if (r == 0)
		r = connector_offer(u->fd, port, vmms);
	return r < 0 ? r : TAKE_FD(ours);
}

int vsock_unix_greeting(const char *buf, size_t n)
{
	static const char word[] = "OK ";
	size_t i = sizeof(word) - 1, digits = 0;

	/* vmm writes it at once, and into a stream in which there is room. */
	if (n < i || memcmp(buf, word, i) != 0)
		return -ECONNREFUSED;
	for (; i < n && buf[i] >= '0' && buf[i] <= '9'; i++)
		digits++;
	if (digits < 1 || digits > 10 || i == n || buf[i] != '\n')
		return -ECONNREFUSED;
	return (int)i + 1;
}

static int unix_connected(int fd)
{
	char buf[16];
	/* What follows it is the client's. */
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_PEEK);
	int len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* The guest, or vmm for it, has closed it. */
	if (n <= 0)
		return -ECONNREFUSED;
	len = vsock_unix_greeting(buf, (size_t)n);
	if (len < 0 || recv(fd, buf, (size_t)len, MSG_DONTWAIT) != len)
		return -ECONNREFUSED;
	return 1;
}

/* --- from the guest -------------------------------------------------------------- */

/* Answer a request; the agent's port is all that there is. */
static int answer(struct backend *u, uint64_t id, uint32_t port)
{
	AUTO_CLOSE int ours = -1;
	AUTO_CLOSE int vmms = -1;
	int r;

	if (port != u->b.cid || !u->b.takes(u->b.arg) || make_stream(&ours, &vmms) < 0)
		return connector_answer(u->fd, id, -ECONNREFUSED);
	r = connector_answer(u->fd, id, vmms);
	/* Too many descriptors of this user's are under way. */
	if (r == -ETOOMANYREFS)
		return connector_answer(u->fd, id, -ECONNREFUSED);
	if (r == 0)
		u->b.agent(u->b.arg, TAKE_FD(ours));
	return r;
}

/* A message fits where poll() sees room. */
static bool takes_answer(const struct backend *u)
{
	struct pollfd p = { .fd = u->fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0 && p.revents & POLLOUT;
}

static int on_vmm(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct backend *u = userdata;
	uint64_t id;
	uint32_t port;
	int r = 1;

	(void)events;
	for (int i = 0; i < MAX_REQUESTS && r > 0; i++) {
		/* It must read answers to ask for more. */
		if (!takes_answer(u)) {
			(void)sd_event_source_set_io_events(source, EPOLLOUT);
			return 0;
		}
		r = connector_next(fd, &id, &port);
		if (r > 0 && answer(u, id, port) < 0)
			r = -EPROTO;
	}
	if (r > 0 || r == -EAGAIN) {
		(void)sd_event_source_set_io_events(source, EPOLLIN);
		return 0;
	}
	if (r < 0)
		log_debug("vsock", "CID %" PRIu32 ": %s", u->b.cid,
			  strerrordesc_np(-r));
	u->io = sd_event_source_disable_unref(u->io);
	close(TAKE_FD(u->fd));
	return 0;
}

static const struct vsock_backend_ops unix_ops = {
	.kind = "unix",
	.launch = unix_launch,
	.connect = unix_connect_guest,
	.connect_events = EPOLLIN,
	.connected = unix_connected,
	.free = unix_free,
};

int vsock_unix_new(sd_event *event, uint32_t cid, struct vsock_backend **ret_backend,
		   struct err *err)
{
	struct backend *u = calloc(1, sizeof(*u));
	int pair[2], r = 0;

	if (!u)
		return err_sys(err, -ENOMEM, "vsock");
	u->b.ops = &unix_ops;
	u->b.cid = cid;
	u->fd = u->vmm_fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		r = -errno;
	} else {
		u->fd = pair[0];
		u->vmm_fd = pair[1];
		if (fcntl(u->fd, F_SETFL, O_NONBLOCK) < 0)
			r = -errno;
	}
	if (r == 0)
		r = sd_event_add_io(event, &u->io, u->fd, EPOLLIN, on_vmm, u);
	if (r < 0) {
		unix_free(&u->b);
		return err_sys(err, r, "vsock");
	}
	*ret_backend = &u->b;
	return 0;
}
