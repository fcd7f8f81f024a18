/* devices/chardev.c */
#include "devices/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#define RING (256u << 10)

static char dir[] = "/tmp/test_chardev.XXXXXX";
static struct loop *loop;
static struct err err;

static int group_setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	return !mkdtemp(dir) || chdir(dir) < 0;
}

static int group_teardown(void **state)
{
	(void)state;
	return chdir("/") < 0 || rmdir(dir) < 0;
}

static int setup(void **state)
{
	(void)state;
	return loop_new(&loop, NULL);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	unlink("out");
	unlink("in");
	return 0;
}

/* A device with room for so many bytes. */
struct taker {
	size_t room;
	size_t n;
	char got[20000];
};

static size_t take(void *arg, const uint8_t *buf, size_t len)
{
	struct taker *t = arg;
	size_t n = len < t->room ? len : t->room;

	memcpy(t->got + t->n, buf, n);
	t->n += n;
	t->room -= n;
	return n;
}

static struct chardev *open_chardev(struct chardev_cfg cfg)
{
	struct chardev *chr = NULL;
	int r = chardev_open(&cfg, "serial 1", loop, &chr, &err);

	if (r < 0)
		print_error("%s\n", err.msg);
	assert_int_equal(r, 0);
	return chr;
}

static char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static struct chardev *open_output(char *path)
{
	return open_chardev((struct chardev_cfg){ .type = CHARDEV_FILE, .path = path });
}

static struct chardev *open_input(char *path)
{
	return open_chardev((struct chardev_cfg){ .input = path });
}

static void run(void)
{
	for (int i = 0; i < 1000 && loop_poll(loop) > 0; i++)
		;
	/* Nothing spins. */
	assert_int_equal(loop_poll(loop), 0);
}

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static void assert_file(const char *path, const char *text)
{
	char buf[100] = "";
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_int_equal(fread(buf, 1, sizeof(buf) - 1, f), strlen(text));
	assert_string_equal(buf, text);
	fclose(f);
}

static void fill_ring(struct chardev *chr, size_t len)
{
	char *buf = malloc(len);

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(i % 251);
	chardev_write(chr, buf, len);
	free(buf);
}

static void file_is_appended_to(void **state)
{
	struct chardev *chr;

	(void)state;
	put_file("out", "old ");
	chr = open_output((char[]){ "out" });
	chardev_write(chr, "new ", 4);
	run();
	chardev_write(chr, "text", 4);
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	assert_file("out", "old new text");
}

static void sink_takes_all(void **state)
{
	struct chardev *chr = open_chardev((struct chardev_cfg){ 0 });

	(void)state;
	fill_ring(chr, RING + 1);
	run();
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
}

static void count_bytes(void *arg, const void *buf, size_t len)
{
	(void)buf;
	*(size_t *)arg += len;
}

/* Also what goes nowhere, and what a full ring drops. */
static void tee_gets_all_output(void **state)
{
	struct chardev *chr =
		open_chardev((struct chardev_cfg){ .type = CHARDEV_SINK });
	size_t n = 0;

	(void)state;
	chardev_tee(chr, count_bytes, &n);
	chardev_write(chr, "hello", 5);
	assert_int_equal(n, 5);
	chardev_close(chr);
	chr = open_output((char[]){ "out" });
	n = 0;
	chardev_tee(chr, count_bytes, &n);
	fill_ring(chr, RING + 100);
	assert_int_equal(n, RING + 100);
	run();
	chardev_close(chr);
}

