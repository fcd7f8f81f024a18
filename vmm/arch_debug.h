/*
 * What an architecture does for the debugger and for crash dumps; implemented in
 * vmm/<arch>/. Called on the main thread while the vCPUs' gate is closed, but for
 * arch_debug_exit().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/gmem.h"

struct vcpu;

/* --- crash dumps --------------------------------------------------------- */

/* An ELF file's e_machine. */
uint16_t arch_core_machine(void);

#define ARCH_PRSTATUS_MAX 512
/* A vCPU's NT_PRSTATUS, as Linux has it, into @buf; its length. */
size_t arch_core_prstatus(const struct vcpu *v, void *buf);

/* --- the debugger -------------------------------------------------------- */

#define ARCH_DEBUG_REGS_MAX 1024

/*
 * Where register @number, as gdb counts them, lies in what arch_debug_get_regs()
 * gives. false: there are fewer.
 */
bool arch_debug_reg(size_t number, size_t *ret_off, size_t *ret_len);

/* The registers as gdb's XML target description; the caller frees it. NULL: no memory.
 */
char *arch_debug_xml(void);

/* All registers, little-endian, ARCH_DEBUG_REGS_MAX bytes at most. -errno. */
int arch_debug_get_regs(const struct vcpu *v, void *buf);
int arch_debug_set_regs(const struct vcpu *v, const void *buf);

/*
 * The guest-physical address of @va as the vCPU sees it now, all that lies in its page
 * too. -EFAULT: nothing is mapped there.
 */
int arch_debug_translate(const struct vcpu *v, const struct gmem *mem, uint64_t va,
			 uint64_t *ret_gpa);

/* Breakpoints and watchpoints that the CPU has. */
#define ARCH_DEBUG_POINTS 4

enum arch_debug_kind { ARCH_DEBUG_EXEC, ARCH_DEBUG_WRITE, ARCH_DEBUG_ACCESS };

struct arch_debug_point {
	enum arch_debug_kind kind;
	uint64_t addr;
	unsigned len; /* 0: this place is free */
};

/* Whether the CPU can watch these @len bytes at once. */
bool arch_debug_can_watch(uint64_t addr, unsigned len);

/* From now on: ARCH_DEBUG_POINTS points, and @step: one instruction. -errno. */
int arch_debug_set(const struct vcpu *v, const struct arch_debug_point *points,
		   bool step);

/* Which points an exit for the debugger was about, as bits. vCPU thread. */
unsigned arch_debug_exit(const struct vcpu *v);
