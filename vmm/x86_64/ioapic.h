/*
 * The I/O APIC of a machine whose local APICs are in KVM (split irqchip): 24
 * pins, Intel 82093AA, version 0x20 so that guests may use its EOI register.
 *
 * Pins are driven by any thread; register accesses and ends of interrupts come
 * from vCPU threads. One lock, dev.lock, guards everything.
 */
#pragma once

#include "devices/device.h"
#include "vmm/kvm.h"

#define IOAPIC_PINS 24

struct ioapic {
	struct device dev;
	struct kvm *kvm;
	uint8_t select, id;
	uint64_t redirect[IOAPIC_PINS];
	unsigned wires[IOAPIC_PINS]; /* how many devices drive the pin high */
	uint32_t irr; /* edges that wait for their pin to be unmasked */
};

/* Prepare it and map its window. */
int ioapic_init(struct ioapic *a, struct kvm *kvm, const struct dev_host *host,
		struct err *err);

/* One more (@level), or one less, device drives @pin high. */
void ioapic_wire(struct ioapic *a, unsigned pin, bool level);

/* A CPU has finished a level-triggered interrupt. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);
