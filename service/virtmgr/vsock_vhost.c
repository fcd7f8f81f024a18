/*
 * A VM's sockets by vhost-vsock. Its descriptor is made here and runs in vmm: who has
 * set a CID on one has it, from that moment on, and the kernel gives the CID back when
 * the last copy is closed. See vsock_backend.h.
 */
#include "service/virtmgr/vsock_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/cleanup.h"
#include "base/unix.h"

#define VSOCK_DEVICE "/dev/vhost-vsock"
/* Longer than its caller waits, instead of the kernel's 2. */
#define CONNECT_SECONDS 15
#define BACKLOG 8

struct vhost {
	struct vsock_backend b; /* first */
	int device_fd; /* -1: vmm has it */
	int listen_fd, spare_fd;
	sd_event_source *io;
};

static void vhost_free(struct vsock_backend *b)
{
	struct vhost *v = (struct vhost *)b;

	sd_event_source_disable_unref(v->io);
	cleanup_close(&v->device_fd);
	cleanup_close(&v->listen_fd);
	cleanup_close(&v->spare_fd);
	free(v);
}

static int vhost_launch(struct vsock_backend *b, struct launch *l, struct err *err)
{
	struct vhost *v = (struct vhost *)b;
	int fd = launch_fd(l, TAKE_FD(v->device_fd)), r = fd;

	if (r >= 0)
		r = launch_arg(l, "--vsock");
	if (r >= 0)
		r = launch_arg(l, "cid=%" PRIu32 ",device=/proc/self/fd/%d", b->cid,
			       fd);
	return r < 0 ? err_sys(err, r, "vsock") : 0;
}

/* --- to the guest ---------------------------------------------------------------- */

static int vhost_connect(struct vsock_backend *b, uint32_t port)
{
	const struct sockaddr_vm addr = { .svm_family = AF_VSOCK,
					  .svm_cid = b->cid,
					  .svm_port = port };
	const struct timeval limit = { .tv_sec = CONNECT_SECONDS };
	AUTO_CLOSE int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   0);

	if (fd < 0)
		return -errno;
	/* Without it there is the kernel's own limit. */
	(void)setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit,
			 sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 &&
	    errno != EINPROGRESS)
		return -errno;
	return TAKE_FD(fd);
}

static int vhost_connected(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	/* What a guest says who does not listen. */
	if (error == ECONNRESET)
		return -ECONNREFUSED;
	/* A client expects a stream like any other. */
	if (error == 0 && fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return error ? -error : 1;
}

/* --- from the guest -------------------------------------------------------------- */

/* Others can reach the port, too: other guests, programs of this host. */
static bool is_of_guest(const struct vhost *v, int fd)
{
	struct sockaddr_vm addr = { 0 };
	socklen_t len = sizeof(addr);

	return getpeername(fd, (struct sockaddr *)&addr, &len) == 0 &&
	       addr.svm_family == AF_VSOCK && addr.svm_cid == v->b.cid;
}

static int on_agent(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct vhost *v = userdata;
	int conn = unix_accept(fd, &v->spare_fd);

	(void)source;
	(void)events;
	if (conn >= 0 && is_of_guest(v, conn) && v->b.takes(v->b.arg))
		v->b.agent(v->b.arg, conn);
	else
		cleanup_close(&conn);
	return 0;
}

static int vhost_listen(struct vhost *v, sd_event *event)
{
	const struct sockaddr_vm addr = { .svm_family = AF_VSOCK,
					  .svm_cid = VMADDR_CID_HOST,
					  .svm_port = v->b.cid };

	v->spare_fd = eventfd(0, EFD_CLOEXEC);
	v->listen_fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (v->spare_fd < 0 || v->listen_fd < 0 ||
	    bind(v->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(v->listen_fd, BACKLOG) < 0)
		return -errno;
	return sd_event_add_io(event, &v->io, v->listen_fd, EPOLLIN, on_agent, v);
}

static const struct vsock_backend_ops vhost_ops = {
	.kind = "vhost",
	.launch = vhost_launch,
	.connect = vhost_connect,
	.connect_events = EPOLLOUT,
	.connected = vhost_connected,
	.free = vhost_free,
};

int vsock_vhost_new(sd_event *event, const char *device, uint32_t cid,
		    struct vsock_backend **ret_backend, struct err *err)
{
	struct vhost *v = calloc(1, sizeof(*v));
	uint64_t guest_cid = cid;
	int r = 0;

	device = device ?: VSOCK_DEVICE;
	if (!v)
		return err_sys(err, -ENOMEM, "vsock");
	v->b.ops = &vhost_ops;
	v->b.cid = cid;
	v->listen_fd = v->spare_fd = -1;
	v->device_fd = open(device, O_RDWR | O_CLOEXEC);
	if (v->device_fd < 0)
		r = err_sys(err, -errno, "vsock: %s", device);
	else if (ioctl(v->device_fd, VHOST_VSOCK_SET_GUEST_CID, &guest_cid) < 0)
		r = err_sys(err, -errno, "vsock: %s: CID %" PRIu32, device, cid);
	if (r == 0) {
		r = vhost_listen(v, event);
		if (r < 0)
			err_sys(err, r, "vsock: port %" PRIu32 " for the agent%s", cid,
				r == -EACCES ? ", without CAP_NET_BIND_SERVICE" : "");
	}
	if (r < 0) {
		vhost_free(&v->b);
		return r;
	}
	*ret_backend = &v->b;
	return 0;
}
