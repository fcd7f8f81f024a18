/* A whole machine; see machine.h. */
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "devices/chardev.h"
#include "devices/debugcon.h"
#include "devices/uart.h"
#include "virtio/console.h"
#include "vmm/arch.h"
#include "vmm/host.h"
#include "vmm/jail.h"
#include "vmm/sched.h"
#include "vmm/vcpu.h"

#define MAX_DEVICES 64
#define NUM_UARTS 4
#define MAX_CHARDEVS 12
#define NUM_CONSOLES 4 /* of each other kind */

/* How long to wait at the end for a reader that does not read. */
#define DRAIN_STALL_MS 2000

struct machine {
	const struct config *cfg;
	struct host host;
	struct loop *loop;
	struct boot_image kernel, initrd;
	char *cmdline;

	/* Consoles, in the order of --serial. */
	size_t n_chardevs;
	struct chardev *chardevs[MAX_CHARDEVS];
	struct uart_cfg uarts[NUM_UARTS];
	size_t n_consoles;
	struct virtio_console_cfg consoles[NUM_CONSOLES];
	size_t n_debugcons;
	struct debugcon_cfg debugcons[NUM_CONSOLES];
	struct pci_host_cfg pci_host;

	struct host_device arch_device; /* the interrupt controller's window */
	size_t n_devices;
	struct host_device devices[MAX_DEVICES];

	unsigned n_vcpus;
	struct vcpu *vcpus;
	struct vcpu_shared shared;

	int signal_fd, timer_fd;
	pthread_mutex_t end_lock; /* result */
	struct machine_result result;
};

