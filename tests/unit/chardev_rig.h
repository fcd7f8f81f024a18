/*
 * For the tests of chardevs: a folder and a loop of their own, devices that take input,
 * and patterns of output.
 */
#pragma once

#include "devices/chardev.h"

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RING (256u << 10)

static char dir[] = "/tmp/test_chardev.XXXXXX";
static struct loop *loop;
static struct err err;

static inline int group_setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	return !mkdtemp(dir) || chdir(dir) < 0;
}

static inline int group_teardown(void **state)
{
	(void)state;
	return chdir("/") < 0 || rmdir(dir) < 0;
}

static inline int setup(void **state)
{
	(void)state;
	return loop_new(&loop, NULL);
}

static inline int teardown(void **state)
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

static inline size_t take(void *arg, const uint8_t *buf, size_t len)
{
	struct taker *t = arg;
	size_t n = len < t->room ? len : t->room;

	memcpy(t->got + t->n, buf, n);
	t->n += n;
	t->room -= n;
	return n;
}

static inline struct chardev *open_chardev(struct chardev_cfg cfg)
{
	struct chardev *chr = NULL;
	int r = chardev_open(&cfg, "serial 1", loop, &chr, &err);

	if (r < 0)
		print_error("%s\n", err.msg);
	assert_int_equal(r, 0);
	return chr;
}

static inline char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static inline void run(void)
{
	for (int i = 0; i < 1000 && loop_poll(loop) > 0; i++)
		;
	/* Nothing spins. */
	assert_int_equal(loop_poll(loop), 0);
}

static inline void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static inline void fill_ring(struct chardev *chr, size_t len)
{
	char *buf = malloc(len);

	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(i % 251);
	chardev_write(chr, buf, len);
	free(buf);
}

/* A raw terminal. */
static inline void open_pty(int *ret_master, int *ret_slave)
{
	struct termios raw;

	cfmakeraw(memset(&raw, 0, sizeof(raw)));
	raw.c_cc[VMIN] = 1;
	raw.c_cflag |= CS8 | CREAD;
	assert_int_equal(openpty(ret_master, ret_slave, NULL, &raw, NULL), 0);
}

#define CHR_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
