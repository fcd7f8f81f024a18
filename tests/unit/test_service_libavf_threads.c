/* libavf by many threads at a time; of most use with SAN=thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <vmm/avf.h>

#include "tests/unit/fake_manager.h"

#define THREADS 8
#define TURNS 200

struct world {
	struct fake *fake;
	AVirtualizationService *service;
	AVirtualMachine *vm;
	pthread_t threads[THREADS];
	atomic_int reasons[12], events, deaths, answers;
};

static int new_vm(struct world *w, AVirtualMachine **vm)
{
	AVirtualMachineRawConfig *config = AVirtualMachineRawConfig_create();

	AVirtualMachineRawConfig_setKernel(config, open("/dev/null", O_RDONLY));
	return AVirtualMachine_createRaw(w->service, config, -1, -1, -1, vm);
}

static void open_world(struct world *w)
{
	*w = (struct world){ .fake = fake_new() };
	assert_int_equal(avf_service_connect(&w->service, w->fake->path, NULL), 0);
	assert_int_equal(new_vm(w, &w->vm), 0);
	assert_int_equal(AVirtualMachine_start(w->vm), 0);
}

static void close_world(struct world *w)
{
	AVirtualMachine_destroy(w->vm);
	AVirtualizationService_destroy(w->service);
	fake_free(w->fake);
}

static void start(struct world *w, int from, int to, void *(*thread)(void *))
{
	for (int i = from; i < to; i++)
		assert_int_equal(pthread_create(&w->threads[i], NULL, thread, w), 0);
}

static void join(struct world *w, int from, int to)
{
	for (int i = from; i < to; i++)
		assert_int_equal(pthread_join(w->threads[i], NULL), 0);
}

static void *wait_for_stop(void *arg)
{
	struct world *w = arg;
	enum AVirtualMachineStopReason reason;

	if (AVirtualMachine_waitForStop(w->vm, NULL, &reason))
		w->reasons[reason]++;
	return NULL;
}

/* As wait_for_stop(), a little at a time. */
static void *keep_asking(void *arg)
{
	const struct timespec little = { .tv_nsec = 100000 };
	enum AVirtualMachineStopReason reason;
	struct world *w = arg;

	while (!AVirtualMachine_waitForStop(w->vm, &little, &reason))
		;
	w->reasons[reason]++;
	return NULL;
}

static void *take_events(void *arg)
{
	struct world *w = arg;
	struct avf_event event;

	while (avf_vm_next_event(w->vm, NULL, &event) == 1) {
		w->events++;
		w->deaths += event.type == AVF_EVENT_DIED;
	}
	return NULL;
}

/* Each answer must be that of the call. */
static void *call(void *arg)
{
	struct world *w = arg;
	uint32_t got;

	for (uint32_t i = 0; i < TURNS; i++) {
		uint32_t port = 1000 + i;
		int fd = AVirtualMachine_connectVsock(w->vm, port);

		if (fd >= 0 && read(fd, &got, sizeof(got)) == sizeof(got) &&
		    got == port)
			w->answers++;
		close(fd);
	}
	return NULL;
}

static void *connect_for_ever(void *arg)
{
	struct world *w = arg;

	w->answers += AVirtualMachine_connectVsock(w->vm, 1) == -EIO;
	return NULL;
}

static void *make_and_let_go(void *arg)
{
	struct world *w = arg;
	struct avf_error error;
	AVirtualMachine *vm;
	uint8_t id[64];

	for (int i = 0; i < TURNS / 10; i++) {
		if (new_vm(w, &vm) < 0)
			continue;
		if (avf_service_allocate_instance_id(w->service, id, &error) == 0 &&
		    avf_vm_cid(vm) == FAKE_CID)
			w->answers++;
		avf_vm_close(vm);
	}
	return NULL;
}

static void test_all_waiters_learn_of_the_same_death(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	start(&w, 0, 4, wait_for_stop);
	start(&w, 4, 8, keep_asking);
	usleep(10000);
	assert_int_equal(AVirtualMachine_stop(w.vm), 0);
	join(&w, 0, 8);
	assert_int_equal(w.reasons[AVIRTUAL_MACHINE_KILLED], 8);
	close_world(&w);
}

static void test_each_call_has_its_own_answer(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	start(&w, 0, 2, wait_for_stop);
	start(&w, 2, 8, call);
	join(&w, 2, 8);
	assert_int_equal(w.answers, 6 * TURNS);
	assert_int_equal(AVirtualMachine_stop(w.vm), 0);
	join(&w, 0, 2);
	close_world(&w);
}

static void test_each_event_goes_to_one(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	start(&w, 0, 4, take_events);
	start(&w, 4, 8, call);
	join(&w, 4, 8);
	assert_int_equal(AVirtualMachine_stop(w.vm), 0);
	join(&w, 0, 4);
	assert_int_equal(w.events, 3); /* it started, it is dead, it died */
	assert_int_equal(w.deaths, 1);
	close_world(&w);
}

static void test_a_call_without_an_answer_keeps_nobody(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	start(&w, 0, 2, connect_for_ever);
	start(&w, 2, 4, wait_for_stop);
	assert_int_equal(avf_vm_get_state(w.vm, NULL), AVF_VM_STARTED);
	assert_int_equal(AVirtualMachine_stop(w.vm), 0);
	join(&w, 2, 4);
	assert_int_equal(w.answers, 0);
	/* The manager's end ends the calls. */
	assert_int_equal(AVirtualMachine_connectVsock(w.vm, 2), -EIO);
	join(&w, 0, 2);
	assert_int_equal(w.answers, 2);
	close_world(&w);
}

static void test_one_service_makes_machines_for_all(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	start(&w, 0, THREADS, make_and_let_go);
	join(&w, 0, THREADS);
	assert_int_equal(w.answers, THREADS * (TURNS / 10));
	close_world(&w);
}

static void *destroy_all(void *arg)
{
	struct world *w = arg;

	AVirtualMachine_destroy(w->vm);
	AVirtualizationService_destroy(w->service);
	return NULL;
}

static void test_another_thread_than_their_maker_may_destroy_them(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	start(&w, 0, 1, destroy_all);
	join(&w, 0, 1);
	assert_int_equal(w.fake->state, VM_DEAD);
	fake_free(w.fake);
}

/* libsystemd makes one key for all its hash tables, with no lock: whichever bytes of
 * two of them win, they are random. Everything else must be clean. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race_top:^getrandom$\n";
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_waiters_learn_of_the_same_death),
		cmocka_unit_test(test_each_call_has_its_own_answer),
		cmocka_unit_test(test_each_event_goes_to_one),
		cmocka_unit_test(test_a_call_without_an_answer_keeps_nobody),
		cmocka_unit_test(test_one_service_makes_machines_for_all),
		cmocka_unit_test(test_another_thread_than_their_maker_may_destroy_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
