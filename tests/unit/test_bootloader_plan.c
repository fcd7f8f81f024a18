/* The bootloader's way from partitions to a plan: tables, slots, boot images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/bootloader/bytes.h"
#include "tests/unit/bootloader_rig.h"

#define LAST (RIG_SECTORS - 1)

static struct rig *rig;

static int setup(void **state)
{
	(void)state;
	rig = rig_new();
	rig_good_disk(rig);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(rig);
	return 0;
}

#define REFUSED(failure)                                                 \
	do {                                                             \
		assert_false(rig_plan(rig));                             \
		assert_string_equal(failure_name(rig->f.code), failure); \
	} while (0)

/* --- partition tables ---------------------------------------------------- */

static void backup_table_serves(void **state)
{
	(void)state;
	rig->disk[SECTOR_SIZE + 16] ^= 1;
	assert_true(rig_plan(rig));
	rig->disk[LAST * SECTOR_SIZE + 16] ^= 1;
	REFUSED("BOOTLOADER_BAD_GPT");
}

static void changed_entries_are_not_believed(void **state)
{
	(void)state;
	rig->disk[2 * SECTOR_SIZE + 40] ^= 1;
	assert_true(rig_plan(rig)); /* by the backup */
	rig->disk[(LAST - 32) * SECTOR_SIZE + 40] ^= 1;
	REFUSED("BOOTLOADER_BAD_GPT");
}

/* Change a 64-bit field of both headers, or a 32-bit one, and their sums. */
static void set_header(size_t at, uint64_t value, size_t len)
{
	const uint64_t lbas[] = { 1, LAST };

	for (int i = 0; i < 2; i++) {
		uint8_t *h = rig->disk + lbas[i] * SECTOR_SIZE;

		for (size_t k = 0; k < len; k++)
			h[at + k] = (uint8_t)(value >> 8 * k);
		put_le32(h + 16, 0);
		put_le32(h + 16, rig_crc32(h, le32(h + 12) <= 512 ? le32(h + 12) : 92));
	}
}

