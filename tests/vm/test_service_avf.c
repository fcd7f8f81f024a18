/* libavf with the real manager, vmm and guests (guest/bare/agent.c). */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vmm/avf.h>

#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

static AVirtualizationService *new_service(void)
{
	AVirtualizationService *service = NULL;

	assert_int_equal(AVirtualizationService_create(&service, false), 0);
	return service;
}

static AVirtualMachineRawConfig *new_config(const char *params)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();
	char *path = rig_guest("agent");

	AVirtualMachineRawConfig_setKernel(config, open(path, O_RDONLY | O_CLOEXEC));
	AVirtualMachineRawConfig_setMemoryMiB(config, 32);
	AVirtualMachineRawConfig_setName(config, "avf");
	avf_config_set_string(config, "params", params, NULL);
	free(path);
	return config;
}

static AVirtualMachine *start_vm(const AVirtualizationService *service,
				 const char *params)
{
	struct avf_error error = { "" };
	AVirtualMachine *vm;

	if (avf_vm_create(service, new_config(params), &vm, &error) < 0 ||
	    avf_vm_start(vm, &error) < 0)
		fail_msg("%s", error.message);
	return vm;
}

/* The next event that is of this type; false: there will be none. */
static bool next_of(AVirtualMachine *vm, int type, struct avf_event *event)
{
	while (avf_vm_next_event(vm, NULL, event) == 1)
		if (event->type == type)
			return true;
	return false;
}

/* A running guest that answers, told by its report. */
static AVirtualMachine *ready_vm(const AVirtualizationService *service)
{
	AVirtualMachine *vm = start_vm(service, "tell=sr");
	struct avf_event event;

	assert_true(next_of(vm, AVF_EVENT_PAYLOAD_READY, &event));
	return vm;
}

static bool echoes(AVirtualMachine *vm)
{
	char got[6] = "";
	int fd = AVirtualMachine_connectVsock(vm, GUEST_ECHO);
	bool ok = fd >= 0 && write(fd, "hello", 5) == 5;

	for (ssize_t at = 0, n; ok && at < 5; at += n) {
		n = read(fd, got + at, (size_t)(5 - at));
		ok = n > 0;
	}
	if (fd >= 0)
		close(fd);
	return ok && strcmp(got, "hello") == 0;
}

/* The guest forgets what comes on a stream that is closed; so it is the caller's. */
static int order(AVirtualMachine *vm, const char *letters)
{
	ssize_t n = (ssize_t)strlen(letters);
	int fd = AVirtualMachine_connectVsock(vm, GUEST_ORDERS);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, letters, (size_t)n), n);
	return fd;
}

static enum AVirtualMachineStopReason reason_of(AVirtualMachine *vm)
{
	const struct timespec patience = { .tv_sec = RIG_PATIENCE };
	enum AVirtualMachineStopReason reason;

	assert_true(AVirtualMachine_waitForStop(vm, &patience, &reason));
	return reason;
}

/* --- tests -------------------------------------------------------------------- */

static void test_androids_functions_alone_run_a_vm(void **state)
{
	const struct timespec little = { .tv_nsec = 1000000 };
	AVirtualizationService *service = new_service();
	enum AVirtualMachineStopReason reason;
	AVirtualMachine *vm;

	(void)state;
	assert_int_equal(
		AVirtualMachine_createRaw(service, new_config(""), -1, -1, -1, &vm), 0);
	AVirtualizationService_destroy(service);
	assert_int_equal(AVirtualMachine_connectVsock(vm, GUEST_ECHO), -EIO);
	assert_int_equal(AVirtualMachine_start(vm), 0);
	assert_int_equal(AVirtualMachine_start(vm), -EIO);
	/* Its vsock is there some time after it. */
	for (int i = 0; i < 1000 * RIG_PATIENCE && !echoes(vm); i++)
		assert_false(AVirtualMachine_waitForStop(vm, &little, &reason));
	assert_true(echoes(vm));
	assert_int_equal(AVirtualMachine_stop(vm), 0);
	assert_int_equal(reason_of(vm), AVIRTUAL_MACHINE_KILLED);
	assert_int_equal(AVirtualMachine_stop(vm), -EIO);
	assert_int_equal(AVirtualMachine_connectVsock(vm, GUEST_ECHO), -EIO);
	AVirtualMachine_destroy(vm);
}

