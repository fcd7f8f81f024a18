/* How a machine runs and ends; see machine.h. */
#include "vmm/machine_struct.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vmm/arch.h"
#include "vmm/exit.h"
#include "vmm/gdb.h"
#include "vmm/jail.h"

/* How long to wait at the end for a reader that does not read. */
#define DRAIN_STALL_MS 2000

/* How long a guest that has panicked may go on, for its last words. */
#define PANIC_GRACE_S 1

static void end_with(struct machine *m, enum vm_end end, unsigned detail,
		     const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

/* Whether @end is something that the guest did, so that a panic explains it. */
static bool by_guest(enum vm_end end)
{
	return end != VM_END_TIMEOUT && end != VM_END_KILLED && end != VM_END_ERROR;
}

static void end_with(struct machine *m, enum vm_end end, unsigned detail,
		     const char *fmt, va_list ap)
{
	unsigned failure = __atomic_load_n(&m->failure.code, __ATOMIC_ACQUIRE);
	struct machine_result *res = &m->result;
	int n = 0;

	AUTO_LOCK(&m->end_lock);
	if (res->end != VM_END_NONE)
		return;
	if (m->report->panicked && end != VM_END_PANIC && by_guest(end)) {
		end = VM_END_PANIC;
		n = snprintf(res->sentence, sizeof(res->sentence),
			     "the guest panicked; then ");
	}
	if (failure && by_guest(end)) {
		end = VM_END_BOOTLOADER;
		detail = failure;
		n = snprintf(res->sentence, sizeof(res->sentence),
			     "not booted: %s (%s); then ", failure_meaning(failure),
			     failure_name(failure));
	}
	res->end = end;
	res->detail = detail;
	vsnprintf(res->sentence + n, sizeof(res->sentence) - (size_t)n, fmt, ap);
	report_end(m->report, end, detail, res->sentence);
	/* Not one more instruction than was under way. */
	__atomic_store_n(&m->shared.stop, true, __ATOMIC_RELEASE);
	loop_stop(m->loop);
}

void machine_end(struct machine *m, enum vm_end end, unsigned detail, const char *fmt,
		 ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_with(m, end, detail, fmt, ap);
	va_end(ap);
}

void machine_vcpu_end(void *ctx, enum vm_end end, unsigned detail, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_with(ctx, end, detail, fmt, ap);
	va_end(ap);
}

/* Cannot fail: the timer is there before any vCPU runs. */
static void set_grace(const struct machine *m, time_t seconds)
{
	const struct itimerspec grace = { .it_value.tv_sec = seconds };

	timerfd_settime(m->panic_fd, 0, &grace, NULL);
}

void machine_panicked(struct machine *m, bool handles)
{
	AUTO_LOCK(&m->end_lock);
	m->report->panicked = true;
	if (handles || m->panic_ends)
		return;
	m->panic_ends = true;
	set_grace(m, PANIC_GRACE_S);
}

void machine_panic_waits(struct machine *m, bool waits)
{
	AUTO_LOCK(&m->end_lock);
	if (m->panic_ends)
		set_grace(m, waits ? 0 : PANIC_GRACE_S);
}

/* A thread that cannot be jailed must not run. */
static int enter_jail(struct machine *m, enum jail_kind kind)
{
	struct err err;
	int r;

	if (m->cfg->disable_sandbox)
		return 0;
	r = jail_thread(kind, &err);
	if (r < 0)
		machine_end(m, VM_END_ERROR, 0, "%s", err.msg);
	return r;
}

int machine_vcpu_enter(void *ctx, struct vcpu *v)
{
	machine_find_ids(ctx, v);
	return enter_jail(ctx, JAIL_VCPU);
}

static void on_signal(void *arg, uint32_t events)
{
	struct machine *m = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(m->signal_fd, &info, sizeof(info)) == sizeof(info))
		machine_end(m, VM_END_KILLED, 0, "stopped by SIG%s",
			    sigabbrev_np((int)info.ssi_signo));
}

static void on_timeout(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	machine_end(m, VM_END_TIMEOUT, 0, "the time limit of %" PRIu64 " s is over",
		    m->cfg->timeout);
}

static void on_panic(void *arg, uint32_t events)
{
	struct machine *m = arg;
	uint64_t n;

	(void)events;
	/* Stopped meanwhile? */
	if (read(m->panic_fd, &n, sizeof(n)) != sizeof(n))
		return;
	machine_end(m, VM_END_PANIC, 0, "the guest panicked");
}

static int watch_panic(struct machine *m, struct err *err)
{
	m->panic_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (m->panic_fd < 0)
		return err_sys(err, -errno, "panic timer");
	return loop_add(m->loop, m->panic_fd, EPOLLIN, on_panic, m, NULL, err);
}

