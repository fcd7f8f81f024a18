/* Ways to end: the debug-exit port, a triple fault, and ACPI's soft-off (S5). */
#include "acpi.h"
#include "bare.h"

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
