/*
 * Prints what /dev/kvm can do for a stock kernel, in one word:
 *   hardware   it runs code that only a real (or nested) CPU runs: an SSE store
 *   software   a backend that emulates: it cannot run stock kernels
 *   none       no usable /dev/kvm; stderr says why
 * The guest is run, as CPUID flags say nothing about software backends. The
 * instruction is movlps to memory, which KVM's own emulator does not know.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CODE = 0x1000, DATA = 0x1800, SIZE = 0x2000, CR0_PE = 1, CR4_OSFXSR = 1 << 9 };

static const uint8_t code[] = {
	0xb8, 0x78, 0x56, 0x34, 0x12, /* mov    $0x12345678, %eax */
	0x66, 0x0f, 0x6e, 0xc0, /* movd   %eax, %xmm0 */
	0x0f, 0x13, 0x05, 0x00, 0x18, 0x00, 0x00, /* movlps %xmm0, DATA */
	0xf4, /* hlt */
};

static _Noreturn void answer(const char *word, const char *why)
{
	if (why)
		fprintf(stderr, "/dev/kvm: %s: %s\n", why, strerror(errno));
	puts(word);
	exit(0);
}

static void need(int ret, const char *what)
{
	if (ret < 0)
		answer("none", what);
}

/* The guest neither finished nor failed. */
static void on_alarm(int sig)
{
	static const char word[] = "software\n";

	(void)sig;
	(void)!write(1, word, sizeof(word) - 1);
	_exit(0);
}

int main(void)
{
	int kvm, vm, vcpu, size;
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	const struct kvm_segment flat = { .limit = ~0u,
					  .selector = 8,
					  .type = 3,
					  .present = 1,
					  .db = 1,
					  .s = 1,
					  .g = 1 };
	struct kvm_sregs sregs;
	struct kvm_run *run;
	uint32_t stored;
	uint8_t *ram;

	signal(SIGALRM, on_alarm);
	alarm(10);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	need(kvm, "open");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	need(vm, "KVM_CREATE_VM");
	ram = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		   0);
	if (ram == MAP_FAILED)
		answer("none", "mmap");
	memcpy(ram + CODE, code, sizeof(code));
	need(ioctl(vm, KVM_SET_USER_MEMORY_REGION,
		   &(struct kvm_userspace_memory_region){
			   .memory_size = SIZE, .userspace_addr = (uintptr_t)ram }),
	     "KVM_SET_USER_MEMORY_REGION");
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	need(vcpu, "KVM_CREATE_VCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	need(size, "KVM_GET_VCPU_MMAP_SIZE");
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		answer("none", "mmap of the vCPU");

	/* 32-bit protected mode, flat segments, no paging */
	need(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.cs = flat;
	sregs.cs.type = 11;
	sregs.cr0 = (sregs.cr0 & 0x10) | CR0_PE;
	sregs.cr4 |= CR4_OSFXSR;
	need(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	need(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

	if (ioctl(vcpu, KVM_RUN, 0) < 0)
		answer("software", "KVM_RUN");
	memcpy(&stored, ram + DATA, sizeof(stored));
	answer(run->exit_reason == KVM_EXIT_HLT && stored == 0x12345678 ? "hardware"
									: "software",
	       NULL);
}
