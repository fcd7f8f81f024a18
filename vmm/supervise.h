/*
 * The process that the user started, while the VM runs in a child of its own:
 * it forwards signals, restores the terminal, and turns the child's end into
 * vmm's exit status.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * Fork; the child runs @child(@arg) and exits with what it returns. It dies
 * with this process, and starts with SIGTERM, SIGINT, SIGHUP and SIGQUIT
 * blocked. @terminal: the child reads the terminal. Returns the exit status,
 * or -errno when there is no child. Every other file descriptor of this
 * process is closed.
 */
int supervise(int (*child)(void *arg), void *arg, bool terminal, struct err *err);
