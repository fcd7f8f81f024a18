/*
 * A VM's configuration as JSON: AVF's keys, and ours, by the table of
 * service/common/vm_config.h. Strict: duplicate, unknown and misplaced keys are faults,
 * and all faults of meaning are told, not only the first. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "service/common/vm_config.h"

struct json_config_ops {
	/*
	 * Open a file that the configuration names; the fd, which the configuration
	 * owns then, or -errno with a sentence "@what PATH: reason", as file_open()'s.
	 */
	int (*open)(void *arg, const char *what, const char *path, bool writable,
		    struct err *err);
	/*
	 * A fault, or a warning: "FILE:3:14: sentence" for syntax,
	 * "FILE: disks[1].partitions[0].label: sentence" for meaning.
	 */
	void (*tell)(void *arg, bool warning, const char *sentence);
};

/*
 * Read @text, which messages call @what, into @c, which vm_config_init() has filled; to
 * be freed in any case. 0; -EBADMSG: something is wrong with what it says; or the
 * open's -errno when only files are. Everything has been told then.
 */
int json_config_parse(const char *what, const char *text, size_t len,
		      const struct json_config_ops *ops, void *arg,
		      struct vm_config *c);
