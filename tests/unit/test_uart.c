/* devices/uart.c */
#undef NDEBUG
#include "devices/uart.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/fake_host.h"

#define COM1 0x3f8
#define GSI 4

enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

#define THR RBR
#define FCR IIR
#define RDI 1
#define THRI 2
#define RLSI 4
#define MSI 8
#define OUT2 8

static struct fake_host f;
static struct chardev *chr;
static struct device *uart;
static int to_guest[2], from_guest[2];

static uint8_t in(unsigned reg)
{
	return (uint8_t)fake_in(&f, DEV_PIO, COM1 + reg, 1);
}

static void out(unsigned reg, unsigned v)
{
	fake_out(&f, DEV_PIO, COM1 + reg, v, 1);
}

static int setup(void **state)
{
	char output[32], input[32];
	struct chardev_cfg chr_cfg = { .type = CHARDEV_FILE,
				       .path = output,
				       .input = input };
	struct uart_cfg cfg = { .num = 1 };

	(void)state;
	if (pipe(to_guest) < 0 || pipe(from_guest) < 0)
		return -1;
	snprintf(output, sizeof(output), "/proc/self/fd/%d", from_guest[1]);
	snprintf(input, sizeof(input), "/proc/self/fd/%d", to_guest[0]);
	fake_host_init(&f, "serial1", 0);
	if (chardev_open(&chr_cfg, "serial 1", f.host.loop, &chr, NULL) < 0)
		return -1;
	cfg.chr = chr;
	return uart_class.create(&cfg, &f.host, &uart, NULL);
}

static int teardown(void **state)
{
	(void)state;
	uart_class.free(uart);
	chardev_close(chr);
	fake_host_free(&f);
	for (int i = 0; i < 2; i++) {
		close(to_guest[i]);
		close(from_guest[i]);
	}
	return 0;
}

static void type_in(const char *text)
{
	assert(write(to_guest[1], text, strlen(text)) == (ssize_t)strlen(text));
	fake_run(&f);
}

/* What a driver does that wants interrupts. */
static void start(unsigned ier)
{
	out(FCR, 0x01);
	out(MCR, OUT2);
	out(IER, ier);
	fake_run(&f);
}

