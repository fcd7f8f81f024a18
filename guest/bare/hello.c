/*
 * Says its command line and ends as it is told: the machine's ways to end, and output
 * in quantity. Words: lines=N, debugcon=PORT (says hello there too), exit=N (debug-exit
 * value), debugport=N, event=N (the one that pvpanic is told of before the end),
 * failure=WORD (said on ttyS1, as an Android guest that gives up does) and
 * end=debug|poweroff|cf9|i8042|triple|crash|halt|spin|echo (crash: code where no memory
 * is; echo: until a 'q' comes).
 */
#include "acpi.h"
#include "bare.h"

enum { UNMOVED = 62 }; /* debug-exit value: the machine did not end as told */
enum { NO_MEMORY = 0xf3fff000 }; /* the last page of the PCI window */

static void echo(void)
{
	int c;

	print("echo\n");
	while ((c = print_read()) >= 0 && c != 'q')
		print_char((char)c);
	test_check(c == 'q', "echo", "no further input came");
}

static void linger(void)
{
	struct wait w = wait_start();

	while (wait_more(&w))
		;
}

static void debugcon(uint16_t port)
{
	static const char text[] = "hello from the debug console\n";

	for (const char *s = text; *s; s++)
		port_out8(port, (uint8_t)*s);
	test_check(port_in8(port) == 0xe9, "debug console",
		   "it does not tell of itself");
}

/* Nobody waits for this port: every byte is taken at once. */
static void fail_as(const char *word)
{
	while (*word)
		port_out8(0x2f8, (uint8_t)*word++);
	port_out8(0x2f8, '|');
}

void guest_main(void)
{
	char end[16], failure[64];

	print("hello: %s\n", boot.cmdline);
	if (arg_has("debugcon"))
		debugcon((uint16_t)arg_number("debugcon", 0));
	for (uint64_t n = arg_number("lines", 0), i = 0; i < n; i++)
		print("line %06lu of a guest that has much to say about nothing at all.\n",
		      i);
	if (arg_text("failure", failure, sizeof(failure)))
		fail_as(failure);
	if (arg_has("event") && !power_pvpanic((uint8_t)arg_number("event", 0)))
		power_debug_exit(UNMOVED);
	if (!arg_text("end", end, sizeof(end)) || text_equal(end, "debug"))
		power_debug_exit((uint8_t)arg_number("exit", 0));
	if (text_equal(end, "echo")) {
		echo();
		test_end();
	}
	if (text_equal(end, "triple"))
		power_triple_fault();
	if (text_equal(end, "crash"))
		((void (*)(void))NO_MEMORY)();
	if (text_equal(end, "halt"))
		for (;;)
			__asm__ volatile("cli; hlt");
	if (text_equal(end, "spin"))
		for (;;)
			cpu_pause();
	if (text_equal(end, "poweroff"))
		power_acpi_off();
	if (text_equal(end, "cf9"))
		port_out8(0xcf9, 6);
	if (text_equal(end, "i8042"))
		port_out8(0x64, 0xfe);
	linger();
	print("FAIL end=%s: the machine goes on\n", end);
	power_debug_exit(UNMOVED);
}
