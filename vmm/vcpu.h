/*
 * A virtual CPU and its thread.
 *
 * vcpu_new() makes it, vcpu_start() gives it a thread that waits at the machine's
 * gate, runs the guest, and comes back to the gate when it closes, until
 * vcpu_stop(). Accesses of the guest go to the machine's buses; what ends the VM
 * goes to vcpu_shared.end. While the gate is closed any thread may use a vCPU's fd.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "vmm/bus.h"
#include "vmm/kvm.h"

struct arch;
struct vcpu;

/* What all vCPUs of a machine share; outlives them. */
struct vcpu_shared {
	struct bus *pio, *mmio;
	struct kvm *kvm;
	struct arch *arch;
	void *ctx;
	/* End the VM with a sentence; any vCPU thread, the first call counts. */
	void (*end)(void *ctx, enum vm_end end, unsigned detail, const char *fmt, ...)
		__attribute__((format(printf, 4, 5)));
	/* First thing on the new thread: put it in its jail; <0: it has ended the VM.
	 */
	int (*enter)(void *ctx, struct vcpu *v);
	/* The vCPU is held, and has a hit for the debugger; its thread. NULL: none. */
	void (*debug)(void *ctx, struct vcpu *v);

	pthread_mutex_t lock; /* all below, but for reading the atomic ones */
	pthread_cond_t gate; /* closed or inside has changed */
	unsigned closed; /* atomic; how many keep the gate closed: 1 from the start */
	unsigned inside; /* threads that have passed the gate */
	bool stop; /* atomic */
};

struct vcpu {
	struct vcpu_shared *shared;
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	bool held; /* atomic; it alone stays out of the guest: see vcpu_hold() */
	/* It has met something; which break- and watchpoints, as bits. For the
	 * debugger, which looks while the gate is closed. */
	bool hit;
	unsigned hit_points;
	int pid, tid; /* as the host sees them, once it has passed enter() */
};

int vcpu_new(struct vcpu *v, struct vcpu_shared *shared, unsigned id, struct err *err);
void vcpu_free(struct vcpu *v);

int vcpu_start(struct vcpu *v, struct err *err);

/*
 * Take all vCPUs out of the guest, their last accesses finished and their registers
 * settled, and keep them out until vcpu_resume() was called as often as this. Not on a
 * vCPU's thread, nor with a lock that a device takes.
 */
void vcpu_pause(struct vcpu_shared *shared, const struct vcpu *vcpus, unsigned n);

/* The first call starts the guest. */
void vcpu_resume(struct vcpu_shared *shared);

/* Keep one vCPU out, or no more, when the gate opens. While it is closed. */
void vcpu_hold(struct vcpu *v, bool held);

/* Stop them all and wait for their threads; no guest code runs afterwards. */
void vcpu_stop(struct vcpu_shared *shared, struct vcpu *vcpus, unsigned n);
