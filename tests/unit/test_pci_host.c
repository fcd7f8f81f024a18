/* The PCI host bridge: CF8/CFC, ECAM, the reset register. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/fake_host.h"

struct toy {
	struct device dev;
	struct pci_func pci;
	bool locked; /* whether the owner's lock was held in the hook */
};

struct rig {
	struct fake_host host;
	struct toy toy;
};

static const struct dev_class toy_class = { .name = "toy" };

static void config_written(struct pci_func *f, unsigned off, size_t len)
{
	struct toy *t = (struct toy *)f->dev;

	(void)off;
	(void)len;
	t->locked = pthread_mutex_trylock(&t->dev.lock) == EBUSY;
}

static int setup(void **state)
{
	static const struct pci_ids ids = { 0x1234, 0x5678, 1, 2, 3, 0x010203 };
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	fake_host_init(&r->host, "pci", 0);
	device_init(&r->toy.dev, &toy_class, &r->host.host);
	pci_func_init(&r->toy.pci, &r->toy.dev, &ids);
	r->toy.pci.config_written = config_written;
	assert_int_equal(r->host.host.ops->pci_add(&r->host, &r->toy.pci, NULL), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	pci_func_free(&r->toy.pci);
	fake_host_free(&r->host);
	free(r);
	return 0;
}

static uint64_t in(struct rig *r, uint64_t port, size_t len)
{
	return fake_in(&r->host, DEV_PIO, port, len);
}

static void out(struct rig *r, uint64_t port, uint64_t v, size_t len)
{
	fake_out(&r->host, DEV_PIO, port, v, len);
}

static uint64_t ecam(struct rig *r, uint64_t off, size_t len)
{
	return fake_in(&r->host, DEV_MMIO, PCI_ECAM_BASE + off, len);
}

static void ports_reach_functions(void **state)
{
	struct rig *r = *state;

	out(r, 0xcf8, 0x80000000, 4);
	assert_int_equal(in(r, 0xcfc, 4), 0x12378086);
	out(r, 0xcf8, 0x80000008, 4);
	assert_int_equal(in(r, 0xcfc, 4), 0x06000002);
	assert_int_equal(in(r, 0xcfe, 2), 0x0600);
	assert_int_equal(in(r, 0xcff, 1), 0x06);
	out(r, 0xcf8, 0x80000000 | 1 << 11, 4);
	assert_int_equal(in(r, 0xcfc, 4), 0x56781234);
	assert_int_equal(in(r, 0xcf8, 4), 0x80000800);
	/* Writes, of parts as well, with the owner's lock held. */
	out(r, 0xcf8, 0x8000083c, 4);
	out(r, 0xcfc, 0x77, 1);
	assert_true(r->toy.locked);
	assert_int_equal(in(r, 0xcfc, 2), 0x0177);
}

static void absent_functions_give_all_ones(void **state)
{
	struct rig *r = *state;
	static const uint32_t absent[] = {
		0x00000000, /* not enabled */
		0x80000000 | 2 << 11, /* no such slot */
		0x80000000 | 31 << 11,
		0x80000000 | 1 << 11 | 1 << 8, /* no such function */
		0x80000000 | 1 << 16, /* no such bus */
	};

	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		out(r, 0xcf8, absent[i], 4);
		assert_int_equal(in(r, 0xcfc, 4), 0xffffffff);
		out(r, 0xcfc, 0, 4);
	}
	assert_int_equal(ecam(r, 2 << 15, 8), UINT64_MAX);
	assert_int_equal(ecam(r, 1 << 15 | 1 << 12, 4), 0xffffffff);
	assert_int_equal(ecam(r, PCI_ECAM_SIZE - 1, 1), 0xff);
}

static void odd_accesses_to_the_address_port_are_ignored(void **state)
{
	struct rig *r = *state;

	out(r, 0xcf8, 0xffffffff, 4);
	assert_int_equal(in(r, 0xcf8, 4), 0x80fffffc);
	out(r, 0xcf8, 0x80000000, 4);
	out(r, 0xcf8, 0, 1);
	out(r, 0xcf8, 0, 2);
	out(r, 0xcfa, 0, 4); /* into the data port */
	out(r, 0xcfa, 0, 2);
	out(r, 0xcfb, 0, 1);
	assert_int_equal(in(r, 0xcf8, 4), 0x80000000);
	assert_int_equal(in(r, 0xcf8, 1), 0xff);
	assert_int_equal(in(r, 0xcfa, 4), 0xffffffff);
	assert_int_equal(in(r, 0xcfb, 2), 0xffff);
	assert_int_equal(r->host.end, VM_END_NONE);
}

