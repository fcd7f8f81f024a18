/* libavf against a manager that only pretends: ownership, errors, deaths, events. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <vmm/avf.h>

#include "tests/unit/fake_manager.h"

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int memfile(void)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_return_code(fd, errno);
	return fd;
}

static bool same_file(int a, const struct stat *b)
{
	struct stat st;

	return fstat(a, &st) == 0 && st.st_ino == b->st_ino;
}

/* A manager, connected; one that makes a VM with these parameters. */
struct world {
	struct fake *fake;
	AVirtualizationService *service;
	int fds; /* that there were before */
};

static void open_world(struct world *w)
{
	struct avf_error error = { "" };

	w->fds = count_fds();
	w->fake = fake_new();
	if (avf_service_connect(&w->service, w->fake->path, &error) < 0)
		fail_msg("%s", error.message);
}

/* Nothing may be left open. */
static void close_world(struct world *w)
{
	AVirtualizationService_destroy(w->service);
	fake_free(w->fake);
	assert_int_equal(count_fds(), w->fds);
}

static AVirtualMachineRawConfig *new_config(const char *params)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();

	AVirtualMachineRawConfig_setKernel(config, memfile());
	if (params)
		assert_int_equal(avf_config_set_string(config, "params", params, NULL),
				 0);
	return config;
}

static AVirtualMachine *new_vm(struct world *w, const char *params)
{
	struct avf_error error = { "" };
	AVirtualMachine *vm;

	if (avf_vm_create(w->service, new_config(params), &vm, &error) < 0)
		fail_msg("%s", error.message);
	return vm;
}

/* --- configuration ------------------------------------------------------------ */

static void test_setters_take_descriptors_whatever_they_return(void **state)
{
	int before = count_fds();
	const int closed = 999;
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();

	(void)state;
	AVirtualMachineRawConfig_setKernel(config, memfile());
	AVirtualMachineRawConfig_setKernel(config, memfile());
	AVirtualMachineRawConfig_setInitRd(config, memfile());
	assert_int_equal(count_fds(), before + 2);
	AVirtualMachineRawConfig_setInitRd(config, -1);
	assert_int_equal(count_fds(), before + 1);
	assert_int_equal(AVirtualMachineRawConfig_addDisk(config, memfile(), true), 0);
	assert_int_equal(AVirtualMachineRawConfig_addDisk(config, -1, true), -EINVAL);
	assert_int_equal(AVirtualMachineRawConfig_addDisk(config, closed, true),
			 -EINVAL);
	assert_int_equal(count_fds(), before + 2);
	assert_int_equal(AVirtualMachineRawConfig_addCustomMemoryBackingFile(
				 config, memfile(), 0, 4096),
			 -ENOTSUP);
	AVirtualMachineRawConfig_setDeviceTreeOverlay(config, memfile());
	assert_int_equal(avf_config_set_file(config, "kernal", memfile(), NULL),
			 -ENOENT);
	assert_int_equal(
		avf_config_add_partition(config, 0, "a", NULL, memfile(), true, NULL),
		-EINVAL);
	assert_int_equal(
		avf_config_add_partition(config, 1, "a", NULL, memfile(), true, NULL),
		-EINVAL);
	assert_int_equal(count_fds(), before + 2);
	assert_int_equal(avf_config_add_disk(config, true, NULL), 1);
	assert_int_equal(
		avf_config_add_partition(config, 1, "a", NULL, memfile(), true, NULL),
		0);
	assert_int_equal(
		avf_config_add_partition(config, 1, "b", NULL, closed, true, NULL),
		-EINVAL);
	assert_int_equal(count_fds(), before + 3);
	AVirtualMachineRawConfig_destroy(config);
	AVirtualMachineRawConfig_destroy(NULL);
	assert_int_equal(count_fds(), before);
}

