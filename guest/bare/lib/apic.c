/* Local APIC (in xAPIC mode) and I/O APIC. See apic.h. */
#include "acpi.h"
#include "apic.h"
#include "bare.h"

enum {
	LAPIC = 0xfee00000,
	LAPIC_ID = 0x20,
	LAPIC_EOI = 0xb0,
	LAPIC_SPURIOUS = 0xf0,
	LAPIC_COMMAND = 0x300,
	LAPIC_TARGET = 0x310,
	LAPIC_TIMER = 0x320,
	LAPIC_TIMER_COUNT = 0x380,
	LAPIC_TIMER_DIVIDE = 0x3e0,
	LAPIC_ENABLED = 0x100,
	LAPIC_PENDING = 0x1000,
	LAPIC_DIVIDE_BY_128 = 0xa,
	/* KVM counts nanoseconds: about five seconds. */
	TIMER_LIMIT = 40000000,
	IOAPIC_PIN = 0x10,
	PIN_LOW_LEVEL = 0xa000,
	PIN_MASKED = 0x10000,
};
#define MSR_APIC_BASE 0x1b
#define APIC_BASE_ENABLED 0x800u

static volatile unsigned alarms;

static void apic_alarm(void *arg)
{
	(void)arg;
	alarms++;
}

void apic_init(void)
{
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
	cpu_wrmsr(MSR_APIC_BASE, cpu_rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLED);
	mmio_write32(LAPIC + LAPIC_SPURIOUS, LAPIC_ENABLED | TRAP_SPURIOUS);
	mmio_write32(LAPIC + LAPIC_TIMER_DIVIDE, LAPIC_DIVIDE_BY_128);
	mmio_write32(LAPIC + LAPIC_TIMER, VECTOR_TIMER);
	trap_set(VECTOR_TIMER, apic_alarm, NULL);
}

uint8_t apic_id(void)
{
	return (uint8_t)(mmio_read32(LAPIC + LAPIC_ID) >> 24);
}

void apic_eoi(void)
{
	mmio_write32(LAPIC + LAPIC_EOI, 0);
}

bool apic_send(uint8_t id, uint32_t command)
{
	struct wait w = wait_start();

	mmio_write32(LAPIC + LAPIC_TARGET, (uint32_t)id << 24);
	mmio_write32(LAPIC + LAPIC_COMMAND, command);
	while (mmio_read32(LAPIC + LAPIC_COMMAND) & LAPIC_PENDING)
		if (!wait_more(&w))
			return false;
	return true;
}

bool apic_sleep_until_changed(const volatile unsigned *counter, unsigned old)
{
	unsigned before = alarms;

	mmio_write32(LAPIC + LAPIC_TIMER_COUNT, TIMER_LIMIT);
	cpu_irq_off();
	while (*counter == old && alarms == before)
		cpu_irq_wait();
	cpu_irq_on();
	mmio_write32(LAPIC + LAPIC_TIMER_COUNT, 0);
	return *counter != old;
}

static uintptr_t ioapic(void)
{
	static uintptr_t base;

	if (!base)
		base = acpi_ioapic();
	return base;
}

uint32_t ioapic_read(uint8_t index)
{
	mmio_write32(ioapic(), index);
	return mmio_read32(ioapic() + 0x10);
}

void ioapic_write(uint8_t index, uint32_t value)
{
	mmio_write32(ioapic(), index);
	mmio_write32(ioapic() + 0x10, value);
}

void ioapic_route(unsigned gsi, uint8_t vector, bool pci)
{
	uint8_t pin = (uint8_t)(IOAPIC_PIN + gsi * 2);

	ioapic_write(pin + 1, (uint32_t)apic_id() << 24);
	ioapic_write(pin, vector | (pci ? PIN_LOW_LEVEL : 0));
}

void ioapic_mask(unsigned gsi)
{
	ioapic_write((uint8_t)(IOAPIC_PIN + gsi * 2), PIN_MASKED);
}
