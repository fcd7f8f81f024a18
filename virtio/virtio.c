/*
 * The life of a virtio device: made, started by DRIVER_OK, kicked, interrupting,
 * broken, stopped; see virtio.h. The registers are in transport.c.
 */
#include "virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "virtio/transport.h"

/* --- interrupts ------------------------------------------------------------ */

static void interrupt(struct virtio_dev *v, const uint16_t *vector, uint8_t isr)
{
	struct virtio_transport *t = v->transport;
	bool msix = pci_msix_enabled(&v->pci);

	/* Section 4.1.4.5.1 wants the configuration bit in both cases. */
	if (!msix || isr == VIRTIO_ISR_CONFIG) {
		AUTO_LOCK(&t->isr_lock);
		t->isr |= isr;
		if (!msix)
			pci_intx_set(&v->pci, true);
	}
	/* NO_VECTOR is more than there are, and so signals nothing. */
	if (msix)
		pci_msix_signal(&v->pci, __atomic_load_n(vector, __ATOMIC_RELAXED));
}

void virtio_interrupt(struct virtio_dev *v, unsigned n)
{
	interrupt(v, &v->transport->q[n].vector, VIRTIO_ISR_QUEUE);
}

void virtio_signal(struct virtio_dev *v, unsigned n)
{
	if (vq_should_signal(&v->queues[n]))
		virtio_interrupt(v, n);
}

int virtio_vector_fd(struct virtio_dev *v, unsigned n)
{
	return pci_msix_enabled(&v->pci)
		       ? pci_msix_fd(&v->pci, v->transport->q[n].vector)
		       : -1;
}

void virtio_rewire(struct virtio_dev *v, unsigned n)
{
	AUTO_LOCK(&v->io_lock);
	if (v->running && v->ops->rewire)
		v->ops->rewire(v, n);
}

void virtio_broken(struct virtio_dev *v, const char *why)
{
	struct virtio_transport *t = v->transport;

	log_guest(&t->broke, v->dev.host->name, "%s; the device needs a reset", why);
	v->running = v->suspended = v->resuming = false;
	for (unsigned i = 0; i < v->n_queues; i++)
		v->queues[i].broken = true;
	__atomic_store_n(&t->needs_reset, true, __ATOMIC_RELEASE);
	interrupt(v, &t->config_vector, VIRTIO_ISR_CONFIG);
}

void virtio_config_changed(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;

	t->config_generation++;
	/* Before that no notification may be sent: section 3.1.1. */
	if (t->status & VIRTIO_DRIVER_OK)
		interrupt(v, &t->config_vector, VIRTIO_ISR_CONFIG);
}

/* --- start, kick, stop ----------------------------------------------------- */

/* Somebody else looks at these queues. */
static void kick_others(const struct virtio_dev *v)
{
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->kick_fds[i] != v->kick_fd)
			(void)eventfd_write(v->kick_fds[i], 1);
}

static void resume(struct virtio_dev *v)
{
	v->resuming = false;
	if (v->ops->resume)
		v->ops->resume(v);
	kick_others(v);
}

/* A kick: the thread of host->loop. */
static void on_kick(void *arg, uint32_t events)
{
	struct virtio_dev *v = arg;
	AUTO_LOCK(&v->io_lock);

	(void)events;
	if (v->resuming)
		resume(v);
	/* A kick may break the device, which ends the loop. */
	for (unsigned i = 0; i < v->n_queues && v->running; i++) {
		if (v->kick_fds[i] == v->kick_fd && vq_pending(&v->queues[i]))
			v->ops->kick(v, i);
	}
}

/* Start all enabled queues or none; io_lock held. NULL, or what is wrong. */
static const char *start_queues(struct virtio_dev *v)
{
	const struct virtio_transport *t = v->transport;
	const char *why = NULL;

	for (unsigned i = 0; i < v->n_queues && !why; i++) {
		if (!t->q[i].enabled)
			continue;
		vq_start(&v->queues[i], v->dev.host->mem, &t->q[i].cfg,
			 v->acked & VIRTIO_F_EVENT_IDX,
			 v->acked & VIRTIO_F_INDIRECT_DESC, &why);
	}
	for (unsigned i = 0; i < v->n_queues && why; i++)
		vq_stop(&v->queues[i]);
	return why;
}

void virtio_add_notifies(struct virtio_dev *v)
{
	const struct dev_host *host = v->dev.host;

	for (unsigned i = 0; i < v->n_queues; i++) {
		struct virtio_queue_regs *q = &v->transport->q[i];
		uint64_t off = VIRTIO_NOTIFY + i * VIRTIO_NOTIFY_MULTIPLIER;

		/* Where the host cannot, write() signals the same eventfd. */
		if (q->enabled && !q->notify)
			q->notify = host->ops->notify(host->ctx, &v->dev, VIRTIO_BAR,
						      off, v->kick_fds[i], true) == 0;
	}
}

