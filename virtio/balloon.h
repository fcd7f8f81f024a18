/*
 * virtio balloon (virtio 1.2 section 5.5): memory that the guest gives up for a while.
 *
 * The machine makes it, unless there is --no-balloon. The functions below are called
 * on the thread of the device's loop, without any lock.
 */
#pragma once

#include "devices/device.h"

struct virtio_balloon_cfg {
	uint64_t start; /* bytes that the guest is asked for at the start */
	bool page_reporting; /* offer free page reporting */
};

extern const struct dev_class virtio_balloon_class;

/* Statistics by their tags, VIRTIO_BALLOON_S_*: section 5.5.6.3 and later ones. */
#define BALLOON_STATS_MAX 16

struct balloon_stats {
	uint32_t valid; /* 1 << tag for each one that the guest has told */
	uint64_t value[BALLOON_STATS_MAX];
};

struct balloon_state {
	uint64_t target; /* bytes: what the guest is asked for */
	uint64_t actual; /* bytes: what it says that it has given, at most its memory */
	struct balloon_stats stats; /* the last ones */
	uint64_t age_ms; /* since they came; UINT64_MAX: they never did */
};

/*
 * Ask the guest for @bytes in all, rounded down to pages. It gives them, or takes them
 * back, as it can. -EINVAL for more than its memory.
 */
int virtio_balloon_set(struct device *dev, uint64_t bytes, struct err *err);

void virtio_balloon_get(struct device *dev, struct balloon_state *ret);

/*
 * Ask the guest for fresh statistics: @done is called once they come, on this thread
 * and without a lock. The guest may never answer, so the caller needs a time limit, at
 * the end of which it calls this with @done NULL, and is not called any more. -EBUSY:
 * somebody waits already; -ENOTCONN: the guest has no driver that tells them.
 */
typedef void balloon_stats_fn(void *arg, const struct balloon_stats *stats);
int virtio_balloon_stats(struct device *dev, balloon_stats_fn *done, void *arg);
