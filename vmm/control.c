/* The control socket's server; see control.h. */
#include "vmm/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix.h"

struct control_conn {
	struct control *control;
	int fd;
	struct loop_watch *watch;
	uint64_t used; /* when it last said something, in control->clock */
	bool later; /* an answer is due */
};

struct control {
	struct loop *loop;
	int fd;
	int spare_fd; /* see unix_accept() */
	struct loop_watch *watch;
	control_fn *fn;
	void *ctx;
	uint64_t clock; /* packets and connections so far */
	struct control_conn *conns[CONTROL_MAX_CONNECTIONS]; /* NULL: free */
	char packet[CONTROL_MAX_PACKET];
};

static void hang_up(struct control_conn *conn)
{
	struct control *c = conn->control;

	for (size_t i = 0; i < ARRAY_SIZE(c->conns); i++)
		if (c->conns[i] == conn)
			c->conns[i] = NULL;
	loop_del(conn->watch);
	close(conn->fd);
	free(conn);
}

/* --- answers --------------------------------------------------------------- */

void control_later(struct control_conn *conn)
{
	conn->later = true;
	loop_set(conn->watch, 0);
}

void control_reply(struct control_conn *conn, json_t *reply)
{
	AUTO_FREE char *text = NULL;

	if (!reply)
		reply = json_string("Ok");
	text = json_dumps(reply, JSON_ENCODE_ANY | JSON_COMPACT);
	json_decref(reply);
	if (!text ||
	    send(conn->fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		hang_up(conn);
		return;
	}
	conn->later = false;
	loop_set(conn->watch, EPOLLIN);
}

void control_fail(struct control_conn *conn, const struct err *why)
{
	json_t *error = control_error(why->msg);

	if (error)
		control_reply(conn, error);
	else
		hang_up(conn);
}

/* --- requests -------------------------------------------------------------- */

/* The first descriptor of a packet; the others are closed. -1: there is none. */
static int take_fds(struct msghdr *msg)
{
	int first = -1, fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(fd) <= c->cmsg_len;
		     at += sizeof(fd)) {
			memcpy(&fd, (const char *)c + at, sizeof(fd));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

static void on_packet(void *arg, uint32_t events)
{
	struct control_conn *conn = arg;
	struct control *c = conn->control;
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(4 * sizeof(int))];
	} fds;
	struct iovec iov = { c->packet, sizeof(c->packet) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = fds.buf,
		.msg_controllen = sizeof(fds.buf),
	};
	struct control_request request = { .fd = -1 };
	AUTO_CLOSE int fd = -1;
	struct err why;
	ssize_t n;

	(void)events;
	n = recvmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n >= 0)
		fd = take_fds(&msg);
	if (n <= 0) {
		hang_up(conn);
		return;
	}
	conn->used = ++c->clock;
	if (msg.msg_flags & MSG_TRUNC) {
		err_set(&why, -EMSGSIZE, "a request of more than %u bytes",
			CONTROL_MAX_PACKET);
		control_fail(conn, &why);
		return;
	}
	if (control_parse(c->packet, (size_t)n, &request, &why) < 0) {
		log_debug("control", "%s", why.msg);
		control_fail(conn, &why);
		return;
	}
	request.fd = TAKE_FD(fd);
	c->fn(c->ctx, conn, &request);
	cleanup_close(&request.fd);
}

/* --- connections ----------------------------------------------------------- */

static int add(struct control *c, struct control_conn **slot, int fd, struct err *err)
{
	struct control_conn *conn = calloc(1, sizeof(*conn));
	int r;

	if (!conn)
		return err_sys(err, -ENOMEM, "control socket");
	*conn = (struct control_conn){ .control = c, .fd = fd, .used = ++c->clock };
	r = loop_add(c->loop, fd, EPOLLIN, on_packet, conn, &conn->watch, err);
	if (r < 0)
		free(conn);
	else
		*slot = conn;
	return r;
}

/* A free slot, or that of the connection which has been silent for longest. */
static struct control_conn **find_slot(struct control *c)
{
	struct control_conn **oldest = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(c->conns); i++) {
		struct control_conn **slot = &c->conns[i];

		if (!*slot)
			return slot;
		if (!(*slot)->later && (!oldest || (*slot)->used < (*oldest)->used))
			oldest = slot;
	}
	if (oldest)
		hang_up(*oldest);
	return oldest;
}

static void on_connection(void *arg, uint32_t events)
{
	struct control *c = arg;
	struct control_conn **slot;
	int fd = unix_accept(c->fd, &c->spare_fd);
	struct err why;

	(void)events;
	if (fd < 0)
		return;
	slot = find_slot(c);
	if (!slot) {
		close(fd);
	} else if (add(c, slot, fd, &why) < 0) {
		log_debug("control", "%s", why.msg);
		close(fd);
	}
}

int control_new(struct loop *loop, int fd, bool connected, control_fn *fn, void *ctx,
		struct control **ret_control, struct err *err)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_sys(err, -ENOMEM, "control socket");
	c->loop = loop;
	c->fd = -1;
	c->fn = fn;
	c->ctx = ctx;
	c->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (c->spare_fd < 0)
		r = err_sys(err, -errno, "control socket");
	else if (connected)
		r = add(c, &c->conns[0], fd, err);
	else
		r = loop_add(loop, fd, EPOLLIN, on_connection, c, &c->watch, err);
	if (r < 0) {
		control_free(c);
		return r;
	}
	if (!connected)
		c->fd = fd;
	*ret_control = c;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(control->conns); i++)
		if (control->conns[i])
			hang_up(control->conns[i]);
	loop_del(control->watch);
	cleanup_close(&control->fd);
	cleanup_close(&control->spare_fd);
	free(control);
}
