/*
 * The process that the user started, while the VM runs in a child of its own:
 * it forwards signals, restores the terminal, stops and continues with the job,
 * and turns the child's end into vmm's exit status.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct supervised {
	int (*run)(void *arg); /* in the child; returns its exit status */
	void *arg;
	int null_fd; /* of /dev/null */
	int keep_fd; /* this process keeps it, and only this one; -1 */
	bool terminal; /* the child reads the terminal: make it raw */
	uint64_t limit; /* seconds; 0: none. The child keeps it; we see to it. */
};

/*
 * Fork; the child runs @s->run. It dies with this process, and starts with
 * SIGTERM, SIGINT, SIGHUP and SIGQUIT blocked (to be read from a signalfd) and without
 * stdin and stdout. Returns the exit status, or -errno when there is no child. Every
 * other file descriptor of this process is closed, but for @s->keep_fd.
 */
int supervise(const struct supervised *s, struct err *err);
