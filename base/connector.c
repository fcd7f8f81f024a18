/* Both ends of a connector; see connector.h. */
#include "base/connector.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

struct request {
	uint64_t id;
	uint32_t port;
	uint32_t zero;
};

struct answer {
	uint64_t id;
	int64_t error; /* 0: a socket comes with it */
};

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int))];
};

static ssize_t try_again(ssize_t (*call)(int, struct msghdr *, int), int fd,
			 struct msghdr *msg, int flags)
{
	ssize_t n;

	do
		n = call(fd, msg, flags);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t send_message(int fd, struct msghdr *msg, int flags)
{
	return sendmsg(fd, msg, flags | MSG_NOSIGNAL);
}

static ssize_t receive_message(int fd, struct msghdr *msg, int flags)
{
	return recvmsg(fd, msg, flags | MSG_CMSG_CLOEXEC);
}

int connector_ask(int fd, uint64_t id, uint32_t port)
{
	const struct request r = { .id = id, .port = port };
	ssize_t n;

	do
		n = send(fd, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The descriptor that came with a message, or -1. */
static int passed_fd(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int connector_hear(int fd, uint64_t *ret_id, int *ret_sock)
{
	struct answer a;
	struct iovec iov = { &a, sizeof(a) };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		/* Of one descriptor: there is room behind it, for alignment's sake. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	ssize_t n = try_again(receive_message, fd, &msg, MSG_DONTWAIT);
	int sock;

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return (int)n;
	if (n != sizeof(a))
		return -EPIPE;
	sock = passed_fd(&msg);
	if (sock < 0)
		/* Without descriptors left, the kernel drops what was passed. */
		sock = a.error < 0 ? (int)a.error : -EMFILE;
	*ret_id = a.id;
	*ret_sock = sock;
	return 1;
}

int connector_next(int fd, uint64_t *ret_id, uint32_t *ret_port)
{
	struct request r;
	struct iovec iov = { &r, sizeof(r) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = try_again(receive_message, fd, &msg, 0);

	if (n <= 0)
		return (int)n;
	if (n != sizeof(r) || msg.msg_flags & MSG_TRUNC)
		return -EPROTO;
	*ret_id = r.id;
	*ret_port = r.port;
	return 1;
}

int connector_dial(const char *prefix, uint32_t port)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	AUTO_CLOSE int fd = -1;
	int n;

	n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", prefix, port);
	if (n < 0 || (size_t)n >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A listener whose backlog is full gives EAGAIN, at once. */
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int send_answer(int fd, uint64_t id, int sock, int flags)
{
	struct answer a = { .id = id, .error = sock < 0 ? sock : 0 };
	struct iovec iov = { &a, sizeof(a) };
	union control control = { .buf = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (sock >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(sock));
		memcpy(CMSG_DATA(c), &sock, sizeof(sock));
	}
	n = try_again(send_message, fd, &msg, flags);
	return n < 0 ? (int)n : 0;
}

int connector_answer(int fd, uint64_t id, int sock)
{
	return send_answer(fd, id, sock, 0);
}

int connector_offer(int fd, uint32_t port, int sock)
{
	return send_answer(fd, port, sock, MSG_DONTWAIT);
}
