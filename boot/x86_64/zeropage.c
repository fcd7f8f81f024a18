/*
 * The zero page (struct boot_params), by which Linux learns of everything else when
 * it starts by the 32- or 64-bit boot protocol: Documentation/arch/x86/boot.rst and
 * zero-page.rst. Refuses nothing: the loaders have checked what it is given.
 */
#include "boot/x86_64/loader.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"

#define LOADER_UNREGISTERED 0xff
#define SEED_SIZE 64
#define LINUX_CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE without the terminator */

const struct setup_header zeropage_plain_header = {
	.boot_flag = 0xaa55,
	.header = 0x53726448, /* "HdrS" */
	.version = 0x20c,
	.loadflags = LOADED_HIGH,
	.cmdline_size = LINUX_CMDLINE_MAX,
	.kernel_alignment = 0x200000,
};

/* Without a seed a guest's first random numbers could be guessed. */
static int write_seed(const struct gmem *mem, struct err *err)
{
	struct setup_data *data = gmem_slice(mem, GPA(LAYOUT_SETUP_DATA),
					     sizeof(*data) + SEED_SIZE);

	*data = (struct setup_data){ .type = SETUP_RNG_SEED, .len = SEED_SIZE };
	if (getrandom(data->data, SEED_SIZE, 0) != SEED_SIZE)
		return err_sys(err, -errno, "no random numbers for the guest");
	return 0;
}

int zeropage_write(const struct gmem *mem, const struct setup_header *hdr,
		   const struct loader_initrd *initrd, uint32_t acpi, struct err *err)
{
	uint32_t low_end = acpi < LAYOUT_LOW_RAM_END ? acpi : LAYOUT_LOW_RAM_END;
	struct boot_params *zero = gmem_slice(mem, GPA(LAYOUT_ZERO_PAGE),
					      sizeof(*zero));

	_Static_assert(MEMMAP_MAX <= E820_MAX_ENTRIES_ZEROPAGE, "e820_table");
	memset(zero, 0, sizeof(*zero));
	zero->hdr = *hdr;
	zero->hdr.type_of_loader = LOADER_UNREGISTERED;
	/* The heap is the real-mode code's, which is not there; KASLR is the kernel's.
	 */
	zero->hdr.loadflags &= (uint8_t) ~(CAN_USE_HEAP | KASLR_FLAG | KEEP_SEGMENTS);
	zero->hdr.heap_end_ptr = 0;
	zero->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
	/* In low memory, where 32 bits reach: the ext_ fields stay 0. */
	zero->hdr.ramdisk_image = (uint32_t)initrd->addr;
	zero->hdr.ramdisk_size = (uint32_t)initrd->size;
	zero->hdr.setup_data = LAYOUT_SETUP_DATA;
	zero->acpi_rsdp_addr = acpi;
	zero->e820_entries = (uint8_t)memmap_fill(mem, low_end, zero->e820_table);
	return write_seed(mem, err);
}
