/* Failures; see failure.h. */
#include "failure.h"

bool fail_with(struct failure *f, enum failure_code code, const char *object,
	       const char *why)
{
	size_t n = 0;

	f->code = code;
	f->why = why;
	for (; object[n] && n + 1 < sizeof(f->object); n++)
		f->object[n] = object[n];
	f->object[n] = '\0';
	return false;
}

const char *failure_name(enum failure_code code)
{
	static const char *const names[FAILURE_CODES] = {
		[FAILURE_NONE] = "",
#define FAILURE(name, meaning) [FAILURE_##name] = #name,
#include "boot/failure_codes.h"
#undef FAILURE
	};

	return names[code];
}