static void bad_configurations_are_sentences(void **state)
{
	struct chardev_cfg no_path = { .type = CHARDEV_FILE };
	struct chardev_cfg no_dir = { .type = CHARDEV_FILE,
				      .path = (char[]){ "no/x" } };
	struct chardev_cfg no_input = { .input = (char[]){ "no" } };
	struct chardev_cfg two = { .input = (char[]){ "no" }, .use_stdin = true };
	struct chardev *chr;

	(void)state;
	assert_int_equal(chardev_open(&no_path, "serial 1", loop, &chr, &err), -EINVAL);
	assert_string_equal(err.msg, "serial 1: its type needs a path");
	assert_int_equal(chardev_open(&no_dir, "serial 1", loop, &chr, &err), -ENOENT);
	assert_string_equal(err.msg, "serial 1 no/x: No such file or directory");
	assert_int_equal(chardev_open(&no_input, "serial 1", loop, &chr, &err),
			 -ENOENT);
	assert_int_equal(chardev_open(&two, "serial 1", loop, &chr, &err), -EINVAL);
	chardev_close(NULL);
}

/* Read all that is in the pipe; checks the pattern of fill_ring() from @at on. */
static size_t read_pattern(int fd, size_t at)
{
	static unsigned char buf[65536];
	ssize_t n = read(fd, buf, sizeof(buf));

	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(buf[i], (at + (size_t)i) % 251);
	return n < 0 ? 0 : (size_t)n;
}

/* Through a description of our own, or, when /proc does not give one, bounded. */
static void slow_reader_gets_all(int in, int out)
{
	struct chardev *chr;
	size_t got = 0;

	fcntl(in, F_SETFL, O_NONBLOCK);
	chr = open_output(fd_path(out));
	fill_ring(chr, RING);
	run();
	assert_false(fcntl(out, F_GETFL) & O_NONBLOCK);
	while (got < RING) {
		size_t n = read_pattern(in, got);

		assert_true(n > 0);
		got += n;
		run();
	}
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	close(in);
	close(out);
}

static void slow_pipe_reader_gets_all(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	slow_reader_gets_all(p[0], p[1]);
}

static void slow_terminal_reader_gets_all(void **state)
{
	struct termios raw;
	int master, slave;

	(void)state;
	cfmakeraw(memset(&raw, 0, sizeof(raw)));
	raw.c_cflag |= CS8 | CREAD;
	assert_int_equal(openpty(&master, &slave, NULL, &raw, NULL), 0);
	slow_reader_gets_all(master, slave);
}

/* Which cannot be opened again. */
static void slow_socket_reader_gets_all(void **state)
{
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	slow_reader_gets_all(s[0], s[1]);
}

static void *write_much(void *arg)
{
	for (int i = 0; i < 10000; i++)
		chardev_write(arg, "0123456789", 10);
	return NULL;
}

static void threads_may_write_while_the_loop_does(void **state)
{
	struct chardev *chr = open_output((char[]){ "out" });
	pthread_t threads[2];
	struct stat st;

	(void)state;
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_much, chr);
	for (int i = 0; i < 1000; i++)
		loop_poll(loop);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	assert_int_equal(stat("out", &st), 0);
	assert_int_equal(st.st_size, 200000);
}

