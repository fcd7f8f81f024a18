/*
 * The power button (ACPI 6.3, 4.8.3.1): enables its event, waits for the SCI that a
 * press raises, acknowledges it, and powers off. The word times=N: after N presses.
 */
#include "acpi.h"
#include "apic.h"
#include "bare.h"

enum { VECTOR_SCI = VECTOR_DEVICES, POWER_BUTTON = 0x100, NO_FIXED_BUTTON = 1 << 4 };

static uint16_t status_port, status_seen;
static volatile unsigned events;

static void on_sci(void *arg)
{
	(void)arg;
	status_seen = port_in16(status_port);
	port_out16(status_port, status_seen);
	events++;
}

void guest_main(void)
{
	const struct acpi_fadt *fadt = (const void *)acpi_find("FACP");
	unsigned times = (unsigned)arg_number("times", 1);

	if (!test_check(fadt && !(fadt->flags & NO_FIXED_BUTTON), "power button",
			"the FADT tells of none"))
		return;
	apic_init();
	status_port = (uint16_t)fadt->pm1a_event;
	trap_set(VECTOR_SCI, on_sci, NULL);
	ioapic_route(fadt->sci, VECTOR_SCI, true);
	port_out16(status_port + 2, POWER_BUTTON);
	print("hello: waiting for the power button\n");
	cpu_irq_off();
	for (unsigned n = 0; n < times;) {
		while (events == n)
			cpu_irq_wait();
		n = events;
		print("pressed %u\n", n);
	}
	test_check(status_seen == POWER_BUTTON, "event", "status %x", status_seen);
	test_check(port_in16(status_port) == 0, "acknowledged", "status %x",
		   port_in16(status_port));
	power_acpi_off();
	test_fail("power off", "the machine goes on");
}
