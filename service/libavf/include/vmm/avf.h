/*
 * What android/virtualization.h lacks: sentences for errors, every key of the
 * configuration, events, how a machine died, its console, handles for other processes,
 * other programs' machines. What that header says of threads and descriptors holds
 * here.
 *
 * What returns int returns a negative errno when it fails, and a sentence in @error,
 * which may be NULL:
 *   -EBADMSG    the configuration is wrong      -ENOTSUP  this host cannot do it
 *   -EINVAL     an argument is wrong            -ENOENT   there is no such machine,
 * file -EBADFD     the machine is not in a state for it -ENOEXEC    the machine did not
 * start       -EDQUOT   a limit has been reached -EACCES     not permitted -ECONNRESET
 * its manager has died and others of the host. Outputs are left alone then.
 */
#ifndef VMM_AVF_H
#define VMM_AVF_H

#include <android/virtualization.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct avf_error {
	char message[512]; /* one line, UTF-8 as far as the names in it are */
};

/* --- configuration ------------------------------------------------------------ */

/* A key of vm(1)'s configuration file, each with the function of its type. -ENOENT:
 * there is no such key of that type. */
int avf_config_set_string(AVirtualMachineRawConfig *config, const char *key,
			  const char *value, struct avf_error *error);
int avf_config_set_number(AVirtualMachineRawConfig *config, const char *key,
			  uint64_t value, struct avf_error *error);
int avf_config_set_bool(AVirtualMachineRawConfig *config, const char *key, bool value,
			struct avf_error *error);
/* Takes @fd; -1 unsets it. Also console_out, console_in, log, ramdump (a file for the
 * kernel's dump when it panics) and tap (a network interface). */
int avf_config_set_file(AVirtualMachineRawConfig *config, const char *key, int fd,
			struct avf_error *error);

/* One disk more, to be made of partitions; its number. */
int avf_config_add_disk(AVirtualMachineRawConfig *config, bool writable,
			struct avf_error *error);

/* A partition, after those there are. @guid: NULL for a random one. Takes @fd: a raw or
 * sparse image. @disk: what avf_config_add_disk() returned. */
int avf_config_add_partition(AVirtualMachineRawConfig *config, int disk,
			     const char *label, const char *guid, int fd, bool writable,
			     struct avf_error *error);

/* --- service ------------------------------------------------------------------ */

/* AVirtualizationService_create(). @program: the manager, NULL for the installed one.
 */
int avf_service_create(AVirtualizationService **service, const char *program,
		       struct avf_error *error);

/* A manager that listens at @path (virtmgr --listen), and goes on without us. */
int avf_service_connect(AVirtualizationService **service, const char *path,
			struct avf_error *error);

/* 64 bytes for AVirtualMachineRawConfig_setInstanceId(). */
int avf_service_allocate_instance_id(const AVirtualizationService *service,
				     uint8_t id[64], struct avf_error *error);

enum avf_partition_format {
	AVF_PARTITION_RAW = 0,
	AVF_PARTITION_INSTANCE = 1,
	AVF_PARTITION_ENCRYPTED_STORE = 2,
};

/* Empty @fd, which stays the caller's, and make it that large, a multiple of 4 KiB. */
int avf_service_initialize_partition(const AVirtualizationService *service, int fd,
				     uint64_t bytes, enum avf_partition_format format,
				     struct avf_error *error);

struct avf_vm_info {
	uint32_t cid;
	uint32_t state; /* enum avf_vm_state */
	uint32_t uid; /* whose it is */
	uint32_t pid; /* of its manager */
	uint32_t cpus;
	uint64_t memory; /* bytes */
	const char *name; /* valid during the call */
};

/* All machines that the caller may see, other programs' too; @each is called for one
 * after the other, and may call nothing with @service. How many they are. */
int avf_service_list_vms(const AVirtualizationService *service,
			 void (*each)(void *arg, const struct avf_vm_info *info),
			 void *arg, struct avf_error *error);

/* A machine of any program, by its CID or a name that only one has. This does not keep
 * it alive. */
int avf_service_open_vm(const AVirtualizationService *service, const char *vm,
			AVirtualMachine **ret_vm, struct avf_error *error);

/* --- machines: what Android's functions do, with a sentence ---------------- */

/* Takes @config, which has the console's descriptors, too. */
int avf_vm_create(const AVirtualizationService *service,
		  AVirtualMachineRawConfig *config, AVirtualMachine **vm,
		  struct avf_error *error);
int avf_vm_start(AVirtualMachine *vm, struct avf_error *error);
int avf_vm_stop(AVirtualMachine *vm, struct avf_error *error);
int avf_vm_connect_vsock(AVirtualMachine *vm, uint32_t port, struct avf_error *error);

/* --- handles --------------------------------------------------------------- */

/* A handle to be given away: a descriptor, the caller's, for SCM_RIGHTS or a child. The
 * machine lives as long as anybody has one. */
int avf_vm_clone(AVirtualMachine *vm, struct avf_error *error);

/* The machine that a handle, which is taken, stands for. Each is for one process. */
int avf_vm_open(int handle, AVirtualMachine **vm, struct avf_error *error);

/* Let go of it without stopping it: it runs on if others have handles. Takes NULL. */
void avf_vm_close(AVirtualMachine *vm);

