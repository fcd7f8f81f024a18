/* What the bootloader boots, and everything that it must refuse: signatures, hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "guest/bootloader/bytes.h"
#include "tests/unit/bootloader_rig.h"

static struct rig *rig;
static struct rig_vbmeta meta;
static uint8_t boot[32768];
static size_t boot_len;

static int setup(void **state)
{
	static uint8_t kernel[8192];

	(void)state;
	rig = rig_new();
	rig_trust(rig, rig_key(0));
	boot_len = rig_boot_image(boot, 2, kernel, rig_bzimage(kernel, 4096, 0xc3),
				  NULL, 0, "");
	rig_vbmeta_init(&meta);
	rig_add_hash(&meta, "boot", boot, boot_len);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(rig);
	return 0;
}

/* A disk of @meta as it is signed now, and boot. */
static bool plan(void)
{
	rig->n_parts = 0;
	rig->next = 34;
	rig_part(rig, "vbmeta_a", meta.image.data, meta.image.len);
	rig_part(rig, "boot_a", boot, boot_len);
	rig_write_gpt(rig);
	return rig_plan(rig);
}

#define REFUSED(failure)                                                 \
	do {                                                             \
		assert_false(plan());                                    \
		assert_string_equal(failure_name(rig->f.code), failure); \
	} while (0)

static void good_slot_boots(void **state)
{
	(void)state;
	rig_sign(&meta, rig_key(0));
	assert_true(plan());
	assert_false(rig->plan.unlocked);
	assert_int_equal(rig->plan.kernel.code.data[0], 0xc3);
	assert_non_null(strstr(rig->plan.cmdline, "verifiedbootstate=green"));
	assert_int_equal(rig->n_notes, 0);
}

/* Whatever bit of the signed part changes, nothing boots. */
static void every_flipped_bit_of_vbmeta_is_refused(void **state)
{
	(void)state;
	rig_sign(&meta, rig_key(0));
	for (size_t i = 0; i < meta.image.len; i += 7) {
		/* Only the padding behind hash and signature is not signed. */
		if (i >= 256 + 288 && i < 256 + 320)
			continue;
		meta.image.data[i] ^= 1;
		assert_false(plan());
		meta.image.data[i] ^= 1;
	}
	assert_true(plan());
}

static void flipped_bits_of_boot_are_refused(void **state)
{
	(void)state;
	rig_sign(&meta, rig_key(0));
	for (size_t i = 0; i < boot_len; i += 509) {
		boot[i] ^= 0x80;
		REFUSED("BOOTLOADER_BAD_HASH");
		assert_string_equal(rig->f.object, "boot_a");
		boot[i] ^= 0x80;
	}
}

static void flipped_bit_of_the_signature_is_refused(void **state)
{
	(void)state;
	rig_sign(&meta, rig_key(0));
	meta.image.data[256 + 32 + 100] ^= 4;
	REFUSED("BOOTLOADER_BAD_SIGNATURE");
}

static void other_key_is_refused(void **state)
{
	(void)state;
	rig_sign(&meta, rig_key(1));
	REFUSED("PVM_FIRMWARE_PUBLIC_KEY_MISMATCH");
	/* A part of the trusted key is not it, either. */
	rig_sign(&meta, rig_key(0));
	rig->key.size--;
	REFUSED("PVM_FIRMWARE_PUBLIC_KEY_MISMATCH");
	rig->key.size = 0;
	REFUSED("BOOTLOADER_NO_KEY");
	rig->key.size = 0xffffffff;
	REFUSED("BOOTLOADER_NO_KEY");
}

static void unsigned_image_is_refused(void **state)
{
	(void)state;
	meta.algorithm = 0;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_SIGNATURE");
}

static void algorithms_that_we_lack_are_refused_by_name(void **state)
{
	(void)state;
	meta.algorithm = 3;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_UNSUPPORTED");
	assert_non_null(strstr(rig->f.why, "RSA-8192"));
	meta.algorithm = 7;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_UNSUPPORTED");
	/* One of another size than the key. */
	meta.algorithm = 2;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
	meta.algorithm = 4;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
}

