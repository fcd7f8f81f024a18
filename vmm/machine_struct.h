/*
 * The inside of a machine, for the files that are its parts: machine.c makes and loads
 * it, machine_run.c runs and ends it. Nobody else looks in.
 */
#pragma once

#include "devices/debugcon.h"
#include "devices/fw_cfg.h"
#include "devices/rtc.h"
#include "devices/uart.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "vmm/control_balloon.h"
#include "vmm/failure.h"
#include "vmm/host.h"
#include "vmm/machine.h"
#include "vmm/vcpu.h"

#define MAX_DEVICES 64
#define NUM_UARTS 4
#define MAX_CHARDEVS 13
#define NUM_CONSOLES 4 /* of each other kind */

struct machine {
	const struct config *cfg;
	struct host host;
	struct loop *loop;
	struct boot_image kernel, initrd, bios;
	struct boot_trust trust;
	struct boot_rom rom, key;
	struct boot_files files; /* --firmware-compat, as the next two are */
	struct fw_cfg_cfg fw_cfg;
	struct rtc_cfg rtc;
	struct report *report;
	struct failure_port failure; /* with firmware; under COM2's lock */
	bool failure_is_console;
	char *cmdline;

	/* Consoles, in the order of --serial. */
	size_t n_chardevs;
	struct chardev *chardevs[MAX_CHARDEVS];
	struct uart_cfg uarts[NUM_UARTS];
	size_t n_consoles;
	struct virtio_console_cfg consoles[NUM_CONSOLES];
	size_t n_debugcons;
	struct debugcon_cfg debugcons[NUM_CONSOLES];
	struct pci_host_cfg pci_host;
	struct virtio_balloon_cfg balloon;

	struct host_device arch_device; /* the interrupt controller's window */
	size_t n_devices;
	struct host_device devices[MAX_DEVICES];

	unsigned n_vcpus;
	struct vcpu *vcpus;
	struct vcpu_shared shared;

	struct gdb *gdb; /* NULL: nobody may debug it */
	int dump_fd; /* --dump-on-panic; -1 */

	int signal_fd, timer_fd, panic_fd;

	/* The control socket: machine_control.c; main thread. */
	int control_fd; /* -1: there is none, or control has it */
	bool control_connected; /* it is one connection, not where others connect */
	struct control *control;
	struct control_balloon *control_balloon; /* NULL: there is no balloon */
	pid_t pid; /* of the process that the user started */
	int proc_fd; /* the host's /proc, until every vCPU knows its IDs; -1 */
	unsigned n_known; /* atomic: those that do */
	uint64_t started_ms;
	enum dev_pause pause,
		told; /* as the control socket wants it; as devices have it */
	unsigned held; /* how often, by machine_hold() */

	pthread_mutex_t end_lock; /* all below */
	bool panic_ends; /* panic_fd is set */
	struct machine_result result;
};

/* For struct vcpu_shared. @ctx: the machine. */
void machine_vcpu_end(void *ctx, enum vm_end end, unsigned detail, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int machine_vcpu_enter(void *ctx, struct vcpu *v);

/* machine_control.c. Before the fork; before the jail: nothing without --socket. */
int machine_control_open(struct machine *m, struct err *err);
int machine_control_start(struct machine *m, struct err *err);

/* A vCPU thread, before its filter: how does the host call it? */
void machine_find_ids(struct machine *m, struct vcpu *v);

/* The guest's first step, unless it is to stand still. */
void machine_begin(struct machine *m);

/*
 * Keep all vCPUs out of the guest, of which devices hear, until it was released as
 * often as held. Main thread.
 */
void machine_hold(struct machine *m);
void machine_release(struct machine *m);

/* A guest that stands still keeps the time that its panic leaves it. Main thread. */
void machine_panic_waits(struct machine *m, bool waits);

/* Let guest and devices stand still or go on; any state from any other. Main thread. */
void machine_pause(struct machine *m, enum dev_pause how);

/* machine_dump.c: open what --dump-on-panic names; and, when all vCPUs stand still, use
 * it. */
int machine_dump_open(struct machine *m, struct err *err);
void machine_dump_panic(struct machine *m);
