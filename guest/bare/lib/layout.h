/* Numbers which the assembly files and the C files share. */
#pragma once

#define ENTRY_PVH 1
#define ENTRY_LINUX64 2
#define ENTRY_LINUX32 3
#define ENTRY_MULTIBOOT 4

#define SEL_CODE64 0x08
#define SEL_DATA 0x10
#define SEL_CODE32 0x18

#define CR0_PE 0x1
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

#define PAGE_PRESENT_WRITE 0x3
#define PAGE_LARGE 0x80

#define STACK_SIZE 0x4000

/* Vectors below 0x20 are exceptions; the highest one is the LAPIC's spurious vector. */
#define TRAP_VECTORS 0x50
#define TRAP_STUB_SIZE 16

/* Started processors run from here in real mode: below 640 KiB, page-aligned. */
#define AP_PAGE 0x10000
#define AP_STACK_SIZE 0x1000
#define AP_MAX 64