static void test_setters_refuse_what_is_wrong(void **state)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();
	struct avf_error error = { "" };
	uint8_t id[64] = { 1 };

	(void)state;
	assert_int_equal(AVirtualMachineRawConfig_setName(config, "\xff"), -EINVAL);
	assert_int_equal(AVirtualMachineRawConfig_setInstanceId(config, id, 63),
			 -EINVAL);
	assert_int_equal(AVirtualMachineRawConfig_setInstanceId(config, id, 64), 0);
	assert_int_equal(
		AVirtualMachineRawConfig_setHypervisorSpecificAuthMethod(config, true),
		-ENOTSUP);
	assert_int_equal(
		AVirtualMachineRawConfig_setHypervisorSpecificAuthMethod(config, false),
		0);
	assert_int_equal(avf_config_set_string(config, "memory_mib", "1", &error),
			 -ENOENT);
	assert_string_equal(error.message, "memory_mib: is of another type");
	assert_int_equal(avf_config_set_number(config, "memory_mib", 0, &error),
			 -EINVAL);
	assert_string_equal(error.message, "memory_mib: must be 1 to 16777216");
	assert_int_equal(avf_config_set_string(config, "vsock", "x", NULL), -EINVAL);
	assert_int_equal(avf_config_set_string(config, "vsock", "\xff", NULL), -EINVAL);
	assert_int_equal(avf_config_set_bool(config, "gpu_config", true, NULL),
			 -ENOENT);
	assert_int_equal(avf_config_add_partition(config, -1, "a", NULL, -1, 0, NULL),
			 -EINVAL);
	AVirtualMachineRawConfig_destroy(config);
}

static void test_what_is_set_arrives(void **state)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();
	int kernel = memfile(), disk = memfile(), out = memfile();
	struct stat kernel_st, disk_st, out_st;
	const struct vm_config *c;
	AVirtualMachine *vm = NULL;
	uint8_t id[64] = { 9 };
	struct world w;

	(void)state;
	assert_false(fstat(kernel, &kernel_st) || fstat(disk, &disk_st) ||
		     fstat(out, &out_st));
	AVirtualMachineRawConfig_setKernel(config, kernel);
	AVirtualMachineRawConfig_setName(config, "first");
	AVirtualMachineRawConfig_setName(config, "db");
	AVirtualMachineRawConfig_setInstanceId(config, id, sizeof(id));
	AVirtualMachineRawConfig_addDisk(config, disk, true);
	AVirtualMachineRawConfig_setMemoryMiB(config, 100);
	AVirtualMachineRawConfig_setVCpuCount(config, -1);
	AVirtualMachineRawConfig_setVCpuCount(config, 3);
	AVirtualMachineRawConfig_setSwiotlbMiB(config, 8);
	avf_config_set_bool(config, "watchdog", true, NULL);
	avf_config_set_string(config, "vsock", "unix", NULL);
	avf_config_set_number(config, "timeout_s", 60, NULL);
	avf_config_add_disk(config, true, NULL);
	avf_config_add_partition(config, 1, "p", "0fc63daf-8483-4772-8e79-3d69d8477de4",
				 memfile(), true, NULL);
	open_world(&w);
	w.fds -= 4; /* which are the configuration's */
	assert_int_equal(AVirtualMachine_createRaw(w.service, config, out, -1, -1, &vm),
			 0);
	c = &w.fake->config;
	assert_string_equal(c->name, "db");
	assert_true(same_file(c->kernel, &kernel_st));
	assert_true(c->has_instance_id);
	assert_memory_equal(c->instance_id, id, sizeof(id));
	assert_int_equal(c->n_disks, 2);
	assert_true(same_file(c->disks[0].image, &disk_st) && c->disks[0].writable);
	assert_string_equal(c->disks[1].partitions[0].label, "p");
	assert_string_equal(c->disks[1].partitions[0].guid,
			    "0fc63daf-8483-4772-8e79-3d69d8477de4");
	assert_true(c->disks[1].partitions[0].writable);
	assert_int_equal(c->memory_mib, 100);
	assert_int_equal(c->cpu_count, 3);
	assert_int_equal(c->swiotlb_mib, 0);
	assert_int_equal(c->timeout_s, 60);
	assert_int_equal(c->vsock, VSOCK_UNIX);
	assert_true(c->watchdog && c->balloon && !c->protected);
	assert_true(same_file(c->console_out, &out_st));
	assert_int_equal(c->console_in, -1);
	assert_int_equal(avf_vm_cid(vm), FAKE_CID);
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