static void tables_that_lead_out_are_refused(void **state)
{
	static const struct {
		size_t at, len;
		uint64_t value;
	} changes[] = {
		{ 8, 4, 0x20000 },	{ 12, 4, 91 },
		{ 12, 4, 513 },		{ 12, 4, 0xffffffff },
		{ 24, 8, 2 },		{ 40, 8, UINT64_MAX },
		{ 48, 8, RIG_SECTORS }, { 48, 8, UINT64_MAX },
		{ 72, 8, UINT64_MAX },	{ 72, 8, RIG_SECTORS - 31 },
		{ 80, 4, 0 },		{ 80, 4, 0xffffffff },
		{ 84, 4, 64 },		{ 84, 4, 129 },
		{ 84, 4, 0x80000000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		rig_write_gpt(rig);
		set_header(changes[i].at, changes[i].value, changes[i].len);
		REFUSED("BOOTLOADER_BAD_GPT");
	}
}

static void partitions_that_lead_out_are_refused(void **state)
{
	static const struct {
		uint64_t first, sectors;
	} wrong[] = { { 0, 8 },
		      { RIG_SECTORS - 40, 100 },
		      { RIG_SECTORS, 8 },
		      { UINT64_MAX - 3, 8 },
		      { 100, UINT64_MAX - 50 },
		      { 100, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		rig->parts[1].first = wrong[i].first;
		rig->parts[1].sectors = wrong[i].sectors;
		rig_write_gpt(rig);
		REFUSED("BOOTLOADER_BAD_GPT");
		assert_string_equal(rig->f.object, "boot_a");
	}
}

static void missing_partition_is_named(void **state)
{
	(void)state;
	strcpy(rig->parts[1].name, "boot_b");
	rig_write_gpt(rig);
	REFUSED("BOOTLOADER_MISSING_PARTITION");
	assert_string_equal(rig->f.object, "boot_a");
	/* A name must be whole. */
	strcpy(rig->parts[1].name, "boot_ab");
	rig_write_gpt(rig);
	REFUSED("BOOTLOADER_MISSING_PARTITION");
	strcpy(rig->parts[0].name, "vbmeta");
	rig_write_gpt(rig);
	REFUSED("BOOTLOADER_MISSING_PARTITION");
	assert_string_equal(rig->f.object, "vbmeta_a");
}

static void truncated_partition_is_refused(void **state)
{
	(void)state;
	rig->parts[1].sectors = 1;
	rig_write_gpt(rig);
	REFUSED("BOOTLOADER_TRUNCATED");
}

static void little_memory_is_an_error(void **state)
{
	(void)state;
	for (uint64_t size = 0; size < 200 << 10; size += 4096) {
		memset(&rig->f, 0, sizeof(rig->f));
		rig->arena = (struct arena){ rig->memory, size, 0 };
		if (gpt_open(&rig->gpt, &rig->blk, "disk", &rig->arena, &rig->f) &&
		    plan_make(&rig->gpt, 1, &rig->key, "", &rig->arena, NULL, NULL,
			      &rig->plan, &rig->f))
			return;
		assert_int_not_equal(rig->f.code, FAILURE_NONE);
	}
	assert_true(false);
}

/* --- slots --------------------------------------------------------------- */

/* A good slot, or one whose kernel was changed afterwards. */
static void add_slot(const char *suffix, bool good, uint8_t fill)
{
	static uint8_t kernel[8192], boot[32768];
	static struct rig_vbmeta m;
	size_t len = rig_bzimage(kernel, 4096, fill);
	char name[32];

	len = rig_boot_image(boot, 2, kernel, len, NULL, 0, "");
	rig_vbmeta_init(&m);
	rig_add_hash(&m, "boot", boot, len);
	rig_sign(&m, rig_key(0));
	snprintf(name, sizeof(name), "vbmeta%s", suffix);
	rig_part(rig, name, m.image.data, m.image.len);
	if (!good)
		boot[5000] ^= 1;
	snprintf(name, sizeof(name), "boot%s", suffix);
	rig_part(rig, name, boot, len);
}

/* info: priority | tries << 4 | successful << 7 */
static uint8_t *add_misc(uint8_t info_a, uint8_t info_b)
{
	uint8_t block[4096] = { 0 }, *b = block + 2048;

	memcpy(b, "_a\0\0BCAB\1\2", 10);
	b[12] = info_a;
	b[14] = info_b;
	put_le32(b + 28, rig_crc32(b, 28));
	return rig_part(rig, "misc", block, sizeof(block)) + 2048;
}

static uint8_t *two_slots(bool good_a, bool good_b, uint8_t info_a, uint8_t info_b)
{
	uint8_t *misc;

	rig_init(rig);
	rig_trust(rig, rig_key(0));
	add_slot("_a", good_a, 0xaa);
	add_slot("_b", good_b, 0xbb);
	misc = add_misc(info_a, info_b);
	rig_write_gpt(rig);
	return misc;
}

#define SLOT(priority, tries, successful) \
	((priority) | (tries) << 4 | (successful) << 7)

static void started(uint8_t fill)
{
	assert_true(rig_plan(rig));
	assert_int_equal(rig->plan.kernel.code.data[0], fill);
	assert_int_equal(rig->plan.slot, fill == 0xbb);
}

static void slot_of_the_highest_priority_starts(void **state)
{
	(void)state;
	two_slots(true, true, SLOT(14, 0, 1), SLOT(15, 0, 1));
	started(0xbb);
	assert_non_null(strstr(rig->plan.cmdline, "androidboot.slot_suffix=_b"));
	two_slots(true, true, SLOT(15, 0, 1), SLOT(15, 0, 1));
	started(0xaa);
	assert_int_equal(rig->writes, 0);
}

static void tries_are_counted_down(void **state)
{
	uint8_t *misc;

	(void)state;
	misc = two_slots(true, true, SLOT(15, 2, 0), SLOT(14, 0, 1));
	started(0xaa);
	assert_int_equal(misc[12], SLOT(15, 1, 0));
	assert_int_equal(le32(misc + 28), rig_crc32(misc, 28));
	started(0xaa);
	assert_int_equal(misc[12], SLOT(15, 0, 0));
	/* None is left: the other one. */
	started(0xbb);
	assert_int_equal(misc[14], SLOT(14, 0, 1));
}

static void broken_slot_falls_back_and_is_recorded(void **state)
{
	uint8_t *misc;

	(void)state;
	misc = two_slots(false, true, SLOT(15, 0, 1), SLOT(14, 1, 0));
	started(0xbb);
	assert_int_equal(rig->n_notes, 1);
	assert_int_equal(rig->note.code, FAILURE_BOOTLOADER_BAD_HASH);
	assert_int_equal(misc[12], 0);
	assert_int_equal(misc[14], SLOT(14, 0, 0));
	assert_int_equal(le32(misc + 28), rig_crc32(misc, 28));
}

static void two_broken_slots_fail_with_the_first_reason(void **state)
{
	uint8_t *misc;

	(void)state;
	misc = two_slots(false, false, SLOT(15, 0, 1), SLOT(14, 1, 0));
	REFUSED("BOOTLOADER_BAD_HASH");
	assert_string_equal(rig->f.object, "boot_a");
	assert_int_equal(misc[12] | misc[14], 0);
	REFUSED("BOOTLOADER_NO_SLOT");
}

static void slots_without_priority_or_tries_do_not_start(void **state)
{
	(void)state;
	two_slots(true, true, SLOT(0, 7, 1), SLOT(15, 0, 0));
	REFUSED("BOOTLOADER_NO_SLOT");
	two_slots(true, true, SLOT(0, 7, 1), SLOT(1, 1, 0));
	started(0xbb);
}

static void misc_that_is_no_block_means_slot_a(void **state)
{
	uint8_t *misc;

	(void)state;
	misc = two_slots(true, true, SLOT(14, 0, 1), SLOT(15, 0, 1));
	misc[20] ^= 1; /* not by its sum */
	started(0xaa);
	/* And its fallback is none. */
	misc = two_slots(false, true, SLOT(14, 0, 1), SLOT(15, 0, 1));
	misc[20] ^= 1;
	REFUSED("BOOTLOADER_BAD_HASH");
	assert_int_equal(rig->writes, 0);
}

static void misc_that_cannot_be_written_is_noted(void **state)
{
	(void)state;
	two_slots(true, true, SLOT(15, 2, 0), SLOT(14, 0, 1));
	rig->write_fails = true;
	started(0xaa);
	assert_int_equal(rig->n_notes, 1);
	assert_int_equal(rig->note.code, FAILURE_BOOTLOADER_IO_ERROR);
}

/* --- boot images --------------------------------------------------------- */

struct images {
	uint8_t boot[65536], init[16384], vendor[65536];
	size_t boot_len, init_len, vendor_len;
};

static struct images im;

static void put32(uint8_t *p, uint32_t v)
{
	put_le32(p, v);
}

/* Sign what is in @im and plan. */
static bool plan_images(void)
{
	static struct rig_vbmeta m;

	rig_init(rig);
	rig_trust(rig, rig_key(0));
	rig_vbmeta_init(&m);
	rig_add_hash(&m, "boot", im.boot, im.boot_len);
	if (im.init_len)
		rig_add_hash(&m, "init_boot", im.init, im.init_len);
	if (im.vendor_len)
		rig_add_hash(&m, "vendor_boot", im.vendor, im.vendor_len);
	rig_sign(&m, rig_key(0));
	rig_part(rig, "vbmeta_a", m.image.data, m.image.len);
	rig_part(rig, "boot_a", im.boot, im.boot_len);
	if (im.init_len)
		rig_part(rig, "init_boot_a", im.init, im.init_len);
	if (im.vendor_len)
		rig_part(rig, "vendor_boot_a", im.vendor, im.vendor_len);
	rig_write_gpt(rig);
	return rig_plan(rig);
}

static void make_images(unsigned version)
{
	static uint8_t kernel[8192];
	size_t len = rig_bzimage(kernel, 4096, 0xc3);
	uint8_t *v = im.vendor;

	memset(&im, 0, sizeof(im));
	im.boot_len = rig_boot_image(im.boot, version, kernel, len,
				     version == 4 ? NULL : "generic",
				     version == 4 ? 0 : 7, "of=boot");
	if (version == 4)
		im.init_len = rig_boot_image(im.init, 4, NULL, 0, "generic", 7, "");
	if (version == 2)
		return;
	memcpy(v, "VNDRBOOT", 8);
	put32(v + 8, version);
	put32(v + 12, 4096);
	put32(v + 24, 6);
	strcpy((char *)v + 28, "of=vendor");
	put32(v + 2100, 3); /* a device tree, which is skipped */
	memcpy(v + 4096, "vendor", 6);
	im.vendor_len = 12288;
	if (version == 4) {
		put32(v + 2112, 108);
		put32(v + 2124, 12);
		memcpy(v + 16384, "vendor.key=1", 12);
		im.vendor_len = 20480;
	}
}

static void version_2_has_its_ramdisk(void **state)
{
	(void)state;
	assert_true(rig_plan(rig));
	assert_int_equal(rig->plan.initrd.size, 7);
	assert_memory_equal(rig->plan.initrd.data, "ramdisk", 7);
	assert_non_null(strstr(rig->plan.cmdline, "panic=-1 of=boot androidboot."));
}

static void version_3_joins_vendor_and_generic_ramdisk(void **state)
{
	(void)state;
	make_images(3);
	assert_true(plan_images());
	assert_int_equal(rig->plan.initrd.size, 13);
	assert_memory_equal(rig->plan.initrd.data, "vendorgeneric", 13);
	assert_non_null(strstr(rig->plan.cmdline, "panic=-1 of=vendor of=boot "));
	assert_non_null(
		strstr(rig->plan.cmdline, "androidboot.verifiedbootstate=green"));
}

static void version_4_ends_in_a_bootconfig(void **state)
{
	static const char lines[] = "vendor.key=1\nandroidboot.slot_suffix=\"_a\"\n";
	const struct blob *initrd = &rig->plan.initrd;
	const uint8_t *end;
	uint32_t size, sum = 0;

	(void)state;
	make_images(4);
	assert_true(plan_images());
	assert_memory_equal(initrd->data, "vendorgeneric", 13);
	end = initrd->data + initrd->size;
	assert_memory_equal(end - 12, "#BOOTCONFIG\n", 12);
	assert_int_equal(initrd->size % 4, 0);
	size = le32(end - 20);
	assert_int_equal(size, initrd->size - 13 - 20);
	for (uint32_t i = 0; i < size; i++)
		sum += end[-20 - (int)size + (int)i];
	assert_int_equal(le32(end - 16), sum);
	assert_memory_equal(end - 20 - size, lines, strlen(lines));
	assert_non_null(strstr(rig->plan.cmdline, " bootconfig"));
	assert_null(strstr(rig->plan.cmdline, "androidboot"));
}

static void images_that_nobody_signed_are_not_used(void **state)
{
	(void)state;
	make_images(3);
	im.vendor_len = 0; /* no descriptor */
	assert_true(plan_images());
	assert_memory_equal(rig->plan.initrd.data, "generic", 7);
	assert_int_equal(rig->plan.initrd.size, 7);
}

static void boot_images_that_contradict_themselves_are_refused(void **state)
{
	enum { BOOT, INIT, VENDOR };
	static const struct {
		unsigned version;
		int image;
		size_t at;
		uint32_t value;
		const char *failure;
	} changes[] = {
		{ 2, BOOT, 0, 0, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 8, 0, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 8, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 8, 0x8000, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 16, 0xfffff000, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 36, 0, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 36, 4097, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 36, 0x80000000, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 40, 1, "BOOTLOADER_UNSUPPORTED" },
		{ 2, BOOT, 40, 5, "BOOTLOADER_UNSUPPORTED" },
		{ 2, BOOT, 64, 0x0a0a0a0a, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 4096 + 0x202, 0, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 4096 + 0x1f4, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 4096 + 0x1f4, 32, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 4096 + 0x206, 0x20b, "BOOTLOADER_UNSUPPORTED" },
		{ 2, BOOT, 4096 + 0x236, 0, "BOOTLOADER_UNSUPPORTED" },
		{ 2, BOOT, 4096 + 0x258, 1, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 2, BOOT, 4096 + 0x25c, 1, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, BOOT, 8, 0, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, BOOT, 12, 0xfffff000, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, VENDOR, 0, 0, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, VENDOR, 8, 2, "BOOTLOADER_UNSUPPORTED" },
		{ 3, VENDOR, 8, 5, "BOOTLOADER_UNSUPPORTED" },
		{ 3, VENDOR, 12, 1, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, VENDOR, 24, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, VENDOR, 2100, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 3, VENDOR, 28, 0x80808080, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 4, VENDOR, 2112, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 4, VENDOR, 2124, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 4, INIT, 8, 1, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 4, INIT, 12, 0xffffffff, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 4, INIT, 40, 3, "BOOTLOADER_BAD_BOOT_IMAGE" },
		{ 4, BOOT, 12, 4, "BOOTLOADER_BAD_BOOT_IMAGE" }, /* two ramdisks */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		uint8_t *images[] = { im.boot, im.init, im.vendor };

		make_images(changes[i].version);
		if (changes[i].at >= 4096 && changes[i].value < 0x10000 &&
		    changes[i].at != 4096 + 0x1f4 && changes[i].at < 4096 + 0x258) {
			images[BOOT][changes[i].at] = (uint8_t)changes[i].value;
			images[BOOT][changes[i].at + 1] = (uint8_t)(changes[i].value >>
								    8);
		} else {
			put32(images[changes[i].image] + changes[i].at,
			      changes[i].value);
		}
		assert_false(plan_images());
		if (strcmp(failure_name(rig->f.code), changes[i].failure) != 0)
			print_error("change %zu: %s\n", i, rig->f.why);
		assert_string_equal(failure_name(rig->f.code), changes[i].failure);
	}
}

static void command_line_that_the_kernel_cannot_take_is_refused(void **state)
{
	(void)state;
	make_images(3);
	memset(im.vendor + 28, 'x', 2048);
	assert_false(plan_images());
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_BOOT_IMAGE);
}

static void zero_page_tells_what_the_machine_told(void **state)
{
	static struct boot_params machine, zero;

	(void)state;
	assert_true(rig_plan(rig));
	machine.e820_entries = 2;
	machine.e820_table[1] = (struct boot_e820_entry){ 1 << 20, 2 << 20, 1 };
	machine.acpi_rsdp_addr = 0x9c000;
	machine.hdr.setup_data = 0x30000;
	linux_zero_page(&zero, &rig->plan.kernel, &machine, 0x20000, 0x400000, 7);
	assert_int_equal(zero.hdr.header, 0x53726448);
	assert_int_equal(zero.hdr.type_of_loader, 0xff);
	assert_int_equal(zero.hdr.cmd_line_ptr, 0x20000);
	assert_int_equal(zero.hdr.ramdisk_image, 0x400000);
	assert_int_equal(zero.hdr.ramdisk_size, 7);
	assert_int_equal(zero.hdr.setup_data, 0x30000);
	assert_int_equal(zero.acpi_rsdp_addr, 0x9c000);
	assert_int_equal(zero.e820_entries, 2);
	assert_int_equal(zero.e820_table[1].size, 2 << 20);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(backup_table_serves),
		T(changed_entries_are_not_believed),
		T(tables_that_lead_out_are_refused),
		T(partitions_that_lead_out_are_refused),
		T(missing_partition_is_named),
		T(truncated_partition_is_refused),
		T(little_memory_is_an_error),
		T(slot_of_the_highest_priority_starts),
		T(tries_are_counted_down),
		T(broken_slot_falls_back_and_is_recorded),
		T(two_broken_slots_fail_with_the_first_reason),
		T(slots_without_priority_or_tries_do_not_start),
		T(misc_that_is_no_block_means_slot_a),
		T(misc_that_cannot_be_written_is_noted),
		T(version_2_has_its_ramdisk),
		T(version_3_joins_vendor_and_generic_ramdisk),
		T(version_4_ends_in_a_bootconfig),
		T(images_that_nobody_signed_are_not_used),
		T(boot_images_that_contradict_themselves_are_refused),
		T(command_line_that_the_kernel_cannot_take_is_refused),
		T(zero_page_tells_what_the_machine_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
