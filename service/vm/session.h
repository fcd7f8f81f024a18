/*
 * A user, or a script, at a guest's console: stdin to the guest, the guest to stdout,
 * and meanwhile a bus and signals. Main thread.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "base/err.h"

struct session {
	int in; /* what is typed or comes by a pipe; -1: nothing */
	bool terminal; /* it is a terminal: raw meanwhile, and Ctrl-A x leaves */
	int to; /* a socket, where that goes */
	int from; /* what goes to stdout, or -1 */
	sd_bus *bus; /* whose callbacks are called, or NULL */
	bool ended; /* what those callbacks set to end the session */
	int signals; /* session_signals() */
};

enum session_end {
	SESSION_ENDED, /* a callback said so, or there is no more to read */
	SESSION_LEFT, /* by Ctrl-A x, or stdout is closed */
	SESSION_SIGNALLED, /* to end, by SIGINT, SIGTERM... */
};

/*
 * Have signals that would end this program come to sessions, except those that were
 * ignored. A descriptor of theirs, or -errno.
 */
int session_signals(struct err *err);

/*
 * Until one of the ends, for which the terminal is as it was again. May be called anew.
 * -errno: the bus is lost, and the like.
 */
int session_run(struct session *s, struct err *err);
