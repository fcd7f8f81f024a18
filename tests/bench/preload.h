/*
 * What the launcher (launch.c) and the library that it preloads into a measured
 * program (preload.c) share: one mapping, which every process of the program
 * inherits, so that no system call is needed to report, jailed or not.
 */
#pragma once

#include <stdint.h>

/* Environment: "FD FD", the memory of struct preload and a socket for stats. */
#define PRELOAD_ENV "BENCH_PRELOAD"

enum preload_phase {
	PHASE_LOADED, /* the library's constructor: exec and linking are done */
	PHASE_CREATE_VM,
	PHASE_CREATE_VCPU,
	PHASE_RUN,
	NUM_PHASES,
};

#define PRELOAD_MAX_SLOTS 64

struct preload {
	/* Written by the launcher's child just before exec. */
	uint64_t start_ns, start_cpu_ns, start_faults;
	uint32_t whole; /* do not stop at the first KVM_RUN; count exits */

	/* Written by the library. */
	uint32_t stopped; /* a futex; 1: the first KVM_RUN is held back */
	uint64_t ns[NUM_PHASES]; /* CLOCK_MONOTONIC at the first of each; 0: none */
	uint64_t kvm_ns; /* spent in KVM's ioctls before the first KVM_RUN */
	uint64_t ioctls; /* KVM's, before the first KVM_RUN */
	uint64_t runs; /* calls of KVM_RUN, and why they returned: */
	uint64_t port_exits, mmio_exits, other_exits;
	uint32_t n_slots;
	struct {
		uint64_t addr, len;
	} slots[PRELOAD_MAX_SLOTS]; /* where guest memory lies */
};
