/* A whole machine; see machine.h. */
#include "vmm/machine_struct.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "devices/chardev.h"
#include "devices/list.h"
#include "virtio/balloon.h"
#include "vmm/arch.h"
#include "vmm/gdb.h"
#include "vmm/sched.h"

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

static void to_report(void *arg, const void *buf, size_t len)
{
	report_console(arg, buf, len);
}

static bool has_console(const struct config *cfg)
{
	for (size_t i = 0; i < cfg->n_devices; i++) {
		const struct serial_cfg *s = cfg->devices[i].cfg;

		if (cfg->devices[i].class == &serial_option && s->console)
			return true;
	}
	return false;
}

/* The kernel's consoles are worth a report; where it has none, ttyS0. */
static bool is_reported(const struct config *cfg, const struct serial_cfg *s)
{
	return s->console ||
	       (!has_console(cfg) && s->hardware == SERIAL_UART && s->num == 1);
}

static void on_leave(void *arg)
{
	machine_end(arg, VM_END_KILLED, 0, "stopped from the terminal");
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

static void to_failure(void *arg, const void *buf, size_t len)
{
	struct machine *m = arg;

	failure_port_write(&m->failure, buf, len);
	if (m->failure_is_console)
		report_console(m->report, buf, len);
}

/* The second serial port tells why firmware, or an Android guest, gives up, whoever
 * else listens. */
static int watch_failures(struct machine *m, struct err *err)
{
	const struct serial_cfg sink = { .type = CHARDEV_SINK, .num = 2 };
	struct chardev **chr = &m->uarts[1].chr;
	int r;

	if (!*chr && !m->cfg->bios)
		return 0;
	if (!*chr) {
		r = open_chardev(m, &sink, chr, err);
		if (r < 0)
			return r;
		m->chardevs[m->n_chardevs++] = *chr;
	}
	chardev_tee(*chr, to_failure, m);
	return 0;
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
		if (is_reported(m->cfg, s))
			chardev_tee(chr, to_report, m->report);
		if (s->hardware == SERIAL_UART && s->num == 2)
			m->failure_is_console = is_reported(m->cfg, s);
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
	return watch_failures(m, err);
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

/* What a class that has an option of its own is told; @cfg: what the option says. */
static const void *class_cfg(const struct machine *m, const struct dev_class *class,
			     const void *cfg)
{
	if (class == &virtio_balloon_class)
		return &m->balloon;
	if (class == &rtc_class && m->cfg->firmware_compat)
		return &m->rtc;
	return cfg;
}

/*
 * Consoles follow --serial, the balloon follows options about memory, what a PC's
 * firmware wants --firmware-compat; other classes have their own.
 */
static int add_class(struct machine *m, const struct dev_class *class, struct err *err)
{
	unsigned index = 0;
	int r = 0;

	if (class == &fw_cfg_class || class == &port92_class)
		return m->cfg->firmware_compat
			       ? add_device(m, class, &m->fw_cfg, 0, err)
			       : 0;
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
	for (size_t i = 0; r == 0 && i < m->cfg->n_devices; i++) {
		if (m->cfg->devices[i].class != class)
			continue;
		r = add_device(m, class, class_cfg(m, class, m->cfg->devices[i].cfg),
			       index++, err);
	}
	return r;
}

static struct virtio_balloon_cfg balloon_cfg(const struct config *cfg)
{
	return (struct virtio_balloon_cfg){
		.start = cfg->init_mem ? (cfg->mem.size - cfg->init_mem) << 20 : 0,
		.page_reporting = cfg->balloon_page_reporting,
	};
}

/* What firmware of a PC is told, by the devices that it asks. */
static int tell_firmware(struct machine *m, struct err *err)
{
	const struct config *cfg = m->cfg;
	struct gmem_range ranges[GMEM_MAX_RANGES];
	unsigned n = arch_memory(cfg->mem.size << 20, ranges);
	int r;

	m->rtc.n_cpus = m->fw_cfg.n_cpus = (unsigned)cfg->cpus.num_cores;
	r = boot_files_make(ranges, n, m->rtc.n_cpus, &m->files, err);
	for (unsigned i = 0; i < n; i++)
		*(i ? &m->rtc.high_mem : &m->rtc.low_mem) += ranges[i].len;
	for (size_t i = 0; i < m->files.n; i++) {
		const struct boot_file *f = &m->files.v[i];

		m->fw_cfg.files[m->fw_cfg.n_files++] =
			(struct fw_cfg_file){ f->name, f->data, f->size };
	}
	return r;
}

static int add_devices(struct machine *m, struct err *err)
{
	int r;

	if (m->cfg->firmware_compat) {
		r = tell_firmware(m, err);
		if (r < 0)
			return r;
	}
	m->host.pci.pc = m->cfg->firmware_compat;
	m->pci_host.bus = &m->host.pci;
	m->balloon = balloon_cfg(m->cfg);
	r = add_device(m, &pci_host_class, &m->pci_host, 0, err);
	for (unsigned i = 0; r == 0 && i < NUM_UARTS; i++)
		r = add_device(m, &uart_class, &m->uarts[i], i, err);
	for (size_t i = 0; r == 0 && config_classes[i]; i++)
		r = add_class(m, config_classes[i], err);
	return r;
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
	m->kernel.fd = m->initrd.fd = m->bios.fd = m->trust.key.fd = -1;
	m->signal_fd = m->timer_fd = m->dump_fd = m->panic_fd = -1;
	m->control_fd = m->proc_fd = -1;
	broker_init(&m->host.broker);
	pthread_mutex_init(&m->end_lock, NULL);
	bus_init(&m->host.pio);
	bus_init(&m->host.mmio);
	m->shared = (struct vcpu_shared){
		.pio = &m->host.pio,
		.mmio = &m->host.mmio,
		.kvm = &m->host.kvm,
		.ctx = m,
		.end = machine_vcpu_end,
		.enter = machine_vcpu_enter,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.gate = PTHREAD_COND_INITIALIZER,
		.closed = 1,
	};

	r = report_new(&m->report, err);
	if (r == 0)
		r = loop_new(&m->loop, err);
	if (r == 0)
		r = config_cmdline(cfg, &m->cmdline, err);
	if (r == 0 && cfg->kernel)
		r = open_image("kernel", cfg->kernel, &m->kernel, err);
	if (r == 0 && cfg->bios)
		r = open_image("bios", cfg->bios, &m->bios, err);
	if (r == 0 && cfg->bios_key.path)
		r = open_image("bios key", cfg->bios_key.path, &m->trust.key, err);
	m->trust.rollback_index = cfg->bios_key.rollback_index;
	config_rollback_indices(&cfg->bios_key, m->trust.rollback_indices, NULL);
	m->trust.unlocked = cfg->bios_key.unlocked;
	if (r == 0 && cfg->initrd)
		r = open_image("initrd", cfg->initrd, &m->initrd, err);
	if (r == 0 && cfg->dump_on_panic)
		r = machine_dump_open(m, err);
	if (r == 0 && cfg->gdb)
		r = gdb_open(cfg, &m->host.broker, &m->gdb, err);
	if (r == 0)
		r = kvm_open(&m->host.kvm, err);
	if (r == 0)
		r = open_consoles(m, err);
	host_device_init(&m->arch_device, &m->host, m->loop, "interrupt controller");
	if (r == 0)
		r = arch_new(&m->host.kvm, cfg->firmware_compat, &m->arch_device.lent,
			     &m->host.arch, err);
	if (r == 0)
		r = add_devices(m, err);
	if (r == 0)
		r = machine_control_open(m, err);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	m->shared.arch = m->host.arch;
	*ret_machine = m;
	return 0;
}

struct report *machine_report(const struct machine *m)
{
	return m->report;
}

void machine_host_asked(struct machine *m)
{
	m->report->host_asked = true;
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

bool machine_is_jailed(const struct machine *m)
{
	return !m->cfg->disable_sandbox;
}

int machine_start_broker(struct machine *m, pid_t *ret_pid, struct err *err)
{
	int r = broker_start(&m->host.broker, machine_is_jailed(m), err);

	*ret_pid = m->host.broker.pid;
	return r;
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

static int map_memory(const struct config *cfg, struct gmem *mem, struct err *err)
{
	struct gmem_range ranges[GMEM_MAX_RANGES];
	unsigned n = arch_memory(cfg->mem.size << 20, ranges);
	int r = gmem_map(mem, ranges, n, err);

	if (r == 0 && cfg->mem.hugetlb)
		r = gmem_reserve_huge(mem, err);
	for (unsigned i = 0; r == 0 && cfg->hugepages && i < n; i++)
		gmem_want_huge(mem, ranges[i].gpa, ranges[i].len);
	if (r == 0 && cfg->lock_guest_memory)
		r = gmem_lock(mem, err);
	return r;
}

int machine_load(struct machine *m, struct err *err)
{
	struct host *h = &m->host;
	struct kvm_slot slots[ARCH_MAX_SLOTS];
	struct boot_state state;
	struct boot_cfg boot = {
		.kernel = m->kernel,
		.initrd = m->initrd,
		.cmdline = m->cmdline,
		.n_cpus = (unsigned)m->cfg->cpus.num_cores,
		.pc_rom = m->cfg->firmware_compat ? &m->rom : NULL,
	};
	int r;

	grow_fd_table();
	r = sched_apply(m->cfg, err);
	if (r == 0)
		r = map_memory(m->cfg, &h->mem, err);
	if (r == 0)
		r = kvm_create(&h->kvm, ARCH_IRQ_PINS, err);
	if (r == 0)
		r = arch_vm_init(h->arch, &h->mem, boot.n_cpus, err);
	if (r == 0 && m->bios.fd >= 0)
		r = boot_rom_load(&m->bios, &m->rom, err);
	/* Its page would lie where a PC's BARs may be. */
	if (r == 0 && m->bios.fd >= 0 && !m->cfg->firmware_compat)
		r = boot_trust_load(&m->trust, &m->key, err);
	/* Memory before vCPUs, and both before any ioeventfd: see design notes. */
	if (r == 0)
		r = kvm_add_memory(
			&h->kvm, slots,
			arch_slots(h->arch, &h->mem, &m->rom, &m->key, slots), err);
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
	cleanup_close(&m->bios.fd);
	cleanup_close(&m->trust.key.fd);
	cleanup_close(&h->kvm.dev_fd);
	m->kernel.fd = m->initrd.fd = m->bios.fd = m->trust.key.fd = -1;
	h->kvm.dev_fd = -1;
	return 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	control_balloon_free(m->control_balloon);
	control_free(m->control);
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
	cleanup_close(&m->bios.fd);
	cleanup_close(&m->trust.key.fd);
	boot_rom_free(&m->rom);
	boot_rom_free(&m->key);
	boot_files_free(&m->files);
	gdb_close(m->gdb);
	cleanup_close(&m->dump_fd);
	cleanup_close(&m->control_fd);
	cleanup_close(&m->proc_fd);
	broker_free(&m->host.broker);
	cleanup_close(&m->signal_fd);
	cleanup_close(&m->timer_fd);
	cleanup_close(&m->panic_fd);
	loop_free(m->loop);
	free(m->cmdline);
	free(m);
}
