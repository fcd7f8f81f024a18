/* The tables of "vmm run", which parse its options and print its help; see config.h. */
#include "devices/chardev.h"
#include "devices/debugcon.h"
#include "devices/list.h"
#include "virtio/list.h"
#include "vmm/config.h"

/* 64 TiB in MiB: a process of 47 bits of address always has such a gap. */
#define MAX_MEMORY (1ull << 26)

static const struct opt cpus_opts[] = {
	{ .key = "num-cores",
	  .type = OPT_U64,
	  .flags = OPT_FIRST,
	  .min = 1,
	  .max = 64,
	  .def = 1,
	  .arg = "N",
	  .help = "how many" },
	{ 0 },
};

static const struct opt mem_opts[] = {
	{ .key = "size",
	  .type = OPT_U64,
	  .flags = OPT_FIRST,
	  .min = 1,
	  .max = MAX_MEMORY,
	  .def = 256,
	  .arg = "MIB",
	  .help = "how much" },
	{ .key = "hugetlb",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct config, mem.hugetlb) - offsetof(struct config, mem),
	  .help = "take it, all of it at once, from the host's pool of 2 MiB pages" },
	{ 0 },
};

static const struct opt bios_key_opts[] = {
	{ .key = "path",
	  .type = OPT_STR,
	  .flags = OPT_FIRST,
	  .offset = offsetof(struct bios_key_cfg, path),
	  .arg = "FILE",
	  .help = "a public key, as avbtool extract_public_key writes it" },
	{ .key = "rollback-index",
	  .type = OPT_U64,
	  .offset = offsetof(struct bios_key_cfg, rollback_index),
	  .arg = "N",
	  .help = "the least that may boot" },
	{ .key = "rollback-indices",
	  .type = OPT_STR,
	  .offset = offsetof(struct bios_key_cfg, rollback_indices),
	  .arg = "[N,...]",
	  .help = "the same of chained images, by location from 1 on" },
	{ .key = "unlocked",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct bios_key_cfg, unlocked),
	  .help = "boot what does not verify, too, and tell the guest" },
	{ 0 },
};

