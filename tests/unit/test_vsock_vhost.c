/* The vsock device of the host's kernel: what the kernel is told, and when. */
#include "virtio/vsock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"
#include "tests/unit/fake_vhost.h"
#include "virtio/list.h"

#define RAM (4u << 20)
#define GSI PCI_INTX_GSI(1)
#define SEQPACKET 2ull
#define CID 0x12345678

struct env {
	struct fake_host host;
	struct fake_driver d;
	struct vsock_cfg cfg;
	struct device *dev;
	int file; /* what passes for /dev/vhost-vsock */
	char path[32];
	struct err err;
};

static struct fake_vhost *const kernel = &fake_vhost;

static int create(struct env *e)
{
	return virtio_vsock_class.create(&e->cfg, &e->host.host, &e->dev, &e->err);
}

static int bare(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	fake_vhost_init();
	fake_host_init(&e->host, "vsock", RAM);
	e->file = memfd_create("vhost-vsock", 0);
	snprintf(e->path, sizeof(e->path), "/proc/self/fd/%d", e->file);
	e->cfg = (struct vsock_cfg){ .cid = CID, .device = e->path };
	*state = e;
	return 0;
}

static int setup(void **state)
{
	struct env *e;

	bare(state);
	e = *state;
	if (create(e) < 0 || e->dev->class->prepare(e->dev, &e->err) < 0)
		fail_msg("%s", e->err.msg);
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	if (e->dev)
		e->dev->class->free(e->dev);
	fake_host_free(&e->host);
	close(e->file);
	free(e);
	return 0;
}

static void start(struct env *e)
{
	fake_driver_start(&e->d, &e->host, VSOCK_ID, FAKE_ALL_FEATURES);
}

/* What the kernel does to interrupt for queue @n. */
static void kernel_signals(unsigned n)
{
	assert_int_equal(eventfd_write(kernel->q[n].call, 1), 0);
}

/* How often an eventfd was signalled since last asked. */
static uint64_t signals(int fd)
{
	eventfd_t n;

	return eventfd_read(fd, &n) == 0 ? n : 0;
}

/* The kernel has the rings that the driver set up. */
static void has_the_rings(struct env *e)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct fake_vq *q = &e->d.q[i];
		const struct vhost_vring_addr *a = &kernel->q[i].addr;

		assert_int_equal(kernel->q[i].num, q->size);
		assert_int_equal(a->index, i);
		assert_int_equal(a->flags, 0);
		assert_ptr_equal(a->desc_user_addr, q->desc);
		assert_ptr_equal(a->avail_user_addr, q->avail);
		assert_ptr_equal(a->used_user_addr, q->used);
	}
}

/* --- making it ------------------------------------------------------------- */

static void the_guest_learns_its_address(void **state)
{
	struct env *e = *state;

	start(e);
	assert_int_equal(fake_config_in(&e->d, 0, 8), CID);
	fake_config_out(&e->d, 0, 99, 8);
	assert_int_equal(fake_config_in(&e->d, 0, 8), CID);
	assert_int_equal(fake_common_in(&e->d, FAKE_NUM_QUEUES, 2), 3);
}

static void seqpacket_is_offered_when_the_kernel_has_it(void **state)
{
	struct env *e = *state;

	/* The kernel's own (LOG_ALL) is not for guests. */
	kernel->offered = FAKE_VHOST_FEATURES | 1ull << 26;
	assert_int_equal(create(e), 0);
	fake_driver_find(&e->d, &e->host, VSOCK_ID, 0);
	assert_int_equal(fake_driver_offered(&e->d), FAKE_VHOST_FEATURES);
}

static void seqpacket_is_not_offered_when_the_kernel_lacks_it(void **state)
{
	struct env *e = *state;

	kernel->offered = FAKE_VHOST_FEATURES & ~SEQPACKET;
	assert_int_equal(create(e), 0);
	fake_driver_find(&e->d, &e->host, VSOCK_ID, 0);
	assert_int_equal(fake_driver_offered(&e->d), FAKE_VHOST_FEATURES & ~SEQPACKET);
}