static void test_more_files_than_a_message_takes_arrive(void **state)
{
	AVirtualMachineRawConfig *config = new_config(NULL);
	AVirtualMachine *vm;
	struct stat last_st;
	struct world w;
	char label[16];
	int fd = -1;

	(void)state;
	open_world(&w);
	for (int i = 0; i < 300; i++) {
		if (i % 100 == 0)
			avf_config_add_disk(config, false, NULL);
		snprintf(label, sizeof(label), "p%d", i);
		fd = memfile();
		assert_int_equal(avf_config_add_partition(config, i / 100, label, NULL,
							  fd, false, NULL),
				 0);
	}
	assert_return_code(fstat(fd, &last_st), errno);
	w.fds--; /* the kernel */
	assert_int_equal(avf_vm_create(w.service, config, &vm, NULL), 0);
	assert_true(same_file(w.fake->config.disks[2].partitions[99].image, &last_st));
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

static void test_a_failure_to_create_takes_all_and_says_why(void **state)
{
	AVirtualMachine *vm, *const untouched = (void *)&vm;
	AVirtualMachineRawConfig *config;
	struct avf_error error = { "" };
	struct world w;

	(void)state;
	open_world(&w);
	vm = untouched;
	config = new_config(NULL);
	AVirtualMachineRawConfig_setName(config, "refused");
	assert_int_equal(AVirtualMachine_createRaw(w.service, config, memfile(),
						   memfile(), memfile(), &vm),
			 -EIO);
	config = new_config(NULL);
	AVirtualMachineRawConfig_setName(config, "refused");
	assert_int_equal(avf_vm_create(w.service, config, &vm, &error), -EDQUOT);
	assert_string_equal(error.message, "name: this one is refused");
	config = new_config(NULL);
	AVirtualMachineRawConfig_setVCpuCount(config, 0);
	assert_int_equal(avf_vm_create(w.service, config, &vm, &error), -EBADMSG);
	assert_string_equal(error.message, "cpu_count: must be positive");
	config = new_config(NULL);
	AVirtualMachineRawConfig_setDeviceTreeOverlay(config, memfile());
	assert_int_equal(avf_vm_create(w.service, config, &vm, &error), -ENOTSUP);
	config = AVirtualMachineRawConfig_create();
	assert_int_equal(avf_vm_create(w.service, config, &vm, &error), -EBADMSG);
	assert_string_equal(error.message,
			    "kernel: is missing, and so is a bootloader");
	config = new_config(NULL);
	AVirtualMachineRawConfig_setInitRd(config, 999);
	assert_int_equal(avf_vm_create(w.service, config, &vm, &error), -EINVAL);
	assert_string_equal(error.message, "initrd: descriptor 999 is not open");
	assert_ptr_equal(vm, untouched);
	close_world(&w);
}

static void test_swiotlb_is_of_protected_vms_only(void **state)
{
	AVirtualMachineRawConfig *config = new_config(NULL);
	AVirtualMachine *vm;
	struct world w;

	(void)state;
	open_world(&w);
	w.fds--;
	AVirtualMachineRawConfig_setProtectedVm(config, true);
	AVirtualMachineRawConfig_setSwiotlbMiB(config, 8);
	assert_int_equal(avf_vm_create(w.service, config, &vm, NULL), 0);
	assert_true(w.fake->config.protected);
	assert_int_equal(w.fake->config.swiotlb_mib, 8);
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

/* --- life --------------------------------------------------------------------- */

static void test_a_manager_that_cannot_be_started_is_told(void **state)
{
	AVirtualizationService *service, *const untouched = (void *)&service;
	struct avf_error error = { "" };
	int before = count_fds();

	(void)state;
	service = untouched;
	setenv("VIRTMGR", "/nonexistent/virtmgr", 1);
	setenv("EARLY_VIRTMGR", "/nonexistent/early_virtmgr", 1);
	assert_int_equal(AVirtualizationService_create(&service, false), -ENOENT);
	assert_int_equal(AVirtualizationService_create(&service, true), -ENOENT);
	assert_int_equal(avf_service_create(&service, "/bin/false", &error),
			 -ECONNREFUSED);
	assert_string_equal(error.message, "/bin/false: ended before it was ready");
	assert_int_equal(avf_service_connect(&service, "/nonexistent/path", &error),
			 -ENOENT);
	assert_ptr_equal(service, untouched);
	assert_int_equal(count_fds(), before);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	AVirtualizationService_destroy(NULL);
}

static void test_start_wait_and_stop(void **state)
{
	const struct timespec at_once = { 0 }, soon = { 0, 20000000 };
	enum AVirtualMachineStopReason reason = AVIRTUAL_MACHINE_HANGUP;
	struct avf_error error = { "" };
	AVirtualMachine *vm;
	uint64_t bytes;
	struct world w;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, NULL);
	assert_int_equal(AVirtualMachine_stop(vm), -EIO);
	assert_int_equal(avf_vm_stop(vm, &error), -EBADFD);
	assert_string_equal(error.message, "it is too late");
	assert_false(AVirtualMachine_waitForStop(vm, &at_once, &reason));
	assert_int_equal(AVirtualMachine_start(vm), 0);
	assert_int_equal(AVirtualMachine_start(vm), -EIO);
	assert_int_equal(avf_vm_get_state(vm, NULL), AVF_VM_STARTED);
	assert_int_equal(avf_vm_get_memory_balloon(vm, &bytes, NULL), 0);
	assert_true(bytes == UINT64_C(5) << 32);
	assert_false(AVirtualMachine_waitForStop(vm, &soon, &reason));
	assert_null(avf_vm_death(vm));
	assert_int_equal(reason, AVIRTUAL_MACHINE_HANGUP);
	assert_int_equal(AVirtualMachine_stop(vm), 0);
	assert_true(AVirtualMachine_waitForStop(vm, NULL, &reason));
	assert_int_equal(reason, AVIRTUAL_MACHINE_KILLED);
	assert_true(AVirtualMachine_waitForStop(vm, &at_once, &reason));
	assert_int_equal(avf_vm_get_state(vm, NULL), AVF_VM_DEAD);
	assert_int_equal(AVirtualMachine_stop(vm), -EIO);
	AVirtualMachine_destroy(vm);
	AVirtualMachine_destroy(NULL);
	close_world(&w);
}

static void test_every_death_is_told_by_its_name(void **state)
{
	static const struct {
		int death;
		enum AVirtualMachineStopReason reason;
		const char *name;
	} deaths[] = {
		{ 0, AVIRTUAL_MACHINE_INFRASTRUCTURE_ERROR, "infrastructure-error" },
		{ 1, AVIRTUAL_MACHINE_KILLED, "killed" },
		{ 2, AVIRTUAL_MACHINE_UNKNOWN, "unknown" },
		{ 3, AVIRTUAL_MACHINE_SHUTDOWN, "shutdown" },
		{ 4, AVIRTUAL_MACHINE_START_FAILED, "start-failed" },
		{ 5, AVIRTUAL_MACHINE_REBOOT, "reboot" },
		{ 6, AVIRTUAL_MACHINE_CRASH, "crash" },
		{ 7, AVIRTUAL_MACHINE_PVM_FIRMWARE_PUBLIC_KEY_MISMATCH,
		  "pvm-firmware-public-key-mismatch" },
		{ 8, AVIRTUAL_MACHINE_PVM_FIRMWARE_INSTANCE_IMAGE_CHANGED,
		  "pvm-firmware-instance-image-changed" },
		{ 12, AVIRTUAL_MACHINE_UNRECOGNISED, "microdroid-payload-has-changed" },
		{ 16, AVIRTUAL_MACHINE_HANGUP, "hangup" },
		{ 17, AVIRTUAL_MACHINE_UNRECOGNISED, "watchdog-reboot" },
		{ 1000, AVIRTUAL_MACHINE_UNRECOGNISED, "panic" },
		{ 1003, AVIRTUAL_MACHINE_UNRECOGNISED, "debug-exit" },
		{ 4321, AVIRTUAL_MACHINE_UNRECOGNISED, "" },
	};
	struct world w;

	(void)state;
	open_world(&w);
	for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++) {
		enum AVirtualMachineStopReason reason = AVIRTUAL_MACHINE_UNRECOGNISED;
		const struct avf_death *death;
		AVirtualMachine *vm;
		char params[16];

		snprintf(params, sizeof(params), "die %d", deaths[i].death);
		vm = new_vm(&w, params);
		assert_int_equal(AVirtualMachine_start(vm), 0);
		assert_true(AVirtualMachine_waitForStop(vm, NULL, &reason));
		assert_int_equal(reason, deaths[i].reason);
		death = avf_vm_death(vm);
		assert_non_null(death);
		assert_int_equal(death->reason, deaths[i].death);
		assert_string_equal(death->name, deaths[i].name);
		assert_string_equal(death->detail, "it was its time");
		assert_int_equal(death->exit_status, 36);
		assert_int_equal(death->run_time_ms, 1234);
		assert_null(death->failure_code);
		AVirtualMachine_destroy(vm);
	}
	close_world(&w);
}

