/*
 * The guest's agent as it is built, with its shells at a Unix socket in place of a
 * vsock. It is one agent for all tests, so whatever one of them does, it goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/shell_proto.h"
#include "service/vm/shell_relay.h"

static struct sockaddr_un address;
static socklen_t address_len;
static pid_t agent;
static int life[2]; /* a pipe, whose other end is the agent's stdin */
static struct err err;

/* --- an agent ------------------------------------------------------------------- */

static pid_t start_agent(const char *option, const char *value)
{
	char path[256];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "%s/guest/agent", getenv("BUILD") ?: "build");
	unsetenv("SHELL");
	/* That there is no host is told on stderr. */
	dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	/* It ends with this test, and what it runs with it. */
	dup2(life[0], STDIN_FILENO);
	close(life[1]);
	execl(getenv("AGENT") ?: path, "agent", option, value, "--", "cat",
	      (char *)NULL);
	_exit(99);
}

static int start(void **state)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	char value[16];

	(void)state;
	address.sun_family = AF_UNIX;
	/* A name that the kernel makes up, in no file system. */
	assert_return_code(
		bind(s, (struct sockaddr *)&address, sizeof(address.sun_family)), 0);
	address_len = sizeof(address);
	getsockname(s, (struct sockaddr *)&address, &address_len);
	assert_return_code(listen(s, 64), 0);
	/* Orphans become ours, so it shows how they end. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_return_code(pipe2(life, O_CLOEXEC), 0);
	snprintf(value, sizeof(value), "fd=%d", s);
	agent = start_agent("--shell", value);
	close(s);
	return agent < 0;
}

static int stop(void **state)
{
	(void)state;
	close(life[1]);
	return waitpid(agent, NULL, 0) != agent;
}

static struct shell_reader reader; /* of the connection that was made last */

static int dial(void)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&reader, 0, sizeof(reader));
	assert_return_code(connect(s, (struct sockaddr *)&address, address_len), 0);
	return s;
}

/* --- without a terminal: the whole way, by vm's end ------------------------------ */

static char *output, *errors;
static size_t output_len;

static char *content(int fd, size_t *ret_len)
{
	size_t len = (size_t)lseek(fd, 0, SEEK_END);
	char *text = calloc(1, len + 1);

	assert_int_equal(pread(fd, text, len, 0), len);
	close(fd);
	*ret_len = len;
	return text;
}

/* The status of a command with this on its stdin; what it says is in the above. */
static int run(const char *input, size_t len, ...)
{
	char *args[8];
	size_t n = 0, unused;
	struct shell_relay r = { .stream = dial(),
				 .in = memfd_create("in", MFD_CLOEXEC),
				 .out = memfd_create("out", MFD_CLOEXEC),
				 .error = memfd_create("error", MFD_CLOEXEC),
				 .args = args,
				 .signals = -1 };
	va_list ap;
	int status;

	va_start(ap, len);
	do
		args[n] = va_arg(ap, char *);
	while (args[n++]);
	va_end(ap);
	assert_int_equal(pwrite(r.in, input, len, 0), len);
	status = shell_relay(&r, &err);
	if (status < 0)
		print_error("%s\n", err.msg);
	close(r.stream);
	close(r.in);
	free(output);
	free(errors);
	output = content(r.out, &output_len);
	errors = content(r.error, &unused);
	return status;
}

#define SH(script) run("", 0, "sh", "-c", script, NULL)

static void the_status_is_the_commands(void **state)
{
	(void)state;
	assert_int_equal(SH("exit 0"), 0);
	assert_int_equal(SH("exit 7"), 7);
	assert_int_equal(SH("kill -9 $$"), 128 + SIGKILL);
	assert_int_equal(run("", 0, "/nowhere/frob", NULL), 127);
	assert_string_equal(errors,
			    "agent: /nowhere/frob: No such file or directory\n");
	assert_int_equal(run("", 0, "/etc/passwd", NULL), 126);
}

static void arguments_arrive_as_they_are(void **state)
{
	(void)state;
	assert_int_equal(run("", 0, "printf", "<%s>", "a b", "", "$x\n", NULL), 0);
	assert_string_equal(output, "<a b><><$x\n>");
}

static void output_and_errors_are_apart(void **state)
{
	(void)state;
	assert_int_equal(SH("echo out; echo error >&2; test -t 0 || echo pipe"), 0);
	assert_string_equal(output, "out\npipe\n");
	assert_string_equal(errors, "error\n");
}