/* The signals were blocked by whoever made this process. */
static int watch_signals(struct machine *m, struct err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0)
		return err_sys(err, -errno, "signals");
	return loop_add(m->loop, m->signal_fd, EPOLLIN, on_signal, m, NULL, err);
}

static int watch_timeout(struct machine *m, struct err *err)
{
	struct itimerspec t = { .it_value.tv_sec = (time_t)m->cfg->timeout };

	if (!m->cfg->timeout)
		return 0;
	m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (m->timer_fd < 0 || timerfd_settime(m->timer_fd, 0, &t, NULL) < 0)
		return err_sys(err, -errno, "time limit");
	return loop_add(m->loop, m->timer_fd, EPOLLIN, on_timeout, m, NULL, err);
}

static void *worker_thread(void *arg)
{
	struct host_device *d = arg;
	struct machine *m = d->host->machine;
	const struct dev_class *class = d->dev->class;
	struct err err;
	int r = 0;

	prctl(PR_SET_NAME, d->name, 0, 0, 0);
	if (class->thread_start)
		r = class->thread_start(d->dev, &err);
	if (r == 0 && enter_jail(m, JAIL_WORKER) < 0)
		return NULL;
	if (r == 0)
		r = loop_run(d->own_loop, &err);
	if (r < 0)
		machine_end(m, VM_END_ERROR, 0, "%s: %s", d->name, err.msg);
	if (class->thread_stop)
		class->thread_stop(d->dev);
	return NULL;
}

static int start_threads(struct machine *m, struct err *err)
{
	int r;

	for (size_t i = 0; i < m->n_devices; i++) {
		struct host_device *d = &m->devices[i];

		if (!d->own_loop)
			continue;
		r = pthread_create(&d->thread, NULL, worker_thread, d);
		if (r)
			return err_sys(err, -r, "cannot start a thread for %s",
				       d->name);
		d->started = true;
	}
	for (unsigned i = 0; i < m->n_vcpus; i++) {
		r = vcpu_start(&m->vcpus[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * The guest has crashed or panicked, and stands still with its devices as they were:
 * the time to look at it.
 */
static void post_mortem(struct machine *m)
{
	struct report *r = m->report;

	for (unsigned i = 0; i < m->n_vcpus && i < REPORT_MAX_VCPUS; i++)
		if (arch_vcpu_registers(&m->vcpus[i], r->registers[i]))
			r->n_vcpus = i + 1;
	if (m->result.end == VM_END_PANIC && m->dump_fd >= 0)
		machine_dump_panic(m);
}

/* Stop the guest, then the devices, then write out what consoles still hold. */
static void stop(struct machine *m)
{
	/* Told first, for a vCPU may be waiting for what a worker does. */
	for (size_t i = 0; i < m->n_devices; i++)
		if (m->devices[i].own_loop)
			loop_stop(m->devices[i].own_loop);
	vcpu_stop(&m->shared, m->vcpus, m->n_vcpus);
	if (m->result.end == VM_END_CRASH || m->result.end == VM_END_PANIC)
		post_mortem(m);
	gdb_ended(m->gdb, exit_status(m->result.end, m->result.detail));
	for (size_t i = 0; i < m->n_devices; i++) {
		struct host_device *d = &m->devices[i];

		if (d->started) {
			pthread_join(d->thread, NULL);
			d->started = false;
		}
		if (d->dev && d->dev->class->reset)
			d->dev->class->reset(d->dev);
	}
	for (size_t i = 0; i < m->n_chardevs; i++)
		if (!chardev_drain(m->chardevs[i], DRAIN_STALL_MS))
			log_warn(chardev_name(m->chardevs[i]), "some output was lost");
}

int machine_run(struct machine *m, struct machine_result *ret_result, struct err *err)
{
	int r = watch_signals(m, err);

	if (r == 0)
		r = watch_timeout(m, err);
	if (r == 0 && m->gdb)
		r = gdb_start(m->gdb, m, err);
	if (r == 0)
		r = watch_panic(m, err);
	if (r == 0)
		r = machine_control_start(m, err);
	if (r == 0 && !m->cfg->disable_sandbox)
		r = jail_process(m->cfg->require_sandbox, err);
	if (r == 0)
		r = start_threads(m, err);
	if (r == 0 && !m->cfg->disable_sandbox)
		r = jail_thread(JAIL_MAIN, err);
	if (r == 0) {
		m->report->started = true;
		machine_begin(m);
		r = loop_run(m->loop, err);
	}
	stop(m);
	if (r == 0)
		*ret_result = m->result;
	return r;
}
