/*
 * events KERNEL [PARAMS]: boots a kernel, prints its events and its console in one
 * poll() loop, and gives a handle to another process, which stops the guest. Exit
 * status 0: it did.
 *
 *   cc events.c -o events $(pkg-config --cflags --libs libavf)
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmm/avf.h>

static void fail(const char *what, const struct avf_error *error)
{
	fprintf(stderr, "%s: %s\n", what, error->message);
	exit(1);
}

/* False after the last event. */
static bool print_events(AVirtualMachine *vm)
{
	const struct timespec at_once = { 0 };
	struct avf_event event;
	int r;

	while ((r = avf_vm_next_event(vm, &at_once, &event)) > 0)
		switch (event.type) {
		case AVF_EVENT_STATE:
			printf("state %d\n", event.code);
			break;
		case AVF_EVENT_PAYLOAD_FINISHED:
			printf("payload finished: %d\n", event.code);
			break;
		case AVF_EVENT_ERROR:
			printf("payload error %d: %s\n", event.code, event.message);
			break;
		case AVF_EVENT_DIED:
			printf("died: %s\n", event.message);
			break;
		default:
			printf("event %d\n", event.type);
		}
	fflush(stdout);
	return r == 0;
}

/* What the child does: it has nothing but the handle, and speaks to the machine. */
static void child(int handle)
{
	struct avf_error error;
	AVirtualMachine *vm;

	if (avf_vm_open(handle, &vm, &error) < 0)
		fail("child: handle", &error);
	printf("child: cid %u, state %d\n", avf_vm_cid(vm), avf_vm_get_state(vm, NULL));
	fflush(stdout);
	if (avf_vm_stop(vm, &error) < 0)
		fail("child: stop", &error);
	avf_vm_close(vm);
	exit(0);
}

/* A new program, which fork() alone does not make. */
static pid_t give_away(const char *self, int handle)
{
	pid_t pid = fork();
	char number[16];

	if (pid != 0) {
		close(handle);
		return pid;
	}
	fcntl(handle, F_SETFD, 0);
	snprintf(number, sizeof(number), "%d", handle);
	execl(self, "events", "--child", number, (char *)NULL);
	_exit(127);
}

static AVirtualMachine *boot(const char *path, const char *params)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();
	AVirtualizationService *service;
	struct avf_error error = { "" };
	AVirtualMachine *vm;

	if (avf_service_create(&service, NULL, &error) < 0)
		fail("manager", &error);
	AVirtualMachineRawConfig_setKernel(config, open(path, O_RDONLY | O_CLOEXEC));
	if (avf_config_set_string(config, "params", params, &error) < 0 ||
	    avf_config_set_bool(config, "balloon", false, &error) < 0)
		fail("configuration", &error);
	if (avf_vm_create(service, config, &vm, &error) < 0)
		fail("virtual machine", &error);
	AVirtualizationService_destroy(service);
	return vm;
}

static void watch(AVirtualMachine *vm, const char *self)
{
	struct pollfd polled[2] = { { .events = POLLIN }, { .events = POLLIN } };
	struct avf_error error = { "" };
	bool given = false;
	char text[4096];
	ssize_t n;

	polled[0].fd = avf_vm_event_fd(vm);
	polled[1].fd = avf_vm_attach_console(vm, &error);
	if (polled[1].fd < 0)
		fail("console", &error);
	while (print_events(vm)) {
		poll(polled, 2, -1);
		if (!polled[1].revents)
			continue;
		n = read(polled[1].fd, text, sizeof(text));
		if (n <= 0) {
			polled[1].fd = -1 - polled[1].fd; /* not to be polled */
			continue;
		}
		fwrite(text, 1, (size_t)n, stdout);
		/* It has said a line, and somebody else is to end it. */
		if (!given && memchr(text, '\n', (size_t)n))
			given = give_away(self, avf_vm_clone(vm, &error)) > 0;
	}
	close(polled[1].fd < 0 ? -1 - polled[1].fd : polled[1].fd);
}

int main(int argc, char *argv[])
{
	const struct avf_death *death;
	struct avf_error error = { "" };
	AVirtualMachine *vm;
	bool killed;

	if (argc == 3 && strcmp(argv[1], "--child") == 0)
		child(atoi(argv[2]));
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: events KERNEL [PARAMS]\n");
		return 2;
	}
	vm = boot(argv[1], argc > 2 ? argv[2] : "");
	printf("cid %u\n", avf_vm_cid(vm));
	if (avf_vm_start(vm, &error) < 0)
		fail("start", &error);
	watch(vm, "/proc/self/exe");
	death = avf_vm_death(vm);
	printf("%s: %s\n", death->name, death->detail ? death->detail : "");
	killed = death->reason == AVF_DEATH_KILLED;
	avf_vm_close(vm);
	while (wait(NULL) > 0)
		;
	return killed ? 0 : 1;
}
