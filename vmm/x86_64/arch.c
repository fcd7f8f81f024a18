/*
 * The x86_64 machine: where memory lies, how a CPU starts, port accesses, and
 * the split interrupt controller (local APICs in KVM, the I/O APIC here, no
 * PIC and no PIT), or for a PC's firmware all of it in KVM.
 */
#include "vmm/arch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "boot/x86_64/layout.h"
#include "vmm/report.h"
#include "vmm/x86_64/cpuid.h"
#include "vmm/x86_64/ioapic.h"
#include "vmm/x86_64/irqchip.h"

_Static_assert(ARCH_IRQ_PINS == IOAPIC_PINS, "the I/O APIC has all wires");
_Static_assert(ARCH_IRQ_PINS == IRQCHIP_GSIS, "and so has KVM's");

struct arch {
	struct kvm *kvm;
	bool pc; /* one of these two is used */
	struct ioapic ioapic;
	struct irqchip irqchip;
	struct cpuid cpuid;
};

unsigned arch_memory(uint64_t size, struct gmem_range *ret_ranges)
{
	if (size <= LAYOUT_HOLE) {
		ret_ranges[0] = (struct gmem_range){ GPA(0), size };
		return 1;
	}
	ret_ranges[0] = (struct gmem_range){ GPA(0), LAYOUT_HOLE };
	ret_ranges[1] = (struct gmem_range){ GPA(LAYOUT_HOLE_END), size - LAYOUT_HOLE };
	return 2;
}

static struct kvm_slot ram_slot(const struct gmem *mem, uint64_t start, uint64_t end)
{
	void *host = gmem_slice(mem, GPA(start), end - start);

	return (struct kvm_slot){ start, end - start, host, false };
}

static struct kvm_slot rom_slot(const struct boot_rom *rom, uint64_t end, uint64_t len)
{
	return (struct kvm_slot){ end - len, len, rom->base + rom->len - len, true };
}

size_t arch_slots(const struct arch *a, const struct gmem *mem,
		  const struct boot_rom *rom, const struct boot_rom *key,
		  struct kvm_slot *ret_slots)
{
	const uint64_t low_end = LAYOUT_ROM_LOW + LAYOUT_ROM_LOW_SIZE;
	uint64_t low = rom->len < LAYOUT_ROM_LOW_SIZE ? rom->len : LAYOUT_ROM_LOW_SIZE;
	size_t n = 0;

	for (size_t i = 0; i < mem->n_ranges; i++) {
		uint64_t start = mem->ranges[i].gpa.v;
		uint64_t end = start + mem->ranges[i].len;

		if (i == 0 && rom->base && !a->pc) {
			ret_slots[n++] = ram_slot(mem, start, low_end - low);
			ret_slots[n++] = rom_slot(rom, low_end, low);
			start = low_end;
		}
		if (end > start)
			ret_slots[n++] = ram_slot(mem, start, end);
	}
	if (key->base)
		ret_slots[n++] = rom_slot(key, LAYOUT_FIRMWARE_KEY + key->len,
					  key->len);
	if (rom->base)
		ret_slots[n++] = rom_slot(rom, LAYOUT_HOLE_END, rom->len);
	return n;
}

uint64_t arch_mmio_base(void)
{
	return LAYOUT_HOLE;
}

uint64_t arch_mmio_end(void)
{
	return LAYOUT_HOLE_END;
}

int arch_new(struct kvm *kvm, bool pc, const struct dev_host *host,
	     struct arch **ret_arch, struct err *err)
{
	struct arch *a = calloc(1, sizeof(*a));
	int r = 0;

	if (!a)
		return err_sys(err, -ENOMEM, "machine");
	a->kvm = kvm;
	a->pc = pc;
	if (pc)
		irqchip_init(&a->irqchip, kvm);
	else
		r = ioapic_init(&a->ioapic, kvm, host, err);
	if (r < 0) {
		arch_free(a);
		return r;
	}
	*ret_arch = a;
	return 0;
}