static void the_kernel_gets_memory_and_address_before_the_guest_runs(void **state)
{
	struct env *e = *state;

	assert_true(kernel->owned);
	assert_int_equal(kernel->cid, CID);
	assert_int_equal(kernel->n_regions, 1);
	assert_int_equal(kernel->regions[0].guest_phys_addr, 0);
	assert_int_equal(kernel->regions[0].memory_size, RAM);
	assert_ptr_equal(kernel->regions[0].userspace_addr,
			 fake_ptr(&e->host, GPA(0), RAM));
	assert_int_equal(kernel->n_starts, 0);
}

static void create_fails_with(struct env *e, int error, const char *why)
{
	char text[128];

	assert_int_equal(create(e), error);
	snprintf(text, sizeof(text), "vsock %s: %s", e->path, why);
	assert_string_equal(e->err.msg, text);
	assert_null(e->dev);
}

static void what_is_no_vhost_device_is_refused(void **state)
{
	struct env *e = *state;

	kernel->fail = VHOST_GET_FEATURES;
	kernel->fail_errno = ENOTTY;
	create_fails_with(e, -ENOTTY, "is not a vhost device");
	kernel->offered = FAKE_VHOST_FEATURES & ~VIRTIO_F_EVENT_IDX;
	create_fails_with(e, -ENOTSUP, "lacks virtio features");
	kernel->offered = FAKE_VHOST_FEATURES & ~VIRTIO_F_VERSION_1;
	create_fails_with(e, -ENOTSUP, "lacks virtio features");
	strcpy(e->path, "/no/such");
	create_fails_with(e, -ENOENT, "No such file or directory");
}

static void a_host_without_it_is_told_what_to_do(void **state)
{
	struct env *e = *state;

	e->cfg.device = NULL;
	if (access("/dev/vhost-vsock", F_OK) == 0) {
		print_message("this host has /dev/vhost-vsock\n");
		skip();
	}
	assert_int_equal(create(e), -ENOENT);
	assert_string_equal(
		e->err.msg,
		"vsock: this host has no /dev/vhost-vsock (modprobe vhost_vsock makes it); "
		"backend=unix,path=SOCKET works without");
	assert_null(e->dev);
}

