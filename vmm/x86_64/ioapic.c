/* The I/O APIC; see ioapic.h. */
#include "vmm/x86_64/ioapic.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "boot/x86_64/layout.h"

/* Registers of the window. */
#define REG_SELECT 0x00
#define REG_DATA 0x10
#define REG_EOI 0x40

/* What REG_SELECT selects. */
#define SEL_ID 0
#define SEL_VERSION 1
#define SEL_ARBITRATION 2
#define SEL_REDIRECT 0x10

#define VERSION 0x20

/* A redirection entry. */
#define RTE_VECTOR 0xffull
#define RTE_DELIVERY (7ull << 8)
#define RTE_LOGICAL (1ull << 11)
#define RTE_STATUS (1ull << 12) /* read-only: never busy */
#define RTE_REMOTE_IRR (1ull << 14) /* read-only: level interrupt in service */
#define RTE_LEVEL (1ull << 15)
#define RTE_MASKED (1ull << 16)
#define RTE_WRITABLE (0xff0000000001ffffull & ~(RTE_STATUS | RTE_REMOTE_IRR))

/* The message that an entry stands for (SDM 3A, 11.11). */
static uint64_t msi_addr(uint64_t rte)
{
	return LAYOUT_LAPIC | (rte >> 56) << 12 | (rte & RTE_LOGICAL ? 4 : 0);
}

static uint32_t msi_data(uint64_t rte)
{
	return (uint32_t)((rte & (RTE_VECTOR | RTE_DELIVERY | RTE_LEVEL)) |
			  (rte & RTE_LEVEL ? 1u << 14 : 0));
}

/* Deliver what waits at a pin, if it may go. */
static void service(struct ioapic *a, unsigned pin)
{
	uint64_t *rte = &a->redirect[pin];

	if (*rte & RTE_MASKED)
		return;
	if (*rte & RTE_LEVEL) {
		if (!a->wires[pin] || (*rte & RTE_REMOTE_IRR))
			return;
		*rte |= RTE_REMOTE_IRR;
	} else {
		if (!(a->irr & 1u << pin))
			return;
		a->irr &= ~(1u << pin);
	}
	kvm_signal_msi(a->kvm, msi_addr(*rte), msi_data(*rte));
}

void ioapic_wire(struct ioapic *a, unsigned pin, bool level)
{
	if (pin >= IOAPIC_PINS)
		return;
	AUTO_LOCK(&a->dev.lock);
	if (!level) {
		a->wires[pin]--;
		return;
	}
	a->wires[pin]++;
	/* Each device's edge counts, also while another one keeps the pin high. */
	if (!(a->redirect[pin] & RTE_LEVEL))
		a->irr |= 1u << pin;
	service(a, pin);
}

/* End the interrupts of @vector; one whose wire is still high comes again. */
static void end_vector(struct ioapic *a, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *rte = &a->redirect[pin];

		if (!(*rte & RTE_LEVEL) || (*rte & RTE_VECTOR) != vector ||
		    !(*rte & RTE_REMOTE_IRR))
			continue;
		*rte &= ~RTE_REMOTE_IRR;
		service(a, pin);
	}
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	AUTO_LOCK(&a->dev.lock);
	end_vector(a, vector);
}

static void redirect_write(struct ioapic *a, unsigned pin, bool high, uint32_t v)
{
	uint64_t *rte = &a->redirect[pin];
	uint64_t written = high ? (uint64_t)v << 32 | (uint32_t)*rte
				: (*rte & ~0xffffffffull) | v;

	*rte = (written & RTE_WRITABLE) | (*rte & RTE_REMOTE_IRR);
	/* As on hardware: an edge-triggered entry holds no interrupt in service. */
	if (!(*rte & RTE_LEVEL))
		*rte &= ~RTE_REMOTE_IRR;
	else
		a->irr &= ~(1u << pin);
	/*
	 * Only the ends of level-triggered interrupts are reported, so KVM needs
	 * to know no others; a masked one may still be in service.
	 */
	if (*rte & RTE_LEVEL)
		kvm_route_pin(a->kvm, pin, msi_addr(*rte), msi_data(*rte));
	service(a, pin);
}

static uint32_t select_read(const struct ioapic *a)
{
	unsigned n = a->select - SEL_REDIRECT;

	switch (a->select) {
	case SEL_ID:
	case SEL_ARBITRATION:
		return (uint32_t)a->id << 24;
	case SEL_VERSION:
		return VERSION | (IOAPIC_PINS - 1) << 16;
	}
	if (n >= 2 * IOAPIC_PINS)
		return 0;
	return (uint32_t)(a->redirect[n / 2] >> (n % 2 ? 32 : 0));
}

static void select_write(struct ioapic *a, uint32_t v)
{
	unsigned n = a->select - SEL_REDIRECT;

	if (a->select == SEL_ID)
		a->id = v >> 24 & 0xf;
	else if (n < 2 * IOAPIC_PINS)
		redirect_write(a, n / 2, n % 2, v);
}

static void ioapic_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			size_t len)
{
	struct ioapic *a = (struct ioapic *)dev;
	uint32_t v = 0;

	(void)win;
	if (off == REG_SELECT)
		v = a->select;
	else if (off == REG_DATA)
		v = select_read(a);
	memcpy(buf, &v, len < sizeof(v) ? len : sizeof(v));
}

static void ioapic_write(struct device *dev, unsigned win, uint64_t off,
			 const void *buf, size_t len)
{
	struct ioapic *a = (struct ioapic *)dev;
	uint32_t v = 0;

	(void)win;
	memcpy(&v, buf, len < sizeof(v) ? len : sizeof(v));
	if (off == REG_SELECT)
		a->select = (uint8_t)v;
	else if (off == REG_DATA)
		select_write(a, v);
	else if (off == REG_EOI)
		end_vector(a, (uint8_t)v);
}

static const struct dev_class ioapic_class = {
	.name = "ioapic",
	.read = ioapic_read,
	.write = ioapic_write,
};

int ioapic_init(struct ioapic *a, struct kvm *kvm, const struct dev_host *host,
		struct err *err)
{
	int r;

	*a = (struct ioapic){ .kvm = kvm };
	device_init(&a->dev, &ioapic_class, host);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		a->redirect[pin] = RTE_MASKED;
	r = host->ops->map(host->ctx, &a->dev, 0, DEV_MMIO, LAYOUT_IOAPIC, 0x1000);
	return r < 0 ? err_sys(err, r, "I/O APIC") : 0;
}
