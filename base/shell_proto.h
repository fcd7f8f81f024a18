/*
 * What a shell in a guest and the user of it say to one another on a stream: frames of
 * a type, a length (2 bytes, little-endian) and that many bytes. To the guest:
 *
 * - START: terminal (0 or 1); rows and columns (2 bytes each); strings that end with
 * NUL, which are TERM and the command's arguments. Without arguments: a login shell.
 * - INPUT: bytes. None: there are no more.
 * - SIZE: rows and columns.
 *
 * From it:
 *
 * - OUTPUT: bytes of its stdout, or of the terminal.
 * - ERROR: bytes of its stderr.
 * - EXIT: one byte, as shells have it in $?. The last frame.
 *
 * START comes first, and once. Whatever else comes ends the stream. Both sides take the
 * other for hostile. The guest's agent is made of this, too: nothing but libc, any
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHELL_PORT = 2222 }; /* where vm looks for it */

enum shell_type {
	SHELL_START = 1,
	SHELL_INPUT = 2,
	SHELL_SIZE = 3,
	SHELL_OUTPUT = 0x81,
	SHELL_ERROR = 0x82,
	SHELL_EXIT = 0x83,
};

enum {
	SHELL_HEADER = 3,
	SHELL_FRAME_MAX = SHELL_HEADER + UINT16_MAX,
	SHELL_ARGS_MAX = 1024,
	/* Statuses of what could not be run; 126 and 127 are for commands, as in
	   shells. */
	SHELL_NOT_STARTED = 125,
};

struct shell_frame {
	uint8_t type; /* any */
	uint16_t len;
	const uint8_t *data;
};

/* Bytes as they come; zeroed at first. */
struct shell_reader {
	size_t off, len;
	uint8_t buf[SHELL_FRAME_MAX];
};

/*
 * Where to put bytes, and how many fit: some do, if shell_next() has said that there is
 * no whole frame. Frames are invalid from here on.
 */
uint8_t *shell_room(struct shell_reader *r, size_t *ret_room);
void shell_add(struct shell_reader *r, size_t len); /* they are there */
bool shell_next(struct shell_reader *r, struct shell_frame *ret_frame);

/* Write the header of a frame; its bytes come behind it. */
void shell_header(uint8_t *buf, enum shell_type type, size_t len);

struct shell_size {
	uint16_t rows, columns;
};

struct shell_start {
	bool terminal;
	struct shell_size size;
	const char *term; /* may be empty, and is where there is no terminal */
	const char *args[SHELL_ARGS_MAX + 1]; /* ended by NULL */
};

/*
 * To a whole frame in @buf, of SHELL_FRAME_MAX bytes, whose length is returned. -E2BIG:
 * it does not fit.
 */
int shell_put_start(uint8_t *buf, const struct shell_start *start);
int shell_put_size(uint8_t *buf, const struct shell_size *size);

/* Strings are the frame's. -EBADMSG: these are not the bytes of such a frame. */
int shell_get_start(const struct shell_frame *f, struct shell_start *ret_start);
int shell_get_size(const struct shell_frame *f, struct shell_size *ret_size);