static void test_what_the_payload_tells_comes_in_order(void **state)
{
	AVirtualizationService *service = new_service();
	AVirtualMachine *vm = start_vm(service, "tell=srfe");
	struct avf_event event;

	(void)state;
	assert_true(next_of(vm, AVF_EVENT_PAYLOAD_STARTED, &event));
	assert_true(next_of(vm, AVF_EVENT_PAYLOAD_READY, &event));
	assert_true(next_of(vm, AVF_EVENT_PAYLOAD_FINISHED, &event));
	assert_int_equal(event.code, 7);
	assert_true(next_of(vm, AVF_EVENT_ERROR, &event));
	assert_int_equal(event.code, 2);
	assert_string_equal(event.message, "it has changed");
	assert_int_equal(avf_vm_get_state(vm, NULL), AVF_VM_FINISHED);
	AVirtualMachine_destroy(vm);
	AVirtualizationService_destroy(service);
}

static void test_each_end_has_its_reason(void **state)
{
	static const struct {
		const char *letters;
		enum AVirtualMachineStopReason reason;
		int death;
	} ends[] = {
		{ "o", AVIRTUAL_MACHINE_SHUTDOWN, AVF_DEATH_SHUTDOWN },
		{ "b", AVIRTUAL_MACHINE_REBOOT, AVF_DEATH_REBOOT },
		{ "c", AVIRTUAL_MACHINE_CRASH, AVF_DEATH_CRASH },
		{ "pb", AVIRTUAL_MACHINE_UNRECOGNISED, AVF_DEATH_PANIC },
	};
	AVirtualizationService *service = new_service();

	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		AVirtualMachine *vm = ready_vm(service);
		struct avf_event event;
		int fd = order(vm, ends[i].letters);
		assert_int_equal(reason_of(vm), ends[i].reason);
		assert_int_equal(avf_vm_death(vm)->reason, ends[i].death);
		assert_string_equal(avf_vm_death(vm)->requested_by, "guest");
		assert_true(next_of(vm, AVF_EVENT_DIED, &event));
		assert_int_equal(event.code, ends[i].death);
		assert_string_equal(event.message, avf_vm_death(vm)->detail);
		close(fd);
		AVirtualMachine_destroy(vm);
	}
	AVirtualizationService_destroy(service);
}

static void test_a_killed_manager_is_told(void **state)
{
	AVirtualizationService *service = new_service();
	AVirtualMachine *vm = ready_vm(service);

	(void)state;
	assert_return_code(kill(rig_process(RIG_VIRTMGR), SIGKILL), errno);
	assert_int_equal(reason_of(vm), AVIRTUAL_MACHINE_VIRTUALIZATION_SERVICE_DIED);
	AVirtualMachine_destroy(vm);
	AVirtualizationService_destroy(service);
}

static void test_a_suspended_guest_stands_still(void **state)
{
	AVirtualizationService *service = new_service();
	AVirtualMachine *vm = ready_vm(service);
	struct avf_error error = { "" };
	int fd = AVirtualMachine_connectVsock(vm, GUEST_ECHO);
	char c = 'x';

	(void)state;
	assert_int_equal(avf_vm_suspend(vm, &error), 0);
	assert_int_equal(write(fd, &c, 1), 1);
	rig_sleep_ms(20);
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(avf_vm_resume(vm, &error), 0);
	assert_int_equal(read(fd, &c, 1), 1);
	close(fd);
	AVirtualMachine_destroy(vm);
	AVirtualizationService_destroy(service);
}

static void test_a_dump_is_an_elf_core_of_its_memory(void **state)
{
	AVirtualizationService *service = new_service();
	AVirtualMachine *vm = ready_vm(service);
	int fd = memfd_create("dump", MFD_CLOEXEC);
	struct avf_error error = { "" };
	char magic[4];
	struct stat st;

	(void)state;
	if (avf_vm_dump(vm, fd, &error) < 0)
		fail_msg("%s", error.message);
	assert_int_equal(pread(fd, magic, sizeof(magic), 0), sizeof(magic));
	assert_memory_equal(magic, "\177ELF", sizeof(magic));
	assert_return_code(fstat(fd, &st), errno);
	assert_true(st.st_size >= 32 << 20);
	close(fd);
	AVirtualMachine_destroy(vm);
	AVirtualizationService_destroy(service);
}

static void count_this(void *arg, const struct avf_vm_info *info)
{
	uint32_t *cid = arg;

	if (strcmp(info->name, "avf") == 0 && info->memory == 32 << 20)
		*cid = info->cid;
}

