/*
 * x86_64 for the debugger and crash dumps: registers as gdb and ELF cores number
 * them, debug registers. gdb's manual, "i386 Features"; Intel SDM volume 3, 17.2.
 */
#include "vmm/arch_debug.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/procfs.h>

#include "base/bytes.h"
#include "vmm/vcpu.h"
#include "vmm/x86_64/debug.h"
#include "vmm/x86_64/paging.h"

#define MSR_KERNEL_GS_BASE 0xc0000102

/* All that KVM tells of a vCPU, and that a debugger asks for. */
struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	uint64_t kernel_gs_base;
	uint16_t tags; /* of fpu, two bits for each register */
};

/*
 * Registers in gdb's order. The first three features are gdb's, and it wants all of
 * their registers; it shows those of the last one as they come.
 */
struct reg {
	const char *feature, *name, *type;
	size_t bits; /* as gdb has it */
	size_t off, len; /* in struct state */
};

#define CORE "org.gnu.gdb.i386.core"
#define SSE "org.gnu.gdb.i386.sse"
#define SEGMENTS "org.gnu.gdb.i386.segments"
#define SYSTEM "vmm.system"
#define FIELD(f) offsetof(struct state, f), sizeof(((struct state *)0)->f)
#define GPR(name)                                          \
	{                                                  \
		CORE, #name, "int64", 64, FIELD(regs.name) \
	}
#define SEG(name)                                                    \
	{                                                            \
		CORE, #name, "int32", 32, FIELD(sregs.name.selector) \
	}
#define ST(n)                                                                         \
	{                                                                             \
		CORE, "st" #n, "i387_ext", 80, offsetof(struct state, fpu.fpr[n]), 10 \
	}
#define FP(name, field)                             \
	{                                           \
		CORE, name, "int", 32, FIELD(field) \
	}
#define XMM(n)                                                   \
	{                                                        \
		SSE, "xmm" #n, "uint128", 128, FIELD(fpu.xmm[n]) \
	}
#define CR(name)                                              \
	{                                                     \
		SYSTEM, #name, "int64", 64, FIELD(sregs.name) \
	}

/* clang-format off */
static const struct reg regs[] = {
	GPR(rax), GPR(rbx), GPR(rcx), GPR(rdx), GPR(rsi), GPR(rdi),
	{ CORE, "rbp", "data_ptr", 64, FIELD(regs.rbp) },
	{ CORE, "rsp", "data_ptr", 64, FIELD(regs.rsp) },
	GPR(r8), GPR(r9), GPR(r10), GPR(r11), GPR(r12), GPR(r13), GPR(r14), GPR(r15),
	{ CORE, "rip", "code_ptr", 64, FIELD(regs.rip) },
	{ CORE, "eflags", "i386_eflags", 32, offsetof(struct state, regs.rflags), 4 },
	SEG(cs), SEG(ss), SEG(ds), SEG(es), SEG(fs), SEG(gs),
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	FP("fctrl", fpu.fcw), FP("fstat", fpu.fsw), FP("ftag", tags),
	/* In 64-bit mode the x87's pointers have no segments. */
	{ CORE, "fiseg", "int", 32, 0, 0 },
	{ CORE, "fioff", "int", 32, offsetof(struct state, fpu.last_ip), 4 },
	{ CORE, "foseg", "int", 32, 0, 0 },
	{ CORE, "fooff", "int", 32, offsetof(struct state, fpu.last_dp), 4 },
	FP("fop", fpu.last_opcode),
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7), XMM(8),
	XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	{ SSE, "mxcsr", "int", 32, FIELD(fpu.mxcsr) },
	{ SEGMENTS, "fs_base", "int64", 64, FIELD(sregs.fs.base) },
	{ SEGMENTS, "gs_base", "int64", 64, FIELD(sregs.gs.base) },
	{ SYSTEM, "k_gs_base", "int64", 64, FIELD(kernel_gs_base) },
	CR(cr0), CR(cr2), CR(cr3), CR(cr4), CR(cr8), CR(efer),
};
/* clang-format on */

/* --- KVM ----------------------------------------------------------------- */

/* The GS base that SWAPGS brings; @call: KVM_GET_MSRS or KVM_SET_MSRS. */
static int kernel_gs_base(const struct vcpu *v, unsigned long call, uint64_t *value)
{
	union {
		struct kvm_msrs list;
		unsigned char
			room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
	} msrs = { .list.nmsrs = 1 };
	int n;

	msrs.list.entries[0].index = MSR_KERNEL_GS_BASE;
	msrs.list.entries[0].data = *value;
	n = ioctl(v->fd, call, &msrs);
	*value = msrs.list.entries[0].data;
	return n < 0 ? -errno : n == 1 ? 0 : -EINVAL;
}

