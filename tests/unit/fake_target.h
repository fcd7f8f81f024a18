/*
 * What a gdb session works on in tests: four CPUs of three registers (of 8, 4 and 16
 * bytes), 64 KiB of memory at 0x10000 in which one page is missing, and a record of
 * how the guest was last let go.
 */
#pragma once

#include "vmm/gdb_session.h"

#define FAKE_CPUS 4
#define FAKE_REGS_SIZE 28
#define FAKE_MEMORY 0x10000
#define FAKE_MEMORY_SIZE 0x10000
#define FAKE_MISSING 0x14000 /* 4 KiB */

struct fake_target {
	unsigned char regs[FAKE_CPUS][FAKE_REGS_SIZE];
	unsigned char memory[FAKE_MEMORY_SIZE];
	bool running, killed;
	unsigned resumed, interrupted; /* how often */
	struct arch_debug_point points[ARCH_DEBUG_POINTS];
	enum gdb_action actions[FAKE_CPUS];
	struct gdb_session session;
};

/* Begin a session, as if gdb had just come. */
void fake_target_start(struct fake_target *t);
