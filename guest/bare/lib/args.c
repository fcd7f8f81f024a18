/* The words of the command line, parted by blanks. */
#include "bare.h"

/* The text behind "key" or "key=", or NULL. A later word overrides an earlier one. */
static const char *arg_find(const char *key)
{
	size_t length = text_length(key);
	const char *found = NULL;

	for (const char *p = boot.cmdline; *p;) {
		size_t i = 0;

		while (i < length && p[i] == key[i])
			i++;
		if (i == length && (p[i] == '=' || p[i] == ' ' || p[i] == '\0'))
			found = p[i] == '=' ? p + i + 1 : p + i;
		while (*p && *p != ' ')
			p++;
		while (*p == ' ')
			p++;
	}
	return found;
}

bool arg_has(const char *key)
{
	return arg_find(key) != NULL;
}

bool arg_text(const char *key, char *ret, size_t size)
{
	const char *value = arg_find(key);
	size_t n = 0;

	for (; value && n + 1 < size && value[n] && value[n] != ' '; n++)
		ret[n] = value[n];
	ret[n] = '\0';
	return value != NULL;
}

bool arg_is(const char *key, const char *value)
{
	char text[64];

	return arg_text(key, text, sizeof(text)) && text_equal(text, value);
}

uint64_t arg_number(const char *key, uint64_t otherwise)
{
	char text[32];
	uint64_t n = 0;
	unsigned base = 10;
	const char *p = text;

	if (!arg_text(key, text, sizeof(text)) || !text[0])
		return otherwise;
	if (p[0] == '0' && p[1] == 'x') {
		base = 16;
		p += 2;
	}
	for (; *p; p++) {
		unsigned digit = *p >= 'a' ? (unsigned)(*p - 'a') + 10
					   : (unsigned)(*p - '0');

		if (digit >= base)
			return otherwise;
		n = n * base + digit;
	}
	return n;
}
