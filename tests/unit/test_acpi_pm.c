/* devices/acpi_pm.c, at the places that the ACPI tables name */
#include "devices/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "boot/x86_64/layout.h"
#include "tests/unit/fake_host.h"

#define STATUS LAYOUT_PM1_EVENT
#define ENABLE (LAYOUT_PM1_EVENT + 2)
#define CONTROL LAYOUT_PM1_CONTROL

static struct fake_host f;
static struct device *dev;

static uint64_t in(unsigned port, size_t len)
{
	return fake_in(&f, DEV_PIO, port, len);
}

static void out(unsigned port, unsigned v, size_t len)
{
	fake_out(&f, DEV_PIO, port, v, len);
}

static int setup(void **state)
{
	(void)state;
	fake_host_init(&f, "acpi-pm", 0);
	return acpi_pm_class.create(NULL, &f.host, &dev, NULL);
}

static int teardown(void **state)
{
	(void)state;
	acpi_pm_class.free(dev);
	fake_host_free(&f);
	return 0;
}

static void acpi_mode_is_on(void **state)
{
	(void)state;
	assert_int_equal(in(CONTROL, 2), 1);
	out(CONTROL, 0, 2);
	assert_int_equal(in(CONTROL, 2), 1);
}

static void sleep_type_0_powers_off(void **state)
{
	(void)state;
	out(CONTROL, 0x0001, 2); /* the type first, as ACPICA does it */
	assert_int_equal(f.end, VM_END_NONE);
	out(CONTROL, 0x2001, 2);
	assert_int_equal(f.end, VM_END_SHUTDOWN);
	assert_int_equal(in(CONTROL, 2), 1); /* SLP_EN reads as 0 */
}

static void single_bytes_power_off(void **state)
{
	(void)state;
	out(CONTROL + 1, 0x20, 1);
	assert_int_equal(f.end, VM_END_SHUTDOWN);
}

static void other_sleep_types_do_nothing(void **state)
{
	(void)state;
	for (unsigned typ = 1; typ < 8; typ++) {
		out(CONTROL, 0x2000 | typ << 10, 2);
		assert_int_equal(in(CONTROL, 2), typ << 10 | 1);
	}
	assert_int_equal(f.end, VM_END_NONE);
}

static void event_registers_take_any_width(void **state)
{
	(void)state;
	out(ENABLE, 0xffff, 2);
	assert_int_equal(in(ENABLE, 2), 0x0721);
	out(ENABLE + 1, 0, 1);
	assert_int_equal(in(STATUS, 4), 0x00210000);
	out(STATUS, 0x0100ffff, 4);
	assert_int_equal(in(STATUS, 4), 0x01000000);
	assert_int_equal(in(ENABLE + 1, 1), 0x01);
	/* Nothing happens by itself. */
	assert_false(f.level[LAYOUT_GSI_SCI]);
	acpi_pm_class.reset(dev);
	assert_int_equal(in(STATUS, 4), 0);
}

#define PM_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PM_TEST(acpi_mode_is_on),
		PM_TEST(sleep_type_0_powers_off),
		PM_TEST(single_bytes_power_off),
		PM_TEST(other_sleep_types_do_nothing),
		PM_TEST(event_registers_take_any_width),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
