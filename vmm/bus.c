/* Windows and the accesses to them; see bus.h. */
#include "vmm/bus.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

void bus_init(struct bus *bus)
{
	pthread_rwlock_init(&bus->lock, NULL);
	bus->n = 0;
}

/* The index of the first window that ends above @addr. */
static size_t lower_bound(const struct bus *bus, uint64_t addr)
{
	size_t lo = 0, hi = bus->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct bus_window *w = &bus->windows[mid];

		if (w->base + (w->len - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int bus_map(struct bus *bus, struct device *dev, unsigned win, uint64_t base,
	    uint64_t len)
{
	uint64_t last;
	size_t at;
	int r = 0;

	if (len == 0 || __builtin_add_overflow(base, len - 1, &last))
		return -EINVAL;
	pthread_rwlock_wrlock(&bus->lock);
	at = lower_bound(bus, base);
	if (at < bus->n && bus->windows[at].base <= last) {
		r = -EEXIST;
	} else if (bus->n == BUS_MAX_WINDOWS) {
		r = -ENOSPC;
	} else {
		memmove(&bus->windows[at + 1], &bus->windows[at],
			(bus->n - at) * sizeof(bus->windows[0]));
		bus->windows[at] = (struct bus_window){ base, len, dev, win };
		bus->n++;
	}
	pthread_rwlock_unlock(&bus->lock);
	return r;
}

/* The index of a device's window, or bus->n. */
static size_t window_of(const struct bus *bus, const struct device *dev, unsigned win)
{
	size_t i;

	for (i = 0; i < bus->n; i++)
		if (bus->windows[i].dev == dev && bus->windows[i].win == win)
			break;
	return i;
}

void bus_unmap(struct bus *bus, const struct device *dev, unsigned win)
{
	size_t at;

	pthread_rwlock_wrlock(&bus->lock);
	at = window_of(bus, dev, win);
	if (at < bus->n) {
		bus->n--;
		memmove(&bus->windows[at], &bus->windows[at + 1],
			(bus->n - at) * sizeof(bus->windows[0]));
	}
	pthread_rwlock_unlock(&bus->lock);
}

bool bus_find(struct bus *bus, const struct device *dev, unsigned win,
	      struct bus_window *ret_window)
{
	size_t at;
	bool found;

	pthread_rwlock_rdlock(&bus->lock);
	at = window_of(bus, dev, win);
	found = at < bus->n;
	if (found)
		*ret_window = bus->windows[at];
	pthread_rwlock_unlock(&bus->lock);
	return found;
}

/*
 * The window that wholly holds the access. It is a copy: a window may be
 * unmapped before it is used, but devices live as long as the machine.
 */
static bool look_up(struct bus *bus, uint64_t addr, size_t len, struct bus_window *ret)
{
	bool found = false;
	size_t at;

	pthread_rwlock_rdlock(&bus->lock);
	at = lower_bound(bus, addr);
	if (at < bus->n && addr >= bus->windows[at].base) {
		*ret = bus->windows[at];
		found = range_within(addr - ret->base, len, ret->len);
	}
	pthread_rwlock_unlock(&bus->lock);
	return found;
}

void bus_read(struct bus *bus, uint64_t addr, void *buf, size_t len)
{
	struct bus_window w;

	memset(buf, 0xff, len);
	if (!look_up(bus, addr, len, &w) || !w.dev->class->read)
		return;
	/* A device that leaves bytes alone must not leak what was there. */
	memset(buf, 0, len);
	AUTO_LOCK(&w.dev->lock);
	w.dev->class->read(w.dev, w.win, addr - w.base, buf, len);
}

void bus_write(struct bus *bus, uint64_t addr, const void *buf, size_t len)
{
	struct bus_window w;

	if (!look_up(bus, addr, len, &w) || !w.dev->class->write)
		return;
	AUTO_LOCK(&w.dev->lock);
	w.dev->class->write(w.dev, w.win, addr - w.base, buf, len);
}
