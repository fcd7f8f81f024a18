/* One VM of the host's KVM; see kvm.h. */
#include "vmm/kvm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"

#define KVM_PATH "/dev/kvm"

int kvm_open(struct kvm *kvm, struct err *err)
{
	int version;

	kvm->dev_fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);
	if (kvm->dev_fd < 0)
		return err_sys(err, -errno, KVM_PATH);
	version = ioctl(kvm->dev_fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return err_sys(err, -errno, KVM_PATH ": is not KVM");
	if (version != KVM_API_VERSION)
		return err_set(err, -ENOTSUP, KVM_PATH ": API version %d, not %d",
			       version, KVM_API_VERSION);
	return 0;
}

int kvm_create(struct kvm *kvm, unsigned n_pins, struct err *err)
{
	int size;

	/* CREATE_VM gives up when a signal is pending, which a retry cures. */
	do
		kvm->vm_fd = ioctl(kvm->dev_fd, KVM_CREATE_VM, 0);
	while (kvm->vm_fd < 0 && errno == EINTR);
	if (kvm->vm_fd < 0)
		return err_sys(err, -errno, KVM_PATH ": cannot create a VM");
	size = ioctl(kvm->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(err, -ENOTSUP, KVM_PATH ": no shared vCPU page");
	kvm->run_size = (size_t)size;
	kvm->n_pins = n_pins;
	pthread_mutex_init(&kvm->lock, NULL);
	kvm->msis = calloc(KVM_MAX_MSIS, sizeof(*kvm->msis));
	kvm->routes = calloc(1, sizeof(*kvm->routes) +
					(2 * n_pins + KVM_MAX_MSIS) *
						sizeof(struct kvm_irq_routing_entry));
	if (!kvm->msis || !kvm->routes)
		return err_sys(err, -ENOMEM, "interrupt routes");
	return 0;
}

void kvm_close(struct kvm *kvm)
{
	for (unsigned i = 0; i < kvm->n_msis; i++)
		close(kvm->msis[i].fd);
	free(kvm->msis);
	free(kvm->routes);
	cleanup_close(&kvm->vm_fd);
	cleanup_close(&kvm->dev_fd);
	*kvm = (struct kvm){ .dev_fd = -1, .vm_fd = -1 };
}

int kvm_cap(const struct kvm *kvm, int cap)
{
	int r = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, (long)cap);

	return r < 0 ? 0 : r;
}

int kvm_enable_cap(const struct kvm *kvm, int cap, uint64_t arg, const char *name,
		   struct err *err)
{
	struct kvm_enable_cap c = { .cap = (uint32_t)cap, .args = { arg } };

	if (ioctl(kvm->vm_fd, KVM_ENABLE_CAP, &c) < 0)
		return err_sys(err, -errno, KVM_PATH ": %s", name);
	return 0;
}

int kvm_add_memory(const struct kvm *kvm, const struct kvm_slot *slots, size_t n,
		   struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct kvm_slot *s = &slots[i];
		struct kvm_userspace_memory_region region = {
			.slot = (uint32_t)i,
			.flags = s->readonly ? KVM_MEM_READONLY : 0,
			.guest_phys_addr = s->gpa,
			.memory_size = s->len,
			.userspace_addr = (uintptr_t)s->host,
		};

		if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
			return err_sys(err, -errno,
				       KVM_PATH ": cannot take %" PRIu64
						" KiB of memory at 0x%" PRIx64,
				       s->len >> 10, s->gpa);
	}
	return 0;
}

int kvm_ioeventfd(const struct kvm *kvm, enum dev_space space, uint64_t addr, int fd,
		  bool on)
{
	struct kvm_ioeventfd e = {
		.addr = addr,
		.fd = fd,
		.flags = (space == DEV_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &e) < 0 ? -errno : 0;
}

static void route_msi(struct kvm_irq_routing_entry *e, unsigned gsi, uint64_t addr,
		      uint32_t data)
{
	*e = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)addr,
			   .address_hi = (uint32_t)(addr >> 32),
			   .data = data },
	};
}

/* Put one route into the table, and the table into the kernel. */
static int route_set(struct kvm *kvm, unsigned gsi, uint64_t addr, uint32_t data)
{
	struct kvm_irq_routing *t = kvm->routes;
	unsigned i;

	for (i = 0; i < t->nr; i++)
		if (t->entries[i].gsi == gsi)
			break;
	if (i < t->nr && t->entries[i].u.msi.data == data &&
	    t->entries[i].u.msi.address_lo == (uint32_t)addr &&
	    t->entries[i].u.msi.address_hi == (uint32_t)(addr >> 32))
		return 0;
	route_msi(&t->entries[i], gsi, addr, data);
	if (i == t->nr)
		t->nr++;
	return ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, t) < 0 ? -errno : 0;
}

void kvm_route_pin(struct kvm *kvm, unsigned pin, uint64_t addr, uint32_t data)
{
	int r;

	AUTO_LOCK(&kvm->lock);
	r = route_set(kvm, pin, addr, data);
	if (r < 0)
		log_debug("kvm", "route of pin %u: error %d", pin, -r);
}

void kvm_keep_routes(struct kvm *kvm, const struct kvm_irq_routing_entry *routes,
		     unsigned n)
{
	assert(kvm->routes->nr == 0 && n <= 2 * kvm->n_pins);
	memcpy(kvm->routes->entries, routes, n * sizeof(*routes));
	kvm->routes->nr = n;
}

int kvm_msi_new(struct kvm *kvm, unsigned *ret_id, int *ret_fd, struct err *err)
{
	int fd;

	AUTO_LOCK(&kvm->lock);
	if (kvm->n_msis == KVM_MAX_MSIS)
		return err_set(err, -ENOSPC, "more than %u message interrupts",
			       KVM_MAX_MSIS);
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return err_sys(err, -errno, "message interrupt");
	kvm->msis[kvm->n_msis] = (struct kvm_msi_source){ .fd = fd };
	*ret_fd = fd;
	*ret_id = kvm->n_msis++;
	return 0;
}

/*
 * A masked source is disconnected: its eventfd counts, which is the pending
 * bit; on connection KVM looks at the counter and delivers what waited.
 */
static int msi_connect(const struct kvm *kvm, const struct kvm_msi_source *s,
		       unsigned gsi, bool on)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)s->fd,
		.gsi = gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};

	return ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int kvm_msi_set(struct kvm *kvm, unsigned id, uint64_t addr, uint32_t data, bool masked)
{
	unsigned gsi = kvm->n_pins + id;
	struct kvm_msi_source *s;
	int r;

	AUTO_LOCK(&kvm->lock);
	if (id >= kvm->n_msis)
		return -EINVAL;
	s = &kvm->msis[id];
	if (masked) {
		r = s->live ? msi_connect(kvm, s, gsi, false) : 0;
		s->live = false;
		return r;
	}
	r = route_set(kvm, gsi, addr, data);
	if (r < 0 || s->live)
		return r;
	r = msi_connect(kvm, s, gsi, true);
	s->live = r == 0;
	return r;
}

void kvm_signal_msi(const struct kvm *kvm, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)addr,
		.address_hi = (uint32_t)(addr >> 32),
		.data = data,
	};

	/* An address that reaches no CPU is the guest's affair. */
	(void)ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi);
}
