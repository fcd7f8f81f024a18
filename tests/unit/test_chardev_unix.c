/* devices/chardev.c: Unix sockets, of datagrams and of streams */
#include "tests/unit/chardev_rig.h"

#include <sys/socket.h>
#include <sys/un.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		CHR_TEST(each_line_is_a_datagram),
		CHR_TEST(slow_reader_gets_all_lines),
		CHR_TEST(datagram_reader_that_goes_is_no_error),
		CHR_TEST(stream_carries_both_ways),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
