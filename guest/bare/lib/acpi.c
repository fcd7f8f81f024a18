/* ACPI tables: finding, checking, and the few facts that guests need. See acpi.h. */
#include "acpi.h"
#include "bare.h"

struct __attribute__((packed)) rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
};

uint8_t acpi_sum(const void *p, size_t length)
{
	const uint8_t *bytes = p;
	uint8_t sum = 0;

	while (length--)
		sum = (uint8_t)(sum + *bytes++);
	return sum;
}

const void *acpi_rsdp(void)
{
	if (boot.rsdp)
		return (const void *)boot.rsdp;
	for (uintptr_t p = 0xe0000; p < 0x100000; p += 16)
		if (mmio_read64(p) == 0x2052545020445352) /* "RSD PTR " */
			return (const void *)p;
	return NULL;
}

const struct acpi_header *acpi_table(unsigned n)
{
	const struct rsdp *rsdp = acpi_rsdp();
	const struct acpi_header *root;
	uint64_t table = 0;

	if (!rsdp)
		return NULL;
	/* QEMU's ACPI 1.0 tables have an RSDT only. */
	root = (const void *)(rsdp->revision >= 2 ? rsdp->xsdt : rsdp->rsdt);
	if (rsdp->revision >= 2 && n < (root->length - sizeof(*root)) / 8)
		memcpy(&table, (const uint8_t *)(root + 1) + n * 8, 8);
	else if (rsdp->revision < 2 && n < (root->length - sizeof(*root)) / 4)
		memcpy(&table, (const uint8_t *)(root + 1) + n * 4, 4);
	return (const void *)table;
}

const struct acpi_header *acpi_find(const char *signature)
{
	const struct acpi_header *t;

	for (unsigned n = 0; (t = acpi_table(n)) != NULL; n++)
		if (!memcmp(t->signature, signature, 4))
			return acpi_sum(t, t->length) == 0 ? t : NULL;
	return NULL;
}

const struct acpi_header *acpi_dsdt(const struct acpi_fadt *fadt)
{
	bool wide = fadt->header.length >= sizeof(*fadt) && fadt->x_dsdt;

	return (const void *)(wide ? fadt->x_dsdt : (uint64_t)fadt->dsdt);
}

bool acpi_sleep_type(const struct acpi_fadt *fadt, uint8_t *ret)
{
	const struct acpi_header *dsdt = acpi_dsdt(fadt);
	const uint8_t *p = (const uint8_t *)(dsdt + 1);
	const uint8_t *end = (const uint8_t *)dsdt + dsdt->length - 8;

	/* Name (_S5_, Package (1-byte length) { first element: 0, 1 or a byte, … }) */
	for (; p < end; p++) {
		if (*p != '_' || memcmp(p, "_S5_\x12", 5))
			continue;
		if (p[7] == 0x0a)
			*ret = p[8];
		else if (p[7] <= 1)
			*ret = p[7];
		else
			return false;
		return true;
	}
	return false;
}

/* The MADT's next entry of this type behind `from`, or its first; NULL. */
static const uint8_t *acpi_madt(const uint8_t *from, uint8_t type)
{
	static const struct acpi_header *madt;
	const uint8_t *p;

	if (!madt)
		madt = acpi_find("APIC");
	if (!madt)
		return NULL;
	p = from ? from + from[1] : (const uint8_t *)(madt + 1) + 8;
	for (; p + 2 <= (const uint8_t *)madt + madt->length && p[1] >= 2; p += p[1])
		if (p[0] == type)
			return p;
	return NULL;
}

unsigned acpi_processors(uint8_t *ret_ids, unsigned max)
{
	unsigned n = 0;

	for (const uint8_t *p = acpi_madt(NULL, 0); p; p = acpi_madt(p, 0))
		if ((p[4] & 1) && n < max)
			ret_ids[n++] = p[3];
	return n;
}

uintptr_t acpi_ioapic(void)
{
	const uint8_t *p = acpi_madt(NULL, 1);
	uint32_t addr = 0;

	if (p)
		memcpy(&addr, p + 4, sizeof(addr));
	return addr;
}

uintptr_t acpi_ecam(void)
{
	const struct acpi_header *mcfg = acpi_find("MCFG");
	uint64_t base = 0;

	if (mcfg && mcfg->length >= sizeof(*mcfg) + 24)
		memcpy(&base, (const uint8_t *)(mcfg + 1) + 8, sizeof(base));
	return base;
}
