/* Interrupt descriptor table, exceptions, and handlers of interrupt vectors. */
#include "apic.h"
#include "bare.h"

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};
struct __attribute__((packed)) table {
	uint16_t limit;
	uint64_t base;
};
enum { GATE_INTERRUPT = 0x8e, EXCEPTIONS = 0x20 };

static struct gate gates[TRAP_VECTORS];
static struct {
	void (*handler)(void *arg);
	void *arg;
} handlers[TRAP_VECTORS];

void trap_load(void)
{
	struct table idt = { sizeof(gates) - 1, (uintptr_t)gates };

	__asm__ volatile("lidt %0" : : "m"(idt));
}

void trap_init(void)
{
	extern char trap_stubs[];

	for (unsigned i = 0; i < TRAP_VECTORS; i++) {
		uintptr_t stub = (uintptr_t)trap_stubs + i * TRAP_STUB_SIZE;

		gates[i].offset_low = (uint16_t)stub;
		gates[i].offset_middle = (uint16_t)(stub >> 16);
		gates[i].selector = SEL_CODE64;
		gates[i].type = GATE_INTERRUPT;
	}
	trap_load();
}

void trap_set(unsigned vector, void (*handler)(void *arg), void *arg)
{
	handlers[vector].handler = handler;
	handlers[vector].arg = arg;
}

void trap(struct trap_frame *frame)
{
	if (frame->vector < EXCEPTIONS) {
		uint64_t cr2;

		__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
		print("\nexception %lu at %lx, error code %lx, cr2 %lx\n",
		      frame->vector, frame->rip, frame->error, cr2);
		power_debug_exit(TRAP_EXIT);
	}
	if (handlers[frame->vector].handler)
		handlers[frame->vector].handler(handlers[frame->vector].arg);
	if (frame->vector != TRAP_SPURIOUS)
		apic_eoi();
}
