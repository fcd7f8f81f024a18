/*
 * COM1 as a console: 16550A (PC16550D data sheet), 115200 8N1, polled. With its FIFO
 * on, an empty transmitter takes 16 characters, so its status is read once for 16.
 */
#include "bare.h"

enum { COM1 = 0x3f8, FIFO = 16 };
enum { DATA, IER, FCR, LCR, MCR, LSR };
enum { LSR_READY = 0x01, LSR_THRE = 0x20 };

static unsigned room;

void print_init(void)
{
	port_out8(COM1 + IER, 0);
	port_out8(COM1 + LCR, 0x80); /* divisor latch */
	port_out8(COM1 + DATA, 1);
	port_out8(COM1 + IER, 0);
	port_out8(COM1 + LCR, 0x03); /* 8N1 */
	port_out8(COM1 + FCR, 0x07); /* FIFO on and empty */
	port_out8(COM1 + MCR, 0x03); /* DTR, RTS */
	room = 0;
}

void print_char(char c)
{
	if (room == 0) {
		struct wait w = wait_start();

		while (!(port_in8(COM1 + LSR) & LSR_THRE) && wait_more(&w))
			;
		room = FIFO;
	}
	port_out8(COM1 + DATA, (uint8_t)c);
	room--;
}

int print_read(void)
{
	struct wait w = wait_start();

	while (!(port_in8(COM1 + LSR) & LSR_READY))
		if (!wait_more(&w))
			return -1;
	return port_in8(COM1 + DATA);
}

static void print_number(uint64_t value, unsigned base, unsigned width, char pad)
{
	char digits[20];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (width > n) {
		print_char(pad);
		width--;
	}
	while (n)
		print_char(digits[--n]);
}

void print_va(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		unsigned width = 0;
		bool wide = false;
		char pad = ' ';
		int64_t number;

		if (*fmt != '%') {
			print_char(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == '0')
			pad = *fmt++;
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = width * 10 + (unsigned)(*fmt - '0');
		for (; *fmt == 'l' || *fmt == 'z'; fmt++)
			wide = true;
		switch (*fmt) {
		case 's':
			for (const char *s = va_arg(ap, const char *); *s; s++)
				print_char(*s);
			break;
		case 'c':
			print_char((char)va_arg(ap, int));
			break;
		case 'd':
			number = wide ? va_arg(ap, int64_t) : va_arg(ap, int);
			if (number < 0)
				print_char('-');
			print_number(number < 0 ? -(uint64_t)number : (uint64_t)number,
				     10, width, pad);
			break;
		case 'u':
		case 'x':
			print_number(wide ? va_arg(ap, uint64_t) : va_arg(ap, unsigned),
				     *fmt == 'u' ? 10 : 16, width, pad);
			break;
		default:
			print_char(*fmt);
		}
	}
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print_va(fmt, ap);
	va_end(ap);
}
