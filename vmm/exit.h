/* The exit status of vmm for each way a VM can end. */
#pragma once

#include "devices/device.h"

enum {
	EXIT_STOP = 0,
	EXIT_ERROR = 1,
	EXIT_RESET = 32,
	EXIT_CRASH = 33, /* also when the jail stopped the VM */
	EXIT_PANIC = 34,
	EXIT_ARGS = 35,
	EXIT_WATCHDOG = 36,
	EXIT_TIMEOUT = 37,
	EXIT_DEBUG = 64, /* plus the value that the guest wrote */
};

/* @detail: the value of VM_END_DEBUG_EXIT. */
static inline int exit_status(enum vm_end end, unsigned detail)
{
	switch (end) {
	case VM_END_SHUTDOWN:
	case VM_END_KILLED:
		return EXIT_STOP;
	case VM_END_REBOOT:
		return EXIT_RESET;
	case VM_END_CRASH:
		return EXIT_CRASH;
	case VM_END_PANIC:
		return EXIT_PANIC;
	case VM_END_WATCHDOG:
		return EXIT_WATCHDOG;
	case VM_END_TIMEOUT:
		return EXIT_TIMEOUT;
	case VM_END_DEBUG_EXIT:
		return EXIT_DEBUG + (int)(detail & 63);
	case VM_END_BOOTLOADER:
	case VM_END_ERROR:
	case VM_END_NONE:
		break;
	}
	return EXIT_ERROR;
}
