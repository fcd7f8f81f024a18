/* Linux's vhost devices; see vhost.h, and Linux include/uapi/linux/vhost.h. */
#include "virtio/vhost.h"

#include <errno.h>
#include <linux/vhost.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"

/* virtio_init() offers these whatever the device is, so the kernel must have them. */
#define NEEDED (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)

int vhost_ioctl(const struct vhost *h, unsigned long request, const char *name,
		const void *arg, struct err *err)
{
	if (ioctl(h->fd, request, arg) < 0)
		return err_sys(err, -errno, "%s: %s", h->path, name);
	return 0;
}

/* --- before the guest runs ------------------------------------------------- */

int vhost_open(struct vhost *h, const char *what, const char *path, struct err *err)
{
	int r;

	*h = (struct vhost){
		.fd = -1,
		.path = path,
		.kick_fds = { -1, -1 },
		.intx_fd = -1,
		.err_fd = -1,
	};
	h->fd = file_open(what, path, O_RDWR | O_NONBLOCK, err);
	if (h->fd < 0)
		return h->fd;
	r = VHOST_IOCTL(h, VHOST_GET_FEATURES, &h->features, err);
	if (r < 0)
		return err_set(err, r, "%s %s: is not a vhost device", what, path);
	if (~h->features & NEEDED)
		return err_set(err, -ENOTSUP, "%s %s: lacks virtio features", what,
			       path);
	return 0;
}

/* Without MSI-X: the kernel can signal an eventfd, but not set the ISR byte. */
static void on_intx(void *arg, uint32_t events)
{
	const struct vhost *h = arg;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(h->intx_fd, &n);
	AUTO_LOCK(&h->v->io_lock);
	/* MSI-X may be on by now, so each queue's own. */
	for (unsigned i = 0; h->v->running && i < VHOST_QUEUES; i++)
		virtio_interrupt(h->v, h->first + i);
}

/* The kernel found a ring, or what is in it, to be against the rules. */
static void on_error(void *arg, uint32_t events)
{
	const struct vhost *h = arg;
	struct virtio_dev *v = h->v;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(h->err_fd, &n);
	AUTO_LOCK(&v->io_lock);
	if (!v->running)
		return;
	virtio_broken(v, "vhost found a queue broken");
	v->ops->stop(v);
}

static int new_eventfd(const struct vhost *h, int *fd, struct err *err)
{
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd < 0 ? err_sys(err, -errno, "%s: eventfd", h->path) : 0;
}

int vhost_attach(struct vhost *h, struct virtio_dev *v, unsigned first, struct err *err)
{
	struct loop *loop = v->dev.host->loop;
	int r = 0;

	h->v = v;
	h->first = first;
	for (unsigned i = 0; r == 0 && i < VHOST_QUEUES; i++) {
		r = new_eventfd(h, &h->kick_fds[i], err);
		v->kick_fds[first + i] = h->kick_fds[i];
	}
	if (r == 0)
		r = new_eventfd(h, &h->intx_fd, err);
	if (r == 0)
		r = new_eventfd(h, &h->err_fd, err);
	if (r == 0)
		r = loop_add(loop, h->intx_fd, EPOLLIN, on_intx, h, &h->intx_watch,
			     err);
	if (r == 0)
		r = loop_add(loop, h->err_fd, EPOLLIN, on_error, h, &h->err_watch, err);
	return r;
}

static int set_memory(const struct vhost *h, struct err *err)
{
	const struct gmem *mem = h->v->dev.host->mem;
	union {
		struct vhost_memory table;
		char room[sizeof(struct vhost_memory) +
			  GMEM_MAX_RANGES * sizeof(struct vhost_memory_region)];
	} m = { .table.nregions = (uint32_t)mem->n_ranges };

	for (size_t i = 0; i < mem->n_ranges; i++) {
		const struct gmem_range *g = &mem->ranges[i];

		m.table.regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = g->gpa.v,
			.memory_size = g->len,
			.userspace_addr = (uintptr_t)gmem_slice(mem, g->gpa, g->len),
		};
	}
	return VHOST_IOCTL(h, VHOST_SET_MEM_TABLE, &m, err);
}

