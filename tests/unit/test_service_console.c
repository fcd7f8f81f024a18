/* A VM's console in its manager, between the test as vmm and the test as its clients.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "service/virtmgr/console.h"

#define BIG (1u << 20)

struct env {
	sd_event *event;
	struct console *console;
	int vmm; /* its end; never blocks */
	int out, in; /* the client's ends; -1 */
};

/* In place of the C library's: another user's pipes cannot be opened again. */
static bool others;
int __open_2(const char *path, int flags);

int open(const char *path, int flags, ...)
{
	if (others && strncmp(path, "/proc/self/fd/", 14) == 0) {
		errno = EACCES;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

int __open_2(const char *path, int flags)
{
	return open(path, flags);
}

static void run(struct env *e)
{
	unsigned turns = 0;

	while (sd_event_run(e->event, 0) > 0)
		if (turns++ == 100000)
			fail_msg("it does not come to rest");
}

/* @out, @in: for the console. */
static void make(struct env *e, int out, int in)
{
	struct err err;

	if (console_new(e->event, out, in, "Console(5)", &e->console, &err) < 0)
		fail_msg("%s", err.msg);
	e->vmm = console_take_child_fd(e->console);
	assert_true(e->vmm >= 0);
	assert_int_equal(console_take_child_fd(e->console), -1);
	assert_int_equal(fcntl(e->vmm, F_SETFL, O_NONBLOCK), 0);
}

static void make_pipe(int *ret_read, int *ret_write)
{
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	*ret_read = pair[0];
	*ret_write = pair[1];
}

/* A client who gives pipes. */
static void make_with_pipes(struct env *e)
{
	int out, in;

	make_pipe(&e->out, &out);
	make_pipe(&in, &e->in);
	make(e, out, in);
}

static int attach(struct env *e)
{
	struct err err;
	int fd;

	if (console_attach(e->console, &fd, &err) < 0)
		fail_msg("%s", err.msg);
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	return fd;
}

static void puts_to(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Whether there is something to be read. */
static bool has(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents & POLLIN;
}

static void reads(int fd, const char *text)
{
	char buf[8192] = "";

	assert_true(has(fd));
	assert_int_equal(read(fd, buf, sizeof(buf) - 1), strlen(text));
	assert_string_equal(buf, text);
}

/* The same by a terminal, which passes it on when it comes to it. */
static void arrives(struct env *e, int fd, const char *text)
{
	char buf[64] = "";
	size_t n = 0;

	for (unsigned i = 0; i < 1000 && n < strlen(text); i++) {
		if (has(fd))
			n += (size_t)read(fd, buf + n, sizeof(buf) - 1 - n);
		else
			assert_true(sd_event_run(e->event, 10000) >= 0);
	}
	assert_string_equal(buf, text);
}

static char byte_at(size_t i)
{
	return (char)('a' + i % 23);
}

/* Everything there is to be read, which continues the pattern at *@at. */
static void read_pattern(int fd, size_t *at)
{
	char buf[65536];
	ssize_t n;

	while (has(fd) && (n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, ++*at)
			assert_int_equal(buf[i], byte_at(*at));
}

/* As much of the pattern as goes at once. */
static void write_pattern(int fd, size_t *at, size_t end)
{
	char buf[4096];
	ssize_t n;

	do {
		size_t len = end - *at < sizeof(buf) ? end - *at : sizeof(buf);

		for (size_t i = 0; i < len; i++)
			buf[i] = byte_at(*at + i);
		n = write(fd, buf, len);
		*at += n > 0 ? (size_t)n : 0;
	} while (n > 0);
}

static unsigned count_fds(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int set_up(void **state)
{
	struct env *e = calloc(1, sizeof(*e));

	signal(SIGPIPE, SIG_IGN);
	assert_true(sd_event_new(&e->event) >= 0);
	e->vmm = e->out = e->in = -1;
	*state = e;
	return 0;
}

static int tear_down(void **state)
{
	struct env *e = *state;

	console_free(e->console);
	sd_event_unref(e->event);
	cleanup_close(&e->vmm);
	cleanup_close(&e->out);
	cleanup_close(&e->in);
	free(e);
	return 0;
}

/* --- output ---------------------------------------------------------------------- */

static void output_goes_to_all(void **state)
{
	struct env *e = *state;
	int a, b;

	make_with_pipes(e);
	a = attach(e);
	b = attach(e);
	puts_to(e->vmm, "hello\n");
	run(e);
	reads(e->out, "hello\n");
	reads(a, "hello\n");
	reads(b, "hello\n");
	close(a);
	close(b);
}

static void who_comes_later_gets_the_last_4_kib(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen, old = 0;
	int fd;

	make_with_pipes(e);
	puts_to(e->vmm, "a");
	sent = 1;
	run(e);
	fd = attach(e);
	reads(fd, "a");
	close(fd);
	while (sent < 10000) {
		write_pattern(e->vmm, &sent, sent + 777);
		run(e);
	}
	fd = attach(e);
	seen = sent - 4096;
	read_pattern(fd, &seen);
	assert_int_equal(seen, sent);
	read_pattern(e->out, &old);
	assert_int_equal(old, sent);
	close(fd);
}

static void who_does_not_read_loses_and_holds_up_nobody(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen = 0, slow = 0;
	int lazy, quick;

	make_with_pipes(e);
	lazy = attach(e);
	quick = attach(e);
	/* Neither the client nor the first of the attached reads. */
	while (sent < 4 * BIG) {
		write_pattern(e->vmm, &sent, 4 * BIG);
		run(e);
		read_pattern(quick, &seen);
	}
	run(e);
	read_pattern(quick, &seen);
	assert_int_equal(seen, sent);
	/* What fitted is there, in order. */
	for (unsigned i = 0; i < 100; i++) {
		read_pattern(lazy, &slow);
		run(e);
	}
	assert_true(slow >= 64 << 10 && slow < BIG);
	slow = 0;
	for (unsigned i = 0; i < 100; i++) {
		read_pattern(e->out, &slow);
		run(e);
	}
	assert_int_equal(slow, (256 << 10) + (64 << 10));
	/* And then the newest again. */
	puts_to(e->vmm, "now\n");
	run(e);
	reads(e->out, "now\n");
	reads(lazy, "now\n");
	close(lazy);
	close(quick);
}

static void the_clients_pipe_still_blocks(void **state)
{
	struct env *e = *state;
	int out, in, mine_out, mine_in;
	size_t sent = 0;

	make_pipe(&e->out, &out);
	make_pipe(&in, &e->in);
	mine_out = fcntl(out, F_DUPFD_CLOEXEC, 0);
	mine_in = fcntl(in, F_DUPFD_CLOEXEC, 0);
	make(e, out, in);
	while (sent < BIG) {
		write_pattern(e->vmm, &sent, BIG);
		run(e);
	}
	assert_false(fcntl(mine_out, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(mine_in, F_GETFL) & O_NONBLOCK);
	close(mine_out);
	close(mine_in);
}

static void another_users_pipes_are_not_waited_for(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen = 0;

	others = true;
	make_with_pipes(e);
	others = false;
	while (sent < BIG) {
		write_pattern(e->vmm, &sent, BIG);
		run(e);
	}
	for (unsigned i = 0; i < 100; i++) {
		read_pattern(e->out, &seen);
		run(e);
	}
	assert_int_equal(seen, (256 << 10) + (64 << 10));
	for (sent = seen = 0; sent < 4096; run(e))
		write_pattern(e->in, &sent, 4096);
	run(e);
	read_pattern(e->vmm, &seen);
	assert_int_equal(seen, sent);
}

static void a_socket_of_the_clients_is_not_waited_for(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen = 0;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	e->out = pair[0];
	make(e, pair[1], -1);
	while (sent < BIG) {
		write_pattern(e->vmm, &sent, BIG);
		run(e);
	}
	for (unsigned i = 0; i < 100; i++) {
		read_pattern(e->out, &seen);
		run(e);
	}
	assert_true(seen >= 256 << 10 && seen < BIG);
}

static void a_file_gets_all_behind_what_is_in_it(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen = 0;
	int file = memfd_create("out", MFD_CLOEXEC);

	puts_to(file, "before");
	make(e, fcntl(file, F_DUPFD_CLOEXEC, 0), -1);
	while (sent < BIG) {
		write_pattern(e->vmm, &sent, BIG);
		run(e);
	}
	assert_int_equal(lseek(file, 0, SEEK_CUR), BIG + 6);
	assert_int_equal(lseek(file, 6, SEEK_SET), 6);
	while (seen < BIG)
		read_pattern(file, &seen);
	close(file);
}

static void nothing_is_a_good_output(void **state)
{
	struct env *e = *state;

	make(e, open("/dev/null", O_WRONLY | O_CLOEXEC),
	     open("/dev/null", O_RDONLY | O_CLOEXEC));
	puts_to(e->vmm, "hello\n");
	run(e);
	assert_false(has(e->vmm));
}

static void without_an_output_the_log_has_the_lines(void **state)
{
	struct env *e = *state;
	int old = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10), log[2];
	char buf[1024] = "";

	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	make(e, -1, -1);
	dup2(log[1], STDERR_FILENO);
	log_init(LOG_LEVEL_INFO, NULL);
	puts_to(e->vmm, "first\r\nsec");
	run(e);
	puts_to(e->vmm, "ond \x1b[31m\nend");
	run(e);
	console_free(TAKE_PTR(e->console));
	dup2(old, STDERR_FILENO);
	close(old);
	assert_true(read(log[0], buf, sizeof(buf) - 1) > 0);
	assert_string_equal(buf,
			    "test_service_console: info: Console(5): first\n"
			    "test_service_console: info: Console(5): second ?[31m\n"
			    "test_service_console: info: Console(5): end\n");
	close(log[0]);
	close(log[1]);
}

static void a_log_that_nobody_reads_stops_nothing(void **state)
{
	struct env *e = *state;
	int old = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10), log[2], fd;
	size_t sent = 0, seen = 0;

	assert_int_equal(pipe2(log, O_CLOEXEC), 0);
	make(e, -1, -1);
	fd = attach(e);
	dup2(log[1], STDERR_FILENO);
	log_init(LOG_LEVEL_INFO, NULL);
	while (sent < BIG) {
		write_pattern(e->vmm, &sent, BIG);
		run(e);
		read_pattern(fd, &seen);
	}
	dup2(old, STDERR_FILENO);
	close(old);
	assert_int_equal(seen, sent);
	close(fd);
	close(log[0]);
	close(log[1]);
}

/* --- input ----------------------------------------------------------------------- */

static void input_comes_from_all(void **state)
{
	struct env *e = *state;
	int fd;

	make_with_pipes(e);
	fd = attach(e);
	puts_to(e->in, "one");
	run(e);
	reads(e->vmm, "one");
	puts_to(fd, "two");
	run(e);
	reads(e->vmm, "two");
	assert_false(has(e->out));
	close(fd);
}

/* A file, which is ready always; then two who write more than the guest reads. */
static void input_waits_for_the_guest(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen = 0;
	int file = memfd_create("in", MFD_CLOEXEC), fd;

	write_pattern(file, &sent, BIG);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	make(e, -1, file);
	run(e);
	while (seen < BIG) {
		size_t before = seen;

		read_pattern(e->vmm, &seen);
		run(e);
		assert_true(seen > before);
	}
	assert_int_equal(seen, BIG);
	fd = attach(e);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	for (sent = seen = 0; seen < BIG;) {
		size_t before = sent;

		/* Nobody takes more than the sockets hold. */
		do {
			before = sent;
			write_pattern(fd, &sent, BIG);
			run(e);
		} while (sent > before);
		assert_true(sent - seen < BIG || sent == BIG);
		read_pattern(e->vmm, &seen);
		run(e);
	}
	close(fd);
}

static void what_was_typed_before_leaving_arrives(void **state)
{
	struct env *e = *state;
	int fd;

	make_with_pipes(e);
	fd = attach(e);
	puts_to(fd, "bye\n");
	close(fd);
	puts_to(e->in, "me too\n");
	close(TAKE_FD(e->in));
	run(e);
	reads(e->vmm, "bye\nme too\n");
}

static void a_terminal_serves_both_ways(void **state)
{
	struct env *e = *state;
	struct termios raw;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	make(e, fcntl(slave, F_DUPFD_CLOEXEC, 0), fcntl(slave, F_DUPFD_CLOEXEC, 0));
	puts_to(e->vmm, "login: ");
	arrives(e, master, "login: ");
	puts_to(master, "root\n");
	arrives(e, e->vmm, "root\n");
	assert_false(fcntl(slave, F_GETFL) & O_NONBLOCK);
	/* It is hung up. */
	close(slave);
	close(master);
	run(e);
	puts_to(e->vmm, "again");
	run(e);
}

/* It cannot be opened twice. */
static void the_other_end_of_a_terminal_does_too(void **state)
{
	struct env *e = *state;
	struct termios raw;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	make(e, fcntl(master, F_DUPFD_CLOEXEC, 0), master);
	puts_to(e->vmm, "login: ");
	arrives(e, slave, "login: ");
	puts_to(slave, "root\n");
	arrives(e, e->vmm, "root\n");
	close(slave);
	run(e);
}

/* --- ends ------------------------------------------------------------------------ */

static void a_stream_that_is_closed_is_dropped(void **state)
{
	struct env *e = *state;
	unsigned before;
	struct err err;
	int fds[64], fd;

	make_with_pipes(e);
	before = count_fds();
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < 64; i++)
			fds[i] = attach(e);
		assert_int_equal(console_attach(e->console, &fd, &err), -EDQUOT);
		/* Some say only that they will type no more. */
		for (unsigned i = 0; i < 64; i++) {
			if (i & 1)
				shutdown(fds[i], SHUT_WR);
			run(e);
			if (i & 1)
				puts_to(e->vmm, "x");
			run(e);
			close(fds[i]);
		}
		run(e);
		assert_int_equal(count_fds(), before);
	}
}

static void a_client_that_leaves_is_not_missed(void **state)
{
	struct env *e = *state;
	int fd;

	make_with_pipes(e);
	fd = attach(e);
	close(TAKE_FD(e->out));
	close(TAKE_FD(e->in));
	for (unsigned i = 0; i < 3; i++) {
		puts_to(e->vmm, "hello");
		run(e);
		reads(fd, "hello");
	}
	puts_to(fd, "you");
	run(e);
	reads(e->vmm, "you");
	close(fd);
}

static void input_for_a_vm_that_has_ended_goes_nowhere(void **state)
{
	struct env *e = *state;
	int fd;

	make_with_pipes(e);
	fd = attach(e);
	close(TAKE_FD(e->vmm));
	run(e);
	/* As by the end of it, which comes soon. */
	assert_int_equal(write(e->in, "hello", 5), -1);
	assert_int_equal(errno, EPIPE);
	puts_to(fd, "hello");
	run(e);
	close(fd);
	run(e);
}

/* It would be read for ever. */
static void endless_input_that_nobody_takes_is_left(void **state)
{
	struct env *e = *state;
	int in = open("/dev/zero", O_RDONLY | O_CLOEXEC), attached;

	assert_return_code(in, errno);
	make(e, -1, in);
	attached = attach(e);
	/* First vmm refuses it, then it is gone. */
	assert_return_code(shutdown(e->vmm, SHUT_RD), errno);
	run(e);
	close(TAKE_FD(e->vmm));
	run(e);
	/* Who is attached may still go. */
	close(attached);
	run(e);
}

static void the_last_words_are_written(void **state)
{
	struct env *e = *state;
	size_t sent = 0, seen = 0;
	int fd;

	make_with_pipes(e);
	assert_true(fcntl(e->out, F_SETPIPE_SZ, BIG) >= (int)BIG);
	fd = attach(e);
	write_pattern(e->vmm, &sent, 100000);
	assert_int_equal(sent, 100000);
	close(TAKE_FD(e->vmm));
	console_free(TAKE_PTR(e->console));
	read_pattern(e->out, &seen);
	assert_int_equal(seen, sent);
	seen = 0;
	read_pattern(fd, &seen);
	assert_int_equal(seen, sent);
	close(fd);
}

static void a_reader_that_sleeps_does_not_stop_the_end(void **state)
{
	struct env *e = *state;
	size_t sent = 0;

	make_with_pipes(e);
	while (sent < BIG) {
		write_pattern(e->vmm, &sent, BIG);
		run(e);
	}
	console_free(TAKE_PTR(e->console));
}

static void descriptors_must_allow_what_they_are_for(void **state)
{
	struct env *e = *state;
	unsigned before = count_fds();
	struct err err;
	int out, in;

	make_pipe(&in, &out);
	assert_int_equal(console_new(e->event, in, out, "x", &e->console, &err),
			 -EBADMSG);
	assert_string_equal(err.msg, "console_out: is not open for writing");
	make_pipe(&in, &out);
	close(in);
	assert_int_equal(console_new(e->event, -1, out, "x", &e->console, &err),
			 -EBADMSG);
	assert_string_equal(err.msg, "console_in: is not open for reading");
	assert_int_equal(count_fds(), before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(output_goes_to_all),
		TEST(who_comes_later_gets_the_last_4_kib),
		TEST(who_does_not_read_loses_and_holds_up_nobody),
		TEST(the_clients_pipe_still_blocks),
		TEST(another_users_pipes_are_not_waited_for),
		TEST(a_socket_of_the_clients_is_not_waited_for),
		TEST(a_file_gets_all_behind_what_is_in_it),
		TEST(nothing_is_a_good_output),
		TEST(without_an_output_the_log_has_the_lines),
		TEST(a_log_that_nobody_reads_stops_nothing),
		TEST(input_comes_from_all),
		TEST(input_waits_for_the_guest),
		TEST(what_was_typed_before_leaving_arrives),
		TEST(a_terminal_serves_both_ways),
		TEST(the_other_end_of_a_terminal_does_too),
		TEST(a_stream_that_is_closed_is_dropped),
		TEST(a_client_that_leaves_is_not_missed),
		TEST(input_for_a_vm_that_has_ended_goes_nowhere),
		TEST(endless_input_that_nobody_takes_is_left),
		TEST(the_last_words_are_written),
		TEST(a_reader_that_sleeps_does_not_stop_the_end),
		TEST(descriptors_must_allow_what_they_are_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
