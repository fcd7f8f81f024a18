/*
 * ACPI tables (ACPI 6.3 chapter 5; PCI Firmware 3.2 for the MCFG), from LAYOUT_ACPI
 * on: RSDP, FACS, DSDT (dsdt.asl), FADT, MADT, MCFG, XSDT. The machine has fixed
 * hardware with a power button and no PM timer, and neither PIC nor PIT unless it is
 * to be a PC for its firmware: what a PC would have beside that is said to be absent.
 */
#include "boot/x86_64/acpi.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"
#include "boot/x86_64/loader.h"

static const uint8_t dsdt[] = {
#include "dsdt.h"
};
static const uint8_t dsdt_pc[] = {
#include "dsdt_pc.h"
};

#define OEM_ID "VMM   "
#define OEM_TABLE_ID "VMM     "
#define CREATOR "VMM "

#define PACKED __attribute__((packed))

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} PACKED;

struct generic_address {
	uint8_t space;
	uint8_t bits;
	uint8_t bit_offset;
	uint8_t access; /* 1: byte, 2: word */
	uint64_t address;
} PACKED;

#define SPACE_IO 1

struct facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
} PACKED;

struct fadt {
	struct header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved1;
	uint8_t profile;
	uint16_t sci;
	uint32_t smi_command; /* 0: always in ACPI mode */
	uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control;
	uint32_t pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len;
	uint8_t gpe0_len, gpe1_len, gpe1_base, cstate_control;
	uint16_t c2_latency, c3_latency;
	uint16_t flush_size, flush_stride;
	uint8_t duty_offset, duty_width;
	uint8_t day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct generic_address reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_facs;
	uint64_t x_dsdt;
	struct generic_address x_pm1a_event, x_pm1b_event;
	struct generic_address x_pm1a_control, x_pm1b_control;
	struct generic_address x_pm2_control, x_pm_timer, x_gpe0, x_gpe1;
	struct generic_address sleep_control, sleep_status;
	uint64_t hypervisor;
} PACKED;

#define BOOT_ARCH_LEGACY_DEVICES (1u << 0) /* the serial ports */
#define BOOT_ARCH_NO_VGA (1u << 2)
#define BOOT_ARCH_NO_ASPM (1u << 4)

#define FADT_WBINVD (1u << 0)
#define FADT_C1 (1u << 2)
#define FADT_SLEEP_BUTTON_NOT_FIXED (1u << 5) /* and the DSDT has none either */
#define FADT_RTC_NOT_FIXED (1u << 6) /* it wakes nothing */
#define FADT_RESET_REGISTER (1u << 10)

/* Latencies above 100 and 1000 microseconds: no C2, no C3. */
#define NO_C2 101
#define NO_C3 1001

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address;
	uint32_t gsi_base;
} PACKED;

struct madt_override {
	uint8_t type, length, bus, irq;
	uint32_t gsi;
	uint16_t flags;
} PACKED;

struct madt_lapic_nmi {
	uint8_t type, length, processor;
	uint16_t flags;
	uint8_t lint;
} PACKED;

struct madt_lapic {
	uint8_t type, length, processor, id;
	uint32_t flags;
} PACKED;

#define MAX_CPUS 255 /* xAPIC IDs 0 to 254 */

struct madt {
	struct header header;
	uint32_t lapic;
	uint32_t flags;
	struct madt_ioapic ioapic;
	struct madt_override sci;
	struct madt_lapic_nmi nmi;
	struct madt_lapic cpus[MAX_CPUS]; /* as many as there are */
} PACKED;

#define MADT_PIC (1u << 0)
#define MADT_ACTIVE_HIGH (1u << 0)
#define MADT_LEVEL (3u << 2)
#define MADT_ALL_PROCESSORS 0xff
#define MADT_ENABLED (1u << 0)

struct mcfg {
	struct header header;
	uint64_t reserved1;
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved2;
} PACKED;

struct xsdt {
	struct header header;
	uint64_t tables[3];
} PACKED;

_Static_assert(sizeof(struct acpi_rsdp) == 36, "rsdp");
_Static_assert(sizeof(struct header) == 36, "header");
_Static_assert(sizeof(struct facs) == 64, "facs");
_Static_assert(sizeof(struct fadt) == 276, "fadt");
_Static_assert(sizeof(struct mcfg) == 60, "mcfg");
_Static_assert(offsetof(struct madt, cpus) == 44 + 12 + 10 + 6, "madt");

/* The byte that makes the sum of all 0. */
static uint8_t checksum(const void *p, size_t len)
{
	const uint8_t *bytes = p;
	unsigned sum = 0;

	while (len--)
		sum += *bytes++;
	return (uint8_t)-sum;
}

/* Append a copy of @len bytes; returns its guest address. */
static uint64_t put(struct acpi_area *area, const void *p, size_t len)
{
	uint64_t at = align_up(area->used, 64); /* as the FACS must be */

	assert(range_within(at, len, area->size));
	memcpy(area->base + at, p, len);
	area->used = at + len;
	return area->addr + at;
}

/* Append a table, which begins with a header that is still empty. */
static uint64_t put_table(struct acpi_area *area, const char *signature,
			  uint8_t revision, void *table, size_t len)
{
	struct header *h = table;
	uint64_t addr;

	*h = (struct header){
		.length = (uint32_t)len,
		.revision = revision,
		.oem_id = OEM_ID,
		.oem_table_id = OEM_TABLE_ID,
		.oem_revision = 1,
		.creator_id = CREATOR,
		.creator_revision = 1,
	};
	memcpy(h->signature, signature, sizeof(h->signature));
	h->checksum = checksum(table, len);
	addr = put(area, table, len);
	assert(area->n_tables < ACPI_TABLES);
	area->tables[area->n_tables++] =
		(struct acpi_table){ (uint32_t)(addr - area->addr), (uint32_t)len };
	return addr;
}

