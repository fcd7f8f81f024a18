/*
 * The user's terminal, raw while the guest has it. Main thread of the process
 * that outlives the VM, so that it is restored however the VM dies.
 */
#pragma once

#include <stdbool.h>
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
