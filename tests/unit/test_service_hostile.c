/* What a caller cannot do to the service, and to those who call beside him. */
#include <sys/resource.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "daemon_rig.h"

#define MIB (1024UL * 1024)
/* What sd-bus takes is 128 MiB; sanitizers look at all of a buffer each time. */
#ifdef SANITIZED
#define LARGE (12 * MIB)
#else
#define LARGE (120 * MIB)
#endif

/* Others are served: a VM comes and goes. */
static void still_serves(const struct daemon_rig *rig)
{
	sd_bus *alice = rig_connect(rig, ALICE);
	struct err err = { "" };
	uint32_t cid;
	int lease;

	if (rig_create(alice, "hers", 1, &cid, &lease, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(rig_count(alice), 1);
	assert_int_equal(rig_call(alice, "ReleaseVmContext", NULL, NULL, "u", cid), 0);
	close(lease);
	sd_bus_close_unref(alice);
}

/* A figure of /proc/PID/status in KiB: "VmRSS:"... */
static unsigned long figure(const struct daemon_rig *rig, const char *key)
{
	unsigned long value = 0;
	char path[64], line[256];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/status", rig->pid);
	in = fopen(path, "r");
	assert_non_null(in);
	while (fgets(line, sizeof(line), in))
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoul(line + strlen(key), NULL, 10);
	fclose(in);
	return value;
}

/* Connections of which all stay open and have said something. */
static void flood(const struct daemon_rig *rig, uid_t uid, int *fds, int n)
{
	struct rlimit limit;

	assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
	limit.rlim_cur = limit.rlim_max;
	assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
	for (int i = 0; i < n; i++) {
		fds[i] = rig_socket(rig, uid);
		/* The other end may be closed already. */
		(void)!send(fds[i], "\0AUTH ANONYMOUS\r\n", 17, MSG_NOSIGNAL);
	}
}

static int still_open(const int *fds, int n)
{
	int open = 0;
	char byte;

	for (int i = 0; i < n; i++) {
		ssize_t r = recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK);

		open += r > 0 || (r < 0 && errno == EAGAIN);
	}
	return open;
}

static void flooded(struct daemon_rig *rig, uid_t uid, int most)
{
	static int fds[1000];

	flood(rig, uid, fds, 1000);
	still_serves(rig);
	assert_true(still_open(fds, 1000) <= most);
	for (int i = 0; i < 1000; i++)
		close(fds[i]);
	still_serves(rig);
}

static void test_a_thousand_connections_of_a_member_are_bounded(void **state)
{
	/* His five, and the 64 who are told that there are no more. */
	flooded(rig_of(state), BOB, 5 + 64);
}

static void test_a_thousand_connections_of_a_stranger_are_bounded(void **state)
{
	flooded(rig_of(state), MALLORY, 64);
}

static void test_without_descriptors_callers_are_turned_away(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	const struct rlimit few = { 40, 40 };
	static int fds[100];

	assert_return_code(prlimit(rig->pid, RLIMIT_NOFILE, &few, NULL), errno);
	for (int i = 0; i < 100; i++)
		fds[i] = rig_socket(rig, DORA);
	/* In turn: the last one is the last that is turned away. */
	for (int i = 0; i < 400 && still_open(fds, 100) > 40; i++)
		usleep(25000);
	assert_true(still_open(fds, 100) <= 40);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	still_serves(rig);
}

/* Sends all that the service takes. */
static void send_some(int fd, const void *data, size_t len)
{
	while (len) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

/* A connection on which a message of @size bytes has begun, with @sent of them. */
static int announce(const struct daemon_rig *rig, uint32_t size, size_t sent)
{
	static char zeroes[64 * 1024];
	struct {
		uint8_t order, type, flags, version;
		uint32_t body, serial, fields;
	} header = { 'l', 1, 0, 1, size, 1, 0 };
	static const char hello[] =
		"\0AUTH ANONYMOUS\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n";
	int fd = rig_socket(rig, DORA);

	send_some(fd, hello, sizeof(hello) - 1);
	send_some(fd, &header, sizeof(header));
	for (; sent >= sizeof(zeroes); sent -= sizeof(zeroes))
		send_some(fd, zeroes, sizeof(zeroes));
	return fd;
}

static void test_messages_that_announce_much_take_no_memory_from_others(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	int fds[16];

	for (int i = 0; i < 16; i++) {
		fds[i] = announce(rig, LARGE, 0);
		still_serves(rig);
	}
	for (int i = 0; i < 16; i++)
		close(fds[i]);
	still_serves(rig);
}

/* Each takes what is left by larger ones; sd-bus aborts without memory for itself. */
static void test_messages_of_all_sizes_take_no_memory_from_others(void **state)
{
	static const struct {
		uint32_t size;
		int n;
	} steps[] = {
		{ LARGE, 4 },	  { 64 << 20, 1 },  { 32 << 20, 2 },
		{ 16 << 20, 1 },  { 8 << 20, 1 },   { 4 << 20, 1 },
		{ 2 << 20, 1 },	  { 1 << 20, 2 },   { 100 << 10, 330 },
		{ 48 << 10, 30 }, { 24 << 10, 20 }, { 12 << 10, 20 },
		{ 6 << 10, 20 },  { 3 << 10, 20 },  { 1 << 10, 20 },
		{ 300, 15 },
	};
	struct daemon_rig *rig = rig_of(state);
	int fds[512], n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		for (int j = 0; j < steps[i].n; j++)
			fds[n++] = announce(rig, steps[i].size, 0);
	still_serves(rig);
	while (n > 0)
		close(fds[--n]);
	still_serves(rig);
}

static void test_messages_that_bring_much_take_no_memory_from_others(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	int fds[8];

	for (int i = 0; i < 8; i++) {
		fds[i] = announce(rig, LARGE, LARGE / 8 * 7);
		still_serves(rig);
	}
#ifndef SANITIZED
	assert_true(figure(rig, "VmHWM:") < 600 * 1024);
#endif
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	still_serves(rig);
}

static void test_a_huge_array_is_refused(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *dora = rig_connect(rig, DORA);
	sd_bus_message *m = NULL, *reply = NULL;
	int r;

	assert_return_code(sd_bus_message_new_method_call(dora, &m, NULL, GLOBAL_PATH,
							  GLOBAL_INTERFACE,
							  "CreateVmContext"),
			   0);
	assert_return_code(sd_bus_message_open_container(m, 'a', "{sv}"), 0);
	for (int i = 0; i < 100000; i++)
		assert_return_code(sd_bus_message_append(m, "{sv}", "key", "u", i), 0);
	assert_return_code(sd_bus_message_close_container(m), 0);
	r = sd_bus_call(dora, m, 0, NULL, &reply);
	assert_true(r < 0);
	assert_int_equal(rig_count(dora), 0);
	sd_bus_message_unref(m);
	sd_bus_close_unref(dora);
	still_serves(rig);
}

static void test_who_does_not_read_is_sent_away(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *dora = rig_connect(rig, DORA);
	sd_bus_message *m = NULL;
	uint64_t cookie; /* asked for, or no answer would be expected */
	int r = 0;

	assert_int_equal(rig_count(dora), 0);
	/* Until the service closes the connection: nothing is read. */
	for (int i = 0; r >= 0 && i < 100000; i++) {
		r = sd_bus_message_new_method_call(dora, &m, NULL, GLOBAL_PATH,
						   GLOBAL_INTERFACE, "ListVms");
		if (r >= 0)
			r = sd_bus_send(dora, m, &cookie);
		if (r >= 0)
			r = sd_bus_flush(dora);
		m = sd_bus_message_unref(m);
	}
	assert_true(r < 0);
	sd_bus_close_unref(dora);
	still_serves(rig);
}

static void test_bytes_that_are_no_message_end_a_connection_only(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	static const char *const words[] = {
		"", "\0", "\0AUTH\r\n", "GET / HTTP/1.0\r\n",
		"\0AUTH ANONYMOUS\r\nBEGIN\r\nxxxxxxxxxxxxxxxx"
	};
	static const size_t lengths[] = { 0, 1, 7, 16, 40 };
	int fds[5];

	for (int i = 0; i < 5; i++) {
		fds[i] = rig_socket(rig, DORA);
		send_some(fds[i], words[i], lengths[i]);
	}
	still_serves(rig);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
	still_serves(rig);
}

static void test_what_a_vm_is_said_to_be_is_checked(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *dora = rig_connect(rig, DORA);
	struct err err = { "" };
	char name[300];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(rig_call(dora, "CreateVmContext", NULL, &err, "a{sv}", 1,
				  "nonsense", "u", 1U),
			 -EINVAL);
	assert_string_equal(err.msg, "nonsense: there is no such key");
	assert_int_equal(rig_call(dora, "CreateVmContext", NULL, &err, "a{sv}", 1,
				  "memory", "s", "much"),
			 -EINVAL);
	assert_string_equal(err.msg, "memory: is not of type t");
	assert_int_equal(rig_call(dora, "CreateVmContext", NULL, &err, "a{sv}", 1,
				  "name", "s", name),
			 -EINVAL);
	/* Others' terminals would obey. */
	assert_int_equal(rig_call(dora, "CreateVmContext", NULL, &err, "a{sv}", 1,
				  "name", "s", "a\033[2Jb"),
			 -EINVAL);
	assert_int_equal(
		rig_call(dora, "ReleaseVmContext", NULL, &err, "u", UINT32_MAX),
		-ENOENT);
	assert_true(rig_call(dora, "ReleaseVmContext", NULL, &err, "s", "3000") < 0);
	assert_true(rig_call(dora, "NoSuchMethod", NULL, &err, "") < 0);
	assert_int_equal(rig_count(dora), 0);
	sd_bus_close_unref(dora);
}

/* A file system of the sender's could keep who closes its file waiting. */
static void test_descriptors_do_not_get_in(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	int fd = rig_socket(rig, DORA), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char byte = '\0', space[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = space,
			    .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	socklen_t len = sizeof(int);
	int value;

	if (getsockopt(fd, SOL_SOCKET, 83, &value, &len) < 0) {
		print_message(
			"the kernel is older than 6.16: it has no SO_PASSRIGHTS\n");
		skip();
	}
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &null, sizeof(int));
	assert_int_equal(sendmsg(fd, &m, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPERM);
	close(null);
	close(fd);
}

static void test_two_thousand_vms_in_turn_leave_nothing(void **state)
{
	struct daemon_rig *rig = rig_of(state);
	sd_bus *alice = rig_connect(rig, ALICE);
	uint32_t cid, last = 0;
	unsigned long before = 0;
	int lease;

	for (int i = 0; i < 2000; i++) {
		assert_int_equal(rig_create(alice, "hers", 1, &cid, &lease, NULL), 0);
		assert_int_not_equal(cid, last);
		last = cid;
		close(lease);
		assert_int_equal(
			rig_call(alice, "ReleaseVmContext", NULL, NULL, "u", cid), 0);
		assert_false(rig_leased(rig, cid));
		if (i == 500)
			before = figure(rig, "VmRSS:");
	}
#ifndef SANITIZED
	assert_true(figure(rig, "VmRSS:") <= before + 256);
#endif
	(void)before;
	sd_bus_close_unref(alice);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_thousand_connections_of_a_member_are_bounded),
		TEST(test_a_thousand_connections_of_a_stranger_are_bounded),
		TEST(test_without_descriptors_callers_are_turned_away),
		TEST(test_messages_that_announce_much_take_no_memory_from_others),
		TEST(test_messages_of_all_sizes_take_no_memory_from_others),
		TEST(test_messages_that_bring_much_take_no_memory_from_others),
		TEST(test_a_huge_array_is_refused),
		TEST(test_who_does_not_read_is_sent_away),
		TEST(test_bytes_that_are_no_message_end_a_connection_only),
		TEST(test_what_a_vm_is_said_to_be_is_checked),
		TEST(test_descriptors_do_not_get_in),
		TEST(test_two_thousand_vms_in_turn_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
