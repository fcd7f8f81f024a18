/* What the machine lends its devices; see host.h and devices/device.h. */
#include "vmm/host.h"

#include <assert.h>
#include <errno.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "vmm/machine.h"

static struct bus *bus_of(struct host *h, enum dev_space space)
{
	return space == DEV_PIO ? &h->pio : &h->mmio;
}

static int host_map(void *ctx, struct device *dev, unsigned win, enum dev_space space,
		    uint64_t base, uint64_t len)
{
	struct host_device *d = ctx;
	uint64_t first = space == DEV_PIO ? 0 : arch_mmio_base();
	uint64_t end = space == DEV_PIO ? 0x10000 : arch_mmio_end();

	/* Never over RAM, which KVM would serve without asking us. */
	if (base < first || !range_within(base - first, len, end - first))
		return -ERANGE;
	return bus_map(bus_of(d->host, space), dev, win, base, len);
}

/* Stop all notifies of a window that goes away. */
static void drop_notifies(struct host_device *d, unsigned win)
{
	AUTO_LOCK(&d->lock);
	for (size_t i = 0; i < ARRAY_SIZE(d->notifies); i++) {
		struct host_notify *n = &d->notifies[i];

		if (n->fd < 0 || n->win != win)
			continue;
		kvm_ioeventfd(&d->host->kvm, n->space, n->addr, n->fd, false);
		n->fd = -1;
	}
}

static void host_unmap(void *ctx, struct device *dev, unsigned win)
{
	struct host_device *d = ctx;

	drop_notifies(d, win);
	bus_unmap(&d->host->mmio, dev, win);
	bus_unmap(&d->host->pio, dev, win);
}

static struct host_notify *find_notify(struct host_device *d, unsigned win,
				       uint64_t off, bool used)
{
	for (size_t i = 0; i < ARRAY_SIZE(d->notifies); i++) {
		struct host_notify *n = &d->notifies[i];

		if (used ? n->fd >= 0 && n->win == win && n->off == off : n->fd < 0)
			return n;
	}
	return NULL;
}

static int host_notify(void *ctx, struct device *dev, unsigned win, uint64_t off,
		       int fd, bool on)
{
	struct host_device *d = ctx;
	struct host *h = d->host;
	enum dev_space space = DEV_MMIO;
	struct host_notify *n;
	struct bus_window w;
	int r;

	AUTO_LOCK(&d->lock);
	n = find_notify(d, win, off, !on);
	if (!n)
		return on ? -ENOSPC : -ENOENT;
	if (!on) {
		r = kvm_ioeventfd(&h->kvm, n->space, n->addr, n->fd, false);
		n->fd = -1;
		return r;
	}
	if (!bus_find(&h->mmio, dev, win, &w)) {
		space = DEV_PIO;
		if (!bus_find(&h->pio, dev, win, &w))
			return -ENOENT;
	}
	r = kvm_ioeventfd(&h->kvm, space, w.base + off, fd, true);
	if (r == 0)
		*n = (struct host_notify){ win, off, w.base + off, space, fd };
	return r;
}

static void host_irq(void *ctx, unsigned gsi, bool level)
{
	struct host_device *d = ctx;
	uint64_t bit, before;

	if (gsi >= ARCH_IRQ_PINS)
		return;
	bit = 1ull << gsi;
	before = level ? __atomic_fetch_or(&d->wires, bit, __ATOMIC_ACQ_REL)
		       : __atomic_fetch_and(&d->wires, ~bit, __ATOMIC_ACQ_REL);
	if (!(before & bit) == level)
		arch_irq(d->host->arch, gsi, level);
}

static int host_msi_new(void *ctx, unsigned *ret_id, int *ret_fd, struct err *err)
{
	struct host_device *d = ctx;

	return kvm_msi_new(&d->host->kvm, ret_id, ret_fd, err);
}

static int host_msi_set(void *ctx, unsigned id, uint64_t addr, uint32_t data,
			bool masked)
{
	struct host_device *d = ctx;

	return kvm_msi_set(&d->host->kvm, id, addr, data, masked);
}

static int host_pci_add(void *ctx, struct pci_func *func, struct err *err)
{
	struct host_device *d = ctx;

	return pci_bus_add(&d->host->pci, func, err);
}

static int host_connector(void *ctx, const char *prefix, struct unix_name *made,
			  int *ret_fd, struct err *err)
{
	struct host_device *d = ctx;

	broker_add_name(&d->host->broker, made);
	return broker_connector(&d->host->broker, prefix, ret_fd, err);
}

static void host_panicked(void *ctx, bool handles)
{
	struct host_device *d = ctx;

	machine_panicked(d->host->machine, handles);
}

static void host_end(void *ctx, enum vm_end end, unsigned detail)
{
	struct host_device *d = ctx;
	struct machine *m = d->host->machine;

	switch (end) {
	case VM_END_SHUTDOWN:
		machine_end(m, end, detail, "the guest powered off");
		return;
	case VM_END_REBOOT:
		machine_end(m, end, detail, "the guest asked for a reset (by its %s)",
			    d->name);
		return;
	case VM_END_DEBUG_EXIT:
		machine_end(m, end, detail, "the guest ended by debug-exit value %u",
			    detail);
		return;
	case VM_END_WATCHDOG:
		machine_end(m, end, detail,
			    "the watchdog expired, for the guest did not feed it");
		return;
	default:
		machine_end(m, end, detail, "%s ended the VM", d->name);
		return;
	}
}

static const struct dev_host_ops host_ops = {
	.map = host_map,
	.unmap = host_unmap,
	.notify = host_notify,
	.irq = host_irq,
	.msi_new = host_msi_new,
	.msi_set = host_msi_set,
	.pci_add = host_pci_add,
	.connector = host_connector,
	.panicked = host_panicked,
	.end = host_end,
};

void host_device_init(struct host_device *d, struct host *host, struct loop *loop,
		      const char *name)
{
	*d = (struct host_device){ .host = host };
	snprintf(d->name, sizeof(d->name), "%s", name);
	d->lent = (struct dev_host){
		.ops = &host_ops,
		.ctx = d,
		.mem = &host->mem,
		.loop = loop,
		.name = d->name,
	};
	pthread_mutex_init(&d->lock, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(d->notifies); i++)
		d->notifies[i].fd = -1;
}
