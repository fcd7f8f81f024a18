/* ACPI tables (ACPI 6.3, chapters 5.2.5-5.2.12), reached through the loader's RSDP. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct __attribute__((packed)) acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table[8];
	uint32_t oem_revision, creator, creator_revision;
};

struct __attribute__((packed)) acpi_fadt {
	struct acpi_header header;
	uint32_t facs, dsdt;
	uint8_t reserved0[2];
	uint16_t sci;
	uint32_t smi_command;
	uint8_t reserved1[4];
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	uint8_t reserved2[37];
	uint16_t boot_flags;
	uint8_t reserved3;
	uint32_t flags;
	uint8_t reset_register[12], reset_value;
	uint8_t reserved4[3];
	uint64_t x_facs, x_dsdt; /* at 132 and 140 */
};

/* Zero if the bytes add up as a checksum asks. */
uint8_t acpi_sum(const void *p, size_t length);
/* The RSDP, from the loader or else searched below 1 MiB; NULL. */
const void *acpi_rsdp(void);
/* The XSDT's n-th table; NULL behind the last. */
const struct acpi_header *acpi_table(unsigned n);
/* The table of this signature if its checksum is right; NULL. */
const struct acpi_header *acpi_find(const char *signature);
const struct acpi_header *acpi_dsdt(const struct acpi_fadt *fadt);
/* SLP_TYP of S5, read from the DSDT's _S5 package. */
bool acpi_sleep_type(const struct acpi_fadt *fadt, uint8_t *ret);
/* From the MADT: enabled processors' APIC ids (how many), and the I/O APIC's address.
 */
unsigned acpi_processors(uint8_t *ret_ids, unsigned max);
uintptr_t acpi_ioapic(void);
/* From the MCFG: where bus 0 begins; 0 without. */
uintptr_t acpi_ecam(void);
