/* The kernel's vhost-vsock for unit tests; see fake_vhost.h. */
#undef NDEBUG
#include "tests/unit/fake_vhost.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"

struct fake_vhost fake_vhost;

void fake_vhost_init(void)
{
	fake_vhost = (struct fake_vhost){ .offered = FAKE_VHOST_FEATURES };
	for (unsigned i = 0; i < 2; i++)
		fake_vhost.q[i].call = fake_vhost.q[i].kick = fake_vhost.q[i].err =
			fake_vhost.q[i].backend = -1;
}

static int vring_state(struct fake_vhost *f, unsigned long request,
		       struct vhost_vring_state *s)
{
	assert(s->index < 2);
	if (request == VHOST_GET_VRING_BASE) {
		s->num = f->q[s->index].base;
		return 0;
	}
	if (f->running || f->q[s->index].backend >= 0)
		return -EBUSY;
	if (request == VHOST_SET_VRING_BASE) {
		f->q[s->index].base = s->num;
		return s->num > 0xffff ? -EINVAL : 0;
	}
	f->q[s->index].num = s->num;
	if (f->meanwhile)
		f->meanwhile(f->arg);
	return s->num && !(s->num & (s->num - 1)) ? 0 : -EINVAL;
}

static int vring_file(struct fake_vhost *f, unsigned long request,
		      const struct vhost_vring_file *v)
{
	assert(v->index < 2);
	if (request == VHOST_SET_VRING_CALL)
		f->q[v->index].call = v->fd;
	else if (request == VHOST_SET_VRING_KICK)
		f->q[v->index].kick = v->fd;
	else
		f->q[v->index].err = v->fd;
	return 0;
}

static int set_running(struct fake_vhost *f, int on)
{
	if (on)
		f->n_starts++;
	else
		f->n_stops++;
	f->running = on;
	return 0;
}

static int set_memory(struct fake_vhost *f, const struct vhost_memory *m)
{
	assert(m->nregions <= ARRAY_SIZE(f->regions) && !m->padding);
	f->n_regions = m->nregions;
	for (unsigned i = 0; i < m->nregions; i++)
		f->regions[i] = m->regions[i];
	return 0;
}

static int handle(struct fake_vhost *f, unsigned long request, void *arg)
{
	if (request == VHOST_GET_FEATURES) {
		*(uint64_t *)arg = f->offered;
		return 0;
	}
	if (request == VHOST_SET_OWNER) {
		bool again = f->owned;

		f->owned = true;
		return again ? -EBUSY : 0;
	}
	if (!f->owned)
		return -EPERM;
	switch (request) {
	case VHOST_SET_MEM_TABLE:
		return set_memory(f, arg);
	case VHOST_SET_FEATURES:
		f->features = *(uint64_t *)arg;
		return f->features & ~f->offered ? -EOPNOTSUPP : 0;
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
		return vring_state(f, request, arg);
	case VHOST_SET_VRING_ADDR:
		f->q[((struct vhost_vring_addr *)arg)->index].addr =
			*(struct vhost_vring_addr *)arg;
		return 0;
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_ERR:
		return vring_file(f, request, arg);
	case VHOST_VSOCK_SET_GUEST_CID:
		f->cid = *(uint64_t *)arg;
		return 0;
	case VHOST_VSOCK_SET_RUNNING:
		return set_running(f, *(int *)arg);
	case VHOST_NET_SET_BACKEND:
		f->q[((struct vhost_vring_file *)arg)->index].backend =
			((struct vhost_vring_file *)arg)->fd;
		return 0;
	default:
		return -ENOTTY;
	}
}

/* Instead of libc's. */
int ioctl(int fd, unsigned long request, ...)
{
	struct fake_vhost *f = &fake_vhost;
	void *arg;
	va_list ap;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) != VHOST_VIRTIO)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	f->n_calls++;
	if (request == f->fail && f->fail_after-- == 0) {
		f->fail = 0;
		errno = f->fail_errno;
		return -1;
	}
	r = handle(f, request, arg);
	if (r < 0)
		errno = -r;
	return r < 0 ? -1 : 0;
}
