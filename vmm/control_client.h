/* The subcommands that speak to a running VM: vmm stop, suspend, status... */
#pragma once

#include <stdbool.h>

/* Whether there is such a subcommand. */
bool control_client_knows(const char *name);

/* @args: the subcommand and what follows it, ended by NULL. Returns the exit status. */
int control_client(char **args);
