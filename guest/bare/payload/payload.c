/*
 * What a bootloader starts in tests: says its command line, its initrd's size and first
 * bytes, and the bootconfig behind it, whose trailer it checks as Linux does
 * (init/main.c, get_boot_config_from_initrd); then ends by debug-exit 0.
 */
#include <asm/bootparam.h>
#include <stdbool.h>
#include <stdint.h>

#include "io.h"

enum { COM1 = 0x3f8, LSR = 5, LSR_THRE = 0x20, DEBUG_EXIT = 0xf4 };

_Noreturn void payload(const struct boot_params *zero);

static void say(const char *text, uint64_t len)
{
	while (len--) {
		while (!(port_in8(COM1 + LSR) & LSR_THRE))
			;
		port_out8(COM1, (uint8_t)*text++);
	}
}

static uint64_t length(const char *text)
{
	uint64_t n = 0;

	while (text[n])
		n++;
	return n;
}

static void say_text(const char *text)
{
	say(text, length(text));
}

static void say_number(uint64_t v)
{
	char digits[20];
	unsigned n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	say(digits + n, sizeof(digits) - n);
}

static uint32_t word(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void bootconfig(const uint8_t *initrd, uint64_t size)
{
	static const char magic[] = "#BOOTCONFIG\n";
	const uint8_t *end = initrd + size;
	uint32_t len, sum = 0;

	if (size < 20)
		return;
	for (unsigned i = 0; i < 12; i++)
		if (end[-12 + (int)i] != magic[i])
			return;
	len = word(end - 20);
	if (len > size - 20) {
		say_text("FAIL bootconfig: longer than the initrd\n");
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		sum += end[-20 - (int64_t)len + i];
	say_text(sum == word(end - 16) ? "PASS bootconfig's sum\n"
				       : "FAIL bootconfig: its sum is wrong\n");
	say_text("bootconfig:\n");
	say((const char *)end - 20 - len, len);
	say_text("\n");
}

void payload(const struct boot_params *zero)
{
	const uint8_t *initrd = (const uint8_t *)(uint64_t)zero->hdr.ramdisk_image;
	uint64_t size = zero->hdr.ramdisk_size;

	say_text("payload: ");
	say_text((const char *)(uint64_t)zero->hdr.cmd_line_ptr);
	say_text("\ninitrd: ");
	say_number(size);
	say_text(" bytes: ");
	say((const char *)initrd, size < 16 ? size : 16);
	say_text("\n");
	bootconfig(initrd, size);
	port_out8(DEBUG_EXIT, 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}
