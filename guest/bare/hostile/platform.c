/* Attacks on the rest of the machine: ports, holes in memory, I/O APIC, clock, UART. */
#include "acpi.h"
#include "apic.h"
#include "bare.h"
#include "hostile.h"
#include "pci.h"

/* Where even a zero ends the machine: a debug-exit device. */
static bool ends_machine(unsigned port)
{
	unsigned debug = (unsigned)arg_number("debugport", 0xf4);

	return port + 4 > debug && port < debug + 4;
}

static void ports(void)
{
	for (unsigned port = 0; port < 0xfffc; port += 0x3d) {
		port_in8((uint16_t)port);
		port_in16((uint16_t)port);
		port_in32((uint16_t)port);
		if (ends_machine(port))
			continue;
		port_out8((uint16_t)port, 0);
		port_out16((uint16_t)port, 0);
		port_out32((uint16_t)port, 0);
	}
	port_in8(0xffff);
	port_in16(0xffff);
	port_in32(0xffff);
	port_out32(0xffff, 0);
	print_init();
}

/* At what the machine has there: overlapping, wide, and many at once. */
static void ports_known(void)
{
	static const uint16_t known[] = { 0x20,	 0x40,	0x60,  0x61,  0x64,
					  0x70,	 0x71,	0x92,  0x2e8, 0x2f8,
					  0x3e8, 0x3f8, 0x402, 0x510, 0xcf7,
					  0xcf8, 0xcfb, 0xcfc, 0xcff, 0x1234 };
	static uint8_t buffer[256];

	for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
		uint16_t port = known[i];
		uint8_t *to = buffer;
		size_t n = 64;

		for (uint16_t p = port - 1; p != port + 8; p++) {
			port_in8(p);
			port_in16(p);
			port_in32(p);
		}
		__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
		to = buffer;
		n = 64;
		__asm__ volatile("rep insw" : "+D"(to), "+c"(n) : "d"(port) : "memory");
		to = buffer;
		n = 64;
		__asm__ volatile("rep insl" : "+D"(to), "+c"(n) : "d"(port) : "memory");
		memset(buffer, 0, sizeof(buffer));
		to = buffer;
		n = 4;
		__asm__ volatile("rep outsl"
				 : "+S"(to), "+c"(n)
				 : "d"(port)
				 : "memory");
		to = buffer + 16;
		n = 8;
		/* Backwards. */
		__asm__ volatile("std; rep outsw; cld"
				 : "+S"(to), "+c"(n)
				 : "d"(port)
				 : "memory");
	}
	print_init();
	print_char('\n'); /* COM1 was among them */
}

static void holes(void)
{
	uintptr_t ecam = acpi_ecam();

	for (uintptr_t at = 0xd0000000; at < 0xfffffff0; at += 0x1234567) {
		bool known = (at >= ecam && at < ecam + (1 << 28)) ||
			     (at >= dev.common - 0x8000 && at < dev.common + 0x8000);

		mmio_read8(at);
		mmio_read16(at | 1);
		mmio_read32(at | 3);
		mmio_read64(at | 7);
		if (known)
			continue;
		mmio_write8(at, 0xff);
		mmio_write16(at | 1, 0xffff);
		mmio_write32(at | 3, ~0u);
		mmio_write64(at | 7, ~0ull);
	}
	/* The last byte below 4 GiB, and over a page's edge. */
	mmio_read8(0xffffffff);
	mmio_read64(0xfffffff8);
	mmio_read64(0xd0000ffc);
	mmio_write64(0xfec01ffc, ~0ull);
	mmio_read32((uintptr_t)mem_window(1ull << 38));
	mmio_write32((uintptr_t)mem_window((1ull << 39) - 4), ~0u);
}

/* Every pin with every delivery mode, masked; odd registers and widths. */
static void io_apic(void)
{
	uintptr_t base = acpi_ioapic();

	for (unsigned mode = 0; mode < 8; mode++)
		for (unsigned pin = 0; pin < 32; pin += 5) {
			ioapic_write((uint8_t)(0x11 + pin * 2), 0xffffffff);
			ioapic_write((uint8_t)(0x10 + pin * 2), 0x1e0ff | mode << 8);
			ioapic_write((uint8_t)(0x10 + pin * 2), 0x10000);
		}
	for (unsigned reg = 0; reg < 256; reg += 17) {
		ioapic_read((uint8_t)reg);
		if (reg < 0x10 || reg >= 0x40)
			ioapic_write((uint8_t)reg, 0xffffffff);
	}
	/* Vectors that no processor takes; nothing is raised there. */
	ioapic_write(0x10 + 2 * 4, 0x0f);
	ioapic_write(0x10 + 2 * 4, 0x10000);
	for (unsigned off = 0; off < 0x100; off += 0x11) {
		mmio_read8(base + off);
		mmio_read64(base + off);
		mmio_write8(base + off, 0);
	}
	mmio_read64(base + 0xffc);
	for (unsigned vector = 0; vector < 256; vector += 51)
		mmio_write32(base + 0x40, vector);
}

