/* Ways to managers and VMs, for subcommands. Main thread. */
#pragma once

#include "base/err.h"
#include "service/client/client.h"

/* To a VM of anybody's, by CID or name; it does not keep that alive. */
int connect_vm(const char *vm, sd_bus **ret_bus, struct err *err);

/* Call a method of a VM's, and of a manager's. See client_call(). */
#define connect_call(bus, member, ret_reply, err, ...) \
	client_call(bus, VM_PATH, VM_INTERFACE, member, ret_reply, err, __VA_ARGS__)
#define connect_ask(client, member, ret_reply, err, ...)                         \
	client_call(client_bus(client), MANAGER_PATH, MANAGER_INTERFACE, member, \
		    ret_reply, err, __VA_ARGS__)

/* Flushes what was sent. */
static inline void connect_close(sd_bus *const *bus)
{
	sd_bus_flush_close_unref(*bus);
}

static inline void connect_free(struct client *const *client)
{
	client_free(*client);
}

#define AUTO_BUS __attribute__((cleanup(connect_close)))
#define AUTO_CLIENT __attribute__((cleanup(connect_free)))
#define AUTO_REPLY __attribute__((cleanup(sd_bus_message_unrefp)))
