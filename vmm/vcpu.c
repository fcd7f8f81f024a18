/* A virtual CPU's thread and the exits that every architecture has; see vcpu.h. */
#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/arch.h"
#include "vmm/arch_debug.h"

/* Makes KVM_RUN return; sent to vCPU threads only. */
#define KICK_SIGNAL SIGUSR1

static _Thread_local struct kvm_run *this_run;

static void on_kick(int sig)
{
	(void)sig;
	/* Also covers a kick just before KVM_RUN is entered. */
	if (this_run)
		__atomic_store_n(&this_run->immediate_exit, 1, __ATOMIC_RELAXED);
}

int vcpu_new(struct vcpu *v, struct vcpu_shared *shared, unsigned id, struct err *err)
{
	*v = (struct vcpu){ .shared = shared, .id = id, .fd = -1 };
	v->fd = ioctl(shared->kvm->vm_fd, KVM_CREATE_VCPU, (long)id);
	if (v->fd < 0)
		return err_sys(err, -errno, "/dev/kvm: cannot create vCPU %u", id);
	v->run = mmap(NULL, shared->kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return err_sys(err, -errno, "/dev/kvm: cannot map vCPU %u", id);
	}
	return 0;
}

void vcpu_free(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->shared->kvm->run_size);
	cleanup_close(&v->fd);
	v->run = NULL;
	v->fd = -1;
}

static void end_crash(struct vcpu *v, const char *what)
{
	char regs[512];

	arch_vcpu_describe(v, regs, sizeof(regs));
	v->shared->end(v->shared->ctx, VM_END_CRASH, 0, "vCPU %u: %s (%s)", v->id, what,
		       regs);
}

static void on_internal_error(struct vcpu *v)
{
	char what[160];

	switch (v->run->internal.suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		snprintf(
			what, sizeof(what),
			"KVM internal error: it cannot emulate the guest's instruction");
		break;
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		snprintf(what, sizeof(what),
			 "KVM internal error: exception while delivering an exception");
		break;
	default:
		snprintf(what, sizeof(what), "KVM internal error %u",
			 v->run->internal.suberror);
	}
	end_crash(v, what);
}

static void on_system_event(struct vcpu *v)
{
	struct vcpu_shared *s = v->shared;

	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		s->end(s->ctx, VM_END_SHUTDOWN, 0, "the guest powered off");
		return;
	case KVM_SYSTEM_EVENT_RESET:
		s->end(s->ctx, VM_END_REBOOT, 0, "the guest asked for a reset");
		return;
	case KVM_SYSTEM_EVENT_CRASH:
		s->end(s->ctx, VM_END_PANIC, 0, "the guest panicked");
		return;
	}
	end_crash(v, "unknown system event");
}

/* It has met what the debugger waits for, and must not go on by itself. */
static void on_debug(struct vcpu *v)
{
	v->hit = true;
	v->hit_points |= arch_debug_exit(v);
	__atomic_store_n(&v->held, true, __ATOMIC_RELEASE);
	v->shared->debug(v->shared->ctx, v);
}

static void handle_exit(struct vcpu *v)
{
	struct vcpu_shared *s = v->shared;
	struct kvm_run *run = v->run;
	char what[96];

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		if (run->mmio.is_write)
			bus_write(s->mmio, run->mmio.phys_addr, run->mmio.data,
				  run->mmio.len);
		else
			bus_read(s->mmio, run->mmio.phys_addr, run->mmio.data,
				 run->mmio.len);
		return;
	case KVM_EXIT_INTR:
		return;
	case KVM_EXIT_DEBUG:
		if (!s->debug)
			break;
		on_debug(v);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		on_system_event(v);
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		on_internal_error(v);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(what, sizeof(what),
			 "KVM cannot enter the guest: hardware reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
		end_crash(v, what);
		return;
	}
	if (arch_vcpu_exit(s->arch, v))
		return;
	snprintf(what, sizeof(what), "KVM left the guest for unknown reason %u",
		 run->exit_reason);
	end_crash(v, what);
}

/*
 * Complete what the guest's last exit was about, so that its registers are those behind
 * the instruction. That may take several exits (an access that crosses a page).
 */
