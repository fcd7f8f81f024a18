/*
 * A virtio-pci driver for unit tests: it reaches the device only as a guest
 * would, by configuration and BAR accesses and by rings in guest memory, and
 * asserts that the device keeps the rules that a driver may rely on.
 *
 *	fake_host_init(&host, "blk0", 1 << 20);
 *	... create the device with &host.host ...
 *	fake_driver_start(&d, &host, VIRTIO_ID, FAKE_ALL_FEATURES);
 *	buf = fake_alloc(&host, 512, 1);
 *	segs = { { hdr, 16, false }, { buf, 512, true }, { status, 1, true } };
 *	used = fake_request(&d, 0, segs, 3);
 *	... look at fake_ptr(&host, buf, 512) ...
 *
 * Hostile tests write the rings themselves: struct fake_vq holds host pointers
 * to all three.
 */
#pragma once

#include "tests/unit/fake_host.h"
#include "virtio/virtio.h"

#define FAKE_ALL_FEATURES UINT64_MAX

/* Device status bits, virtio 1.2 section 2.1. */
enum {
	FAKE_ACKNOWLEDGE = 1,
	FAKE_DRIVER = 2,
	FAKE_DRIVER_OK = 4,
	FAKE_FEATURES_OK = 8,
	FAKE_NEEDS_RESET = 64,
	FAKE_FAILED = 128,
};

/* Registers of the common configuration, section 4.1.4.3. */
enum {
	FAKE_DEVICE_FEATURE_SELECT = 0,
	FAKE_DEVICE_FEATURE = 4,
	FAKE_DRIVER_FEATURE_SELECT = 8,
	FAKE_DRIVER_FEATURE = 12,
	FAKE_CONFIG_VECTOR = 16,
	FAKE_NUM_QUEUES = 18,
	FAKE_STATUS = 20,
	FAKE_GENERATION = 21,
	FAKE_QUEUE_SELECT = 22,
	FAKE_QUEUE_SIZE = 24,
	FAKE_QUEUE_VECTOR = 26,
	FAKE_QUEUE_ENABLE = 28,
	FAKE_QUEUE_NOTIFY_OFF = 30,
	FAKE_QUEUE_DESC = 32,
	FAKE_QUEUE_DRIVER = 40,
	FAKE_QUEUE_DEVICE = 48,
};

/* Descriptor flags, section 2.7.5. */
enum { FAKE_F_NEXT = 1, FAKE_F_WRITE = 2, FAKE_F_INDIRECT = 4 };

struct fake_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct fake_used_elem {
	uint32_t id;
	uint32_t len;
};

/* A queue as the driver sees it; ring pointers are into guest memory. */
struct fake_vq {
	uint16_t size; /* 0: not set up */
	gpa_t desc_gpa, avail_gpa, used_gpa;
	volatile struct fake_desc *desc;
	volatile uint16_t *avail; /* flags, idx, ring[size], used_event */
	volatile uint16_t *used; /* flags, idx, then elements, avail_event */
	uint16_t avail_idx; /* next entry to fill */
	uint16_t used_idx; /* next entry to collect */
	bool busy[VQ_MAX_SIZE]; /* descriptors of chains in flight */
	uint16_t next[VQ_MAX_SIZE]; /* their links; the head's own index: the end */
};

struct fake_driver {
	struct fake_host *host;
	unsigned slot;
	uint64_t bar; /* address of BAR 0 */
	uint64_t common, notify, isr, device; /* addresses of the regions */
	uint32_t notify_multiplier, device_len;
	unsigned msix_cap; /* offsets in configuration space */
	unsigned pci_cfg_cap;
	unsigned n_vectors;
	uint64_t msix_table; /* addresses */
	uint64_t msix_pba;
	bool msix;
	uint64_t features; /* negotiated */
	uint64_t kick_addr[VIRTIO_MAX_QUEUES];
	struct fake_vq q[VIRTIO_MAX_QUEUES];
};

struct fake_seg {
	gpa_t addr;
	uint32_t len;
	bool writable; /* by the device; these come last */
};

