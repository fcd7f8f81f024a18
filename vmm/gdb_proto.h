/*
 * Packets of gdb's remote serial protocol: $text#checksum, and one byte 0x03 that
 * interrupts. Bytes in, packets out; hexadecimal both ways. Text that does not fit or
 * has a wrong checksum is refused; run-length encoding is for answers only and unused,
 * and nothing that is binary is asked for. gdb's manual, appendix E.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_MAX 16384 /* characters of one packet's text */

struct gdb_rx {
	int state;
	uint8_t sum, want;
	size_t len;
	char text[GDB_PACKET_MAX + 1];
};

enum gdb_event {
	GDB_NOTHING,
	GDB_PACKET, /* rx->text, ended by NUL, until the next byte */
	GDB_CORRUPT,
	GDB_INTERRUPT,
};

/* Take one more byte from gdb. @rx: zeroes at first. */
enum gdb_event gdb_rx_byte(struct gdb_rx *rx, uint8_t byte);

/* What is to be sent; taken away from its front by whoever sends it. */
struct gdb_tx {
	size_t len, sent;
	size_t packet; /* where the text of the one that is being made begins */
	bool overflow; /* more than a gdb that reads its answers brings about */
	char text[GDB_PACKET_MAX + 512];
};

void gdb_tx_raw(struct gdb_tx *tx, char c);
void gdb_tx_begin(struct gdb_tx *tx);
void gdb_tx_text(struct gdb_tx *tx, const char *text, size_t len);
void gdb_tx_printf(struct gdb_tx *tx, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void gdb_tx_hex(struct gdb_tx *tx, const void *bytes, size_t len);
void gdb_tx_end(struct gdb_tx *tx);

/* --- reading a packet's text; *@p goes behind what was taken -------------- */

/* Whether @word comes next, and past it then. */
bool gdb_word(const char **p, const char *word);
/* A number of 1 to 16 hexadecimal digits. */
bool gdb_number(const char **p, uint64_t *ret);
/* Exactly @len bytes, of two digits each. */
bool gdb_bytes(const char **p, void *buf, size_t len);
