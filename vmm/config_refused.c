/*
 * crosvm's options for what this VMM lacks. They are refused by name, so that nobody
 * takes a feature that is missing for a word that is misspelt. (Options that turn off
 * what a machine never has are accepted: config.c.)
 */
#include <string.h>

#include "base/bytes.h"
#include "vmm/config.h"

static const char *const refused[] = {
	"acpi-table",
	"android-display-service",
	"android-fstab",
	"battery",
	"bios",
	"coiommu",
	"cpu-affinity",
	"cpu-capacity",
	"cpu-cluster",
	"cpu-frequencies-khz",
	"device-tree-overlay",
	"display",
	"dump-device-tree-blob",
	"enable-fw-cfg",
	"evdev",
	"fdt-position",
	"ffa",
	"file-backed-mapping",
	"force-s2idle",
	"fw-cfg",
	"gdb",
	"gpu",
	"gpu-display",
	"gpu-render-server",
	"input",
	"irqchip",
	"itmt",
	"keyboard",
	"lock-guest-memory",
	"lock-guest-memory-dontneed",
	"media-decoder",
	"mouse",
	"multi-touch",
	"no-rtc",
	"pci",
	"per-vm-core-scheduling",
	"pflash",
	"pmem",
	"pmem-device",
	"pmem-ext2",
	"protected-vm",
	"protected-vm-with-firmware",
	"protected-vm-without-firmware",
	"pstore",
	"restore",
	"rotary",
	"rt-cpus",
	"rw-pmem-device",
	"scsi-block",
	"seccomp-log-failures",
	"seccomp-policy-dir",
	"shared-dir",
	"single-touch",
	"smbios",
	"sound",
	"stub-pci-device",
	"suspended",
	"swap",
	"switches",
	"swiotlb",
	"trackpad",
	"unprotected-vm-with-firmware",
	"usb",
	"userspace-msr",
	"vfio",
	"vfio-platform",
	"vhost-scmi",
	"vhost-user",
	"vhost-user-fs",
	"video-decoder",
	"video-encoder",
	"virt-cpufreq",
	"virt-cpufreq-v2",
	"virtio-snd",
	"vtpm-proxy",
	"wayland-sock",
	"x-display",
};

bool config_is_refused(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (strlen(refused[i]) == len && !memcmp(refused[i], name, len))
			return true;
	return false;
}
