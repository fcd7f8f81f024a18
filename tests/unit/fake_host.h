/*
 * A machine for unit tests: it lends a device guest memory, a loop, windows,
 * interrupts and a PCI bus with its host bridge (so the first function added is
 * in slot 1), and records what the device did with them.
 */
#pragma once

#include "base/unix.h"
#include "devices/device.h"
#include "devices/pci.h"

#define FAKE_MAX_WINDOWS 64
#define FAKE_MAX_MSIS 128
#define FAKE_MAX_NOTIFIES 64
#define FAKE_GSIS 24

struct fake_window {
	struct device *dev;
	unsigned win;
	enum dev_space space;
	uint64_t base, len;
};

struct fake_msi {
	int fd;
	uint64_t addr;
	uint32_t data;
	bool masked;
};

struct fake_notify {
	struct device *dev;
	unsigned win;
	uint64_t off;
	int fd;
};

struct fake_host {
	struct dev_host host; /* lend &fake.host */
	struct gmem mem;
	struct pci_bus bus;
	struct fake_window windows[FAKE_MAX_WINDOWS]; /* dev NULL: free */
	struct fake_msi msis[FAKE_MAX_MSIS];
	unsigned n_msis;
	struct fake_notify notifies[FAKE_MAX_NOTIFIES]; /* dev NULL: free */
	bool level[FAKE_GSIS]; /* of each wire now */
	unsigned rises[FAKE_GSIS]; /* how often it rose */
	unsigned panics, handled; /* calls of panicked(), and those that handle it */
	enum vm_end end;
	unsigned end_detail;
	/*
	 * The connector's other end, answered on the loop: by @dial, which returns a
	 * socket to hand over or -errno, or by connecting when it is NULL.
	 */
	int connector; /* -1: none */
	struct unix_name made;
	struct loop_watch *dialling;
	char prefix[128];
	int (*dial)(void *arg, uint32_t port);
	void *dial_arg;
	bool no_notify; /* refuse notify(), as hosts without ioeventfds do */
	struct pci_host_cfg bridge_cfg;
	struct device *bridge;
	uint64_t next_alloc; /* of fake_alloc() */
	pthread_mutex_t lock; /* of the tables above, which device threads use too */
};

/* @mem_size bytes of RAM from guest address 0; 0: none. Asserts on failure. */
void fake_host_init(struct fake_host *f, const char *name, uint64_t mem_size);
void fake_host_free(struct fake_host *f);

/*
 * A guest access: finds the window, takes the device's lock and calls it, or
 * signals a notify fd as the kernel would. Unclaimed reads give all ones.
 */
uint64_t fake_in(struct fake_host *f, enum dev_space space, uint64_t addr, size_t len);
void fake_out(struct fake_host *f, enum dev_space space, uint64_t addr, uint64_t value,
	      size_t len);

/* Run the loop's callbacks until nothing is ready. */
void fake_run(struct fake_host *f);

/*
 * Guest RAM for a driver's rings and buffers: zeroed, never given back, from
 * address 0x10000 up. Asserts when there is none left.
 */
gpa_t fake_alloc(struct fake_host *f, uint64_t len, uint64_t align);

/* The host address of guest RAM; asserts that it is RAM. */
void *fake_ptr(struct fake_host *f, gpa_t gpa, uint64_t len);

/* How many interrupts an unmasked MSI source has sent since last asked. */
unsigned fake_msi_count(struct fake_host *f, unsigned id);
