/* Where the status object goes: --status-fd N|PATH. */
#pragma once

#include "base/err.h"

/*
 * Open @where: a number is a descriptor that was inherited; a file is made, or emptied
 * now, so that nothing of an earlier run remains. Returns the fd, or -errno.
 */
int status_open(const char *where, struct err *err);

/*
 * Write @text and close @fd. A reader that does not read is waited for a few seconds
 * only. Takes SIGALRM and the interval timer. -errno with a sentence.
 */
int status_write(int fd, const char *text, struct err *err);