static void clock(void)
{
	for (unsigned i = 0; i < 256; i += 3) {
		port_out8(0x70, (uint8_t)i);
		port_in8(0x71);
		port_out8(0x71, 0xff);
		port_in8(0x70);
	}
	port_out8(0x70, 0x0b);
	port_out8(0x71, 0x02);
}

static void uart(void)
{
	static const uint16_t com[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };

	for (unsigned i = 0; i < ARRAY_SIZE(com); i++) {
		for (uint16_t reg = 1; reg < 8; reg++) {
			port_out8((uint16_t)(com[i] + reg), 0xff);
			port_in8((uint16_t)(com[i] + reg));
			port_out8((uint16_t)(com[i] + reg), 0x00);
		}
		/* Divisor 0; loopback filled over and over. */
		port_out8((uint16_t)(com[i] + 3), 0x80);
		port_out16(com[i], 0);
		port_out8((uint16_t)(com[i] + 3), 0x03);
		port_out8((uint16_t)(com[i] + 4), 0x1f);
		for (unsigned n = 0; n < 100; n++)
			port_out8(com[i], (uint8_t)n);
		port_out8((uint16_t)(com[i] + 4), 0);
		port_out8((uint16_t)(com[i] + 2), 0x07);
	}
	print_init();
}

/* The power registers, without the bit that puts the machine to sleep. */
static void power(void)
{
	const struct acpi_fadt *fadt = (const void *)acpi_find("FACP");
	uint16_t event = (uint16_t)(fadt ? fadt->pm1a_event : 0);
	uint16_t control = (uint16_t)(fadt ? fadt->pm1a_control : 0);

	for (uint16_t i = 0; event && i < 8; i++) {
		port_in8(event + i);
		port_in32(event + i);
		port_out8(event + i, 0);
	}
	for (uint16_t i = 0; control && i < 4; i++) {
		port_in8(control + i);
		port_in32(control + i);
	}
	if (control) {
		port_out16(control, 0xdfff);
		port_out8(control, 0xff);
		port_out16(control, 0);
	}
	port_out16(event, 0xffff);
	port_out16(event + 2, 0);
	port_out8(0xcf9, 0);
	port_out8(0xcf9, 0x02);
	port_out8(0x64, 0xfd);
	port_out8(0x64, 0xd1);
	port_out8(0x60, 0xff);
}

/* A function's first BAR: each register at each width; @value goes to the even ones. */
static uint64_t registers(uint8_t devfn, uint64_t value)
{
	uint64_t bar;

	pci_enable(devfn, true);
	bar = pci_bar(devfn, 0);
	for (unsigned off = 0; off < 32; off++) {
		mmio_read8(bar + off);
		mmio_read16(bar + off);
		mmio_read32(bar + off);
		mmio_read64(bar + off);
		if (off % 2)
			continue;
		mmio_write8(bar + off, (uint8_t)value);
		mmio_write16(bar + off, (uint16_t)value);
		mmio_write32(bar + off, (uint32_t)value);
		mmio_write64(bar + off, value);
	}
	mmio_read64(bar + 0xffc);
	mmio_write64(bar + 0xffc, value);
	return bar;
}

/* A watchdog that barks as often as it can, without biting; and again while it does. */
static void watchdog(void)
{
	int found = pci_find(0x8086, 0x25ab, 0);
	uint8_t devfn = (uint8_t)found;
	uint64_t bar;

	if (found < 0)
		return;
	pci_write16(devfn, 0x60, 0xffff);
	bar = registers(devfn, ~0ull);
	for (unsigned reg = 0; reg < 8; reg += 4) {
		mmio_write16(bar + 12, 0x80);
		mmio_write16(bar + 12, 0x86);
		mmio_write32(bar + reg, 0);
	}
	pci_write8(devfn, 0x68, 6); /* free-running, and on */
	for (unsigned i = 0; i < 20; i++) {
		struct wait w = wait_briefly();

		while (wait_more(&w))
			;
		registers(devfn, i % 2 ? ~0ull : 0);
		pci_write8(devfn, 0x68, i % 4 ? 6 : 0);
	}
	pci_enable(devfn, false);
	pci_write32(devfn, 0x68, 0xfffffff8);
}

/* All but the events that end the machine. */
static void pvpanic(void)
{
	int found = pci_find(0x1b36, 0x0011, 0);

	if (found >= 0)
		registers((uint8_t)found, 0xfcfcfcfcfcfcfcfc);
}

const struct attack platform_attacks[] = {
	{ "ports", ports, 0 },	   { "ports-known", ports_known, 0 },
	{ "holes", holes, 0 },	   { "io-apic", io_apic, 0 },
	{ "clock", clock, 0 },	   { "uart", uart, 0 },
	{ "power", power, 0 },	   { "watchdog", watchdog, 0 },
	{ "pvpanic", pvpanic, 0 }, { 0 },
};
