/*
 * The PCI host bridge (8086:1237 at 00:00.0) and the ways that guests reach
 * configuration space: address and data ports (PCI Local Bus 3.0 section
 * 3.2.2.3.2) and ECAM (PCI Express section 7.2.2) of bus 0, function 0 only.
 * Port 0xcf9, the chipset's reset register, lies between the two ports.
 *
 * Lock order: the bridge's dev->lock, which the machine holds during read and
 * write, then the lock of the device that owns the function.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "devices/pci.h"

#define PORTS_BASE 0xcf8u
#define PORTS_LEN 8u
#define PORT_RESET 1u /* 0xcf9 */
#define PORT_DATA 4u /* 0xcfc */
#define RESET_CPU (1u << 2)

/* Registers of the i440FX that say where ROM's addresses are RAM (290549, 3.2.18). */
#define PAM0 0x59
#define NUM_PAMS 7
#define PAM_ENABLES 0x33 /* reads, and writes, of each half; of PAM0 the upper only */

enum { WIN_PORTS, WIN_ECAM };

struct pci_host {
	struct device dev;
	struct pci_func func;
	struct pci_bus *bus;
	uint32_t address; /* 0xcf8 */
};

/* One access to configuration space. */
struct access {
	bool write;
	unsigned slot, function, reg;
	uint8_t *buf; /* read into, or written from */
	size_t len;
};

/* A read that nobody answers leaves @buf as it is: all ones. */
static void config_access(struct pci_host *h, const struct access *a)
{
	struct pci_func *f = a->slot < PCI_MAX_SLOTS ? h->bus->slots[a->slot] : NULL;
	pthread_mutex_t *lock;

	if (!f || a->function != 0 || a->reg + a->len > 4096)
		return;
	lock = f->dev == &h->dev ? NULL : &f->dev->lock;
	if (lock)
		pthread_mutex_lock(lock);
	if (a->write)
		pci_config_write(f, a->reg, a->buf, a->len);
	else
		pci_config_read(f, a->reg, a->buf, a->len);
	if (lock)
		pthread_mutex_unlock(lock);
}

static void ecam_access(struct pci_host *h, uint64_t off, void *buf, size_t len,
			bool write)
{
	struct access a = { .write = write,
			    .slot = (unsigned)(off >> 15),
			    .function = off >> 12 & 7,
			    .reg = off & 0xfff,
			    .buf = buf,
			    .len = len };

	config_access(h, &a);
}

/* An access that starts at the data port, or behind it. */
static void data_access(struct pci_host *h, uint64_t off, void *buf, size_t len,
			bool write)
{
	uint32_t addr = h->address;
	struct access a = { .write = write,
			    .slot = addr >> 11 & 31,
			    .function = addr >> 8 & 7,
			    .reg = (addr & 0xfc) + (unsigned)(off - PORT_DATA),
			    .buf = buf,
			    .len = len };

	/* Bit 31 enables; bits 16-23 are the bus. */
	if ((addr & 0x80ff0000u) == 0x80000000u)
		config_access(h, &a);
}

static void host_read(struct device *dev, unsigned win, uint64_t off, void *buf,
		      size_t len)
{
	struct pci_host *h = (struct pci_host *)dev;

	memset(buf, 0xff, len);
	if (win == WIN_ECAM)
		ecam_access(h, off, buf, len, false);
	else if (off >= PORT_DATA)
		data_access(h, off, buf, len, false);
	else if (off == 0 && len == 4)
		le32_put(buf, h->address);
	else if (off == PORT_RESET && len == 1)
		*(uint8_t *)buf = 0;
}

static void host_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
		       size_t len)
{
	struct pci_host *h = (struct pci_host *)dev;
	uint8_t copy[8];

	if (len > sizeof(copy))
		return;
	memcpy(copy, buf, len);
	if (win == WIN_ECAM)
		ecam_access(h, off, copy, len, true);
	else if (off >= PORT_DATA)
		data_access(h, off, copy, len, true);
	else if (off == 0 && len == 4)
		h->address = le32_get(copy) & 0x80fffffcu;
	else if (off == PORT_RESET && len == 1 && (copy[0] & RESET_CPU))
		dev->host->ops->end(dev->host->ctx, VM_END_REBOOT, 0);
}

static void host_reset(struct device *dev)
{
	struct pci_host *h = (struct pci_host *)dev;

	h->address = 0;
	pci_func_reset(&h->func);
}

static void host_free(struct device *dev)
{
	struct pci_host *h = (struct pci_host *)dev;

	pci_func_free(&h->func);
	free(h);
}

/*
 * QEMU's firmware knows its machine by the subsystem, and copies itself to RAM once
 * it has enabled that. It is RAM from the beginning, so the registers mean nothing.
 */
static void be_a_pc(struct pci_func *f)
{
	le16_put(f->config + PCI_SUBSYSTEM_VENDOR_ID, 0x1af4);
	le16_put(f->config + PCI_SUBSYSTEM_ID, 0x1100);
	memset(f->wmask + PAM0, PAM_ENABLES, NUM_PAMS);
	f->wmask[PAM0] &= 0xf0;
}

static int host_create(const void *cfg, const struct dev_host *host,
		       struct device **ret_dev, struct err *err)
{
	static const struct pci_ids ids = {
		.vendor = 0x8086, .device = 0x1237, .revision = 2, .class = 0x060000
	};
	const struct pci_host_cfg *c = cfg;
	AUTO_FREE struct pci_host *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&h->dev, &pci_host_class, host);
	h->bus = c->bus;
	pci_func_init(&h->func, &h->dev, &ids);
	h->func.config[0x3d] = 0; /* a bridge interrupts nobody */
	if (h->bus->pc)
		be_a_pc(&h->func);
	r = host->ops->map(host->ctx, &h->dev, WIN_PORTS, DEV_PIO, PORTS_BASE,
			   PORTS_LEN);
	if (r < 0)
		return err_sys(err, r, "%s: ports 0xcf8-0xcff", host->name);
	r = host->ops->map(host->ctx, &h->dev, WIN_ECAM, DEV_MMIO, PCI_ECAM_BASE,
			   PCI_ECAM_SIZE);
	if (r < 0) {
		err_sys(err, r, "%s: configuration space at 0x%x", host->name,
			PCI_ECAM_BASE);
		goto unmap_ports;
	}
	r = host->ops->pci_add(host->ctx, &h->func, err);
	if (r < 0)
		goto unmap_ecam;
	*ret_dev = &TAKE_PTR(h)->dev;
	return 0;
unmap_ecam:
	host->ops->unmap(host->ctx, &h->dev, WIN_ECAM);
unmap_ports:
	host->ops->unmap(host->ctx, &h->dev, WIN_PORTS);
	return r;
}

const struct dev_class pci_host_class = {
	.name = "pci-host",
	.help = "PCI host bridge",
	.flags = DEV_ALWAYS,
	.cfg_size = sizeof(struct pci_host_cfg),
	.create = host_create,
	.read = host_read,
	.write = host_write,
	.reset = host_reset,
	.free = host_free,
};
