/* A user at a command in a guest, by an agent whose words were there before. */
#include "service/vm/shell_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/shell_proto.h"

static struct shell_relay relay;
static int agent, signal_end; /* the other ends */
static char *no_args[] = { NULL };
static struct err err;

static int setup(void **state)
{
	int pair[2], signals[2];

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_return_code(pipe2(signals, O_CLOEXEC), 0);
	agent = pair[1];
	signal_end = signals[1];
	relay = (struct shell_relay){ .stream = pair[0],
				      .in = memfd_create("in", MFD_CLOEXEC),
				      .out = memfd_create("out", MFD_CLOEXEC),
				      .error = memfd_create("error", MFD_CLOEXEC),
				      .args = no_args,
				      .signals = signals[0] };
	return 0;
}

static int teardown(void **state)
{
	const int fds[] = { relay.stream, relay.in,	 relay.out, relay.error,
			    agent,	  relay.signals, signal_end };

	(void)state;
	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		close(fds[i]);
	return 0;
}

static void says(const char *bytes, size_t len)
{
	assert_int_equal(send(agent, bytes, len, 0), len);
}

#define SAYS(text) says(text, sizeof(text) - 1)

/* What the agent was sent, which is all of it. */
static void assert_sent(const char *bytes, size_t len)
{
	char got[4096];
	ssize_t n = recv(agent, got, sizeof(got), MSG_DONTWAIT);

	assert_int_equal(n, len);
	assert_memory_equal(got, bytes, len);
}

#define ASSERT_SENT(text) assert_sent(text, sizeof(text) - 1)

static void assert_file(int fd, const char *text)
{
	char got[256] = "";

	assert_true(pread(fd, got, sizeof(got) - 1, 0) >= 0);
	assert_string_equal(got, text);
}

static void put_signal(unsigned number)
{
	const struct signalfd_siginfo info = { .ssi_signo = number };

	assert_int_equal(write(signal_end, &info, sizeof(info)), sizeof(info));
}

/* In place of the user's terminal, of 24 rows and 80 columns; where he types. */
static int use_terminal(void)
{
	struct winsize w = { .ws_row = 24, .ws_col = 80 };
	struct termios raw;
	int master, slave;

	assert_return_code(openpty(&master, &slave, NULL, NULL, &w), 0);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	dup3(slave, relay.in, O_CLOEXEC);
	close(slave);
	relay.terminal = true;
	relay.term = "vt";
	return master;
}

static void the_command_is_told_and_its_status_ours(void **state)
{
	char *args[] = { (char[]){ "ls" }, (char[]){ "" }, NULL };

	(void)state;
	relay.args = args;
	relay.term = "unused";
	SAYS("\x83\1\0\7");
	assert_int_equal(shell_relay(&relay, &err), 7);
	ASSERT_SENT("\1\12\0\0\0\0\0\0\0ls\0\0\2\0\0");
}

static void output_and_errors_are_apart(void **state)
{
	(void)state;
	SAYS("\x81\3\0one\x82\3\0bad\x81\0\0\x81\4\0 two\x83\1\0\0");
	assert_int_equal(shell_relay(&relay, &err), 0);
	assert_file(relay.out, "one two");
	assert_file(relay.error, "bad");
}

/* An agent that ends with 0 when it has been sent just this, else with 1. */
static void expects(const char *bytes, size_t len)
{
	char got[256], exit[] = "\x83\1\0\1";

	if (fork() != 0)
		return;
	if (recv(agent, got, len, MSG_WAITALL) == (ssize_t)len)
		exit[3] = memcmp(got, bytes, len) != 0;
	send(agent, exit, 4, 0);
	_exit(0);
}

#define EXPECTS(text) expects(text, sizeof(text) - 1)

static void what_comes_by_stdin_is_sent_with_its_end(void **state)
{
	(void)state;
	assert_int_equal(pwrite(relay.in, "typed", 5, 0), 5);
	EXPECTS("\1\6\0\0\0\0\0\0\0\2\5\0typed\2\0\0");
	assert_int_equal(shell_relay(&relay, &err), 0);
}

