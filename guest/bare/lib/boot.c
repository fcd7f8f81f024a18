/*
 * What the loader handed over: hvm_start_info (Xen's start_info.h, versions 0 and 1),
 * multiboot_info or the Linux zero page (struct boot_params), copied into one form.
 */
#include <asm/bootparam.h>

#include "bare.h"

struct boot boot;

struct hvm_start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};
struct hvm_module {
	uint64_t start, size, cmdline, reserved;
};
struct hvm_range {
	uint64_t start, size;
	uint32_t type, reserved;
};
#define HVM_MAGIC 0x336ec578

static void boot_cmdline(uint64_t addr)
{
	const char *from = (const char *)addr;
	size_t n = 0;

	if (addr)
		for (; n + 1 < sizeof(boot.cmdline) && from[n]; n++)
			boot.cmdline[n] = from[n];
	boot.cmdline[n] = '\0';
}

static void boot_add_range(uint64_t start, uint64_t size, uint32_t type)
{
	if (boot.ranges == BOOT_RANGES) {
		boot.flaw = "the memory map has too many ranges";
		return;
	}
	boot.range[boot.ranges++] = (struct boot_range){ start, size, type };
}

static void boot_read_pvh(const struct hvm_start_info *info)
{
	if (info->magic != HVM_MAGIC) {
		boot.flaw = "start_info has a wrong magic number";
		return;
	}
	boot_cmdline(info->cmdline);
	boot.rsdp = info->rsdp;
	if (info->modules) {
		const struct hvm_module *m = (const void *)info->module_list;

		boot.initrd = m->start;
		boot.initrd_size = m->size;
	}
	if (info->version < 1) {
		boot.flaw = "start_info version 0 has no memory map";
		return;
	}
	for (uint32_t i = 0; i < info->memory_map_entries; i++) {
		const struct hvm_range *r = (const void *)info->memory_map;

		boot_add_range(r[i].start, r[i].size, r[i].type);
	}
}

struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, modules,
		module_list;
	uint32_t symbols[4], memory_map_size, memory_map;
};
struct multiboot_module {
	uint32_t start, end, text, reserved;
};

static void boot_read_multiboot(const struct multiboot_info *info)
{
	uintptr_t at = info->memory_map, end = at + info->memory_map_size;

	if ((info->flags & 0x4d) != 0x4d) {
		boot.flaw = "multiboot_info lacks a part";
		return;
	}
	boot_cmdline(info->cmdline);
	if (info->modules) {
		const struct multiboot_module *m =
			(const void *)(uintptr_t)info->module_list;

		boot.initrd = m->start;
		boot.initrd_size = m->end - m->start;
	}
	while (at < end) {
		const uint32_t *word = (const void *)at;

		boot_add_range(word[1] | (uint64_t)word[2] << 32,
			       word[3] | (uint64_t)word[4] << 32, word[5]);
		at += 4 + word[0];
	}
}

static void boot_read_zero_page(const struct boot_params *zero)
{
	if (zero->hdr.boot_flag != 0xaa55 || zero->hdr.header != 0x53726448)
		boot.flaw = "the zero page has no set-up header";
	boot_cmdline(zero->hdr.cmd_line_ptr | (uint64_t)zero->ext_cmd_line_ptr << 32);
	boot.rsdp = zero->acpi_rsdp_addr;
	boot.initrd = zero->hdr.ramdisk_image | (uint64_t)zero->ext_ramdisk_image << 32;
	boot.initrd_size = zero->hdr.ramdisk_size | (uint64_t)zero->ext_ramdisk_size
							    << 32;
	boot.setup_data = zero->hdr.setup_data;
	for (uint32_t i = 0; i < zero->e820_entries && i < E820_MAX_ENTRIES_ZEROPAGE;
	     i++)
		boot_add_range(zero->e820_table[i].addr, zero->e820_table[i].size,
			       zero->e820_table[i].type);
}

void boot_read(int entry, uintptr_t info)
{
	boot.entry = entry;
	boot.info = info;
	if (entry == ENTRY_PVH)
		boot_read_pvh((const void *)info);
	else if (entry == ENTRY_MULTIBOOT)
		boot_read_multiboot((const void *)info);
	else
		boot_read_zero_page((const void *)info);
}
