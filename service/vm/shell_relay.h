/*
 * A user, or a script, and a command in a guest, by a stream to its agent; what is said
 * there is in base/shell_proto.h. Main thread.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct shell_relay {
	int stream; /* to the agent */
	int in, out, error; /* the user's streams */
	bool terminal; /* stdin and stdout are one: raw meanwhile, and Ctrl-A x leaves
			*/
	const char *term; /* its kind */
	char **args; /* the command, ended by NULL; none: a login shell */
	int signals; /* session_signals() */
};

/*
 * Until the command ends, the user leaves or a signal wants it. The command's exit
 * status, 129 (SIGHUP) where he left, 128 and the signal. -errno with a sentence.
 */
int shell_relay(const struct shell_relay *relay, struct err *err);
