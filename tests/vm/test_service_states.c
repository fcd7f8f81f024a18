/* A VM's state goes through its steps as the guest's agent tells them, for every
 * handle. */
#include <stdlib.h>

#include "base/bytes.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

static void assert_all(struct guest *g, size_t n, uint32_t want)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t state = 99;

		must(guest_state(&g[i], &state, &err));
		assert_int_equal(state, want);
		/* Told before it was asked. */
		assert_int_equal(g[i].state, want);
	}
}

static void wait_all(struct guest *g, size_t n, size_t counter)
{
	for (size_t i = 0; i < n; i++)
		must(guest_wait(&g[i], (unsigned *)(void *)((char *)&g[i] + counter),
				&err));
}

static void test_each_step_is_told_once_to_every_handle(void **state)
{
	static const struct {
		char order;
		size_t counter;
		uint32_t state;
	} steps[] = {
		{ 's', offsetof(struct guest, n_started), VM_STARTED },
		{ 'r', offsetof(struct guest, n_ready), VM_READY },
		{ 'f', offsetof(struct guest, n_finished), VM_FINISHED },
		{ 'e', offsetof(struct guest, n_errors), VM_FINISHED },
		{ 'o', offsetof(struct guest, n_died), VM_DEAD },
	};
	struct client *client = NULL;
	struct guest g[2] = { 0 };
	uint32_t now = 99;
	int clone;

	(void)state;
	must(client_spawn(NULL, &client, &err));
	must(guest_create(client, "agent", "", &g[0], &err));
	must(guest_stream(&g[0], "Clone", 0, &clone, &err));
	must(guest_open(clone, &g[1], &err));
	must(guest_state(&g[1], &now, &err));
	assert_int_equal(now, VM_NOT_STARTED);
	must(guest_call(&g[0], "Start", &err));
	must(guest_state(&g[0], &now, &err));
	assert_int_equal(now, VM_STARTING);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		must(guest_order(&g[0], steps[i].order, steps[i].order != 'o', &err));
		wait_all(g, ARRAY_SIZE(g), steps[i].counter);
		assert_all(g, ARRAY_SIZE(g), steps[i].state);
	}
	for (size_t i = 0; i < ARRAY_SIZE(g); i++) {
		assert_int_equal(g[i].n_started, 1);
		assert_int_equal(g[i].n_ready, 1);
		assert_int_equal(g[i].n_finished, 1);
		assert_int_equal(g[i].exit_code, 7);
		assert_int_equal(g[i].n_errors, 1);
		assert_int_equal(g[i].error_code, 2);
		assert_string_equal(g[i].message, "it has changed");
		assert_int_equal(g[i].n_died, 1);
		assert_int_equal(g[i].reason, DEATH_SHUTDOWN);
		guest_drop(&g[i]);
	}
	client_free(client);
}

static void test_a_step_that_comes_late_does_not_lead_back(void **state)
{
	struct client *client = NULL;
	struct guest g;

	(void)state;
	must(client_spawn(NULL, &client, &err));
	must(guest_create(client, "agent", "tell=frs", &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_wait(&g, &g.n_started, &err));
	assert_all(&g, 1, VM_FINISHED);
	guest_drop(&g);
	client_free(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_each_step_is_told_once_to_every_handle),
		TEST(test_a_step_that_comes_late_does_not_lead_back),
#undef TEST
	};

	cmocka_set_test_filter(getenv("TEST"));
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