static void an_agent_that_is_none_is_told_of(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int code;
	} words[] = {
		{ "", 0, -ECONNRESET },
		{ "\x81\5\0half", 7, -ECONNRESET },
		{ "\x83\1", 2, -ECONNRESET },
		{ "\1\0\0", 3, -EPROTO }, /* what an echo would say */
		{ "\x83\0\0", 3, -EPROTO },
		{ "\x83\2\0\0\0", 5, -EPROTO },
		{ "HTTP/1.1 400", 12, -ECONNRESET }, /* of 20 KiB */
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		setup(state);
		says(words[i].bytes, words[i].len);
		shutdown(agent, SHUT_WR);
		err.msg[0] = '\0';
		assert_int_equal(shell_relay(&relay, &err), words[i].code);
		assert_true(*err.msg);
		teardown(state);
	}
	setup(state);
}

static void a_signal_ends_it(void **state)
{
	(void)state;
	put_signal(SIGTERM);
	assert_int_equal(shell_relay(&relay, &err), 128 + SIGTERM);
}

static void a_command_that_is_too_long_is_refused(void **state)
{
	char *args[SHELL_ARGS_MAX + 2], *longest = calloc(1, 65536);

	(void)state;
	memset(longest, 'x', 65535);
	relay.args = (char *[]){ longest, NULL };
	assert_int_equal(shell_relay(&relay, &err), -E2BIG);
	for (size_t i = 0; i <= SHELL_ARGS_MAX; i++)
		args[i] = longest + 65535;
	args[SHELL_ARGS_MAX + 1] = NULL;
	relay.args = args;
	assert_int_equal(shell_relay(&relay, &err), -E2BIG);
	args[SHELL_ARGS_MAX] = NULL;
	SAYS("\x83\1\0\0");
	assert_int_equal(shell_relay(&relay, &err), 0);
	free(longest);
}

static void output_that_nobody_takes_is_an_error(void **state)
{
	int ends[2];

	(void)state;
	assert_return_code(pipe2(ends, O_CLOEXEC), 0);
	dup3(ends[1], relay.out, O_CLOEXEC);
	close(ends[0]);
	close(ends[1]);
	SAYS("\x81\1\0x\x83\1\0\0");
	assert_int_equal(shell_relay(&relay, &err), -EPIPE);
	assert_string_equal(err.msg, "stdout: Broken pipe");
}

static void a_terminal_is_told_and_left_by_its_key(void **state)
{
	int typing = use_terminal();

	(void)state;
	assert_int_equal(write(typing, "a\1\1\3\1x", 6), 6);
	assert_int_equal(shell_relay(&relay, &err), 128 + SIGHUP);
	ASSERT_SENT("\1\x8\0\1\x18\0\x50\0vt\0\2\3\0a\1\3");
	close(typing);
}

static void a_window_that_changes_is_told(void **state)
{
	struct winsize w = { .ws_row = 25, .ws_col = 81 };
	int typing = use_terminal();
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ioctl(relay.in, TIOCSWINSZ, &w);
	kill(getpid(), SIGWINCH);
	EXPECTS("\1\x8\0\1\x19\0\x51\0vt\0\3\4\0\x19\0\x51\0");
	assert_int_equal(shell_relay(&relay, &err), 0);
	close(typing);
}

static void a_guest_that_does_not_read_does_not_lock_its_user_in(void **state)
{
	static const char much[4096];
	int typing = use_terminal();

	(void)state;
	while (send(relay.stream, much, sizeof(much), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(write(typing, "typed\1x", 7), 7);
	assert_int_equal(shell_relay(&relay, &err), 128 + SIGHUP);
	close(typing);
}

static void a_terminal_that_is_gone_is_left(void **state)
{
	(void)state;
	close(use_terminal());
	assert_int_equal(shell_relay(&relay, &err), 128 + SIGHUP);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_command_is_told_and_its_status_ours),
		TEST(output_and_errors_are_apart),
		TEST(what_comes_by_stdin_is_sent_with_its_end),
		TEST(an_agent_that_is_none_is_told_of),
		TEST(a_signal_ends_it),
		TEST(a_command_that_is_too_long_is_refused),
		TEST(output_that_nobody_takes_is_an_error),
		TEST(a_terminal_is_told_and_left_by_its_key),
		TEST(a_window_that_changes_is_told),
		TEST(a_guest_that_does_not_read_does_not_lock_its_user_in),
		TEST(a_terminal_that_is_gone_is_left),
	};

	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
