/* virtio over PCI: the transport. See virtio.h; queues are in vq.c. */
#include <linux/pci_regs.h>

#include "apic.h"
#include "bare.h"
#include "pci.h"
#include "virtio.h"

enum { VIRTIO_VENDOR = 0x1af4, VIRTIO_DEVICE = 0x1040, NO_VECTOR = 0xffff };

/* One for each device in use at a time: queue memory lies outside the stack. */
static struct vq_rings rings[2][VQ_MAX];
static unsigned rings_taken;

static void virtio_capabilities(struct virtio *dev)
{
	for (uint8_t cap = 0;
	     (cap = pci_capability(dev->devfn, PCI_CAP_ID_VNDR, cap)) != 0;) {
		uint8_t kind = pci_read8(dev->devfn, cap + VIRTIO_PCI_CAP_CFG_TYPE);
		uint8_t bar = pci_read8(dev->devfn, cap + VIRTIO_PCI_CAP_BAR);
		uintptr_t at = pci_read32(dev->devfn, cap + VIRTIO_PCI_CAP_OFFSET);

		if (kind == VIRTIO_PCI_CAP_PCI_CFG)
			dev->window_cap = cap;
		if (kind == VIRTIO_PCI_CAP_PCI_CFG || bar > 5)
			continue;
		at += pci_bar(dev->devfn, bar);
		if (kind == VIRTIO_PCI_CAP_COMMON_CFG)
			dev->common = at;
		if (kind == VIRTIO_PCI_CAP_ISR_CFG)
			dev->isr = at;
		if (kind == VIRTIO_PCI_CAP_DEVICE_CFG) {
			dev->config = at;
			dev->config_length = pci_read32(dev->devfn,
							cap + VIRTIO_PCI_CAP_LENGTH);
		}
		if (kind == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			dev->notify = at;
			dev->notify_step = pci_read32(dev->devfn,
						      cap + VIRTIO_PCI_NOTIFY_CAP_MULT);
		}
	}
	dev->msix_cap = pci_capability(dev->devfn, PCI_CAP_ID_MSIX, 0);
	if (dev->msix_cap) {
		uint32_t where = pci_read32(dev->devfn, dev->msix_cap + PCI_MSIX_TABLE);
		uint32_t pba = pci_read32(dev->devfn, dev->msix_cap + PCI_MSIX_PBA);
		uint16_t flags = pci_read16(dev->devfn, dev->msix_cap + PCI_MSIX_FLAGS);

		dev->msix_table = pci_bar(dev->devfn, where & PCI_MSIX_TABLE_BIR) +
				  (where & PCI_MSIX_TABLE_OFFSET);
		dev->msix_pending = pci_bar(dev->devfn, pba & PCI_MSIX_PBA_BIR) +
				    (pba & PCI_MSIX_PBA_OFFSET);
		dev->msix_vectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1u;
		pci_write16(dev->devfn, dev->msix_cap + PCI_MSIX_FLAGS,
			    flags & ~(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL));
	}
}

bool virtio_open(struct virtio *dev, unsigned type, unsigned n, const char **ret_why)
{
	int devfn = pci_find(VIRTIO_VENDOR, (uint16_t)(VIRTIO_DEVICE + type), n);

	memset(dev, 0, sizeof(*dev));
	*ret_why = "there is no such device";
	if (devfn < 0)
		return false;
	dev->devfn = (uint8_t)devfn;
	pci_enable(dev->devfn, true);
	virtio_capabilities(dev);
	*ret_why = "a capability is missing";
	if (!dev->common || !dev->isr || !dev->notify)
		return false;
	for (unsigned i = 0; i < VQ_MAX; i++) {
		dev->vq[i].dev = dev;
		dev->vq[i].index = (uint16_t)i;
		dev->vq[i].rings = &rings[rings_taken % ARRAY_SIZE(rings)][i];
	}
	rings_taken++;
	*ret_why = "reset does not end";
	return virtio_reset(dev);
}