/* FXSAVE has one bit for each register, and gdb two: valid (0), or empty (3). */
static uint16_t tags_expand(uint8_t ftwx)
{
	uint16_t tags = 0;

	for (unsigned i = 0; i < 8; i++)
		if (!(ftwx & 1u << i))
			tags |= (uint16_t)(3u << 2 * i);
	return tags;
}

static uint8_t tags_fold(uint16_t tags)
{
	uint8_t ftwx = 0;

	for (unsigned i = 0; i < 8; i++)
		if ((tags >> 2 * i & 3) != 3)
			ftwx |= (uint8_t)(1u << i);
	return ftwx;
}

static int get_state(const struct vcpu *v, struct state *s)
{
	memset(s, 0, sizeof(*s));
	if (ioctl(v->fd, KVM_GET_REGS, &s->regs) < 0 ||
	    ioctl(v->fd, KVM_GET_SREGS, &s->sregs) < 0 ||
	    ioctl(v->fd, KVM_GET_FPU, &s->fpu) < 0)
		return -errno;
	s->tags = tags_expand(s->fpu.ftwx);
	return kernel_gs_base(v, KVM_GET_MSRS, &s->kernel_gs_base);
}

/* Only what changes: writing a CPU's registers has side effects. */
static int set_state(const struct vcpu *v, const struct state *old, struct state *s)
{
	if (s->tags != old->tags)
		s->fpu.ftwx = tags_fold(s->tags);
	if (memcmp(&s->regs, &old->regs, sizeof(s->regs)) != 0 &&
	    ioctl(v->fd, KVM_SET_REGS, &s->regs) < 0)
		return -errno;
	if (memcmp(&s->sregs, &old->sregs, sizeof(s->sregs)) != 0 &&
	    ioctl(v->fd, KVM_SET_SREGS, &s->sregs) < 0)
		return -errno;
	if (memcmp(&s->fpu, &old->fpu, sizeof(s->fpu)) != 0 &&
	    ioctl(v->fd, KVM_SET_FPU, &s->fpu) < 0)
		return -errno;
	if (s->kernel_gs_base == old->kernel_gs_base)
		return 0;
	return kernel_gs_base(v, KVM_SET_MSRS, &s->kernel_gs_base);
}

/* --- registers ----------------------------------------------------------- */

bool arch_debug_reg(size_t number, size_t *ret_off, size_t *ret_len)
{
	size_t off = 0;

	if (number >= ARRAY_SIZE(regs))
		return false;
	for (size_t i = 0; i < number; i++)
		off += regs[i].bits / 8;
	*ret_off = off;
	*ret_len = regs[number].bits / 8;
	return true;
}

static void print_flags(FILE *f)
{
	static const struct {
		const char *name;
		unsigned bit;
	} flags[] = { { "CF", 0 },  { "", 1 },	  { "PF", 2 },	 { "AF", 4 },
		      { "ZF", 6 },  { "SF", 7 },  { "TF", 8 },	 { "IF", 9 },
		      { "DF", 10 }, { "OF", 11 }, { "NT", 14 },	 { "RF", 16 },
		      { "VM", 17 }, { "AC", 18 }, { "VIF", 19 }, { "VIP", 20 },
		      { "ID", 21 } };

	fputs("<flags id=\"i386_eflags\" size=\"4\">", f);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		fprintf(f, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>",
			flags[i].name, flags[i].bit, flags[i].bit);
	fputs("</flags>", f);
}

char *arch_debug_xml(void)
{
	const char *feature = NULL;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fputs("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
	      "<target><architecture>i386:x86-64</architecture>",
	      f);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++) {
		if (!feature || strcmp(feature, regs[i].feature) != 0) {
			fprintf(f, "%s<feature name=\"%s\">",
				feature ? "</feature>" : "", regs[i].feature);
			if (!feature)
				print_flags(f);
			feature = regs[i].feature;
		}
		fprintf(f, "<reg name=\"%s\" bitsize=\"%zu\" type=\"%s\"/>",
			regs[i].name, regs[i].bits, regs[i].type);
	}
	fputs("</feature></target>", f);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int arch_debug_get_regs(const struct vcpu *v, void *buf)
{
	unsigned char *p = buf;
	struct state s;
	int r = get_state(v, &s);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(regs); p += regs[i++].bits / 8) {
		memset(p, 0, regs[i].bits / 8);
		memcpy(p, (const char *)&s + regs[i].off, regs[i].len);
	}
	return 0;
}

