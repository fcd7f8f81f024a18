/*
 * Where things lie in an x86_64 guest's physical memory and I/O space.
 * Shared by the loaders, the ACPI tables (boot/x86_64/dsdt.asl repeats some of
 * these: a unit test compares) and the machine.
 */
#pragma once

/* Low memory, written before the guest starts and free for it afterwards. */
#define LAYOUT_GDT 0x1500 /* null, null, code 0x10, data 0x18 */
#define LAYOUT_GDT_LIMIT 0x1f
#define LAYOUT_START_INFO 0x6000 /* PVH */
#define LAYOUT_ZERO_PAGE 0x7000
#define LAYOUT_PML4 0x9000 /* then PDPT, then four page directories: to 0xf000 */
#define LAYOUT_CMDLINE 0x20000
#define LAYOUT_CMDLINE_MAX 0x10000 /* bytes reserved, terminator included */
#define LAYOUT_SETUP_DATA 0x30000
#define LAYOUT_FIRMWARE_ACPI 0x9c000 /* with firmware, whose own LAYOUT_ACPI is */
#define LAYOUT_LOW_RAM_END 0xa0000
#define LAYOUT_ACPI 0xe0000 /* RSDP first; to LAYOUT_ACPI_END */
#define LAYOUT_ACPI_END 0x100000
#define LAYOUT_HIGH_RAM 0x100000
/* Firmware: its end is here also. */
#define LAYOUT_ROM_LOW 0xe0000
#define LAYOUT_ROM_LOW_SIZE 0x20000

/* The hole below 4 GiB. */
#define LAYOUT_HOLE 0xd0000000ull /* RAM ends here, and goes on at 4 GiB */
#define LAYOUT_HOLE_END 0x100000000ull
#define LAYOUT_PCI_WINDOW 0xd0000000u
#define LAYOUT_PCI_WINDOW_END 0xf4000000u
#define LAYOUT_ECAM 0xf4000000u
#define LAYOUT_ECAM_SIZE 0x100000u
#define LAYOUT_PC_WINDOW_END LAYOUT_IOAPIC /* of a second one, behind the ECAM */
#define LAYOUT_IOAPIC 0xfec00000u
#define LAYOUT_LAPIC 0xfee00000u
#define LAYOUT_IDENTITY_MAP 0xfeffc000u /* KVM on old Intel CPUs */
#define LAYOUT_TSS 0xfeffd000u
#define LAYOUT_FIRMWARE_KEY 0xfe000000u /* struct key_block, one page */
#define LAYOUT_ROM_MAX 0x1000000u /* firmware ends at LAYOUT_HOLE_END */

#define LAYOUT_RTC_CENTURY 0x32 /* in CMOS memory */

/* I/O ports of ACPI power management. */
#define LAYOUT_PM1_EVENT 0x600 /* 4 bytes: status, enable */
#define LAYOUT_PM1_CONTROL 0x604 /* 2 bytes */
#define LAYOUT_RESET_PORT 0xcf9
#define LAYOUT_RESET_VALUE 6

/* Interrupts. */
#define LAYOUT_GSI_SCI 9
#define LAYOUT_GSI_INTX 16 /* slot s uses GSI 16 + s % 8 */
#define LAYOUT_IOAPIC_PINS 24
