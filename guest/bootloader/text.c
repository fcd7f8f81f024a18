/* Text in fixed buffers; see text.h. */
#include "text.h"

#include <string.h>

struct text text_into(char *buf, size_t size)
{
	buf[0] = '\0';
	return (struct text){ .buf = buf, .size = size };
}

void text_add_bytes(struct text *t, const uint8_t *p, size_t len)
{
	if (len > t->size - 1 - t->len) {
		t->cut = true;
		return;
	}
	memcpy(t->buf + t->len, p, len);
	t->len += len;
	t->buf[t->len] = '\0';
}

void text_add(struct text *t, const char *s)
{
	text_add_bytes(t, (const uint8_t *)s, strlen(s));
}

void text_add_number(struct text *t, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	text_add_bytes(t, (const uint8_t *)digits + n, sizeof(digits) - n);
}

void text_add_hex(struct text *t, const uint8_t *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	while (len--) {
		const uint8_t two[] = { (uint8_t)digits[*p >> 4],
					(uint8_t)digits[*p & 15] };

		text_add_bytes(t, two, sizeof(two));
		p++;
	}
}

/* The first three fields are little-endian (UEFI 2.10 appendix A). */
void text_add_guid(struct text *t, const uint8_t guid[16])
{
	static const uint8_t order[] = { 3,  2, 1, 0,  16, 5,  4,  16, 7,  6,
					 16, 8, 9, 16, 10, 11, 12, 13, 14, 15 };

	for (size_t i = 0; i < sizeof(order); i++) {
		if (order[i] == 16)
			text_add(t, "-");
		else
			text_add_hex(t, guid + order[i], 1);
	}
}

void text_add_separator(struct text *t)
{
	if (t->len)
		text_add(t, " ");
}