static void older_image_is_refused(void **state)
{
	(void)state;
	meta.rollback_index = 6;
	rig_sign(&meta, rig_key(0));
	rig->key.rollback_index = 7;
	REFUSED("BOOTLOADER_ROLLBACK");
	rig->key.rollback_index = 6;
	assert_true(plan());
}

static void flags_that_turn_verification_off_are_refused(void **state)
{
	(void)state;
	meta.flags = 2;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
	meta.flags = 1;
	rig_sign(&meta, rig_key(0));
	assert_true(plan());
	assert_non_null(strstr(rig->plan.cmdline, "veritymode=disabled"));
}

static void no_hash_of_boot_is_refused(void **state)
{
	(void)state;
	rig_vbmeta_init(&meta);
	rig_add_hash(&meta, "super", "", 0);
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_MISSING_PARTITION");
	rig_vbmeta_init(&meta);
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
	assert_non_null(strstr(rig->f.why, "no hash descriptor for boot"));
}

/* Header fields that lead elsewhere, under a signature that is right. */
static void numbers_that_lead_out_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
	} changes[] = {
		{ 12, 1 << 20 },
		{ 12, 0xffffffffffffffc0 },
		{ 20, 0xffffffffffffffc0 },
		{ 20, 63 },
		{ 32, 320 },
		{ 32, UINT64_MAX },
		{ 40, 33 },
		{ 48, 65 },
		{ 48, UINT64_MAX - 255 },
		{ 56, 255 },
		{ 64, UINT64_MAX },
		{ 64, 1 << 16 },
		{ 72, 519 },
		{ 72, UINT64_MAX },
		{ 96, 1 << 16 },
		{ 96, UINT64_MAX },
		{ 104, UINT64_MAX },
		{ 104, 1 << 16 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		rig_sign(&meta, rig_key(0));
		for (size_t k = 0; k < 8; k++)
			meta.image.data[changes[i].at + k] =
				(uint8_t)(changes[i].value >> (56 - 8 * k));
		rig_sign_again(&meta, rig_key(0));
		REFUSED("BOOTLOADER_BAD_VBMETA");
	}
}

/* Descriptors that contradict themselves, under a signature that is right. */
static void bad_descriptors_are_refused(void **state)
{
	/* Offsets in the first descriptor, which is of boot: big-endian words. */
	static const struct {
		size_t at;
		uint32_t value;
	} changes[] = {
		{ 8, 0xffffffff },  { 12, 0xfffffff8 }, { 12, 3 },
		{ 12, 8 },	    { 56, 0xffffffff }, { 56, 0 },
		{ 60, 0xffffffff }, { 60, 1 << 20 },	{ 64, 31 },
		{ 64, 0xffffffff },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		uint8_t *p;

		rig_sign(&meta, rig_key(0));
		p = meta.image.data + 256 + 320 + changes[i].at;
		for (int k = 0; k < 4; k++)
			p[k] = (uint8_t)(changes[i].value >> (24 - 8 * k));
		rig_sign_again(&meta, rig_key(0));
		assert_false(plan());
		assert_string_equal(rig->f.object, "vbmeta_a");
	}
}

static void image_longer_than_its_partition_is_refused(void **state)
{
	static uint8_t large[65536];

	(void)state;
	rig_vbmeta_init(&meta);
	rig_add_hash(&meta, "boot", large, sizeof(large));
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_TRUNCATED");
	/* So large that no memory holds it, nor any sum of it. */
	rig_vbmeta_init(&meta);
	rig_add_hash(&meta, "boot", boot, boot_len);
	memset(meta.descriptors.data + 16, 0xff, 8);
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_TRUNCATED");
}

static void unknown_hash_is_refused(void **state)
{
	(void)state;
	memcpy(meta.descriptors.data + 24, "sha1\0\0", 6);
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_UNSUPPORTED");
}

static void command_line_comes_from_descriptors(void **state)
{
	(void)state;
	rig_add_cmdline(&meta, 0, "a=1 v=$(ANDROID_VBMETA_PARTUUID)");
	rig_add_cmdline(&meta, 1, "with=tree");
	rig_add_cmdline(&meta, 2, "without=tree");
	rig_sign(&meta, rig_key(0));
	assert_true(plan());
	assert_non_null(strstr(rig->plan.cmdline, "panic=-1 a=1 v=01010101-0101-0101-"
						  "0101-010101010101 with=tree "));
	assert_null(strstr(rig->plan.cmdline, "without"));
	rig_add_cmdline(&meta, 0, "a\nb");
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
}