static void failures_before_the_guest_runs_are_told(void **state)
{
	static const struct {
		unsigned long request;
		int error;
		const char *text;
	} cases[] = {
		{ VHOST_SET_OWNER, EBUSY, "VHOST_SET_OWNER: Device or resource busy" },
		{ VHOST_SET_MEM_TABLE, ENOMEM,
		  "VHOST_SET_MEM_TABLE: Cannot allocate memory" },
		{ VHOST_SET_VRING_KICK, EBADF,
		  "VHOST_SET_VRING_KICK: Bad file descriptor" },
		{ VHOST_SET_VRING_ERR, EBADF,
		  "VHOST_SET_VRING_ERR: Bad file descriptor" },
		{ VHOST_VSOCK_SET_GUEST_CID, ENOTTY,
		  "VHOST_VSOCK_SET_GUEST_CID: Inappropriate ioctl for device" },
	};
	struct env *e = *state;
	char text[128];

	assert_int_equal(create(e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_vhost_init();
		kernel->fail = cases[i].request;
		kernel->fail_errno = cases[i].error;
		assert_int_equal(e->dev->class->prepare(e->dev, &e->err),
				 -cases[i].error);
		snprintf(text, sizeof(text), "vsock: %s: %s", e->path, cases[i].text);
		assert_string_equal(e->err.msg, text);
	}
}

static void an_address_in_use_is_told(void **state)
{
	struct env *e = *state;

	e->cfg.cid = 42;
	assert_int_equal(create(e), 0);
	kernel->fail = VHOST_VSOCK_SET_GUEST_CID;
	kernel->fail_errno = EADDRINUSE;
	assert_int_equal(e->dev->class->prepare(e->dev, &e->err), -EADDRINUSE);
	assert_string_equal(e->err.msg, "vsock: CID 42 is in use by another VM");
}

/* --- starting -------------------------------------------------------------- */

static void driver_ok_gives_the_rings_to_the_kernel(void **state)
{
	struct env *e = *state;

	start(e);
	assert_true(kernel->running);
	assert_int_equal(kernel->features, FAKE_VHOST_FEATURES);
	has_the_rings(e);
	assert_int_equal(kernel->q[1].base, 0);
	/* Buffers from before DRIVER_OK are looked at without another kick. */
	assert_int_equal(signals(kernel->q[0].kick), 1);
	assert_int_equal(signals(kernel->q[1].kick), 1);
}

static void only_negotiated_features_reach_the_kernel(void **state)
{
	struct env *e = *state;

	fake_driver_start(&e->d, &e->host, VSOCK_ID, VIRTIO_F_VERSION_1);
	assert_int_equal(kernel->features, VIRTIO_F_VERSION_1);
	assert_true(kernel->running);
}

/* A guest that rewrites its registers while the kernel is being told of them. */
static void rewrite(void *arg)
{
	struct env *e = arg;

	for (uint16_t i = 0; i < 2; i++) {
		uint16_t size = 8;
		uint64_t addr = 0x1000;

		virtio_write(e->dev, 0, FAKE_QUEUE_SELECT, &i, 2);
		virtio_write(e->dev, 0, FAKE_QUEUE_SIZE, &size, 2);
		virtio_write(e->dev, 0, FAKE_QUEUE_DESC, &addr, 8);
		virtio_write(e->dev, 0, FAKE_QUEUE_DRIVER, &addr, 8);
		virtio_write(e->dev, 0, FAKE_QUEUE_DEVICE, &addr, 8);
	}
}

static void what_the_guest_rewrites_does_not_reach_the_kernel(void **state)
{
	struct env *e = *state;

	kernel->meanwhile = rewrite;
	kernel->arg = e;
	start(e);
	kernel->meanwhile = NULL;
	has_the_rings(e);
	kernel->n_calls = 0;
	rewrite(e);
	assert_int_equal(kernel->n_calls, 0);
	has_the_rings(e);
}

static void rings_outside_of_ram_never_reach_the_kernel(void **state)
{
	struct env *e = *state;

	fake_driver_find(&e->d, &e->host, VSOCK_ID, 0);
	fake_driver_reset(&e->d);
	assert_true(fake_driver_negotiate(&e->d, fake_driver_offered(&e->d)));
	fake_driver_queue(&e->d, 0, 0);
	fake_common_out(&e->d, FAKE_QUEUE_SELECT, 1, 2);
	/* The used ring goes on where RAM ends. */
	fake_common_out(&e->d, FAKE_QUEUE_DEVICE, RAM - 64, 4);
	fake_common_out(&e->d, FAKE_QUEUE_ENABLE, 1, 2);
	kernel->n_calls = 0;
	fake_driver_ok(&e->d);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	assert_int_equal(kernel->n_calls, 0);
	start(e);
	has_the_rings(e);
}

static void a_queue_left_out_needs_a_reset(void **state)
{
	struct env *e = *state;

	start(e); /* so that the kernel knows two queues from before */
	for (unsigned i = 0; i < 2; i++) {
		fake_driver_reset(&e->d);
		assert_true(fake_driver_negotiate(&e->d, fake_driver_offered(&e->d)));
		fake_driver_queue(&e->d, i, 0);
		fake_driver_ok(&e->d);
		assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
		assert_false(kernel->running);
	}
	start(e);
	assert_true(kernel->running);
}

static void a_start_that_fails_needs_a_reset_and_is_cured_by_it(void **state)
{
	static const unsigned long requests[] = {
		VHOST_SET_FEATURES,   VHOST_SET_VRING_NUM,  VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ADDR, VHOST_SET_VRING_CALL, VHOST_VSOCK_SET_RUNNING
	};
	struct env *e = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(requests); i++) {
		unsigned long request = requests[i / 2];
		bool once = request == VHOST_SET_FEATURES ||
			    request == VHOST_VSOCK_SET_RUNNING;

		if (i % 2 && once)
			continue;
		fake_driver_find(&e->d, &e->host, VSOCK_ID, 0);
		fake_driver_reset(&e->d);
		assert_true(fake_driver_negotiate(&e->d, fake_driver_offered(&e->d)));
		fake_driver_msix(&e->d);
		for (unsigned q = 0; q < 3; q++)
			fake_driver_queue(&e->d, q, 0);
		kernel->fail = request;
		kernel->fail_errno = EFAULT;
		kernel->fail_after = i % 2; /* of the second queue */
		fake_driver_ok(&e->d);
		assert_int_equal(kernel->fail, 0);
		assert_false(kernel->running);
		assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
		assert_int_equal(fake_interrupts(&e->d, 0), 1);
		start(e);
		assert_true(kernel->running);
	}
	assert_int_equal(e->host.end, VM_END_NONE);
}

