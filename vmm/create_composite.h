/* vmm create_composite: a GPT disk whose partitions are files. */
#pragma once

/* @args: what follows the command's name, ended by NULL. Returns the exit status. */
int create_composite(char **args);
