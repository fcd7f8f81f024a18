/* devices/chardev.c: output to files, pipes and terminals, and its times */
#include "tests/unit/chardev_rig.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct chardev *open_output(char *path)
{
	return open_chardev((struct chardev_cfg){ .type = CHARDEV_FILE, .path = path });
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
	int master, slave;

	(void)state;
	open_pty(&master, &slave);
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
	struct chardev *chr;
	int master, slave;
	char buf[8] = "";
	ssize_t got = 0, n;

	(void)state;
	open_pty(&master, &slave);
	chr = open_output(fd_path(master));
	chardev_write(chr, "hello", 5);
	run();
	/* The kernel may hand over a terminal's bytes in parts. */
	for (; got < 5; got += n) {
		n = read(slave, buf + got, sizeof(buf) - 1 - (size_t)got);
		assert_true(n > 0);
	}
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
		CHR_TEST(lines_carry_their_time),
		CHR_TEST(of_a_flood_of_lines_only_what_fits_gets_a_time),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
