/*
 * Split virtqueues, device side (virtio 1.2 section 2.7), and the only code
 * that walks descriptor chains.
 *
 * The guest owns the rings and may rewrite them at any moment, from another
 * vCPU: every field is read once into a local, checked, and used from there.
 * The configuration is frozen when the queue is started; host pointers to the
 * three rings are made then and stay valid until it is stopped.
 *
 * One thread at a time uses a queue: the device's loop thread, or whoever holds
 * the device's io_lock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/gmem.h"

#define VQ_MAX_SIZE 256u
/*
 * Segments of one chain, direct or indirect. As many as the largest queue has
 * descriptors; a longer chain breaks the queue.
 */
#define VQ_MAX_SEGS 256u

struct vq_cfg {
	uint16_t size; /* a power of two, at most VQ_MAX_SIZE */
	gpa_t desc, avail, used;
};

struct vq {
	const struct gmem *mem;
	uint16_t size; /* 0: not started */
	bool event_idx;
	bool indirect;
	bool broken; /* the guest broke the rules: nothing more until a reset */
	const char *why; /* the rule it broke */

	uint16_t next_avail; /* free-running index of the next entry to take */
	uint16_t next_used;
	uint16_t signalled_used; /* next_used when vq_should_signal() was last asked */
	bool signalled_wrapped; /* 65536 entries have been pushed since then */

	void *desc, *avail, *used; /* host addresses of the rings */
	uint64_t in_flight[VQ_MAX_SIZE / 64]; /* heads taken and not given back */
};

/* A request: readable segments first, then writable ones. */
struct vq_chain {
	uint16_t head;
	unsigned n_out, n_in; /* segments the device reads, and writes */
	uint64_t out_len, in_len; /* bytes; each at most UINT32_MAX */
	struct iovec iov[VQ_MAX_SEGS]; /* n_out + n_in host slices, each len > 0 */
};

/*
 * Start a queue from a configuration that is copied. -EINVAL when the size is
 * not allowed, or a ring is misaligned or not in RAM; @ret_why then says which.
 */
int vq_start(struct vq *q, const struct gmem *mem, const struct vq_cfg *cfg,
	     bool event_idx, bool indirect, const char **ret_why);
void vq_stop(struct vq *q);

/*
 * Take the next available chain: 1 and *ret_chain filled, 0 when there is
 * none, -EPROTO when the guest broke a rule (also set in q->broken; from then
 * on always 0). Zero-length descriptors are skipped, whatever their address
 * and direction, so a chain may have no segments at all.
 */
int vq_pop(struct vq *q, struct vq_chain *ret_chain);

/* Whether there is something to pop. */
bool vq_pending(const struct vq *q);

/*
 * Give a chain back, @written bytes of its writable part filled. Nothing
 * happens on a queue that is broken or stopped.
 */
void vq_push(struct vq *q, uint16_t head, uint32_t written);

/* Several at once: the guest sees all of them or none. */
struct vq_done {
	uint16_t head;
	uint32_t written;
};
void vq_push_all(struct vq *q, const struct vq_done *done, unsigned n);

/*
 * Whether the guest wants an interrupt for what was pushed since this was
 * asked last.
 */
bool vq_should_signal(struct vq *q);

/*
 * Ask the guest to kick again (@on) or not to bother. Asking returns true when
 * something became available meanwhile, which the caller then has to take.
 */
bool vq_kicks(struct vq *q, bool on);

/*
 * Copy from the readable, or into the writable, part of a chain, @off bytes
 * into it. Returns the number of bytes copied, short at the part's end. What
 * the guest changes meanwhile is copied as it comes: copy once.
 */
size_t vq_read(const struct vq_chain *c, uint64_t off, void *buf, size_t len);
size_t vq_write(const struct vq_chain *c, uint64_t off, const void *buf, size_t len);

/*
 * The @len bytes at @off of the readable (or writable) part as slices, at most
 * VQ_MAX_SEGS; returns their number, 0 when the part is shorter than that.
 */
unsigned vq_slices(const struct vq_chain *c, bool writable, uint64_t off, uint64_t len,
		   struct iovec *ret_iov);
