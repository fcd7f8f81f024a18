/*
 * Processors that access devices without pause, to be suspended and resumed by the host
 * meanwhile: no access may be lost, or made twice. The first one prints numbered lines,
 * byte by byte and by string instructions, until rounds=N are done; the others write
 * and read back registers by ports and in memory.
 */
#include "acpi.h"
#include "apic.h"
#include "bare.h"
#include "smp.h"

enum {
	COM1 = 0x3f8,
	SCRATCH = 7,
	BRIDGE = 0x12378086, /* what bus 0's first function is */
};

static const uint16_t ports[] = { 0x2f8, 0x3e8, 0x2e8 };
static volatile bool stop;
static volatile unsigned passes[AP_MAX], errors[AP_MAX];

static void work(unsigned number)
{
	uintptr_t ecam = acpi_ecam();
	uint16_t port = (uint16_t)(ports[number % ARRAY_SIZE(ports)] + SCRATCH);

	while (!stop) {
		uint8_t v = (uint8_t)passes[number];

		port_out8(port, v);
		if (port_in8(port) != v)
			errors[number]++;
		if (mmio_read32(ecam) != BRIDGE)
			errors[number]++;
		/* By two exits, for it crosses a page: function 0's last register, 1's
		 * first. */
		if (*(volatile uint64_t *)(ecam + 0xffc) != ~0ull << 32)
			errors[number]++;
		passes[number]++;
	}
}

/* Once the transmitter is empty it takes as much as its FIFO holds. */
static void put_string(const char *text, size_t len)
{
	while (!(port_in8(COM1 + 5) & 0x20))
		;
	__asm__ volatile("rep outsb" : "+S"(text), "+c"(len) : "d"(COM1) : "memory");
}

void guest_main(void)
{
	unsigned expected, up, rounds = (unsigned)arg_number("rounds", 100);

	apic_init();
	up = smp_start(work, &expected);
	test_check(up == expected, "processors come up", "%u of %u", up, expected);
	print("hello: %u processors\n", up + 1);
	for (unsigned i = 0; i < rounds; i++) {
		print("line %u ", i);
		put_string("0123456789", 10);
		print(" of the storm\n");
	}
	stop = true;
	for (unsigned i = 0; i < up; i++)
		test_check(passes[i] > 0 && errors[i] == 0, "accesses",
			   "processor %u: %u of %u passes had an error", i + 1,
			   errors[i], passes[i]);
}
