/* A VM's sockets to its guest, and those who wait for one; see vsock.h. */
#include "service/virtmgr/vsock.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/vm_sockets.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "service/common/vm_config.h"
#include "service/virtmgr/payload.h"
#include "service/virtmgr/vsock_backend.h"

/* Under way at a time. */
#define MAX_CALLS 64u
/* Also for a guest whose driver is not there yet. */
#define CALL_USEC (10 * 1000000ull)
/* Those below are for servers that only root may be. */
#define FIRST_PORT 1024u

struct call {
	struct vsock *vsock;
	LIST_ENTRY(call) in_list;
	int fd;
	uint32_t port;
	sd_event_source *io, *timer;
	vsock_connected_fn *done;
	void *arg;
};

LIST_HEAD(calls, call);

struct vsock {
	sd_event *event;
	struct vsock_backend *backend; /* NULL: none */
	struct payload *payload;
	struct calls calls;
	unsigned n_calls;
	bool launched;
};

/* --- its life -------------------------------------------------------------------- */

static bool takes_agent(void *arg)
{
	return payload_takes(((struct vsock *)arg)->payload);
}

static void on_agent(void *arg, int fd)
{
	payload_add(((struct vsock *)arg)->payload, fd);
}

/* What this process may not have, or the host does not. */
static bool is_lacking(int r)
{
	return r == -ENOENT || r == -ENODEV || r == -ENXIO || r == -EACCES ||
	       r == -EPERM || r == -EAFNOSUPPORT;
}

static int make_backend(struct vsock *v, int mode, uint32_t cid, struct err *err)
{
	int r = -ENOENT;

	if (mode != VSOCK_UNIX)
		r = vsock_vhost_new(v->event, NULL, cid, &v->backend, err);
	if (r < 0 && mode == VSOCK_AUTO && is_lacking(r))
		log_debug("vsock", "%s; by descriptors, then", err->msg);
	if (mode == VSOCK_UNIX || (mode == VSOCK_AUTO && is_lacking(r)))
		r = vsock_unix_new(v->event, cid, &v->backend, err);
	if (r == -ENOENT || r == -ENODEV || r == -ENXIO || r == -EAFNOSUPPORT)
		r = -ENOTSUP; /* the sentence says what the host lacks */
	return r;
}

int vsock_new(sd_event *event, int mode, uint32_t cid, const struct vsock_ops *ops,
	      void *userdata, struct vsock **ret_vsock, struct err *err)
{
	struct vsock *v = calloc(1, sizeof(*v));
	int r = 0;

	if (!v)
		return err_sys(err, -ENOMEM, "vsock");
	LIST_INIT(&v->calls);
	v->event = sd_event_ref(event);
	if (mode != VSOCK_NONE)
		r = payload_new(event, ops, userdata, &v->payload, err);
	if (r == 0 && mode != VSOCK_NONE)
		r = make_backend(v, mode, cid, err);
	if (r < 0) {
		vsock_free(v);
		return r;
	}
	if (v->backend) {
		v->backend->takes = takes_agent;
		v->backend->agent = on_agent;
		v->backend->arg = v;
	}
	*ret_vsock = v;
	return 0;
}

const char *vsock_kind(const struct vsock *v)
{
	return v->backend ? v->backend->ops->kind : "none";
}

int vsock_launch(struct vsock *v, struct launch *l, struct err *err)
{
	int r = v->backend ? v->backend->ops->launch(v->backend, l, err) : 0;

	v->launched = r == 0;
	return r;
}

/* --- connecting ------------------------------------------------------------------ */

/* Tell who waits, by a stream that is his or -errno; he may free the vsock. */
static void finish(struct call *c, int fd, const struct err *err)
{
	vsock_connected_fn *done = c->done;
	void *arg = c->arg;

	LIST_REMOVE(c, in_list);
	c->vsock->n_calls--;
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->timer);
	cleanup_close(&c->fd);
	free(c);
	done(arg, fd, err);
}

static void fail(struct call *c, int r)
{
	struct err err;

	switch (r) {
	case -ECONNREFUSED:
		err_set(&err, r, "vsock: port %" PRIu32 " of the guest: nobody listens",
			c->port);
		break;
	case -ETIMEDOUT:
		err_set(&err, r,
			"vsock: port %" PRIu32
			" of the guest: it does not answer, it may not run yet",
			c->port);
		break;
	default:
		err_sys(&err, r, "vsock: port %" PRIu32 " of the guest", c->port);
	}
	finish(c, r, &err);
}

static int on_event(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct call *c = userdata;
	int r = c->vsock->backend->ops->connected(fd);

	(void)source;
	(void)events;
	if (r < 0) {
		fail(c, r);
	} else if (r > 0) {
		/* epoll must not see it any more when it is somebody else's. */
		c->io = sd_event_source_disable_unref(c->io);
		finish(c, TAKE_FD(c->fd), NULL);
	}
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	fail(userdata, -ETIMEDOUT);
	return 0;
}

static int watch(struct call *c)
{
	struct vsock *v = c->vsock;
	int r = sd_event_add_io(v->event, &c->io, c->fd,
				v->backend->ops->connect_events, on_event, c);

	return r < 0 ? r
		     : sd_event_add_time_relative(v->event, &c->timer, CLOCK_MONOTONIC,
						  CALL_USEC, 0, on_timer, c);
}

static int start_call(struct vsock *v, uint32_t port, vsock_connected_fn *done,
		      void *arg)
{
	struct call *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->vsock = v;
	c->port = port;
	c->done = done;
	c->arg = arg;
	c->fd = v->backend->ops->connect(v->backend, port);
	r = c->fd < 0 ? c->fd : watch(c);
	if (r < 0) {
		sd_event_source_disable_unref(c->io);
		sd_event_source_disable_unref(c->timer);
		cleanup_close(&c->fd);
		free(c);
		return r;
	}
	LIST_INSERT_HEAD(&v->calls, c, in_list);
	v->n_calls++;
	return 0;
}

int vsock_connect(struct vsock *v, uint32_t port, vsock_connected_fn *done, void *arg,
		  struct err *err)
{
	int r;

	if (!v->backend)
		return err_set(err, -ENOTSUP, "vsock: the VM is configured without");
	if (port < FIRST_PORT || port == VMADDR_PORT_ANY)
		return err_set(err, -EINVAL,
			       "vsock: port %" PRIu32 ": must be 1024 to 4294967294",
			       port);
	if (!v->launched)
		return err_set(err, -EBADFD, "vsock: the VM does not run");
	if (v->n_calls == MAX_CALLS)
		return err_set(err, -EDQUOT,
			       "vsock: %u connections to the guest are under way",
			       MAX_CALLS);
	r = start_call(v, port, done, arg);
	return r < 0 ? err_sys(err, r, "vsock: port %" PRIu32 " of the guest", port)
		     : 0;
}

void vsock_free(struct vsock *v)
{
	struct call *c;

	if (!v)
		return;
	/* Nobody may begin another one meanwhile. */
	v->launched = false;
	while ((c = LIST_FIRST(&v->calls)))
		fail(c, -ECONNRESET);
	payload_free(v->payload);
	if (v->backend)
		v->backend->ops->free(v->backend);
	sd_event_unref(v->event);
	free(v);
}