int vhost_prepare(const struct vhost *h, struct err *err)
{
	int r;

	r = VHOST_IOCTL(h, VHOST_SET_OWNER, NULL, err);
	if (r == 0)
		r = set_memory(h, err);
	for (unsigned i = 0; r == 0 && i < VHOST_QUEUES; i++) {
		struct vhost_vring_file kick = { .index = i, .fd = h->kick_fds[i] };
		struct vhost_vring_file error = { .index = i, .fd = h->err_fd };

		r = VHOST_IOCTL(h, VHOST_SET_VRING_ERR, &error, err);
		/* For good: a kick of a queue without backend does nothing. */
		if (r == 0)
			r = VHOST_IOCTL(h, VHOST_SET_VRING_KICK, &kick, err);
	}
	return r;
}

/* --- while it runs --------------------------------------------------------- */

/*
 * A masked vector's eventfd counts until it is unmasked, so masking is none of the
 * kernel's business.
 */
static int set_call(const struct vhost *h, unsigned i, struct err *err)
{
	bool msix = pci_msix_enabled(&h->v->pci);
	struct vhost_vring_file call = {
		.index = i,
		.fd = msix ? virtio_vector_fd(h->v, h->first + i) : h->intx_fd,
	};

	return VHOST_IOCTL(h, VHOST_SET_VRING_CALL, &call, err);
}

static int start_queue(const struct vhost *h, unsigned i, struct err *err)
{
	const struct vq *q = &h->v->queues[h->first + i];
	struct vhost_vring_state num = { .index = i, .num = q->size };
	struct vhost_vring_state base = { .index = i };
	struct vhost_vring_addr addr = {
		.index = i,
		.desc_user_addr = (uintptr_t)q->desc,
		.avail_user_addr = (uintptr_t)q->avail,
		.used_user_addr = (uintptr_t)q->used,
	};
	int r;

	if (!q->size)
		return err_set(err, -EINVAL, "queue %u is not enabled", h->first + i);
	r = VHOST_IOCTL(h, VHOST_SET_VRING_NUM, &num, err);
	if (r == 0)
		r = VHOST_IOCTL(h, VHOST_SET_VRING_BASE, &base, err);
	if (r == 0)
		r = VHOST_IOCTL(h, VHOST_SET_VRING_ADDR, &addr, err);
	if (r == 0)
		r = set_call(h, i, err);
	return r;
}

int vhost_start(const struct vhost *h, struct err *err)
{
	uint64_t features = h->v->acked & h->features;
	int r = VHOST_IOCTL(h, VHOST_SET_FEATURES, &features, err);

	for (unsigned i = 0; r == 0 && i < VHOST_QUEUES; i++)
		r = start_queue(h, i, err);
	return r;
}

void vhost_stop(const struct vhost *h)
{
	for (unsigned i = 0; i < VHOST_QUEUES; i++) {
		struct vhost_vring_state base = { .index = i };

		/* How far the kernel came, for whoever looks at the queue after it. */
		if (VHOST_IOCTL(h, VHOST_GET_VRING_BASE, &base, NULL) == 0)
			h->v->queues[h->first + i].next_avail = (uint16_t)base.num;
	}
}

void vhost_rewire(const struct vhost *h, unsigned n)
{
	struct err err;

	if (n < h->first || n - h->first >= VHOST_QUEUES)
		return;
	if (set_call(h, n - h->first, &err) < 0)
		virtio_broken(h->v, err.msg);
}

void vhost_close(struct vhost *h)
{
	loop_del(h->intx_watch);
	loop_del(h->err_watch);
	for (unsigned i = 0; i < VHOST_QUEUES; i++)
		cleanup_close(&h->kick_fds[i]);
	cleanup_close(&h->intx_fd);
	cleanup_close(&h->err_fd);
	cleanup_close(&h->fd);
}
