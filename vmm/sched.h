/*
 * What the VM's threads ask of the host's scheduler. Called once, in the VM's own
 * process before it has threads, which inherit it, and before the jail.
 */
#pragma once

#include "vmm/config.h"

/* -errno only where separate cores were asked for and the host has no such thing. */
int sched_apply(const struct config *cfg, struct err *err);
