/*
 * How everything here fails: a code of boot/failure_codes.h and one sentence, of which
 * the object stands first. Functions that can fail return false, fail_with()'s value.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum failure_code {
	FAILURE_NONE,
#define FAILURE(name, meaning) FAILURE_##name,
#include "boot/failure_codes.h"
#undef FAILURE
	FAILURE_CODES
};

struct failure {
	enum failure_code code;
	char object[48]; /* a partition, with its slot: "boot_a" */
	const char *why;
};

/* Fill @f and return false. @object is cut where it is longer. */
bool fail_with(struct failure *f, enum failure_code code, const char *object,
	       const char *why);

const char *failure_name(enum failure_code code);
