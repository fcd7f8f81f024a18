/*
 * Which device answers at which I/O port or guest-physical address.
 *
 * Windows come and go while vCPUs run (a guest moves its BARs); look-ups and
 * changes may come from any thread. A device is called with its own lock held
 * and none of the bus's, so that it may map and unmap windows itself.
 */
#pragma once

#include <stdbool.h>

#include "devices/device.h"

#define BUS_MAX_WINDOWS 256

struct bus_window {
	uint64_t base, len;
	struct device *dev;
	unsigned win;
};

struct bus {
	pthread_rwlock_t lock;
	size_t n;
	struct bus_window windows[BUS_MAX_WINDOWS]; /* by ascending base */
};

void bus_init(struct bus *bus);

/* -EEXIST: something is there already; -ENOSPC; -EINVAL: empty or wraps. */
int bus_map(struct bus *bus, struct device *dev, unsigned win, uint64_t base,
	    uint64_t len);
void bus_unmap(struct bus *bus, const struct device *dev, unsigned win);

/* Where window @win of @dev is; false: it is not mapped. */
bool bus_find(struct bus *bus, const struct device *dev, unsigned win,
	      struct bus_window *ret_window);

/*
 * A guest's access of 1 to 8 bytes. What no window wholly holds reads as all
 * ones, and writes to it vanish.
 */
void bus_read(struct bus *bus, uint64_t addr, void *buf, size_t len);
void bus_write(struct bus *bus, uint64_t addr, const void *buf, size_t len);