/* --- kicks ----------------------------------------------------------------- */

static int notify_fd(const struct env *e, unsigned n)
{
	for (size_t i = 0; i < FAKE_MAX_NOTIFIES; i++)
		if (e->host.notifies[i].dev == e->dev &&
		    e->host.notifies[i].off == e->d.kick_addr[n] - e->d.bar)
			return e->host.notifies[i].fd;
	return -1;
}

static void kicks_go_to_the_kernel_alone(void **state)
{
	struct env *e = *state;

	start(e);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(notify_fd(e, i), kernel->q[i].kick);
		signals(kernel->q[i].kick);
	}
	assert_int_not_equal(kernel->q[0].kick, kernel->q[1].kick);
	fake_run(&e->host);
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[1], 1, 2);
	assert_int_equal(loop_poll(e->host.host.loop), 0); /* nobody woke */
	assert_int_equal(signals(kernel->q[0].kick), 0);
	assert_int_equal(signals(kernel->q[1].kick), 1);
}

static void kicks_reach_the_kernel_without_ioeventfd(void **state)
{
	struct env *e = *state;

	e->host.no_notify = true;
	start(e);
	signals(kernel->q[1].kick);
	fake_kick(&e->d, 1);
	assert_int_equal(signals(kernel->q[1].kick), 1);
}

static void event_buffers_stay(void **state)
{
	struct env *e = *state;
	struct fake_seg seg = { fake_alloc(&e->host, 64, 1), 64, true };

	start(e);
	kernel->n_calls = 0;
	for (int i = 0; i < 8; i++)
		fake_submit(&e->d, VSOCK_EVENT, &seg, 1);
	fake_kick(&e->d, VSOCK_EVENT);
	assert_false(fake_used(&e->d, VSOCK_EVENT, NULL, NULL));
	assert_int_equal(kernel->n_calls, 0);
	assert_int_equal(fake_status(&e->d), 0x0f);
}

/* --- interrupts ------------------------------------------------------------ */

static void interrupts_go_to_the_vector_of_each_queue(void **state)
{
	struct env *e = *state;

	start(e);
	kernel_signals(0);
	assert_int_equal(loop_poll(e->host.host.loop), 1); /* the first kick, and */
	assert_int_equal(loop_poll(e->host.host.loop), 0); /* no relay */
	assert_int_equal(fake_interrupts(&e->d, 1), 1);
	assert_int_equal(fake_interrupts(&e->d, 2), 0);
	kernel_signals(1);
	assert_int_equal(fake_interrupts(&e->d, 2), 1);
}

static void a_masked_vector_keeps_what_came_without_telling_the_kernel(void **state)
{
	struct env *e = *state;
	uint64_t entry;

	start(e);
	kernel->n_calls = 0;
	entry = e->d.msix_table + 16 * 1;
	fake_out(&e->host, DEV_MMIO, entry + 12, 1, 4);
	kernel_signals(0);
	assert_int_equal(fake_interrupts(&e->d, 1), 0);
	assert_int_equal(fake_in(&e->host, DEV_MMIO, e->d.msix_pba, 4), 2);
	fake_out(&e->host, DEV_MMIO, entry + 12, 0, 4);
	assert_int_equal(fake_interrupts(&e->d, 1), 1);
	assert_int_equal(kernel->n_calls, 0);
}