void arch_free(struct arch *a)
{
	if (!a)
		return;
	cpuid_free(&a->cpuid);
	free(a);
}

int arch_vm_init(struct arch *a, const struct gmem *mem, unsigned n_cpus,
		 struct err *err)
{
	uint64_t identity = LAYOUT_IDENTITY_MAP;
	int r;

	/* Intel CPUs without unrestricted guests need these two; others ignore them. */
	if (ioctl(a->kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(a->kvm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_TSS) < 0)
		return err_sys(err, -errno, "/dev/kvm: real-mode helpers");
	if (a->pc)
		r = irqchip_create(a->kvm, err);
	else
		r = kvm_enable_cap(a->kvm, KVM_CAP_SPLIT_IRQCHIP, IOAPIC_PINS,
				   "split irqchip", err);
	if (r < 0)
		return r;
	r = cpuid_init(&a->cpuid, a->kvm, n_cpus, err);
	if (r < 0)
		return r;
	if (mem->span > 1ull << a->cpuid.phys_bits)
		return err_set(err, -EINVAL,
			       "memory: %" PRIu64
			       " MiB: guests on this host have only %u bits of address",
			       gmem_size(mem) >> 20, a->cpuid.phys_bits);
	return 0;
}

static int set_msrs(struct arch *a, const struct vcpu *v, struct err *err)
{
	uint64_t mask = ((1ull << a->cpuid.phys_bits) - 1) & ~0xfffull;
	const struct kvm_msr_entry entries[] = {
		/* IA32_MISC_ENABLE: fast strings */
		{ .index = 0x1a0, .data = 1 },
		/*
		 * MTRRs: all is write-back but for the hole, which takes two:
		 * 0xd0000000 + 256 MiB, 0xe0000000 + 512 MiB
		 */
		{ .index = 0x200, .data = 0xd0000000 },
		{ .index = 0x201, .data = (mask & ~0x0fffffffull) | 1u << 11 },
		{ .index = 0x202, .data = 0xe0000000 },
		{ .index = 0x203, .data = (mask & ~0x1fffffffull) | 1u << 11 },
		/* IA32_MTRR_DEF_TYPE: enabled, write-back */
		{ .index = 0x2ff, .data = 1u << 11 | 6 },
	};
	AUTO_FREE struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(entries));
	int n;

	if (!msrs)
		return err_sys(err, -ENOMEM, "registers of vCPU %u", v->id);
	msrs->nmsrs = ARRAY_SIZE(entries);
	memcpy(msrs->entries, entries, sizeof(entries));
	n = ioctl(v->fd, KVM_SET_MSRS, msrs);
	if (n < 0)
		return err_sys(err, -errno, "/dev/kvm: registers of vCPU %u", v->id);
	if ((size_t)n < ARRAY_SIZE(entries))
		log_debug("kvm", "vCPU %u has no MSR 0x%x", v->id, entries[n].index);
	return 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool long_mode)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = long_mode,
		.db = !long_mode,
	};
}

/* With a kernel the first CPU starts at its entry, not at the reset vector. */
static int set_start(const struct vcpu *v, const struct boot_state *b, struct err *err)
{
	bool long_mode = b->mode == BOOT_LONG64;
	struct kvm_regs regs = {
		.rip = b->entry,
		.rflags = 2,
		.rax = b->rax,
		.rbx = b->rbx,
		.rsi = b->rsi,
	};
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(err, -errno, "/dev/kvm: registers of vCPU %u", v->id);
	s.cs = segment(0x10, 0xb, long_mode); /* code, accessed */
	s.ds = s.es = s.fs = s.gs = s.ss = segment(0x18, 0x3, false); /* data */
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	s.gdt = (struct kvm_dtable){ .base = b->gdt, .limit = LAYOUT_GDT_LIMIT };
	s.idt = (struct kvm_dtable){ 0 };
	s.cr0 = 0x11; /* PE, ET */
	s.cr4 = 0;
	s.efer = 0;
	if (long_mode) {
		s.cr0 |= 1u << 31; /* PG */
		s.cr3 = b->page_table;
		s.cr4 = 1 << 5; /* PAE */
		s.efer = 1 << 8 | 1 << 10; /* LME, LMA */
	}
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0 ||
	    ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(err, -errno, "/dev/kvm: registers of vCPU %u", v->id);
	return 0;
}

