/* Which program a client is: the path check of early VMs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "service/early_virtmgr/caller.h"

static char self[PATH_MAX], dir[32];

static const char *in_dir(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_caller_XXXXXX");
	return mkdtemp(dir) && readlink("/proc/self/exe", self, sizeof(self) - 1) > 0
		       ? 0
		       : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void open_caller(struct caller *c)
{
	int fds[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
			   errno);
	assert_return_code(caller_new(fds[0], c, NULL), 0);
	close(fds[0]);
	close(fds[1]);
}

static int check(const char *path, struct err *err)
{
	struct caller c;
	int r;

	open_caller(&c);
	assert_int_equal(c.pid, getpid());
	r = caller_check(&c, path, err);
	caller_free(&c);
	return r;
}

static void refused(const char *path, const char *real)
{
	struct err err = { "" }, want;

	assert_int_equal(check(path, &err), -EACCES);
	err_set(&want, 0, "it is for %s, and client %d is %s", real, getpid(), self);
	assert_string_equal(err.msg, want.msg);
}

static void test_the_program_itself_passes(void **state)
{
	(void)state;
	assert_int_equal(check(self, NULL), 0);
}

static void test_other_names_that_lead_to_it_pass(void **state)
{
	char path[PATH_MAX + 8];
	char *slash;

	(void)state;
	assert_return_code(symlink(self, in_dir("link")), errno);
	assert_int_equal(check(in_dir("link"), NULL), 0);
	unlink(in_dir("link"));
	strcpy(path, self);
	slash = strrchr(path, '/');
	snprintf(slash, sizeof(path) - (size_t)(slash - path), "/.%s",
		 self + (slash - path));
	assert_int_equal(check(path, NULL), 0);
}

static void test_another_program_does_not(void **state)
{
	AUTO_FREE char *sh = realpath("/bin/sh", NULL);

	(void)state;
	refused("/bin/sh", sh);
}

static void test_a_program_that_is_not_there_is_nobody(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(check("/nonexistent/program", &err), -EACCES);
	assert_string_equal(err.msg,
			    "path: /nonexistent/program: No such file or directory");
}

/* --- another process ---------------------------------------------------------- */

static void copy_program(const char *name)
{
	char command[128];

	snprintf(command, sizeof(command), "cp /bin/sleep %s/%s", dir, name);
	assert_int_equal(system(command), 0);
}

/* One that runs a copy of a program, by the name "program". */
static void start_caller(struct caller *c)
{
	char path[32];
	int running[2];

	copy_program("program");
	assert_return_code(pipe2(running, O_CLOEXEC), errno);
	c->pid = fork();
	if (c->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(in_dir("program"), "program", "1000", NULL);
		_exit(1);
	}
	close(running[1]);
	/* Until exec() closes it. */
	assert_int_equal(read(running[0], path, 1), 0);
	close(running[0]);
	snprintf(path, sizeof(path), "/proc/%d", c->pid);
	c->proc_fd = open(path, O_PATH | O_CLOEXEC);
	assert_int_equal(caller_check(c, in_dir("program"), NULL), 0);
}

static void end_caller(struct caller *c)
{
	/* It may have ended, and then its number is not ours any more. */
	if (waitpid(c->pid, NULL, WNOHANG) == 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	caller_free(c);
	unlink(in_dir("program"));
}

static void test_the_same_file_by_another_name_does_not(void **state)
{
	struct caller c;
	char same[64];

	(void)state;
	start_caller(&c);
	snprintf(same, sizeof(same), "%s", in_dir("same"));
	assert_return_code(link(in_dir("program"), same), errno);
	assert_int_equal(caller_check(&c, same, NULL), -EACCES);
	unlink(same);
	end_caller(&c);
}

static void test_a_program_that_was_replaced_does_not(void **state)
{
	struct caller c;
	struct err err;
	char new[64];

	(void)state;
	start_caller(&c);
	copy_program("new");
	snprintf(new, sizeof(new), "%s", in_dir("new"));
	assert_return_code(rename(new, in_dir("program")), errno);
	assert_int_equal(caller_check(&c, in_dir("program"), &err), -EACCES);
	assert_non_null(strstr(err.msg, "/program (deleted)"));
	end_caller(&c);
}

static void test_a_program_that_has_ended_does_not(void **state)
{
	struct caller c;

	(void)state;
	start_caller(&c);
	kill(c.pid, SIGKILL);
	waitpid(c.pid, NULL, 0);
	assert_true(caller_check(&c, in_dir("program"), NULL) < 0);
	end_caller(&c);
}

static void test_a_socket_without_a_peer_is_an_error(void **state)
{
	struct caller c = { 0 };
	struct err err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(caller_new(fd, &c, &err), -ESRCH);
	assert_string_equal(err.msg,
			    "the client is no process that can be seen from here");
	close(fd);
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(caller_new(fd, &c, NULL), -ENOTSOCK);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_program_itself_passes),
		cmocka_unit_test(test_other_names_that_lead_to_it_pass),
		cmocka_unit_test(test_another_program_does_not),
		cmocka_unit_test(test_the_same_file_by_another_name_does_not),
		cmocka_unit_test(test_a_program_that_is_not_there_is_nobody),
		cmocka_unit_test(test_a_program_that_was_replaced_does_not),
		cmocka_unit_test(test_a_program_that_has_ended_does_not),
		cmocka_unit_test(test_a_socket_without_a_peer_is_an_error),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
