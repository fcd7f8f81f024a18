/*
 * The ACPI tables as a guest finds them, and the numbers in the DSDT, which stand in
 * dsdt.asl a second time, against layout.h. Encodings: ACPI 6.3, 6.4 and 20.2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boot/x86_64/layout.h"
#include "boot/x86_64/loader.h"

#define HEADER 36

static struct gmem mem;

static int setup(void **state)
{
	const struct gmem_range low = { GPA(0), LAYOUT_HIGH_RAM };

	(void)state;
	return gmem_map(&mem, &low, 1, NULL);
}

static int teardown(void **state)
{
	(void)state;
	gmem_unmap(&mem);
	return 0;
}

static const uint8_t *at(uint64_t addr, uint64_t len)
{
	const uint8_t *p = gmem_slice(&mem, GPA(addr), len);

	assert_non_null(p);
	assert_true(addr >= LAYOUT_ACPI && addr + len <= LAYOUT_ACPI_END);
	return p;
}

static unsigned sum(const uint8_t *p, size_t len)
{
	unsigned s = 0;

	while (len--)
		s += *p++;
	return s & 0xff;
}

/* A table by its address, checked as a whole. */
static const uint8_t *table(uint64_t addr, const char *signature)
{
	uint32_t len = le32_get(at(addr, HEADER) + 4);
	const uint8_t *t = at(addr, len);

	assert_true(len >= HEADER);
	assert_memory_equal(t, signature, 4);
	assert_int_equal(sum(t, len), 0);
	return t;
}

/* By its place in the XSDT. */
static const uint8_t *listed(unsigned n, const char *signature)
{
	const uint8_t *xsdt = table(le64_get(at(LAYOUT_ACPI, 36) + 24), "XSDT");

	assert_int_equal(le32_get(xsdt + 4), HEADER + 3 * 8);
	return table(le64_get(xsdt + HEADER + 8 * n), signature);
}

static const uint8_t *dsdt(void)
{
	return table(le64_get(listed(0, "FACP") + 140), "DSDT");
}

static void rsdp_is_valid_by_both_versions(void **state)
{
	const uint8_t *rsdp = at(LAYOUT_ACPI, 36);

	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 1);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(le32_get(rsdp + 16), 0); /* no RSDT */
	assert_int_equal(le32_get(rsdp + 20), 36);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
}

static void fadt_describes_the_fixed_hardware(void **state)
{
	const uint8_t *fadt, *facs;

	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 1);
	fadt = listed(0, "FACP");
	assert_int_equal(le32_get(fadt + 4), 276);
	assert_int_equal(fadt[8], 6);
	assert_int_equal(fadt[131], 3);
	facs = at(le32_get(fadt + 36), 64);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(le32_get(facs + 4), 64);
	assert_int_equal(le32_get(fadt + 36) % 64, 0);
	assert_int_equal(le32_get(fadt + 40), le64_get(fadt + 140)); /* DSDT */
	assert_int_equal(le16_get(fadt + 46), LAYOUT_GSI_SCI);
	assert_int_equal(le32_get(fadt + 48), 0); /* SMI_CMD */
	assert_int_equal(le32_get(fadt + 56), LAYOUT_PM1_EVENT);
	assert_int_equal(le64_get(fadt + 152), LAYOUT_PM1_EVENT);
	assert_int_equal(fadt[88], 4);
	assert_int_equal(le32_get(fadt + 64), LAYOUT_PM1_CONTROL);
	assert_int_equal(le64_get(fadt + 176), LAYOUT_PM1_CONTROL);
	assert_int_equal(fadt[89], 2);
	assert_int_equal(le32_get(fadt + 76), 0); /* PM timer */
	/* serial ports; no VGA, no i8042, MSI works, no ASPM, RTC present */
	assert_int_equal(le16_get(fadt + 109), 0x15);
	/* WBINVD, C1, fixed power button, no sleep button, RTC, reset register */
	assert_int_equal(le32_get(fadt + 112), 0x465);
	assert_int_equal(fadt[116], 1); /* I/O */
	assert_int_equal(le64_get(fadt + 120), LAYOUT_RESET_PORT);
	assert_int_equal(fadt[128], LAYOUT_RESET_VALUE);
}

static void assert_madt(unsigned n_cpus)
{
	const uint8_t *madt, *p;
	unsigned cpus = 0;

	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, n_cpus);
	madt = listed(1, "APIC");
	assert_int_equal(le32_get(madt + 36), LAYOUT_LAPIC);
	assert_int_equal(le32_get(madt + 40), 0); /* no PIC */
	for (p = madt + 44; p < madt + le32_get(madt + 4); p += p[1]) {
		const uint8_t ioapic[] = { 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 };
		const uint8_t sci[] = { 2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0 };
		const uint8_t nmi[] = { 4, 6, 0xff, 0, 0, 1 };

		switch (p[0]) {
		case 0:
			assert_int_equal(p[1], 8);
			assert_int_equal(p[2], cpus);
			assert_int_equal(p[3], cpus);
			assert_int_equal(le32_get(p + 4), 1);
			cpus++;
			break;
		case 1:
			assert_memory_equal(p, ioapic, sizeof(ioapic));
			break;
		case 2:
			assert_memory_equal(p, sci, sizeof(sci));
			break;
		case 4:
			assert_memory_equal(p, nmi, sizeof(nmi));
			break;
		default:
			fail();
		}
	}
	assert_ptr_equal(p, madt + le32_get(madt + 4));
	assert_int_equal(cpus, n_cpus);
}

