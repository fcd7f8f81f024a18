/* vmm/jail.c: what the seccomp filters forbid, tried in processes of their own */
#include "vmm/jail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The wait status of a thread of @kind that does @what. */
static int jailed(enum jail_kind kind, void (*what)(int fd), int fd)
{
	int status = -1;
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid == 0) {
		struct err err;

		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    jail_thread(kind, &err) < 0)
			_exit(1);
		what(fd);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void send_plainly(int fd)
{
	if (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		_exit(1);
}

static void send_to_an_address(int fd)
{
	const struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/x" };

	sendto(fd, "x", 1, MSG_DONTWAIT, (const struct sockaddr *)&addr, sizeof(addr));
}

static void the_main_thread_sends_only_to_who_is_connected(void **state)
{
	int pair[2], status;

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), errno);
	assert_int_equal(jailed(JAIL_MAIN, send_plainly, pair[0]), 0);
	status = jailed(JAIL_MAIN, send_to_an_address, pair[0]);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_main_thread_sends_only_to_who_is_connected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