/* The master must not be opened again: that makes another terminal. */
static void terminal_master_is_written_to(void **state)
{
	struct termios raw;
	struct chardev *chr;
	int master, slave;
	char buf[8] = "";

	(void)state;
	cfmakeraw(memset(&raw, 0, sizeof(raw)));
	raw.c_cc[VMIN] = 1;
	raw.c_cflag |= CS8 | CREAD;
	assert_int_equal(openpty(&master, &slave, NULL, &raw, NULL), 0);
	chr = open_output(fd_path(master));
	chardev_write(chr, "hello", 5);
	run();
	assert_int_equal(read(slave, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	chardev_close(chr);
	close(master);
	close(slave);
}

static void full_ring_drops_what_comes_last(void **state)
{
	struct chardev *chr;
	size_t got = 0, n;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	chr = open_output(fd_path(p[1]));
	fill_ring(chr, RING + 100);
	run();
	assert_false(chardev_drain(chr, 1)); /* the pipe is full and nobody reads */
	while ((n = read_pattern(p[0], got)) > 0) {
		got += n;
		run();
	}
	assert_int_equal(got, RING);
	assert_false(chardev_drain(chr, 0)); /* 100 are lost */
	chardev_close(chr);
	close(p[0]);
	close(p[1]);
}

static void *read_slowly(void *arg)
{
	size_t got = 0, n;

	while ((n = read_pattern(*(int *)arg, got)) > 0) {
		got += n;
		usleep(1000);
	}
	return (void *)got;
}

static void drain_waits_for_a_reader_that_reads(void **state)
{
	struct chardev *chr;
	pthread_t reader;
	void *got;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	chr = open_output(fd_path(p[1]));
	fill_ring(chr, RING);
	pthread_create(&reader, NULL, read_slowly, &p[0]);
	assert_true(chardev_drain(chr, 10000));
	chardev_close(chr);
	close(p[1]);
	pthread_join(reader, &got);
	assert_int_equal(got, RING);
	close(p[0]);
}

static void reader_that_goes_is_no_error(void **state)
{
	struct chardev *chr;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	chr = open_output(fd_path(p[1]));
	fill_ring(chr, RING);
	run();
	close(p[0]);
	run();
	fill_ring(chr, RING);
	fill_ring(chr, RING);
	run();
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	close(p[1]);
}

static void early_output_waits_for_a_fifos_reader(void **state)
{
	struct chardev *chr;
	char buf[8] = "";
	int in;

	(void)state;
	assert_int_equal(mkfifo("out", 0600), 0);
	chr = open_output((char[]){ "out" });
	chardev_write(chr, "hello", 5);
	run();
	in = open("out", O_RDONLY);
	assert_int_equal(read(in, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	chardev_close(chr);
	assert_int_equal(read(in, buf, sizeof(buf)), 0);
	close(in);
}

static void file_input_comes_as_the_device_takes_it(void **state)
{
	struct taker t = { .room = 3 };
	struct chardev *chr;

	(void)state;
	put_file("in", "0123456789");
	chr = open_input((char[]){ "in" });
	run();
	assert_int_equal(t.n, 0); /* no device yet */
	chardev_attach(chr, take, &t);
	run();
	assert_string_equal(t.got, "012");
	run();
	assert_int_equal(t.n, 3);
	t.room = 4;
	chardev_resume(chr);
	run();
	assert_string_equal(t.got, "0123456");
	t.room = 100;
	chardev_resume(chr);
	run();
	assert_string_equal(t.got, "0123456789");
	chardev_resume(chr); /* after the end: nothing */
	run();
	assert_int_equal(t.n, 10);
	chardev_close(chr);
}

static void long_input_leaves_room_for_other_watches(void **state)
{
	struct taker *t = calloc(1, sizeof(*t));
	struct chardev *chr;
	FILE *f = fopen("in", "w");

	(void)state;
	for (int i = 0; i < 5000; i++)
		fputs("abc", f);
	fclose(f);
	t->room = sizeof(t->got);
	chr = open_input((char[]){ "in" });
	chardev_attach(chr, take, t);
	run();
	assert_int_equal(t->n, 15000);
	assert_memory_equal(t->got + 14994, "abcabc", 6);
	chardev_close(chr);
	free(t);
}

static void pipe_input_comes_when_it_is_written(void **state)
{
	struct taker t = { .room = 4 };
	struct chardev *chr;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	chr = open_input(fd_path(p[0]));
	chardev_attach(chr, take, &t);
	run();
	assert_int_equal(write(p[1], "ab", 2), 2);
	run();
	assert_string_equal(t.got, "ab");
	assert_int_equal(write(p[1], "cdef", 4), 4);
	run();
	assert_string_equal(t.got, "abcd");
	close(p[1]); /* a paused watch does not spin on the hang-up */
	run();
	t.room = 100;
	chardev_resume(chr);
	run();
	assert_string_equal(t.got, "abcdef");
	chardev_close(chr);
	close(p[0]);
}

static void fifo_input_waits_for_a_writer(void **state)
{
	struct taker t = { .room = 100 };
	struct chardev *chr;
	int out;

	(void)state;
	assert_int_equal(mkfifo("in", 0600), 0);
	chr = open_input((char[]){ "in" });
	chardev_attach(chr, take, &t);
	run();
	out = open("in", O_WRONLY);
	assert_int_equal(write(out, "abc", 3), 3);
	close(out);
	run();
	assert_string_equal(t.got, "abc");
	chardev_close(chr);
}

static void unreadable_stdin_is_no_input(void **state)
{
	int saved = dup(STDIN_FILENO), fd = open("/dev/null", O_WRONLY);
	struct taker t = { .room = 100 };
	struct chardev *chr;

	(void)state;
	dup2(fd, STDIN_FILENO);
	chr = open_chardev((struct chardev_cfg){ .use_stdin = true });
	chardev_attach(chr, take, &t);
	run();
	chardev_close(chr);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(fd);
}

/* A datagram socket at "sock". */
static int bind_lines(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static struct chardev *open_lines(void)
{
	return open_chardev((struct chardev_cfg){ .type = CHARDEV_UNIX,
						  .path = (char[]){ "sock" } });
}

static void assert_line(int fd, const char *text)
{
	char buf[2000] = "";
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);

	assert_int_equal(n, strlen(text));
	assert_string_equal(buf, text);
}

static void each_line_is_a_datagram(void **state)
{
	char buf[2000], want[1025] = "";
	int fd = bind_lines();
	struct chardev *chr = open_lines();

	(void)state;
	chardev_write(chr, "one\ntw", 6);
	run();
	chardev_write(chr, "o\r\n\nrest", 8);
	run();
	assert_line(fd, "one");
	assert_line(fd, "two");
	assert_line(fd, "");
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), -1);
	memset(buf, 'x', 1500);
	memset(want, 'x', 1024);
	memcpy(want, "rest", 4);
	chardev_write(chr, buf, 1500); /* too long for one */
	run();
	assert_line(fd, want);
	assert_true(chardev_drain(chr, 0)); /* which no newline ends */
	want[480] = '\0';
	memset(want, 'x', 480);
	assert_line(fd, want);
	chardev_close(chr);
	close(fd);
	unlink("sock");
}

/* The queue of a datagram socket holds few of them, and the ring wraps around. */
static void slow_reader_gets_all_lines(void **state)
{
	int fd = bind_lines(), got = 0;
	struct chardev *chr = open_lines();
	char line[16];

	(void)state;
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 10000; i++) {
			int n = snprintf(line, sizeof(line), "line %d\n",
					 round * 10000 + i);

			chardev_write(chr, line, (size_t)n);
		}
		run();
		while (got < (round + 1) * 10000) {
			snprintf(line, sizeof(line), "line %d", got++);
			assert_line(fd, line);
			run();
		}
	}
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	close(fd);
	unlink("sock");
}