/* Of a table at @addr, the field at @off holds an address. */
static void note_pointer(struct acpi_area *area, uint64_t addr, size_t off, size_t size)
{
	assert(area->n_pointers < ACPI_POINTERS);
	area->pointers[area->n_pointers++] = (struct acpi_pointer){
		(uint32_t)(addr - area->addr + off), (uint8_t)size
	};
}
#define NOTE_POINTER(area, addr, type, field) \
	note_pointer(area, addr, offsetof(type, field), sizeof(((type *)NULL)->field))

static uint64_t put_facs(struct acpi_area *area)
{
	struct facs facs = {
		.signature = "FACS",
		.length = sizeof(facs),
		.version = 2,
	};

	return put(area, &facs, sizeof(facs));
}

static uint64_t put_fadt(struct acpi_area *area)
{
	uint64_t addr, dsdt_addr = area->pc ? put(area, dsdt_pc, sizeof(dsdt_pc))
					    : put(area, dsdt, sizeof(dsdt));
	struct fadt fadt = {
		.facs = (uint32_t)put_facs(area),
		.dsdt = (uint32_t)dsdt_addr,
		.sci = LAYOUT_GSI_SCI,
		.pm1a_event = LAYOUT_PM1_EVENT,
		.pm1a_control = LAYOUT_PM1_CONTROL,
		.pm1_event_len = 4,
		.pm1_control_len = 2,
		.c2_latency = NO_C2,
		.c3_latency = NO_C3,
		.century = LAYOUT_RTC_CENTURY,
		.boot_arch = BOOT_ARCH_LEGACY_DEVICES | BOOT_ARCH_NO_VGA |
			     BOOT_ARCH_NO_ASPM,
		.flags = FADT_WBINVD | FADT_C1 | FADT_SLEEP_BUTTON_NOT_FIXED |
			 FADT_RTC_NOT_FIXED | FADT_RESET_REGISTER,
		.reset = { SPACE_IO, 8, 0, 1, LAYOUT_RESET_PORT },
		.reset_value = LAYOUT_RESET_VALUE,
		.minor_revision = 3,
		.x_dsdt = dsdt_addr,
		.x_pm1a_event = { SPACE_IO, 32, 0, 2, LAYOUT_PM1_EVENT },
		.x_pm1a_control = { SPACE_IO, 16, 0, 2, LAYOUT_PM1_CONTROL },
	};

	addr = put_table(area, "FACP", 6, &fadt, sizeof(fadt));
	NOTE_POINTER(area, addr, struct fadt, facs);
	NOTE_POINTER(area, addr, struct fadt, dsdt);
	NOTE_POINTER(area, addr, struct fadt, x_dsdt);
	return addr;
}

static uint64_t put_madt(struct acpi_area *area, unsigned n_cpus)
{
	struct madt madt = {
		.lapic = LAYOUT_LAPIC,
		.flags = area->pc ? MADT_PIC : 0,
		.ioapic = { 1, sizeof(madt.ioapic), 0, 0, LAYOUT_IOAPIC, 0 },
		.sci = { 2, sizeof(madt.sci), 0, LAYOUT_GSI_SCI, LAYOUT_GSI_SCI,
			 MADT_ACTIVE_HIGH | MADT_LEVEL },
		.nmi = { 4, sizeof(madt.nmi), MADT_ALL_PROCESSORS, 0, 1 },
	};

	assert(n_cpus >= 1 && n_cpus <= MAX_CPUS);
	for (unsigned i = 0; i < n_cpus; i++)
		madt.cpus[i] = (struct madt_lapic){
			0, sizeof(madt.cpus[i]), (uint8_t)i, (uint8_t)i, MADT_ENABLED,
		};
	return put_table(area, "APIC", 5, &madt,
			 offsetof(struct madt, cpus) + n_cpus * sizeof(madt.cpus[0]));
}

static uint64_t put_mcfg(struct acpi_area *area)
{
	struct mcfg mcfg = { .base = LAYOUT_ECAM };

	return put_table(area, "MCFG", 1, &mcfg, sizeof(mcfg));
}

struct acpi_rsdp acpi_put(struct acpi_area *area, unsigned n_cpus)
{
	struct xsdt xsdt = {
		.tables = { put_fadt(area), put_madt(area, n_cpus), put_mcfg(area) },
	};
	struct acpi_rsdp rsdp = {
		.signature = "RSD PTR ",
		.oem_id = OEM_ID,
		.revision = 2,
		.length = sizeof(rsdp),
		.xsdt = put_table(area, "XSDT", 1, &xsdt, sizeof(xsdt)),
	};

	for (size_t i = 0; i < ARRAY_SIZE(xsdt.tables); i++)
		NOTE_POINTER(area, rsdp.xsdt, struct xsdt, tables[i]);
	rsdp.checksum = checksum(&rsdp, offsetof(struct acpi_rsdp, length));
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	return rsdp;
}

void acpi_write(const struct gmem *mem, uint32_t addr, uint32_t end, unsigned n_cpus)
{
	struct acpi_area area = {
		.base = gmem_slice(mem, GPA(addr), end - addr),
		.addr = addr,
		.size = end - addr,
		.used = sizeof(struct acpi_rsdp),
	};
	struct acpi_rsdp rsdp = acpi_put(&area, n_cpus);

	memcpy(area.base, &rsdp, sizeof(rsdp));
}
