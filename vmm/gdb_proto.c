/* Packets of gdb's remote serial protocol; see gdb_proto.h. */
#include "vmm/gdb_proto.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum { BETWEEN, INSIDE, FIRST_DIGIT, LAST_DIGIT };

static void rx_start(struct gdb_rx *rx)
{
	rx->state = INSIDE;
	rx->sum = 0;
	rx->len = 0;
}

/* A character of a packet; its sum counts those that find no place, too. */
static void rx_inside(struct gdb_rx *rx, uint8_t byte)
{
	if (byte == '#') {
		rx->state = FIRST_DIGIT;
		return;
	}
	rx->sum = (uint8_t)(rx->sum + byte);
	if (rx->len < GDB_PACKET_MAX)
		rx->text[rx->len] = (char)byte;
	if (rx->len <= GDB_PACKET_MAX)
		rx->len++;
}

static enum gdb_event rx_end(struct gdb_rx *rx, int last)
{
	rx->state = BETWEEN;
	if (last < 0 || (rx->want << 4 | last) != rx->sum || rx->len > GDB_PACKET_MAX)
		return GDB_CORRUPT;
	rx->text[rx->len] = '\0';
	return GDB_PACKET;
}

enum gdb_event gdb_rx_byte(struct gdb_rx *rx, uint8_t byte)
{
	int value = hex_digit((char)byte);

	/* Never within a packet, where it would be escaped: another one begins. */
	if (byte == '$') {
		rx_start(rx);
		return GDB_NOTHING;
	}
	switch (rx->state) {
	case INSIDE:
		rx_inside(rx, byte);
		return GDB_NOTHING;
	case FIRST_DIGIT:
		rx->state = value < 0 ? BETWEEN : LAST_DIGIT;
		rx->want = (uint8_t)(value & 15);
		return value < 0 ? GDB_CORRUPT : GDB_NOTHING;
	case LAST_DIGIT:
		return rx_end(rx, value);
	}
	/* Acknowledgements, too: what a socket takes arrives. */
	return byte == 3 ? GDB_INTERRUPT : GDB_NOTHING;
}

void gdb_tx_text(struct gdb_tx *tx, const char *text, size_t len)
{
	if (len > sizeof(tx->text) - tx->len) {
		tx->overflow = true;
		return;
	}
	memcpy(tx->text + tx->len, text, len);
	tx->len += len;
}

void gdb_tx_raw(struct gdb_tx *tx, char c)
{
	if (tx->sent == tx->len)
		tx->sent = tx->len = 0;
	gdb_tx_text(tx, &c, 1);
}

void gdb_tx_begin(struct gdb_tx *tx)
{
	gdb_tx_raw(tx, '$');
	tx->packet = tx->len;
}

void gdb_tx_printf(struct gdb_tx *tx, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		tx->overflow = true;
	else
		gdb_tx_text(tx, text, (size_t)n);
}

void gdb_tx_hex(struct gdb_tx *tx, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		gdb_tx_text(tx, (char[]){ digits[p[i] >> 4], digits[p[i] & 15] }, 2);
}

void gdb_tx_end(struct gdb_tx *tx)
{
	uint8_t sum = 0;

	for (size_t i = tx->packet; i < tx->len; i++)
		sum = (uint8_t)(sum + (unsigned char)tx->text[i]);
	gdb_tx_printf(tx, "#%02x", sum);
}

bool gdb_word(const char **p, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*p, word, len) != 0)
		return false;
	*p += len;
	return true;
}

bool gdb_number(const char **p, uint64_t *ret)
{
	const char *s = *p;
	uint64_t value = 0;

	for (; hex_digit(*s) >= 0; s++) {
		if (s - *p == 16)
			return false;
		value = value << 4 | (uint64_t)hex_digit(*s);
	}
	if (s == *p)
		return false;
	*p = s;
	*ret = value;
	return true;
}

bool gdb_bytes(const char **p, void *buf, size_t len)
{
	unsigned char *to = buf;

	for (size_t i = 0; i < len; i++, *p += 2) {
		int high = hex_digit((*p)[0]);
		int low = high < 0 ? -1 : hex_digit((*p)[1]);

		if (low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}
