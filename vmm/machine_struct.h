/*
 * The inside of a machine, for the files that are its parts: machine.c makes and loads
 * it, machine_run.c runs and ends it. Nobody else looks in.
 */
#pragma once

#include "devices/uart.h"
#include "virtio/console.h"
#include "vmm/host.h"
#include "vmm/machine.h"
#include "vmm/vcpu.h"

#define MAX_DEVICES 64
#define NUM_UARTS 4
#define MAX_CONSOLES 8

struct machine {
	const struct config *cfg;
	struct host host;
	struct loop *loop;
	struct report *report;
	struct boot_image kernel, initrd, bios;
	struct boot_rom rom;
	char *cmdline;

	/* Consoles, in the order of --serial. */
	size_t n_chardevs;
	struct chardev *chardevs[MAX_CONSOLES];
	struct uart_cfg uarts[NUM_UARTS];
	size_t n_consoles;
	struct virtio_console_cfg consoles[MAX_CONSOLES];
	struct pci_host_cfg pci_host;

	struct host_device arch_device; /* the interrupt controller's window */
	size_t n_devices;
	struct host_device devices[MAX_DEVICES];

	unsigned n_vcpus;
	struct vcpu *vcpus;
	struct vcpu_shared shared;

	int signal_fd, timer_fd, panic_fd;
	pthread_mutex_t end_lock; /* all below */
	bool panic_ends; /* panic_fd is set */
	struct machine_result result;
};

/* For struct vcpu_shared. @ctx: the machine. */
void machine_vcpu_end(void *ctx, enum vm_end end, unsigned detail, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int machine_vcpu_enter(void *ctx);
