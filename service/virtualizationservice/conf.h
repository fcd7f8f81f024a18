/*
 * The service's configuration file; its format is virtualizationservice.conf(5). What
 * is wrong in it is told with its line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define LIMIT_NONE UINT64_MAX

/* Of one user. */
struct limits {
	uint64_t vms, memory_mib, cids, connections;
};

struct conf_section;

struct conf {
	char *group, *debug_group; /* a name or a number */
	struct conf_section *users;
	size_t n_users;
	struct limits defaults;
};

void conf_init(struct conf *conf); /* what holds without a file; free it, too */
void conf_free(struct conf *conf); /* harmless on zeroes */

/* -EINVAL with "line N: ...", -ENOMEM. Names of users are only kept. */
int conf_parse(struct conf *conf, const char *text, size_t len, struct err *err);

/* Read @path; with @may_lack, a file that is not there is an empty one. */
int conf_load(struct conf *conf, const char *path, bool may_lack, struct err *err);

/* Find the uids of users that have names; -EINVAL for one that there is not. */
int conf_resolve(struct conf *conf, struct err *err);

/* After conf_resolve(). */
struct limits conf_limits(const struct conf *conf, uid_t uid);
