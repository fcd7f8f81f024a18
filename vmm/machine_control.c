/*
 * What the control socket can do with a machine: the handlers of its requests. On the
 * main thread, like the socket's server (control.c).
 */
#include "vmm/machine_struct.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "devices/acpi_pm.h"
#include "devices/list.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/list.h"
#include "virtio/vsock.h"

/* The @index-th device of a class, or NULL. */
static struct device *find_device(const struct machine *m,
				  const struct dev_class *class, uint64_t index)
{
	for (size_t i = 0; i < m->n_devices; i++)
		if (m->devices[i].dev->class == class && index-- == 0)
			return m->devices[i].dev;
	return NULL;
}

static unsigned count_devices(const struct machine *m, const struct dev_class *class)
{
	unsigned n = 0;

	while (find_device(m, class, n))
		n++;
	return n;
}

/* --- standing still -------------------------------------------------------- */

/* As the control socket wants it, or who holds the guest, for whom still is enough. */
static void pause_devices(struct machine *m)
{
	enum dev_pause how = m->pause;

	if (how == DEV_RUNS && m->held)
		how = DEV_STILL;
	if (how == m->told)
		return;
	m->told = how;
	machine_panic_waits(m, how != DEV_RUNS);
	for (size_t i = 0; i < m->n_devices; i++) {
		struct device *dev = m->devices[i].dev;

		if (dev->class->pause)
			dev->class->pause(dev, how);
	}
}

void machine_hold(struct machine *m)
{
	vcpu_pause(&m->shared, m->vcpus, m->n_vcpus);
	m->held++;
	pause_devices(m);
}

void machine_release(struct machine *m)
{
	m->held--;
	pause_devices(m);
	vcpu_resume(&m->shared);
}

void machine_pause(struct machine *m, enum dev_pause how)
{
	enum dev_pause was = m->pause;

	if (was == DEV_RUNS && how != DEV_RUNS)
		machine_hold(m);
	m->pause = how;
	pause_devices(m);
	if (was != DEV_RUNS && how == DEV_RUNS)
		machine_release(m);
}

void machine_begin(struct machine *m)
{
	m->started_ms = clock_ms();
	if (m->cfg->suspended)
		machine_pause(m, DEV_STILL);
	/* The gate is closed from the start. */
	vcpu_resume(&m->shared);
}

/* --- threads --------------------------------------------------------------- */

/*
 * In the host's /proc "thread-self" is the host's name of whoever reads it, where
 * getpid() and gettid() only know those of a PID namespace.
 */
void machine_find_ids(struct machine *m, struct vcpu *v)
{
	char text[64] = "";
	ssize_t n = readlinkat(m->proc_fd, "thread-self", text, sizeof(text) - 1);

	if (n < 0 || sscanf(text, "%d/task/%d", &v->pid, &v->tid) != 2) {
		v->pid = getpid();
		v->tid = gettid();
	}
	if (__atomic_add_fetch(&m->n_known, 1, __ATOMIC_ACQ_REL) == m->n_vcpus &&
	    m->proc_fd >= 0)
		close(TAKE_FD(m->proc_fd));
}

static int reply_ids(struct machine *m, json_t **ret_reply, struct err *err)
{
	json_t *map = json_object();
	char key[16];

	if (__atomic_load_n(&m->n_known, __ATOMIC_ACQUIRE) < m->n_vcpus)
		return err_set(err, -EAGAIN, "the vCPUs' threads have not started yet");
	for (unsigned i = 0; i < m->n_vcpus; i++) {
		snprintf(key, sizeof(key), "%u", i);
		json_object_set_new(
			map, key, json_pack("[ii]", m->vcpus[i].pid, m->vcpus[i].tid));
	}
	*ret_reply = json_pack("{s:{s:o}}", "VcpuPidTidResponse", "pid_tid_map", map);
	return 0;
}

/* --- status ---------------------------------------------------------------- */

/* The guest's address on vsock; 0: it has none. */
static uint64_t find_cid(const struct machine *m)
{
	for (size_t i = 0; i < m->cfg->n_devices; i++)
		if (m->cfg->devices[i].class == &virtio_vsock_class)
			return ((const struct vsock_cfg *)m->cfg->devices[i].cfg)->cid;
	return 0;
}

static json_t *describe(const struct machine *m)
{
	static const char *const states[] = {
		[DEV_RUNS] = "running",
		[DEV_STILL] = "suspended",
		[DEV_SUSPENDED] = "suspended-full",
	};

	struct device *balloon = find_device(m, &virtio_balloon_class, 0);
	struct balloon_state b;
	uint64_t cid = find_cid(m);
	json_t *o;

	/* A name that is not UTF-8 is none. */
	o = json_pack("{s:s,s:o,s:i,s:i,s:I,s:i,s:I}", "state", states[m->pause],
		      "name",
		      (m->cfg->name ? json_string(m->cfg->name) : NULL) ?: json_null(),
		      "pid", (int)m->pid, "vcpus", (int)m->n_vcpus, "memory_bytes",
		      (json_int_t)gmem_size(&m->host.mem), "disks",
		      (int)count_devices(m, &virtio_blk_class), "uptime_ms",
		      (json_int_t)(clock_ms() - m->started_ms));
	if (cid)
		json_object_set_new(o, "cid", json_integer((json_int_t)cid));
	if (balloon) {
		virtio_balloon_get(balloon, &b);
		json_object_set_new(o, "balloon_bytes",
				    json_integer((json_int_t)b.actual));
		json_object_set_new(o, "balloon_target_bytes",
				    json_integer((json_int_t)b.target));
	}
	return o;
}

/* --- requests -------------------------------------------------------------- */

