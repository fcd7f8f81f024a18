/*
 * Any bytes as the partitions that the bootloader reads: vbmeta_a, boot_a, init_boot_a,
 * vendor_boot_a and misc. The key block is unlocked, so that a fuzzer that cannot sign
 * gets behind the signature. Planning must end in a failure that has a name and an
 * object, or in a plan whose parts lie in the arena.
 *
 * Input: five 16-bit lengths, of which each is cut to what follows, then the bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/bootloader/bytes.h"
#include "tests/unit/bootloader_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)            \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

static bool in_arena(const struct rig *r, const uint8_t *p, uint64_t len)
{
	return p >= r->memory &&
	       within((uint64_t)(p - r->memory), len, sizeof(r->memory));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "vbmeta_a", "boot_a", "init_boot_a",
					     "vendor_boot_a", "misc" };
	static const struct boot_params machine = { .e820_entries = 1 };
	struct boot_params zero;
	static struct rig *r;
	size_t at = 2 * 5;

	if (size < at)
		return 0;
	if (!r)
		r = rig_new();
	r->n_parts = 0;
	r->next = 34;
	for (int i = 0; i < 5; i++) {
		size_t len = le16(data + 2 * i);

		if (len > size - at)
			len = size - at;
		if (len)
			rig_part(r, names[i], data + at, len);
		at += len;
	}
	rig_write_gpt(r);
	r->key.unlocked = 1;
	if (!rig_plan(r)) {
		REQUIRE(r->f.code != FAILURE_NONE && r->f.object[0] && r->f.why);
		return 0;
	}
	REQUIRE(in_arena(r, r->plan.kernel.code.data, r->plan.kernel.code.size));
	REQUIRE(!r->plan.initrd.data ||
		in_arena(r, r->plan.initrd.data, r->plan.initrd.size));
	REQUIRE(strlen(r->plan.cmdline) < sizeof(r->plan.cmdline));
	linux_zero_page(&zero, &r->plan.kernel, &machine, 0x20000, 0x100000, 1);
	REQUIRE(zero.hdr.ramdisk_image == 0x100000 && zero.e820_entries == 1);
	return 0;
}
