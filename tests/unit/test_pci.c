/* PCI functions: configuration space, BARs, MSI-X, INTx. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/fake_host.h"

#define BAR_SIZE 0x4000u
#define TABLE 0x1000u
#define PBA 0x2000u
#define VECTORS 70u

/* A function with one BAR, whose first register counts writes to it. */
struct toy {
	struct device dev;
	struct pci_func pci;
	unsigned writes, mapped, unmapped, config_reads, config_writes;
};

struct rig {
	struct fake_host host;
	struct toy *toy;
	struct toy *other;
};

static void toy_read(struct device *dev, unsigned win, uint64_t off, void *buf,
		     size_t len)
{
	struct toy *t = (struct toy *)dev;

	if (!pci_msix_read(&t->pci, win, off, buf, len))
		memset(buf, 0x5a, len);
}

static void toy_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
		      size_t len)
{
	struct toy *t = (struct toy *)dev;

	if (!pci_msix_write(&t->pci, win, off, buf, len))
		t->writes++;
}

static const struct dev_class toy_class = {
	.name = "toy",
	.read = toy_read,
	.write = toy_write,
};

static void toy_config_reading(struct pci_func *f, unsigned off, size_t len)
{
	(void)off;
	(void)len;
	((struct toy *)f->dev)->config_reads++;
}

static void toy_config_written(struct pci_func *f, unsigned off, size_t len)
{
	(void)off;
	(void)len;
	((struct toy *)f->dev)->config_writes++;
}

static void toy_bar_mapped(struct pci_func *f, unsigned bar, bool on)
{
	struct toy *t = (struct toy *)f->dev;

	assert_int_equal(bar, 0);
	assert_true(f->bar_addr[0] != 0); /* already, or still */
	t->mapped += on;
	t->unmapped += !on;
}

static struct toy *toy_new(struct fake_host *host)
{
	static const struct pci_ids ids = { 0x1234, 0x5678, 0x9abc,
					    0xdef0, 0x42,   0x0880aa };
	struct toy *t = calloc(1, sizeof(*t));
	struct err err;

	assert_non_null(t);
	device_init(&t->dev, &toy_class, &host->host);
	pci_func_init(&t->pci, &t->dev, &ids);
	pci_add_bar(&t->pci, 0, BAR_SIZE);
	assert_int_equal(pci_add_msix(&t->pci, VECTORS, 0, TABLE, PBA), 0);
	t->pci.bar_mapped = toy_bar_mapped;
	t->pci.config_reading = toy_config_reading;
	t->pci.config_written = toy_config_written;
	assert_int_equal(host->host.ops->pci_add(host, &t->pci, &err), 0);
	return t;
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	fake_host_init(&r->host, "toy0", 1 << 20);
	r->toy = toy_new(&r->host);
	r->other = toy_new(&r->host);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	pci_func_free(&r->toy->pci);
	pci_func_free(&r->other->pci);
	free(r->toy);
	free(r->other);
	fake_host_free(&r->host);
	free(r);
	return 0;
}

static uint64_t cfg(struct rig *r, unsigned off, size_t len)
{
	uint8_t buf[8] = { 0 };

	pci_config_read(&r->toy->pci, off, buf, len);
	return le64_get(buf);
}

static void set_cfg(struct rig *r, unsigned off, uint64_t v, size_t len)
{
	uint8_t buf[8];

	le64_put(buf, v);
	pci_config_write(&r->toy->pci, off, buf, len);
}

/* --- configuration space --------------------------------------------------- */

static void header_tells_who_it_is(void **state)
{
	struct rig *r = *state;

	assert_int_equal(cfg(r, 0, 4), 0x56781234);
	assert_int_equal(cfg(r, 8, 4), 0x0880aa42);
	assert_int_equal(cfg(r, 0x0e, 1), 0);
	assert_int_equal(cfg(r, 0x2c, 4), 0xdef09abc);
	assert_int_equal(cfg(r, 6, 2), 0x10); /* capabilities, nothing else */
	assert_int_equal(cfg(r, 0x34, 1), 0x40);
	assert_int_equal(cfg(r, 0x40, 8),
			 (VECTORS - 1) << 16 | 0x0011 | (uint64_t)TABLE << 32);
	assert_int_equal(cfg(r, 0x3c, 2), 0x100 | PCI_INTX_GSI(1));
	/* The extended space exists and is empty. */
	assert_int_equal(cfg(r, 0x100, 4), 0);
	assert_int_equal(cfg(r, 0xff8, 8), 0);
	assert_int_equal(cfg(r, 0xfe, 4), 0);
}

