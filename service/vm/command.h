/*
 * What vm's subcommands are: options by a table, and what is left of the command line.
 * Main thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/opt.h"

/* Exit statuses, beside those of VMs, which are vmm's. */
enum { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_BAD_ARGUMENTS = 35 };

struct command {
	const char *name;
	const char *synopsis; /* what follows the name in the help */
	const char *help; /* whole sentences, with newlines */
	const struct opt *opts; /* NULL: none but --help */
	size_t opts_size; /* of the struct that they fill */
	const char *member; /* of a VM's, for those that only call one */
	unsigned min, max; /* how many other arguments */
	bool rest; /* behind the first one there are no options of ours */
	/*
	 * @args: those, ended by NULL. Returns the exit status, or -errno with a
	 * sentence, of which -EINVAL and -EBADMSG are the status of bad arguments.
	 */
	int (*run)(const struct command *c, const void *opts, char **args,
		   struct err *err);
};

extern const struct command command_run, command_check, command_list, command_info,
	command_console, command_shell, command_stop, command_suspend, command_resume,
	command_powerbtn, command_balloon, command_dump, command_create_partition,
	command_create_disk;

/*
 * Parse the command line of @c, over what opt_defaults() has set. @args is overwritten:
 * those that are no options remain. -EINVAL; -ECANCELED: --help is asked for.
 */
int command_parse(const struct command *c, void *opts, char **args, struct err *err);

/* A number of bytes: 4096, 10K, 512M, 1G, 2T; "KiB" and the like, too. -EINVAL. */
int command_bytes(const char *what, const char *text, uint64_t *ret_bytes,
		  struct err *err);
