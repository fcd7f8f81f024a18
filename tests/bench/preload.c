/*
 * The library that launch.c preloads into each measured program. It wraps
 * ioctl(): counts KVM's, notes the time of a few of them, and holds the first
 * KVM_RUN back, until the launcher has looked at the process and kills it; or,
 * when the whole run is wanted, counts why KVM_RUN returned.
 *
 * That first KVM_RUN comes from a thread behind a seccomp filter, so from there
 * on it makes only calls that no threaded program can do without: a futex.
 */
#include <linux/futex.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/preload.h"

#define MAX_VCPUS 64

static struct preload *shared;
static int stats_socket = -1;
static unsigned n_vcpus;
static struct {
	int fd;
	const struct kvm_run *run; /* NULL: not known */
} vcpus[MAX_VCPUS];

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void reach(enum preload_phase phase, uint64_t ns)
{
	if (!shared->ns[phase])
		shared->ns[phase] = ns;
}

__attribute__((constructor)) static void preload_init(void)
{
	const char *env = getenv(PRELOAD_ENV);
	int fd;
	void *map;

	if (!env || sscanf(env, "%d %d", &fd, &stats_socket) != 2)
		return;
	map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return;
	shared = map;
	if (!shared->whole)
		close(stats_socket);
	reach(PHASE_LOADED, now_ns());
}

/* Whoever holds this fd can read KVM's counters, even when the VM is gone. */
static void send_stats(int vcpu_fd)
{
	int fd = (int)syscall(SYS_ioctl, vcpu_fd, KVM_GET_STATS_FD, 0);
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec byte = { .iov_base = &control, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	if (fd < 0)
		return;
	control.head = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	};
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	sendmsg(stats_socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

/* The page in which KVM tells why it returned, once more. */
static void note_vcpu(int fd)
{
	unsigned i = __atomic_fetch_add(&n_vcpus, 1, __ATOMIC_RELAXED);
	void *run;

	if (i >= MAX_VCPUS)
		return;
	run = mmap(NULL, sizeof(*vcpus[i].run), PROT_READ, MAP_SHARED, fd, 0);
	vcpus[i].run = run == MAP_FAILED ? NULL : run;
	vcpus[i].fd = fd;
}

static uint64_t *exit_counter(int fd)
{
	for (unsigned i = 0; i < MAX_VCPUS; i++) {
		if (vcpus[i].fd != fd || !vcpus[i].run)
			continue;
		if (vcpus[i].run->exit_reason == KVM_EXIT_IO)
			return &shared->port_exits;
		if (vcpus[i].run->exit_reason == KVM_EXIT_MMIO)
			return &shared->mmio_exits;
	}
	return &shared->other_exits;
}

/* KVM_SET_USER_MEMORY_REGION2's struct begins like this one. */
static void note_slot(const struct kvm_userspace_memory_region *r)
{
	uint32_t i;

	if (!r->memory_size)
		return;
	i = __atomic_fetch_add(&shared->n_slots, 1, __ATOMIC_RELAXED);
	if (i >= PRELOAD_MAX_SLOTS)
		return;
	shared->slots[i].addr = r->userspace_addr;
	shared->slots[i].len = r->memory_size;
}

static void hold_back(void)
{
	static const struct timespec second = { .tv_sec = 1 };
	uint64_t end = now_ns() + 20000000000ull;

	__atomic_store_n(&shared->stopped, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &shared->stopped, FUTEX_WAKE, 1, NULL, NULL, 0);
	/* The launcher kills us here, unless it has died. Signals wake us too. */
	while (now_ns() < end)
		syscall(SYS_futex, &shared->stopped, FUTEX_WAIT, 1, &second, NULL, 0);
	_exit(EXIT_FAILURE);
}

static int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	uint64_t start = now_ns();
	int r;

	if (request == KVM_CREATE_VM)
		reach(PHASE_CREATE_VM, start);
	if (request == KVM_CREATE_VCPU)
		reach(PHASE_CREATE_VCPU, start);
	r = (int)syscall(SYS_ioctl, fd, request, arg);
	if (r >= 0 && request == KVM_CREATE_VCPU && shared->whole) {
		send_stats(r);
		note_vcpu(r);
	}
	/* KVM_SET_USER_MEMORY_REGION2 is 0x49, newer than some headers. */
	if (r == 0 && (request == KVM_SET_USER_MEMORY_REGION ||
		       (_IOC_NR(request) == 0x49 && _IOC_DIR(request) == _IOC_WRITE)))
		note_slot(arg);
	if (!shared->ns[PHASE_RUN]) {
		__atomic_fetch_add(&shared->ioctls, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&shared->kvm_ns, now_ns() - start, __ATOMIC_RELAXED);
	}
	return r;
}

static int run(int fd)
{
	int r;

	if (__atomic_fetch_add(&shared->runs, 1, __ATOMIC_RELAXED) == 0)
		reach(PHASE_RUN, now_ns());
	if (!shared->whole)
		hold_back();
	r = (int)syscall(SYS_ioctl, fd, KVM_RUN, 0);
	__atomic_fetch_add(r < 0 ? &shared->other_exits : exit_counter(fd), 1,
			   __ATOMIC_RELAXED);
	return r;
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!shared || _IOC_TYPE(request) != KVMIO)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	return request == KVM_RUN ? run(fd) : kvm_ioctl(fd, request, arg);
}
