/*
 * A VM's console, between vmm and whoever looks at it: the client's descriptors, and
 * any number of attached streams. Output goes to all; one that does not read loses what
 * does not fit its buffer, and the guest waits for nobody. The last 4 KiB are kept for
 * who comes later. SIGPIPE must be ignored.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/err.h"

struct console;

/* Whether @fd can be a console's, or -EBADMSG with a sentence that begins with @key. */
int console_check(int fd, bool output, const char *key, struct err *err);

/*
 * @out, @in: the client's, or -1; taken even on failure. Both may be anything that can
 * be written or read, a terminal, a regular file, a pipe, a socket. @tag: before each
 * line in the manager's log when there is no @out.
 */
int console_new(sd_event *event, int out, int in, const char *tag,
		struct console **ret_console, struct err *err);
/* Takes NULL. What vmm has written, it may have ended, is written out first: @out's
 * reader has half a second, as long as he goes on reading. */
void console_free(struct console *c);

/* vmm's end, a stream socket; once, and the caller's from then on. */
int console_take_child_fd(struct console *c);

/* Another stream: output from now on after the last 4 KiB, and input for the guest. */
int console_attach(struct console *c, int *ret_fd, struct err *err);
