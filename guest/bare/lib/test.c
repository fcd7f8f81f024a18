/* Verdicts: the lines that the host's test scripts look for, and the exit status. */
#include "bare.h"

static unsigned failures;

void test_pass(const char *what)
{
	print("PASS %s\n", what);
}

static void fail(const char *what, const char *why, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void fail(const char *what, const char *why, va_list ap)
{
	failures++;
	print("FAIL %s: ", what);
	print_va(why, ap);
	print_char('\n');
}

void test_fail(const char *what, const char *why, ...)
{
	va_list ap;

	va_start(ap, why);
	fail(what, why, ap);
	va_end(ap);
}

bool test_check(bool ok, const char *what, const char *why, ...)
{
	va_list ap;

	va_start(ap, why);
	if (ok)
		test_pass(what);
	else
		fail(what, why, ap);
	va_end(ap);
	return ok;
}

void test_end(void)
{
	power_debug_exit(failures ? 1 : 0);
}

void start(int entry, uintptr_t info)
{
	boot_read(entry, info);
	print_init();
	trap_init();
	guest_main();
	test_end();
}