static void read_only_bits_stay(void **state)
{
	struct rig *r = *state;
	uint8_t before[256], after[256];

	pci_config_read(&r->toy->pci, 0, before, sizeof(before));
	for (unsigned off = 0; off < 4096; off += 8)
		set_cfg(r, off, UINT64_MAX, 8);
	pci_config_read(&r->toy->pci, 0, after, sizeof(after));
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal((before[i] ^ after[i]) & ~r->toy->pci.wmask[i], 0);
	assert_int_equal(cfg(r, 4, 2), 0x406);
	assert_int_equal(cfg(r, 0x3c, 2), 0x1ff);
	assert_int_equal(cfg(r, 0x42, 2), 0xc000 | (VECTORS - 1));
}

static void hooks_see_accesses(void **state)
{
	struct rig *r = *state;

	cfg(r, 0x40, 4);
	set_cfg(r, 0x40, 0, 4);
	assert_int_equal(r->toy->config_reads, 1);
	assert_int_equal(r->toy->config_writes, 1);
	cfg(r, 0x100, 4);
	set_cfg(r, 0x100, 0, 4);
	assert_int_equal(r->toy->config_reads, 1);
	assert_int_equal(r->toy->config_writes, 1);
}

static void capabilities_are_chained(void **state)
{
	struct rig *r = *state;
	uint8_t cap[5] = { 0, 0x77, 5, 0xaa, 0xbb };

	assert_int_equal(pci_add_cap(&r->toy->pci, 0x09, cap, 5), 0x4c);
	assert_int_equal(pci_add_cap(&r->toy->pci, 0x09, cap, 5), 0x54);
	assert_int_equal(cfg(r, 0x41, 1), 0x4c);
	assert_int_equal(cfg(r, 0x4c, 4), 0xaa055409);
	assert_int_equal(cfg(r, 0x54, 2), 0x0009);
}

/* --- BARs ------------------------------------------------------------------ */

static const struct fake_window *window(struct rig *r, const struct toy *t)
{
	for (size_t i = 0; i < FAKE_MAX_WINDOWS; i++) {
		if (r->host.windows[i].dev == &t->dev)
			return &r->host.windows[i];
	}
	return NULL;
}

static void bars_are_assigned_aligned_and_apart(void **state)
{
	struct rig *r = *state;

	assert_int_equal(cfg(r, 0x10, 4), PCI_WINDOW_BASE);
	assert_int_equal(le32_get(r->other->pci.config + 0x10),
			 PCI_WINDOW_BASE + BAR_SIZE);
	assert_int_equal(cfg(r, 0x14, 4), 0);
}

static void bar_tells_its_size(void **state)
{
	struct rig *r = *state;

	set_cfg(r, 0x10, 0xffffffff, 4);
	assert_int_equal(cfg(r, 0x10, 4), ~(BAR_SIZE - 1));
	set_cfg(r, 0x14, 0xffffffff, 4);
	assert_int_equal(cfg(r, 0x14, 4), 0);
	set_cfg(r, 0x30, 0xffffffff, 4);
	assert_int_equal(cfg(r, 0x30, 4), 0); /* no ROM */
}

static void decoding_maps_and_unmaps(void **state)
{
	struct rig *r = *state;

	assert_null(window(r, r->toy));
	set_cfg(r, 4, 2, 2);
	assert_int_equal(window(r, r->toy)->base, PCI_WINDOW_BASE);
	assert_int_equal(window(r, r->toy)->len, BAR_SIZE);
	assert_int_equal(r->toy->mapped, 1);
	assert_int_equal(fake_in(&r->host, DEV_MMIO, PCI_WINDOW_BASE, 4), 0x5a5a5a5a);
	set_cfg(r, 4, 6, 2); /* bus mastering changes nothing about it */
	assert_int_equal(r->toy->mapped, 1);
	set_cfg(r, 4, 0, 2);
	assert_null(window(r, r->toy));
	assert_int_equal(r->toy->unmapped, 1);
	assert_int_equal(fake_in(&r->host, DEV_MMIO, PCI_WINDOW_BASE, 4), 0xffffffff);
}