static void much_goes_through_and_back(void **state)
{
	enum { MUCH = 5000000 };
	char *much = malloc(MUCH);

	(void)state;
	for (size_t i = 0; i < MUCH; i++)
		much[i] = (char)(i * i >> 7);
	assert_int_equal(run(much, MUCH, "cat", NULL), 0);
	assert_int_equal(output_len, MUCH);
	assert_memory_equal(output, much, MUCH);
	/* Also where nobody reads it. */
	assert_int_equal(run(much, MUCH, "sh", "-c", "exec <&-; exit 3", NULL), 3);
	assert_int_equal(run(much, MUCH, "sh", "-c", "sleep 0.2; exit 4", NULL), 4);
	free(much);
}

static void what_a_command_leaves_behind_does_not_hold_it(void **state)
{
	pid_t left;

	(void)state;
	assert_int_equal(SH("head -c 60000 /dev/zero; sleep 1000 & echo $!; exit 5"),
			 5);
	assert_true(output_len > 60000);
	left = atoi(output + 60000);
	assert_int_equal(kill(left, 0), 0);
	kill(left, SIGKILL);
	/* One that writes for ever. */
	assert_int_equal(SH("yes & echo $! >&2; sleep 0.1; exit 6"), 6);
	kill(atoi(errors), SIGKILL);
}

static void without_a_command_there_is_a_login_shell(void **state)
{
	static const char script[] = "echo $0; exit 3\n";

	(void)state;
	assert_int_equal(run(script, sizeof(script) - 1, NULL), 3);
	assert_string_equal(output, "-sh\n");
}

/* --- with one: frame by frame ------------------------------------------------------
 */

static void put(int s, uint8_t type, const void *bytes, size_t len)
{
	uint8_t frame[512];

	shell_header(frame, type, len);
	memcpy(frame + SHELL_HEADER, bytes, len);
	assert_int_equal(send(s, frame, SHELL_HEADER + len, MSG_NOSIGNAL),
			 SHELL_HEADER + len);
}

static int start_script(bool terminal, const char *script)
{
	struct shell_start first = {
		terminal, { 33, 99 }, terminal ? "vt220" : "", { "sh", "-c", script }
	};
	static uint8_t buf[SHELL_FRAME_MAX];
	int s = dial(), n = shell_put_start(buf, &first);

	assert_int_equal(send(s, buf, (size_t)n, 0), n);
	return s;
}

/*
 * Until what is said has @text, or its end where that is NULL. Returns the status, or
 * -1: none so far.
 */
static int hear(int s, const char *text)
{
	static char all[4096];
	size_t room, len = 0;
	struct shell_frame f;

	memset(all, 0, sizeof(all));
	for (;;) {
		while (shell_next(&reader, &f)) {
			if (f.type == SHELL_EXIT)
				return *f.data;
			assert_true(len + f.len < sizeof(all));
			memcpy(all + len, f.data, f.len);
			len += f.len;
			if (!text || !strstr(all, text))
				continue;
			free(output);
			output = strdup(all);
			return -1;
		}

		uint8_t *to = shell_room(&reader, &room);
		ssize_t n = recv(s, to, room, 0);

		if (n <= 0 && text)
			fail_msg("no '%s', but: %s", text, all);
		if (n <= 0)
			return -1;
		shell_add(&reader, (size_t)n);
	}
}

static void a_terminal_has_a_size_and_a_kind(void **state)
{
	int s = start_script(true, "stty size; echo $TERM; read x; stty size; exit 9");

	(void)state;
	hear(s, "33 99\r\nvt220\r\n");
	put(s, SHELL_SIZE, "\x18\0\x50\0", 4);
	put(s, SHELL_INPUT, "\n", 1);
	hear(s, "24 80\r\n");
	assert_int_equal(hear(s, NULL), 9);
	close(s);
}

static void a_terminal_is_the_controlling_one(void **state)
{
	int s = start_script(true, "test -t 0 && test -t 2 && echo ready >/dev/tty; "
				   "exec sleep 1000");

	(void)state;
	hear(s, "ready");
	put(s, SHELL_INPUT, "\3", 1);
	assert_int_equal(hear(s, NULL), 128 + SIGINT);
	close(s);
}

static void a_terminal_tells_all_at_the_end(void **state)
{
	int s = start_script(true,
			     "head -c 3000 /dev/zero | tr '\\0' x; echo end; exit 4");

	(void)state;
	hear(s, "xend\r\n");
	assert_int_equal(strspn(output, "x"), 3000);
	assert_int_equal(hear(s, NULL), 4);
	close(s);
}

/* How process @pid, an orphan of the agent's, ends. */
static int fate(pid_t pid)
{
	int status, turns = 400;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (turns-- == 0)
			fail_msg("process %d goes on", pid);
		usleep(25000);
	}
	return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
}

