/*
 * The vsock device of the host's kernel, vhost-vsock: sockets of the guest are AF_VSOCK
 * sockets of the host, and this process only starts and stops it. The kernel's device
 * knows two queues; nothing ever comes by the third, for events, since a guest keeps
 * its address as long as it lives.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/vhost.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "virtio/vhost.h"

#define VSOCK_DEVICE "/dev/vhost-vsock"
#define VSOCK_F_SEQPACKET (1ull << 1)

struct vsock {
	struct virtio_dev v; /* first */
	struct vhost vhost;
	uint64_t cid;
};

static int set_running(const struct vsock *s, int on, struct err *err)
{
	return VHOST_IOCTL(&s->vhost, VHOST_VSOCK_SET_RUNNING, &on, err);
}

static void vsock_start(struct virtio_dev *v)
{
	const struct vsock *s = (struct vsock *)v;
	struct err err;
	int r = vhost_start(&s->vhost, &err);

	if (r == 0)
		r = set_running(s, 1, &err);
	if (r < 0)
		virtio_broken(v, err.msg);
}

static void vsock_stop(struct virtio_dev *v)
{
	const struct vsock *s = (struct vsock *)v;

	/* When it returns, no work of the kernel's is under way any more. */
	(void)set_running(s, 0, NULL);
	vhost_stop(&s->vhost);
}

/* The kernel keeps its place in the rings. */
static void vsock_suspend(struct virtio_dev *v)
{
	(void)set_running((struct vsock *)v, 0, NULL);
}

static void vsock_resume(struct virtio_dev *v)
{
	struct err err;

	if (set_running((struct vsock *)v, 1, &err) < 0)
		virtio_broken(v, err.msg);
}

static void vsock_rewire(struct virtio_dev *v, unsigned n)
{
	vhost_rewire(&((struct vsock *)v)->vhost, n);
}

/* Buffers for events: they wait for ever. */
static void vsock_kick(struct virtio_dev *v, unsigned n)
{
	(void)v;
	(void)n;
}

static const struct virtio_ops vsock_ops = {
	.id = VSOCK_ID,
	.pci_class = 0x028000, /* network, other */
	.start = vsock_start,
	.kick = vsock_kick,
	.stop = vsock_stop,
	.suspend = vsock_suspend,
	.resume = vsock_resume,
	.rewire = vsock_rewire,
};

/* The address is taken here, so that a clash shows before the guest runs. */
static int vsock_prepare(struct device *dev, struct err *err)
{
	const struct vsock *s = (struct vsock *)dev;
	int r = vhost_prepare(&s->vhost, err);

	if (r == 0)
		r = VHOST_IOCTL(&s->vhost, VHOST_VSOCK_SET_GUEST_CID, &s->cid, err);
	if (r == -EADDRINUSE)
		return err_set(err, r, "%s: CID %" PRIu64 " is in use by another VM",
			       dev->host->name, s->cid);
	return r < 0 ? err_prefix(err, r, "%s", dev->host->name) : 0;
}

static void vsock_free(struct device *dev)
{
	struct vsock *s = (struct vsock *)dev;

	virtio_free(&s->v);
	vhost_close(&s->vhost);
	free(s);
}

static const struct dev_class vhost_vsock_class = {
	.name = "vsock",
	.prepare = vsock_prepare,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = vsock_free,
};

int vsock_vhost_create(const void *arg, const struct dev_host *host,
		       struct device **ret_dev, struct err *err)
{
	const struct vsock_cfg *cfg = arg;
	struct vsock *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(err, -ENOMEM, "%s", host->name);
	s->cid = cfg->cid;
	r = vhost_open(&s->vhost, host->name, cfg->device ?: VSOCK_DEVICE, err);
	/* ENODEV: there is a node, but not its module. */
	if ((r == -ENOENT || r == -ENODEV) && !cfg->device)
		r = err_set(err, r,
			    "%s: this host has no " VSOCK_DEVICE
			    " (modprobe vhost_vsock makes it); "
			    "backend=unix,path=SOCKET works without",
			    host->name);
	if (r < 0)
		goto fail;
	s->v.offered = s->vhost.features & VSOCK_F_SEQPACKET;
	s->v.n_queues = VSOCK_QUEUES;
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		s->v.queue_size[i] = VSOCK_QUEUE_SIZE;
	le64_put(s->v.config, cfg->cid);
	s->v.config_len = sizeof(cfg->cid);
	r = virtio_init(&s->v, &vhost_vsock_class, &vsock_ops, host, err);
	if (r == 0)
		r = vhost_attach(&s->vhost, &s->v, VSOCK_RX, err);
	if (r < 0)
		goto fail;
	*ret_dev = &s->v.dev;
	return 0;
fail:
	vsock_free(&s->v.dev);
	return r;
}