static void bar_moves_while_decoded(void **state)
{
	struct rig *r = *state;

	set_cfg(r, 4, 2, 2);
	set_cfg(r, 0x10, PCI_WINDOW_END - BAR_SIZE, 4);
	assert_int_equal(window(r, r->toy)->base, PCI_WINDOW_END - BAR_SIZE);
	/* By bytes, too. */
	set_cfg(r, 0x13, 0xe0, 1);
	assert_int_equal(window(r, r->toy)->base, 0xe0ffc000);
	/* Sizing while decoded: nowhere, and back. */
	set_cfg(r, 0x10, 0xffffffff, 4);
	assert_null(window(r, r->toy));
	set_cfg(r, 0x10, 0xe0ffc000, 4);
	assert_int_equal(window(r, r->toy)->base, 0xe0ffc000);
}

static void bar_stays_within_the_pci_window(void **state)
{
	struct rig *r = *state;
	static const uint32_t bad[] = {
		0,
		0x10000 /* RAM */,
		PCI_WINDOW_BASE - BAR_SIZE,
		PCI_WINDOW_END, /* ECAM */
		0xfec00000,
		0xfee00000,
		0xffffc000,
	};

	set_cfg(r, 4, 2, 2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_cfg(r, 0x10, bad[i], 4);
		assert_null(window(r, r->toy));
		assert_int_equal(cfg(r, 0x10, 4), bad[i]);
	}
	set_cfg(r, 0x10, PCI_WINDOW_BASE, 4);
	assert_non_null(window(r, r->toy));
}

/* Where its firmware puts them: up to the I/O APIC, around the configuration space. */
static void a_pcs_bar_may_lie_behind_the_pci_window(void **state)
{
	struct rig *r = *state;
	const uint32_t high = PCI_PC_WINDOW_END - BAR_SIZE;
	static const uint32_t bad[] = { PCI_ECAM_BASE, PCI_PC_WINDOW_END, 0xfee00000,
					0xffffc000 };

	pci_func_free(&r->toy->pci);
	free(r->toy);
	r->host.bus.pc = true;
	r->toy = toy_new(&r->host);
	assert_int_equal(cfg(r, 0x10, 4), PCI_WINDOW_BASE + 2 * BAR_SIZE);
	set_cfg(r, 4, 2, 2);
	set_cfg(r, 0x10, high, 4);
	assert_int_equal(window(r, r->toy)->base, high);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_cfg(r, 0x10, bad[i], 4);
		assert_null(window(r, r->toy));
	}
}

static void bar_on_another_bar_is_not_mapped(void **state)
{
	struct rig *r = *state;
	uint8_t on[2] = { 2, 0 };

	pci_config_write(&r->other->pci, 4, on, 2);
	set_cfg(r, 4, 2, 2);
	set_cfg(r, 0x10, PCI_WINDOW_BASE + BAR_SIZE, 4);
	assert_null(window(r, r->toy));
	assert_non_null(window(r, r->other)); /* the first one goes on */
	/* A later write tries again. */
	set_cfg(r, 0x10, PCI_WINDOW_BASE, 4);
	assert_non_null(window(r, r->toy));
}

static void bus_is_full_after_32_functions(void **state)
{
	struct rig *r = *state;
	struct pci_func f[PCI_MAX_SLOTS] = { 0 };
	struct err err = { "" };
	int result = 0;
	unsigned n = 0;

	while (result == 0) {
		static const struct pci_ids ids = { 1, 2, 3, 4, 5, 6 };

		pci_func_init(&f[n], &r->toy->dev, &ids);
		result = pci_bus_add(&r->host.bus, &f[n++], &err);
	}
	assert_int_equal(result, -ENOSPC);
	assert_int_equal(n, PCI_MAX_SLOTS - 3 + 1); /* bridge, toy, other */
	assert_string_equal(err.msg, "toy0: all 32 PCI slots are taken");
	while (n-- > 0)
		pci_func_free(&f[n]);
}

