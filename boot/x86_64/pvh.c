/*
 * PVH's start_info, version 1, with its list of modules (the initrd) and its memory
 * map: xen/include/public/arch-x86/hvm/start_info.h. It holds no random seed; a
 * kernel that starts this way asks the CPU or virtio-rng.
 */
#include "boot/x86_64/loader.h"

#include "base/bytes.h"
#include "boot/x86_64/layout.h"

#define START_INFO_MAGIC 0x336ec578
#define START_INFO_VERSION 1

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t n_modules;
	uint64_t modules;
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memmap; /* from version 1 on */
	uint32_t n_memmap;
	uint32_t reserved;
};

struct module {
	uint64_t addr;
	uint64_t size;
	uint64_t cmdline;
	uint64_t reserved;
};

struct memmap_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* as in e820 */
	uint32_t reserved;
};

struct pvh {
	struct start_info info;
	struct module initrd;
	struct memmap_entry memmap[MEMMAP_MAX];
};

_Static_assert(sizeof(struct start_info) == 56, "start_info");
_Static_assert(LAYOUT_START_INFO + sizeof(struct pvh) <= LAYOUT_ZERO_PAGE,
	       "start_info");

void pvh_write(const struct gmem *mem, const struct loader_initrd *initrd)
{
	struct boot_e820_entry map[MEMMAP_MAX];
	struct pvh pvh = {
		.info = {
			.magic = START_INFO_MAGIC,
			.version = START_INFO_VERSION,
			.cmdline = LAYOUT_CMDLINE,
			.rsdp = LAYOUT_ACPI,
			.memmap = LAYOUT_START_INFO + offsetof(struct pvh, memmap),
			.n_memmap = (uint32_t)memmap_fill(mem, LAYOUT_LOW_RAM_END,
							map),
		},
	};

	if (initrd->size) {
		pvh.info.n_modules = 1;
		pvh.info.modules = LAYOUT_START_INFO + offsetof(struct pvh, initrd);
		pvh.initrd.addr = initrd->addr;
		pvh.initrd.size = initrd->size;
	}
	for (uint32_t i = 0; i < pvh.info.n_memmap; i++) {
		pvh.memmap[i].addr = map[i].addr;
		pvh.memmap[i].size = map[i].size;
		pvh.memmap[i].type = map[i].type;
	}
	gmem_write(mem, GPA(LAYOUT_START_INFO), &pvh, sizeof(pvh));
}