static void who_hangs_up_ends_the_session(void **state)
{
	static const char *const scripts[] = {
		"echo $$ ready; exec sleep 1000",
		/* Not the first process of the session. */
		"sleep 1000 & echo $! ready; wait",
	};

	(void)state;
	for (int terminal = 0; terminal < 2; terminal++)
		for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
			int s = start_script(terminal, scripts[i]);

			hear(s, "ready");
			close(s);
			assert_int_equal(fate(atoi(output)), SIGHUP);
		}
}

static void who_hangs_up_is_noticed_behind_what_nobody_reads(void **state)
{
	static const char much[500];
	int s = start_script(false, "echo $$ ready; exec sleep 1000");
	pid_t pid;

	(void)state;
	hear(s, "ready");
	pid = atoi(output);
	for (unsigned i = 0; i < 200; i++)
		put(s, SHELL_INPUT, much, sizeof(much));
	close(s);
	assert_int_equal(fate(pid), SIGHUP);
}

/* --- who is no client ---------------------------------------------------------------
 */

static void nonsense_ends_its_connection_only(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} words[] = {
		{ "", 0 },
		{ "\1", 1 },
		{ "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\2\1\0x", 4 }, /* input for nothing */
		{ "\1\0\0", 3 },
		{ "\1\6\0\2\0\0\0\0\0", 9 },
		{ "\1\6\0\0\0\0\0\0x", 9 },
		{ "\1\12\0\0\0\0\0\0\0cat\0\1\0\0", 16 }, /* twice */
		{ "\1\12\0\0\0\0\0\0\0cat\0\3\1\0x", 17 }, /* no size */
		{ "\1\12\0\0\0\0\0\0\0cat\0\x83\1\0\0", 17 }, /* ours to say */
		{ "\1\12\0\0\0\0\0\0\0cat\0\377\377\377", 16 },
	};
	int other = start_script(false, "echo ready; read x; echo $x; exit 8");

	(void)state;
	hear(other, "ready");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		int s = dial();

		assert_int_equal(send(s, words[i].bytes, words[i].len, 0),
				 words[i].len);
		shutdown(s, SHUT_WR);
		assert_int_equal(hear(s, NULL), -1);
		close(s);
	}
	put(other, SHELL_INPUT, "goes on\n", 8);
	hear(other, "goes on");
	assert_int_equal(hear(other, NULL), 8);
	close(other);
}

static void there_are_only_so_many_at_a_time(void **state)
{
	enum { MOST = 32 };
	int s[MOST], turns = 200;

	(void)state;
	/* The others' may be ending yet. */
	while (SH("exit 1") != 1 && turns-- > 0)
		usleep(25000);
	for (int i = 0; i < MOST; i++) {
		s[i] = start_script(false, "echo ready; exec cat");
		if (hear(s[i], "ready") >= 0)
			fail_msg("number %d is refused", i + 1);
	}
	assert_int_equal(SH("exit 1"), SHELL_NOT_STARTED);
	assert_non_null(strstr(errors, "agent: 32 shells: "));
	for (int i = 0; i < MOST; i++)
		close(s[i]);
	turns = 400;
	while (SH("exit 1") != 1) {
		assert_true(turns-- > 0);
		usleep(25000);
	}
}

static void arguments_that_are_wrong_are_refused(void **state)
{
	static const char *const bad[][2] = {
		{ "--shell", "0" },   { "--shell", "" },
		{ "--shell", "22x" }, { "--shell", "fd=2" },
		{ "--shell", "fd=" }, { "--shell", "4294967295" },
		{ "--shel", "1024" }, { "--shell", "fd=77" },
	};
	int status;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		pid_t pid = start_agent(bad[i][0], bad[i][1]);

		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 125)
			fail_msg("%s %s: %d", bad[i][0], bad[i][1], status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_status_is_the_commands),
		cmocka_unit_test(arguments_arrive_as_they_are),
		cmocka_unit_test(output_and_errors_are_apart),
		cmocka_unit_test(much_goes_through_and_back),
		cmocka_unit_test(what_a_command_leaves_behind_does_not_hold_it),
		cmocka_unit_test(without_a_command_there_is_a_login_shell),
		cmocka_unit_test(a_terminal_has_a_size_and_a_kind),
		cmocka_unit_test(a_terminal_is_the_controlling_one),
		cmocka_unit_test(a_terminal_tells_all_at_the_end),
		cmocka_unit_test(who_hangs_up_ends_the_session),
		cmocka_unit_test(who_hangs_up_is_noticed_behind_what_nobody_reads),
		cmocka_unit_test(nonsense_ends_its_connection_only),
		cmocka_unit_test(there_are_only_so_many_at_a_time),
		cmocka_unit_test(arguments_that_are_wrong_are_refused),
	};

	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, start, stop);
}