static void test_a_failed_start_is_a_death_with_a_sentence(void **state)
{
	enum AVirtualMachineStopReason reason;
	struct avf_error error = { "" };
	AVirtualMachine *vm;
	struct world w;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, "fail");
	assert_int_equal(avf_vm_start(vm, &error), -ENOEXEC);
	assert_string_equal(error.message, "no kernel");
	assert_true(AVirtualMachine_waitForStop(vm, NULL, &reason));
	assert_int_equal(reason, AVIRTUAL_MACHINE_START_FAILED);
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

static void test_a_manager_that_dies_takes_the_vm_along(void **state)
{
	enum AVirtualMachineStopReason reason;
	struct avf_error error = { "" };
	struct avf_event event;
	AVirtualMachine *vm;
	struct world w;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, NULL);
	assert_int_equal(avf_vm_connect_vsock(vm, 2, &error), -ECONNRESET);
	assert_true(AVirtualMachine_waitForStop(vm, NULL, &reason));
	assert_int_equal(reason, AVIRTUAL_MACHINE_VIRTUALIZATION_SERVICE_DIED);
	assert_string_equal(avf_vm_death(vm)->name, "virtualization-service-died");
	assert_int_equal(avf_vm_next_event(vm, NULL, &event), 1);
	assert_int_equal(event.type, AVF_EVENT_DIED);
	assert_int_equal(event.code, AVF_DEATH_SERVICE_DIED);
	assert_int_equal(avf_vm_next_event(vm, NULL, &event), -ENODATA);
	assert_int_equal(AVirtualMachine_start(vm), -EIO);
	assert_int_equal(avf_vm_clone(vm, &error), -ECONNRESET);
	assert_int_equal(avf_vm_get_state(vm, &error), AVF_VM_DEAD);
	AVirtualMachine_destroy(vm);
	assert_int_equal(avf_vm_create(w.service, new_config(NULL), &vm, NULL),
			 -ECONNRESET);
	close_world(&w);
}

