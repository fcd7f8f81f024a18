/* Who may call the service, by what the kernel knows of him. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "service/virtualizationservice/rights.h"

#define GROUP 500
#define DEBUG 501

static const struct rights host = {
	.has_group = true,
	.has_debug_group = true,
	.group = GROUP,
	.debug_group = DEBUG,
	.group_name = "virtualmachine",
};

static int decide(const struct rights *rights, struct caller *caller,
		  const gid_t *groups, size_t n, struct err *err)
{
	return rights_decide(rights, caller, groups, n, err);
}

static void test_who_is_not_in_the_group_is_refused_by_its_name(void **state)
{
	const gid_t groups[] = { 1, 2, 499, DEBUG };
	struct caller caller = { .uid = 1000, .gid = 1000 };
	struct err err = { "" };

	(void)state;
	assert_int_equal(decide(&host, &caller, groups, ARRAY_SIZE(groups), &err),
			 -EACCES);
	assert_string_equal(err.msg,
			    "user 1000: is not in the group virtualmachine, and may "
			    "not have VMs");
	assert_false(caller.debug);
}

static void test_a_member_may_call_by_either_kind_of_group(void **state)
{
	const gid_t groups[] = { 7, GROUP };
	struct caller caller = { .uid = 1000, .gid = 1000 };

	(void)state;
	assert_int_equal(decide(&host, &caller, groups, ARRAY_SIZE(groups), NULL), 0);
	assert_false(caller.debug);
	caller.gid = GROUP;
	assert_int_equal(decide(&host, &caller, NULL, 0, NULL), 0);
	assert_false(caller.debug);
}

static void test_the_debug_group_sees_what_others_have(void **state)
{
	const gid_t groups[] = { DEBUG, GROUP };
	struct caller caller = { .uid = 1000, .gid = 1000 };

	(void)state;
	assert_int_equal(decide(&host, &caller, groups, ARRAY_SIZE(groups), NULL), 0);
	assert_true(caller.debug);
}

static void test_root_may_do_all(void **state)
{
	const struct rights none = { .group_name = "virtualmachine" };
	struct caller caller = { .uid = 0 };

	(void)state;
	assert_int_equal(decide(&none, &caller, NULL, 0, NULL), 0);
	assert_true(caller.debug);
}

/* Not that of number 0, which an unset variable would be. */
static void test_without_the_group_there_is_only_root(void **state)
{
	const struct rights none = { .group_name = "virtualmachine" };
	const gid_t groups[] = { 0 };
	struct caller caller = { .uid = 1000, .gid = 0 };

	(void)state;
	assert_int_equal(decide(&none, &caller, groups, 1, NULL), -EACCES);
}

static void test_a_private_service_is_for_its_user_only(void **state)
{
	const struct rights private = { .private = true };
	const gid_t groups[] = { GROUP, DEBUG };
	struct caller caller = { .uid = geteuid() };
	struct err err = { "" };

	(void)state;
	assert_int_equal(decide(&private, &caller, NULL, 0, NULL), 0);
	assert_false(caller.debug);
	caller.uid++;
	assert_int_equal(decide(&private, &caller, groups, 2, &err), -EACCES);
}

static void test_groups_are_found_by_name_and_number(void **state)
{
	char group[] = "root", number[] = "77";
	struct conf conf = { .group = group, .debug_group = number };
	struct rights rights;

	(void)state;
	rights_init(&rights, &conf, false);
	assert_true(rights.has_group && rights.has_debug_group);
	assert_int_equal(rights.group, 0);
	assert_int_equal(rights.debug_group, 77);
	strcpy(group, "nix");
	rights_init(&rights, &conf, false);
	assert_false(rights.has_group);
}

static void test_the_kernel_says_who_is_at_the_other_end(void **state)
{
	struct caller caller;
	int fds[2];

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), errno);
	if (rights_ask(&host, fds[0], &caller, NULL) < 0)
		assert_int_not_equal(geteuid(), 0);
	assert_int_equal(caller.uid, geteuid());
	assert_int_equal(caller.pid, getpid());
	close(fds[0]);
	close(fds[1]);
	if (caller.pidfd >= 0)
		close(caller.pidfd);
}

static void test_a_process_that_has_ended_lives_no_more(void **state)
{
	struct caller caller = { 0 };
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	caller.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_return_code(caller.pidfd, errno);
	assert_true(rights_lives(&caller));
	kill(pid, SIGKILL);
	assert_return_code(waitpid(pid, NULL, 0), errno);
	assert_false(rights_lives(&caller));
	close(caller.pidfd);
	caller.pidfd = -1;
	assert_false(rights_lives(&caller));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_not_in_the_group_is_refused_by_its_name),
		cmocka_unit_test(test_a_member_may_call_by_either_kind_of_group),
		cmocka_unit_test(test_the_debug_group_sees_what_others_have),
		cmocka_unit_test(test_root_may_do_all),
		cmocka_unit_test(test_without_the_group_there_is_only_root),
		cmocka_unit_test(test_a_private_service_is_for_its_user_only),
		cmocka_unit_test(test_groups_are_found_by_name_and_number),
		cmocka_unit_test(test_the_kernel_says_who_is_at_the_other_end),
		cmocka_unit_test(test_a_process_that_has_ended_lives_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