/* --- what there is to a machine -------------------------------------------- */

enum avf_vm_state {
	AVF_VM_NOT_STARTED = 0,
	AVF_VM_STARTING = 1,
	AVF_VM_STARTED = 2, /* so its payload told, */
	AVF_VM_READY = 3,
	AVF_VM_FINISHED = 4,
	AVF_VM_DEAD = 6,
};

uint32_t avf_vm_cid(const AVirtualMachine *vm); /* its address for vsock */
/* Its enum avf_vm_state, as far as it is known here; of a dead one, always. */
int avf_vm_get_state(AVirtualMachine *vm, struct avf_error *error);

/* The vCPUs stand still, and go on. */
int avf_vm_suspend(AVirtualMachine *vm, struct avf_error *error);
int avf_vm_resume(AVirtualMachine *vm, struct avf_error *error);
int avf_vm_power_button(AVirtualMachine *vm, struct avf_error *error);

/* Bytes that the guest is asked to give up, and what it has given up. */
int avf_vm_set_memory_balloon(AVirtualMachine *vm, uint64_t bytes,
			      struct avf_error *error);
int avf_vm_get_memory_balloon(AVirtualMachine *vm, uint64_t *bytes,
			      struct avf_error *error);

/* A stream of the guest's console, the caller's: its last 4 KiB and what it prints from
 * now on; what is written there is input. */
int avf_vm_attach_console(AVirtualMachine *vm, struct avf_error *error);

/* Write the guest's memory, an ELF core, to @fd, which stays the caller's. */
int avf_vm_dump(AVirtualMachine *vm, int fd, struct avf_error *error);

/* --- how it died ----------------------------------------------------------- */

/* Numbers up to 17 are AIDL's DeathReason. */
enum avf_death_reason {
	AVF_DEATH_SERVICE_DIED = -1, /* its manager died, and the machine with it */
	AVF_DEATH_INFRASTRUCTURE_ERROR = 0,
	AVF_DEATH_KILLED = 1,
	AVF_DEATH_UNKNOWN = 2,
	AVF_DEATH_SHUTDOWN = 3,
	AVF_DEATH_START_FAILED = 4,
	AVF_DEATH_REBOOT = 5,
	AVF_DEATH_CRASH = 6,
	AVF_DEATH_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH = 7,
	AVF_DEATH_PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED = 8,
	AVF_DEATH_MICRODROID_FAILED_TO_CONNECT_TO_VIRTUALIZATION_SERVICE = 11,
	AVF_DEATH_MICRODROID_PAYLOAD_HAS_CHANGED = 12,
	AVF_DEATH_MICRODROID_PAYLOAD_VERIFICATION_FAILED = 13,
	AVF_DEATH_MICRODROID_INVALID_PAYLOAD_CONFIG = 14,
	AVF_DEATH_MICRODROID_UNKNOWN_RUNTIME_ERROR = 15,
	AVF_DEATH_HANGUP = 16,
	AVF_DEATH_WATCHDOG_REBOOT = 17,
	AVF_DEATH_PANIC = 1000,
	AVF_DEATH_BAD_ARGUMENTS = 1001,
	AVF_DEATH_TIMEOUT = 1002,
	AVF_DEATH_DEBUG_EXIT = 1003,
	AVF_DEATH_BOOTLOADER = 1004, /* why is in failure_code */
};

/* Made by the library only: it may grow at its end. Strings are NULL when unknown. */
struct avf_death {
	int32_t reason; /* enum avf_death_reason */
	int32_t exit_status; /* of vmm, or -1 */
	uint64_t run_time_ms;
	const char *name; /* of the reason: "shutdown"; never NULL */
	const char *detail; /* a sentence */
	const char *requested_by; /* "guest", "host" */
	const char *failure_code; /* what a bootloader or agent called it */
	const char *console_tail; /* the last that the guest printed */
};

/* NULL before it died; else the machine's, until it is destroyed or closed. */
const struct avf_death *avf_vm_death(AVirtualMachine *vm);

/* --- events ---------------------------------------------------------------- */

enum avf_event_type {
	AVF_EVENT_STATE = 0, /* code: enum avf_vm_state */
	AVF_EVENT_PAYLOAD_STARTED = 1,
	AVF_EVENT_PAYLOAD_READY = 2,
	AVF_EVENT_PAYLOAD_FINISHED = 3, /* code: its exit code */
	AVF_EVENT_ERROR = 4, /* code and message: what the payload tells */
	AVF_EVENT_DIED = 5, /* code: enum avf_death_reason; the last one */
};

struct avf_event {
	int32_t type; /* enum avf_event_type; ignore what you do not know */
	int32_t code;
	uint32_t lost; /* older events: at most 64 wait */
	char message[1012]; /* UTF-8; cut if it is longer */
};

/*
 * The next event: 1; each goes to one caller. 0 when @timeout has passed (NULL: no
 * limit), -ENODATA after AVF_EVENT_DIED.
 */
int avf_vm_next_event(AVirtualMachine *vm, const struct timespec *timeout,
		      struct avf_event *event);

/*
 * For poll(): wait for POLLIN, then take events with a timeout of zero until there is
 * none; do that after every other call with @vm, too, for it may have read some. The
 * machine's; for one thread.
 */
int avf_vm_event_fd(const AVirtualMachine *vm);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