static void bars_that_do_not_fit_are_refused(void **state)
{
	struct rig *r = *state;
	static const struct pci_ids ids = { 1, 2, 3, 4, 5, 6 };
	struct pci_func big = { 0 }, small = { 0 };
	struct err err = { "" };

	pci_func_init(&big, &r->toy->dev, &ids);
	pci_add_bar(&big, 1, 1u << 31);
	assert_int_equal(pci_bus_add(&r->host.bus, &big, &err), -ENOSPC);
	assert_string_equal(err.msg,
			    "toy0: no PCI memory is left for 2147483648 bytes");
	/* That took neither a slot nor addresses. */
	pci_func_init(&small, &r->toy->dev, &ids);
	pci_add_bar(&small, 5, 4096);
	assert_int_equal(pci_bus_add(&r->host.bus, &small, &err), 0);
	assert_int_equal(small.slot, 3);
	assert_int_equal(le32_get(small.config + 0x24), PCI_WINDOW_BASE + 2 * BAR_SIZE);
	pci_func_free(&big);
	pci_func_free(&small);
}

/* --- MSI-X ----------------------------------------------------------------- */

static uint64_t bar_in(struct rig *r, unsigned off, size_t len)
{
	return fake_in(&r->host, DEV_MMIO, PCI_WINDOW_BASE + off, len);
}

static void bar_out(struct rig *r, unsigned off, uint64_t v, size_t len)
{
	fake_out(&r->host, DEV_MMIO, PCI_WINDOW_BASE + off, v, len);
}

/* Decoding on, MSI-X enabled, vector @v sends @data. */
static void enable_vector(struct rig *r, unsigned v, uint32_t data)
{
	set_cfg(r, 4, 2, 2);
	set_cfg(r, 0x42, 0x8000, 2);
	bar_out(r, TABLE + 16 * v, 0xfee01000, 8);
	bar_out(r, TABLE + 16 * v + 8, data, 4);
	bar_out(r, TABLE + 16 * v + 12, 0, 4);
}

static void vectors_start_masked_and_without_source(void **state)
{
	struct rig *r = *state;

	set_cfg(r, 4, 2, 2);
	assert_false(pci_msix_enabled(&r->toy->pci));
	for (unsigned v = 0; v < VECTORS; v++)
		assert_int_equal(bar_in(r, TABLE + 16 * v + 12, 4), 1);
	/* Not enabled, never set up, or not there: nothing happens. */
	pci_msix_signal(&r->toy->pci, 0);
	pci_msix_signal(&r->toy->pci, VECTORS);
	pci_msix_signal(&r->toy->pci, 0xffff);
	set_cfg(r, 0x42, 0x8000, 2);
	assert_true(pci_msix_enabled(&r->toy->pci));
	pci_msix_signal(&r->toy->pci, 0);
	assert_int_equal(r->host.n_msis, 0);
}

static void unmasked_vector_sends(void **state)
{
	struct rig *r = *state;

	enable_vector(r, 69, 0x4021);
	assert_int_equal(r->host.n_msis, 1);
	assert_int_equal(r->host.msis[0].addr, 0xfee01000);
	assert_int_equal(r->host.msis[0].data, 0x4021);
	pci_msix_signal(&r->toy->pci, 69);
	assert_int_equal(fake_msi_count(&r->host, 0), 1);
	/* A change while unmasked takes effect; reserved bits do not exist. */
	bar_out(r, TABLE + 16 * 69, 0x1fee02003, 8);
	bar_out(r, TABLE + 16 * 69 + 8, 0xfffffffe00004022, 8);
	assert_int_equal(r->host.msis[0].addr, 0x1fee02000);
	assert_int_equal(r->host.msis[0].data, 0x4022);
	assert_int_equal(bar_in(r, TABLE + 16 * 69, 8), 0x1fee02000);
	assert_int_equal(bar_in(r, TABLE + 16 * 69 + 8, 8), 0x4022);
	assert_int_equal(r->host.n_msis, 1);
}

