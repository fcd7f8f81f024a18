/* The agent's shells: whoever connects runs commands as this process's user. */
#pragma once

/* Serve those who connect to @listener, each by a process; until accept() fails. */
void shell_serve(int listener);

/* The next of those, whom accept4() may have lost meanwhile; -1 with errno. */
int agent_accept(int listener);
