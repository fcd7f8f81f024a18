/*
 * Virtual machines for C programs: the functions of Android's header of this name, API
 * level 36, on Linux with KVM. A program that is written against Android's compiles
 * against this one unchanged; what Android's lacks is in vmm/avf.h.
 *
 * A program makes a configuration and a service, of both a virtual machine, starts that
 * and waits until it stops.
 *
 * Errors: what returns int returns a negative errno when it fails. What to tell people
 * is to be had from the functions of vmm/avf.h that do the same.
 *
 * Threads: a service and a virtual machine may be used by any number of threads at a
 * time; one thread may stop what another waits for. A configuration belongs to one
 * thread at a time. *_destroy() is the last use of its object: no other thread may be
 * in a function with it. After fork(), only the parent uses what there was before; a
 * child that does not exec keeps its machines alive.
 *
 * Descriptors: "takes @fd" means that it is the library's from then on, whatever the
 * function returns. -1 stands for none. The library's own are closed on exec.
 */
#ifndef ANDROID_VIRTUALIZATION_H
#define ANDROID_VIRTUALIZATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* --- what a virtual machine is to be ---------------------------------------------- */

/* What it runs, and on how much of what; without a payload of Android's. */
typedef struct AVirtualMachineRawConfig AVirtualMachineRawConfig;

/* A new one, with defaults for all; a kernel is what it needs. The caller's until
 * AVirtualMachine_createRaw(). Aborts without memory. */
AVirtualMachineRawConfig *AVirtualMachineRawConfig_create(void);

/* Not after AVirtualMachine_createRaw(), which does it. Takes NULL. */
void AVirtualMachineRawConfig_destroy(AVirtualMachineRawConfig *config);

/* @name: UTF-8, copied. -EINVAL when it is not. */
int AVirtualMachineRawConfig_setName(AVirtualMachineRawConfig *config,
				     const char *name);

/* Who it is, across its runs: 64 bytes, copied. -EINVAL for another size. */
int AVirtualMachineRawConfig_setInstanceId(AVirtualMachineRawConfig *config,
					   const uint8_t *instanceId,
					   size_t instanceIdSize);

/* Takes @fd: a regular file or a block device, open to be read. -1 unsets it. */
void AVirtualMachineRawConfig_setKernel(AVirtualMachineRawConfig *config, int fd);

/* The same for the kernel's initial RAM disk. */
void AVirtualMachineRawConfig_setInitRd(AVirtualMachineRawConfig *config, int fd);

/* One disk more, after those there are. Takes @fd: an image, open to be written if
 * @writable. -EINVAL when it is no open descriptor. */
int AVirtualMachineRawConfig_addDisk(AVirtualMachineRawConfig *config, int fd,
				     bool writable);

/* Memory of the guest; 0 and less: the default, 256. */
void AVirtualMachineRawConfig_setMemoryMiB(AVirtualMachineRawConfig *config,
					   int32_t memoryMiB);

/* Memory that a protected machine shares with the host, beside its own; 0 and less:
 * the default. Without meaning to others. */
void AVirtualMachineRawConfig_setSwiotlbMiB(AVirtualMachineRawConfig *config,
					    int32_t swiotlbMiB);

/* How many CPUs, 1 without it. Must be positive, else there will be no machine. */
void AVirtualMachineRawConfig_setVCpuCount(AVirtualMachineRawConfig *config, int32_t n);

/* Memory that the host cannot read. A host that cannot do that makes no machine. */
void AVirtualMachineRawConfig_setProtectedVm(AVirtualMachineRawConfig *config,
					     bool protectedVm);

/* -ENOTSUP when enabled: KVM has none. */
int AVirtualMachineRawConfig_setHypervisorSpecificAuthMethod(
	AVirtualMachineRawConfig *config, bool enable);

/* Takes @fd. -ENOTSUP. */
int AVirtualMachineRawConfig_addCustomMemoryBackingFile(
	AVirtualMachineRawConfig *config, int fd, uint64_t rangeStart,
	uint64_t rangeEnd);