static void output_reaches_the_chardev(void **state)
{
	char buf[8] = "";

	(void)state;
	for (const char *s = "hello"; *s; s++) {
		assert_int_equal(in(LSR)&0x60, 0x60);
		out(THR, (unsigned char)*s);
	}
	fake_run(&f);
	assert_int_equal(read(from_guest[0], buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
}

/* The steps of Linux's autoconfig() in 8250_port.c, as of 6.1. */
static void linux_finds_a_16550a(void **state)
{
	uint8_t save;

	(void)state;
	out(IER, 0);
	assert_int_equal(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	assert_int_equal(in(IER)&0x0f, 0x0f);
	out(IER, 0);
	out(MCR, 0x10 | 0x0a); /* loop, RTS, OUT2 */
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, 0);
	out(LCR, 0xbf);
	out(FCR, 0); /* EFR */
	out(LCR, 0);
	out(FCR, 0x01);
	assert_int_equal(in(IIR) >> 6, 3);
	/* No EFR, as a 16650 would have. */
	out(LCR, 0x80);
	assert_int_not_equal(in(IIR), 0);
	out(LCR, 0xbf);
	assert_int_not_equal(in(IIR), 0);
	/* No FIFO of 64 bytes, as a 16750 would have. */
	out(LCR, 0);
	out(FCR, 0x21);
	assert_int_equal(in(IIR)&0xe0, 0xc0);
	out(LCR, 0x80);
	out(FCR, 0x21);
	assert_int_equal(in(IIR)&0xe0, 0xc0);
	out(LCR, 0);
	/* No UUE bit, as an XScale would have. */
	save = in(IER);
	out(IER, save | 0x40u);
	assert_int_equal(in(IER)&0x40, 0);
}

static void scratch_and_divisor_are_kept(void **state)
{
	(void)state;
	out(SCR, 0xa5);
	out(LCR, 0x83);
	out(RBR, 0x34);
	out(IER, 0x12);
	assert_int_equal(in(RBR), 0x34);
	assert_int_equal(in(IER), 0x12);
	assert_int_equal(in(LCR), 0x83);
	out(LCR, 0x03);
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(SCR), 0xa5);
	/* Two registers at once. */
	assert_int_equal(fake_in(&f, DEV_PIO, COM1 + LCR, 2), 0x0003);
}

/* Linux's test for UARTs with a lazy THRE interrupt (UART_BUG_THRE). */
static void thre_interrupts_each_time_it_is_enabled(void **state)
{
	(void)state;
	start(0);
	assert_int_equal(in(IIR)&0x0f, 1);
	for (unsigned i = 1; i <= 2; i++) {
		out(IER, THRI);
		assert_int_equal(f.rises[GSI], i);
		assert_int_equal(in(IIR)&0x0f, 2);
		/* Reading it was the acknowledgement. */
		assert_false(f.level[GSI]);
		assert_int_equal(in(IIR)&0x0f, 1);
		out(IER, 0);
	}
}

static void thre_interrupts_after_each_byte(void **state)
{
	(void)state;
	start(THRI);
	in(IIR);
	assert_int_equal(f.rises[GSI], 1);
	out(THR, 'x');
	assert_int_equal(f.rises[GSI], 2);
	out(THR, 'y');
	assert_int_equal(f.rises[GSI], 2);
	out(IER, 0);
	assert_false(f.level[GSI]);
}

static void out2_gates_the_wire(void **state)
{
	(void)state;
	out(IER, THRI);
	assert_false(f.level[GSI]);
	out(MCR, OUT2);
	assert_true(f.level[GSI]);
	out(MCR, 0);
	assert_false(f.level[GSI]);
}

static void input_interrupts_and_is_read(void **state)
{
	(void)state;
	start(RDI);
	assert_int_equal(in(LSR)&1, 0);
	type_in("ab");
	assert_true(f.level[GSI]);
	assert_int_equal(in(IIR)&0x0f, 4);
	assert_int_equal(in(LSR)&1, 1);
	assert_int_equal(in(RBR), 'a');
	assert_true(f.level[GSI]);
	assert_int_equal(in(RBR), 'b');
	assert_false(f.level[GSI]);
	assert_int_equal(in(LSR)&1, 0);
	assert_int_equal(in(RBR), 0);
}

static void input_below_the_trigger_times_out(void **state)
{
	(void)state;
	start(RDI);
	out(FCR, 0x41); /* 4 bytes */
	type_in("abc");
	assert_int_equal(in(IIR)&0x0f, 0x0c);
	type_in("d");
	assert_int_equal(in(IIR)&0x0f, 0x04);
}

static void long_input_is_not_lost(void **state)
{
	static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz!";
	char got[sizeof(text)] = "";

	(void)state;
	start(RDI);
	type_in(text);
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		if (!(in(LSR)&1))
			fake_run(&f);
		got[i] = (char)in(RBR);
	}
	assert_string_equal(got, text);
}

/* A driver that starts throws away what it finds. */
static void early_input_waits_until_it_is_wanted(void **state)
{
	(void)state;
	type_in("abc");
	out(FCR, 0x01);
	out(FCR, 0x07);
	out(FCR, 0);
	in(LSR);
	in(RBR);
	fake_run(&f);
	in(IIR);
	in(MSR);
	start(RDI);
	assert_int_equal(in(RBR), 'a');
	assert_int_equal(in(RBR), 'b');
	assert_int_equal(in(RBR), 'c');
}

static void polling_guests_get_input(void **state)
{
	(void)state;
	type_in("ab");
	for (const char *s = "ab"; *s; s++) {
		int polls = 0;

		/* Without a FIFO there is room for one byte. */
		while (!(in(LSR)&1)) {
			fake_run(&f);
			assert_true(++polls < 10);
		}
		assert_int_equal(in(RBR), *s);
	}
	assert_int_equal(in(LSR)&1, 0);
}

static void fifo_switch_and_clear_drop_input(void **state)
{
	(void)state;
	start(RDI);
	type_in("ab");
	out(FCR, 0x03);
	assert_int_equal(in(LSR)&1, 0);
	assert_false(f.level[GSI]);
	type_in("cd");
	out(FCR, 0x00);
	assert_int_equal(in(LSR)&1, 0);
	assert_int_equal(in(IIR) >> 6, 0);
	type_in("ef");
	assert_int_equal(in(RBR), 'e');
	assert_int_equal(in(LSR)&1, 0);
	fake_run(&f);
	assert_int_equal(in(RBR), 'f');
}