static void a_vector_masked_at_driver_ok_works_once_unmasked(void **state)
{
	struct env *e = *state;

	fake_driver_find(&e->d, &e->host, VSOCK_ID, 0);
	fake_driver_reset(&e->d);
	assert_true(fake_driver_negotiate(&e->d, fake_driver_offered(&e->d)));
	fake_pci_out(&e->d, e->d.msix_cap + 2, 0xc000, 2); /* enabled, all masked */
	e->d.msix = true;
	for (unsigned q = 0; q < 3; q++)
		fake_driver_queue(&e->d, q, 0);
	fake_driver_ok(&e->d);
	kernel_signals(1);
	kernel->n_calls = 0;
	fake_driver_msix(&e->d);
	assert_int_equal(fake_interrupts(&e->d, 2), 1);
	assert_int_equal(kernel->n_calls, 0);
}

static void without_msix_interrupts_are_relayed(void **state)
{
	struct env *e = *state;

	fake_driver_start_intx(&e->d, &e->host, VSOCK_ID, FAKE_ALL_FEATURES);
	for (int i = 0; i < 2; i++) {
		kernel_signals((unsigned)i);
		assert_false(e->host.level[GSI]);
		fake_run(&e->host);
		assert_true(e->host.level[GSI]);
		assert_int_equal(fake_isr(&e->d), 1);
		assert_false(e->host.level[GSI]);
	}
	fake_run(&e->host);
	assert_false(e->host.level[GSI]);
}

static void a_new_vector_is_told_to_the_kernel(void **state)
{
	struct env *e = *state;

	start(e);
	fake_common_out(&e->d, FAKE_QUEUE_SELECT, 0, 2);
	fake_common_out(&e->d, FAKE_QUEUE_VECTOR, 3, 2);
	kernel_signals(0);
	assert_int_equal(fake_interrupts(&e->d, 1), 0);
	assert_int_equal(fake_interrupts(&e->d, 3), 1);
	fake_common_out(&e->d, FAKE_QUEUE_VECTOR, 0xffff, 2);
	assert_int_equal(kernel->q[0].call, -1);
	/* The queue that is not the kernel's. */
	kernel->n_calls = 0;
	fake_common_out(&e->d, FAKE_QUEUE_SELECT, 2, 2);
	fake_common_out(&e->d, FAKE_QUEUE_VECTOR, 1, 2);
	assert_int_equal(kernel->n_calls, 0);
}

static void turning_msix_off_and_on_is_told_to_the_kernel(void **state)
{
	struct env *e = *state;

	start(e);
	fake_pci_out(&e->d, e->d.msix_cap + 2, 0, 2);
	kernel_signals(0);
	fake_run(&e->host);
	assert_true(e->host.level[GSI]);
	assert_int_equal(fake_isr(&e->d), 1);
	fake_pci_out(&e->d, e->d.msix_cap + 2, 0x8000, 2);
	kernel_signals(0);
	assert_int_equal(fake_interrupts(&e->d, 1), 1);
	kernel->fail = VHOST_SET_VRING_CALL;
	kernel->fail_errno = EBADF;
	fake_pci_out(&e->d, e->d.msix_cap + 2, 0, 2);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
}

/* --- stopping -------------------------------------------------------------- */

static void reset_takes_the_rings_back_and_starts_afresh(void **state)
{
	struct env *e = *state;
	int kick;

	start(e);
	kick = kernel->q[0].kick;
	fake_driver_reset(&e->d);
	assert_false(kernel->running);
	assert_int_equal(kernel->n_stops, 1);
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[0], 0, 2);
	fake_run(&e->host);
	assert_false(kernel->running);
	fake_driver_reset(&e->d); /* once is enough */
	assert_int_equal(kernel->n_stops, 1);
	kernel->q[1].base = 77;
	start(e);
	assert_true(kernel->running);
	has_the_rings(e);
	assert_int_equal(kernel->q[1].base, 0);
	assert_int_equal(kernel->q[0].kick, kick);
	assert_int_equal(kernel->cid, CID);
}

static void an_interrupt_that_was_under_way_ends_with_the_reset(void **state)
{
	struct env *e = *state;

	fake_driver_start_intx(&e->d, &e->host, VSOCK_ID, FAKE_ALL_FEATURES);
	kernel_signals(0);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	assert_false(e->host.level[GSI]);
	assert_int_equal(fake_isr(&e->d), 0);
}

