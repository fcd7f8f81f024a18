/*
 * The client's end: a manager of one's own, and calls to it and to VMs. vm and libavf
 * are made of it.
 *
 * A connection (sd_bus *) is used by one thread at a time; two VMs, or a VM and a Clone
 * of it, are connections of their own.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/err.h"
#include "service/common/vm_config.h"

struct client;

/*
 * Start a manager, and connect to it; it ends when this connection and all handles of
 * its VMs are closed. @program: NULL for the one that paths_program("virtmgr") finds.
 * -ENOENT and others when it cannot be started, -ECONNREFUSED when it ends at once; its
 * own sentence is on stderr.
 */
int client_spawn(const char *program, struct client **ret_client, struct err *err);

/* Connect to a manager that listens at @path (virtmgr --listen). */
int client_connect(const char *path, struct client **ret_client, struct err *err);

void client_free(struct client *client); /* takes NULL */
sd_bus *client_bus(struct client *client);

/*
 * Call a method of the manager or of a VM, with arguments as sd_bus_message_append()
 * takes them. The answer, if @ret_reply is not NULL, is the caller's to unref. Errors
 * are those of bus_error.h, with the sentence of who failed.
 */
int client_call(sd_bus *bus, const char *path, const char *interface,
		const char *member, sd_bus_message **ret_reply, struct err *err,
		const char *types, ...);

/*
 * Make a VM. Files of @config are passed along and stay the caller's, however many they
 * are. *@ret_handle is the caller's.
 */
int client_create_vm(struct client *client, const struct vm_config *config,
		     int *ret_handle, uint32_t *ret_cid, struct err *err);

/* Speak on a handle, or on a socket to a manager; takes @fd even on failure. */
int client_open(int fd, sd_bus **ret_bus, struct err *err);

/* The descriptor that an answer consists of, as the caller's own. */
int client_take_fd(sd_bus_message *reply, int *ret_fd, struct err *err);
