/*
 * The user's terminal, raw while a guest has it, and the key that leaves the guest.
 * Main thread of the process that outlives the VM, so that it is restored however the
 * VM dies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

struct terminal {
	bool raw;
	struct termios saved;
};

/*
 * Make stdin raw if it is a terminal; output processing stays as it is. SIGTTOU
 * stops a background job here until it has the terminal.
 */
void terminal_raw(struct terminal *t);
void terminal_restore(struct terminal *t);

#define ESCAPE_CTRL_A 1 /* as in QEMU and kvmtool */

/* A control character after which an 'x' leaves, and which typed twice is itself. */
struct escape {
	uint8_t key;
	bool typed; /* just now */
};

/*
 * Take the escapes out of what was typed, from @in to @out, where it may overlap if
 * @out lies a byte before @in: nothing that is typed gets lost, so it may become one
 * byte longer. *@ret_leave is set if it is to be left. Returns how much remains.
 */
size_t escape_filter(struct escape *e, uint8_t *out, const uint8_t *in, size_t len,
		     bool *ret_leave);
