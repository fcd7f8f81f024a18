/* A configuration file, read and its files opened, for run and check. Main thread. */
#pragma once

#include "base/err.h"
#include "service/common/vm_config.h"

/*
 * Read @path into @c, which vm_config_init() has filled. Relative paths are relative to
 * the current folder, the file's own as those in it. All faults but the last are
 * printed on stderr, as warnings are; the last is @err's. -EBADMSG: the file is wrong;
 * other errors are those of files that are missing.
 */
int config_file_load(const char *path, struct vm_config *c, struct err *err);
