/* vmm/x86_64/paging.c, and the debug registers of vmm/x86_64/debug.c */
#include "vmm/x86_64/paging.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/x86_64/debug.h"

#define MIB (1u << 20)
#define PG (1u << 31)
#define PSE (1u << 4)
#define PAE (1u << 5)
#define LA57 (1u << 12)
#define LMA (1u << 10)
#define NX (1ull << 63)

static struct gmem mem;

static int setup(void **state)
{
	static const struct gmem_range range = { { 0 }, 4 * MIB };

	(void)state;
	mem = (struct gmem){ 0 };
	return gmem_map(&mem, &range, 1, NULL);
}

static int teardown(void **state)
{
	(void)state;
	gmem_unmap(&mem);
	return 0;
}

static void put(uint64_t table, unsigned index, uint64_t entry)
{
	assert_int_equal(gmem_write(&mem, GPA(table + 8 * index), &entry, 8), 0);
}

static void put32(uint64_t table, unsigned index, uint32_t entry)
{
	assert_int_equal(gmem_write(&mem, GPA(table + 4 * index), &entry, 4), 0);
}

static void lies_at(const struct paging *p, uint64_t va, uint64_t gpa)
{
	uint64_t got = 1;

	assert_int_equal(paging_translate(&mem, p, va, &got), 0);
	assert_int_equal(got, gpa);
}

static void lies_nowhere(const struct paging *p, uint64_t va)
{
	uint64_t got = 1;

	assert_int_equal(paging_translate(&mem, p, va, &got), -EFAULT);
	assert_int_equal(got, 1);
}

static void without_paging_addresses_are_physical(void **state)
{
	const struct paging p = { .cr0 = 0x11, .cr3 = 0x1000 };

	(void)state;
	lies_at(&p, 0x123456, 0x123456);
}

static void four_levels_and_their_large_pages(void **state)
{
	const struct paging p = { PG, 0x1018, PAE, LMA };

	(void)state;
	put(0x1000, 511, 0x2003 | NX);
	put(0x2000, 510, 0x3003);
	put(0x2000, 1, 0xc0000083);
	put(0x3000, 4, 0x4003);
	put(0x3000, 5, 0x12e00083 | NX);
	put(0x4000, 6, 0x000ffffffffff001 | NX);
	put(0x4000, 7, 0x5000);
	lies_at(&p, 0xffffffff80806123, 0x000ffffffffff123);
	lies_at(&p, 0xffffffff80afffff, 0x12efffff);
	lies_at(&p, 0xffffff8040000000 + 0x3fffffff, 0xffffffff);
	lies_nowhere(&p, 0xffffffff80807000);
	lies_nowhere(&p, 0xffffffff80000000);
	lies_nowhere(&p, 0x7fffffffffff);
	/* Not canonical, though its lower 48 bits are there. */
	lies_nowhere(&p, 0x0000ffff80806123);
}

static void five_levels(void **state)
{
	const struct paging p = { PG, 0x1000, PAE | LA57, LMA };

	(void)state;
	put(0x1000, 1, 0x2001);
	put(0x2000, 0, 0x3001);
	put(0x3000, 0, 0x4001);
	put(0x4000, 0, 0x5001);
	put(0x5000, 0, 0x6001);
	lies_at(&p, 0x0001000000000010, 0x6010);
	lies_nowhere(&p, 0x0101000000000010);
}

static void pae_of_32_bits(void **state)
{
	const struct paging p = { PG, 0x1020, PAE, 0 };

	(void)state;
	put(0x1020, 3, 0x2001);
	put(0x2000, 1, 0x3001);
	put(0x2000, 2, 0x400000083);
	put(0x3000, 1, 0x7001);
	lies_at(&p, 0xc0201004, 0x7004);
	lies_at(&p, 0xc0400004, 0x400000004);
	lies_nowhere(&p, 0x1c0201004);
}

static void two_levels_of_32_bits(void **state)
{
	const struct paging pse = { PG, 0x1000, PSE, 0 }, none = { PG, 0x1000, 0, 0 };

	(void)state;
	put32(0x1000, 768, 0x2001);
	put32(0x1000, 769, 0x00c00083 | 3 << 13);
	put32(0x2000, 5, 0x7001);
	lies_at(&pse, 0xc0005008, 0x7008);
	lies_at(&pse, 0xc0712345, 0x300f12345);
	/* Without PSE the bit means nothing, and what follows is a table. */
	lies_nowhere(&none, 0xc0712345);
}

static void tables_outside_of_ram_map_nothing(void **state)
{
	struct paging p = { PG, 8 * MIB, PAE, LMA };

	(void)state;
	lies_nowhere(&p, 0x1000);
	p.cr3 = 0x1000;
	put(0x1000, 0, 0x000ffffffffff001);
	lies_nowhere(&p, 0x1000);
	/* One that is its own table. */
	put(0x1000, 0, 0x1001);
	lies_at(&p, 0, 0x1000);
}

static void dr7_says_what_is_watched(void **state)
{
	struct arch_debug_point p[ARCH_DEBUG_POINTS] = { 0 };

	(void)state;
	assert_int_equal(debug_dr7(p), 0);
	p[0] = (struct arch_debug_point){ ARCH_DEBUG_EXEC, 0x1000, 1 };
	assert_int_equal(debug_dr7(p), 0x602);
	p[1] = (struct arch_debug_point){ ARCH_DEBUG_WRITE, 0x1000, 8 };
	assert_int_equal(debug_dr7(p), 0x90060a);
	p[3] = (struct arch_debug_point){ ARCH_DEBUG_ACCESS, 0x1004, 4 };
	assert_int_equal(debug_dr7(p), 0xf090068a);
	assert_true(arch_debug_can_watch(0x1004, 4));
	assert_false(arch_debug_can_watch(0x1004, 8));
	assert_false(arch_debug_can_watch(0x1000, 3));
	assert_false(arch_debug_can_watch(0x1000, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_paging_addresses_are_physical,
						setup, teardown),
		cmocka_unit_test_setup_teardown(four_levels_and_their_large_pages,
						setup, teardown),
		cmocka_unit_test_setup_teardown(five_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(pae_of_32_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(two_levels_of_32_bits, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_outside_of_ram_map_nothing,
						setup, teardown),
		cmocka_unit_test(dr7_says_what_is_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
