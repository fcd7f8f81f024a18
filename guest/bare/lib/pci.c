/* PCI configuration. See pci.h. */
#include <linux/pci_regs.h>

#include "acpi.h"
#include "bare.h"
#include "pci.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };

static uint16_t pci_select(uint8_t devfn, uint16_t off)
{
	port_out32(CONFIG_ADDRESS, 0x80000000u | (uint32_t)devfn << 8 | (off & 0xfc));
	return (uint16_t)(CONFIG_DATA + (off & 3));
}

#define PCI_ACCESS(bits)                                                        \
	uint##bits##_t pci_read##bits(uint8_t devfn, uint16_t off)              \
	{                                                                       \
		return port_in##bits(pci_select(devfn, off));                   \
	}                                                                       \
	void pci_write##bits(uint8_t devfn, uint16_t off, uint##bits##_t value) \
	{                                                                       \
		port_out##bits(pci_select(devfn, off), value);                  \
	}

PCI_ACCESS(8)
PCI_ACCESS(16)
PCI_ACCESS(32)

uintptr_t pci_ecam(uint8_t devfn)
{
	static uintptr_t base;

	if (!base)
		base = acpi_ecam();
	return base ? base + ((uintptr_t)devfn << 12) : 0;
}

int pci_find(uint16_t vendor, uint16_t device, unsigned n)
{
	for (int dev = 0; dev < 32; dev++)
		if (pci_read32((uint8_t)(dev << 3), PCI_VENDOR_ID) ==
			    ((uint32_t)device << 16 | vendor) &&
		    n-- == 0)
			return dev << 3;
	return -1;
}

uint8_t pci_capability(uint8_t devfn, uint8_t id, uint8_t after)
{
	uint8_t at;

	if (!(pci_read16(devfn, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return 0;
	at = pci_read8(devfn, after ? after + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST);
	for (int turns = 0; at >= 0x40 && turns < 48; turns++) {
		if (pci_read8(devfn, at) == id)
			return at;
		at = pci_read8(devfn, at + PCI_CAP_LIST_NEXT);
	}
	return 0;
}

uint64_t pci_bar(uint8_t devfn, unsigned bar)
{
	uint16_t off = (uint16_t)(PCI_BASE_ADDRESS_0 + bar * 4);
	uint32_t low = pci_read32(devfn, off);
	uint64_t high = 0;

	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return 0;
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
		high = pci_read32(devfn, off + 4);
	return high << 32 | (low & ~0xfu);
}

uint32_t pci_bar_size(uint8_t devfn, unsigned bar)
{
	uint16_t off = (uint16_t)(PCI_BASE_ADDRESS_0 + bar * 4);
	uint16_t command = pci_read16(devfn, PCI_COMMAND);
	uint32_t was = pci_read32(devfn, off), mask;

	pci_write16(devfn, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
	pci_write32(devfn, off, 0xffffffff);
	mask = pci_read32(devfn, off) & ~0xfu;
	pci_write32(devfn, off, was);
	pci_write16(devfn, PCI_COMMAND, command);
	return mask ? ~mask + 1 : 0;
}

void pci_enable(uint8_t devfn, bool on)
{
	const uint16_t bits = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	uint16_t command = pci_read16(devfn, PCI_COMMAND);

	pci_write16(devfn, PCI_COMMAND,
		    on ? command | bits : command & ~PCI_COMMAND_MEMORY);
}

unsigned pci_gsi(uint8_t devfn)
{
	uint8_t line = pci_read8(devfn, PCI_INTERRUPT_LINE);

	/* QEMU's q35 holds a PIC line there; its _PRT says 20 + slot % 4. */
	return line >= 16 && line < 24 ? line : 20 + (devfn >> 3) % 4;
}
