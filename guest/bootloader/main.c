/*
 * A bootloader for vmm --bios: boots what the trusted key has signed, and nothing else.
 *
 * Started by rom.S like a kernel, with the machine's zero page, it finds the virtio
 * disks and their partitions, makes a plan (plan.h) and starts Linux by the 64-bit
 * protocol. A failure is one line on COM1, its name on COM2 (boot/failure_codes.h), and
 * power-off.
 *
 * Nothing here is secret. What was read for verification is cleared all the same, so
 * that the kernel finds no more than what it was given.
 */
#include <asm/bootparam.h>
#include <string.h>

#include "bare.h"
#include "blk.h"
#include "plan.h"

#define KEY_BLOCK 0xfe000000u /* LAYOUT_FIRMWARE_KEY */
#define ZERO_PAGE 0x7000u
#define CMDLINE 0x20000u
#define HIGH_RAM 0x100000u

/* Set by a build with BOOTLOADER_KEY=FILE; then what vmm says does not count. */
extern const uint8_t builtin_key[], builtin_key_end[];

extern char image_end[];

_Noreturn void start_linux(uint64_t entry, uint64_t zero_page);

static struct blk disks[DISKS_MAX];
static struct gpt gpts[DISKS_MAX];
static struct key_block key;
static struct boot_params machine;
static struct plan plan;
static struct arena arena;

/* The one function of <string.h> that the library calls otherwise. */
size_t strlen(const char *s)
{
	return text_length(s);
}

static void say(const struct failure *f)
{
	print("bootloader: %s: %s (%s)\n", f->object, f->why, failure_name(f->code));
}

static void note(void *arg, const struct failure *f)
{
	(void)arg;
	say(f);
}

/* To the host, by its second serial port. */
static void tell(const char *text)
{
	enum { COM2 = 0x2f8, LSR = 5, LSR_THRE = 0x20 };

	for (; *text; text++) {
		struct wait w = wait_start();

		while (!(port_in8(COM2 + LSR) & LSR_THRE) && wait_more(&w))
			;
		port_out8(COM2, (uint8_t)*text);
	}
}

static _Noreturn void die(const struct failure *f)
{
	say(f);
	tell(failure_name(f->code));
	tell("|");
	blk_stop();
	power_acpi_off();
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void read_key(void)
{
	const struct key_block *given = (const void *)(uintptr_t)KEY_BLOCK;
	size_t built_in = (size_t)(builtin_key_end - builtin_key);

	if (built_in > sizeof(key.key))
		return; /* none is trusted */
	if (built_in) {
		memcpy(key.key, builtin_key, built_in);
		key.size = (uint32_t)built_in;
	} else if (memcmp(given->magic, KEY_BLOCK_MAGIC, sizeof(given->magic)) == 0) {
		key = *given;
	}
}

/* The RAM behind this program, up to the hole. */
static bool find_memory(struct failure *f)
{
	uintptr_t start = ((uintptr_t)image_end + ARENA_ALIGN - 1) &
			  ~(uintptr_t)(ARENA_ALIGN - 1);

	for (unsigned i = 0; i < boot.ranges; i++) {
		uint64_t end = boot.range[i].start + boot.range[i].size;

		if (boot.range[i].type != BOOT_RAM || boot.range[i].start != HIGH_RAM ||
		    end <= start)
			continue;
		arena = (struct arena){ (uint8_t *)start, (end - start) & ~0xfffull,
					0 };
		return true;
	}
	return fail_with(f, FAILURE_BOOTLOADER_NO_MEMORY, "memory",
			 "there is too little");
}

/* Disks without a partition table are none of ours, unless all are. */
static size_t find_disks(struct failure *f)
{
	size_t found = blk_find(disks), n = 0;

	fail_with(f, FAILURE_BOOTLOADER_NO_DISK, "disks", "there is none");
	for (size_t i = 0; i < found; i++) {
		char name[] = "disk 0";

		name[5] = (char)('0' + i % 10);
		if (gpt_open(&gpts[n], &disks[i], name, &arena, f))
			n++;
	}
	return n;
}

/* All that was taken from the arena but the initrd, and the free memory in between. */
static void forget(const struct blob *initrd)
{
	uint8_t *start = arena.base + arena.size - arena.used;
	uint8_t *end = arena.base + arena.size;

	if (initrd->data) {
		uint8_t *p = (uint8_t *)(uintptr_t)initrd->data;

		memset(start, 0, (size_t)(p - start));
		start = p + initrd->size;
	}
	memset(start, 0, (size_t)(end - start));
}

static bool place(struct failure *f)
{
	const struct linux_image *k = &plan.kernel;
	uint64_t free_start = (uintptr_t)arena.base;
	uint64_t free_end = free_start + arena.size - arena.used;

	if (k->start < free_start || k->end > free_end)
		return fail_with(
			f, FAILURE_BOOTLOADER_NO_MEMORY, "boot",
			"its kernel does not fit into memory beside its image");
	if (plan.initrd.size > UINT32_MAX)
		return fail_with(f, FAILURE_BOOTLOADER_NO_MEMORY, "boot",
				 "its ramdisks are too large");
	memcpy((void *)(uintptr_t)k->start, k->code.data, k->code.size);
	memcpy((void *)(uintptr_t)CMDLINE, plan.cmdline, text_length(plan.cmdline) + 1);
	linux_zero_page((struct boot_params *)(uintptr_t)ZERO_PAGE, k, &machine,
			CMDLINE, (uint32_t)(uintptr_t)plan.initrd.data,
			(uint32_t)plan.initrd.size);
	return true;
}

void guest_main(void)
{
	struct failure f = { 0 };
	size_t n;

	machine = *(const struct boot_params *)boot.info;
	read_key();
	if (!find_memory(&f))
		die(&f);
	n = find_disks(&f);
	if (!n ||
	    !plan_make(gpts, n, &key, boot.cmdline, &arena, note, NULL, &plan, &f))
		die(&f);
	blk_stop();
	if (!place(&f))
		die(&f);
	print("bootloader: starting slot %s%s\n", slot_suffix(plan.slot),
	      plan.unlocked ? ", unlocked" : "");
	forget(&plan.initrd);
	start_linux(plan.kernel.start + 0x200, ZERO_PAGE);
}