static void datagram_reader_that_goes_is_no_error(void **state)
{
	int fd = bind_lines();
	struct chardev *chr = open_lines();

	(void)state;
	close(fd);
	chardev_write(chr, "lost\n", 5);
	run();
	fill_ring(chr, RING);
	fill_ring(chr, RING);
	run();
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	unlink("sock");
}

static void stream_carries_both_ways(void **state)
{
	struct taker t = { .room = 100 };
	struct chardev *chr;
	char buf[8] = "";
	int s[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	chr = open_chardev((struct chardev_cfg){ .type = CHARDEV_UNIX_STREAM,
						 .path = fd_path(s[1]),
						 .input_stream = true });
	chardev_attach(chr, take, &t);
	chardev_write(chr, "hello", 5);
	assert_int_equal(write(s[0], "world", 5), 5);
	run();
	assert_int_equal(read(s[0], buf, sizeof(buf)), 5);
	assert_string_equal(buf, "hello");
	assert_string_equal(t.got, "world");
	assert_false(fcntl(s[1], F_GETFL) & O_NONBLOCK);
	close(s[0]); /* the peer goes */
	run();
	fill_ring(chr, RING);
	run();
	fill_ring(chr, RING);
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	close(s[1]);
}

static void lines_carry_their_time(void **state)
{
	struct chardev *chr = open_chardev((struct chardev_cfg){
		.type = CHARDEV_FILE, .path = (char[]){ "out" }, .timestamp = true });
	char first[100], second[100], text[10];
	int y[2], m, d, h, min, s, ns;
	FILE *f;

	(void)state;
	chardev_write(chr, "on", 2);
	chardev_write(chr, "e\ntwo", 5);
	assert_true(chardev_drain(chr, 0));
	chardev_close(chr);
	f = fopen("out", "r");
	assert_non_null(fgets(first, sizeof(first), f));
	assert_non_null(fgets(second, sizeof(second), f));
	fclose(f);
	assert_int_equal(sscanf(first, "[%4d-%2d-%2d %2d:%2d:%2d.%9d]: %9s", &y[0], &m,
				&d, &h, &min, &s, &ns, text),
			 8);
	assert_string_equal(text, "one");
	assert_int_equal(sscanf(second, "[%4d-%2d-%2d %2d:%2d:%2d.%9d]: %9s", &y[1], &m,
				&d, &h, &min, &s, &ns, text),
			 8);
	assert_string_equal(text, "two");
	assert_true(y[0] >= 2024 && y[1] >= y[0]);
}

/* With a time for each this would take minutes. */
static void of_a_flood_of_lines_only_what_fits_gets_a_time(void **state)
{
	struct chardev *chr;
	size_t len = 64u << 20, got = 0;
	char *flood = malloc(len), buf[8192];
	ssize_t n;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	chr = open_chardev((struct chardev_cfg){
		.type = CHARDEV_FILE, .path = fd_path(p[1]), .timestamp = true });
	memset(flood, '\n', len);
	chardev_write(chr, flood, len);
	free(flood);
	run();
	while ((n = read(p[0], buf, sizeof(buf))) > 0) {
		got += (size_t)n;
		run();
	}
	assert_int_equal(got, RING);
	assert_false(chardev_drain(chr, 0));
	chardev_close(chr);
	close(p[0]);
	close(p[1]);
}

/* --- the escape key, on a terminal that is stdin --- */

static int saved_stdin, master;
static unsigned left;

static void leave(void *arg)
{
	(void)arg;
	left++;
}

static struct chardev *open_terminal(void)
{
	struct termios raw;
	int slave;

	cfmakeraw(memset(&raw, 0, sizeof(raw)));
	raw.c_cc[VMIN] = 1;
	raw.c_cflag |= CS8 | CREAD;
	assert_int_equal(openpty(&master, &slave, NULL, &raw, NULL), 0);
	saved_stdin = dup(STDIN_FILENO);
	dup2(slave, STDIN_FILENO);
	close(slave);
	left = 0;
	return open_chardev(
		(struct chardev_cfg){ .use_stdin = true, .escape = 1, .leave = leave });
}

static void close_terminal(struct chardev *chr)
{
	chardev_close(chr);
	dup2(saved_stdin, STDIN_FILENO);
	close(saved_stdin);
	close(master);
}

static void type(const char *keys)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

	assert_int_equal(write(master, keys, strlen(keys)), strlen(keys));
	/* The kernel carries it over in its own time. */
	assert_int_equal(poll(&p, 1, 10000), 1);
	run();
}

