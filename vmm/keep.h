/*
 * Descriptors that the VM's processes keep open and never use (--keep-fd): a lock on
 * one, or the other end of a pipe, tells whether a process of the VM is left. The
 * broker does not have them: it ends just after the VM's process.
 */
#pragma once

#include "base/err.h"
#include "base/opt.h"

#define KEEP_MAX 16

struct keep {
	unsigned n;
	int fds[KEEP_MAX];
};

/* Take copies of inherited descriptors, by their numbers; -errno when one is none. */
int keep_open(const struct opt_list *numbers, struct keep *ret, struct err *err);