/* --- events ------------------------------------------------------------------- */

static void test_events_come_in_order_and_end_with_the_death(void **state)
{
	static const struct {
		int type, code;
	} want[] = {
		{ AVF_EVENT_STATE, AVF_VM_STARTED },
		{ AVF_EVENT_PAYLOAD_STARTED, 0 },
		{ AVF_EVENT_PAYLOAD_READY, 0 },
		{ AVF_EVENT_PAYLOAD_FINISHED, -3 },
		{ AVF_EVENT_STATE, AVF_VM_DEAD },
		{ AVF_EVENT_DIED, AVF_DEATH_KILLED },
	};
	const struct timespec at_once = { 0 };
	struct avf_event event;
	AVirtualMachine *vm;
	struct world w;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, "payload");
	assert_int_equal(avf_vm_next_event(vm, &at_once, &event), 0);
	assert_true(avf_vm_event_fd(vm) >= 0);
	avf_vm_start(vm, NULL);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		if (i == 4)
			avf_vm_stop(vm, NULL);
		assert_int_equal(avf_vm_next_event(vm, NULL, &event), 1);
		assert_int_equal(event.type, want[i].type);
		assert_int_equal(event.code, want[i].code);
		assert_int_equal(event.lost, 0);
	}
	assert_string_equal(event.message, "it was its time");
	assert_int_equal(avf_vm_next_event(vm, NULL, &event), -ENODATA);
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

