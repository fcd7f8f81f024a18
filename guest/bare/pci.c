/*
 * PCI configuration (PCI Local Bus 3.0, chapter 6): both ways to configuration space
 * agree, functions that are not there read as ones, BARs tell their size and can be
 * moved, and accesses of odd width or offset do nothing unforeseen.
 */
#include <linux/pci_regs.h>

#include "apic.h"
#include "bare.h"
#include "pci.h"
#include "virtio.h"

enum { DEVICES = 32, VIRTIO_VENDOR = 0x1af4 };

static void list(void)
{
	unsigned n = 0;

	for (unsigned dev = 0; dev < DEVICES; dev++) {
		uint8_t devfn = (uint8_t)(dev << 3);
		uint32_t id = pci_read32(devfn, PCI_VENDOR_ID);

		if (id == 0xffffffff)
			continue;
		n++;
		print("pci 00:%02x.0 %04x:%04x class %06x gsi %u\n", dev, id & 0xffff,
		      id >> 16, pci_read32(devfn, PCI_CLASS_REVISION) >> 8,
		      pci_read8(devfn, PCI_INTERRUPT_LINE));
	}
	test_check(n > 0, "devices", "there are none");
}

static void ways_agree(void)
{
	for (unsigned dev = 0; dev < DEVICES; dev++) {
		uint8_t devfn = (uint8_t)(dev << 3);
		bool there = pci_read16(devfn, PCI_VENDOR_ID) != 0xffff;
		uintptr_t ecam = pci_ecam(devfn);

		if (!ecam) {
			test_fail("ECAM", "the MCFG table does not tell where it is");
			return;
		}
		for (uint16_t off = 0; off < (there ? 256 : 4); off += 4) {
			uint32_t a = pci_read32(devfn, off),
				 b = mmio_read32(ecam + off);

			if (a == b)
				continue;
			test_fail("ECAM",
				  "device %u offset %x: %08x by ports, %08x there", dev,
				  off, a, b);
			return;
		}
	}
	test_pass("both ways to configuration space agree");
}

static void absent(void)
{
	uint8_t devfn = 0;
	uint32_t bus1;

	while (devfn < 0xf8 && pci_read16(devfn, PCI_VENDOR_ID) != 0xffff)
		devfn += 8;
	if (pci_read16(devfn, PCI_VENDOR_ID) != 0xffff)
		devfn = 7; /* every device is there; its other functions are not */
	test_check(pci_read32(devfn, 0) == 0xffffffff &&
			   pci_read8(devfn, 0x3d) == 0xff &&
			   mmio_read32(pci_ecam(devfn) + 0x100) == 0xffffffff &&
			   mmio_read32(pci_ecam(0xff)) == 0xffffffff,
		   "absent functions read as ones", "%02x does not", devfn);
	/* Writes go nowhere. */
	pci_write32(devfn, PCI_BASE_ADDRESS_0, 0x12345678);
	mmio_write8(pci_ecam(devfn) + PCI_COMMAND, 7);
	port_out32(0xcf8, 0x80010000);
	bus1 = port_in32(0xcfc);
	test_check(bus1 == 0xffffffff, "bus 1 reads as ones", "%08x", bus1);
	port_out32(0xcf8, (uint32_t)devfn << 8);
	bus1 = port_in32(0xcfc);
	test_check(bus1 == 0xffffffff, "nothing selected reads as ones", "%08x", bus1);
}

static void odd_accesses(uint8_t devfn)
{
	uint32_t id = pci_read32(devfn, PCI_VENDOR_ID);
	uintptr_t ecam = pci_ecam(devfn);
	uint32_t by_bytes = 0;

	for (uint16_t i = 0; i < 4; i++)
		by_bytes |= (uint32_t)pci_read8(devfn, i) << 8 * i;
	test_check(by_bytes == id && pci_read16(devfn, 2) == id >> 16, "narrow reads",
		   "%08x by bytes, %08x at once", by_bytes, id);
	by_bytes = 0;
	for (unsigned i = 0; i < 4; i++)
		by_bytes |= (uint32_t)mmio_read8(ecam + i) << 8 * i;
	test_check(by_bytes == id, "narrow reads by ECAM",
		   "%08x by bytes, %08x at once", by_bytes, id);
	/* What these read is the machine's choice; that it goes on is the test. */
	for (unsigned off = 0; off < 8; off++) {
		port_in8((uint16_t)(0xcf8 + off));
		port_in16((uint16_t)(0xcf8 + off));
		port_in32((uint16_t)(0xcf8 + off));
		mmio_read16(ecam + off);
		mmio_read32(ecam + off);
		mmio_read64(ecam + off);
		mmio_read64(ecam + 0xffc - off);
	}
	port_out8(0xcf8, 0x55);
	port_out16(0xcfa, 0xaaaa);
	/* The identity is read-only at every width. */
	pci_write32(devfn, PCI_VENDOR_ID, 0);
	pci_write16(devfn, PCI_DEVICE_ID, 0);
	pci_write8(devfn, PCI_REVISION_ID, 0xff);
	mmio_write32(ecam, 0);
	mmio_write64(ecam, 0);
	test_check(pci_read32(devfn, PCI_VENDOR_ID) == id, "identity is read-only",
		   "%08x became %08x", id, pci_read32(devfn, PCI_VENDOR_ID));
}

