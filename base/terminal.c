/* The user's terminal; see terminal.h. */
#include "base/terminal.h"

#include <unistd.h>

void terminal_raw(struct terminal *t)
{
	struct termios now;

	t->raw = false;
	if (tcgetattr(STDIN_FILENO, &t->saved) < 0)
		return;
	now = t->saved;
	/* ^C and friends are for the guest; our own messages keep their newlines. */
	now.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	now.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON);
	now.c_cc[VMIN] = 1;
	now.c_cc[VTIME] = 0;
	t->raw = tcsetattr(STDIN_FILENO, TCSANOW, &now) == 0;
}

void terminal_restore(struct terminal *t)
{
	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
	t->raw = false;
}

size_t escape_filter(struct escape *e, uint8_t *out, const uint8_t *in, size_t len,
		     bool *ret_leave)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		uint8_t c = in[i];

		if (!e->typed) {
			e->typed = c == e->key;
			if (!e->typed)
				out[n++] = c;
			continue;
		}
		e->typed = false;
		if (c == 'x') {
			*ret_leave = true;
			continue;
		}
		if (c != e->key)
			out[n++] = e->key;
		out[n++] = c;
	}
	return n;
}
