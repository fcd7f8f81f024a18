/*
 * pvpanic: the guest's kernel writes here when it panics. A PCI function whose BAR 0
 * holds one register: it reads as the events that we know, and takes the one that has
 * happened (QEMU, docs/specs/pvpanic). Registers on vCPU threads.
 */
#include "devices/list.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "devices/pci.h"

#define BAR_SIZE 4096 /* the register is its first byte */

/* The kernel has panicked, and does nothing more. */
#define EVENT_PANICKED 1
/* It has panicked, and now another kernel runs that will take care of it. */
#define EVENT_CRASH_LOADED 2

struct pvpanic {
	struct device dev;
	struct pci_func pci;
};

static void pvpanic_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			 size_t len)
{
	(void)dev;
	(void)win;
	memset(buf, 0, len);
	if (off == 0)
		*(uint8_t *)buf = EVENT_PANICKED | EVENT_CRASH_LOADED;
}

static void pvpanic_write(struct device *dev, unsigned win, uint64_t off,
			  const void *buf, size_t len)
{
	uint8_t event = *(const uint8_t *)buf;

	(void)win;
	(void)len;
	if (off == 0 && (event & (EVENT_PANICKED | EVENT_CRASH_LOADED)))
		dev->host->ops->panicked(dev->host->ctx, !(event & EVENT_PANICKED));
}

static void pvpanic_reset(struct device *dev)
{
	pci_func_reset(&((struct pvpanic *)dev)->pci);
}

static void pvpanic_free(struct device *dev)
{
	struct pvpanic *p = (struct pvpanic *)dev;

	pci_func_free(&p->pci);
	free(p);
}

static int pvpanic_create(const void *cfg, const struct dev_host *host,
			  struct device **ret_dev, struct err *err)
{
	static const struct pci_ids ids = {
		.vendor = 0x1b36,
		.device = 0x0011,
		.revision = 1,
		.class = 0x088000, /* system peripheral, other */
	};
	struct pvpanic *p = calloc(1, sizeof(*p));
	int r;

	(void)cfg;
	if (!p)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&p->dev, &pvpanic_class, host);
	pci_func_init(&p->pci, &p->dev, &ids);
	p->pci.config[PCI_INTERRUPT_PIN] = 0;
	pci_add_bar(&p->pci, 0, BAR_SIZE);
	r = host->ops->pci_add(host->ctx, &p->pci, err);
	if (r < 0) {
		pvpanic_free(&p->dev);
		return r;
	}
	*ret_dev = &p->dev;
	return 0;
}

const struct dev_class pvpanic_class = {
	.name = "pvpanic",
	.help = "where the guest's kernel tells that it panicked",
	.flags = DEV_ALWAYS,
	.create = pvpanic_create,
	.read = pvpanic_read,
	.write = pvpanic_write,
	.reset = pvpanic_reset,
	.free = pvpanic_free,
};
