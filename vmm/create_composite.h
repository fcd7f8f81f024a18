/* vmm create_composite: a GPT disk whose partitions are files. */
#pragma once

#include "disk/composite_create.h"

/* @args: what follows the command's name, ended by NULL. Returns the exit status. */
int create_composite(char **args);

/*
 * Parse LABEL:FILE[:writable][:GUID] in place; *@ret points into @text. The third
 * field may be empty. -EINVAL with a sentence that names the argument.
 */
int create_composite_parse(char *text, struct composite_source *ret, struct err *err);
