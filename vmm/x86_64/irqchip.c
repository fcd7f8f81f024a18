/* A PC's interrupt controllers in KVM; see irqchip.h. */
#include "vmm/x86_64/irqchip.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

#define PIC_INPUTS 8
#define ISA_IRQS (2 * PIC_INPUTS)

/* What SeaBIOS tells a guest without ACPI of slots 1, 5, 9... and those behind each. */
static const unsigned pci_irqs[] = { 10, 10, 11, 11 };
#define PIC_LEVEL_IRQS (1 << (10 - PIC_INPUTS) | 1 << (11 - PIC_INPUTS))

void irqchip_init(struct irqchip *c, const struct kvm *kvm)
{
	*c = (struct irqchip){ .kvm = kvm, .lock = PTHREAD_MUTEX_INITIALIZER };
}

static struct kvm_irq_routing_entry route(unsigned gsi, unsigned chip, unsigned pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* As KVM has them from the start, for tables that replace its own. */
static void keep_routes(struct kvm *kvm)
{
	struct kvm_irq_routing_entry routes[ISA_IRQS + IRQCHIP_GSIS];
	unsigned n = 0;

	for (unsigned gsi = 0; gsi < IRQCHIP_GSIS; gsi++) {
		if (gsi < ISA_IRQS)
			routes[n++] = route(gsi,
					    gsi < PIC_INPUTS ? KVM_IRQCHIP_PIC_MASTER
							     : KVM_IRQCHIP_PIC_SLAVE,
					    gsi % PIC_INPUTS);
		routes[n++] = route(gsi, KVM_IRQCHIP_IOAPIC, gsi);
	}
	kvm_keep_routes(kvm, routes, n);
}

int irqchip_create(struct kvm *kvm, struct err *err)
{
	/* With port 0x61, by which the PIT's second channel is used. */
	const struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_irqchip slave = { .chip_id = KVM_IRQCHIP_PIC_SLAVE };

	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0 ||
	    ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &slave) < 0)
		return err_sys(err, -errno, "/dev/kvm: a PC's interrupt controllers");
	/* Firmware does this with the chipset that routes wires to IRQs. */
	slave.chip.pic.elcr |= PIC_LEVEL_IRQS;
	if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &slave) < 0)
		return err_sys(err, -errno, "/dev/kvm: a PC's interrupt controllers");
	if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return err_sys(err, -errno, "/dev/kvm: a PC's timer");
	keep_routes(kvm);
	return 0;
}

static void drive(const struct irqchip *c, unsigned gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	/* Fails for a GSI that is not there only. */
	(void)ioctl(c->kvm->vm_fd, KVM_IRQ_LINE, &line);
}

static void wire(struct irqchip *c, unsigned gsi, bool level)
{
	if (!level) {
		if (--c->wires[gsi] == 0)
			drive(c, gsi, false);
		return;
	}
	/* Each device's edge counts, also while another one keeps the wire high. */
	if (c->wires[gsi]++ > 0)
		drive(c, gsi, false);
	drive(c, gsi, true);
}

void irqchip_wire(struct irqchip *c, unsigned gsi, bool level)
{
	if (gsi >= IRQCHIP_GSIS)
		return;
	AUTO_LOCK(&c->lock);
	wire(c, gsi, level);
	/* PCI_INTX_GSI() says which slots these GSIs are those of. */
	if (gsi >= ISA_IRQS)
		wire(c, pci_irqs[(gsi - ISA_IRQS + 3) % 4], level);
}