static void test_a_vm_that_was_opened_by_name_is_not_kept(void **state)
{
	AVirtualizationService *service = new_service(), *other = new_service();
	AVirtualMachine *vm = ready_vm(service), *opened;
	struct avf_error error = { "" };
	uint32_t cid = 0;

	(void)state;
	assert_int_equal(avf_service_list_vms(other, count_this, &cid, &error), 1);
	assert_int_equal(cid, avf_vm_cid(vm));
	if (avf_service_open_vm(other, "avf", &opened, &error) < 0)
		fail_msg("%s", error.message);
	assert_int_equal(avf_vm_cid(opened), cid);
	assert_true(echoes(opened));
	/* All that keeps it is let go, without a word. */
	avf_vm_close(vm);
	assert_int_equal(reason_of(opened), AVIRTUAL_MACHINE_KILLED);
	avf_vm_close(opened);
	AVirtualizationService_destroy(other);
	AVirtualizationService_destroy(service);
}

static void test_a_disk_of_partitions_is_made(void **state)
{
	AVirtualizationService *service = new_service();
	AVirtualMachineRawConfig *config = new_config("tell=s");
	int image = memfd_create("part", MFD_CLOEXEC);
	struct avf_error error = { "" };
	struct avf_event event;
	AVirtualMachine *vm;
	int disk;

	(void)state;
	if (avf_service_initialize_partition(service, image, 1 << 20,
					     AVF_PARTITION_INSTANCE, &error) < 0)
		fail_msg("%s", error.message);
	disk = avf_config_add_disk(config, true, &error);
	assert_int_equal(
		avf_config_add_partition(config, disk, "a", NULL, image, true, &error),
		0);
	if (avf_vm_create(service, config, &vm, &error) < 0 ||
	    avf_vm_start(vm, &error) < 0)
		fail_msg("%s", error.message);
	assert_true(next_of(vm, AVF_EVENT_PAYLOAD_STARTED, &event));
	AVirtualMachine_destroy(vm);
	AVirtualizationService_destroy(service);
}

/* --- threads ------------------------------------------------------------------ */

static atomic_int lives;

static void *live(void *arg)
{
	const AVirtualizationService *service = arg;
	enum AVirtualMachineStopReason reason;
	struct avf_event event;
	AVirtualMachine *vm;

	for (int i = 0; i < 3; i++) {
		if (avf_vm_create(service, new_config("tell=sr"), &vm, NULL) < 0)
			break;
		lives += AVirtualMachine_start(vm) == 0 &&
			 next_of(vm, AVF_EVENT_PAYLOAD_READY, &event) && echoes(vm) &&
			 AVirtualMachine_stop(vm) == 0 &&
			 AVirtualMachine_waitForStop(vm, NULL, &reason) &&
			 reason == AVIRTUAL_MACHINE_KILLED;
		AVirtualMachine_destroy(vm);
	}
	return NULL;
}

static void test_threads_share_a_service(void **state)
{
	AVirtualizationService *service = new_service();
	pthread_t threads[4];

	(void)state;
	lives = 0;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, live, service), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(lives, 4 * 3);
	AVirtualizationService_destroy(service);
}

static void *wait_for_stop(void *arg)
{
	enum AVirtualMachineStopReason reason;

	if (AVirtualMachine_waitForStop(arg, NULL, &reason))
		lives += reason == AVIRTUAL_MACHINE_KILLED;
	return NULL;
}

static void test_threads_share_a_vm(void **state)
{
	AVirtualizationService *service = new_service();
	AVirtualMachine *vm = ready_vm(service);
	pthread_t threads[3];

	(void)state;
	lives = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_stop, vm),
				 0);
	for (int i = 0; i < 20; i++)
		assert_true(echoes(vm));
	assert_int_equal(AVirtualMachine_stop(vm), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(lives, 3);
	AVirtualMachine_destroy(vm);
	AVirtualizationService_destroy(service);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_androids_functions_alone_run_a_vm),
		TEST(test_what_the_payload_tells_comes_in_order),
		TEST(test_each_end_has_its_reason),
		TEST(test_a_killed_manager_is_told),
		TEST(test_a_suspended_guest_stands_still),
		TEST(test_a_dump_is_an_elf_core_of_its_memory),
		TEST(test_a_vm_that_was_opened_by_name_is_not_kept),
		TEST(test_a_disk_of_partitions_is_made),
		TEST(test_threads_share_a_service),
		TEST(test_threads_share_a_vm),
#undef TEST
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
