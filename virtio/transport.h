/*
 * What virtio.c (the life of a device) and transport.c (its registers) share;
 * nobody else includes this. Everything is under dev.lock but for the fields
 * that say otherwise.
 */
#pragma once

#include "virtio/virtio.h"

#define VIRTIO_BAR 0
#define VIRTIO_BAR_SIZE 0x8000u
#define VIRTIO_NO_VECTOR 0xffffu
#define VIRTIO_NOTIFY 0x3000u
#define VIRTIO_NOTIFY_MULTIPLIER 4u

/* Device status, virtio 1.2 section 2.1. */
enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* ISR status, section 4.1.4.5. */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

struct virtio_queue_regs {
	struct vq_cfg cfg; /* as the guest has written it, unchecked */
	bool enabled;
	bool notify; /* the host signals its kick_fds entry */
	uint16_t vector; /* atomic */
};

struct virtio_transport {
	uint32_t device_feature_select, driver_feature_select;
	uint64_t driver_features;
	uint16_t queue_select;
	struct virtio_queue_regs q[VIRTIO_MAX_QUEUES];
	uint8_t status; /* without NEEDS_RESET */
	bool needs_reset; /* atomic */
	uint16_t config_vector; /* atomic */
	uint8_t config_generation;
	unsigned pci_cfg_cap; /* where it is in configuration space */
	bool msix; /* enabled, as the device was told */

	bool started; /* ops->start() was called; under io_lock */
	struct loop_watch *watch; /* of kick_fd */

	/* Innermost but for the function's intx_lock: the ISR and its wire agree. */
	pthread_mutex_t isr_lock;
	uint8_t isr;

	struct log_limit refused, broke;
};

/* DRIVER_OK: start the queues that are enabled. */
void virtio_start(struct virtio_dev *v);

/* Queue @n's interrupt goes elsewhere: tells a running device that wants to know. */
void virtio_rewire(struct virtio_dev *v, unsigned n);

/* Stop everything, and give all registers their first values. */
void virtio_restart(struct virtio_dev *v);

/* Register, with the host, the notification addresses of started queues. */
void virtio_add_notifies(struct virtio_dev *v);

/* BAR 0 and the capabilities that describe it. -ENOMEM. */
int virtio_add_registers(struct virtio_dev *v);