/* boot with a vbmeta image of its own, by another key, behind it. */
static void chain(const struct rig_key *signer, const struct rig_key *named)
{
	static struct rig_vbmeta inner;
	static uint8_t part[65536];
	uint8_t *footer = part + sizeof(part) - 64;

	rig_vbmeta_init(&inner);
	rig_add_hash(&inner, "boot", boot, boot_len);
	rig_sign(&inner, signer);
	memset(part, 0, sizeof(part));
	memcpy(part, boot, boot_len);
	memcpy(part + boot_len, inner.image.data, inner.image.len);
	memcpy(footer, "AVBf\0\0\0\1", 8);
	footer[26] = footer[18] = (uint8_t)(boot_len >> 8);
	footer[27] = footer[19] = (uint8_t)boot_len;
	footer[34] = (uint8_t)(inner.image.len >> 8);
	footer[35] = (uint8_t)inner.image.len;
	rig_vbmeta_init(&meta);
	rig_add_chain(&meta, "boot", named, 1);
	rig_sign(&meta, rig_key(0));
	rig->n_parts = 0;
	rig->next = 34;
	rig_part(rig, "vbmeta_a", meta.image.data, meta.image.len);
	rig_part(rig, "boot_a", part, sizeof(part));
	rig_write_gpt(rig);
}

static void chained_partition_is_verified_by_its_own_key(void **state)
{
	(void)state;
	chain(rig_key(1), rig_key(1));
	assert_true(rig_plan(rig));
	chain(rig_key(1), rig_key(0));
	assert_false(rig_plan(rig));
	assert_int_equal(rig->f.code, FAILURE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH);
	assert_string_equal(rig->f.object, "boot_a");
}

/* boot by the top-level image, and @chained, where @inner by another key is. */
static bool plan_with_inner(const char *chained, struct rig_vbmeta *inner,
			    uint32_t location)
{
	char part[GPT_NAME_MAX];

	snprintf(part, sizeof(part), "%s_a", chained);
	rig_sign(inner, rig_key(1));
	rig_vbmeta_init(&meta);
	rig_add_hash(&meta, "boot", boot, boot_len);
	rig_add_chain(&meta, chained, rig_key(1), location);
	rig_sign(&meta, rig_key(0));
	rig->n_parts = 0;
	rig->next = 34;
	rig_part(rig, "vbmeta_a", meta.image.data, meta.image.len);
	rig_part(rig, "boot_a", boot, boot_len);
	rig_part(rig, "super_a", boot, boot_len);
	rig_part(rig, part, inner->image.data, inner->image.len);
	rig_write_gpt(rig);
	return rig_plan(rig);
}

static bool plan_with_chain(const char *chained, const char *described)
{
	static struct rig_vbmeta inner;

	rig_vbmeta_init(&inner);
	rig_add_hash(&inner, described, boot, boot_len);
	return plan_with_inner(chained, &inner, 1);
}

/* A chained image with its rollback index, kept at @location; @own: what it says. */
static bool plan_with_rollback(uint64_t index, uint32_t location, uint32_t own)
{
	static struct rig_vbmeta inner;

	rig_vbmeta_init(&inner);
	inner.rollback_index = index;
	inner.rollback_location = own;
	return plan_with_inner("vbmeta_extra", &inner, location);
}

static void older_chained_image_is_refused(void **state)
{
	(void)state;
	/* One of another location, also that of the top-level image, says nothing. */
	rig->key.rollback_indices[1] = 7;
	rig->key.rollback_indices[30] = 3;
	assert_true(plan_with_rollback(7, 2, 0));
	assert_true(plan_with_rollback(0, 1, 0));
	assert_true(plan_with_rollback(3, 31, 0));
	assert_false(plan_with_rollback(6, 2, 0));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_ROLLBACK);
	assert_string_equal(rig->f.object, "vbmeta_extra_a");
	assert_false(plan_with_rollback(2, 31, 0));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_ROLLBACK);
	rig->key.unlocked = 1;
	assert_true(plan_with_rollback(6, 2, 0));
}

