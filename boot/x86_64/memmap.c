/*
 * The memory map that guests are told, and the tables that their first CPU starts
 * with: page tables and segment descriptors.
 */
#include "boot/x86_64/loader.h"

#include "base/bytes.h"
#include "boot/x86_64/layout.h"

#define E820_RAM 1
#define E820_RESERVED 2

/* Page table entries (Intel SDM volume 3, 4.5). */
#define PTE_PRESENT_WRITE 0x3
#define PTE_LARGE 0x80
#define PAGE_SIZE 4096u
#define TABLE_ENTRIES 512u
#define IDENTITY_GIB 4u

/* Flat segments of 4 GiB: accessed, present; code is readable, data writable. */
#define GDT_CODE64 0x00af9b000000ffff
#define GDT_CODE32 0x00cf9b000000ffff
#define GDT_DATA 0x00cf93000000ffff

size_t memmap_fill(const struct gmem *mem, uint32_t low_end,
		   struct boot_e820_entry map[MEMMAP_MAX])
{
	uint64_t end = mem->ranges[0].len;
	size_t n = 0;

	map[n++] = (struct boot_e820_entry){ 0, low_end, E820_RAM };
	/* Where a PC has video memory and ROMs; ours holds ACPI's tables. */
	map[n++] = (struct boot_e820_entry){ low_end, LAYOUT_HIGH_RAM - low_end,
					     E820_RESERVED };
	if (end > LAYOUT_HIGH_RAM)
		map[n++] = (struct boot_e820_entry){ LAYOUT_HIGH_RAM,
						     end - LAYOUT_HIGH_RAM, E820_RAM };
	/* Linux trusts the MCFG only where the map, or ACPI, reserves the range. */
	map[n++] = (struct boot_e820_entry){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE,
					     E820_RESERVED };
	for (size_t i = 1; i < mem->n_ranges; i++)
		map[n++] = (struct boot_e820_entry){ mem->ranges[i].gpa.v,
						     mem->ranges[i].len, E820_RAM };
	return n;
}

void paging_write(const struct gmem *mem)
{
	uint64_t *table = gmem_slice(mem, GPA(LAYOUT_PML4),
				     (2 + IDENTITY_GIB) * (uint64_t)PAGE_SIZE);
	uint64_t *directory = table + TABLE_ENTRIES;
	uint64_t *pages = directory + TABLE_ENTRIES;

	table[0] = (LAYOUT_PML4 + PAGE_SIZE) | PTE_PRESENT_WRITE;
	for (uint64_t i = 0; i < IDENTITY_GIB; i++)
		directory[i] = (LAYOUT_PML4 + (2 + i) * PAGE_SIZE) | PTE_PRESENT_WRITE;
	for (uint64_t i = 0; i < IDENTITY_GIB * TABLE_ENTRIES; i++)
		pages[i] = i << 21 | PTE_LARGE | PTE_PRESENT_WRITE;
}

void gdt_write(const struct gmem *mem, enum boot_mode mode)
{
	uint64_t *gdt = gmem_slice(mem, GPA(LAYOUT_GDT), LAYOUT_GDT_LIMIT + 1);

	gdt[2] = mode == BOOT_LONG64 ? GDT_CODE64 : GDT_CODE32;
	gdt[3] = GDT_DATA;
}
