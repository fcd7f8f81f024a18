/*
 * One VM of the host's KVM: memory slots, interrupts, ioeventfds.
 *
 * /dev/kvm is opened before the process forks; everything else is made in the
 * process that runs the VM, because KVM serves only the one that created it.
 * Everything but creation may be called by any thread. Nothing here asks the
 * CPU what it is: whether KVM works is KVM's to say.
 * Linux Documentation/virt/kvm/api.rst.
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/gmem.h"
#include "devices/device.h"

#define KVM_MAX_MSIS 1024 /* message interrupts in one VM */

struct kvm_msi_source {
	int fd;
	bool live; /* connected: the eventfd reaches the guest */
};

struct kvm {
	int dev_fd; /* /dev/kvm; -1 */
	int vm_fd; /* -1 */
	size_t run_size; /* bytes of a vCPU's shared page */
	unsigned n_pins; /* GSIs below this are the interrupt controller's */

	pthread_mutex_t lock; /* all below */
	struct kvm_irq_routing *routes; /* as last told to the kernel */
	unsigned n_msis;
	struct kvm_msi_source *msis;
};

/* Open /dev/kvm and check that it speaks our API. */
int kvm_open(struct kvm *kvm, struct err *err);

/* Create the VM; @n_pins of its GSIs belong to an interrupt controller. */
int kvm_create(struct kvm *kvm, unsigned n_pins, struct err *err);
void kvm_close(struct kvm *kvm);

/* The value of a capability of this VM; 0: it is not there. */
int kvm_cap(const struct kvm *kvm, int cap);
int kvm_enable_cap(const struct kvm *kvm, int cap, uint64_t arg, const char *name,
		   struct err *err);

struct kvm_slot {
	uint64_t gpa, len; /* page-aligned */
	void *host;
	bool readonly; /* writes of the guest go to the bus */
};

/* Show memory to the VM; once. */
int kvm_add_memory(const struct kvm *kvm, const struct kvm_slot *slots, size_t n,
		   struct err *err);

/*
 * Signal @fd instead of exiting for a write of any length at @addr, which KVM
 * matches by the address alone; or stop that. -errno.
 */
int kvm_ioeventfd(const struct kvm *kvm, enum dev_space space, uint64_t addr, int fd,
		  bool on);

/* The calls behind dev_host_ops.msi_new and msi_set. */
int kvm_msi_new(struct kvm *kvm, unsigned *ret_id, int *ret_fd, struct err *err);
int kvm_msi_set(struct kvm *kvm, unsigned id, uint64_t addr, uint32_t data,
		bool masked);

/*
 * All of the interrupt controller is KVM's own, whose @routes (at most twice as many
 * as pins) hold beside those of messages. Before any vCPU.
 */
void kvm_keep_routes(struct kvm *kvm, const struct kvm_irq_routing_entry *routes,
		     unsigned n);

/* Send one message interrupt now. */
void kvm_signal_msi(const struct kvm *kvm, uint64_t addr, uint32_t data);

/*
 * Tell KVM which message pin @pin of the interrupt controller sends, so that
 * it reports the end of such interrupts (level-triggered ones).
 */
void kvm_route_pin(struct kvm *kvm, unsigned pin, uint64_t addr, uint32_t data);
