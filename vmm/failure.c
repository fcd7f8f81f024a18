/* The failure port; see failure.h. */
#include "vmm/failure.h"

#include <string.h>

#include "base/bytes.h"

static const struct {
	const char *name, *meaning;
} codes[] = {
	{ NULL, NULL },
#define FAILURE(name, meaning) { #name, meaning },
#include "boot/failure_codes.h"
#undef FAILURE
};

const char *failure_name(unsigned code)
{
	return code < ARRAY_SIZE(codes) ? codes[code].name : NULL;
}

const char *failure_meaning(unsigned code)
{
	return code < ARRAY_SIZE(codes) ? codes[code].meaning : NULL;
}

static void look_up(struct failure_port *p)
{
	for (unsigned i = 1; i < ARRAY_SIZE(codes); i++)
		if (!strcmp(codes[i].name, p->text))
			__atomic_store_n(&p->code, i, __ATOMIC_RELEASE);
}

void failure_port_write(struct failure_port *p, const void *buf, size_t len)
{
	const char *bytes = buf;

	for (size_t i = 0; i < len && !p->over; i++) {
		if (bytes[i] == '|')
			look_up(p);
		p->over = bytes[i] == '|' || p->len == FAILURE_TEXT_MAX;
		if (!p->over)
			p->text[p->len++] = bytes[i];
	}
}
