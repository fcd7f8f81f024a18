/*
 * What every bare-metal test guest stands on: output, verdicts, words of the command
 * line, what the loader handed over, memory, exceptions and interrupts, bounded waits,
 * and ways to end. Single-threaded unless smp.h says otherwise.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io.h"
#include "layout.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The guest's own program; start() calls it, and ends as test_end() does after it. */
void guest_main(void);

/* print.c: COM1, polled. Knows %s %c %d %u %x, l, and 0 with a width. */
void print_init(void);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void print_va(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
void print_char(char c);
/* Waits (bounded) for a character of COM1; -1 when none came. */
int print_read(void);

/* test.c: one line a verdict, "PASS what" or "FAIL what: why". */
void test_pass(const char *what);
void test_fail(const char *what, const char *why, ...)
	__attribute__((format(printf, 2, 3)));
/* Passes `what` if ok, otherwise fails it for the reason given; returns ok. */
bool test_check(bool ok, const char *what, const char *why, ...)
	__attribute__((format(printf, 3, 4)));
/* Debug-exit 0 if nothing failed, otherwise 1. */
_Noreturn void test_end(void);

/* args.c: words of the command line, "key=value" or "key" alone (whose value is ""). */
bool arg_has(const char *key);
/* Copies the value up to the next blank; false (and an empty string) without the key.
 */
bool arg_text(const char *key, char *ret, size_t size);
bool arg_is(const char *key, const char *value);
/* Decimal, or hexadecimal with 0x. */
uint64_t arg_number(const char *key, uint64_t otherwise);

/* boot.c: what the loader handed over, copied before anything overwrites it. */
#define BOOT_RANGES 32
#define BOOT_RAM 1 /* type of a range; the others are E820's too */
struct boot_range {
	uint64_t start, size;
	uint32_t type;
};
struct boot {
	int entry; /* ENTRY_* */
	uintptr_t info; /* the loader's own structure, as it was handed over */
	char cmdline[4096];
	struct boot_range range[BOOT_RANGES];
	unsigned ranges;
	uint64_t initrd, initrd_size;
	uint64_t rsdp;
	uint64_t setup_data;
	const char *flaw; /* what was wrong with the structure, or NULL */
};
extern struct boot boot;
void boot_read(int entry, uintptr_t info);

/* mem.c. The first four are what the compiler wants. */
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
/* The 2 MiB page around a physical address above 4 GiB, seen through a window. */
void *mem_window(uint64_t physical);

/* trap.c: an exception prints where and why, and ends with debug-exit 63. */
struct trap_frame {
	uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};
#define TRAP_EXIT 63
#define TRAP_SPURIOUS (TRAP_VECTORS - 1)
void trap_init(void);
void trap_load(void); /* on a further processor */
void trap_set(unsigned vector, void (*handler)(void *arg), void *arg);
void trap(struct trap_frame *frame);

/* wait.c: every wait has an end, in cycles of the TSC and in turns. */
struct wait {
	uint64_t until;
	uint32_t turns;
};
struct wait wait_start(void); /* some seconds */
struct wait wait_briefly(void); /* some milliseconds: "has nothing happened?" */
bool wait_more(struct wait *wait); /* false: time is up */

/* power.c */
_Noreturn void power_debug_exit(uint8_t value);
_Noreturn void power_triple_fault(void);
void power_acpi_off(void); /* returns only if it did not work */
/* Tells pvpanic; as a verdict, and false where there is none. */
bool power_pvpanic(uint8_t event);

_Noreturn void start(int entry, uintptr_t info);