static void escape_key_leaves_the_terminal(void **state)
{
	struct taker t = { .room = 100 };
	struct chardev *chr = open_terminal();

	(void)state;
	chardev_attach(chr, take, &t);
	type("abc\1");
	assert_string_equal(t.got, "abc");
	type("\1x"); /* the key itself, and an x */
	assert_string_equal(t.got, "abc\1x");
	type("\1c\1\1\1d"); /* nothing that it means */
	assert_string_equal(t.got, "abc\1x\1c\1\1d");
	assert_int_equal(left, 0);
	type("e\1");
	type("xf");
	assert_int_equal(left, 1);
	assert_string_equal(t.got, "abc\1x\1c\1\1def");
	close_terminal(chr);
}

static void escape_key_works_while_the_guest_reads_nothing(void **state)
{
	struct taker t = { 0 };
	struct chardev *chr = open_terminal();

	(void)state;
	chardev_attach(chr, take, &t);
	type("abc");
	type("def\1");
	assert_int_equal(t.n, 0);
	type("x");
	assert_int_equal(left, 1);
	t.room = 100;
	chardev_resume(chr);
	run();
	assert_string_equal(t.got, "abcdef");
	close_terminal(chr);
}

/* More than is kept for it: the terminal keeps the rest, and nothing is lost. */
static void long_paste_waits_for_the_guest(void **state)
{
	struct taker t = { 0 };
	struct chardev *chr = open_terminal();
	char keys[1001] = "";

	(void)state;
	chardev_attach(chr, take, &t);
	memset(keys, 'k', 1000);
	for (int i = 0; i < 7; i++)
		type(keys);
	t.room = sizeof(t.got);
	chardev_resume(chr);
	for (int i = 0; i < 1000 && t.n < 7000; i++) {
		run();
		usleep(1000);
	}
	assert_int_equal(t.n, 7000);
	close_terminal(chr);
}