static void end_with(struct machine *m, enum vm_end end, unsigned detail,
		     const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

static void end_with(struct machine *m, enum vm_end end, unsigned detail,
		     const char *fmt, va_list ap)
{
	AUTO_LOCK(&m->end_lock);
	if (m->result.end != VM_END_NONE)
		return;
	m->result.end = end;
	m->result.detail = detail;
	vsnprintf(m->result.sentence, sizeof(m->result.sentence), fmt, ap);
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

/* --- before the fork ----------------------------------------------------- */

static int open_image(const char *what, const char *path, struct boot_image *ret,
		      struct err *err)
{
	int fd = file_open_regular(what, path, O_RDONLY, &ret->size, err);

	if (fd < 0)
		return fd;
	ret->fd = fd;
	ret->path = path;
	return 0;
}

static void on_leave(void *arg)
{
	machine_end(arg, VM_END_SHUTDOWN, 0, "stopped from the terminal");
}

static int open_chardev(struct machine *m, const struct serial_cfg *s,
			struct chardev **ret_chr, struct err *err)
{
	const struct chardev_cfg cfg = {
		.type = s->type,
		.path = s->path,
		.input = s->input,
		.use_stdin = s->use_stdin,
		.input_stream = s->input_stream,
		.timestamp = s->timestamp,
		.escape = m->cfg->escape_key,
		.leave = on_leave,
		.leave_arg = m,
	};
	char name[64];

	snprintf(name, sizeof(name), "%s %" PRIu64, config_serial_hardware[s->hardware],
		 s->num);
	return chardev_open(&cfg, s->name ?: name, m->loop, ret_chr, err);
}

static int open_consoles(struct machine *m, struct err *err)
{
	for (unsigned i = 0; i < NUM_UARTS; i++)
		m->uarts[i].num = i + 1;
	for (size_t i = 0; i < m->cfg->n_devices; i++) {
		const struct serial_cfg *s = m->cfg->devices[i].cfg;
		struct virtio_console_cfg *console;
		struct chardev *chr;
		int r;

		if (m->cfg->devices[i].class != &serial_option)
			continue;
		r = open_chardev(m, s, &chr, err);
		if (r < 0)
			return r;
		m->chardevs[m->n_chardevs++] = chr;
		switch (s->hardware) {
		case SERIAL_UART:
			m->uarts[s->num - 1].chr = chr;
			break;
		case SERIAL_DEBUGCON:
			m->debugcons[m->n_debugcons++] = (struct debugcon_cfg){
				(uint16_t)s->debugcon_port, chr
			};
			break;
		default:
			console = &m->consoles[s->num - 1];
			console->num = (unsigned)s->num;
			console->chr = chr;
			config_queue_sizes(s, console->queue_size, NULL);
			m->n_consoles++;
		}
	}
	return 0;
}

static int add_device(struct machine *m, const struct dev_class *class, const void *cfg,
		      unsigned index, struct err *err)
{
	struct host_device *d;
	struct loop *loop = m->loop;
	char name[32];
	int r;

	if (m->n_devices == MAX_DEVICES)
		return err_set(err, -ENOSPC, "more than %d devices", MAX_DEVICES);
	d = &m->devices[m->n_devices];
	if (class->flags & DEV_REPEAT)
		snprintf(name, sizeof(name), "%s%u", class->name, index);
	else
		snprintf(name, sizeof(name), "%s", class->name);
	if (class->flags & DEV_THREAD) {
		r = loop_new(&loop, err);
		if (r < 0)
			return r;
	}
	host_device_init(d, &m->host, loop, name);
	if (class->flags & DEV_THREAD)
		d->own_loop = loop;
	m->n_devices++;
	return class->create(cfg, &d->lent, &d->dev, err);
}

/* Consoles follow --serial; other classes their own options. */
static int add_class(struct machine *m, const struct dev_class *class, struct err *err)
{
	unsigned index = 0;
	int r = 0;

	if (class == &virtio_console_class) {
		for (size_t i = 0; r == 0 && i < m->n_consoles; i++)
			r = add_device(m, class, &m->consoles[i], index++, err);
		return r;
	}
	if (class == &debugcon_class) {
		for (size_t i = 0; r == 0 && i < m->n_debugcons; i++)
			r = add_device(m, class, &m->debugcons[i], index++, err);
		return r;
	}
	if (!class->create)
		return 0;
	for (size_t i = 0; r == 0 && i < m->cfg->n_devices; i++)
		if (m->cfg->devices[i].class == class)
			r = add_device(m, class, m->cfg->devices[i].cfg, index++, err);
	return r;
}

static int add_devices(struct machine *m, struct err *err)
{
	int r;

	m->pci_host.bus = &m->host.pci;
	r = add_device(m, &pci_host_class, &m->pci_host, 0, err);
	for (unsigned i = 0; r == 0 && i < NUM_UARTS; i++)
		r = add_device(m, &uart_class, &m->uarts[i], i, err);
	for (size_t i = 0; r == 0 && config_classes[i]; i++)
		r = add_class(m, config_classes[i], err);
	return r;
}

static void vcpu_end(void *ctx, enum vm_end end, unsigned detail, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void vcpu_end(void *ctx, enum vm_end end, unsigned detail, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	end_with(ctx, end, detail, fmt, ap);
	va_end(ap);
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

static int vcpu_enter(void *ctx)
{
	return enter_jail(ctx, JAIL_VCPU);
}

int machine_new(const struct config *cfg, struct machine **ret_machine, struct err *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_sys(err, -ENOMEM, "machine");
	m->cfg = cfg;
	m->host.machine = m;
	m->host.kvm.dev_fd = m->host.kvm.vm_fd = -1;
	m->kernel.fd = m->initrd.fd = m->signal_fd = m->timer_fd = -1;
	pthread_mutex_init(&m->end_lock, NULL);
	bus_init(&m->host.pio);
	bus_init(&m->host.mmio);
	m->shared = (struct vcpu_shared){
		.pio = &m->host.pio,
		.mmio = &m->host.mmio,
		.kvm = &m->host.kvm,
		.ctx = m,
		.end = vcpu_end,
		.enter = vcpu_enter,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.gate = PTHREAD_COND_INITIALIZER,
	};

	r = loop_new(&m->loop, err);
	if (r == 0)
		r = config_cmdline(cfg, &m->cmdline, err);
	if (r == 0)
		r = open_image("kernel", cfg->kernel, &m->kernel, err);
	if (r == 0 && cfg->initrd)
		r = open_image("initrd", cfg->initrd, &m->initrd, err);
	if (r == 0)
		r = kvm_open(&m->host.kvm, err);
	if (r == 0)
		r = open_consoles(m, err);
	host_device_init(&m->arch_device, &m->host, m->loop, "interrupt controller");
	if (r == 0)
		r = arch_new(&m->host.kvm, &m->arch_device.lent, &m->host.arch, err);
	if (r == 0)
		r = add_devices(m, err);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	m->shared.arch = m->host.arch;
	*ret_machine = m;
	return 0;
}

bool machine_wants_terminal(const struct machine *m)
{
	for (size_t i = 0; i < m->cfg->n_devices; i++) {
		const struct serial_cfg *s = m->cfg->devices[i].cfg;

		if (m->cfg->devices[i].class == &serial_option && s->use_stdin)
			return true;
	}
	return false;
}

/* --- in the VM's process ------------------------------------------------- */

/*
 * A file descriptor table that grows while threads share it waits for an RCU
 * grace period, which takes milliseconds: grow it now.
 */
static void grow_fd_table(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 250);

	cleanup_close(&fd);
}

static int make_vcpus(struct machine *m, const struct boot_state *state,
		      struct err *err)
{
	unsigned n = (unsigned)m->cfg->cpus.num_cores;
	int r = 0;

	m->vcpus = calloc(n, sizeof(*m->vcpus));
	if (!m->vcpus)
		return err_sys(err, -ENOMEM, "vCPUs");
	while (r == 0 && m->n_vcpus < n) {
		struct vcpu *v = &m->vcpus[m->n_vcpus];

		r = vcpu_new(v, &m->shared, m->n_vcpus++, err);
		if (r == 0)
			r = arch_vcpu_init(m->host.arch, v, state, err);
	}
	return r;
}

static int prepare_devices(struct machine *m, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_devices; i++) {
		struct device *dev = m->devices[i].dev;

		if (dev->class->prepare)
			r = dev->class->prepare(dev, err);
	}
	return r;
}

int machine_load(struct machine *m, struct err *err)
{
	struct host *h = &m->host;
	struct gmem_range ranges[GMEM_MAX_RANGES];
	struct boot_state state;
	struct boot_cfg boot = {
		.kernel = m->kernel,
		.initrd = m->initrd,
		.cmdline = m->cmdline,
		.n_cpus = (unsigned)m->cfg->cpus.num_cores,
	};
	int n, r;

	grow_fd_table();
	r = sched_apply(m->cfg, err);
	if (r < 0)
		return r;
	n = arch_memory(m->cfg->mem.size << 20, ranges, err);
	if (n < 0)
		return n;
	r = kvm_create(&h->kvm, ARCH_IRQ_PINS, err);
	if (r == 0)
		r = gmem_map(&h->mem, ranges, (size_t)n, err);
	if (r == 0)
		r = arch_vm_init(h->arch, &h->mem, boot.n_cpus, err);
	/* Memory before vCPUs, and both before any ioeventfd: see design notes. */
	if (r == 0)
		r = kvm_add_memory(&h->kvm, &h->mem, err);
	if (r == 0)
		r = boot_load(&h->mem, &boot, &state, err);
	if (r == 0)
		r = make_vcpus(m, &state, err);
	if (r == 0)
		r = prepare_devices(m, err);
	if (r < 0)
		return r;
	cleanup_close(&m->kernel.fd);
	cleanup_close(&m->initrd.fd);
	cleanup_close(&h->kvm.dev_fd);
	m->kernel.fd = m->initrd.fd = h->kvm.dev_fd = -1;
	return 0;
}

static void on_signal(void *arg, uint32_t events)
{
	struct machine *m = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(m->signal_fd, &info, sizeof(info)) == sizeof(info))
		machine_end(m, VM_END_SHUTDOWN, 0, "stopped by SIG%s",
			    sigabbrev_np((int)info.ssi_signo));
}

static void on_timeout(void *arg, uint32_t events)
{
	struct machine *m = arg;

	(void)events;
	machine_end(m, VM_END_TIMEOUT, 0, "the time limit of %" PRIu64 " s is over",
		    m->cfg->timeout);
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

/* Stop the guest, then the devices, then write out what consoles still hold. */
static void stop(struct machine *m)
{
	/* Told first, for a vCPU may be waiting for what a worker does. */
	for (size_t i = 0; i < m->n_devices; i++)
		if (m->devices[i].own_loop)
			loop_stop(m->devices[i].own_loop);
	vcpu_stop(&m->shared, m->vcpus, m->n_vcpus);
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
	if (r == 0 && !m->cfg->disable_sandbox)
		r = jail_process(m->cfg->require_sandbox, err);
	if (r == 0)
		r = start_threads(m, err);
	if (r == 0 && !m->cfg->disable_sandbox)
		r = jail_thread(JAIL_MAIN, err);
	if (r == 0) {
		vcpu_open_gate(&m->shared);
		r = loop_run(m->loop, err);
	}
	stop(m);
	if (r == 0)
		*ret_result = m->result;
	return r;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	for (size_t i = m->n_devices; i-- > 0;) {
		struct host_device *d = &m->devices[i];

		if (d->dev && d->dev->class->free)
			d->dev->class->free(d->dev);
		loop_free(d->own_loop);
	}
	arch_free(m->host.arch);
	for (unsigned i = 0; i < m->n_vcpus; i++)
		vcpu_free(&m->vcpus[i]);
	free(m->vcpus);
	kvm_close(&m->host.kvm);
	gmem_unmap(&m->host.mem);
	for (size_t i = 0; i < m->n_chardevs; i++)
		chardev_close(m->chardevs[i]);
	cleanup_close(&m->kernel.fd);
	cleanup_close(&m->initrd.fd);
	cleanup_close(&m->signal_fd);
	cleanup_close(&m->timer_fd);
	loop_free(m->loop);
	free(m->cmdline);
	free(m);
}