/* Takes @fd. -1 unsets it. x86 has no device tree, so there will be no machine. */
void AVirtualMachineRawConfig_setDeviceTreeOverlay(AVirtualMachineRawConfig *config,
						   int fd);

/* --- what makes virtual machines -------------------------------------------------- */

/* A manager of this program's own: a process, which ends with the service and its
 * machines. */
typedef struct AVirtualizationService AVirtualizationService;

/*
 * @early: the manager for programs that run before the system's services do,
 * early_virtmgr(1): machines have the names that the host's files allow this program.
 * Negative errno where the manager is not installed, -ECONNREFUSED when it does not
 * answer. Its own words are on stderr.
 */
int AVirtualizationService_create(AVirtualizationService **service, bool early);

/* Machines of it live on. Takes NULL. */
void AVirtualizationService_destroy(AVirtualizationService *service);

/* --- virtual machines ------------------------------------------------------------- */

/* A handle of one. The machine ends with the last handle, also when the program that
 * has it ends, in whatever way. */
typedef struct AVirtualMachine AVirtualMachine;

/* Why it stopped. */
enum AVirtualMachineStopReason
#if defined(__cplusplus)
	: int32_t
#endif
{
	/* One that this header has no name for; avf_vm_death() has. */
	AVIRTUAL_MACHINE_UNRECOGNISED = 0,
	/* Its manager died, and the machine with it. */
	AVIRTUAL_MACHINE_VIRTUALIZATION_SERVICE_DIED = 1,
	/* The host failed. */
	AVIRTUAL_MACHINE_INFRASTRUCTURE_ERROR = 2,
	/* By AVirtualMachine_stop(), or by a signal. */
	AVIRTUAL_MACHINE_KILLED = 3,
	AVIRTUAL_MACHINE_UNKNOWN = 4,
	/* The guest powered off. */
	AVIRTUAL_MACHINE_SHUTDOWN = 5,
	AVIRTUAL_MACHINE_START_FAILED = 6,
	/* The guest wanted to reboot. */
	AVIRTUAL_MACHINE_REBOOT = 7,
	AVIRTUAL_MACHINE_CRASH = 8,
	/* Protected machines' firmware refused the kernel's key, */
	AVIRTUAL_MACHINE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH = 9,
	/* or the instance. */
	AVIRTUAL_MACHINE_PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED = 10,
	/* Its payload did not start in time. */
	AVIRTUAL_MACHINE_HANGUP = 11,
};

/*
 * Make a machine, which does not run yet. Takes @config and the descriptors, whatever
 * it returns. @consoleOutFd: what the guest's console prints; @consoleInFd: what it
 * reads; @logFd: the guest's log. -EIO, and *@vm is left alone.
 */
int AVirtualMachine_createRaw(const AVirtualizationService *service,
			      AVirtualMachineRawConfig *config, int consoleOutFd,
			      int consoleInFd, int logFd, AVirtualMachine **vm);

/* Returns when the guest can execute code; or -EIO. Once only. */
int AVirtualMachine_start(AVirtualMachine *vm);

/* Pull the plug; returns when nothing of the machine is left. It cannot be started
 * again. -EIO when it does not run. */
int AVirtualMachine_stop(AVirtualMachine *vm);

/* A stream connected to @port of the guest, the caller's; or -EIO. */
int AVirtualMachine_connectVsock(AVirtualMachine *vm, uint32_t port);

/*
 * Wait until the machine has stopped: true, and *@reason; at once when it already has.
 * False when @timeout, of monotonic time, has passed before; NULL: no limit.
 */
bool AVirtualMachine_waitForStop(AVirtualMachine *vm, const struct timespec *timeout,
				 enum AVirtualMachineStopReason *reason);

/* Stop it if it runs, and let go of it. Takes NULL. */
void AVirtualMachine_destroy(AVirtualMachine *vm);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
