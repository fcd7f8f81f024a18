/* Ways to end: the debug-exit port, a triple fault, and ACPI's soft-off (S5). */
#include "acpi.h"
#include "bare.h"
#include "pci.h"

void power_triple_fault(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} none = { 0, 0 };

	/* Without an IDT the fault cannot be delivered, nor the double fault after it.
	 */
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
	__builtin_unreachable();
}

void power_debug_exit(uint8_t value)
{
	struct wait w = wait_start();

	port_out8((uint16_t)arg_number("debugport", 0xf4), value);
	while (wait_more(&w))
		;
	print("the debug-exit port did not end the machine\n");
	power_triple_fault();
}

void power_acpi_off(void)
{
	const struct acpi_fadt *fadt = (const void *)acpi_find("FACP");
	struct wait w = wait_start();
	uint8_t type;

	if (!fadt || !acpi_sleep_type(fadt, &type))
		return;
	port_out16((uint16_t)fadt->pm1a_control, (uint16_t)(type << 10 | 1 << 13));
	while (wait_more(&w))
		;
}

bool power_pvpanic(uint8_t event)
{
	int devfn = pci_find(0x1b36, 0x0011, 0);
	uint64_t bar;

	if (!test_check(devfn >= 0, "pvpanic", "there is none"))
		return false;
	pci_enable((uint8_t)devfn, true);
	bar = pci_bar((uint8_t)devfn, 0);
	if (!test_check(mmio_read8(bar) == 3, "pvpanic's events", "%02x",
			mmio_read8(bar)))
		return false;
	mmio_write8(bar, event);
	return true;
}
