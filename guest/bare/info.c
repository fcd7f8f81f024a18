/*
 * What a loader handed over, printed for the host's tests and checked for sense: entry,
 * memory map, command line, initrd, RNG seed, ACPI tables; then what the processor says
 * of KVM, and the time by the CMOS clock (MC146818A). Words: end=poweroff; rom: it was
 * started by firmware.
 */
#include <asm/bootparam.h>

#include "acpi.h"
#include "bare.h"

extern const char image_start[], image_end[];

#define FOUR_GIB (1ull << 32)

static void memory_word(uint64_t addr)
{
	volatile uint64_t *word = addr < FOUR_GIB ? (uint64_t *)addr : mem_window(addr);
	uint64_t was = *word, seen;

	*word = 0x5a5a00ff12345678;
	cpu_barrier();
	seen = *word;
	*word = was;
	if (seen != 0x5a5a00ff12345678)
		test_fail("RAM", "%lx does not keep what is written", addr);
}

static void memory_map(void)
{
	uint64_t ram = 0, end = 0;
	bool image_in_ram = false;

	test_check(boot.ranges > 0, "memory map", "it is empty");
	for (unsigned i = 0; i < boot.ranges; i++) {
		const struct boot_range *r = &boot.range[i];

		print("range %016lx-%016lx type %u\n", r->start, r->start + r->size - 1,
		      r->type);
		if (r->size == 0 || r->start + r->size < r->start)
			test_fail("memory map", "range %u has no sensible size", i);
		if (r->start < end)
			test_fail("memory map", "range %u overlaps or is out of order",
				  i);
		end = r->start + r->size;
		if (r->type != BOOT_RAM)
			continue;
		ram += r->size;
		/* Below 1 MiB may lie what the loader wrote: its last word is enough.
		 */
		memory_word(end - 8);
		if (r->start >= 1 << 20)
			memory_word(r->start + r->size / 2 / 8 * 8);
		if (r->start <= (uintptr_t)image_start && (uintptr_t)image_end <= end)
			image_in_ram = true;
		if (end > 0xd0000000 && r->start < FOUR_GIB)
			test_fail("memory map", "range %u reaches into the PCI hole",
				  i);
	}
	print("ram %lu KiB\n", ram / 1024);
	test_check(image_in_ram, "image lies in RAM", "%lx-%lx does not",
		   (uintptr_t)image_start, (uintptr_t)image_end);
}

/* A sum that depends on the order (Adler-32), of no more than its first 16 KiB. */
static void initrd(void)
{
	const uint8_t *p = (const uint8_t *)boot.initrd;
	uint64_t n = boot.initrd_size < 16384 ? boot.initrd_size : 16384;
	uint32_t a = 1, b = 0;
	bool in_ram = false;

	if (!boot.initrd_size) {
		print("initrd none\n");
		return;
	}
	for (unsigned i = 0; i < boot.ranges; i++)
		if (boot.range[i].type == BOOT_RAM &&
		    boot.initrd >= boot.range[i].start &&
		    boot.initrd + boot.initrd_size <=
			    boot.range[i].start + boot.range[i].size)
			in_ram = true;
	test_check(in_ram, "initrd lies in RAM", "%lx does not", boot.initrd);
	test_check(boot.initrd >= (uintptr_t)image_end ||
			   boot.initrd + boot.initrd_size <= (uintptr_t)image_start,
		   "initrd beside the image", "it overlaps");
	if (boot.initrd + n > FOUR_GIB)
		return;
	while (n--) {
		a += *p++;
		b += a;
		/* 5552 bytes fit before b overflows; once in a thousand is enough. */
		if (n % 1024 == 0) {
			a %= 65521;
			b %= 65521;
		}
	}
	print("initrd %lu bytes adler %08x\n", boot.initrd_size, b << 16 | a);
}

static void zero_page(void)
{
	const struct boot_params *zero = (const void *)boot.info;
	uint64_t at = boot.setup_data;
	bool seeded = false, bzimage = zero->hdr.setup_sects != 0;

	print("protocol %x setup_sects %u loader %02x\n", zero->hdr.version,
	      zero->hdr.setup_sects, zero->hdr.type_of_loader);
	test_check(zero->sentinel == 0, "sentinel", "%02x", zero->sentinel);
	test_check(zero->hdr.type_of_loader != 0, "loader type", "it is zero");
	if (bzimage) {
		test_check(zero->hdr.init_size >= (uint32_t)(image_end - image_start),
			   "init_size", "%x", zero->hdr.init_size);
		test_check(zero->hdr.version == 0x20f && (zero->hdr.loadflags & 1) &&
				   !(zero->hdr.xloadflags & XLF_KERNEL_64) ==
					   (boot.entry == ENTRY_LINUX32) &&
				   zero->hdr.kernel_alignment == 0x200000,
			   "set-up header", "it was not taken over");
	}
	for (unsigned turns = 0; at && turns < 16; turns++) {
		const struct setup_data *data = (const void *)at;
		uint8_t any = 0;

		print("setup_data type %u length %u\n", data->type, data->len);
		for (uint32_t i = 0; data->type == SETUP_RNG_SEED && i < data->len; i++)
			any |= data->data[i];
		if (data->type == SETUP_RNG_SEED)
			seeded = data->len >= 32 && any;
		at = data->next;
	}
	if (bzimage)
		test_check(seeded, "RNG seed", "there is none, or it is short or zero");
}