static int press_power_button(struct machine *m, struct err *err)
{
	struct device *pm = find_device(m, &acpi_pm_class, 0);
	int r;

	if (!pm)
		return err_set(err, -ENODEV, "this VM has no power button");
	r = acpi_pm_press(pm, err);
	if (r == 0)
		machine_host_asked(m);
	return r;
}

static int resize_disk(struct machine *m, const struct control_request *q,
		       struct err *err)
{
	struct device *disk = find_device(m, &virtio_blk_class, q->index);

	if (!disk)
		return err_set(err, -ENODEV, "disk %" PRIu64 ": this VM has %u disks",
			       q->index, count_devices(m, &virtio_blk_class));
	return virtio_blk_resize(disk, q->bytes, err);
}

static int resume_vcpus(struct machine *m, struct err *err)
{
	/* They would wait for their disks for ever, and nobody would know why. */
	if (m->pause == DEV_SUSPENDED)
		return err_set(err, -EBUSY,
			       "the devices are suspended, too: it takes "
			       "ResumeVm (vmm resume --full)");
	machine_pause(m, DEV_RUNS);
	return 0;
}

/* *@ret_reply stays NULL where "Ok" is the answer. */
static int carry_out(struct machine *m, struct control_request *q, json_t **ret_reply,
		     struct err *err)
{
	int r;

	switch (q->kind) {
	case CONTROL_EXIT:
		return 0;
	case CONTROL_POWERBTN:
		return press_power_button(m, err);
	case CONTROL_SUSPEND_VCPUS:
		if (m->pause == DEV_RUNS)
			machine_pause(m, DEV_STILL);
		return 0;
	case CONTROL_RESUME_VCPUS:
		return resume_vcpus(m, err);
	case CONTROL_SUSPEND_VM:
		machine_pause(m, DEV_SUSPENDED);
		return 0;
	case CONTROL_RESUME_VM:
		machine_pause(m, DEV_RUNS);
		return 0;
	case CONTROL_DISK_RESIZE:
		return resize_disk(m, q, err);
	case CONTROL_DUMP:
		if (q->fd < 0)
			return err_set(err, -EBADF, "a dump needs a descriptor");
		machine_hold(m);
		r = machine_dump(m, q->fd, err);
		machine_release(m);
		return r;
	case CONTROL_VCPU_PID_TID:
		return reply_ids(m, ret_reply, err);
	case CONTROL_VM_DESCRIPTOR:
		*ret_reply = describe(m);
		json_object_set_new(*ret_reply, "hypervisor", json_string("Kvm"));
		*ret_reply = json_pack("{s:o}", "VmDescriptor", *ret_reply);
		return 0;
	case CONTROL_STATUS:
		*ret_reply = json_pack("{s:o}", "Status", describe(m));
		return 0;
	case CONTROL_BALLOON_ADJUST:
	case CONTROL_BALLOON_STATS:
	case CONTROL_KINDS:
		break;
	}
	return err_set(err, -ENOTSUP, "this VM has no balloon");
}

static void on_request(void *ctx, struct control_conn *conn,
		       struct control_request *request)
{
	struct machine *m = ctx;
	json_t *reply = NULL;
	struct err why;

	/* These answer when their guest does. */
	if (m->control_balloon && request->kind == CONTROL_BALLOON_ADJUST)
		control_balloon_adjust(m->control_balloon, conn, request->bytes,
				       request->wait);
	else if (m->control_balloon && request->kind == CONTROL_BALLOON_STATS)
		control_balloon_stats(m->control_balloon, conn);
	else if (carry_out(m, request, &reply, &why) < 0)
		control_fail(conn, &why);
	else
		control_reply(conn, reply);
	/* Answered first: what is in the peer's queue outlives us. */
	if (request->kind == CONTROL_EXIT)
		machine_end(m, VM_END_KILLED, 0, "stopped through the control socket");
}

/* --- the socket ------------------------------------------------------------ */

int machine_control_open(struct machine *m, struct err *err)
{
	const char *path = m->cfg->socket;
	AUTO_FREE char *inside = NULL;
	struct unix_name name;
	struct stat st;

	m->pid = getpid();
	if (!path)
		return 0;
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (asprintf(&inside, "%s/vmm-%d.sock", path, (int)m->pid) < 0)
			return err_sys(err, -ENOMEM, "control socket %s", path);
		path = inside;
	}
	m->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* Who starts VMs for others has a connection, and nothing that others can find.
	 */
	if (file_is_inherited(path)) {
		m->control_fd = unix_connect("control socket", path, SOCK_SEQPACKET,
					     &(struct unix_patience){ 0 }, NULL);
		m->control_connected = m->control_fd >= 0;
		if (m->control_connected)
			return 0;
	}
	m->control_fd = unix_listen("control socket", path, SOCK_SEQPACKET, &name, err);
	if (m->control_fd < 0)
		return m->control_fd;
	broker_add_name(&m->host.broker, &name);
	log_debug("control", "listening at %s", path);
	return 0;
}

int machine_control_start(struct machine *m, struct err *err)
{
	struct device *balloon;
	size_t seed = 0;
	int r;

	if (m->control_fd < 0)
		return 0;
	/* Or jansson would open /dev/urandom. */
	if (getrandom(&seed, sizeof(seed), 0) < 0)
		return err_sys(err, -errno, "random numbers");
	json_object_seed(seed | 1);
	r = control_new(m->loop, m->control_fd, m->control_connected, on_request, m,
			&m->control, err);
	if (r < 0)
		return r;
	m->control_fd = -1;
	balloon = find_device(m, &virtio_balloon_class, 0);
	return balloon ? control_balloon_new(balloon, m->loop, &m->control_balloon, err)
		       : 0;
}
