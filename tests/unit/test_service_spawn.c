/* service/common/spawn.c: what a child has of its parent, and what it has not. */
#include "service/common/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int run(const char *program, const char *option, const char *text,
	       const char *last, const int *fds, size_t n_fds)
{
	char *argv[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)option,
			 (char *)(uintptr_t)text, (char *)(uintptr_t)last, NULL };
	struct err err = { "" };
	int status;
	pid_t pid;

	if (spawn_program(program, argv, fds, n_fds, &pid, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int shell(const char *script, const int *fds, size_t n_fds)
{
	return run("/bin/bash", "-c", script, NULL, fds, n_fds);
}

/* A file that holds @c, at its beginning. */
static int file_of(char c)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_return_code(fd, errno);
	assert_int_equal(pwrite(fd, &c, 1, 0), 1);
	return fd;
}

static void descriptors_have_their_numbers(void **state)
{
	/* Each other's, and one that has its number already. */
	int a = file_of('a'), b = file_of('b'), c = file_of('c');
	int fds[8] = { -1, -1, -1, -1, -1, -1, -1, -1 };

	(void)state;
	assert_true(a >= 3 && c < 8);
	fds[a] = b;
	fds[b] = a;
	fds[c] = c;
	fds[0] = a;
	assert_int_equal(shell("read -N1 x <&0; [ $x = a ]", fds, 8), 0);
	for (int i = 3; i < 8; i++) {
		char script[64], want = i == a ? 'b' : i == b ? 'a' : 'c';

		snprintf(script, sizeof(script),
			 "[ \"$(cat /proc/self/fd/%d 2>/dev/null)\" = '%.*s' ]", i,
			 fds[i] >= 0, &want);
		assert_int_equal(shell(script, fds, 8), 0);
	}
	/* Still ours. */
	assert_return_code(fcntl(a, F_GETFD), errno);
	close(a);
	close(b);
	close(c);
}

/* Close-on-exec or not. */
static void nothing_else_is_inherited(void **state)
{
	int stray = dup(0), file = file_of('a');
	const int fds[] = { -1, -1, -1, file };

	(void)state;
	assert_return_code(stray, errno);
	assert_int_equal(
		shell("cd /proc/$$/fd; [ -e 3 ] &&"
		      "for ((i = 4; i < 64; i++)); do [ ! -e $i ] || exit; done",
		      fds, 4),
		0);
	close(stray);
	close(file);
}

static void no_signal_is_blocked_or_ignored(void **state)
{
	static const int ignored[] = { SIGPIPE, SIGTERM, SIGTTIN };
	const int fds[] = { -1, -1, -1 };
	sigset_t all, old;
	int blocked, kept;

	(void)state;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	blocked = run("/bin/grep", "-Eq", "SigBlk:.0{16}$", "/proc/self/status", fds,
		      3);
	/* The C library's own two are above. */
	kept = run("/bin/grep", "-Eq", "SigIgn:.{10}0{7}$", "/proc/self/status", fds,
		   3);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(blocked, 0);
	assert_int_equal(kept, 0);
}

static void what_cannot_run_is_an_error(void **state)
{
	char name[] = "x";
	char *argv[] = { name, NULL };
	const int fds[] = { -1, -1, -1 }, bad[] = { 999 };
	struct err err = { "" };
	pid_t pid;

	(void)state;
	assert_int_equal(spawn_program("/nowhere/x", argv, fds, 3, &pid, &err),
			 -ENOENT);
	assert_string_equal(err.msg, "/nowhere/x: No such file or directory");
	assert_int_equal(spawn_program("/bin/true", argv, bad, 1, &pid, &err), -EBADF);
	/* Nothing is left of it. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_have_their_numbers),
		cmocka_unit_test(nothing_else_is_inherited),
		cmocka_unit_test(no_signal_is_blocked_or_ignored),
		cmocka_unit_test(what_cannot_run_is_an_error),
	};

	/* Whoever started this may have left some open. */
	close_range(3, ~0u, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
