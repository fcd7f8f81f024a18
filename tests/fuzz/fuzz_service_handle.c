/*
 * What a VM's handle says, which may come from any process: no crash, no leak, no
 * waiting for ever, and a death that is complete.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vmm/avf.h>

#include "service/common/death.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(AVirtualMachine *vm)
{
	const struct timespec at_once = { 0 };
	enum AVirtualMachineStopReason reason;
	const struct avf_death *death;
	struct avf_event event;
	int last = -1, r;

	/* Its other end is closed, so all of this ends. */
	while ((r = avf_vm_next_event(vm, NULL, &event)) == 1) {
		assert(memchr(event.message, 0, sizeof(event.message)));
		last = event.type;
	}
	assert(r == -ENODATA && (last == AVF_EVENT_DIED || last == -1));
	assert(AVirtualMachine_waitForStop(vm, &at_once, &reason));
	death = avf_vm_death(vm);
	assert(death && death->name);
	assert(avf_vm_get_state(vm, NULL) == AVF_VM_DEAD);
	assert(AVirtualMachine_start(vm) == -EIO);
	AVirtualMachine_destroy(vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* What any D-Bus server answers first. */
	static const char hello[] = "OK 00112233445566778899aabbccddeeff\r\n"
				    "AGREE_UNIX_FD\r\n";
	struct avf_error error = { "" };
	AVirtualMachine *vm = NULL;
	int pair[2], r;

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	assert(send(pair[1], hello, strlen(hello), MSG_DONTWAIT) > 0);
	if (size > 0)
		(void)!send(pair[1], data, size, MSG_DONTWAIT);
	shutdown(pair[1], SHUT_WR);
	r = avf_vm_open(pair[0], &vm, &error);
	assert((r < 0) == (error.message[0] != '\0') && (r < 0) == !vm);
	if (vm)
		use(vm);
	close(pair[1]);
	return 0;
}
