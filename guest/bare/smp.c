/*
 * Processors: every one of the MADT comes up, under an APIC id of its own, and answers
 * an inter-processor interrupt with another.
 */
#include "apic.h"
#include "bare.h"
#include "smp.h"

static volatile uint8_t ids[AP_MAX];
static volatile bool ready[AP_MAX];
static volatile unsigned answers;
static uint8_t first_id;

static void answer(void *arg)
{
	(void)arg;
	if (apic_id() == first_id)
		answers++;
	else
		apic_send(first_id, APIC_FIXED | VECTOR_IPI);
}

static void work(unsigned number)
{
	ids[number] = apic_id();
	cpu_barrier();
	ready[number] = true;
}

static bool wait_ready(unsigned number)
{
	struct wait w = wait_start();

	while (!ready[number])
		if (!wait_more(&w))
			return false;
	return true;
}

void guest_main(void)
{
	unsigned expected, up;

	apic_init();
	first_id = apic_id();
	trap_set(VECTOR_IPI, answer, NULL);
	up = smp_start(work, &expected);
	print("processors %u\n", up + 1);
	if (!test_check(up == expected, "processors come up", "%u of %u", up, expected))
		return;
	for (unsigned i = 0; i < up; i++) {
		unsigned before = answers;

		if (!wait_ready(i)) {
			test_fail("processor", "number %u has not reported", i);
			return;
		}
		for (unsigned j = 0; j < i; j++)
			if (ids[j] == ids[i])
				test_fail("APIC ids", "%u appears twice", ids[i]);
		if (ids[i] == first_id)
			test_fail("APIC ids", "%u is the first processor's", first_id);
		if (!apic_send(ids[i], APIC_FIXED | VECTOR_IPI) ||
		    !apic_sleep_until_changed(&answers, before))
			test_fail("interrupt", "APIC id %u did not answer", ids[i]);
	}
	test_check(answers == up, "interrupts go round", "%u of %u answers", answers,
		   up);
}
