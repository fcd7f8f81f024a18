/*
 * What a VM is made of: the command line of "vmm run" as a struct.
 *
 * config_parse() checks grammar and ranges only; nothing is opened. The tables
 * that parse also print the help. A device class brings its own option.
 */
#pragma once

#include <stdio.h>

#include "base/log.h"
#include "base/opt.h"
#include "boot/boot.h"
#include "devices/device.h"

enum serial_hardware { SERIAL_UART, SERIAL_VIRTIO, SERIAL_DEBUGCON };

struct serial_cfg {
	int type; /* enum chardev_type */
	int hardware; /* enum serial_hardware */
	uint64_t num; /* from 1 */
	char *path, *input, *name, *queue_sizes;
	bool use_stdin, input_stream, console, earlycon, timestamp;
	uint64_t debugcon_port;
};

/* The option --serial, which makes UARTs and virtio consoles. */
extern const struct dev_class serial_option;

struct virtio_blk_cfg;

struct config_device {
	const struct dev_class *class;
	void *cfg; /* as its class says; NULL: it has none */
};

struct bios_key_cfg {
	char *path, *rollback_indices;
	uint64_t rollback_index;
	bool unlocked;
};

struct config {
	char *kernel, *initrd, *bios, *name; /* kernel or bios */
	char *status_fd, *socket, *config_file;
	struct bios_key_cfg bios_key;
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
	char *log_filter; /* NULL: not given */
	enum log_level log_level; /* that it asks for */
	char *escape;
	uint8_t escape_key; /* a control character; 0: none */
	uint64_t timeout; /* seconds; 0: none */
	bool suspended, disable_sandbox, require_sandbox;
	bool host_cpu_topology, boost_uclamp, core_scheduling;
	bool firmware_compat; /* a PC for firmware */
	char *gdb, *dump_on_panic;
	uint16_t gdb_port; /* 0: gdb is a path, or NULL */
	struct opt_list keep_fds; /* decimal numbers */

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
 * help was asked for; another error when the file of --config cannot be read. Even
 * then, and after an error, @cfg->status_fd is set if it was given.
 */
int config_parse(struct config *cfg, char **args, struct err *err);

/* The same from the text of such a file alone; @what: its name in messages. */
int config_parse_json(struct config *cfg, const char *what, const char *text,
		      size_t len, struct err *err);
void config_free(struct config *cfg);

void config_help(FILE *out);

/* Each port once, stdin once; without a console ttyS0 becomes one. -EINVAL. */
int config_finish_serials(struct config *cfg, struct err *err);

/* Queue sizes [in,out] of a virtio-console; 0 where none is given. -EINVAL. */
int config_queue_sizes(const struct serial_cfg *s, uint16_t sizes[2], struct err *err);

/* The least rollback indices of locations 1 on; 0 where none is given. -EINVAL. */
int config_rollback_indices(const struct bios_key_cfg *c,
			    uint64_t ret_indices[BOOT_MAX_CHAINED], struct err *err);

/* The place of a class in the order of making. */
size_t config_rank(const struct dev_class *class);

size_t config_count(const struct config *cfg, const struct dev_class *class);

/* Add an instance with its defaults, behind those of the same or earlier classes. */
struct config_device *config_add_device(struct config *cfg,
					const struct dev_class *class, struct err *err);
void config_drop_devices(struct config *cfg, const struct dev_class *class);

/* A disk with root, behind @skip others of them; @ret_n: its place. NULL: none. */
const struct virtio_blk_cfg *config_root_disk(const struct config *cfg, unsigned skip,
					      unsigned *ret_n);

/*
 * Which options go together, and what their words mean: -EINVAL. @cpus_given: whether
 * somebody has chosen the number of CPUs.
 */
int config_check_options(struct config *cfg, bool cpus_given, struct err *err);

/* The same of devices, when there are all of them. */
int config_check_devices(const struct config *cfg, struct err *err);

/* Whether crosvm has this option, and vmm neither has nor can ignore it. */
bool config_is_refused(const char *name, size_t len);

/* The kernel's command line; the caller frees it. */
int config_cmdline(const struct config *cfg, char **ret_cmdline, struct err *err);
