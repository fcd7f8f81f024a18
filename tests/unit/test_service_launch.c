/* service/virtmgr/launch.c: what a child has, and what it has not. */
#include "service/virtmgr/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* A file that says @n. */
static int numbered_file(int n)
{
	int fd = memfd_create("numbered", MFD_CLOEXEC);

	assert_return_code(fd, errno);
	assert_return_code(dprintf(fd, "%d", n), errno);
	assert_return_code(lseek(fd, 0, SEEK_SET), errno);
	return fd;
}

/* Run it; what it writes to stderr, up to @size - 1 bytes, and its wait status. */
static int run(struct launch *l, char *text, size_t size)
{
	struct err err = { "" };
	AUTO_CLOSE int pidfd = -1;
	size_t len = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	if (launch_start(l, -1, fds[1], &pid, &pidfd, &err) < 0)
		fail_msg("%s", err.msg);
	close(fds[1]);
	while ((n = read(fds[0], text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static struct launch *shell(const char *script)
{
	struct launch *l;

	assert_int_equal(launch_new("/bin/bash", &l, NULL), 0);
	assert_int_equal(launch_arg(l, "-c"), 0);
	assert_int_equal(launch_arg(l, "%s", script), 0);
	return l;
}

/* Descriptors that get each other's numbers, in any order. */
static void every_descriptor_has_its_number(void **state)
{
	enum { N = 40 };
	struct launch *l;
	char text[1024], want[1024] = "";
	int fds[N];

	(void)state;
	srand(1);
	for (int round = 0; round < 8; round++) {
		size_t at = 0;

		l = shell(
			"for ((i = 3; i < 43; i++)); do cat <&$i; echo -n ' '; done >&2");
		for (int i = 0; i < N; i++)
			fds[i] = numbered_file(i);
		/* All of these are among the numbers 3 to 3 + N, but for a few. */
		for (int i = N - 1; i > 0; i--) {
			int j = rand() % (i + 1), fd = fds[i];

			fds[i] = fds[j];
			fds[j] = fd;
		}
		for (int i = 0; i < N; i++) {
			char number[8] = "";

			assert_return_code(pread(fds[i], number, 7, 0), errno);
			at += (size_t)snprintf(want + at, sizeof(want) - at, "%s ",
					       number);
			assert_int_equal(launch_next_fd(l), 3 + i);
			assert_int_equal(launch_fd(l, fds[i]), 3 + i);
		}
		assert_int_equal(run(l, text, sizeof(text)), 0);
		assert_string_equal(text, want);
		launch_free(l);
	}
}

static void there_can_be_more_than_a_message_holds(void **state)
{
	struct launch *l = shell("cat <&1999 >&2");
	char text[64];

	(void)state;
	for (int i = 0; i < 2000; i++)
		assert_int_equal(launch_fd(l, numbered_file(3 + i)), 3 + i);
	assert_int_equal(run(l, text, sizeof(text)), 0);
	assert_string_equal(text, "1999");
	launch_free(l);
}

/* Close-on-exec or not. */
static void nothing_else_is_inherited(void **state)
{
	struct launch *l = shell("ls /proc/$$/fd >&2");
	int stray = dup(0);
	char text[256];

	(void)state;
	assert_return_code(stray, errno);
	assert_int_equal(launch_fd(l, numbered_file(0)), 3);
	assert_int_equal(run(l, text, sizeof(text)), 0);
	assert_string_equal(text, "0\n1\n2\n3\n");
	launch_free(l);
	close(stray);
}

static void a_copy_leaves_the_original(void **state)
{
	struct launch *l = shell("cat <&3 >&2");
	int fd = numbered_file(77);
	char text[16];

	(void)state;
	assert_int_equal(launch_fd_copy(l, fd), 3);
	assert_int_equal(run(l, text, sizeof(text)), 0);
	assert_string_equal(text, "77");
	launch_free(l);
	assert_return_code(fcntl(fd, F_GETFD), errno);
	close(fd);
}

static void its_signals_and_session_are_its_own(void **state)
{
	struct launch *l = shell(
		"grep -E '^SigBlk:.*[1-9a-f]|^SigIgn:.*[13579bdf]...$' /proc/self/status >&2;"
		"read -ra s </proc/$$/stat && [[ ${s[5]} = $$ ]]");
	sigset_t set, old;
	char text[256];
	int status;

	(void)state;
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, &old);
	/* The one of which the script looks for the bit; some cannot be reset. */
	signal(SIGPIPE, SIG_IGN);
	status = run(l, text, sizeof(text));
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_string_equal(text, "");
	assert_int_equal(status, 0);
	launch_free(l);
}

static void what_cannot_run_is_an_error(void **state)
{
	struct err err = { "" };
	struct launch *l;
	pid_t pid;
	int pidfd;

	(void)state;
	assert_int_equal(launch_new("/nowhere/vmm", &l, NULL), 0);
	assert_int_equal(launch_start(l, -1, STDERR_FILENO, &pid, &pidfd, &err),
			 -ENOENT);
	assert_string_equal(err.msg, "/nowhere/vmm: No such file or directory");
	/* Nothing is left of it. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	launch_free(l);
}

/* The child dies with the process that has started it. */
static void who_starts_it_takes_it_along(void **state)
{
	int fds[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		struct launch *l = shell("echo >&2; exec sleep 1000");
		pid_t child;
		int pidfd;

		_exit(launch_start(l, -1, fds[1], &child, &pidfd, NULL) < 0 || pause());
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

static void a_lack_of_descriptors_is_an_error(void **state)
{
	enum { N = 20 };
	struct launch *l = shell("true");
	struct rlimit old, few;
	struct err err = { "" };
	int fds[N], pidfd, r;
	pid_t pid;

	(void)state;
	/* In this order, none has its number already, so that all of them move. */
	for (int i = 0; i < N; i++)
		fds[i] = numbered_file(i);
	for (int i = N - 1; i >= 0; i--)
		launch_fd(l, fds[i]);
	assert_return_code(getrlimit(RLIMIT_NOFILE, &old), errno);
	few = old;
	few.rlim_cur = (rlim_t)fds[N - 1] + 8;
	assert_return_code(setrlimit(RLIMIT_NOFILE, &few), errno);
	r = launch_start(l, -1, STDERR_FILENO, &pid, &pidfd, &err);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(r, -EMFILE);
	launch_free(l);
}

/* --- names ---------------------------------------------------------------------- */

static void assert_named(const struct launch *l, const char *text, const char *want)
{
	char got[1024];

	launch_name_files(l, text, got, sizeof(got));
	assert_string_equal(got, want);
}

/* A new file in the current folder, as the child's next one. */
static void add_file(struct launch *l, const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_return_code(fd, errno);
	assert_true(launch_fd(l, fd) >= 0);
	assert_return_code(unlink(name), errno);
}

static void enter_new_folder(char *path, size_t size)
{
	char template[] = "/tmp/launch.XXXXXX";

	assert_non_null(mkdtemp(template));
	assert_return_code(chdir(template), errno);
	assert_non_null(getcwd(path, size));
}

static void leave_folder(const char *path)
{
	assert_return_code(chdir("/"), errno);
	assert_return_code(rmdir(path), errno);
}

static void files_are_called_by_their_names(void **state)
{
	struct launch *l = shell("true");
	char dir[64], want[256], text[64];

	(void)state;
	enter_new_folder(dir, sizeof(dir));
	add_file(l, "a kernel");
	assert_int_equal(launch_fd(l, memfd_create("disks[1]", MFD_CLOEXEC)), 4);
	snprintf(want, sizeof(want), "image disks[1]: image %s/a kernel: short", dir);
	assert_named(l, "image /proc/self/fd/4: image /proc/self/fd/3: short", want);
	/* As long as somebody may still say something. */
	assert_int_equal(run(l, text, sizeof(text)), 0);
	assert_named(l, "image /proc/self/fd/4: image /proc/self/fd/3: short", want);
	leave_folder(dir);
	launch_free(l);
}

static void what_is_no_file_keeps_its_number(void **state)
{
	static const char *const texts[] = {
		"",
		"/proc/self/fd/",
		"/proc/self/fd/x",
		"/proc/self/fd/-3",
		"/proc/self/fd/2",
		"/proc/self/fd/4: a pipe",
		"/proc/self/fd/5",
		"/proc/self/fd/33",
		"/proc/self/fd/18446744073709551619",
		"/proc/self/f",
	};
	struct launch *l = shell("true");
	int fds[2];

	(void)state;
	assert_return_code(pipe2(fds, O_CLOEXEC), errno);
	assert_int_equal(launch_fd(l, memfd_create("x", MFD_CLOEXEC)), 3);
	assert_int_equal(launch_fd(l, fds[0]), 4);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_named(l, texts[i], texts[i]);
	close(fds[1]);
	launch_free(l);
}

/* They go to logs, terminals and D-Bus. */
static void hostile_names_are_tame(void **state)
{
	struct launch *l = shell("true");
	char dir[64], want[256], name[256] = "";

	(void)state;
	enter_new_folder(dir, sizeof(dir));
	add_file(l, "\n\x1b]0;\xc2\x9b\x7f\xff\xef\xbf\xbf\xc3\xa4");
	snprintf(want, sizeof(want), "%s/??]0;???????\xc3\xa4\xc3\xa4", dir);
	assert_named(l, "/proc/self/fd/3\xc3\xa4", want);

	/* The end of it tells more than its folders; but not half a character. */
	for (size_t i = 0; i < 119; i++)
		strcat(name, "\xc3\xa4");
	strcat(name, "x");
	add_file(l, name);
	snprintf(want, sizeof(want), "...?%s.", name + strlen(name) - 199);
	assert_named(l, "/proc/self/fd/4.", want);
	leave_folder(dir);
	launch_free(l);
}

static void what_does_not_fit_is_cut(void **state)
{
	struct launch *l = shell("true");
	char got[8];

	(void)state;
	assert_int_equal(launch_fd(l, memfd_create("12345", MFD_CLOEXEC)), 3);
	launch_name_files(l, "a /proc/self/fd/3", got, sizeof(got));
	assert_string_equal(got, "a 12345");
	launch_name_files(l, "ab /proc/self/fd/3", got, sizeof(got));
	assert_string_equal(got, "ab 1...");
	launch_name_files(l, "/proc/self/fd/3 and more of it", got, sizeof(got));
	assert_string_equal(got, "1234...");
	launch_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_descriptor_has_its_number),
		cmocka_unit_test(there_can_be_more_than_a_message_holds),
		cmocka_unit_test(nothing_else_is_inherited),
		cmocka_unit_test(a_copy_leaves_the_original),
		cmocka_unit_test(its_signals_and_session_are_its_own),
		cmocka_unit_test(what_cannot_run_is_an_error),
		cmocka_unit_test(who_starts_it_takes_it_along),
		cmocka_unit_test(a_lack_of_descriptors_is_an_error),
		cmocka_unit_test(files_are_called_by_their_names),
		cmocka_unit_test(what_is_no_file_keeps_its_number),
		cmocka_unit_test(hostile_names_are_tame),
		cmocka_unit_test(what_does_not_fit_is_cut),
	};
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
