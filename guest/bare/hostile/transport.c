/* Attacks by way of the registers of virtio over PCI (virtio 1.2, 4.1). */
#include <linux/pci_regs.h>

#include "acpi.h"
#include "apic.h"
#include "bare.h"
#include "hostile.h"
#include "pci.h"

enum { COMMON_SIZE = 0x38, BAR_SIZE = 0x8000 };

static const uint32_t values[] = { 0, 1, 0xff, 0x7fffffff, 0xffffffff };

static void set16(unsigned reg, uint16_t value)
{
	mmio_write16(dev.common + reg, value);
}

static void set64(unsigned reg, uint64_t value)
{
	mmio_write32(dev.common + reg, (uint32_t)value);
	mmio_write32(dev.common + reg + 4, (uint32_t)(value >> 32));
}

/* Everything before the queues. */
static void start_over(void)
{
	virtio_reset(&dev);
	virtio_negotiate(&dev, 0);
	set16(VIRTIO_PCI_COMMON_Q_SELECT, vq->index);
}

static void go(void)
{
	vq->avail->idx = 1;
	set16(VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	virtio_ready(&dev);
	notify(vq->index);
	settle();
}

static void queue_size(void)
{
	static const uint16_t sizes[] = { 0, 3, 15, 257, 0x7fff, 0x8000, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		start_over();
		set64(VIRTIO_PCI_COMMON_Q_DESCLO, (uintptr_t)vq->rings->desc);
		set64(VIRTIO_PCI_COMMON_Q_AVAILLO, (uintptr_t)vq->avail);
		set64(VIRTIO_PCI_COMMON_Q_USEDLO, (uintptr_t)vq->used);
		set16(VIRTIO_PCI_COMMON_Q_SIZE, sizes[i]);
		go();
	}
}

static void queue_where(void)
{
	static const uint64_t where[] = { 0,	      1,	  0x1800001,
					  0xd0000000, 0xfee00000, 0xfffffff0,
					  1ull << 40, ~0ull,	  ~0xfffull,
					  1ull << 63 };

	for (unsigned i = 0; i < 3 * ARRAY_SIZE(where); i++) {
		uint64_t at[3] = { (uintptr_t)vq->rings->desc, (uintptr_t)vq->avail,
				   (uintptr_t)vq->used };

		start_over();
		at[i % 3] = where[i / 3];
		set16(VIRTIO_PCI_COMMON_Q_SIZE, VQ_SIZE);
		set64(VIRTIO_PCI_COMMON_Q_DESCLO, at[0]);
		set64(VIRTIO_PCI_COMMON_Q_AVAILLO, at[1]);
		set64(VIRTIO_PCI_COMMON_Q_USEDLO, at[2]);
		go();
	}
	/* All three on top of each other. */
	start_over();
	set64(VIRTIO_PCI_COMMON_Q_DESCLO, (uintptr_t)vq->rings);
	set64(VIRTIO_PCI_COMMON_Q_AVAILLO, (uintptr_t)vq->rings);
	set64(VIRTIO_PCI_COMMON_Q_USEDLO, (uintptr_t)vq->rings);
	go();
}

/* The device was set up; from then on these registers must not matter. */
static void queue_late(void)
{
	static const uint16_t sizes[] = { 0, 3, 0x8000, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		fresh(0);
		set16(VIRTIO_PCI_COMMON_Q_SELECT, vq->index);
		set16(VIRTIO_PCI_COMMON_Q_SIZE, sizes[i]);
		notify(vq->index);
		set64(VIRTIO_PCI_COMMON_Q_DESCLO, 0xd0000000);
		set64(VIRTIO_PCI_COMMON_Q_AVAILLO, ~0ull);
		set64(VIRTIO_PCI_COMMON_Q_USEDLO, 1);
		vq->avail->idx = 1;
		notify(vq->index);
		settle();
		set16(VIRTIO_PCI_COMMON_Q_ENABLE, 0);
		notify(vq->index);
		set16(VIRTIO_PCI_COMMON_Q_ENABLE, 1);
		notify(vq->index);
		settle();
	}
}

static void queue_select(void)
{
	static const uint16_t queues[] = { 0x7fff, 0x8000, 0xffff, 64, 255, 256 };

	for (unsigned i = 0; i < ARRAY_SIZE(queues); i++) {
		fresh(0);
		set16(VIRTIO_PCI_COMMON_Q_SELECT, queues[i]);
		if (mmio_read16(dev.common + VIRTIO_PCI_COMMON_Q_SIZE) != 0)
			wrong("queue %u has a size", queues[i]);
		for (unsigned reg = VIRTIO_PCI_COMMON_Q_SIZE; reg < COMMON_SIZE;
		     reg += 2) {
			mmio_read16(dev.common + reg);
			set16(reg, 0xffff);
			set16(reg, 1);
		}
	}
}

static void status_steps(void)
{
	static const uint8_t steps[][4] = {
		{ 0x04 },
		{ 0x0f },
		{ 0x03, 0x07 },
		{ 0x01, 0x02, 0x04 },
		{ 0xff },
		{ 0x40 },
		{ 0x80 },
		{ 0x0b, 0x0f, 0x03, 0x01 },
		{ 0x08, 0x04, 0x08, 0x0f },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		virtio_reset(&dev);
		for (unsigned j = 0; j < 4 && steps[i][j]; j++) {
			virtio_set_status(&dev, steps[i][j]);
			notify(0);
			notify(1);
		}
		settle();
	}
	/* Working, then back without a reset. */
	fresh(0);
	virtio_set_status(&dev, 0x0b);
	notify(vq->index);
	virtio_set_status(&dev, 0x01);
	notify(vq->index);
	settle();
}

static void features(void)
{
	uint8_t steps = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	virtio_reset(&dev);
	virtio_set_status(&dev, steps);
	virtio_accept(&dev, ~0ull);
	virtio_set_status(&dev, steps | VIRTIO_CONFIG_S_FEATURES_OK);
	if (virtio_status(&dev) & VIRTIO_CONFIG_S_FEATURES_OK)
		wrong("features that were not offered are taken");
	notify(vq->index);
	virtio_set_status(&dev, 0x0f);
	notify(vq->index);

	/* Without VERSION_1, which this device insists on or does not. */
	virtio_reset(&dev);
	virtio_set_status(&dev, steps);
	virtio_accept(&dev, 0);
	virtio_set_status(&dev, steps | VIRTIO_CONFIG_S_FEATURES_OK);
	virtio_set_status(&dev, 0x0f);

	/* There is nothing beyond bit 63. */
	virtio_reset(&dev);
	for (uint32_t i = 2; i; i <<= 3) {
		mmio_write32(dev.common + VIRTIO_PCI_COMMON_DFSELECT, i);
		if (mmio_read32(dev.common + VIRTIO_PCI_COMMON_DF) != 0)
			wrong("feature word %u is not zero", i);
		mmio_write32(dev.common + VIRTIO_PCI_COMMON_GFSELECT, i);
		mmio_write32(dev.common + VIRTIO_PCI_COMMON_GF, 0xffffffff);
	}

	/* Changed once they are agreed on. */
	fresh(0);
	virtio_accept(&dev, ~0ull);
	notify(vq->index);
}

static void read_every_width(uintptr_t at)
{
	mmio_read8(at);
	mmio_read16(at);
	mmio_read32(at);
	mmio_read64(at);
}

static void write_every_width(uintptr_t at, uint32_t value)
{
	mmio_write8(at, (uint8_t)value);
	mmio_write16(at, (uint16_t)value);
	mmio_write32(at, value);
	mmio_write64(at, value | (uint64_t)value << 32);
}

/* A string instruction on device registers, of no register's width. */
static void copy_bytes(uintptr_t to, uintptr_t from, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void widths(void)
{
	static uint8_t some[8];
	uint8_t cap = pci_capability(dev.devfn, PCI_CAP_ID_VNDR, 0);
	uint64_t bar = pci_bar(dev.devfn,
			       pci_read8(dev.devfn, cap + VIRTIO_PCI_CAP_BAR));

	for (uintptr_t off = 0; off < COMMON_SIZE + 12; off += off < 16 ? 1 : 3)
		read_every_width(dev.common + off);
	for (uintptr_t off = 0; off < BAR_SIZE - 8; off += 0x3f5)
		read_every_width(bar + off);
	read_every_width(bar + BAR_SIZE - 8);
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
		for (uintptr_t off = 0; off < COMMON_SIZE + 12; off += 5)
			write_every_width(dev.common + off, values[i]);
		for (uintptr_t off = 0x40; off < BAR_SIZE - 8; off += 0x7f3)
			write_every_width(bar + off, values[i]);
		fresh(0);
	}
	/* Over the edges of a register, a window and the BAR. */
	mmio_read64(dev.common + COMMON_SIZE - 4);
	mmio_read32(dev.isr - 1);
	mmio_read64(bar + BAR_SIZE - 4);
	mmio_write64(bar + BAR_SIZE - 4, ~0ull);
	mmio_read64(bar - 4);
	copy_bytes((uintptr_t)some, dev.common + VIRTIO_PCI_COMMON_Q_SIZE, 3);
	copy_bytes(dev.common + VIRTIO_PCI_COMMON_Q_DESCLO, (uintptr_t)some, 3);
	if (dev.config)
		for (uintptr_t off = 0; off < dev.config_length + 8u; off += 7) {
			read_every_width(dev.config + off);
			write_every_width(dev.config + off, 0xffffffff);
		}
}

static void notify_everywhere(void)
{
	for (unsigned i = 0; i < 64; i++)
		notify(vq->index);
	for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
		notify((uint16_t)values[i]);
	for (unsigned i = 0; i < 0x1000; i += 0x1f4) {
		read_every_width(dev.notify + i);
		write_every_width(dev.notify + i, 0xffffffff);
	}
	virtio_reset(&dev);
	for (unsigned i = 0; i < 8; i++)
		notify((uint16_t)i);
}

static void bar_move(void)
{
	uint8_t cap = pci_capability(dev.devfn, PCI_CAP_ID_VNDR, 0);
	uint16_t reg = (uint16_t)(PCI_BASE_ADDRESS_0 +
				  4 * pci_read8(dev.devfn, cap + VIRTIO_PCI_CAP_BAR));
	uint32_t was = pci_read32(dev.devfn, reg);
	uint32_t where[] = { 0x1800000,
			     0,
			     0x8000,
			     0xa0000,
			     (uint32_t)acpi_ecam(),
			     (uint32_t)acpi_ioapic(),
			     0xfee00000,
			     0xffff8000,
			     0xffffffff,
			     was + 0x8000,
			     was - 0x8000,
			     was + 1,
			     0xfffff };

	for (unsigned i = 0; i < ARRAY_SIZE(where); i++) {
		uint64_t seen = (uint64_t)where[i] & ~0xfull;

		pci_write32(dev.devfn, reg, where[i]);
		pci_enable(dev.devfn, true);
		/* What lies there, if anything: the local APIC must go on answering. */
		if (where[i] != 0xfee00000 && where[i] < 0xffff0000)
			mmio_read32(seen + VIRTIO_PCI_COMMON_DFSELECT);
		pci_enable(dev.devfn, false);
		pci_write32(dev.devfn, reg, was);
		pci_enable(dev.devfn, true);
	}
	/* Half-written, with decoding on. */
	pci_write8(dev.devfn, reg + 1, 0xff);
	pci_write16(dev.devfn, reg + 2, 0x0180);
	mmio_read32(0x1800000);
	pci_write32(dev.devfn, reg, was);
}

static void config_space(void)
{
	uint32_t saved[64];

	for (unsigned dev_number = 0; dev_number < 32; dev_number++) {
		uint8_t devfn = (uint8_t)(dev_number << 3);

		if (pci_read16(devfn, PCI_VENDOR_ID) == 0xffff)
			continue;
		for (uint16_t i = 0; i < 64; i++)
			saved[i] = pci_read32(devfn, (uint16_t)(i * 4));
		for (uint16_t i = 0; i < 64; i++) {
			pci_write32(devfn, (uint16_t)(i * 4), 0xffffffff);
			pci_write8(devfn, (uint16_t)(i * 4 + 3), 0x55);
			pci_write32(devfn, (uint16_t)(i * 4), saved[i]);
		}
		/* Above the first 256 bytes only ECAM reaches. */
		for (uintptr_t off = 0x100; pci_ecam(devfn) && off < 0xff8;
		     off += 0x1f3)
			write_every_width(pci_ecam(devfn) + off, 0xffffffff);
	}
}

static void msix(void)
{
	uint16_t control = dev.msix_cap ? (uint16_t)(dev.msix_cap + PCI_MSIX_FLAGS) : 0;
	uint32_t pba;

	if (!control)
		return;
	pba = pci_read32(dev.devfn, dev.msix_cap + PCI_MSIX_PBA) & PCI_MSIX_PBA_OFFSET;
	/* Vectors that are not there. */
	for (unsigned i = 0; i < 3; i++) {
		static const uint16_t vectors[] = { 0x7ff, 0x800, 0xfffe };

		set16(VIRTIO_PCI_COMMON_MSIX, vectors[i]);
		if (mmio_read16(dev.common + VIRTIO_PCI_COMMON_MSIX) != 0xffff)
			wrong("vector %x is taken", vectors[i]);
		set16(VIRTIO_PCI_COMMON_Q_SELECT, vq->index);
		set16(VIRTIO_PCI_COMMON_Q_MSIX, vectors[i]);
		if (mmio_read16(dev.common + VIRTIO_PCI_COMMON_Q_MSIX) != 0xffff)
			wrong("vector %x is taken for the queue", vectors[i]);
	}
	/* Messages to nowhere: the table is written while the function is on, then
	 * used. */
	fresh(0);
	pci_write16(dev.devfn, control, PCI_MSIX_FLAGS_ENABLE);
	for (unsigned i = 0; i < 2; i++) {
		static const uint64_t where[] = { 0,	      0xfee00000, 0xfeeff004,
						  0xffffffff, 0x1800000,  ~0ull };

		for (unsigned j = 0; j < ARRAY_SIZE(where); j++) {
			uintptr_t at = dev.msix_table + i * PCI_MSIX_ENTRY_SIZE;

			/* Data 0: vector 0 must not arrive, the interrupts are off. */
			mmio_write64(at, where[j]);
			mmio_write64(at + 8, j & 1 ? 0xc000u : 0xffffffff);
			mmio_write32(at + PCI_MSIX_ENTRY_VECTOR_CTRL, j & 1);
			mmio_read64(at + 1);
			mmio_write16(at + 7, 0xffff);
			set16(VIRTIO_PCI_COMMON_Q_MSIX, (uint16_t)i);
			notify(vq->index);
			pci_write16(dev.devfn, control,
				    PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
			notify(vq->index);
			pci_write16(dev.devfn, control, PCI_MSIX_FLAGS_ENABLE);
		}
		mmio_write32(dev.msix_table + i * PCI_MSIX_ENTRY_SIZE +
				     PCI_MSIX_ENTRY_VECTOR_CTRL,
			     1);
	}
	/* Around the table's and the pending bits' ends. */
	for (unsigned i = 0; i < 4; i++) {
		read_every_width(dev.msix_table + dev.msix_vectors * 16 + i);
		write_every_width(dev.msix_table + dev.msix_vectors * 16 + i * 8, ~0u);
		read_every_width(dev.msix_table + 0xff8 - i);
		write_every_width(dev.common + pba + i * 8, ~0u);
	}
	pci_write16(dev.devfn, control, 0xffff);
	pci_write16(dev.devfn, control, 0);
}

/* VIRTIO_PCI_CAP_PCI_CFG: a window into BARs by way of configuration space. */
static void window(void)
{
	uint8_t cap = dev.window_cap, common = 0;
	static const uint32_t lengths[] = { 0, 1, 2, 3, 4, 8, 0xffffffff };
	static const uint32_t offsets[] = { 0,	    1,	    0x14,      0x7ffc,
					    0x7fff, 0x8000, 0xfffffffc };

	if (!cap) {
		wrong("there is no configuration access capability");
		return;
	}
	while ((common = pci_capability(dev.devfn, PCI_CAP_ID_VNDR, common)) != 0)
		if (pci_read8(dev.devfn, common + VIRTIO_PCI_CAP_CFG_TYPE) ==
		    VIRTIO_PCI_CAP_COMMON_CFG)
			break;
	/* As it is meant. */
	pci_write8(dev.devfn, cap + VIRTIO_PCI_CAP_BAR,
		   pci_read8(dev.devfn, common + VIRTIO_PCI_CAP_BAR));
	pci_write32(dev.devfn, cap + VIRTIO_PCI_CAP_OFFSET,
		    pci_read32(dev.devfn, common + VIRTIO_PCI_CAP_OFFSET) +
			    VIRTIO_PCI_COMMON_STATUS);
	pci_write32(dev.devfn, cap + VIRTIO_PCI_CAP_LENGTH, 1);
	if (pci_read8(dev.devfn, cap + sizeof(struct virtio_pci_cap)) !=
	    virtio_status(&dev))
		wrong("the window shows another status");
	for (unsigned bar = 0; bar < 8; bar += 5)
		for (unsigned i = 0; i < ARRAY_SIZE(lengths) * ARRAY_SIZE(offsets);
		     i++) {
			uint16_t data = cap + sizeof(struct virtio_pci_cap);

			pci_write8(dev.devfn, cap + VIRTIO_PCI_CAP_BAR, (uint8_t)bar);
			pci_write32(dev.devfn, cap + VIRTIO_PCI_CAP_OFFSET,
				    offsets[i / ARRAY_SIZE(lengths)]);
			pci_write32(dev.devfn, cap + VIRTIO_PCI_CAP_LENGTH,
				    lengths[i % ARRAY_SIZE(lengths)]);
			pci_read32(dev.devfn, data);
			pci_read8(dev.devfn, data + 3);
			pci_write32(dev.devfn, data, 0xffffffff);
			pci_write16(dev.devfn, data + 2, 0);
		}
	pci_write8(dev.devfn, cap + VIRTIO_PCI_CAP_BAR, 0xff);
	pci_read32(dev.devfn, cap + sizeof(struct virtio_pci_cap));
}

const struct attack transport_attacks[] = {
	{ "queue-size", queue_size, 0 },
	{ "queue-where", queue_where, 0 },
	{ "queue-late", queue_late, 0 },
	{ "queue-select", queue_select, 0 },
	{ "status-steps", status_steps, 0 },
	{ "features", features, 0 },
	{ "widths", widths, 0 },
	{ "notify", notify_everywhere, 0 },
	{ "bar-move", bar_move, 0 },
	{ "config-space", config_space, 0 },
	{ "msix", msix, 0 },
	{ "window", window, 0 },
	{ 0 },
};
