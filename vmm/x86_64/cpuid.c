/* What CPUID tells the guest; see cpuid.h. Intel SDM 2A CPUID, AMD APM 3 E. */
#include "vmm/x86_64/cpuid.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/bytes.h"

#define MAX_ENTRIES 256
#define LEAF_TIMING 0x40000010u /* TSC and APIC bus frequency in kHz */
#define APIC_BUS_KHZ 1000000u /* KVM's local APIC counts nanoseconds */

static struct kvm_cpuid_entry2 *find(const struct cpuid *c, uint32_t function,
				     uint32_t index)
{
	for (unsigned i = 0; i < c->table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->table->entries[i];

		if (e->function == function &&
		    (e->index == index ||
		     !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	}
	return NULL;
}

static void drop(struct cpuid *c, uint32_t function)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < c->table->nent; i++)
		if (c->table->entries[i].function != function)
			c->table->entries[kept++] = c->table->entries[i];
	c->table->nent = kept;
}

static void add(struct cpuid *c, const struct kvm_cpuid_entry2 *e)
{
	if (c->table->nent < MAX_ENTRIES)
		c->table->entries[c->table->nent++] = *e;
}

/* Bits of an APIC ID that number the cores of the package. */
static unsigned core_bits(unsigned n_cpus)
{
	unsigned bits = 0;

	while ((1u << bits) < n_cpus)
		bits++;
	return bits;
}

/* Levels of the topology, for both leaves that hold it; EDX is set per vCPU. */
static void set_topology(struct cpuid *c)
{
	static const uint32_t leaves[] = { 0xb, 0x1f };
	const struct kvm_cpuid_entry2 *basic = find(c, 0, 0);
	uint32_t max = basic ? basic->eax : 0;

	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++) {
		struct kvm_cpuid_entry2 e = {
			.function = leaves[i],
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};

		drop(c, leaves[i]);
		if (max < leaves[i])
			continue;
		e.ebx = 1; /* one thread... */
		e.ecx = 1 << 8;
		add(c, &e);
		e.index = 1; /* ...in each of n cores */
		e.eax = core_bits(c->n_cpus);
		e.ebx = c->n_cpus;
		e.ecx = 1 | 2 << 8;
		add(c, &e);
	}
}

/* Which caches are shared: the last level by all cores, the others by none. */
static void set_caches(struct cpuid *c)
{
	for (unsigned i = 0; i < c->table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->table->entries[i];
		uint32_t sharing;

		if (e->function != 4 && e->function != 0x8000001d)
			continue;
		sharing = (e->eax >> 5 & 7) >= 3 ? c->n_cpus - 1 : 0;
		e->eax = (e->eax & ~(0xfffu << 14)) | sharing << 14;
		if (e->function == 4)
			e->eax = (e->eax & ~(0x3fu << 26)) | (c->n_cpus - 1) << 26;
	}
}

static void set_features(struct cpuid *c, const struct kvm *kvm)
{
	struct kvm_cpuid_entry2 *e = find(c, 1, 0);

	if (e) {
		e->ebx = (e->ebx & 0x0000ffff) | c->n_cpus << 16;
		e->ecx |= 1u << 31; /* a hypervisor is there */
		if (kvm_cap(kvm, KVM_CAP_TSC_DEADLINE_TIMER))
			e->ecx |= 1u << 24;
		e->edx = (e->edx & ~(1u << 28)) | (c->n_cpus > 1) << 28;
	}
	/* No performance counters: architectural (Intel), core and v2 (AMD). */
	e = find(c, 0xa, 0);
	if (e)
		e->eax = e->ebx = e->ecx = e->edx = 0;
	e = find(c, 0x80000001, 0);
	if (e)
		e->ecx = (e->ecx & ~(1u << 23 | 1u << 1)) | (c->n_cpus > 1) << 1;
	drop(c, 0x80000022);
	e = find(c, 0x80000008, 0);
	if (e) {
		e->ecx = (e->ecx & ~0xf0ffu) | core_bits(c->n_cpus) << 12 |
			 (c->n_cpus - 1);
		if ((e->eax & 0xff) >= 32 && (e->eax & 0xff) <= 52)
			c->phys_bits = e->eax & 0xff;
	}
}

/* The TSC's frequency where a guest of any kind finds it. */
static void set_timing(struct cpuid *c, int tsc_khz)
{
	struct kvm_cpuid_entry2 *signature = find(c, KVM_CPUID_SIGNATURE, 0);
	struct kvm_cpuid_entry2 e = {
		.function = LEAF_TIMING,
		.eax = (uint32_t)tsc_khz,
		.ebx = APIC_BUS_KHZ,
	};

	if (!signature || tsc_khz <= 0)
		return;
	if (signature->eax < LEAF_TIMING)
		signature->eax = LEAF_TIMING;
	add(c, &e);
}

int cpuid_init(struct cpuid *c, const struct kvm *kvm, unsigned n_cpus, struct err *err)
{
	*c = (struct cpuid){ .phys_bits = 36, .n_cpus = n_cpus };
	c->table = calloc(1, sizeof(*c->table) +
				     MAX_ENTRIES * sizeof(struct kvm_cpuid_entry2));
	if (!c->table)
		return err_sys(err, -ENOMEM, "CPUID table");
	c->table->nent = MAX_ENTRIES;
	if (ioctl(kvm->dev_fd, KVM_GET_SUPPORTED_CPUID, c->table) < 0)
		return err_sys(err, -errno, "/dev/kvm: supported CPUID");
	set_features(c, kvm);
	set_caches(c);
	set_topology(c);
	set_timing(c, ioctl(kvm->vm_fd, KVM_GET_TSC_KHZ, 0));
	return 0;
}

void cpuid_free(struct cpuid *c)
{
	free(c->table);
	c->table = NULL;
}

int cpuid_set(struct cpuid *c, int vcpu_fd, unsigned id, struct err *err)
{
	for (unsigned i = 0; i < c->table->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->table->entries[i];

		switch (e->function) {
		case 1:
			e->ebx = (e->ebx & 0x00ffffff) | id << 24;
			break;
		case 0xb:
		case 0x1f:
			e->edx = id;
			break;
		case 0x8000001e:
			e->eax = id;
			e->ebx = id; /* core id, one thread a core */
			e->ecx = 0;
			break;
		}
	}
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, c->table) < 0)
		return err_sys(err, -errno, "/dev/kvm: CPUID of vCPU %u", id);
	return 0;
}
