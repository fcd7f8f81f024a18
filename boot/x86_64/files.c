/*
 * What firmware of a PC asks its machine for, as QEMU's fw_cfg names it: the memory
 * map, ACPI's tables with the commands that put them where firmware wants them
 * (QEMU's include/hw/acpi/bios-linker-loader), and that the first serial port is its
 * screen and keyboard.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "boot/x86_64/acpi.h"
#include "boot/x86_64/layout.h"
#include "boot/x86_64/loader.h"

#define FILE_E820 "etc/e820"
#define FILE_RSDP "etc/acpi/rsdp"
#define FILE_TABLES "etc/acpi/tables"
#define FILE_COMMANDS "etc/table-loader"
#define FILE_SERIAL "etc/sercon-port"

#define COM1 0x3f8

#define NAME_SIZE 56

enum { COMMAND_ALLOCATE = 1, COMMAND_ADD_POINTER = 2, COMMAND_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_F_SEGMENT = 2 };

struct command {
	uint32_t kind;
	union {
		struct {
			char file[NAME_SIZE];
			uint32_t align;
			uint8_t zone;
		} allocate;
		struct {
			/* What is at @at becomes relative to where @to is. */
			char file[NAME_SIZE], to[NAME_SIZE];
			uint32_t at;
			uint8_t size;
		} pointer;
		struct {
			char file[NAME_SIZE];
			uint32_t at, start, len;
		} checksum;
		uint8_t all[124];
	};
};
_Static_assert(sizeof(struct command) == 128, "a command as in QEMU's");

/* Two files, pointers in both, checksums of the tables and two of the RSDP. */
#define MAX_COMMANDS (2 + ACPI_POINTERS + 1 + ACPI_TABLES + 2)

struct commands {
	size_t n;
	struct command v[MAX_COMMANDS];
};

static void allocate(struct commands *c, const char *file, uint32_t align, uint8_t zone)
{
	struct command *v = &c->v[c->n++];

	v->kind = COMMAND_ALLOCATE;
	strncpy(v->allocate.file, file, NAME_SIZE - 1);
	v->allocate.align = align;
	v->allocate.zone = zone;
}

static void add_pointer(struct commands *c, const char *file, uint32_t at, uint8_t size)
{
	struct command *v = &c->v[c->n++];

	v->kind = COMMAND_ADD_POINTER;
	strncpy(v->pointer.file, file, NAME_SIZE - 1);
	strncpy(v->pointer.to, FILE_TABLES, NAME_SIZE - 1);
	v->pointer.at = at;
	v->pointer.size = size;
}

static void add_checksum(struct commands *c, const char *file, uint32_t at,
			 uint32_t start, uint32_t len)
{
	struct command *v = &c->v[c->n++];

	v->kind = COMMAND_ADD_CHECKSUM;
	strncpy(v->checksum.file, file, NAME_SIZE - 1);
	v->checksum.at = at;
	v->checksum.start = start;
	v->checksum.len = len;
}

static void fill_commands(struct commands *c, const struct acpi_area *area)
{
	allocate(c, FILE_TABLES, 64, ZONE_HIGH);
	allocate(c, FILE_RSDP, 16, ZONE_F_SEGMENT);
	for (size_t i = 0; i < area->n_pointers; i++)
		add_pointer(c, FILE_TABLES, area->pointers[i].at,
			    area->pointers[i].size);
	add_pointer(c, FILE_RSDP, offsetof(struct acpi_rsdp, xsdt), 8);
	for (size_t i = 0; i < area->n_tables; i++)
		add_checksum(c, FILE_TABLES, area->tables[i].at + ACPI_CHECKSUM,
			     area->tables[i].at, area->tables[i].len);
	add_checksum(c, FILE_RSDP, offsetof(struct acpi_rsdp, checksum), 0,
		     offsetof(struct acpi_rsdp, length));
	add_checksum(c, FILE_RSDP, offsetof(struct acpi_rsdp, extended_checksum), 0,
		     sizeof(struct acpi_rsdp));
}

/* A copy of @data; NULL: no memory. */
static void *add_file(struct boot_files *files, const char *name, const void *data,
		      size_t size)
{
	void *copy = malloc(size);

	if (copy)
		memcpy(copy, data, size);
	files->v[files->n++] = (struct boot_file){ name, copy, (uint32_t)size };
	return copy;
}

static bool add_acpi(struct boot_files *files, unsigned n_cpus)
{
	uint8_t tables[LAYOUT_LOW_RAM_END - LAYOUT_FIRMWARE_ACPI] = { 0 };
	struct acpi_area area = { .base = tables, .size = sizeof(tables), .pc = true };
	struct acpi_rsdp rsdp = acpi_put(&area, n_cpus);
	struct commands commands = { 0 };

	fill_commands(&commands, &area);
	return add_file(files, FILE_TABLES, tables, area.used) &&
	       add_file(files, FILE_RSDP, &rsdp, sizeof(rsdp)) &&
	       add_file(files, FILE_COMMANDS, commands.v,
			commands.n * sizeof(commands.v[0]));
}

int boot_files_make(const struct gmem_range *ranges, size_t n_ranges, unsigned n_cpus,
		    struct boot_files *ret_files, struct err *err)
{
	const uint64_t serial = COM1;
	struct boot_e820_entry map[MEMMAP_MAX];
	struct boot_files files = { 0 };
	struct gmem mem = { .n_ranges = n_ranges };
	size_t n;

	memcpy(mem.ranges, ranges, n_ranges * sizeof(ranges[0]));
	n = memmap_fill(&mem, LAYOUT_LOW_RAM_END, map);
	if (!add_file(&files, FILE_E820, map, n * sizeof(map[0])) ||
	    !add_file(&files, FILE_SERIAL, &serial, sizeof(serial)) ||
	    !add_acpi(&files, n_cpus)) {
		boot_files_free(&files);
		return err_sys(err, -ENOMEM, "files for firmware");
	}
	*ret_files = files;
	return 0;
}

void boot_files_free(struct boot_files *files)
{
	for (size_t i = 0; i < files->n; i++)
		free(files->v[i].data);
	*files = (struct boot_files){ 0 };
}