static void acpi(void)
{
	const uint8_t *rsdp = acpi_rsdp();
	const struct acpi_header *t, *dsdt;
	const struct acpi_fadt *fadt;
	uint8_t type;
	unsigned n = 0;

	if (!test_check(rsdp != NULL, "RSDP", "there is none"))
		return;
	print("rsdp %lx\n", (uintptr_t)rsdp);
	test_check(acpi_sum(rsdp, 20) == 0 && (rsdp[15] < 2 || acpi_sum(rsdp, 36) == 0),
		   "RSDP checksum", "it is wrong");
	for (; (t = acpi_table(n)) != NULL; n++) {
		print("acpi %c%c%c%c length %u\n", t->signature[0], t->signature[1],
		      t->signature[2], t->signature[3], t->length);
		if (acpi_sum(t, t->length))
			test_fail("ACPI checksum", "table %u has a wrong one", n);
	}
	fadt = (const void *)acpi_find("FACP");
	if (!test_check(fadt != NULL, "FADT", "there is none"))
		return;
	dsdt = acpi_dsdt(fadt);
	test_check(dsdt && !memcmp(dsdt->signature, "DSDT", 4) &&
			   acpi_sum(dsdt, dsdt->length) == 0,
		   "DSDT", "it is missing or its checksum is wrong");
	test_check(acpi_sleep_type(fadt, &type), "_S5", "the DSDT does not have it");
	test_check(acpi_find("APIC") != NULL, "MADT", "there is none");
	test_check(acpi_ecam() != 0, "MCFG", "there is none");
}

/* Firmware stands at the end of 4 GiB and of 1 MiB, and cannot be written. */
static void rom(void)
{
	static const uintptr_t at[] = { 0xfffffff0, 0xffff0, 0xfffff000, 0xff000 };

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		uint64_t was = mmio_read64(at[i]);

		mmio_write64(at[i], ~was);
		if (mmio_read64(at[i]) != was)
			test_fail("ROM", "%lx was written", at[i]);
	}
	test_check(mmio_read64(at[0]) == mmio_read64(at[1]) &&
			   mmio_read64(at[2]) == mmio_read64(at[3]),
		   "ROM below 1 MiB", "it is not the one below 4 GiB");
}

/* kvmclock: an MSR takes an address, where KVM writes how to turn the TSC into time. */
static void kvm(void)
{
	static volatile struct {
		uint32_t version, pad;
		uint64_t tsc, time;
		uint32_t multiplier;
		int8_t shift;
		uint8_t flags, pad2[2];
	} clock __attribute__((aligned(64)));
	const uint32_t msr = 0x4b564d01;
	struct cpuid id = cpu_id(0x40000000), features = cpu_id(0x40000001);

	test_check(cpu_id(1).c >> 31, "hypervisor bit", "it is clear");
	if (!test_check(id.b == 0x4b4d564b && id.c == 0x564b4d56 && id.d == 0x4d,
			"KVM signature", "%08x %08x %08x", id.b, id.c, id.d))
		return;
	if (!test_check(features.a >> 3 & 1, "kvmclock", "features %08x", features.a))
		return;
	cpu_wrmsr(msr, (uintptr_t)&clock | 1);
	test_check(clock.version && !(clock.version & 1) && clock.multiplier,
		   "kvmclock runs", "version %u multiplier %u", clock.version,
		   clock.multiplier);
	cpu_wrmsr(msr, 0);
	if (id.a >= 0x40000010)
		print("tsc %u kHz\n", cpu_id(0x40000010).a);
	else if (cpu_id(0).a >= 0x15)
		print("tsc %u/%u of %u Hz\n", cpu_id(0x15).b, cpu_id(0x15).a,
		      cpu_id(0x15).c);
}

static uint8_t cmos(uint8_t reg)
{
	port_out8(0x70, reg);
	return port_in8(0x71);
}

static void cmos_time(void)
{
	static const uint8_t regs[] = { 0, 2, 4, 7, 8, 9, 0x32 };
	uint8_t t[ARRAY_SIZE(regs)], b = cmos(0x0b);
	struct wait w = wait_start();

	while (cmos(0x0a) & 0x80)
		if (!wait_more(&w)) {
			test_fail("CMOS", "an update is always in progress");
			return;
		}
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		t[i] = cmos(regs[i]);
		/* Register B: binary or BCD. The century is BCD in any case on a PC. */
		if (!(b & 4) || regs[i] == 0x32)
			t[i] = (uint8_t)((t[i] >> 4) * 10 + (t[i] & 15));
	}
	test_check(b & 2, "CMOS 24 hours", "register B %02x", b);
	test_check(cmos(0x0d) & 0x80, "CMOS valid", "register D %02x", cmos(0x0d));
	print("time 20%02u-%02u-%02u %02u:%02u:%02u\n", t[5], t[4], t[3], t[2], t[1],
	      t[0]);
	print("century %u\n", t[6]);
}

/* Behind the file's end an ELF segment must be zero. */
static bool bss_is_clear(void)
{
	static uint64_t untouched[64];
	uint64_t any = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(untouched); i++)
		any |= ((volatile uint64_t *)untouched)[i];
	return any == 0;
}

void guest_main(void)
{
	static const char *const entries[] = {
		[ENTRY_PVH] = "pvh",
		[ENTRY_LINUX64] = "linux64",
		[ENTRY_LINUX32] = "linux32",
		[ENTRY_MULTIBOOT] = "multiboot",
	};

	print("entry %s\n", entries[boot.entry]);
	test_check(!boot.flaw, "boot information", "%s", boot.flaw ? boot.flaw : "");
	print("cmdline %s\n", boot.cmdline);
	test_check(bss_is_clear(), "memory behind the image's file is zero",
		   "it is not");
	memory_map();
	initrd();
	if (boot.entry == ENTRY_LINUX64 || boot.entry == ENTRY_LINUX32)
		zero_page();
	if (arg_has("rom"))
		rom();
	acpi();
	kvm();
	cmos_time();
	if (arg_is("end", "poweroff"))
		power_acpi_off();
}