static void escape_key_is_data_where_no_terminal_is(void **state)
{
	struct taker t = { .room = 100 };
	struct chardev *chr;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	saved_stdin = dup(STDIN_FILENO);
	dup2(p[0], STDIN_FILENO);
	chr = open_chardev(
		(struct chardev_cfg){ .use_stdin = true, .escape = 1, .leave = leave });
	left = 0;
	chardev_attach(chr, take, &t);
	assert_int_equal(write(p[1], "a\1x", 3), 3);
	run();
	assert_string_equal(t.got, "a\1x");
	assert_int_equal(left, 0);
	chardev_close(chr);
	dup2(saved_stdin, STDIN_FILENO);
	close(saved_stdin);
	close(p[0]);
	close(p[1]);
}

#define CHR_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHR_TEST(file_is_appended_to),
		CHR_TEST(sink_takes_all),
		CHR_TEST(tee_gets_all_output),
		CHR_TEST(bad_configurations_are_sentences),
		CHR_TEST(slow_pipe_reader_gets_all),
		CHR_TEST(slow_terminal_reader_gets_all),
		CHR_TEST(slow_socket_reader_gets_all),
		CHR_TEST(threads_may_write_while_the_loop_does),
		CHR_TEST(terminal_master_is_written_to),
		CHR_TEST(full_ring_drops_what_comes_last),
		CHR_TEST(drain_waits_for_a_reader_that_reads),
		CHR_TEST(reader_that_goes_is_no_error),
		CHR_TEST(early_output_waits_for_a_fifos_reader),
		CHR_TEST(file_input_comes_as_the_device_takes_it),
		CHR_TEST(long_input_leaves_room_for_other_watches),
		CHR_TEST(pipe_input_comes_when_it_is_written),
		CHR_TEST(fifo_input_waits_for_a_writer),
		CHR_TEST(unreadable_stdin_is_no_input),
		CHR_TEST(each_line_is_a_datagram),
		CHR_TEST(slow_reader_gets_all_lines),
		CHR_TEST(datagram_reader_that_goes_is_no_error),
		CHR_TEST(stream_carries_both_ways),
		CHR_TEST(lines_carry_their_time),
		CHR_TEST(of_a_flood_of_lines_only_what_fits_gets_a_time),
		CHR_TEST(escape_key_leaves_the_terminal),
		CHR_TEST(escape_key_works_while_the_guest_reads_nothing),
		CHR_TEST(long_paste_waits_for_the_guest),
		CHR_TEST(escape_key_is_data_where_no_terminal_is),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