int arch_debug_set_regs(const struct vcpu *v, const void *buf)
{
	const unsigned char *p = buf;
	struct state old, s;
	int r = get_state(v, &old);

	if (r < 0)
		return r;
	s = old;
	for (size_t i = 0; i < ARRAY_SIZE(regs); p += regs[i++].bits / 8)
		memcpy((char *)&s + regs[i].off, p, regs[i].len);
	return set_state(v, &old, &s);
}

int arch_debug_translate(const struct vcpu *v, const struct gmem *mem, uint64_t va,
			 uint64_t *ret_gpa)
{
	struct kvm_sregs s;
	struct paging p;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return -errno;
	p = (struct paging){ .cr0 = s.cr0, .cr3 = s.cr3, .cr4 = s.cr4, .efer = s.efer };
	return paging_translate(mem, &p, va, ret_gpa);
}

/* --- breakpoints --------------------------------------------------------- */

bool arch_debug_can_watch(uint64_t addr, unsigned len)
{
	return (len == 1 || len == 2 || len == 4 || len == 8) && addr % len == 0;
}

uint64_t debug_dr7(const struct arch_debug_point *points)
{
	static const unsigned kinds[] = {
		[ARCH_DEBUG_EXEC] = 0, [ARCH_DEBUG_WRITE] = 1, [ARCH_DEBUG_ACCESS] = 3
	};
	static const unsigned lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	uint64_t dr7 = 0;

	for (unsigned i = 0; i < ARCH_DEBUG_POINTS; i++) {
		const struct arch_debug_point *p = &points[i];

		if (!p->len)
			continue;
		dr7 |= 2u << 2 * i; /* global */
		dr7 |= (uint64_t)kinds[p->kind] << (16 + 4 * i);
		dr7 |= (uint64_t)lengths[p->len] << (18 + 4 * i);
	}
	return dr7 ? dr7 | 1u << 10 | 1u << 9 : 0; /* reads as 1; exact */
}

int arch_debug_set(const struct vcpu *v, const struct arch_debug_point *points,
		   bool step)
{
	struct kvm_guest_debug dbg = { .arch.debugreg[7] = debug_dr7(points) };

	for (unsigned i = 0; i < ARCH_DEBUG_POINTS; i++)
		dbg.arch.debugreg[i] = points[i].addr;
	if (dbg.arch.debugreg[7])
		dbg.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	/* Not into the handler of an interrupt that came while the guest stood still.
	 */
	if (step)
		dbg.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
			       KVM_GUESTDBG_BLOCKIRQ;
	return ioctl(v->fd, KVM_SET_GUEST_DEBUG, &dbg) < 0 ? -errno : 0;
}

unsigned arch_debug_exit(const struct vcpu *v)
{
	return v->run->debug.arch.dr6 & ((1u << ARCH_DEBUG_POINTS) - 1);
}

/* --- crash dumps --------------------------------------------------------- */

uint16_t arch_core_machine(void)
{
	return EM_X86_64;
}

size_t arch_core_prstatus(const struct vcpu *v, void *buf)
{
	_Static_assert(sizeof(struct elf_prstatus) <= ARCH_PRSTATUS_MAX, "fits");
	struct elf_prstatus status = { .pr_pid = (pid_t)v->id + 1 };
	struct kvm_regs r = { 0 };
	struct kvm_sregs s = { 0 };
	/* The order of struct user_regs_struct; no system call was interrupted. */
	unsigned long long order[ELF_NGREG];

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return 0;
	memcpy(order,
	       (unsigned long long[]){
		       r.r15,	      r.r14,	     r.r13,	   r.r12,
		       r.rbp,	      r.rbx,	     r.r11,	   r.r10,
		       r.r9,	      r.r8,	     r.rax,	   r.rcx,
		       r.rdx,	      r.rsi,	     r.rdi,	   ~0ull,
		       r.rip,	      s.cs.selector, r.rflags,	   r.rsp,
		       s.ss.selector, s.fs.base,     s.gs.base,	   s.ds.selector,
		       s.es.selector, s.fs.selector, s.gs.selector },
	       sizeof(order));
	memcpy(&status.pr_reg, order, sizeof(order));
	memcpy(buf, &status, sizeof(status));
	return sizeof(status);
}