uint8_t virtio_status(const struct virtio *dev)
{
	return mmio_read8(dev->common + VIRTIO_PCI_COMMON_STATUS);
}

void virtio_set_status(const struct virtio *dev, uint8_t status)
{
	mmio_write8(dev->common + VIRTIO_PCI_COMMON_STATUS, status);
}

bool virtio_reset(struct virtio *dev)
{
	struct wait w = wait_start();

	virtio_set_status(dev, 0);
	while (virtio_status(dev) != 0)
		if (!wait_more(&w))
			return false;
	return true;
}

uint64_t virtio_offered(const struct virtio *dev)
{
	uint64_t low;

	mmio_write32(dev->common + VIRTIO_PCI_COMMON_DFSELECT, 0);
	low = mmio_read32(dev->common + VIRTIO_PCI_COMMON_DF);
	mmio_write32(dev->common + VIRTIO_PCI_COMMON_DFSELECT, 1);
	return (uint64_t)mmio_read32(dev->common + VIRTIO_PCI_COMMON_DF) << 32 | low;
}

void virtio_accept(const struct virtio *dev, uint64_t features)
{
	mmio_write32(dev->common + VIRTIO_PCI_COMMON_GFSELECT, 0);
	mmio_write32(dev->common + VIRTIO_PCI_COMMON_GF, (uint32_t)features);
	mmio_write32(dev->common + VIRTIO_PCI_COMMON_GFSELECT, 1);
	mmio_write32(dev->common + VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> 32));
}