static void test_events_that_nobody_takes_are_counted(void **state)
{
	struct avf_event event;
	AVirtualMachine *vm;
	struct world w;
	int n = 0;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, "errors 100");
	/* Its answer is behind the events, so all have come. */
	avf_vm_start(vm, NULL);
	assert_int_equal(avf_vm_next_event(vm, NULL, &event), 1);
	assert_int_equal(event.lost, 101 - 64);
	assert_int_equal(event.type, AVF_EVENT_ERROR);
	assert_int_equal(event.code, 100 - 64);
	assert_string_equal(event.message, "short");
	while (avf_vm_next_event(vm, &(struct timespec){ 0 }, &event) == 1) {
		assert_int_equal(event.lost, 0);
		n++;
	}
	assert_int_equal(n, 63);
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

static void test_a_long_message_is_cut_between_characters(void **state)
{
	struct avf_event event;
	AVirtualMachine *vm;
	struct world w;
	size_t len;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, "long");
	avf_vm_start(vm, NULL);
	assert_int_equal(avf_vm_next_event(vm, NULL, &event), 1);
	assert_int_equal(avf_vm_next_event(vm, NULL, &event), 1);
	len = strlen(event.message);
	assert_int_equal(len, 1009); /* 336 characters of three, and one */
	assert_memory_equal(event.message, fake_long_message, len);
	AVirtualMachine_destroy(vm);
	close_world(&w);
}

/* --- handles ------------------------------------------------------------------ */

/* Until the fake manager has seen the end of all but @n. */
static void wait_for_handles(struct fake *f, int n)
{
	while (f->handles != n)
		usleep(1000);
}

static void test_a_clone_is_a_handle_of_its_own(void **state)
{
	enum AVirtualMachineStopReason reason;
	AVirtualMachine *vm, *other;
	struct world w;
	int handle;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, NULL);
	handle = avf_vm_clone(vm, NULL);
	assert_true(handle >= 0);
	assert_int_equal(avf_vm_open(handle, &other, NULL), 0);
	assert_int_equal(avf_vm_cid(other), FAKE_CID);
	assert_int_equal(AVirtualMachine_start(other), 0);
	wait_for_handles(w.fake, 2);
	avf_vm_close(vm);
	wait_for_handles(w.fake, 1);
	assert_int_equal(w.fake->state, VM_STARTED);
	assert_int_equal(avf_service_open_vm(w.service, "4711", &vm, NULL), 0);
	AVirtualMachine_destroy(other);
	assert_int_equal(w.fake->state, VM_DEAD);
	assert_true(AVirtualMachine_waitForStop(vm, NULL, &reason));
	avf_vm_close(vm);
	wait_for_handles(w.fake, 0);
	avf_vm_close(NULL);
	close_world(&w);
}

