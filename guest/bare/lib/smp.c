/* Starting the other processors (Intel SDM volume 3, 9.4 "Multiple-processor init"). */
#include "acpi.h"
#include "apic.h"
#include "bare.h"
#include "smp.h"

extern const char ap_code[], ap_code_end[];

/* Read by ap.S: a number for each processor, and its stack. */
unsigned smp_tickets;
uint8_t smp_stacks[AP_MAX][AP_STACK_SIZE] __attribute__((aligned(16)));

static void (*smp_work)(unsigned number);
static unsigned smp_up;

void smp_enter(unsigned number)
{
	trap_load();
	apic_init();
	__atomic_fetch_add(&smp_up, 1, __ATOMIC_SEQ_CST);
	cpu_irq_on();
	if (smp_work)
		smp_work(number);
	for (;;)
		cpu_irq_wait();
}

unsigned smp_start(void (*work)(unsigned number), unsigned *ret_expected)
{
	uint8_t ids[AP_MAX];
	unsigned n = acpi_processors(ids, AP_MAX), expected = 0;
	uint8_t self = apic_id();

	smp_work = work;
	memcpy((void *)AP_PAGE, ap_code, (size_t)(ap_code_end - ap_code));
	for (unsigned i = 0; i < n; i++) {
		unsigned before = __atomic_load_n(&smp_up, __ATOMIC_SEQ_CST);
		struct wait w = wait_start();

		if (ids[i] == self)
			continue;
		expected++;
		if (!apic_send(ids[i], APIC_INIT) ||
		    !apic_send(ids[i], APIC_STARTUP | AP_PAGE >> 12))
			continue;
		while (__atomic_load_n(&smp_up, __ATOMIC_SEQ_CST) == before &&
		       wait_more(&w))
			;
	}
	*ret_expected = expected;
	return __atomic_load_n(&smp_up, __ATOMIC_SEQ_CST);
}
