/* vm run: its options, made a configuration, and what is told of the VM. Main thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/opt.h"
#include "service/common/vm_config.h"

struct run_opts {
	char *name, *cpu_topology, *tap;
	char *console, *console_in, *log, *ramdump;
	uint64_t mem, gdb;
	bool protected, hugepages, network, boost_uclamp, earlycon, json;
	int debug; /* 0: full */
};

extern const struct opt run_opts[];

/*
 * Put into @c what the command line says, over what the file said, and open what it
 * names. *@ret_typed: what is typed goes there, a socket; -1: stdin is no terminal, or
 * not wanted, and the guest has its input in @c.
 */
int run_configure(const struct run_opts *o, struct vm_config *c, int *ret_typed,
		  struct err *err);

/* What a VM tells of itself. */
struct run_events {
	bool json; /* on stdout, an object a line; else on stderr */
	const char *name;
	uint32_t cid;
	bool dead;
	int status; /* for which this program ends, once it is dead */
};

/* "started" and the like, which has no more to say. */
void run_event(const struct run_events *e, const char *event);

/* A signal of the VM's; a sd_bus_message_handler_t, of struct run_events. */
int run_on_signal(sd_bus_message *m, void *userdata, sd_bus_error *ret_error);