static void settle(struct vcpu *v)
{
	int r;

	do {
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
		r = ioctl(v->fd, KVM_RUN, 0);
		if (r == 0)
			handle_exit(v);
	} while (r == 0 && !__atomic_load_n(&v->shared->stop, __ATOMIC_ACQUIRE));
}

static void wait_at_gate(struct vcpu *v)
{
	struct vcpu_shared *s = v->shared;

	AUTO_LOCK(&s->lock);
	while ((s->closed || v->held) && !__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
		pthread_cond_wait(&s->gate, &s->lock);
	s->inside++;
}

static void leave_gate(struct vcpu_shared *s)
{
	AUTO_LOCK(&s->lock);
	s->inside--;
	pthread_cond_broadcast(&s->gate);
}

/* Until the gate closes, or the VM ends. */
static void run_guest(struct vcpu *v)
{
	struct vcpu_shared *s = v->shared;

	for (;;) {
		/* Before the flags are read: whoever sets one kicks us afterwards. */
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&s->closed, __ATOMIC_ACQUIRE) ||
		    __atomic_load_n(&v->held, __ATOMIC_ACQUIRE))
			return;
		if (ioctl(v->fd, KVM_RUN, 0) == 0) {
			handle_exit(v);
			continue;
		}
		/* EAGAIN: a waiting vCPU was woken to start. */
		if (errno == EINTR || errno == EAGAIN)
			continue;
		s->end(s->ctx, VM_END_CRASH, 0, "vCPU %u: KVM_RUN: %s", v->id,
		       strerrordesc_np(errno));
		return;
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct vcpu_shared *s = v->shared;
	char name[16];

	/* By prctl: pthread_setname_np() may open a path. */
	snprintf(name, sizeof(name), "vcpu%u", v->id);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	this_run = v->run;
	if (s->enter(s->ctx, v) < 0)
		return NULL;
	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		wait_at_gate(v);
		run_guest(v);
		if (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
			settle(v);
		leave_gate(s);
	}
	return NULL;
}

int vcpu_start(struct vcpu *v, struct err *err)
{
	struct sigaction kick = { .sa_handler = on_kick };
	pthread_attr_t attr;
	int r;

	if (sigaction(KICK_SIGNAL, &kick, NULL) < 0)
		return err_sys(err, -errno, "signal handler");
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	r = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_attr_destroy(&attr);
	if (r)
		return err_sys(err, -r, "cannot start a thread for vCPU %u", v->id);
	v->started = true;
	return 0;
}

static void kick(const struct vcpu *vcpus, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (vcpus[i].started)
			pthread_kill(vcpus[i].thread, KICK_SIGNAL);
}

void vcpu_pause(struct vcpu_shared *shared, const struct vcpu *vcpus, unsigned n)
{
	AUTO_LOCK(&shared->lock);
	__atomic_add_fetch(&shared->closed, 1, __ATOMIC_SEQ_CST);
	kick(vcpus, n);
	while (shared->inside)
		pthread_cond_wait(&shared->gate, &shared->lock);
	for (unsigned i = 0; i < n; i++)
		arch_vcpu_paused(&vcpus[i]);
}

void vcpu_resume(struct vcpu_shared *shared)
{
	AUTO_LOCK(&shared->lock);
	__atomic_sub_fetch(&shared->closed, 1, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&shared->gate);
}

void vcpu_hold(struct vcpu *v, bool held)
{
	__atomic_store_n(&v->held, held, __ATOMIC_RELEASE);
}

void vcpu_stop(struct vcpu_shared *shared, struct vcpu *vcpus, unsigned n)
{
	pthread_mutex_lock(&shared->lock);
	__atomic_store_n(&shared->stop, true, __ATOMIC_SEQ_CST);
	pthread_cond_broadcast(&shared->gate);
	pthread_mutex_unlock(&shared->lock);
	kick(vcpus, n);
	for (unsigned i = 0; i < n; i++) {
		if (vcpus[i].started)
			pthread_join(vcpus[i].thread, NULL);
		vcpus[i].started = false;
	}
}
