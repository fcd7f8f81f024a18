/*
 * What a VM is made of: the command line of "vmm run" as a struct.
 *
 * config_parse() checks grammar and ranges only; nothing is opened. The tables
 * that parse also print the help. A device class brings its own option.
 */
#pragma once

#include <stdio.h>

#include "base/opt.h"
#include "devices/device.h"

enum serial_hardware { SERIAL_UART, SERIAL_VIRTIO };

struct serial_cfg {
	int type; /* enum chardev_type */
	int hardware; /* enum serial_hardware */
	uint64_t num; /* from 1 */
	char *path, *input, *name;
	bool use_stdin, console, earlycon;
};

/* The option --serial, which makes UARTs and virtio consoles. */
extern const struct dev_class serial_option;

struct config_device {
	const struct dev_class *class;
	void *cfg; /* as its class says; NULL: it has none */
};

struct config {
	char *kernel, *initrd, *name, *socket, *status_fd;
	struct opt_list params;
	struct {
		uint64_t num_cores;
	} cpus;
	struct {
		uint64_t size; /* MiB */
		bool hugetlb; /* from the host's pool of huge pages */
	} mem;
	uint64_t init_mem; /* MiB outside of the balloon at the start; 0: all */
	bool balloon_page_reporting, hugepages, lock_guest_memory;
	int log_level;
	uint64_t timeout; /* seconds; 0: none */
	bool suspended, disable_sandbox, require_sandbox;
	char *gdb, *dump_on_panic;

	/* In the order of config_classes, then of the command line. */
	size_t n_devices;
	struct config_device *devices;
};

/* All classes in the order in which their devices are made; ended by NULL. */
extern const struct dev_class *const config_classes[];

/* Whether --NAME (or --no-NAME) exists for a class. */
bool config_class_has_option(const struct dev_class *class);

/* The options that belong to no device, into struct config. */
extern const struct opt config_opts[];

/* The words of enum serial_hardware. */
extern const char *const config_serial_hardware[];

/*
 * @args: the arguments after "run", ended by NULL. -EINVAL, or -ECANCELED when
 * help was asked for. Even then, and after an error, @cfg->status_fd is set if it was
 * given.
 */
int config_parse(struct config *cfg, char **args, struct err *err);
void config_free(struct config *cfg);

void config_help(FILE *out);

/* The kernel's command line; the caller frees it. */
int config_cmdline(const struct config *cfg, char **ret_cmdline, struct err *err);
