/* Messages to stderr; see log.h. One write(2) a line, so lines never mix. */
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static enum log_level max_level = LOG_LEVEL_WARN;
static const char *name;

void log_init(enum log_level level, const char *vm_name)
{
	max_level = level;
	name = vm_name;
}

static void emit(enum log_level level, const char *tag, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void emit(enum log_level level, const char *tag, const char *fmt, va_list ap)
{
	static const char *const words[] = { "error", "warning", "info", "debug" };
	char line[1024];
	size_t room = sizeof(line) - 1;
	int n, m;

	n = name ? snprintf(line, room, "vmm[%s]: %s: %s: ", name, words[level], tag)
		 : snprintf(line, room, "vmm: %s: %s: ", words[level], tag);
	if (n < 0 || (size_t)n >= room)
		return;
	m = vsnprintf(line + n, room - (size_t)n, fmt, ap);
	if (m < 0)
		return;
	n = (size_t)n + (size_t)m < room ? n + m : (int)room - 1;
	line[n++] = '\n';
	/* A log that cannot be written has nowhere to be reported. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void log_msg(enum log_level level, const char *tag, const char *fmt, ...)
{
	va_list ap;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	emit(level, tag, fmt, ap);
	va_end(ap);
}

void log_guest(struct log_limit *limit, const char *tag, const char *fmt, ...)
{
	uint64_t n = __atomic_add_fetch(&limit->count, 1, __ATOMIC_RELAXED);
	char text[512];
	va_list ap;

	if (max_level < LOG_LEVEL_DEBUG || (n & (n - 1)))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_debug(tag, "guest: %s (%" PRIu64 " times)", text, n);
}