int arch_vcpu_init(struct arch *a, const struct vcpu *v, const struct boot_state *state,
		   struct err *err)
{
	int r = cpuid_set(&a->cpuid, v->fd, v->id, err);

	if (r < 0)
		return r;
	r = set_msrs(a, v, err);
	if (r < 0 || v->id != 0 || state->mode == BOOT_RESET)
		return r;
	return set_start(v, state, err);
}

static void on_port_access(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned char *data = (unsigned char *)run + run->io.data_offset;

	/* A string instruction hands over several accesses to one port. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(v->shared->pio, run->io.port, data, run->io.size);
		else
			bus_read(v->shared->pio, run->io.port, data, run->io.size);
	}
}

bool arch_vcpu_exit(struct arch *a, struct vcpu *v)
{
	struct vcpu_shared *s = v->shared;

	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		on_port_access(v);
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		ioapic_eoi(&a->ioapic, v->run->eoi.vector);
		return true;
	case KVM_EXIT_SHUTDOWN:
		s->end(s->ctx, VM_END_REBOOT, 0,
		       "the guest reset itself by a triple fault");
		return true;
	}
	return false;
}

void arch_vcpu_paused(const struct vcpu *v)
{
	/* Fails where the guest has no kvmclock: then its watchdogs may complain. */
	ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);
}

void arch_vcpu_describe(const struct vcpu *v, char *buf, size_t len)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0) {
		snprintf(buf, len, "registers unknown");
		return;
	}
	snprintf(buf, len,
		 "rip 0x%llx rsp 0x%llx rflags 0x%llx cr0 0x%llx cr2 0x%llx cr3 0x%llx "
		 "cr4 0x%llx efer 0x%llx cs 0x%x",
		 r.rip, r.rsp, r.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer,
		 s.cs.selector);
}

const char *const arch_register_names[] = {
	"rax", "rbx",	 "rcx", "rdx", "rsi", "rdi", "rsp",	"rbp",
	"r8",  "r9",	 "r10", "r11", "r12", "r13", "r14",	"r15",
	"rip", "rflags", "cr0", "cr2", "cr3", "cr4", "cr8",	"efer",
	"cs",  "ss",	 "ds",	"es",  "fs",  "gs",  "fs_base", "gs_base",
	"tr",  "ldt",	 "gdt", "idt", NULL
};
_Static_assert(ARRAY_SIZE(arch_register_names) <= REPORT_MAX_REGISTERS,
	       "a report has room for all");

bool arch_vcpu_registers(const struct vcpu *v, uint64_t *ret_values)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return false;
	const uint64_t values[] = {
		r.rax,	       r.rbx,	       r.rcx,	      r.rdx,
		r.rsi,	       r.rdi,	       r.rsp,	      r.rbp,
		r.r8,	       r.r9,	       r.r10,	      r.r11,
		r.r12,	       r.r13,	       r.r14,	      r.r15,
		r.rip,	       r.rflags,       s.cr0,	      s.cr2,
		s.cr3,	       s.cr4,	       s.cr8,	      s.efer,
		s.cs.selector, s.ss.selector,  s.ds.selector, s.es.selector,
		s.fs.selector, s.gs.selector,  s.fs.base,     s.gs.base,
		s.tr.selector, s.ldt.selector, s.gdt.base,    s.idt.base,
	};

	_Static_assert(ARRAY_SIZE(values) + 1 == ARRAY_SIZE(arch_register_names),
		       "each has a name");
	memcpy(ret_values, values, sizeof(values));
	return true;
}

void arch_irq(struct arch *a, unsigned gsi, bool level)
{
	if (a->pc)
		irqchip_wire(&a->irqchip, gsi, level);
	else
		ioapic_wire(&a->ioapic, gsi, level);
}
