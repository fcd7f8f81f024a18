/* The keys of a VM's configuration; see vm_config.h. */
#include "service/common/vm_config.h"

#define FIELD(f) .offset = offsetof(struct vm_config, f)

static const char *const topology_words[] = { "", "one_cpu", "match_host", NULL };
static const char *const vsock_words[] = { "auto", "vhost", "unix", "none", NULL };
static const char *const console_words[] = { "hvc0", "ttyS0", NULL };

#define NO_DEVICE(k, what)                                     \
	{                                                      \
		.key = k, .kind = CONFIG_UNSUPPORTED,          \
		.help = "there is no " what " for guests here" \
	}
#define LAUNCHERS_ONLY "is for AVF's launcher apps, and is not looked at"
#define LAUNCHER(k)                                                       \
	{                                                                 \
		.key = k, .kind = CONFIG_LAUNCHER, .help = LAUNCHERS_ONLY \
	}

const struct config_key vm_config_keys[] = {
	{ "name", CONFIG_STRING, 0, FIELD(name), .help = "the VM's name" },
	{ "instance_id", CONFIG_ID, 0, .help = "64 bytes, in hexadecimal" },
	{ "kernel", CONFIG_FILE, 0, FIELD(kernel),
	  .help = "a bzImage, ELF or Multiboot kernel" },
	{ "initrd", CONFIG_FILE, 0, FIELD(initrd), .help = "initial RAM disk" },
	{ "bootloader", CONFIG_FILE, 0, FIELD(bootloader),
	  .help = "firmware to start instead of a kernel" },
	{ "bios_key", CONFIG_FILE, 0, FIELD(bios_key),
	  .help = "whom a verifying bootloader may trust" },
	{ "params", CONFIG_STRING, 0, FIELD(params),
	  .help = "added to the kernel's command line" },
	{ "disks", CONFIG_DISKS, 0, .help = "what the guest has as virtio-blk" },
	{ "protected", CONFIG_BOOL, 0, FIELD(protected),
	  .help = "hide the guest's memory from the host" },
	{ "memory_mib", CONFIG_U64, 0, FIELD(memory_mib), 1, 1 << 24,
	  .help = "the guest's memory (256)" },
	{ "swiotlb_mib", CONFIG_U64, 0, FIELD(swiotlb_mib), 1, 1 << 16,
	  .help = "bounce memory of a protected VM" },
	{ "cpu_topology", CONFIG_ENUM, 0, FIELD(cpu_topology), .words = topology_words,
	  .help = "one_cpu, or match_host: as many CPUs as the host has" },
	{ "cpu_count", CONFIG_U64, 0, FIELD(cpu_count), 1, 64, .help = "or how many" },
	{ "platform_version", CONFIG_STRING, CONFIG_NEEDED, FIELD(platform_version),
	  .help = "the semantic version that the file is for: ~1.0" },
	{ "gdb_port", CONFIG_U64, 0, FIELD(gdb_port), 1, 65535,
	  .help = "wait for gdb there" },
	{ "hugepages", CONFIG_BOOL, 0, FIELD(hugepages),
	  .help = "ask the host for transparent huge pages" },
	{ "boost_uclamp", CONFIG_BOOL, 0, FIELD(boost_uclamp),
	  .help = "have the VM scheduled as a heavy load" },
	{ "balloon", CONFIG_BOOL, 0, FIELD(balloon),
	  .help = "let the guest give memory back (true)" },
	{ "watchdog", CONFIG_BOOL, 0, FIELD(watchdog), .help = "an i6300esb" },
	{ "console_input_device", CONFIG_ENUM, 0, FIELD(console_input_device),
	  .words = console_words, .help = "hvc0 or ttyS0" },
	{ "vsock", CONFIG_ENUM, 0, FIELD(vsock), .words = vsock_words,
	  .help = "auto, vhost, unix or none" },
	{ "timeout_s", CONFIG_U64, 0, FIELD(timeout_s), 1, UINT32_MAX,
	  .help = "end the VM after that many seconds" },
	{ "start_timeout_s", CONFIG_U64, 0, FIELD(start_timeout_s), 1, UINT32_MAX,
	  .help = "or when its payload has not told by then that it started" },
	{ "cpu_percent", CONFIG_U64, 0, FIELD(cpu_percent), 1, 100 * 1024,
	  .help = "of one CPU of the host, at most" },
	{ "memory_max_mib", CONFIG_U64, 0, FIELD(memory_max_mib), 1, 1 << 24,
	  .help = "of the host, for the whole of the VM, at most" },
	{ "console_out", CONFIG_FILE, CONFIG_NO_JSON | CONFIG_STREAM | CONFIG_LAUNCHERS,
	  FIELD(console_out), .help = LAUNCHERS_ONLY },
	{ "console_in", CONFIG_FILE, CONFIG_NO_JSON | CONFIG_STREAM,
	  FIELD(console_in) },
	{ "log", CONFIG_FILE, CONFIG_NO_JSON | CONFIG_STREAM, FIELD(log) },
	{ "ramdump", CONFIG_FILE, CONFIG_NO_JSON, FIELD(ramdump) },
	{ "tap", CONFIG_FILE, CONFIG_NO_JSON | CONFIG_STREAM, FIELD(tap) },
	NO_DEVICE("gpu_config", "GPU"),
	NO_DEVICE("display_config", "display"),
	NO_DEVICE("audio_config", "sound"),
	NO_DEVICE("usb_config", "USB"),
	NO_DEVICE("input_devices", "keyboard, mouse or touch screen"),
	NO_DEVICE("devices", "assigned device"),
	NO_DEVICE("shared_paths", "shared folder"),
	NO_DEVICE("device_tree_overlay", "device tree"),
	NO_DEVICE("tee_services", "trusted execution environment"),
	NO_DEVICE("host_services", "host service"),
	NO_DEVICE("custom_memory_backing_files", "memory of other programs"),
	LAUNCHER("debuggable"),
	LAUNCHER("connect_console"),
	LAUNCHER("network"),
	LAUNCHER("input"),
	LAUNCHER("audio"),
	LAUNCHER("gpu"),
	LAUNCHER("display"),
	LAUNCHER("auto_memory_balloon"),
	LAUNCHER("sharedPath"),
	{ 0 },
};

#undef FIELD
#define FIELD(f) .offset = offsetof(struct config_disk, f)

const struct config_key vm_config_disk_keys[] = {
	{ "image", CONFIG_FILE, 0, FIELD(image),
	  .help = "a raw, composite or sparse image" },
	{ "partitions", CONFIG_DISKS, 0, .help = "or what it is made of" },
	{ "writable", CONFIG_BOOL, CONFIG_NEEDED, FIELD(writable) },
	{ 0 },
};

#undef FIELD
#define FIELD(f) .offset = offsetof(struct config_partition, f)

const struct config_key vm_config_partition_keys[] = {
	{ "label", CONFIG_STRING, CONFIG_NEEDED, FIELD(label),
	  .help = "unique in its disk" },
	{ "path", CONFIG_FILE, CONFIG_NEEDED, FIELD(image),
	  .help = "a raw or sparse image" },
	{ "writable", CONFIG_BOOL, 0, FIELD(writable) },
	{ "guid", CONFIG_STRING, 0, FIELD(guid), .help = "random without it" },
	{ 0 },
};
