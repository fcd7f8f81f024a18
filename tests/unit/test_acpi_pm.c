/* devices/acpi_pm.c, at the places that the ACPI tables name */
#include "devices/acpi_pm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "boot/x86_64/layout.h"
#include "devices/list.h"
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

static void a_pressed_button_raises_the_sci_until_it_is_acknowledged(void **state)
{
	struct err err = { "" };

	(void)state;
	out(ENABLE, 0x0100, 2);
	assert_int_equal(acpi_pm_press(dev, &err), 0);
	assert_true(f.level[LAYOUT_GSI_SCI]);
	assert_int_equal(in(STATUS, 2), 0x0100);
	/* Pressed again before the guest has looked: one event. */
	assert_int_equal(acpi_pm_press(dev, &err), 0);
	assert_int_equal(f.rises[LAYOUT_GSI_SCI], 1);
	out(STATUS, 0x0001, 2); /* of something else */
	assert_true(f.level[LAYOUT_GSI_SCI]);
	out(STATUS, 0x0100, 2);
	assert_false(f.level[LAYOUT_GSI_SCI]);
	assert_int_equal(in(STATUS, 2), 0);
	assert_int_equal(acpi_pm_press(dev, &err), 0);
	assert_int_equal(f.rises[LAYOUT_GSI_SCI], 2);
	/* Not listening any more takes the wire down, and the event waits. */
	out(ENABLE, 0, 2);
	assert_false(f.level[LAYOUT_GSI_SCI]);
	out(ENABLE, 0x0100, 2);
	assert_true(f.level[LAYOUT_GSI_SCI]);
	acpi_pm_class.reset(dev);
	assert_false(f.level[LAYOUT_GSI_SCI]);
}

static void a_button_that_nobody_listens_to_is_an_error(void **state)
{
	struct err err = { "" };

	(void)state;
	out(ENABLE, 0x0621, 2); /* everything else */
	assert_int_equal(acpi_pm_press(dev, &err), -ENOTCONN);
	assert_non_null(strstr(err.msg, "does not listen"));
	assert_int_equal(in(STATUS, 2), 0);
	assert_false(f.level[LAYOUT_GSI_SCI]);
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
		PM_TEST(a_pressed_button_raises_the_sci_until_it_is_acknowledged),
		PM_TEST(a_button_that_nobody_listens_to_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