const struct opt config_opts[] = {
	{ .key = "config",
	  .type = OPT_STR,
	  .arg = "FILE",
	  .offset = offsetof(struct config, config_file),
	  .help = "take options from a JSON file; those of the command line go before them" },
	{ .key = "initrd",
	  .letter = 'i',
	  .type = OPT_STR,
	  .arg = "FILE",
	  .offset = offsetof(struct config, initrd),
	  .help = "initial RAM disk" },
	{ .key = "bios",
	  .type = OPT_STR,
	  .arg = "FILE",
	  .offset = offsetof(struct config, bios),
	  .help = "firmware to start instead of a kernel: a flat image that ends at 4 GiB" },
	{ .key = "bios-key",
	  .type = OPT_GROUP,
	  .sub = bios_key_opts,
	  .arg = "FILE",
	  .offset = offsetof(struct config, bios_key),
	  .help = "whom a verifying bootloader may trust" },
	{ .key = "firmware-compat",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, firmware_compat),
	  .help = "what PC firmware such as SeaBIOS needs; it boots from the disks" },
	{ .key = "params",
	  .letter = 'p',
	  .type = OPT_LIST,
	  .arg = "TEXT",
	  .offset = offsetof(struct config, params),
	  .help = "add to the kernel command line; may be repeated" },
	{ .key = "cpus",
	  .letter = 'c',
	  .type = OPT_GROUP,
	  .sub = cpus_opts,
	  .arg = "N",
	  .offset = offsetof(struct config, cpus),
	  .help = "virtual CPUs, 1 to 64" },
	{ .key = "host-cpu-topology",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, host_cpu_topology),
	  .help = "as many virtual CPUs as the host has" },
	{ .key = "boost-uclamp",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, boost_uclamp),
	  .help = "ask the host's scheduler to take the VM for a heavy load" },
	{ .key = "core-scheduling",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct config, core_scheduling),
	  .arg = "BOOL",
	  .help = "share no core of the host with other programs" },
	{ .key = "mem",
	  .letter = 'm',
	  .type = OPT_GROUP,
	  .sub = mem_opts,
	  .arg = "MIB",
	  .offset = offsetof(struct config, mem),
	  .help = "memory in MiB; taken from the host as the guest touches it" },
	{ .key = "init-mem",
	  .type = OPT_U64,
	  .min = 1,
	  .max = MAX_MEMORY,
	  .arg = "MIB",
	  .offset = offsetof(struct config, init_mem),
	  .help = "start with the balloon so large that the guest has that much memory" },
	{ .key = "balloon-page-reporting",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, balloon_page_reporting),
	  .help = "let the guest give back the memory that it does not use" },
	{ .key = "hugepages",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, hugepages),
	  .help = "ask the host for transparent huge pages" },
	{ .key = "lock-guest-memory",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, lock_guest_memory),
	  .help = "keep the guest's memory out of swap" },
	{ .key = "name",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, name),
	  .arg = "NAME",
	  .help = "the VM's name, shown in messages" },
	{ .key = "log-level",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, log_filter),
	  .arg = "LEVEL",
	  .help = "how much to say on stderr: off, error, warn, info (as without it) or debug" },
	{ .key = "escape",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, escape),
	  .arg = "^KEY|none",
	  .help = "the key before the x that leaves the guest's terminal (without it, ^A)" },
	{ .key = "timeout",
	  .type = OPT_U64,
	  .min = 1,
	  .max = 1ull << 32,
	  .offset = offsetof(struct config, timeout),
	  .arg = "SECONDS",
	  .help = "end the VM after that time, with status 37" },
	{ .key = "status-fd",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, status_fd),
	  .arg = "N|PATH",
	  .help = "write there, as a line of JSON, how the VM ended: a descriptor or a file" },
	{ .key = "socket",
	  .letter = 's',
	  .type = OPT_STR,
	  .offset = offsetof(struct config, socket),
	  .arg = "PATH",
	  .help = "take commands (vmm stop, suspend, status...) at that unix socket; in a directory: vmm-PID.sock" },
	{ .key = "suspended",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, suspended),
	  .help = "do not start before vmm resume says so" },
	{ .key = "disable-sandbox",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, disable_sandbox),
	  .help = "run without namespaces, Landlock and seccomp" },
	{ .key = "require-sandbox",
	  .type = OPT_BOOL,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct config, require_sandbox),
	  .help = "fail when the host forbids namespaces or lacks Landlock" },
	{ .key = "gdb",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, gdb),
	  .arg = "PORT|PATH",
	  .help = "wait for gdb on a loopback port or a unix socket, and let it run the guest" },
	{ .key = "keep-fd",
	  .type = OPT_LIST,
	  .arg = "N",
	  .offset = offsetof(struct config, keep_fds),
	  .help = "keep that inherited descriptor open as long as a process of the VM is there; may be repeated" },
	{ .key = "dump-on-panic",
	  .type = OPT_STR,
	  .offset = offsetof(struct config, dump_on_panic),
	  .arg = "FILE",
	  .help = "when the guest panics, write its memory there as an ELF core" },
	{ 0 },
};

static const char *const serial_types[] = { [CHARDEV_SINK] = "sink",
					    [CHARDEV_STDOUT] = "stdout",
					    [CHARDEV_FILE] = "file",
					    [CHARDEV_UNIX] = "unix",
					    [CHARDEV_UNIX_STREAM] = "unix-stream",
					    NULL };
const char *const config_serial_hardware[] = { [SERIAL_UART] = "serial",
					       [SERIAL_VIRTIO] = "virtio-console",
					       [SERIAL_DEBUGCON] = "debugcon",
					       NULL };