bool virtio_negotiate(struct virtio *dev, uint64_t wanted)
{
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	virtio_set_status(dev, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_set_status(dev, status);
	dev->offered = virtio_offered(dev);
	dev->features = dev->offered & (wanted | 1ull << VIRTIO_F_VERSION_1);
	virtio_accept(dev, dev->features);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	virtio_set_status(dev, status);
	return virtio_status(dev) == status;
}

/* INTx: reading the ISR register tells why, and takes the interrupt back. */
static void virtio_intx(void *arg)
{
	struct virtio *dev = arg;
	uint8_t why = mmio_read8(dev->isr);

	if (why & VIRTIO_PCI_ISR_CONFIG)
		dev->config_irqs++;
	if (why & 1)
		for (unsigned i = 0; i < VQ_MAX; i++)
			dev->vq[i].irqs++;
}

static void virtio_msix_config(void *arg)
{
	struct virtio *dev = arg;

	dev->config_irqs++;
}

static void virtio_msix_queue(void *arg)
{
	struct vq *vq = arg;

	vq->irqs++;
}

static void virtio_msix_entry(struct virtio *dev, unsigned entry, unsigned vector)
{
	uintptr_t at = dev->msix_table + entry * PCI_MSIX_ENTRY_SIZE;

	mmio_write32(at + PCI_MSIX_ENTRY_LOWER_ADDR, APIC_MSI_ADDRESS(apic_id()));
	mmio_write32(at + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
	mmio_write32(at + PCI_MSIX_ENTRY_DATA, vector);
	mmio_write32(at + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

bool virtio_use_irq(struct virtio *dev, enum virtio_irq irq)
{
	uint16_t command = pci_read16(dev->devfn, PCI_COMMAND);

	dev->irq = irq;
	pci_write16(dev->devfn, PCI_COMMAND,
		    irq == VIRTIO_INTX ? command & ~PCI_COMMAND_INTX_DISABLE
				       : command | PCI_COMMAND_INTX_DISABLE);
	if (irq == VIRTIO_INTX) {
		trap_set(VECTOR_DEVICES, virtio_intx, dev);
		ioapic_route(pci_gsi(dev->devfn), VECTOR_DEVICES, true);
	}
	if (irq == VIRTIO_MSIX) {
		if (!dev->msix_cap || dev->msix_vectors < 2)
			return false;
		pci_write16(dev->devfn, dev->msix_cap + PCI_MSIX_FLAGS,
			    PCI_MSIX_FLAGS_ENABLE);
		trap_set(VECTOR_DEVICES, virtio_msix_config, dev);
		virtio_msix_entry(dev, 0, VECTOR_DEVICES);
		mmio_write16(dev->common + VIRTIO_PCI_COMMON_MSIX, 0);
		if (mmio_read16(dev->common + VIRTIO_PCI_COMMON_MSIX) != 0)
			return false;
	}
	if (irq != VIRTIO_POLL)
		cpu_irq_on();
	return true;
}

void virtio_mask(struct virtio *dev, unsigned entry, bool masked)
{
	uint16_t command = pci_read16(dev->devfn, PCI_COMMAND);

	if (dev->irq == VIRTIO_MSIX)
		mmio_write32(dev->msix_table + entry * PCI_MSIX_ENTRY_SIZE +
				     PCI_MSIX_ENTRY_VECTOR_CTRL,
			     masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
	else
		pci_write16(dev->devfn, PCI_COMMAND,
			    masked ? command | PCI_COMMAND_INTX_DISABLE
				   : command & ~PCI_COMMAND_INTX_DISABLE);
}

bool virtio_pending(const struct virtio *dev, unsigned entry)
{
	if (dev->irq == VIRTIO_MSIX)
		return mmio_read32(dev->msix_pending + entry / 32 * 4) >> entry % 32 &
		       1;
	return pci_read16(dev->devfn, PCI_STATUS) & PCI_STATUS_INTERRUPT;
}

uint16_t virtio_queue_max(const struct virtio *dev, unsigned index)
{
	mmio_write16(dev->common + VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)index);
	return mmio_read16(dev->common + VIRTIO_PCI_COMMON_Q_SIZE);
}

static void virtio_write64(uintptr_t at, const volatile void *value)
{
	mmio_write32(at, (uint32_t)(uintptr_t)value);
	mmio_write32(at + 4, (uint32_t)((uintptr_t)value >> 32));
}

bool virtio_queue(struct virtio *dev, unsigned index, const char **ret_why)
{
	struct vq *vq = &dev->vq[index];
	uintptr_t common = dev->common;
	uint16_t max = virtio_queue_max(dev, index), vector = (uint16_t)(1 + index);

	*ret_why = "there is no such queue";
	if (max == 0)
		return false;
	memset(vq->rings, 0, sizeof(*vq->rings));
	vq->used = &vq->rings->used;
	vq->avail = &vq->rings->avail;
	vq->size = max < VQ_SIZE ? max : VQ_SIZE;
	vq->next_desc = vq->next_avail = vq->last_used = vq->in_flight = 0;
	mmio_write16(common + VIRTIO_PCI_COMMON_Q_SIZE, vq->size);
	virtio_write64(common + VIRTIO_PCI_COMMON_Q_DESCLO, vq->rings->desc);
	virtio_write64(common + VIRTIO_PCI_COMMON_Q_AVAILLO, vq->avail);
	virtio_write64(common + VIRTIO_PCI_COMMON_Q_USEDLO, vq->used);
	vq->notify = dev->notify +
		     (uintptr_t)dev->notify_step *
			     mmio_read16(common + VIRTIO_PCI_COMMON_Q_NOFF);
	*ret_why = "the queue's vector is refused";
	if (dev->irq == VIRTIO_MSIX) {
		if (vector >= dev->msix_vectors)
			return false;
		trap_set(VECTOR_DEVICES + vector, virtio_msix_queue, vq);
		virtio_msix_entry(dev, vector, VECTOR_DEVICES + vector);
		mmio_write16(common + VIRTIO_PCI_COMMON_Q_MSIX, vector);
		if (mmio_read16(common + VIRTIO_PCI_COMMON_Q_MSIX) != vector)
			return false;
	} else {
		mmio_write16(common + VIRTIO_PCI_COMMON_Q_MSIX, NO_VECTOR);
	}
	mmio_write16(common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	return true;
}

void virtio_ready(struct virtio *dev)
{
	virtio_set_status(dev, virtio_status(dev) | VIRTIO_CONFIG_S_DRIVER_OK);
}
