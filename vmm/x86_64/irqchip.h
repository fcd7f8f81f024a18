/*
 * A PC's interrupt controllers, all of them in KVM: two PICs, the I/O APIC, and with
 * them the PIT, for firmware and what it boots. GSIs 0 to 15 reach both kinds at the
 * input of that number, the others the I/O APIC. These are PCI's; for guests that know
 * of no ACPI they drive IRQ 10 or 11, too, where firmware says that they are.
 */
#pragma once

#include <pthread.h>

#include "vmm/kvm.h"

#define IRQCHIP_GSIS 24

struct irqchip {
	const struct kvm *kvm;
	pthread_mutex_t lock;
	unsigned wires[IRQCHIP_GSIS]; /* how many devices drive it high */
};

void irqchip_init(struct irqchip *c, const struct kvm *kvm);

/* Make them in a VM that has no vCPU yet. */
int irqchip_create(struct kvm *kvm, struct err *err);

/* One more (@level), or one less, device drives @gsi high. Any thread. */
void irqchip_wire(struct irqchip *c, unsigned gsi, bool level);
