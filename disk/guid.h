/*
 * GUIDs (RFC 4122) as a GPT stores them: the first three fields little-endian,
 * the other bytes in the order in which they are written (UEFI, appendix A).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct guid {
	uint8_t b[16];
};

/*
 * "0fc63daf-8483-4772-8e79-3d69d8477de4", in either case, with all of its hyphens
 * or none. -EINVAL.
 */
int guid_parse(const char *text, struct guid *ret_guid);

#define GUID_TEXT_LEN 36
void guid_format(const struct guid *g, char text[GUID_TEXT_LEN + 1]);

/* A random one, version 4. Errors: the kernel's. */
int guid_random(struct guid *ret_guid, struct err *err);

bool guid_is_zero(const struct guid *g);
