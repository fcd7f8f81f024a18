/* Messages to stderr; see log.h. One write(2) a line, so lines never mix. */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

#define PATIENCE_MS 1000

static enum log_level max_level = LOG_LEVEL_WARN;
static const char *name;

void log_init(enum log_level level, const char *vm_name)
{
	max_level = level;
	name = vm_name;
}

/* The level that @len bytes name, or -EINVAL. */
static int find_level(const char *word, size_t len)
{
	static const struct {
		const char *word;
		enum log_level level;
	} levels[] = {
		{ "off", LOG_LEVEL_OFF },     { "error", LOG_LEVEL_ERROR },
		{ "warn", LOG_LEVEL_WARN },   { "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG }, { "trace", LOG_LEVEL_DEBUG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strlen(levels[i].word) == len && !memcmp(levels[i].word, word, len))
			return (int)levels[i].level;
	return -EINVAL;
}

int log_parse_filter(const char *text, enum log_level *ret_level, struct err *err)
{
	enum log_level all = LOG_LEVEL_INFO;
	bool have_all = false, more = true;

	for (const char *s = text; more; s++) {
		const char *end = strchrnul(s, ',');
		const char *eq = memchr(s, '=', (size_t)(end - s));
		const char *word = eq ? eq + 1 : s;
		int level = find_level(word, (size_t)(end - word));

		if (level < 0)
			return err_set(err, -EINVAL,
				       "\"%.*s\" is not one of: off, error, warn, "
				       "info, debug, trace",
				       (int)(end - word), word);
		if (eq == s || (!eq && have_all))
			return err_set(err, -EINVAL,
				       eq ? "\"%s\": a name is missing before ="
					  : "\"%s\" has two levels for everything",
				       text);
		if (!eq) {
			all = (enum log_level)level;
			have_all = true;
		}
		more = *end == ',';
		s = end;
	}
	*ret_level = all;
	return 0;
}

/* A reader that has stopped must not stop us. A line fits where poll() sees room. */
static bool takes_a_line(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	int r;

	do
		r = poll(&p, 1, PATIENCE_MS);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

static void emit(enum log_level level, const char *tag, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void emit(enum log_level level, const char *tag, const char *fmt, va_list ap)
{
	static const char *const words[] = { "", "error", "warning", "info", "debug" };
	char line[1024];
	size_t room = sizeof(line) - 1;
	int n, m;

	n = snprintf(line, room, "%s%s%s%s: %s: %s: ", program_invocation_short_name,
		     name ? "[" : "", name ?: "", name ? "]" : "", words[level], tag);
	if (n < 0 || (size_t)n >= room)
		return;
	m = vsnprintf(line + n, room - (size_t)n, fmt, ap);
	if (m < 0)
		return;
	n = (size_t)n + (size_t)m < room ? n + m : (int)room - 1;
	line[n++] = '\n';
	/* A log that cannot be written has nowhere to be reported. */
	if (!takes_a_line() || write(STDERR_FILENO, line, (size_t)n) < 0)
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