static void loopback_receives_what_is_sent(void **state)
{
	char c;

	(void)state;
	fcntl(from_guest[0], F_SETFL, O_NONBLOCK);
	start(RDI | RLSI);
	out(MCR, 0x10 | OUT2);
	for (unsigned i = 0; i < 16; i++)
		out(THR, 'A' + i);
	assert_int_equal(in(LSR)&3, 1);
	out(THR, 'Z');
	/* The overrun comes first, and once. */
	assert_int_equal(in(IIR)&0x0f, 6);
	assert_int_equal(in(LSR)&3, 3);
	assert_int_equal(in(LSR)&3, 1);
	assert_int_equal(in(IIR)&0x0f, 4);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(RBR), 'A' + i);
	fake_run(&f);
	assert_int_equal(read(from_guest[0], &c, 1), -1);
	/* Input waits for the end of the loopback. */
	type_in("x");
	assert_int_equal(in(LSR)&1, 0);
	out(MCR, OUT2);
	fake_run(&f);
	assert_int_equal(in(RBR), 'x');
}

static void modem_lines_are_on_and_their_changes_interrupt(void **state)
{
	(void)state;
	start(MSI);
	assert_int_equal(in(MSR), 0xb0);
	assert_false(f.level[GSI]);
	out(MCR, 0x10 | OUT2); /* loopback: only DCD stays */
	assert_true(f.level[GSI]);
	assert_int_equal(in(IIR)&0x0f, 0);
	assert_int_equal(in(MSR), 0x83);
	assert_false(f.level[GSI]);
	out(MCR, 0x14 | OUT2);
	assert_int_equal(in(MSR), 0xc0); /* a ring that starts is no event */
	out(MCR, 0x10 | OUT2);
	assert_int_equal(in(MSR), 0x84);
}

static void interrupts_have_an_order(void **state)
{
	(void)state;
	start(0);
	out(MCR, 0x10 | OUT2);
	out(FCR, 0);
	out(THR, 'a');
	out(THR, 'b');
	out(IER, 0x0f);
	assert_int_equal(in(IIR), 6);
	in(LSR);
	assert_int_equal(in(IIR), 4);
	in(RBR);
	assert_int_equal(in(IIR), 2);
	assert_int_equal(in(IIR), 0);
	in(MSR);
	assert_int_equal(in(IIR), 1);
	assert_int_equal(f.rises[GSI], 1);
}

static void reset_lowers_the_wire(void **state)
{
	(void)state;
	start(THRI);
	assert_true(f.level[GSI]);
	uart_class.reset(uart);
	assert_false(f.level[GSI]);
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(IIR), 1);
}

static void second_port_has_its_own_place(void **state)
{
	struct uart_cfg cfg = { .num = 2 };
	struct device *second, *none;
	struct err err;

	(void)state;
	assert_int_equal(uart_class.create(&cfg, &f.host, &second, &err), 0);
	fake_out(&f, DEV_PIO, 0x2f8 + MCR, OUT2, 1);
	fake_out(&f, DEV_PIO, 0x2f8 + IER, THRI, 1);
	fake_out(&f, DEV_PIO, 0x2f8 + THR, 'x', 1); /* a sink */
	assert_true(f.level[3]);
	assert_false(f.level[GSI]);

	cfg.num = 1;
	assert_int_equal(uart_class.create(&cfg, &f.host, &none, &err), -EEXIST);
	uart_class.free(second);
	assert_int_equal(uart_port(3), 0x3e8);
	assert_int_equal(uart_port(4), 0x2e8);
}

#define UART_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UART_TEST(output_reaches_the_chardev),
		UART_TEST(linux_finds_a_16550a),
		UART_TEST(scratch_and_divisor_are_kept),
		UART_TEST(thre_interrupts_each_time_it_is_enabled),
		UART_TEST(thre_interrupts_after_each_byte),
		UART_TEST(out2_gates_the_wire),
		UART_TEST(input_interrupts_and_is_read),
		UART_TEST(input_below_the_trigger_times_out),
		UART_TEST(long_input_is_not_lost),
		UART_TEST(early_input_waits_until_it_is_wanted),
		UART_TEST(polling_guests_get_input),
		UART_TEST(fifo_switch_and_clear_drop_input),
		UART_TEST(loopback_receives_what_is_sent),
		UART_TEST(modem_lines_are_on_and_their_changes_interrupt),
		UART_TEST(interrupts_have_an_order),
		UART_TEST(reset_lowers_the_wire),
		UART_TEST(second_port_has_its_own_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