/* The BAR which the common configuration lies in, and where in it. */
static int common_bar(uint8_t devfn, uint32_t *ret_off)
{
	for (uint8_t cap = 0; (cap = pci_capability(devfn, PCI_CAP_ID_VNDR, cap)) != 0;)
		if (pci_read8(devfn, cap + VIRTIO_PCI_CAP_CFG_TYPE) ==
		    VIRTIO_PCI_CAP_COMMON_CFG) {
			*ret_off = pci_read32(devfn, cap + VIRTIO_PCI_CAP_OFFSET);
			return pci_read8(devfn, cap + VIRTIO_PCI_CAP_BAR);
		}
	return -1;
}

/* A register of the device that keeps what is written: the feature select. */
static bool answers(uintptr_t at)
{
	mmio_write32(at + VIRTIO_PCI_COMMON_DFSELECT, 0x1234);
	return mmio_read32(at + VIRTIO_PCI_COMMON_DFSELECT) == 0x1234;
}

static void bars(uint8_t devfn)
{
	uint32_t off, size;
	int bar = common_bar(devfn, &off);
	uint64_t old, new;
	uint16_t where = (uint16_t)(PCI_BASE_ADDRESS_0 + bar * 4);

	if (!test_check(bar >= 0, "common configuration", "no capability tells of it"))
		return;
	old = pci_bar(devfn, (unsigned)bar);
	size = pci_bar_size(devfn, (unsigned)bar);
	print("bar %d at %lx size %x\n", bar, old, size);
	test_check(size >= 16 && (size & (size - 1)) == 0 && old % size == 0,
		   "BAR size", "%x at %lx", size, old);
	test_check(pci_bar(devfn, (unsigned)bar) == old, "BAR kept while it was sized",
		   "%lx became %lx", old, pci_bar(devfn, (unsigned)bar));
	if (!test_check(old != 0, "BAR is assigned", "it is not"))
		return;
	pci_enable(devfn, true);
	test_check(answers(old + off), "device answers at its BAR", "%lx", old + off);

	/* Near the end of the window, where no BAR was put. */
	new = (0xf3f00000 - 4 * (uint64_t)size) & ~((uint64_t)size - 1);
	pci_enable(devfn, false);
	test_check(mmio_read32(old + off) == 0xffffffff,
		   "nothing there with decoding off", "%08x", mmio_read32(old + off));
	pci_write32(devfn, where, (uint32_t) new);
	pci_enable(devfn, true);
	test_check(answers(new + off), "device answers where its BAR was moved", "%lx",
		   new + off);
	test_check(mmio_read32(old + off) == 0xffffffff, "and no longer where it was",
		   "%08x", mmio_read32(old + off));

	/* Once more with decoding on, as some drivers do. */
	pci_write32(devfn, where, (uint32_t)old);
	test_check(answers(old + off), "moved back without switching it off", "%lx",
		   old + off);
}

/* With the BAR moved, kicks and interrupts must still find their way. */
static void moved_device_works(void)
{
	static struct virtio dev;
	static uint8_t bytes[16];
	struct segment s = { bytes, sizeof(bytes), true };
	const char *why;
	int devfn = pci_find(VIRTIO_VENDOR, 0x1044, 0);
	uint32_t off, size;
	int bar;
	uint64_t old;

	if (devfn < 0) {
		print("no rng device: a moved device's work is not tested\n");
		return;
	}
	bar = common_bar((uint8_t)devfn, &off);
	old = pci_bar((uint8_t)devfn, (unsigned)bar);
	size = pci_bar_size((uint8_t)devfn, (unsigned)bar);
	pci_enable((uint8_t)devfn, false);
	pci_write32((uint8_t)devfn, (uint16_t)(PCI_BASE_ADDRESS_0 + bar * 4),
		    (uint32_t)((0xf3000000 - size) & ~((uint64_t)size - 1)));
	if (!virtio_open(&dev, 4, 0, &why) || !virtio_negotiate(&dev, 0) ||
	    !virtio_use_irq(&dev, VIRTIO_MSIX) || !virtio_queue(&dev, 0, &why))
		test_fail("moved device", "it does not start");
	virtio_ready(&dev);
	test_check(vq_request(&dev.vq[0], &s, 1) > 0, "moved device works",
		   "the request does not come back");
	/* Moved while it runs: the kick's address goes with it. */
	pci_enable((uint8_t)devfn, false);
	pci_write32((uint8_t)devfn, (uint16_t)(PCI_BASE_ADDRESS_0 + bar * 4),
		    (uint32_t)old);
	pci_enable((uint8_t)devfn, true);
	dev.vq[0].notify += old - ((0xf3000000 - size) & ~((uint64_t)size - 1));
	test_check(vq_request(&dev.vq[0], &s, 1) > 0, "moved while running, works",
		   "the request does not come back");
}

void guest_main(void)
{
	int virtio = -1;

	apic_init();
	list();
	ways_agree();
	absent();
	odd_accesses(0);
	for (int dev = 1; dev < DEVICES && virtio < 0; dev++)
		if (pci_read16((uint8_t)(dev << 3), PCI_VENDOR_ID) == VIRTIO_VENDOR)
			virtio = dev << 3;
	if (!test_check(virtio >= 0, "virtio device", "there is none"))
		return;
	odd_accesses((uint8_t)virtio);
	bars((uint8_t)virtio);
	moved_device_works();
}
