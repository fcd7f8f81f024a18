/*
 * The machine as its devices see it: the implementation of struct dev_host.
 * One struct host_device for each device, which holds its wires and notifies.
 */
#pragma once

#include "devices/pci.h"
#include "vmm/arch.h"
#include "vmm/broker.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"

struct machine;

#define HOST_MAX_NOTIFIES 64

/* What all devices of a machine share. */
struct host {
	struct bus pio, mmio;
	struct pci_bus pci;
	struct kvm kvm;
	struct arch *arch;
	struct gmem mem;
	struct machine *machine;
	struct broker broker;
};

struct host_notify {
	unsigned win;
	uint64_t off;
	uint64_t addr; /* where KVM was told to look */
	enum dev_space space;
	int fd; /* -1: free */
};

struct host_device {
	struct host *host;
	struct device *dev; /* NULL until made */
	struct dev_host lent; /* what the device sees */
	char name[32];
	uint64_t wires; /* atomic: the interrupt wires that it drives high */
	struct loop *own_loop; /* DEV_THREAD */
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* notifies; before kvm.lock */
	struct host_notify notifies[HOST_MAX_NOTIFIES];
};

/* Prepare @d to lend the machine to a device named @name that runs on @loop. */
void host_device_init(struct host_device *d, struct host *host, struct loop *loop,
		      const char *name);
