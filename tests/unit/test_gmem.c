/* base/gmem.c */
#include "base/gmem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"

#define MIB (UINT64_C(1) << 20)

/* RAM at 0 to 4 MiB and at 16 to 17 MiB. */
static int setup(void **state)
{
	static struct gmem mem;
	static const struct gmem_range ranges[] = {
		{ { 0 }, 4 * MIB },
		{ { 16 * MIB }, MIB },
	};

	mem = (struct gmem){ 0 };
	*state = &mem;
	return gmem_map(&mem, ranges, ARRAY_SIZE(ranges), NULL);
}

static int teardown(void **state)
{
	gmem_unmap(*state);
	gmem_unmap(*state); /* harmless */
	return 0;
}

static void slices_are_base_plus_address(void **state)
{
	const struct gmem *mem = *state;

	assert_ptr_equal(gmem_slice(mem, GPA(0), 1), mem->base);
	assert_ptr_equal(gmem_slice(mem, GPA(16 * MIB), MIB), mem->base + 16 * MIB);
	assert_int_equal((uintptr_t)mem->base % (2 * MIB), 0);
	assert_int_equal(gmem_size(mem), 5 * MIB);
}

static void slices_end_where_ram_ends(void **state)
{
	const struct gmem *mem = *state;

	assert_non_null(gmem_slice(mem, GPA(0), 4 * MIB));
	assert_null(gmem_slice(mem, GPA(0), 4 * MIB + 1));
	assert_non_null(gmem_slice(mem, GPA(4 * MIB - 1), 1));
	assert_null(gmem_slice(mem, GPA(4 * MIB - 1), 2));
	assert_null(gmem_slice(mem, GPA(4 * MIB), 1));
	assert_null(gmem_slice(mem, GPA(16 * MIB - 1), 2));
	assert_null(gmem_slice(mem, GPA(17 * MIB), 1));
	assert_null(gmem_slice(mem, GPA(0), 17 * MIB));
}

static void lengths_do_not_wrap(void **state)
{
	const struct gmem *mem = *state;

	assert_null(gmem_slice(mem, GPA(MIB), UINT64_MAX));
	assert_null(gmem_slice(mem, GPA(MIB), UINT64_MAX - MIB + 1));
	assert_null(gmem_slice(mem, GPA(UINT64_MAX), 1));
	assert_null(gmem_slice(mem, GPA(UINT64_MAX), 2));
	assert_null(gmem_slice(mem, GPA(UINT64_MAX), UINT64_MAX));
}

static void empty_slices_do_not_exist(void **state)
{
	assert_null(gmem_slice(*state, GPA(0), 0));
}

static void copies_go_both_ways(void **state)
{
	const struct gmem *mem = *state;
	char buf[6] = "";

	assert_int_equal(gmem_write(mem, GPA(17 * MIB - 6), "hello", 6), 0);
	assert_int_equal(gmem_read(mem, GPA(17 * MIB - 6), buf, 6), 0);
	assert_string_equal(buf, "hello");
}

static void copies_over_an_edge_copy_nothing(void **state)
{
	const struct gmem *mem = *state;
	char buf[4] = "abc";

	assert_int_equal(gmem_write(mem, GPA(4 * MIB - 2), "xyz", 4), -EFAULT);
	assert_int_equal(*(char *)gmem_slice(mem, GPA(4 * MIB - 2), 1), 0);
	assert_int_equal(gmem_read(mem, GPA(4 * MIB - 2), buf, 4), -EFAULT);
	assert_string_equal(buf, "abc");
}

