/*
 * What a device is, and what the machine lends it.
 *
 * A device is a file that defines one struct dev_class; devices/list.h and
 * virtio/list.h name the classes. create() runs before the process is jailed:
 * it opens what the configuration names and claims windows, and must not touch
 * guest memory, which is mapped later, nor make a thread or an io_uring, for the
 * process will fork. From then on the machine calls
 *   - prepare in the VM's own process, guest memory mapped, before it is jailed;
 *   - thread_start and thread_stop (DEV_THREAD) first and last on the thread that
 *     runs host->loop: the one before that thread is jailed, the other when its loop
 *     has ended;
 *   - read and write on vCPU threads, with dev->lock held, for accesses that
 *     lie within one window: @off is relative to it, @len is 1 to 8;
 *   - watches of host->loop on the thread that runs that loop, no lock held;
 *   - reset and free with no vCPU running.
 * A device never learns its absolute address, and a unit test lends it a fake
 * machine (tests/unit/fake_host.h).
 *
 * Lock order: dev->lock, then whatever the device has inside, then the
 * machine's own locks (which the functions below take).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/gmem.h"
#include "base/loop.h"
#include "base/opt.h"

struct device;
struct dev_host;
struct pci_func;
struct unix_name;

enum dev_space { DEV_PIO, DEV_MMIO };

/* How a VM can end; the exit status of each is in vmm/exit.h. */
enum vm_end {
	VM_END_NONE,
	VM_END_SHUTDOWN, /* the guest powered itself off */
	VM_END_REBOOT,
	VM_END_CRASH,
	VM_END_PANIC,
	VM_END_WATCHDOG,
	VM_END_TIMEOUT,
	VM_END_KILLED, /* the host ended it without asking the guest */
	VM_END_DEBUG_EXIT, /* detail: the value written, 0 to 63 */
	VM_END_BOOTLOADER, /* firmware refused to boot; detail: why, see vmm/failure.h
			    */
	VM_END_ERROR, /* the machine itself failed */
};

/* What stands still on the host's demand. */
enum dev_pause {
	DEV_RUNS,
	DEV_STILL, /* the guest: time is not to be held against it */
	DEV_SUSPENDED, /* the device, too */
};

enum {
	DEV_ALWAYS = 1 << 0, /* one instance in every machine, no option */
	DEV_DEFAULT = 1 << 1, /* one instance unless --no-NAME */
	DEV_REPEAT = 1 << 2, /* --NAME may be given several times */
	DEV_BARE = 1 << 3, /* --NAME may be given without a value */
	DEV_THREAD = 1 << 4, /* host->loop runs on a thread of the device's own */
};

struct dev_class {
	const char *name; /* as on the command line: --name key=value,... */
	const char *help; /* one sentence */
	unsigned flags;
	const struct opt *opts; /* NULL: no configuration */
	size_t cfg_size;

	/*
	 * What @opts cannot say of a configuration: -EINVAL for one that makes no
	 * sense, with a sentence. Opens nothing. NULL: nothing more.
	 */
	int (*check)(const void *cfg, struct err *err);

	/*
	 * Make a device. @cfg outlives it. Errors: -errno and a sentence that
	 * names the object; nothing is left behind.
	 */
	int (*create)(const void *cfg, const struct dev_host *host,
		      struct device **ret_dev, struct err *err);

	/* NULL: nothing to do. Errors: as create(). */
	int (*prepare)(struct device *dev, struct err *err);
	int (*thread_start)(struct device *dev, struct err *err);
	void (*thread_stop)(struct device *dev);

	/* NULL: reads give all ones (zeroed for the device), writes vanish. */
	void (*read)(struct device *dev, unsigned win, uint64_t off, void *buf,
		     size_t len);
	void (*write)(struct device *dev, unsigned win, uint64_t off, const void *buf,
		      size_t len);
	void (*reset)(struct device *dev); /* NULL: nothing to reset */
	/*
	 * From now on @how; NULL: nothing to do. With DEV_SUSPENDED nothing is in
	 * flight when this returns, nothing new is begun, and guest memory is not
	 * written to. Main thread, no vCPU running, no lock held.
	 */
	void (*pause)(struct device *dev, enum dev_pause how);
	void (*free)(struct device *dev); /* takes half-built devices; not NULL */
};

/* Embedded as the first member of every device. */
struct device {
	const struct dev_class *class;
	const struct dev_host *host;
	pthread_mutex_t lock;
};

/* Fill the embedded part; done first in create(). */
void device_init(struct device *dev, const struct dev_class *class,
		 const struct dev_host *host);

/*
 * The machine as one device sees it. Every function may be called by any
 * thread, with dev->lock held or not.
 */
struct dev_host_ops {
	/*
	 * Claim [base, base + len) for window @win of @dev. -EEXIST when it
	 * overlaps another window; -ERANGE outside of what devices may have.
	 */
	int (*map)(void *ctx, struct device *dev, unsigned win, enum dev_space space,
		   uint64_t base, uint64_t len);
	void (*unmap)(void *ctx, struct device *dev, unsigned win);

	/*
	 * Signal @fd in the kernel instead of calling write() for any write that
	 * starts at @off of a mapped window (@on), or stop that. -errno where
	 * the host has no such thing: then write() sees them.
	 */
	int (*notify)(void *ctx, struct device *dev, unsigned win, uint64_t off, int fd,
		      bool on);

	/* Drive a wire of the interrupt controller; each device has its own wire. */
	void (*irq)(void *ctx, unsigned gsi, bool level);

	/*
	 * A message-signalled interrupt source: signalling the returned eventfd
	 * (owned by the machine) sends what msi_set() told last. While masked,
	 * signals wait in the eventfd: a poll() shows the pending bit.
	 */
	int (*msi_new)(void *ctx, unsigned *ret_id, int *ret_fd, struct err *err);
	int (*msi_set)(void *ctx, unsigned id, uint64_t addr, uint32_t data,
		       bool masked);

	/* Put a function on PCI bus 0, in the next free slot. */
	int (*pci_add)(void *ctx, struct pci_func *func, struct err *err);

	/*
	 * Before the process is jailed: somebody outside who will connect to the Unix
	 * sockets PREFIX_PORT, by the protocol of base/connector.h over *@ret_fd,
	 * and, however the VM ends, removes @made, whose owner the machine becomes.
	 */
	int (*connector)(void *ctx, const char *prefix, struct unix_name *made,
			 int *ret_fd, struct err *err);

	/*
	 * The guest has panicked: whatever else it does, the VM ends by VM_END_PANIC,
	 * and soon unless the guest @handles that itself.
	 */
	void (*panicked)(void *ctx, bool handles);

	/* End the VM; the first call counts. @detail as the reason says, or 0. */
	void (*end)(void *ctx, enum vm_end end, unsigned detail);
};

struct dev_host {
	const struct dev_host_ops *ops;
	void *ctx;
	const struct gmem *mem; /* empty until the guest is loaded */
	struct loop *loop;
	const char *name; /* of this instance, for messages: "blk0" */
};
