/*
 * Linux's vhost devices (vhost-vsock, vhost-net): the host's kernel works on two queues
 * of a virtio device by itself. A guest's kick wakes it by ioeventfd and it interrupts
 * the guest by irqfd, so this process sleeps.
 *
 * In create(): virtio_init() with what vhost_open() says the kernel offers, then
 * vhost_attach(). In prepare(): vhost_prepare(), for vhost serves the memory of the
 * process that takes it. In start(): vhost_start(), then the device gives its backend
 * to the kernel; in stop() it takes that away, then vhost_stop(). The device's rewire
 * is vhost_rewire().
 *
 * The kernel is told only what virtio.c froze at DRIVER_OK: rings as struct vq has
 * them, in guest memory, whatever the registers say by then. It resolves addresses in
 * descriptors itself, within the memory of vhost_prepare().
 *
 * Threads as virtio.h says; the INTx relay and the kernel's complaints on host->loop.
 */
#pragma once

#include "virtio/virtio.h"

#define VHOST_QUEUES 2 /* of one vhost device */

struct vhost {
	int fd; /* -1 */
	const char *path; /* of the device, for messages */
	uint64_t features; /* that the kernel offers */
	struct virtio_dev *v;
	unsigned first; /* the kernel's queue 0 is this one of @v */
	int kick_fds[VHOST_QUEUES]; /* what a kick of each signals; -1 */
	int intx_fd, err_fd; /* what the kernel signals where there is no MSI-X; -1 */
	struct loop_watch *intx_watch, *err_watch;
};

/*
 * Open @path, which outlives @h, and ask what it offers; -ENOTSUP when that is less
 * than virtio.c promises. @what names the option in messages. vhost_close() takes the
 * result of a failure, too.
 */
int vhost_open(struct vhost *h, const char *what, const char *path, struct err *err);

/* Serve queues @first and @first + 1 of @v, which virtio_init() has prepared. */
int vhost_attach(struct vhost *h, struct virtio_dev *v, unsigned first,
		 struct err *err);

/* Make the device this process's, and show it guest memory and the kicks. */
int vhost_prepare(const struct vhost *h, struct err *err);

/* Tell the kernel features and rings. io_lock and dev.lock held. */
int vhost_start(const struct vhost *h, struct err *err);
/* Take the rings back; harmless when they were not given. */
void vhost_stop(const struct vhost *h);

/* For virtio_ops.rewire; other queues than its own are ignored. */
void vhost_rewire(const struct vhost *h, unsigned n);

/* After virtio_free(). */
void vhost_close(struct vhost *h);

/* An ioctl of @h; the sentence names device and @name. */
int vhost_ioctl(const struct vhost *h, unsigned long request, const char *name,
		const void *arg, struct err *err);
#define VHOST_IOCTL(h, request, arg, err) vhost_ioctl(h, request, #request, arg, err)