static void bad_ranges_are_refused(void **state)
{
	static const struct {
		struct gmem_range ranges[2];
		size_t n;
	} bad[] = {
		{ { { { 0 }, 0 } }, 1 },
		{ { { { 0 }, 4095 } }, 1 },
		{ { { { 1 }, 4096 } }, 1 },
		{ { { { 0 }, 8192 }, { { 4096 }, 4096 } }, 2 },
		{ { { { 8192 }, 4096 }, { { 0 }, 4096 } }, 2 },
		{ { { { UINT64_MAX - 4095 }, 4096 } }, 1 },
		{ { { { 0 }, 0 } }, 0 },
		{ { { { 0 }, 0 } }, GMEM_MAX_RANGES + 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct gmem mem = { 0 };
		struct err err = { "" };

		assert_int_equal(gmem_map(&mem, bad[i].ranges, bad[i].n, &err),
				 -EINVAL);
		assert_memory_equal(err.msg, "guest memory: ", 14);
		assert_null(mem.base);
	}
}

static void too_much_is_an_error(void **state)
{
	const struct gmem_range huge = { { 0 }, UINT64_C(1) << 62 };
	const struct gmem_range all = { { 0 }, UINT64_MAX - 4095 };
	struct gmem mem = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(gmem_map(&mem, &huge, 1, &err), -ENOMEM);
	assert_int_equal(gmem_map(&mem, &all, 1, &err), -ENOMEM);
	assert_non_null(strstr(err.msg, "guest memory"));
	assert_null(mem.base);
}

static void discarded_pages_read_as_zeroes_and_parts_of_pages_stay(void **state)
{
	struct gmem *mem = *state;
	unsigned char *p = gmem_slice(mem, GPA(MIB), 4 * 4096);

	memset(p, 1, 4 * 4096);
	assert_true(gmem_discard(mem, GPA(MIB + 1), 3 * 4096));
	assert_int_equal(p[4095], 1);
	assert_int_equal(p[4096], 0);
	assert_int_equal(p[3 * 4096 - 1], 0);
	assert_int_equal(p[3 * 4096], 1);
	assert_true(gmem_discard(mem, GPA(MIB), 4095));
	assert_true(gmem_discard(mem, GPA(MIB + 3 * 4096 + 1), 4095));
	assert_int_equal(p[0], 1);
	assert_int_equal(p[3 * 4096], 1);
}

static void what_is_not_ram_is_not_discarded(void **state)
{
	struct gmem *mem = *state;

	assert_false(gmem_discard(mem, GPA(4 * MIB - 4096), 8192));
	assert_false(gmem_discard(mem, GPA(5 * MIB), 4096));
	assert_false(gmem_discard(mem, GPA(UINT64_MAX - 4095), 4096));
	assert_false(gmem_discard(mem, GPA(0), 0));
}

static void locked_memory_can_be_discarded(void **state)
{
	const struct gmem_range small = { { 0 }, 16 * 4096 };
	struct gmem mem = { 0 };
	unsigned char *p;

	(void)state;
	assert_int_equal(gmem_map(&mem, &small, 1, NULL), 0);
	assert_int_equal(gmem_lock(&mem, NULL), 0);
	p = gmem_slice(&mem, GPA(0), 4096);
	p[0] = 1;
	assert_true(gmem_discard(&mem, GPA(0), 4096));
	assert_int_equal(p[0], 0);
	gmem_unmap(&mem);
}

/* Whatever the pool: there is none of 64 GiB, nor of odd pieces. */
static void huge_pages_are_reserved_at_once_or_not_at_all(void **state)
{
	const struct gmem_range odd = { { 0 }, 3 * MIB };
	const struct gmem_range much = { { 0 }, MIB << 16 };
	struct gmem mem = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(gmem_map(&mem, &odd, 1, NULL), 0);
	assert_int_equal(gmem_reserve_huge(&mem, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "2 MiB"));
	gmem_unmap(&mem);
	assert_int_equal(gmem_map(&mem, &much, 1, NULL), 0);
	assert_int_equal(gmem_reserve_huge(&mem, &err), -ENOMEM);
	assert_non_null(strstr(err.msg, "nr_hugepages"));
	gmem_unmap(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(slices_are_base_plus_address, setup,
						teardown),
		cmocka_unit_test_setup_teardown(slices_end_where_ram_ends, setup,
						teardown),
		cmocka_unit_test_setup_teardown(lengths_do_not_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_slices_do_not_exist, setup,
						teardown),
		cmocka_unit_test_setup_teardown(copies_go_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(copies_over_an_edge_copy_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			discarded_pages_read_as_zeroes_and_parts_of_pages_stay, setup,
			teardown),
		cmocka_unit_test_setup_teardown(what_is_not_ram_is_not_discarded, setup,
						teardown),
		cmocka_unit_test(locked_memory_can_be_discarded),
		cmocka_unit_test(huge_pages_are_reserved_at_once_or_not_at_all),
		cmocka_unit_test(bad_ranges_are_refused),
		cmocka_unit_test(too_much_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
