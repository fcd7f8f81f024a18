/*
 * How VMs die, as clients are told. The numbers up to 17 are AVF's; those from 1000 on
 * are what it loses.
 */
#pragma once

enum vm_state {
	VM_NOT_STARTED = 0,
	VM_STARTING = 1,
	VM_STARTED = 2,
	VM_READY = 3,
	VM_FINISHED = 4,
	VM_DEAD = 6,
};

#define DEATH_REASONS(X)                                                              \
	X(0, INFRASTRUCTURE_ERROR, "infrastructure-error")                            \
	X(1, KILLED, "killed")                                                        \
	X(2, UNKNOWN, "unknown")                                                      \
	X(3, SHUTDOWN, "shutdown")                                                    \
	X(4, START_FAILED, "start-failed")                                            \
	X(5, REBOOT, "reboot")                                                        \
	X(6, CRASH, "crash")                                                          \
	X(7, PVM_FIRMWARE_PUBLIC_KEY_MISMATCH, "pvm-firmware-public-key-mismatch")    \
	X(8, PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED,                                     \
	  "pvm-firmware-instance-image-changed")                                      \
	X(11, MICRODROID_FAILED_TO_CONNECT_TO_VIRTUALIZATION_SERVICE,                 \
	  "microdroid-failed-to-connect-to-virtualization-service")                   \
	X(12, MICRODROID_PAYLOAD_HAS_CHANGED, "microdroid-payload-has-changed")       \
	X(13, MICRODROID_PAYLOAD_VERIFICATION_FAILED,                                 \
	  "microdroid-payload-verification-failed")                                   \
	X(14, MICRODROID_INVALID_PAYLOAD_CONFIG, "microdroid-invalid-payload-config") \
	X(15, MICRODROID_UNKNOWN_RUNTIME_ERROR, "microdroid-unknown-runtime-error")   \
	X(16, HANGUP, "hangup")                                                       \
	X(17, WATCHDOG_REBOOT, "watchdog-reboot")                                     \
	X(1000, PANIC, "panic")                                                       \
	X(1001, BAD_ARGUMENTS, "bad-arguments")                                       \
	X(1002, TIMEOUT, "timeout")                                                   \
	X(1003, DEBUG_EXIT, "debug-exit")                                             \
	X(1004, BOOTLOADER, "bootloader") /* a reason of ours, in failure_code */

enum death_reason {
#define X(number, name, text) DEATH_##name = number,
	DEATH_REASONS(X)
#undef X
};

/* "killed"; NULL for a number that is none. */
static inline const char *death_name(int reason)
{
	switch (reason) {
#define X(number, name, text) \
	case number:          \
		return text;
		DEATH_REASONS(X)
#undef X
	default:
		return 0;
	}
}