static void madt_lists_every_cpu(void **state)
{
	(void)state;
	assert_int_equal(LAYOUT_IOAPIC, 0xfec00000);
	assert_int_equal(LAYOUT_GSI_SCI, 9);
	assert_madt(1);
	assert_madt(64);
	assert_madt(255);
	/* The table behind the largest MADT is whole, too. */
	listed(2, "MCFG");
}

static void mcfg_has_bus_0(void **state)
{
	const uint8_t *mcfg;

	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 64);
	mcfg = listed(2, "MCFG");
	assert_int_equal(le32_get(mcfg + 4), 60);
	assert_int_equal(le64_get(mcfg + 44), LAYOUT_ECAM);
	assert_int_equal(le16_get(mcfg + 52), 0);
	assert_int_equal(mcfg[54], 0);
	assert_int_equal((mcfg[55] + 1u) << 20, LAYOUT_ECAM_SIZE);
}

static void assert_dsdt_has(const void *bytes, size_t len)
{
	const uint8_t *t = dsdt();

	assert_non_null(memmem(t, le32_get(t + 4), bytes, len));
}
#define DSDT_HAS(...)                                     \
	assert_dsdt_has((const uint8_t[]){ __VA_ARGS__ }, \
			sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define LE16(v) (uint8_t)(v), (uint8_t)((v) >> 8)
#define LE32(v) LE16(v), LE16((v) >> 16)

static void dsdt_powers_off_with_type_0(void **state)
{
	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 1);
	DSDT_HAS('_', 'S', '5', '_', 0x12, 6, 4, 0, 0, 0, 0);
}

static void dsdt_has_the_windows_of_the_layout(void **state)
{
	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 1);
	/* Address space descriptors: granularity, first, last, offset, length. */
	DSDT_HAS(LE32(0), LE32(LAYOUT_PCI_WINDOW), LE32(LAYOUT_PCI_WINDOW_END - 1),
		 LE32(0), LE32(LAYOUT_PCI_WINDOW_END - LAYOUT_PCI_WINDOW));
	DSDT_HAS(0x88, 13, 0, 2, 0x0c, 0, LE16(0), LE16(0), LE16(0), LE16(0), LE16(1));
	DSDT_HAS(LE16(0), LE16(0), LE16(0xcf7), LE16(0), LE16(0xcf8));
	DSDT_HAS(LE16(0), LE16(0xd00), LE16(0xffff), LE16(0), LE16(0xf300));
	DSDT_HAS(0x47, 1, LE16(0xcf8), LE16(0xcf8), 1, 8);
	/* Memory32Fixed, read-write */
	DSDT_HAS(0x86, 9, 0, 1, LE32(LAYOUT_ECAM), LE32(LAYOUT_ECAM_SIZE));
	assert_int_equal(LAYOUT_HOLE, LAYOUT_PCI_WINDOW);
}

static void dsdt_routes_every_slot(void **state)
{
	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 1);
	/* Package of four: address, INTA, no link device, GSI; small ones are words. */
	DSDT_HAS(0x12, 9, 4, 0x0b, LE16(0xffff), 0, 0, 0x0a, LAYOUT_GSI_INTX);
	for (unsigned slot = 1; slot < 32; slot++)
		DSDT_HAS(0x12, 11, 4, 0x0c, LE32(slot << 16 | 0xffff), 0, 0, 0x0a,
			 (uint8_t)(LAYOUT_GSI_INTX + slot % 8));
	assert_int_equal(LAYOUT_GSI_INTX + 7, LAYOUT_IOAPIC_PINS - 1);
}

static void dsdt_has_serial_ports_and_clock(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t gsi;
	} com[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

	(void)state;
	acpi_write(&mem, LAYOUT_ACPI, LAYOUT_ACPI_END, 1);
	/* IO; extended interrupt: consumer, edge, active high, shared */
	for (size_t i = 0; i < ARRAY_SIZE(com); i++)
		DSDT_HAS(0x47, 1, LE16(com[i].port), LE16(com[i].port), 1, 8, 0x89, 6,
			 0, 0x0b, 1, LE32(com[i].gsi), 0x79);
	/* IO and the end: no interrupt */
	DSDT_HAS(0x47, 1, LE16(0x70), LE16(0x70), 1, 2, 0x79);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(rsdp_is_valid_by_both_versions),
		T(fadt_describes_the_fixed_hardware),
		T(madt_lists_every_cpu),
		T(mcfg_has_bus_0),
		T(dsdt_powers_off_with_type_0),
		T(dsdt_has_the_windows_of_the_layout),
		T(dsdt_routes_every_slot),
		T(dsdt_has_serial_ports_and_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