static void locations_that_avb_does_not_have_are_refused(void **state)
{
	(void)state;
	assert_false(plan_with_rollback(9, 0, 0));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_VBMETA);
	assert_false(plan_with_rollback(9, 32, 0));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_VBMETA);
	assert_false(plan_with_rollback(9, UINT32_MAX, 0));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_VBMETA);
	/* That of a chained image is its descriptor's to say. */
	assert_false(plan_with_rollback(9, 2, 2));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_VBMETA);
}

static void top_level_image_may_name_its_location(void **state)
{
	(void)state;
	rig->key.rollback_index = 9;
	rig->key.rollback_indices[4] = 7;
	meta.rollback_location = 5;
	meta.rollback_index = 7;
	rig_sign(&meta, rig_key(0));
	assert_true(plan());
	meta.rollback_index = 6;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_ROLLBACK");
	meta.rollback_location = 32;
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
}

static void chained_image_describes_its_own_partition_only(void **state)
{
	(void)state;
	assert_false(plan_with_chain("extra", "super"));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_VBMETA);
	assert_string_equal(rig->f.object, "extra_a");
	assert_true(plan_with_chain("vbmeta_extra", "super"));
}

static void nobody_describes_boot_a_second_time(void **state)
{
	(void)state;
	assert_false(plan_with_chain("vbmeta_extra", "boot"));
	assert_int_equal(rig->f.code, FAILURE_BOOTLOADER_BAD_VBMETA);
	assert_non_null(strstr(rig->f.why, "two descriptors"));
	rig_vbmeta_init(&meta);
	rig_add_hash(&meta, "boot", boot, boot_len);
	rig_add_hash(&meta, "boot", boot, boot_len);
	rig_sign(&meta, rig_key(0));
	REFUSED("BOOTLOADER_BAD_VBMETA");
}

static void newer_images_are_refused_by_name(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} newer[] = { { 7, 2 }, { 11, 4 }, { 8, 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(newer) / sizeof(*newer); i++) {
		rig_sign(&meta, rig_key(0));
		meta.image.data[newer[i].at] = newer[i].value;
		rig_sign_again(&meta, rig_key(0));
		REFUSED("BOOTLOADER_UNSUPPORTED");
	}
	rig_sign(&meta, rig_key(0));
	meta.image.data[11] = 3;
	rig_sign_again(&meta, rig_key(0));
	assert_true(plan());
}

static void unlocked_boots_what_does_not_verify_and_says_so(void **state)
{
	(void)state;
	rig->key.unlocked = 1;
	rig_sign(&meta, rig_key(1));
	boot[6000] ^= 1;
	assert_true(plan());
	assert_true(rig->plan.unlocked);
	assert_int_equal(rig->n_notes, 1);
	assert_int_equal(rig->note.code, FAILURE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH);
	assert_non_null(strstr(rig->plan.cmdline, "verifiedbootstate=orange"));
	assert_non_null(strstr(rig->plan.cmdline, "device_state=unlocked"));
	/* Numbers that lead out are refused all the same. */
	memset(meta.descriptors.data + 16, 0xff, 8);
	rig_sign(&meta, rig_key(1));
	REFUSED("BOOTLOADER_TRUNCATED");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(good_slot_boots),
		T(every_flipped_bit_of_vbmeta_is_refused),
		T(flipped_bits_of_boot_are_refused),
		T(flipped_bit_of_the_signature_is_refused),
		T(other_key_is_refused),
		T(unsigned_image_is_refused),
		T(algorithms_that_we_lack_are_refused_by_name),
		T(older_image_is_refused),
		T(flags_that_turn_verification_off_are_refused),
		T(no_hash_of_boot_is_refused),
		T(numbers_that_lead_out_are_refused),
		T(bad_descriptors_are_refused),
		T(image_longer_than_its_partition_is_refused),
		T(unknown_hash_is_refused),
		T(command_line_comes_from_descriptors),
		T(chained_partition_is_verified_by_its_own_key),
		T(older_chained_image_is_refused),
		T(locations_that_avb_does_not_have_are_refused),
		T(top_level_image_may_name_its_location),
		T(chained_image_describes_its_own_partition_only),
		T(nobody_describes_boot_a_second_time),
		T(newer_images_are_refused_by_name),
		T(unlocked_boots_what_does_not_verify_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
