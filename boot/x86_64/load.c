/*
 * boot_load() for x86_64: chooses the loader by the image's first bytes and adds what
 * the kernel, or firmware, finds beside itself: command line, initrd, ACPI tables, and
 * the structure that leads to them.
 */
#include "boot/x86_64/loader.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "boot/arch.h"
#include "boot/x86_64/layout.h"

#define PAGE_SIZE 4096u
#define MIB (1u << 20)

/* The first range is the memory below the hole. */
static uint64_t low_end(const struct gmem *mem)
{
	return mem->ranges[0].gpa.v + mem->ranges[0].len;
}

int loader_check_fit(const struct gmem *mem, const struct boot_image *img,
		     uint64_t start, uint64_t end, const char *what, struct err *err)
{
	if (start < LAYOUT_HIGH_RAM)
		return err_set(err, -ENOEXEC,
			       "kernel %s: wants to be at 0x%" PRIx64
			       ", but memory below 1 MiB is taken (%s)",
			       img->path, start, what);
	if (end > LAYOUT_HOLE)
		return err_set(err, -E2BIG,
			       "kernel %s: needs memory up to 0x%" PRIx64
			       " (%s), the first part of memory ends at 0x%llx",
			       img->path, end, what, LAYOUT_HOLE);
	if (end > low_end(mem))
		return err_set(err, -E2BIG,
			       "kernel %s: needs %" PRIu64 " MiB of memory (%s),"
			       " the VM has %" PRIu64 " MiB",
			       img->path, align_up(end, MIB) / MIB, what,
			       gmem_size(mem) / MIB);
	return 0;
}

static int load_kernel(const struct gmem *mem, const struct boot_image *img,
		       const unsigned char *head, struct loader_kernel *ret_kernel,
		       struct err *err)
{
	const struct setup_header *hdr =
		(const void *)(head + offsetof(struct boot_params, hdr));
	struct multiboot_header multiboot;

	if (memcmp(head, ELFMAG, SELFMAG) == 0)
		return elf_load(mem, img, head, ret_kernel, err);
	if (memcmp(&hdr->header, "HdrS", 4) == 0)
		return bzimage_load(mem, img, head, ret_kernel, err);
	if (multiboot_find(head, boot_head_len(img), &multiboot) &&
	    multiboot.flags & MULTIBOOT_ADDRESSES)
		return multiboot_load(mem, img, &multiboot, ret_kernel, err);
	return boot_refuse(img, head, err);
}

static int load_initrd(const struct gmem *mem, const struct boot_image *img,
		       const struct loader_kernel *kernel,
		       struct loader_initrd *ret_initrd, struct err *err)
{
	struct boot_room room = {
		.start = LAYOUT_HIGH_RAM,
		.end = low_end(mem),
		.kernel_start = align_down(kernel->start, PAGE_SIZE),
		.kernel_end = align_up(kernel->end, PAGE_SIZE),
	};
	int r;

	if (img->fd < 0)
		return 0;
	if (kernel->initrd_max < room.end)
		room.end = align_down(kernel->initrd_max + 1, PAGE_SIZE);
	r = boot_load_initrd(mem, img, &room, &ret_initrd->addr, err);
	if (r == 0)
		ret_initrd->size = img->size;
	return r;
}

static int load_cmdline(const struct gmem *mem, const char *text, const char *reader,
			uint32_t max, struct err *err)
{
	size_t len = strlen(text);

	if (max > LAYOUT_CMDLINE_MAX - 1)
		max = LAYOUT_CMDLINE_MAX - 1;
	if (len > max)
		return err_set(err, -E2BIG,
			       "command line: %zu bytes, %s takes at most %u", len,
			       reader, max);
	gmem_write(mem, GPA(LAYOUT_CMDLINE), text, len + 1);
	return 0;
}

static int check_memory(const struct gmem *mem, struct err *err)
{
	if (!gmem_slice(mem, GPA(0), LAYOUT_HIGH_RAM))
		return err_set(err, -E2BIG, "the VM needs more than 1 MiB of memory");
	return 0;
}

/* What the kernel's protocol hands over, in memory and registers. */
static int write_handover(const struct gmem *mem, const struct loader_kernel *kernel,
			  const struct loader_initrd *initrd, struct boot_state *state,
			  struct err *err)
{
	state->mode = kernel->protocol == LOADER_LINUX64 ? BOOT_LONG64 : BOOT_PROT32;
	state->entry = kernel->entry;
	state->gdt = LAYOUT_GDT;
	gdt_write(mem, state->mode);
	switch (kernel->protocol) {
	case LOADER_PVH:
		pvh_write(mem, initrd);
		state->rbx = LAYOUT_START_INFO;
		return 0;
	case LOADER_MULTIBOOT:
		multiboot_write(mem, initrd);
		state->rax = MULTIBOOT_BOOTED;
		state->rbx = LAYOUT_START_INFO;
		return 0;
	case LOADER_LINUX64:
		paging_write(mem);
		state->page_table = LAYOUT_PML4;
		break;
	case LOADER_LINUX32:
		break;
	}
	state->rsi = LAYOUT_ZERO_PAGE;
	return zeropage_write(mem, &kernel->hdr, initrd, LAYOUT_ACPI, err);
}

int boot_arch_load(const struct gmem *mem, const struct boot_cfg *cfg,
		   const unsigned char *head, struct boot_state *ret_state,
		   struct err *err)
{
	struct loader_kernel kernel = { 0 };
	struct loader_initrd initrd = { 0 };
	char reader[600];
	int r;

	r = check_memory(mem, err);
	if (r == 0)
		r = load_kernel(mem, &cfg->kernel, head, &kernel, err);
	if (r < 0)
		return r;
	snprintf(reader, sizeof(reader), "kernel %s", cfg->kernel.path);
	r = load_cmdline(mem, cfg->cmdline, reader, kernel.cmdline_max, err);
	if (r == 0)
		r = load_initrd(mem, &cfg->initrd, &kernel, &initrd, err);
	if (r < 0)
		return r;
	acpi_write(mem, LAYOUT_ACPI, LAYOUT_ACPI_END, cfg->n_cpus);
	return write_handover(mem, &kernel, &initrd, ret_state, err);
}

uint64_t boot_arch_rom_max(void)
{
	return LAYOUT_ROM_MAX;
}

/* As on a PC, where the ROM is seen below 1 MiB until firmware has RAM there. */
static void shadow_rom(const struct gmem *mem, const struct boot_rom *rom)
{
	uint64_t len = rom->len < LAYOUT_ROM_LOW_SIZE ? rom->len : LAYOUT_ROM_LOW_SIZE;

	gmem_write(mem, GPA(LAYOUT_HIGH_RAM - len), rom->base + rom->len - len, len);
}

/* The zero page is the loader's way to tell of memory, ACPI and the command line. */
int boot_arch_firmware(const struct gmem *mem, const struct boot_cfg *cfg,
		       struct err *err)
{
	const struct loader_initrd no_initrd = { 0 };
	int r = check_memory(mem, err);

	if (r == 0 && cfg->pc_rom) {
		shadow_rom(mem, cfg->pc_rom);
		return 0;
	}
	if (r == 0)
		r = load_cmdline(mem, cfg->cmdline, "firmware", UINT32_MAX, err);
	if (r < 0)
		return r;
	acpi_write(mem, LAYOUT_FIRMWARE_ACPI, LAYOUT_LOW_RAM_END, cfg->n_cpus);
	return zeropage_write(mem, &zeropage_plain_header, &no_initrd,
			      LAYOUT_FIRMWARE_ACPI, err);
}
