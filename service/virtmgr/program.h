/*
 * What managers are as programs: their command line, signals and life. They differ by
 * who gives their VMs CIDs.
 */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/err.h"
#include "base/log.h"
#include "service/virtmgr/registry.h"

struct program_options {
	int rpc_fd, ready_fd; /* -1: not given */
	const char *listen, *root; /* or NULL */
	bool detach;
	enum log_level log_level;
};

struct program {
	const char *name, *usage;
	const char *needed; /* the option that is: there must be a socket */
	const struct option *options; /* 'l' is --listen, 'R' --root */
	/* The client's socket is open yet; it stays the caller's. */
	int (*new_registry)(sd_event *event, const struct program_options *o,
			    struct registry **ret_registry, struct err *err);
};

/* clang-format off */
#define PROGRAM_OPTIONS                                       \
	{ "rpc-server-fd", required_argument, NULL, 'r' },    \
	{ "ready-fd", required_argument, NULL, 'y' },         \
	{ "detach", no_argument, NULL, 'd' },                 \
	{ "log-level", required_argument, NULL, 'L' },        \
	{ "help", no_argument, NULL, 'h' },                   \
	{ "version", no_argument, NULL, 'V' }
/* clang-format on */

/* All of main(). */
int program_main(const struct program *p, int argc, char **argv);
