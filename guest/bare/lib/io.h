/*
 * One instruction each: ports, device registers in memory, and what C has no words for.
 * Device registers are read and written with exactly the width that the name says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define IO_PORT(bits, suffix)                                                        \
	static inline uint##bits##_t port_in##bits(uint16_t port)                    \
	{                                                                            \
		uint##bits##_t value;                                                \
		__asm__ volatile("in" suffix " %1, %0" : "=a"(value) : "Nd"(port));  \
		return value;                                                        \
	}                                                                            \
	static inline void port_out##bits(uint16_t port, uint##bits##_t value)       \
	{                                                                            \
		__asm__ volatile("out" suffix " %0, %1" : : "a"(value), "Nd"(port)); \
	}

#define IO_MMIO(bits)                                                             \
	static inline uint##bits##_t mmio_read##bits(uintptr_t addr)              \
	{                                                                         \
		return *(volatile uint##bits##_t *)addr;                          \
	}                                                                         \
	static inline void mmio_write##bits(uintptr_t addr, uint##bits##_t value) \
	{                                                                         \
		*(volatile uint##bits##_t *)addr = value;                         \
	}

IO_PORT(8, "b")
IO_PORT(16, "w")
IO_PORT(32, "l")
IO_MMIO(8)
IO_MMIO(16)
IO_MMIO(32)
IO_MMIO(64)

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid cpu_id(uint32_t leaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
			 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
			 : "a"(leaf), "c"(0));
	return r;
}

static inline uint64_t cpu_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline uint64_t cpu_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void cpu_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(msr)
			 : "memory");
}

static inline void cpu_irq_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void cpu_irq_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/* Sleeps until an interrupt; sti opens the door only behind hlt, so none is missed. */
static inline void cpu_irq_wait(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void cpu_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* The compiler may not move memory accesses across; x86 keeps loads and stores apart.
 */
static inline void cpu_barrier(void)
{
	__asm__ volatile("" : : : "memory");
}

/* Stores before, loads after. A locked add, since KVM's emulator knows no mfence. */
static inline void cpu_fence(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc");
}
