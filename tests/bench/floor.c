/*
 * The floor of "make bench": the least that a VMM with vmm's jail can do before
 * its guest runs. The jail is vmm's own code; the KVM calls are those without
 * which no guest starts, and the guest is one port write.
 *
 *   floor [--no-jail] [--mem MIB]   exit 0 when the guest has run
 *   floor --exec-only               a KVM_RUN of nothing: exec, linking and the
 *                                   measuring, which every program pays
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/jail.h"

#define ENTRY 0x1000
#define PORT 0xf4
#define MAX_CPUID 256

/* out %al, $PORT; hlt */
static const unsigned char guest[] = { 0xe6, PORT, 0xf4 };

static void check(int r, const char *what)
{
	if (r < 0)
		err(EXIT_FAILURE, "%s", what);
}

static void *map(size_t size, int flags, int fd)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		err(EXIT_FAILURE, "mmap");
	return p;
}

static void add_memory(int vm, size_t size)
{
	unsigned char *ram = map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	struct kvm_userspace_memory_region slot = {
		.memory_size = size,
		.userspace_addr = (uintptr_t)ram,
	};

	memcpy(ram + ENTRY, guest, sizeof(guest));
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), "memory slot");
}

static void set_cpuid(int kvm, int vcpu)
{
	static union {
		struct kvm_cpuid2 head;
		char space[sizeof(struct kvm_cpuid2) +
			   MAX_CPUID * sizeof(struct kvm_cpuid_entry2)];
	} table = { .head.nent = MAX_CPUID };

	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &table), "supported CPUID");
	check(ioctl(vcpu, KVM_SET_CPUID2, &table), "CPUID");
}

static struct kvm_segment flat(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
				     .selector = selector,
				     .type = type,
				     .present = 1,
				     .db = 1,
				     .s = 1,
				     .g = 1 };
}

/* Flat 32-bit mode: real mode would need helpers on old Intel CPUs. */
static void set_registers(int vcpu)
{
	struct kvm_regs regs = { .rip = ENTRY, .rflags = 2 };
	struct kvm_sregs s;

	check(ioctl(vcpu, KVM_GET_SREGS, &s), "registers");
	s.cs = flat(0x10, 0xb);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(0x18, 0x3);
	s.cr0 = 0x11; /* PE, ET */
	check(ioctl(vcpu, KVM_SET_SREGS, &s), "registers");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "registers");
}

static void jail(int r, const struct err *e)
{
	if (r < 0)
		warnx("%s", e->msg);
}

static void run(int kvm, size_t mem, bool jailed)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	int vm, vcpu, size;
	struct kvm_run *page;
	struct err e;

	do /* a pending signal interrupts it */
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
	while (vm < 0 && errno == EINTR);
	check(vm, "KVM_CREATE_VM");
	check(ioctl(vm, KVM_ENABLE_CAP, &split), "split irqchip");
	add_memory(vm, mem);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	check(vcpu, "vCPU");
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	check(size, "KVM_GET_VCPU_MMAP_SIZE");
	page = map((size_t)size, MAP_SHARED, vcpu);
	set_cpuid(kvm, vcpu);
	set_registers(vcpu);
	if (jailed) {
		jail(jail_process(true, &e), &e);
		jail(jail_thread(JAIL_VCPU, &e), &e);
	}
	check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (page->exit_reason != KVM_EXIT_IO || page->io.port != PORT)
		errx(EXIT_FAILURE, "unexpected exit %u", page->exit_reason);
}

/* A PID namespace holds those born after it was made. */
static void fork_into_namespaces(void)
{
	struct err e;
	int status;
	pid_t pid;

	jail(jail_namespaces(&e), &e);
	pid = fork();
	check(pid, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	check(waitpid(pid, &status, 0), "waitpid");
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int main(int argc, char **argv)
{
	bool jailed = true;
	size_t mem = 128;
	int kvm;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--exec-only"))
			return ioctl(-1, KVM_RUN, 0) == 0;
		if (!strcmp(argv[i], "--no-jail"))
			jailed = false;
		else if (!strcmp(argv[i], "--mem") && i + 1 < argc)
			mem = strtoul(argv[++i], NULL, 10);
		else
			errx(EXIT_FAILURE, "usage: floor [--no-jail] [--mem MIB] | "
					   "--exec-only");
	}
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(kvm, "/dev/kvm");
	if (jailed)
		fork_into_namespaces();
	run(kvm, mem << 20, jailed);
	/* exit() would do more than the filter allows. */
	_exit(EXIT_SUCCESS);
}
