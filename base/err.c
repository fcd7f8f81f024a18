/* The one sentence of an error; see err.h. Called by any thread. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

/*
 * Names that others chose must not break the line or talk to the terminal, of which the
 * controls of U+0080 to U+009F are one byte more than those of ASCII.
 */
static void defuse(char *text)
{
	for (unsigned char *s = (unsigned char *)text; *s; s++) {
		if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
			s[0] = s[1] = '?';
		if (*s < ' ' || *s == 0x7f)
			*s = '?';
	}
}

static size_t append(struct err *err, size_t at, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* vsnprintf into the rest of @err behind @at; a cut sentence says so. */
static size_t append(struct err *err, size_t at, const char *fmt, va_list ap)
{
	size_t room = sizeof(err->msg) - at;
	int n = vsnprintf(err->msg + at, room, fmt, ap);

	if (n < 0) {
		err->msg[at] = '\0';
		return at;
	}
	defuse(err->msg + at);
	if ((size_t)n >= room) {
		memcpy(err->msg + sizeof(err->msg) - 4, "...", 4);
		return sizeof(err->msg) - 1;
	}
	return at + (size_t)n;
}

static size_t appendf(struct err *err, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static size_t appendf(struct err *err, size_t at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	at = append(err, at, fmt, ap);
	va_end(ap);
	return at;
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	append(err, 0, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;
	size_t at;

	if (!err)
		return code;
	va_start(ap, fmt);
	at = append(err, 0, fmt, ap);
	va_end(ap);
	appendf(err, at, ": %s", strerrordesc_np(-code) ?: "unknown error");
	return code;
}

int err_prefix(struct err *err, int code, const char *fmt, ...)
{
	struct err old;
	va_list ap;
	size_t at;

	if (!err)
		return code;
	old = *err;
	va_start(ap, fmt);
	at = append(err, 0, fmt, ap);
	va_end(ap);
	appendf(err, at, ": %s", old.msg);
	return code;
}
