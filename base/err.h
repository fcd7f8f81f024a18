/*
 * One sentence that tells the user what went wrong.
 *
 * Functions that can fail for a reason of the host or the configuration
 * return -errno and fill a struct err once, where the reason is known; callers
 * only pass it up. Who prints it: main, the event loop, the control handler.
 */
#pragma once

#include <stdarg.h>

struct err {
	char msg[512];
};

/*
 * Fill @err with a sentence that names the object ("disk 2: img: not a regular
 * file") and return @code, which is a negative errno. @err may be NULL. Text
 * that does not fit is cut and ends in "..."; control characters become '?', so
 * that it is one line whatever names it holds.
 */
int err_set(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and the description of -@code appended. */
int err_sys(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "prefix: " before the sentence that is already there; return @code. */
int err_prefix(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
