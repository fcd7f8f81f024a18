/*
 * The inside of the block device: between its life (blk.c) and its requests
 * (blk_io.c); nobody else includes this.
 *
 * Theory of operation. On the device's thread, with io_lock held, blk_serve() takes
 * requests from the queues in turn, as long as there are contexts, and submits them
 * to the disk; the engine's completions come by blk_complete() and are pushed, and one
 * interrupt for each queue follows the batch. A queue that has more than there are
 * contexts for waits, and is served when requests complete. A reset comes on a vCPU's
 * thread, which may not touch the engine: it waits until the device's thread has seen
 * everything complete.
 */
#pragma once

#include "base/log.h"
#include "disk/disk.h"
#include "disk/engine.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"

#define BLK_QUEUES 16
#define BLK_MAX_IN_FLIGHT 256
#define BLK_MAX_RANGES 32 /* of one DISCARD or WRITE_ZEROES */
#define BLK_ID_LEN 20

#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_MQ (1ull << 12)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

struct blk_range {
	uint64_t sector;
	uint32_t count, flags;
};

/* A request in flight. */
struct blk_req {
	struct disk_req req; /* first */
	struct blk *blk;
	struct blk_req *next; /* free */
	uint8_t *status; /* in guest memory */
	uint64_t sector; /* for messages */
	uint32_t type;
	uint32_t filled; /* bytes before the status, if it succeeds */
	uint16_t queue, head;
	bool flushes; /* the flush after a write */
	unsigned range, n_ranges; /* DISCARD, WRITE_ZEROES: the next one */
	union {
		struct iovec iov[VQ_MAX_SEGS];
		struct blk_range ranges[BLK_MAX_RANGES];
	};
};

/* Everything below disk is under io_lock. */
struct blk {
	struct virtio_dev v; /* first */
	unsigned char id[BLK_ID_LEN];
	int executor;
	uint32_t block_size;
	struct engine *engine; /* NULL until prepared */
	struct loop_watch *watch; /* of its completions */
	struct disk *disk;

	bool paused; /* take no new requests */
	bool has_thread;
	pthread_t thread; /* whose the engine is */
	unsigned in_flight;
	pthread_cond_t idle; /* in_flight has become 0 */

	struct blk_req *reqs; /* BLK_MAX_IN_FLIGHT */
	struct blk_req *free;
	unsigned touched; /* reqs[touched] and those behind it were never used */

	uint32_t waiting; /* queues that may have requests to take */
	uint32_t to_signal; /* queues with completions that the guest was not told */
	unsigned turn; /* the queue to take from next */
	struct vq_chain chain; /* the one at hand */
	struct log_limit failed;
};

/* Take what there is in queue @n and others; io_lock held. */
void blk_serve(struct blk *b, unsigned n);

/* The engine has completions: a callback of the loop. */
void blk_complete(void *arg, uint32_t events);

/* Have the device's thread look at all queues soon; io_lock held. */
void blk_come_back(struct blk *b);

/*
 * Wait until nothing is in flight; io_lock held (and given up meanwhile). The
 * caller has made sure that nothing new is taken.
 */
void blk_quiesce(struct blk *b);
