/*
 * Private to boot/x86_64: ACPI's tables, and what has to change in them when
 * firmware moves them elsewhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_POINTERS 6
#define ACPI_TABLES 4

struct acpi_area {
	uint8_t *base;
	uint64_t addr, size; /* in the guest */
	uint64_t used;
	bool pc; /* with a PIC, and BARs where a PC's firmware puts them */
	/* Offsets: of fields with addresses in the area, of tables with checksums. */
	size_t n_pointers, n_tables;
	struct acpi_pointer {
		uint32_t at;
		uint8_t size;
	} pointers[ACPI_POINTERS];
	struct acpi_table {
		uint32_t at, len;
	} tables[ACPI_TABLES];
};

#define ACPI_CHECKSUM 9 /* where it is in a table */

struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));

/* Put the tables behind what is used of @area; @n_cpus is 1 to 255. */
struct acpi_rsdp acpi_put(struct acpi_area *area, unsigned n_cpus);
