/*
 * A whole machine, in the order of its life:
 *
 *   machine_new    before the fork: opens and claims everything that the
 *                  configuration names; no KVM call yet but opening it
 *   machine_load   in the VM's own process: KVM, memory, the guest, vCPUs
 *   machine_run    jails the process and each thread, runs the guest until
 *                  something ends it, stops everything, writes out consoles
 *
 * All three on the main thread. machine_end() may be called by any thread.
 */
#pragma once

#include <sys/types.h>

#include "vmm/config.h"
#include "vmm/report.h"

struct machine;

struct machine_result {
	enum vm_end end;
	unsigned detail;
	char sentence[REPORT_SENTENCE];
};

/* @cfg outlives the machine. */
int machine_new(const struct config *cfg, struct machine **ret_machine,
		struct err *err);
int machine_load(struct machine *m, struct err *err);

/* -errno: the machine could not be started, and no guest code has run. */
int machine_run(struct machine *m, struct machine_result *ret_result, struct err *err);
void machine_free(struct machine *m); /* takes NULL */

/* What it tells of its end; from machine_new() on. */
struct report *machine_report(const struct machine *m);

/* The host has asked the guest to power off: if it does, that was the host's wish. */
void machine_host_asked(struct machine *m);

/* Whether a console reads the terminal on stdin. */
bool machine_wants_terminal(const struct machine *m);

bool machine_is_jailed(const struct machine *m); /* unless --disable-sandbox */
/*
 * Before the namespaces: start who connects for the VM and removes its sockets' files.
 * It ends after the VM's process, and is a child of this one; 0: not needed.
 */
int machine_start_broker(struct machine *m, pid_t *ret_pid, struct err *err);

/*
 * Write a crash dump (vmm/core.h) of a guest that stands still to @fd, which stays the
 * caller's. A signal and the time limit end it early. Main thread.
 */
int machine_dump(struct machine *m, int fd, struct err *err);

/*
 * The guest says that it panicked. Whatever it does next ends the VM by VM_END_PANIC,
 * and so does doing nothing for a second, unless the guest @handles it. Any thread.
 */
void machine_panicked(struct machine *m, bool handles);

/* End the VM with a sentence; the first call counts. */
void machine_end(struct machine *m, enum vm_end end, unsigned detail, const char *fmt,
		 ...) __attribute__((format(printf, 4, 5)));