static void masked_vector_is_pending(void **state)
{
	struct rig *r = *state;

	enable_vector(r, 0, 1);
	enable_vector(r, 33, 2);
	enable_vector(r, 69, 3);
	assert_int_equal(bar_in(r, PBA, 8), 0);
	bar_out(r, TABLE + 12, 1, 4);
	bar_out(r, TABLE + 16 * 33 + 12, 1, 4);
	bar_out(r, TABLE + 16 * 69 + 12, 1, 4);
	pci_msix_signal(&r->toy->pci, 0);
	pci_msix_signal(&r->toy->pci, 33);
	pci_msix_signal(&r->toy->pci, 69);
	assert_int_equal(fake_msi_count(&r->host, 0), 0);
	assert_int_equal(bar_in(r, PBA, 8), 1ull << 33 | 1);
	assert_int_equal(bar_in(r, PBA, 4), 1);
	assert_int_equal(bar_in(r, PBA + 4, 4), 2);
	assert_int_equal(bar_in(r, PBA + 8, 8), 1 << 5);
	/* Read-only. */
	bar_out(r, PBA, 0, 8);
	assert_int_equal(bar_in(r, PBA, 8), 1ull << 33 | 1);
	/* Unmasking sends. */
	bar_out(r, TABLE + 12, 0, 4);
	assert_int_equal(bar_in(r, PBA, 4), 0);
	assert_int_equal(fake_msi_count(&r->host, 0), 1);
}

static void function_mask_masks_all(void **state)
{
	struct rig *r = *state;

	enable_vector(r, 0, 1);
	set_cfg(r, 0x42, 0xc000, 2);
	assert_true(pci_msix_enabled(&r->toy->pci));
	assert_true(r->host.msis[0].masked);
	pci_msix_signal(&r->toy->pci, 0);
	assert_int_equal(bar_in(r, PBA, 8), 1);
	bar_out(r, TABLE + 8, 9, 4);
	set_cfg(r, 0x43, 0x80, 1);
	assert_false(r->host.msis[0].masked);
	assert_int_equal(r->host.msis[0].data, 9);
	assert_int_equal(fake_msi_count(&r->host, 0), 1);
	/* Disabling masks as well. */
	set_cfg(r, 0x42, 0, 2);
	assert_true(r->host.msis[0].masked);
}

static void odd_accesses_to_the_table_are_ignored(void **state)
{
	struct rig *r = *state;

	enable_vector(r, 0, 0x11223344);
	assert_int_equal(bar_in(r, TABLE + 8, 1), 0xff);
	assert_int_equal(bar_in(r, TABLE + 8, 2), 0xffff);
	assert_int_equal(bar_in(r, TABLE + 9, 4), 0xffffffff);
	assert_int_equal(bar_in(r, TABLE + 4, 8), UINT64_MAX);
	assert_int_equal(bar_in(r, PBA + 1, 1), 0xff);
	assert_int_equal(bar_in(r, PBA + 12, 8), UINT64_MAX);
	bar_out(r, TABLE + 8, 0, 1);
	bar_out(r, TABLE + 8, 0, 2);
	bar_out(r, TABLE + 9, 0, 4);
	bar_out(r, TABLE + 4, 0, 8);
	bar_out(r, TABLE + 16 * VECTORS - 4, 0, 8); /* out at the end */
	assert_int_equal(bar_in(r, TABLE + 8, 4), 0x11223344);
	assert_int_equal(r->toy->writes, 0);
	/* Behind the last entry, and behind the PBA, the device's own begins. */
	bar_out(r, TABLE + 16 * VECTORS, 0, 4);
	bar_out(r, PBA + 16, 0, 4);
	assert_int_equal(r->toy->writes, 2);
}

static void vector_without_host_source_stays_pending(void **state)
{
	struct rig *r = *state;

	r->host.n_msis = FAKE_MAX_MSIS; /* none left */
	enable_vector(r, 0, 1);
	pci_msix_signal(&r->toy->pci, 0);
	assert_int_equal(bar_in(r, PBA, 8), 1);
	r->host.n_msis = 0;
	/* The next write that matters tries again, and what waited arrives. */
	bar_out(r, TABLE + 12, 0, 4);
	assert_int_equal(r->host.n_msis, 1);
	assert_int_equal(bar_in(r, PBA, 8), 0);
	assert_int_equal(fake_msi_count(&r->host, 0), 1);
}

