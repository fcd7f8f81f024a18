/*
 * What CPUID tells the guest: what KVM supports on this host, one package of
 * single-threaded cores, the TSC's frequency, and no performance counters.
 */
#pragma once

#include <linux/kvm.h>

#include "base/err.h"
#include "vmm/kvm.h"

struct cpuid {
	unsigned phys_bits; /* of guest-physical addresses */
	unsigned n_cpus;
	struct kvm_cpuid2 *table; /* without what differs between vCPUs */
};

/* Build the table of a VM; cpuid_free() in any case. */
int cpuid_init(struct cpuid *c, const struct kvm *kvm, unsigned n_cpus,
	       struct err *err);
void cpuid_free(struct cpuid *c);

/* Give vCPU number @id its copy. */
int cpuid_set(struct cpuid *c, int vcpu_fd, unsigned id, struct err *err);
