/*
 * The process that the user started, while the VM runs in a child of its own:
 * it forwards signals, restores the terminal, stops and continues with the job,
 * and finds out how the child ended, whatever ended it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "vmm/keep.h"
#include "vmm/report.h"

struct supervised {
	int (*run)(void *arg); /* in the child; returns its exit status */
	void *arg;
	int null_fd; /* of /dev/null */
	pid_t broker; /* ends after the child, and is waited for; 0: none */
	bool terminal; /* the child reads the terminal: make it raw */
	uint64_t limit; /* seconds; 0: none. The child keeps it; we see to it. */
	const struct report *report; /* what the child tells */
	int status_fd; /* not the child's; -1: none */
	struct keep keep; /* also the child's */
};

/*
 * Fork; the child runs @s->run. It dies with this process, and starts with
 * SIGTERM, SIGINT, SIGHUP and SIGQUIT blocked (to be read from a signalfd) and without
 * stdin and stdout. Returns 0 when it has ended, or -errno when there is no child.
 * Every other file descriptor of this process is closed, but for @s->status_fd and
 * @s->keep.
 */
int supervise(const struct supervised *s, struct death *ret_death, struct err *err);