static const struct opt serial_opts[] = {
	{ .key = "type",
	  .type = OPT_ENUM,
	  .flags = OPT_FIRST,
	  .names = serial_types,
	  .def = CHARDEV_STDOUT,
	  .offset = offsetof(struct serial_cfg, type),
	  .arg = "TYPE",
	  .help = "where output goes" },
	{ .key = "hardware",
	  .type = OPT_ENUM,
	  .names = config_serial_hardware,
	  .def = SERIAL_UART,
	  .offset = offsetof(struct serial_cfg, hardware),
	  .arg = "KIND",
	  .help = "the device: a 16550A UART, hvc0 and up, or a port that firmware prints on" },
	{ .key = "num",
	  .type = OPT_U64,
	  .min = 1,
	  .max = 4,
	  .def = 1,
	  .offset = offsetof(struct serial_cfg, num),
	  .arg = "N",
	  .help = "which of its kind: 1 is ttyS0, or hvc0" },
	{ .key = "path",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, path),
	  .arg = "FILE",
	  .help = "a file to append to, created when missing, or the socket to connect to" },
	{ .key = "input",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, input),
	  .arg = "FILE",
	  .help = "read input from a file" },
	{ .key = "stdin",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, use_stdin),
	  .help = "read input from stdin" },
	{ .key = "input-unix-stream",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, input_stream),
	  .help = "read input from the socket of type=unix-stream" },
	{ .key = "console",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, console),
	  .help = "make it a console of the guest's kernel" },
	{ .key = "earlycon",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, earlycon),
	  .help = "let the kernel use it before its drivers run; UARTs only" },
	{ .key = "out-timestamp",
	  .type = OPT_BOOL,
	  .offset = offsetof(struct serial_cfg, timestamp),
	  .help = "put date and time (UTC) before each line of output" },
	{ .key = "debugcon-port",
	  .type = OPT_U64,
	  .flags = OPT_HEX,
	  .max = 0xffff,
	  .def = DEBUGCON_PORT,
	  .offset = offsetof(struct serial_cfg, debugcon_port),
	  .arg = "PORT",
	  .help = "the I/O port of a debugcon" },
	{ .key = "max-queue-sizes",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, queue_sizes),
	  .arg = "[IN,OUT]",
	  .help = "the largest queues of a virtio-console, powers of two up to 256" },
	{ .key = "name",
	  .type = OPT_STR,
	  .offset = offsetof(struct serial_cfg, name),
	  .arg = "NAME",
	  .help = "its name in messages" },
	{ 0 },
};

const struct dev_class serial_option = {
	.name = "serial",
	.help = "a serial port or console; ttyS0 on stdin and stdout when none is a console",
	.flags = DEV_REPEAT,
	.opts = serial_opts,
	.cfg_size = sizeof(struct serial_cfg),
};

#define DEVICE_CLASS(c) &c,
const struct dev_class *const config_classes[] = {
	&serial_option,
/* This one first, for its slots are. */
#include "virtio/list.h"
#include "devices/list.h"
	NULL,
};
#undef DEVICE_CLASS

bool config_class_has_option(const struct dev_class *class)
{
	return class->opts || (class->flags & (DEV_DEFAULT | DEV_BARE));
}

void config_help(FILE *out)
{
	fprintf(out,
		"Usage: vmm run [OPTION]... KERNEL\n"
		"       vmm run [OPTION]... --bios FILE\n"
		"Boot KERNEL, a bzImage, an ELF vmlinux or a Multiboot kernel, in a VM.\n\n"
		"A file may be given as /proc/self/fd/N: the descriptor N that vmm inherits.\n\n");
	opt_help_options(config_opts, out, 2);
	for (size_t i = 0; config_classes[i]; i++) {
		const struct dev_class *c = config_classes[i];

		if (!config_class_has_option(c))
			continue;
		fprintf(out, "\n  --%s%s", c->flags & DEV_DEFAULT ? "no-" : "",
			c->name);
		if (c->opts && (c->flags & DEV_BARE))
			fprintf(out, "[=KEY=VALUE,...]");
		else if (c->opts && (c->opts->flags & OPT_FIRST))
			fprintf(out, " %s[,KEY=VALUE]...", c->opts->arg ?: "TYPE");
		else if (c->opts)
			fprintf(out, " KEY=VALUE,...");
		fprintf(out, "\n      %s%s\n", c->flags & DEV_DEFAULT ? "without " : "",
			c->help);
		if (c->flags & DEV_REPEAT)
			fprintf(out, "      may be repeated\n");
		if (c->opts)
			opt_help(c->opts, out, 6);
	}
	fprintf(out,
		"\n  -r, --root, --rwroot, -d, --disk, --rwdisk PATH[,KEY=VALUE]...\n"
		"      as --block, with ro and root as their names say\n");
	fprintf(out,
		"\nExit status: 0 the guest powered off (or vmm was told to stop), 1 error,\n"
		"32 reset, 33 crash, 34 panic, 35 bad arguments, 36 watchdog, 37 time limit,\n"
		"64 + N debug exit.\n");
}
