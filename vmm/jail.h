/*
 * The jail that a VM's process and threads put themselves in, in three steps:
 *
 *   jail_namespaces  before the fork, single-threaded, all files open: own
 *                    user, mount, pid, network, IPC and UTS namespaces, and an
 *                    empty root. After it no path leads anywhere.
 *   jail_process     in the VM's process, before its threads: no_new_privs,
 *                    Landlock with no rules, no capabilities, not dumpable
 *   jail_thread      first thing on each thread, last thing on the main one:
 *                    the seccomp allow-list of its kind
 *
 * What is allowed stands in vmm/seccomp_rules.h. A violation kills the process
 * with SIGSYS.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

enum jail_kind { JAIL_MAIN, JAIL_VCPU, JAIL_WORKER, JAIL_BROKER };

/*
 * -EPERM and the like where the host forbids namespaces: what could be had is
 * in force then, and the caller decides whether to go on.
 */
int jail_namespaces(struct err *err);
/* @all: a kernel without Landlock is an error. */
int jail_process(bool all, struct err *err);
int jail_thread(enum jail_kind kind, struct err *err);
/* All that a broker (vmm/broker.h) can do without; it stays in the host's namespaces.
 */
int jail_broker(struct err *err);