void virtio_start(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;
	AUTO_LOCK(&v->io_lock);
	const char *why = start_queues(v);

	if (why) {
		virtio_broken(v, why);
		return;
	}
	t->started = true;
	t->msix = pci_msix_enabled(&v->pci);
	v->running = true;
	if (v->ops->start)
		v->ops->start(v);
	if (v->pci.bar_addr[VIRTIO_BAR])
		virtio_add_notifies(v);
	/* Buffers that were there before, and whose kicks came too early. */
	(void)eventfd_write(v->kick_fd, 1);
	kick_others(v);
}

static void stop(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;
	AUTO_LOCK(&v->io_lock);

	v->running = v->suspended = v->resuming = false;
	if (t->started && v->ops->stop)
		v->ops->stop(v);
	t->started = false;
	for (unsigned i = 0; i < v->n_queues; i++)
		vq_stop(&v->queues[i]);
}

/* As if there were no queues: whatever uses them looks at running first. */
void virtio_pause(struct device *dev, enum dev_pause how)
{
	struct virtio_dev *v = (struct virtio_dev *)dev;
	AUTO_LOCK(&v->io_lock);

	if (how == DEV_SUSPENDED && v->running) {
		v->running = v->resuming = false;
		v->suspended = true;
		if (v->ops->suspend)
			v->ops->suspend(v);
	} else if (how == DEV_RUNS && v->suspended) {
		v->running = v->resuming = true;
		v->suspended = false;
		/* What was kicked before, and not looked at. */
		(void)eventfd_write(v->kick_fd, 1);
	}
}

static void reset_registers(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;

	t->device_feature_select = t->driver_feature_select = 0;
	t->driver_features = 0;
	v->acked = 0;
	t->queue_select = 0;
	t->status = 0;
	__atomic_store_n(&t->needs_reset, false, __ATOMIC_RELAXED);
	__atomic_store_n(&t->config_vector, VIRTIO_NO_VECTOR, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < v->n_queues; i++) {
		t->q[i].cfg = (struct vq_cfg){ .size = v->queue_size[i] };
		t->q[i].enabled = false;
		__atomic_store_n(&t->q[i].vector, VIRTIO_NO_VECTOR, __ATOMIC_RELAXED);
	}
}

void virtio_restart(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;

	stop(v);
	/*
	 * From here no thread signals any more. The notifies stay, for the kernel takes
	 * milliseconds to remove one: a kick finds no queue running.
	 */
	reset_registers(v);
	AUTO_LOCK(&t->isr_lock);
	t->isr = 0;
	pci_intx_set(&v->pci, false);
}

void virtio_reset(struct device *dev)
{
	struct virtio_dev *v = (struct virtio_dev *)dev;

	virtio_restart(v);
	pci_func_reset(&v->pci);
}

/* --- init and free --------------------------------------------------------- */

int virtio_init(struct virtio_dev *v, const struct dev_class *class,
		const struct virtio_ops *ops, const struct dev_host *host,
		struct err *err)
{
	const struct pci_ids ids = {
		.vendor = 0x1af4, /* section 4.1.2 */
		.device = (uint16_t)(0x1040 + ops->id),
		.sub_vendor = 0x1af4,
		.sub_device = (uint16_t)(0x1040 + ops->id),
		.revision = 1,
		.class = ops->pci_class,
	};
	struct virtio_transport *t;
	int r;

	assert(v->n_queues <= VIRTIO_MAX_QUEUES && v->config_len <= sizeof(v->config));
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&v->dev, class, host);
	pthread_mutex_init(&v->io_lock, NULL);
	pthread_mutex_init(&t->isr_lock, NULL);
	v->transport = t;
	v->ops = ops;
	v->offered |= VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC;
	pci_func_init(&v->pci, &v->dev, &ids);
	v->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->kick_fd < 0)
		return err_sys(err, -errno, "%s: eventfd", host->name);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		v->kick_fds[i] = v->kick_fd;
	reset_registers(v);
	r = virtio_add_registers(v);
	if (r < 0)
		return err_sys(err, r, "%s", host->name);
	/*
	 * Edge-triggered: each kick is an event of its own, also while the last one is
	 * looked after, so none is lost though nobody reads the eventfd: that would be
	 * one system call more for each.
	 */
	r = loop_add(host->loop, v->kick_fd, EPOLLIN | EPOLLET, on_kick, v, &t->watch,
		     err);
	if (r < 0)
		return err_prefix(err, r, "%s", host->name);
	return host->ops->pci_add(host->ctx, &v->pci, err);
}

void virtio_free(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;

	if (!t)
		return; /* virtio_init() got nowhere */
	stop(v);
	loop_del(t->watch);
	cleanup_close(&v->kick_fd);
	pci_func_free(&v->pci);
	pthread_mutex_destroy(&t->isr_lock);
	free(t);
	v->transport = NULL;
}
