/* devices/chardev.c: input, and the key that leaves a terminal */
#include "tests/unit/chardev_rig.h"

#include <poll.h>
#include <sys/stat.h>

static struct chardev *open_input(char *path)
{
	return open_chardev((struct chardev_cfg){ .input = path });
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
	int slave;

	open_pty(&master, &slave);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHR_TEST(file_input_comes_as_the_device_takes_it),
		CHR_TEST(long_input_leaves_room_for_other_watches),
		CHR_TEST(pipe_input_comes_when_it_is_written),
		CHR_TEST(fifo_input_waits_for_a_writer),
		CHR_TEST(unreadable_stdin_is_no_input),
		CHR_TEST(escape_key_leaves_the_terminal),
		CHR_TEST(escape_key_works_while_the_guest_reads_nothing),
		CHR_TEST(long_paste_waits_for_the_guest),
		CHR_TEST(escape_key_is_data_where_no_terminal_is),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
