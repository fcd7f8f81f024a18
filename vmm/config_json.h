/*
 * Options from a JSON file: an object whose keys are the long options. A string or a
 * number is what the option takes on the command line, an object its KEY=VALUE,...
 * group, and an array is the option given several times.
 *
 * Nothing is parsed here but JSON: each value becomes the text that the command line
 * would hold, so that one set of tables serves both.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Take one option, by its @key; @text is what stands behind "--key=", or NULL for true
 * and false, which @yes tells. -errno with a sentence.
 */
typedef int config_json_fn(void *arg, const char *key, const char *text, bool yes,
			   struct err *err);

/* Read the whole file. Errors: "FILE:LINE: reason"; -EINVAL for what it holds. */
int config_json_load(const char *path, config_json_fn *fn, void *arg, struct err *err);

/* The same of @len bytes in memory; @what names them. */
int config_json_parse(const char *what, const char *text, size_t len,
		      config_json_fn *fn, void *arg, struct err *err);
