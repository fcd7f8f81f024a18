/* Starting Linux; see linux.h. */
#include "linux.h"

#include <string.h>

#include "bytes.h"

#define SECTOR 512u
#define ENTRY_64 0x200u
#define PROTOCOL_2_12 0x20cu
#define LOADER_UNREGISTERED 0xffu
#define HDR_AT offsetof(struct boot_params, hdr)

static bool bad(struct failure *f, const char *why)
{
	return fail_with(f, FAILURE_BOOTLOADER_BAD_BOOT_IMAGE, "boot", why);
}

bool linux_parse(const struct blob *bzimage, struct linux_image *ret, struct failure *f)
{
	const uint8_t *p = bzimage->data;
	struct setup_header *hdr = &ret->hdr;
	uint64_t setup, code;
	size_t len;

	*ret = (struct linux_image){ 0 };
	if (bzimage->size < 0x290 || memcmp(p + 0x202, "HdrS", 4) != 0)
		return bad(f, "its kernel is no bzImage");
	/* The header ends where the jump over it leads. */
	len = 0x202u + p[0x201] - HDR_AT;
	memcpy(hdr, p + HDR_AT, len < sizeof(*hdr) ? len : sizeof(*hdr));
	if (hdr->version < PROTOCOL_2_12 || !(hdr->xloadflags & XLF_KERNEL_64) ||
	    len < offsetof(struct setup_header, handover_offset))
		return fail_with(f, FAILURE_BOOTLOADER_UNSUPPORTED, "boot",
				 "its kernel has no 64-bit entry");
	setup = ((hdr->setup_sects ? hdr->setup_sects : 4u) + 1u) * SECTOR;
	code = hdr->syssize * (uint64_t)16;
	if (code <= ENTRY_64 || !within(setup, code, bzimage->size))
		return bad(f, "its kernel is truncated");
	ret->code = (struct blob){ p + setup, code };
	ret->start = hdr->pref_address;
	if (ret->start > UINT32_MAX || ret->start % ARENA_ALIGN)
		return bad(f, "its kernel wants to be at a senseless address");
	ret->end = ret->start + (code > hdr->init_size ? code : hdr->init_size);
	return true;
}

void linux_zero_page(struct boot_params *zero, const struct linux_image *image,
		     const struct boot_params *machine, uint32_t cmdline,
		     uint32_t initrd, uint32_t initrd_size)
{
	memset(zero, 0, sizeof(*zero));
	zero->hdr = image->hdr;
	zero->hdr.type_of_loader = LOADER_UNREGISTERED;
	zero->hdr.loadflags &= (uint8_t) ~(CAN_USE_HEAP | KASLR_FLAG | KEEP_SEGMENTS);
	zero->hdr.heap_end_ptr = 0;
	zero->hdr.cmd_line_ptr = cmdline;
	zero->hdr.ramdisk_image = initrd;
	zero->hdr.ramdisk_size = initrd_size;
	zero->hdr.setup_data = machine->hdr.setup_data;
	zero->acpi_rsdp_addr = machine->acpi_rsdp_addr;
	zero->e820_entries = machine->e820_entries;
	memcpy(zero->e820_table, machine->e820_table, sizeof(zero->e820_table));
}