static void a_queue_that_the_kernel_complains_of_needs_a_reset(void **state)
{
	struct env *e = *state;

	start(e);
	assert_int_equal(eventfd_write(kernel->q[1].err, 1), 0);
	fake_run(&e->host);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	assert_int_equal(fake_interrupts(&e->d, 0), 1);
	assert_false(kernel->running);
	/* Late complaints of a stopped device. */
	fake_driver_reset(&e->d);
	assert_int_equal(eventfd_write(kernel->q[1].err, 1), 0);
	fake_run(&e->host);
	assert_int_equal(fake_status(&e->d), 0);
	start(e);
	assert_true(kernel->running);
}

static void the_machines_reset_stops_the_kernel(void **state)
{
	struct env *e = *state;

	start(e);
	e->dev->class->reset(e->dev);
	assert_false(kernel->running);
	start(e);
	e->dev->class->free(e->dev);
	e->dev = NULL;
	assert_false(kernel->running);
}

static void suspending_takes_the_kernel_away_and_keeps_the_rings(void **state)
{
	struct env *e = *state;
	unsigned calls;

	start(e);
	signals(kernel->q[0].kick);
	signals(kernel->q[1].kick);
	calls = kernel->n_calls;
	e->dev->class->pause(e->dev, DEV_STILL);
	assert_true(kernel->running);
	e->dev->class->pause(e->dev, DEV_SUSPENDED);
	assert_false(kernel->running);
	has_the_rings(e);
	e->dev->class->pause(e->dev, DEV_RUNS);
	fake_run(&e->host);
	assert_true(kernel->running);
	assert_int_equal(kernel->n_calls, calls + 2);
	/* It looks at what has come meanwhile. */
	assert_int_equal(signals(kernel->q[0].kick), 1);
	assert_int_equal(signals(kernel->q[1].kick), 1);
}

static void a_kernel_that_does_not_go_on_needs_a_reset(void **state)
{
	struct env *e = *state;

	start(e);
	e->dev->class->pause(e->dev, DEV_SUSPENDED);
	kernel->fail = VHOST_VSOCK_SET_RUNNING;
	kernel->fail_errno = EFAULT;
	e->dev->class->pause(e->dev, DEV_RUNS);
	fake_run(&e->host);
	assert_true(fake_status(&e->d) & FAKE_NEEDS_RESET);
	start(e);
	assert_true(kernel->running);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define BARE(name) cmocka_unit_test_setup_teardown(name, bare, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_guest_learns_its_address),
		BARE(seqpacket_is_offered_when_the_kernel_has_it),
		BARE(seqpacket_is_not_offered_when_the_kernel_lacks_it),
		TEST(the_kernel_gets_memory_and_address_before_the_guest_runs),
		BARE(what_is_no_vhost_device_is_refused),
		BARE(a_host_without_it_is_told_what_to_do),
		BARE(failures_before_the_guest_runs_are_told),
		BARE(an_address_in_use_is_told),
		TEST(driver_ok_gives_the_rings_to_the_kernel),
		TEST(only_negotiated_features_reach_the_kernel),
		TEST(what_the_guest_rewrites_does_not_reach_the_kernel),
		TEST(rings_outside_of_ram_never_reach_the_kernel),
		TEST(a_queue_left_out_needs_a_reset),
		TEST(a_start_that_fails_needs_a_reset_and_is_cured_by_it),
		TEST(kicks_go_to_the_kernel_alone),
		TEST(kicks_reach_the_kernel_without_ioeventfd),
		TEST(event_buffers_stay),
		TEST(interrupts_go_to_the_vector_of_each_queue),
		TEST(a_masked_vector_keeps_what_came_without_telling_the_kernel),
		TEST(a_vector_masked_at_driver_ok_works_once_unmasked),
		TEST(without_msix_interrupts_are_relayed),
		TEST(a_new_vector_is_told_to_the_kernel),
		TEST(turning_msix_off_and_on_is_told_to_the_kernel),
		TEST(reset_takes_the_rings_back_and_starts_afresh),
		TEST(an_interrupt_that_was_under_way_ends_with_the_reset),
		TEST(a_queue_that_the_kernel_complains_of_needs_a_reset),
		TEST(the_machines_reset_stops_the_kernel),
		TEST(suspending_takes_the_kernel_away_and_keeps_the_rings),
		TEST(a_kernel_that_does_not_go_on_needs_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
