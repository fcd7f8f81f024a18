/*
 * What an architecture does for the machine; implemented in vmm/<arch>/.
 * All but arch_vcpu_exit(), arch_irq() and arch_eoi are called on the main
 * thread before any vCPU runs.
 */
#pragma once

#include "boot/boot.h"
#include "devices/device.h"
#include "vmm/kvm.h"
#include "vmm/vcpu.h"

struct arch;

/* The wires that the interrupt controller has; GSIs below this number. */
#define ARCH_IRQ_PINS 24

/* Where @size bytes of RAM lie: the number of ranges, at most GMEM_MAX_RANGES. */
unsigned arch_memory(uint64_t size, struct gmem_range *ret_ranges);

/*
 * How KVM is shown @mem, mapped as arch_memory() said, firmware and its key block
 * (either may be empty): at most ARCH_MAX_SLOTS slots. Returns their number.
 */
#define ARCH_MAX_SLOTS (GMEM_MAX_RANGES + 4)
size_t arch_slots(const struct arch *a, const struct gmem *mem,
		  const struct boot_rom *rom, const struct boot_rom *key,
		  struct kvm_slot *ret_slots);

/* Windows at guest-physical addresses must lie within this range. */
uint64_t arch_mmio_base(void);
uint64_t arch_mmio_end(void);

/*
 * Before the VM exists: the interrupt controller and its window on the bus. @pc: what
 * firmware of a PC needs of it.
 */
int arch_new(struct kvm *kvm, bool pc, const struct dev_host *host,
	     struct arch **ret_arch, struct err *err);
void arch_free(struct arch *a); /* takes NULL */

/* With the VM just created, and its memory mapped: what must precede the vCPUs. */
int arch_vm_init(struct arch *a, const struct gmem *mem, unsigned n_cpus,
		 struct err *err);

/* Set up one vCPU; CPU 0 starts in @state, the others wait for it. */
int arch_vcpu_init(struct arch *a, const struct vcpu *v, const struct boot_state *state,
		   struct err *err);

/* Handle an exit that is this architecture's own; false: it is not. vCPU thread. */
bool arch_vcpu_exit(struct arch *a, struct vcpu *v);

/* Its gate is closed: let the guest's clock know that time was taken. Main thread. */
void arch_vcpu_paused(const struct vcpu *v);

/* One line of registers for the log, when a vCPU has crashed. vCPU thread. */
void arch_vcpu_describe(const struct vcpu *v, char *buf, size_t len);

/* The names of a vCPU's registers in a report, ended by NULL. */
extern const char *const arch_register_names[];

/* Their values; false: KVM does not tell. No thread runs the vCPU. */
bool arch_vcpu_registers(const struct vcpu *v, uint64_t *ret_values);

/* One more (@level), or one less, device drives wire @gsi high. Any thread. */
void arch_irq(struct arch *a, unsigned gsi, bool level);

/* The console device of serial port @num as the guest's kernel names it. */
#define ARCH_SERIAL_EARLYCON "uart8250,io,0x%x"
