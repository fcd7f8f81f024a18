/*
 * A virtual CPU and its thread.
 *
 * vcpu_new() makes it, vcpu_start() gives it a thread that waits until the
 * machine opens the gate, then runs the guest until vcpu_stop(). Accesses of
 * the guest go to the machine's buses; what ends the VM goes to
 * vcpu_shared.end.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "vmm/bus.h"
#include "vmm/kvm.h"

struct arch;

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
	int (*enter)(void *ctx);

	pthread_mutex_t lock;
	pthread_cond_t gate; /* under lock: go has changed */
	bool go;
	bool stop; /* atomic */
};

struct vcpu {
	struct vcpu_shared *shared;
	unsigned id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
};

int vcpu_new(struct vcpu *v, struct vcpu_shared *shared, unsigned id, struct err *err);
void vcpu_free(struct vcpu *v);

int vcpu_start(struct vcpu *v, struct err *err);

/* Let all vCPUs that were started run. */
void vcpu_open_gate(struct vcpu_shared *shared);

/* Stop them all and wait for their threads; no guest code runs afterwards. */
void vcpu_stop(struct vcpu_shared *shared, struct vcpu *vcpus, unsigned n);
