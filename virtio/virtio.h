/*
 * A virtio device behind the PCI transport (virtio 1.2 sections 2 and 4.1,
 * modern only).
 *
 * A device file embeds struct virtio_dev, fills it with virtio_init(), and
 * points its dev_class at virtio_read, virtio_write and virtio_reset. The
 * transport does features, status, queue configuration, MSI-X and INTx; the
 * device gets its queues started, is told when the guest kicked, and is
 * stopped before a reset returns to the guest.
 *
 * Threads: start and stop are called on a vCPU thread, kick on the thread of
 * host->loop; all three with io_lock held. After stop() returns nothing may
 * touch guest memory any more, so stop() waits for, or cancels, what is in
 * flight. Lock order: dev.lock, io_lock.
 */
#pragma once

#include <linux/virtio_config.h>

#include "devices/device.h"
#include "devices/pci.h"
#include "virtio/queue.h"

#define VIRTIO_MAX_QUEUES 16

#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
/* Linux's is the number of the bit; included above, lest it comes back. */
#undef VIRTIO_F_VERSION_1
#define VIRTIO_F_VERSION_1 (1ull << 32)

struct virtio_dev;

struct virtio_ops {
	uint16_t id; /* virtio device ID, section 5 */
	uint32_t pci_class; /* 24 bits */

	/* DRIVER_OK: the queues named ready are started. May be NULL. */
	void (*start)(struct virtio_dev *v);
	/* Work is available in started queue @n. */
	void (*kick)(struct virtio_dev *v, unsigned n);
	/*
	 * Reset, or the machine ends: undoes start(), with running already false.
	 * May be NULL.
	 */
	void (*stop)(struct virtio_dev *v);
	/*
	 * Suspended by the host: bring what is in flight to its end. Main thread, no
	 * vCPU running, io_lock held, and running already false: what only acts while
	 * running needs nothing. May be NULL, and called twice.
	 */
	void (*suspend)(struct virtio_dev *v);
	/* It goes on: as kick(), before kicks of all queues. May be NULL. */
	void (*resume)(struct virtio_dev *v);
	/*
	 * virtio_vector_fd() of queue @n, or whether MSI-X is enabled, has changed
	 * while running. May be NULL. dev.lock and io_lock held.
	 */
	void (*rewire)(struct virtio_dev *v, unsigned n);
	/*
	 * The guest wrote device configuration, within config_len; NULL: it is
	 * read-only. dev.lock held.
	 */
	void (*config_write)(struct virtio_dev *v, uint64_t off, const void *buf,
			     size_t len);
};

struct virtio_dev {
	struct device dev; /* first */
	const struct virtio_ops *ops;
	struct pci_func pci;

	uint64_t offered; /* features */
	uint64_t acked; /* frozen at FEATURES_OK */
	unsigned n_queues;
	uint16_t queue_size[VIRTIO_MAX_QUEUES]; /* the largest that is offered */
	uint8_t config[64]; /* device configuration, little-endian */
	size_t config_len;

	pthread_mutex_t io_lock;
	bool running; /* DRIVER_OK seen, not broken, not suspended; under io_lock */
	bool suspended; /* it would be running otherwise; under io_lock */
	bool resuming; /* resume() is due; under io_lock */
	struct vq queues[VIRTIO_MAX_QUEUES]; /* under io_lock */

	int kick_fd; /* one for all queues; watched on host->loop */
	/*
	 * What a kick of each queue signals: kick_fd, unless the device has put an
	 * eventfd of its own here, between virtio_init() and the first access, for
	 * somebody else to watch. Its kick() is then not called for that queue.
	 */
	int kick_fds[VIRTIO_MAX_QUEUES];
	struct virtio_transport *transport; /* registers; under dev.lock */
};

/*
 * Prepare @v, all zeroes but for offered (VERSION_1, EVENT_IDX and
 * INDIRECT_DESC are added), n_queues, queue_size and config, which the caller
 * has set; put its function on the bus. The class's free must call
 * virtio_free(), whether this succeeded or not.
 */
int virtio_init(struct virtio_dev *v, const struct dev_class *class,
		const struct virtio_ops *ops, const struct dev_host *host,
		struct err *err);
void virtio_free(struct virtio_dev *v);

/* For the dev_class. */
void virtio_read(struct device *dev, unsigned win, uint64_t off, void *buf, size_t len);
void virtio_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
		  size_t len);
void virtio_reset(struct device *dev);
void virtio_pause(struct device *dev, enum dev_pause how);

/* Interrupt the guest for queue @n if it wants to know. io_lock held. */
void virtio_signal(struct virtio_dev *v, unsigned n);

/* The same, whether it wants to know or not. */
void virtio_interrupt(struct virtio_dev *v, unsigned n);

/*
 * The eventfd of queue @n's message interrupt, made if need be, for somebody else to
 * signal; it stays the machine's. -1: there is none now. dev.lock held.
 */
int virtio_vector_fd(struct virtio_dev *v, unsigned n);

/*
 * The guest broke a rule: set DEVICE_NEEDS_RESET, tell it by a configuration
 * interrupt, and stop using the queues. @why is logged. io_lock held.
 */
void virtio_broken(struct virtio_dev *v, const char *why);

/*
 * The device changed v->config: a configuration interrupt. dev.lock held since
 * before the change, so that the guest never sees half of it.
 */
void virtio_config_changed(struct virtio_dev *v);
