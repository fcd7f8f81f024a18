/*
 * run KERNEL [INITRD]: boots a kernel, with its console on stdin and stdout, and says
 * why it stopped. Exit status 0: the guest powered off.
 *
 * Needs nothing but Android's header:
 *   cc run.c -o run $(pkg-config --cflags --libs libavf)
 */
#include <android/virtualization.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const reasons[] = {
	[AVIRTUAL_MACHINE_UNRECOGNISED] = "for a reason of its own",
	[AVIRTUAL_MACHINE_VIRTUALIZATION_SERVICE_DIED] = "with its manager",
	[AVIRTUAL_MACHINE_INFRASTRUCTURE_ERROR] = "since the host failed",
	[AVIRTUAL_MACHINE_KILLED] = "killed",
	[AVIRTUAL_MACHINE_UNKNOWN] = "for an unknown reason",
	[AVIRTUAL_MACHINE_SHUTDOWN] = "shut down",
	[AVIRTUAL_MACHINE_START_FAILED] = "since it could not start",
	[AVIRTUAL_MACHINE_REBOOT] = "to reboot",
	[AVIRTUAL_MACHINE_CRASH] = "crashed",
	[AVIRTUAL_MACHINE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH] = "over a wrong key",
	[AVIRTUAL_MACHINE_PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED] = "over a changed image",
	[AVIRTUAL_MACHINE_HANGUP] = "since it hung",
};

static int open_or_tell(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	return fd;
}

int main(int argc, char *argv[])
{
	AVirtualMachineRawConfig *config;
	AVirtualizationService *service;
	AVirtualMachine *vm;
	enum AVirtualMachineStopReason reason;
	int kernel, initrd = -1, r;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: run KERNEL [INITRD]\n");
		return 2;
	}
	kernel = open_or_tell(argv[1]);
	if (argc == 3)
		initrd = open_or_tell(argv[2]);
	if (kernel < 0 || (argc == 3 && initrd < 0))
		return 1;
	r = AVirtualizationService_create(&service, false);
	if (r < 0) {
		fprintf(stderr, "no manager: %s\n", strerror(-r));
		return 1;
	}
	config = AVirtualMachineRawConfig_create();
	AVirtualMachineRawConfig_setName(config, "run");
	AVirtualMachineRawConfig_setMemoryMiB(config, 128);
	AVirtualMachineRawConfig_setKernel(config, kernel);
	AVirtualMachineRawConfig_setInitRd(config, initrd);
	r = AVirtualMachine_createRaw(service, config, dup(STDOUT_FILENO),
				      dup(STDIN_FILENO), -1, &vm);
	AVirtualizationService_destroy(service);
	if (r < 0) {
		fprintf(stderr, "no virtual machine: %s\n", strerror(-r));
		return 1;
	}
	/* When it fails, why is what the machine stopped for. */
	r = AVirtualMachine_start(vm);
	if (r < 0)
		fprintf(stderr, "the virtual machine does not start\n");
	AVirtualMachine_waitForStop(vm, NULL, &reason);
	fprintf(stderr, "the virtual machine stopped %s\n", reasons[reason]);
	AVirtualMachine_destroy(vm);
	return r == 0 && reason == AVIRTUAL_MACHINE_SHUTDOWN ? 0 : 1;
}
