/*
 * What a VM is to be: the configuration as a struct, and as it travels (a{sv}).
 *
 * One table has every key; the JSON configuration, the D-Bus dictionary and the
 * messages use it, so all of them know the same keys by the same names. A key of AVF's
 * that this host cannot honour is in the table, too: it is refused by name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/err.h"

#define CONFIG_MAX_DISKS 64 /* more than there are PCI slots: vmm has the last word */
#define CONFIG_MAX_PARTITIONS 128
#define CONFIG_INSTANCE_ID_LEN 64

enum { CPUS_UNSET, CPUS_ONE, CPUS_MATCH_HOST };
enum { VSOCK_AUTO, VSOCK_VHOST, VSOCK_UNIX, VSOCK_NONE };
enum { CONSOLE_HVC0, CONSOLE_TTYS0 };

struct config_partition {
	char *label, *guid; /* guid: NULL for a random one */
	int image; /* fd, or -1 */
	bool writable;
};

struct config_disk {
	int image; /* fd; -1: made of partitions */
	struct config_partition *partitions;
	size_t n_partitions;
	bool writable;
};

struct vm_config {
	char *name, *params, *platform_version;
	uint8_t instance_id[CONFIG_INSTANCE_ID_LEN];
	bool has_instance_id;
	int kernel, initrd, bootloader, bios_key; /* fds, or -1, as all that follow */
	int console_out, console_in, log, tap, ramdump;
	struct config_disk *disks;
	size_t n_disks;
	uint64_t memory_mib, swiotlb_mib; /* 0: the default, 256 and none */
	uint64_t cpu_count; /* 0: as cpu_topology says */
	int cpu_topology; /* CPUS_* */
	int vsock; /* VSOCK_* */
	int console_input_device; /* CONSOLE_* */
	uint64_t gdb_port; /* 0: off */
	uint64_t timeout_s, start_timeout_s; /* 0: none */
	uint64_t cpu_percent; /* of one CPU of the host; 0: no limit */
	uint64_t memory_max_mib; /* of the host, for all of the VM; 0: no limit */
	bool protected, balloon, hugepages, boost_uclamp, watchdog;
};

enum config_kind {
	CONFIG_STRING, /* char * */
	CONFIG_BOOL, /* bool */
	CONFIG_U64, /* uint64_t, travels as t; min to max */
	CONFIG_ENUM, /* int, travels as its word */
	CONFIG_FILE, /* int */
	CONFIG_ID, /* instance_id and has_instance_id; 128 hexadecimal digits in JSON */
	CONFIG_DISKS, /* disks and n_disks */
	CONFIG_UNSUPPORTED, /* no field: why, in help; what asks for nothing is let pass
			     */
	CONFIG_LAUNCHER, /* no field: what AVF's launcher apps keep in the same file */
};

enum {
	CONFIG_NO_JSON = 1 << 0, /* not a key of the file: vm's options, or a program */
	CONFIG_NEEDED = 1 << 1, /* in the file */
	CONFIG_LAUNCHERS = 1 << 2, /* in the file it is as CONFIG_LAUNCHER */
	CONFIG_STREAM = 1 << 3, /* a file that cannot be passed ahead of the message */
};

struct config_key {
	const char *key;
	enum config_kind kind;
	unsigned flags;
	size_t offset;
	uint64_t min, max;
	const char *const *words; /* CONFIG_ENUM, in the order of its numbers */
	const char *help; /* a sentence without a full stop */
};

/* Ended by a row without a key. Disks and partitions have tables of their own. */
extern const struct config_key vm_config_keys[], vm_config_disk_keys[],
	vm_config_partition_keys[];

const struct config_key *vm_config_find(const struct config_key *table,
					const char *key);
/* The key of @table that @key was probably meant to be, or NULL. */
const char *vm_config_nearest(const struct config_key *table, const char *key);

void vm_config_init(struct vm_config *c); /* the defaults */
void vm_config_free(struct vm_config *c); /* closes the fds; may be called twice */

/*
 * What no single key shows: a kernel or a bootloader, image or partitions, labels,
 * version... Each fault is told to @fault with the path of its key
 * ("disks[1].partitions[0].label"). Returns how many there were.
 */
typedef void vm_config_fault_fn(void *arg, const char *path, const char *sentence);
unsigned vm_config_check(const struct vm_config *c, vm_config_fault_fn *fault,
			 void *arg);

/* Put "@key[@index]." before a sentence that begins with the path of a key in it;
 * returns
 * @code. */
int vm_config_within(struct err *err, int code, const char *key, size_t index);

/*
 * The files that may be passed ahead of a message, in its order; how many there are. It
 * carries the others, CONFIG_MAX_STREAMS at most, in any case.
 */
#define CONFIG_MAX_STREAMS 4
size_t vm_config_files(const struct vm_config *c, int *fds, size_t max);

/*
 * Append @c as an a{sv}. @first_index -1: its files are h, of which a message carries
 * 253; else those of vm_config_files() were passed before, and are u, from that index
 * on, in that order.
 */
int vm_config_append(sd_bus_message *m, const struct vm_config *c, int64_t first_index);

/* Files that came before the message. */
struct config_store {
	int *fds;
	size_t n;
};

/*
 * Read an a{sv} into @c, which vm_config_init() has filled. Nothing of it is trusted.
 * Files are duplicated, and taken from @store, where -1 stays. -EBADMSG, -ENOTSUP (a
 * key that this host cannot honour), -EMFILE..., with a sentence that starts with the
 * key's path.
 */
int vm_config_read(sd_bus_message *m, struct config_store *store, struct vm_config *c,
		   struct err *err);