/*
 * Everything up to DRIVER_OK: find, reset, negotiate @features as far as they
 * are offered, MSI-X with vector 0 for configuration changes and n + 1 for
 * queue n, all queues at their largest size.
 */
void fake_driver_start(struct fake_driver *d, struct fake_host *host, uint16_t id,
		       uint64_t features);
/* The same with INTx. */
void fake_driver_start_intx(struct fake_driver *d, struct fake_host *host, uint16_t id,
			    uint64_t features);

/*
 * The steps of which that consists. fake_driver_find() finds the @nth function
 * with virtio device ID @id on the bus, and turns memory decoding and bus
 * mastering on.
 */
void fake_driver_find(struct fake_driver *d, struct fake_host *host, uint16_t id,
		      unsigned nth);
void fake_driver_reset(struct fake_driver *d);
uint64_t fake_driver_offered(struct fake_driver *d);
/* ACKNOWLEDGE, DRIVER, exactly @features, FEATURES_OK; whether that held. */
bool fake_driver_negotiate(struct fake_driver *d, uint64_t features);
/* Fill vector table entries and enable; vectors send the data fake_msi_data(). */
void fake_driver_msix(struct fake_driver *d);
/* Rings for queue @n of @size (0: the largest), enabled. */
void fake_driver_queue(struct fake_driver *d, unsigned n, uint16_t size);
void fake_driver_ok(struct fake_driver *d);

/* Registers of the common configuration. */
uint64_t fake_common_in(struct fake_driver *d, unsigned reg, size_t len);
void fake_common_out(struct fake_driver *d, unsigned reg, uint64_t value, size_t len);
uint8_t fake_status(struct fake_driver *d);

/* The function's configuration space, by CF8/CFC. */
uint32_t fake_pci_in(struct fake_driver *d, unsigned off, size_t len);
void fake_pci_out(struct fake_driver *d, unsigned off, uint32_t value, size_t len);

/* Device configuration. */
uint64_t fake_config_in(struct fake_driver *d, unsigned off, size_t len);
void fake_config_out(struct fake_driver *d, unsigned off, uint64_t value, size_t len);

/*
 * Put a chain of @n segments into queue @q's rings without a kick. Returns the
 * head. The indirect form needs one descriptor of the queue.
 */
uint16_t fake_submit(struct fake_driver *d, unsigned q, const struct fake_seg *segs,
		     unsigned n);
uint16_t fake_submit_indirect(struct fake_driver *d, unsigned q,
			      const struct fake_seg *segs, unsigned n);
/* Make descriptor @head available as it stands: for hostile tests. */
void fake_avail(struct fake_driver *d, unsigned q, uint16_t head);

/* Notify the device, and run the loop until it is quiet. */
void fake_kick(struct fake_driver *d, unsigned q);
/* Whether the device asked to be notified of what was submitted after @old_idx. */
bool fake_wants_kick(struct fake_driver *d, unsigned q, uint16_t old_idx);

/*
 * Collect one used entry: false when there is none. With EVENT_IDX the driver
 * asks for an interrupt at the next one.
 */
bool fake_used(struct fake_driver *d, unsigned q, uint16_t *ret_head,
	       uint32_t *ret_len);

/*
 * The same, but for devices with threads: runs the loop and waits until there
 * is one, at most 10 seconds, after which it asserts.
 */
uint32_t fake_wait_used(struct fake_driver *d, unsigned q, uint16_t *ret_head);

/* Submit, kick, wait: for one request at a time. Returns the used length. */
uint32_t fake_request(struct fake_driver *d, unsigned q, const struct fake_seg *segs,
		      unsigned n);

/*
 * How many interrupts came since last asked: MSI-X vector @v, or, for INTx,
 * the ISR byte (which reading clears).
 */
unsigned fake_interrupts(struct fake_driver *d, unsigned v);
uint8_t fake_isr(struct fake_driver *d);
uint32_t fake_msi_data(const struct fake_driver *d, unsigned v);

/* Allocate guest RAM and fill it; for buffers. */
gpa_t fake_put(struct fake_host *host, const void *data, size_t len);
