/* Memory and text; string instructions, which a software KVM runs at one turn a unit.
 */
#include "bare.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if (d <= s || d >= s + n)
		return memcpy(to, from, n);
	while (n--)
		*(volatile uint8_t *)(d + n) = s[n];
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;
	uint64_t value = (uint8_t)c * 0x0101010101010101u;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(value) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(value) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;
	size_t i = 0;

	while (i + 8 <= n && *(const uint64_t *)(x + i) == *(const uint64_t *)(y + i))
		i += 8;
	for (; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool text_equal(const char *a, const char *b)
{
	size_t n = text_length(a);

	return n == text_length(b) && memcmp(a, b, n) == 0;
}

void *mem_window(uint64_t physical)
{
	extern uint64_t pages_window[];
	const uint64_t window = 1ull << 32, page = 1ull << 21;
	void *seen = (void *)(window + physical % page);

	*(volatile uint64_t *)pages_window = physical / page * page + PAGE_LARGE +
					     PAGE_PRESENT_WRITE;
	__asm__ volatile("invlpg (%0)" : : "r"(seen) : "memory");
	return seen;
}