static void test_a_handle_of_a_dead_vm_knows_how_it_died(void **state)
{
	enum AVirtualMachineStopReason reason;
	struct avf_error error = { "" };
	AVirtualMachine *vm, *other;
	struct world w;

	(void)state;
	open_world(&w);
	vm = new_vm(&w, "die 5");
	AVirtualMachine_start(vm);
	assert_int_equal(avf_vm_open(avf_vm_clone(vm, NULL), &other, NULL), 0);
	assert_true(AVirtualMachine_waitForStop(other, NULL, &reason));
	assert_int_equal(reason, AVIRTUAL_MACHINE_REBOOT);
	assert_string_equal(avf_vm_death(other)->detail, "it was its time");
	avf_vm_close(other);
	avf_vm_close(vm);
	assert_int_equal(avf_service_open_vm(w.service, "nobody", &vm, &error),
			 -ENOENT);
	assert_string_equal(error.message, "nobody: no such VM");
	close_world(&w);
}

static void test_a_handle_that_is_none_is_refused(void **state)
{
	struct avf_error error = { "" };
	AVirtualMachine *vm;
	int pair[2], before = count_fds();

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), errno);
	close(pair[1]);
	assert_int_equal(avf_vm_open(pair[0], &vm, &error), -ECONNRESET);
	assert_int_equal(count_fds(), before);
}

static void remember(void *arg, const struct avf_vm_info *info)
{
	struct avf_vm_info *got = arg;

	if (info->cid == 7) {
		*got = *info;
		assert_string_equal(info->name, "seven");
	} else {
		assert_string_equal(info->name, "");
	}
}

static void test_the_managers_other_services(void **state)
{
	struct avf_vm_info info = { 0 };
	uint8_t id[64] = { 0 };
	int fd = memfile();
	struct world w;
	struct stat st;

	(void)state;
	open_world(&w);
	assert_int_equal(avf_service_list_vms(w.service, remember, &info, NULL), 2);
	assert_true(info.cid == 7 && info.memory == UINT64_C(1) << 40);
	assert_int_equal(avf_service_allocate_instance_id(w.service, id, NULL), 0);
	assert_true(id[0] == 0x77 && id[63] == 5);
	assert_int_equal(avf_service_initialize_partition(w.service, fd, 8192,
							  AVF_PARTITION_ENCRYPTED_STORE,
							  NULL),
			 0);
	assert_return_code(fstat(fd, &st), errno);
	assert_int_equal(st.st_size, 8194);
	close_world(&w);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_setters_take_descriptors_whatever_they_return),
		cmocka_unit_test(test_setters_refuse_what_is_wrong),
		cmocka_unit_test(test_what_is_set_arrives),
		cmocka_unit_test(test_more_files_than_a_message_takes_arrive),
		cmocka_unit_test(test_a_failure_to_create_takes_all_and_says_why),
		cmocka_unit_test(test_swiotlb_is_of_protected_vms_only),
		cmocka_unit_test(test_a_manager_that_cannot_be_started_is_told),
		cmocka_unit_test(test_start_wait_and_stop),
		cmocka_unit_test(test_every_death_is_told_by_its_name),
		cmocka_unit_test(test_a_failed_start_is_a_death_with_a_sentence),
		cmocka_unit_test(test_a_manager_that_dies_takes_the_vm_along),
		cmocka_unit_test(test_events_come_in_order_and_end_with_the_death),
		cmocka_unit_test(test_events_that_nobody_takes_are_counted),
		cmocka_unit_test(test_a_long_message_is_cut_between_characters),
		cmocka_unit_test(test_a_clone_is_a_handle_of_its_own),
		cmocka_unit_test(test_a_handle_of_a_dead_vm_knows_how_it_died),
		cmocka_unit_test(test_a_handle_that_is_none_is_refused),
		cmocka_unit_test(test_the_managers_other_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