static void ecam_reaches_all_of_a_function(void **state)
{
	struct rig *r = *state;

	assert_int_equal(ecam(r, 0, 4), 0x12378086);
	assert_int_equal(ecam(r, 1 << 15, 8), 0x56781234);
	assert_int_equal(ecam(r, (1 << 15) + 2, 1), 0x78);
	assert_int_equal(ecam(r, (1 << 15) + 0x100, 4), 0);
	assert_int_equal(ecam(r, (1 << 15) + 0xff8, 8), 0);
	/* Across the end of a function nothing answers. */
	assert_int_equal(ecam(r, (1 << 15) + 0xffc, 8), UINT64_MAX);
	fake_out(&r->host, DEV_MMIO, PCI_ECAM_BASE + (1 << 15) + 0xffc, 0, 8);
	fake_out(&r->host, DEV_MMIO, PCI_ECAM_BASE + (1 << 15) + 0x3c, 0x55, 1);
	assert_int_equal(ecam(r, (1 << 15) + 0x3c, 1), 0x55);
}

static void reset_register_ends_the_vm(void **state)
{
	struct rig *r = *state;

	assert_int_equal(in(r, 0xcf9, 1), 0);
	out(r, 0xcf9, 0x02, 1);
	out(r, 0xcf9, 0x06, 2); /* not a byte */
	assert_int_equal(r->host.end, VM_END_NONE);
	out(r, 0xcf9, 0x06, 1);
	assert_int_equal(r->host.end, VM_END_REBOOT);
}

static void bridge_has_no_interrupt_and_no_bars(void **state)
{
	struct rig *r = *state;

	assert_int_equal(ecam(r, 0x3d, 1), 0);
	assert_int_equal(ecam(r, 0x34, 1), 0);
	for (unsigned off = 0x10; off < 0x28; off += 4) {
		fake_out(&r->host, DEV_MMIO, PCI_ECAM_BASE + off, 0xffffffff, 4);
		assert_int_equal(ecam(r, off, 4), 0);
	}
	out(r, 0xcf8, 0x80000004, 4);
	out(r, 0xcfc, 0xffff, 2);
	pci_host_class.reset(r->host.bridge);
	assert_int_equal(in(r, 0xcf8, 4), 0);
	assert_int_equal(ecam(r, 4, 4), 0);
}

static uint32_t host_config(struct rig *r, unsigned off)
{
	out(r, 0xcf8, 0x80000000 | off, 4);
	return (uint32_t)in(r, 0xcfc, 4);
}

static void shadow_ram_registers_are_a_pcs_only(void **state)
{
	struct rig *r = *state;
	struct pci_bus bus = { .pc = true };
	struct pci_host_cfg cfg = { .bus = &bus };
	struct device *bridge = NULL;

	assert_int_equal(host_config(r, 0x2c), 0);
	out(r, 0xcf8, 0x80000058, 4);
	out(r, 0xcfc, 0xffffffff, 4);
	assert_int_equal(host_config(r, 0x58), 0);

	pci_host_class.free(r->host.bridge);
	memset(r->host.windows, 0, sizeof(r->host.windows));
	r->host.bus = bus;
	cfg.bus = &r->host.bus;
	assert_int_equal(pci_host_class.create(&cfg, &r->host.host, &bridge, NULL), 0);
	r->host.bridge = bridge;
	/* By which firmware knows QEMU's machine. */
	assert_int_equal(host_config(r, 0x00), 0x12378086);
	assert_int_equal(host_config(r, 0x2c), 0x11001af4);
	assert_int_equal(host_config(r, 0x58), 0);
	out(r, 0xcf8, 0x80000058, 4);
	out(r, 0xcfc, 0xffffffff, 4);
	assert_int_equal(host_config(r, 0x58), 0x33333000);
	out(r, 0xcf8, 0x8000005c, 4);
	out(r, 0xcfc, 0xffff3311, 4);
	assert_int_equal(host_config(r, 0x5c), 0x33333311);
	pci_host_class.reset(bridge);
	assert_int_equal(host_config(r, 0x58), 0);
	assert_int_equal(host_config(r, 0x5c), 0);
}

static void taken_windows_are_named(void **state)
{
	struct rig *r = *state;
	struct fake_window saved = r->host.windows[0];
	struct device *dev = NULL;
	struct err err = { "" };
	struct pci_bus bus = { 0 };
	struct pci_host_cfg cfg = { .bus = &bus };

	assert_int_equal(pci_host_class.create(&cfg, &r->host.host, &dev, &err),
			 -EEXIST);
	assert_string_equal(err.msg, "pci: ports 0xcf8-0xcff: File exists");
	r->host.windows[0] = (struct fake_window){ 0 };
	assert_int_equal(pci_host_class.create(&cfg, &r->host.host, &dev, &err),
			 -EEXIST);
	assert_string_equal(err.msg,
			    "pci: configuration space at 0xf4000000: File exists");
	assert_null(dev);
	assert_null(r->host.windows[0].dev); /* nothing is left behind */
	r->host.windows[0] = saved;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_reach_functions),
		TEST(absent_functions_give_all_ones),
		TEST(odd_accesses_to_the_address_port_are_ignored),
		TEST(ecam_reaches_all_of_a_function),
		TEST(reset_register_ends_the_vm),
		TEST(bridge_has_no_interrupt_and_no_bars),
		TEST(shadow_ram_registers_are_a_pcs_only),
		TEST(taken_windows_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
