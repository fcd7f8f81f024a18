/*
 * Android's functions for virtual machines: those of vmm/avf.h, without the sentences
 * and with fewer reasons. Any threads.
 */
#include "service/libavf/avf_impl.h"

#include <errno.h>

#include "service/common/death.h"
#include "service/libavf/channel.h"

int AVirtualMachine_createRaw(const AVirtualizationService *service,
			      AVirtualMachineRawConfig *config, int out, int in,
			      int log, AVirtualMachine **vm)
{
	avf_config_set_file(config, "console_out", out, NULL);
	avf_config_set_file(config, "console_in", in, NULL);
	avf_config_set_file(config, "log", log, NULL);
	return avf_vm_create(service, config, vm, NULL) < 0 ? -EIO : 0;
}

int AVirtualMachine_start(AVirtualMachine *vm)
{
	return avf_vm_start(vm, NULL) < 0 ? -EIO : 0;
}

int AVirtualMachine_stop(AVirtualMachine *vm)
{
	return avf_vm_stop(vm, NULL) < 0 ? -EIO : 0;
}

int AVirtualMachine_connectVsock(AVirtualMachine *vm, uint32_t port)
{
	int fd = avf_vm_connect_vsock(vm, port, NULL);

	return fd < 0 ? -EIO : fd;
}

/* Our header is for others, so it has numbers of its own, which are the same. */
#define X(number, name, text) static_assert((int)AVF_DEATH_##name == (number), text);
DEATH_REASONS(X)
#undef X
static_assert((int)AVF_VM_STARTING == VM_STARTING &&
		      (int)AVF_VM_STARTED == VM_STARTED &&
		      (int)AVF_VM_READY == VM_READY &&
		      (int)AVF_VM_FINISHED == VM_FINISHED &&
		      (int)AVF_VM_DEAD == VM_DEAD,
	      "states");

static enum AVirtualMachineStopReason stop_reason(int32_t reason)
{
	switch (reason) {
	case AVF_DEATH_SERVICE_DIED:
		return AVIRTUAL_MACHINE_VIRTUALIZATION_SERVICE_DIED;
	case DEATH_INFRASTRUCTURE_ERROR:
		return AVIRTUAL_MACHINE_INFRASTRUCTURE_ERROR;
	case DEATH_KILLED:
		return AVIRTUAL_MACHINE_KILLED;
	case DEATH_UNKNOWN:
		return AVIRTUAL_MACHINE_UNKNOWN;
	case DEATH_SHUTDOWN:
		return AVIRTUAL_MACHINE_SHUTDOWN;
	case DEATH_START_FAILED:
		return AVIRTUAL_MACHINE_START_FAILED;
	case DEATH_REBOOT:
		return AVIRTUAL_MACHINE_REBOOT;
	case DEATH_CRASH:
		return AVIRTUAL_MACHINE_CRASH;
	case DEATH_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH:
		return AVIRTUAL_MACHINE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH;
	case DEATH_PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED:
		return AVIRTUAL_MACHINE_PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED;
	case DEATH_HANGUP:
		return AVIRTUAL_MACHINE_HANGUP;
	default:
		return AVIRTUAL_MACHINE_UNRECOGNISED;
	}
}

bool AVirtualMachine_waitForStop(AVirtualMachine *vm, const struct timespec *timeout,
				 enum AVirtualMachineStopReason *reason)
{
	const struct avf_death *death = vm_wait_for_death(vm,
							  channel_deadline(timeout));

	if (death)
		*reason = stop_reason(death->reason);
	return death;
}

void AVirtualMachine_destroy(AVirtualMachine *vm)
{
	if (!vm)
		return;
	/* One that does not run is an error, of no interest now. */
	if (!avf_vm_death(vm))
		avf_vm_stop(vm, NULL);
	avf_vm_close(vm);
}
