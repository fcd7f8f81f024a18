/* What a program sets right about its process before it does anything else. */
#pragma once

/*
 * A descriptor of /dev/null, after closed standard ones have become it too: what is
 * opened later must never be taken for stdin, stdout or stderr. Or -errno.
 */
int process_open_null(void);

/* As much of @resource (RLIMIT_NOFILE...) as it may have at all. */
void process_raise_limit(int resource);