/* --- INTx ------------------------------------------------------------------ */

static void intx_drives_its_wire(void **state)
{
	struct rig *r = *state;
	unsigned gsi = PCI_INTX_GSI(1);

	pci_intx_set(&r->toy->pci, true);
	pci_intx_set(&r->toy->pci, true);
	assert_true(r->host.level[gsi]);
	assert_int_equal(r->host.rises[gsi], 1);
	assert_int_equal(cfg(r, 6, 2), 0x18);
	assert_int_equal(cfg(r, 4, 4) >> 16, 0x18);
	pci_intx_set(&r->toy->pci, false);
	assert_false(r->host.level[gsi]);
	assert_int_equal(cfg(r, 6, 2), 0x10);
}

static void interrupt_disable_hides_the_wire(void **state)
{
	struct rig *r = *state;
	unsigned gsi = PCI_INTX_GSI(1);

	pci_intx_set(&r->toy->pci, true);
	set_cfg(r, 4, 0x400, 2);
	assert_false(r->host.level[gsi]);
	assert_int_equal(cfg(r, 6, 2), 0x18); /* still wanted */
	set_cfg(r, 4, 0, 2);
	assert_true(r->host.level[gsi]);
	/* So does MSI-X. */
	set_cfg(r, 0x42, 0x8000, 2);
	assert_false(r->host.level[gsi]);
	set_cfg(r, 0x42, 0, 2);
	assert_true(r->host.level[gsi]);
}

/* --- reset ----------------------------------------------------------------- */

static void reset_goes_back_to_power_on(void **state)
{
	struct rig *r = *state;
	struct pollfd pfd = { .events = POLLIN };

	enable_vector(r, 2, 7);
	bar_out(r, TABLE + 16 * 2 + 12, 1, 4);
	pci_msix_signal(&r->toy->pci, 2);
	pci_intx_set(&r->toy->pci, true);
	pci_func_reset(&r->toy->pci);
	assert_null(window(r, r->toy));
	assert_int_equal(cfg(r, 4, 4), 0x100000);
	assert_int_equal(cfg(r, 0x10, 4), PCI_WINDOW_BASE);
	assert_int_equal(cfg(r, 0x42, 2), VECTORS - 1);
	assert_true(r->host.msis[0].masked);
	pfd.fd = r->host.msis[0].fd;
	assert_int_equal(poll(&pfd, 1, 0), 0); /* nothing is pending any more */
	assert_false(r->host.level[PCI_INTX_GSI(1)]);
	set_cfg(r, 4, 2, 2);
	assert_int_equal(bar_in(r, TABLE + 16 * 2 + 8, 8), 1ull << 32);
	/* The vector can be used again, with the same source. */
	enable_vector(r, 2, 8);
	pci_msix_signal(&r->toy->pci, 2);
	assert_int_equal(fake_msi_count(&r->host, 0), 1);
	assert_int_equal(r->host.n_msis, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(header_tells_who_it_is),
		TEST(read_only_bits_stay),
		TEST(hooks_see_accesses),
		TEST(capabilities_are_chained),
		TEST(bars_are_assigned_aligned_and_apart),
		TEST(bar_tells_its_size),
		TEST(decoding_maps_and_unmaps),
		TEST(bar_moves_while_decoded),
		TEST(bar_stays_within_the_pci_window),
		TEST(a_pcs_bar_may_lie_behind_the_pci_window),
		TEST(bar_on_another_bar_is_not_mapped),
		TEST(bus_is_full_after_32_functions),
		TEST(bars_that_do_not_fit_are_refused),
		TEST(vectors_start_masked_and_without_source),
		TEST(unmasked_vector_sends),
		TEST(masked_vector_is_pending),
		TEST(function_mask_masks_all),
		TEST(odd_accesses_to_the_table_are_ignored),
		TEST(vector_without_host_source_stays_pending),
		TEST(intx_drives_its_wire),
		TEST(interrupt_disable_hides_the_wire),
		TEST(reset_goes_back_to_power_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
