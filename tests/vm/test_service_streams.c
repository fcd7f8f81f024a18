/*
 * Streams to and from a VM that a manager runs: its vsock, by whichever backend the
 * host has (VSOCK=unix|vhost asks for one), and its console.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "dbus/vm.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

static struct client *client;

static void configure(struct vm_config *c, const char *guest, const char *params)
{
	const char *vsock = getenv("VSOCK");

	must(guest_config(c, guest, params, &err));
	if (vsock)
		c->vsock = strcmp(vsock, "vhost") == 0 ? VSOCK_VHOST : VSOCK_UNIX;
}

static void create(struct vm_config *c, struct guest *g)
{
	int handle;

	*g = (struct guest){ 0 };
	must(client_create_vm(client, c, &handle, &g->cid, &err));
	vm_config_free(c);
	must(guest_open(handle, g, &err));
}

static void start(struct guest *g, const char *params)
{
	struct vm_config c;

	configure(&c, "agent", params);
	create(&c, g);
	must(guest_call(g, "Start", &err));
}

static void end(struct guest *g)
{
	guest_drop(g);
	client_free(TAKE_PTR(client));
}

static int set_up(void **state)
{
	(void)state;
	must(client_spawn(NULL, &client, &err));
	return 0;
}

/* Exactly @want comes within patience. */
static void comes(int fd, const char *want)
{
	char got[8192] = "";
	size_t n = 0;

	while (n < strlen(want)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t r = poll(&p, 1, RIG_PATIENCE * 1000) == 1
				    ? read(fd, got + n, strlen(want) - n)
				    : 0;

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	assert_string_equal(got, want);
}

static void says(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* --- vsock ----------------------------------------------------------------------- */

static void test_the_backend_is_the_one_asked_for(void **state)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	const char *want = getenv("VSOCK"), *key, *kind = NULL;
	struct guest g;

	(void)state;
	start(&g, "");
	must(client_call(g.bus, VM_PATH, VM_INTERFACE, "GetDebugInfo", &m, &err, ""));
	assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
	while (!kind && sd_bus_message_enter_container(m, 'e', "sv") > 0) {
		assert_true(sd_bus_message_read(m, "s", &key) > 0);
		if (strcmp(key, "vsock") == 0)
			assert_true(sd_bus_message_read(m, "v", "s", &kind) > 0);
		else
			sd_bus_message_skip(m, "v");
		sd_bus_message_exit_container(m);
	}
	assert_non_null(kind);
	if (want)
		assert_string_equal(kind, want);
	else if (access("/dev/vhost-vsock", R_OK | W_OK) < 0)
		assert_string_equal(kind, "unix");
	end(&g);
}

/* Whoever is early waits until the guest has a driver. */
static void test_a_connection_may_come_before_the_guests_driver(void **state)
{
	struct guest g;

	(void)state;
	start(&g, "tell=r");
	must(guest_echo(&g, &err));
	must(guest_wait(&g, &g.n_ready, &err));
	end(&g);
}

static void test_a_port_where_nobody_listens_refuses(void **state)
{
	struct guest g;
	struct err why;
	int fd;

	(void)state;
	start(&g, "tell=r");
	for (unsigned i = 0; i < 20; i++) {
		assert_true(guest_stream(&g, "ConnectVsock", 5000 + i, &fd, &why) < 0);
		assert_non_null(strstr(why.msg, "of the guest: nobody listens"));
	}
	must(guest_echo(&g, &err));
	end(&g);
}

/* Much more than any buffer on the way, with others beside it. */
static void test_streams_carry_what_is_sent_in_order(void **state)
{
	enum { STREAMS = 4, BYTES = 256 << 10, ROOM = 32 << 10 };
	struct guest g;
	int fds[STREAMS];
	size_t out[STREAMS] = { 0 }, in[STREAMS] = { 0 }, done = 0;
	uint8_t buf[4096];

	(void)state;
	start(&g, "");
	for (unsigned i = 0; i < STREAMS; i++)
		must(guest_stream(&g, "ConnectVsock", GUEST_ECHO, &fds[i], &err));
	while (done < STREAMS) {
		struct pollfd p[STREAMS];

		/* This guest takes no more than that at a time. */
		for (unsigned i = 0; i < STREAMS; i++) {
			size_t n = BYTES - out[i] < sizeof(buf) ? BYTES - out[i]
								: sizeof(buf);

			p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
			if (n == 0 || out[i] - in[i] + n > ROOM / STREAMS)
				continue;
			for (size_t k = 0; k < n; k++)
				buf[k] = (uint8_t)((out[i] + k) * 7 + i);
			assert_int_equal(send(fds[i], buf, n, MSG_NOSIGNAL), n);
			out[i] += n;
		}
		assert_true(poll(p, STREAMS, RIG_PATIENCE * 1000) > 0);
		for (unsigned i = 0; i < STREAMS; i++) {
			ssize_t n = p[i].revents & POLLIN
					    ? recv(fds[i], buf, sizeof(buf), 0)
					    : 0;

			for (ssize_t k = 0; k < n; k++)
				assert_int_equal(
					buf[k], (uint8_t)((in[i] + (size_t)k) * 7 + i));
			in[i] += n > 0 ? (size_t)n : 0;
			done += n > 0 && in[i] == BYTES;
		}
	}
	for (unsigned i = 0; i < STREAMS; i++)
		close(fds[i]);
	end(&g);
}

static void test_a_stream_ends_with_the_vm(void **state)
{
	struct guest g;
	struct pollfd p = { .events = POLLIN };
	char c;

	(void)state;
	start(&g, "");
	must(guest_stream(&g, "ConnectVsock", GUEST_ECHO, &p.fd, &err));
	must(guest_call(&g, "Stop", &err));
	assert_int_equal(poll(&p, 1, RIG_PATIENCE * 1000), 1);
	assert_true(recv(p.fd, &c, 1, 0) <= 0);
	close(p.fd);
	end(&g);
}

static void test_a_vm_without_vsock_says_so(void **state)
{
	struct vm_config c;
	struct guest g;
	struct err why;
	int fd;

	(void)state;
	configure(&c, "hello", "end=halt");
	c.vsock = VSOCK_NONE;
	create(&c, &g);
	must(guest_call(&g, "Start", &err));
	assert_int_equal(guest_stream(&g, "ConnectVsock", 2000, &fd, &why), -ENOTSUP);
	end(&g);
}

/* --- consoles -------------------------------------------------------------------- */

/* A guest that says what it hears, on ttyS0. */
static void start_parrot(struct guest *g, int out, int in)
{
	struct vm_config c;

	configure(&c, "hello", "end=echo");
	c.console_out = out;
	c.console_in = in;
	c.console_input_device = CONSOLE_TTYS0;
	create(&c, g);
	must(guest_call(g, "Start", &err));
}

/* What the guest says before it listens. */
static void begins(int fd)
{
	char line[256];
	size_t n = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	line[0] = '\0';
	while (!strstr(line, "\necho\n")) {
		assert_int_equal(poll(&p, 1, RIG_PATIENCE * 1000), 1);
		assert_true(n < sizeof(line) - 1);
		assert_int_equal(read(fd, line + n, 1), 1);
		line[++n] = '\0';
	}
}

static void test_pipes_are_a_console(void **state)
{
	int out[2], in[2];
	struct guest g;

	(void)state;
	assert_return_code(pipe2(out, O_CLOEXEC), errno);
	assert_return_code(pipe2(in, O_CLOEXEC), errno);
	start_parrot(&g, out[1], in[0]);
	begins(out[0]);
	says(in[1], "to and fro");
	comes(out[0], "to and fro");
	assert_false(fcntl(in[1], F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(out[0], F_GETFL) & O_NONBLOCK);
	close(in[1]);
	end(&g);
	close(out[0]);
}

static void test_those_who_attach_see_the_same_and_may_type(void **state)
{
	struct guest g;
	int first, second;

	(void)state;
	start_parrot(&g, -1, -1);
	must(guest_stream(&g, "AttachConsole", 0, &first, &err));
	begins(first);
	says(first, "one");
	comes(first, "one");
	must(guest_stream(&g, "AttachConsole", 0, &second, &err));
	begins(second); /* it has been said before */
	comes(second, "one");
	says(second, "two");
	comes(second, "two");
	comes(first, "two");
	close(second);
	says(first, "three");
	comes(first, "three");
	close(first);
	end(&g);
}

static void test_a_terminal_is_a_console(void **state)
{
	struct termios raw;
	int master, slave;
	struct guest g;

	(void)state;
	assert_return_code(openpty(&master, &slave, NULL, NULL, NULL), errno);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	start_parrot(&g, slave, fcntl(slave, F_DUPFD_CLOEXEC, 0));
	begins(master);
	says(master, "to and fro");
	comes(master, "to and fro");
	end(&g);
	close(master);
}

/* All that it said, and its end, is in the file when its client is told of the end. */
static void test_a_file_has_the_last_words(void **state)
{
	int file = open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct vm_config c;
	struct guest g;
	char text[4096] = "";

	(void)state;
	assert_return_code(file, errno);
	configure(&c, "hello", "end=poweroff");
	c.console_out = fcntl(file, F_DUPFD_CLOEXEC, 0);
	create(&c, &g);
	must(guest_call(&g, "Start", &err));
	must(guest_wait(&g, &g.n_died, &err));
	assert_int_equal(g.reason, DEATH_SHUTDOWN);
	assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
	assert_string_equal(text, g.console_tail);
	close(file);
	end(&g);
}

static void test_an_output_that_cannot_be_written_is_refused(void **state)
{
	struct vm_config c;
	struct guest g = { 0 };
	struct err why;
	int handle;

	(void)state;
	configure(&c, "hello", "");
	c.console_out = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(client_create_vm(client, &c, &handle, &g.cid, &why), -EBADMSG);
	assert_non_null(strstr(why.msg, "not open for writing"));
	vm_config_free(&c);
	end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, rig_clean)
		TEST(test_the_backend_is_the_one_asked_for),
		TEST(test_a_connection_may_come_before_the_guests_driver),
		TEST(test_a_port_where_nobody_listens_refuses),
		TEST(test_streams_carry_what_is_sent_in_order),
		TEST(test_a_stream_ends_with_the_vm),
		TEST(test_a_vm_without_vsock_says_so),
		TEST(test_pipes_are_a_console),
		TEST(test_those_who_attach_see_the_same_and_may_type),
		TEST(test_a_terminal_is_a_console),
		TEST(test_a_file_has_the_last_words),
		TEST(test_an_output_that_cannot_be_written_is_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
