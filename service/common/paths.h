/* Where things are: the names that several programs must agree on. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define SERVICE_RUN_DIR "/run/virtualizationservice"
#define SERVICE_SOCKET_NAME "socket"
#define SERVICE_CONFIG "/etc/virtualizationservice.conf"
#define SERVICE_GROUP "virtualmachine"
#define SERVICE_DEBUG_GROUP "virtualmachine-debug"

/*
 * The path of a program of ours: $ENV_NAME (VIRTMGR for "virtmgr") if it is set, else
 * beside the running program, else as installed. Allocated, or NULL without memory.
 */
char *paths_program(const char *name);

/*
 * The folder of this user's private service: $XDG_RUNTIME_DIR/virtualizationservice,
 * /run/user/UID/virtualizationservice, or /tmp/virtualizationservice-UID. Made if need
 * be; it must be a folder of this user that nobody else can write, else -EACCES.
 */
int paths_private_dir(char **ret_path, struct err *err);
