/*
 * Clients that send what they should not: each is refused or bounded, and those beside
 * it are served. The manager listens at a path here, so that one has many clients.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "dbus/manager.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

/* --- a manager for many ------------------------------------------------------- */

static char path[108];
static pid_t manager;

static int try_dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	assert_return_code(s, errno);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)) == 0)
		return s;
	close(s);
	return -1;
}

static int dial(void)
{
	int s = try_dial();

	assert_return_code(s, errno);
	return s;
}

/* @files: its RLIMIT_NOFILE, or 0. */
static void start_manager(rlim_t files)
{
	char name[] = "virtmgr", option[] = "--listen";
	char *argv[] = { name, option, path, NULL };
	int s;

	snprintf(path, sizeof(path), "%s.sock", rig_folder());
	unlink(path); /* of one that did not end */
	manager = fork();
	if (manager == 0) {
		struct rlimit limit = { files, files };

		if (files)
			setrlimit(RLIMIT_NOFILE, &limit);
		execv(getenv("VIRTMGR"), argv);
		_exit(127);
	}
	assert_return_code(manager, errno);
	for (double start = rig_ms(); (s = try_dial()) < 0;) {
		assert_true(rig_ms() < start + RIG_PATIENCE * 1e3);
		rig_sleep_ms(2);
	}
	close(s);
}

static void end_manager(void)
{
	int status;

	kill(manager, SIGTERM);
	assert_int_equal(waitpid(manager, &status, 0), manager);
	assert_int_equal(status, 0);
}

static struct client *new_client(void)
{
	struct client *client = NULL;

	must(client_connect(path, &client, &err));
	return client;
}

static void is_served(struct client *client)
{
	must(client_call(client_bus(client), MANAGER_PATH, MANAGER_INTERFACE, "GetInfo",
			 NULL, &err, ""));
}

static long resident_kib(pid_t pid)
{
	char name[32], line[128];
	long kib = -1;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmRSS: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

/* What was closed is noticed a little later. */
static void until_fds(size_t want)
{
	for (double start = rig_ms(); rig_fds(manager) != want;) {
		if (rig_ms() > start + RIG_PATIENCE * 1e3)
			fail_msg("the manager has %zu descriptors, not %zu",
				 rig_fds(manager), want);
		rig_sleep_ms(5);
	}
}

/* A VM comes and goes, after which the manager has what it will keep, and no more: how
 * many descriptors those are, when their number has not changed for a while. */
static size_t settled_fds(struct client *client)
{
	size_t n = 0;
	int handle;

	must(guest_create_handle(client, "hello", "", &handle, NULL, &err));
	close(handle);
	for (int same = 0; same < 30; rig_sleep_ms(5)) {
		size_t now = rig_fds(manager);

		same = now == n ? same + 1 : 0;
		n = now;
	}
	return n;
}

/* --- files that are none --------------------------------------------------- */

enum kind {
	DIRECTORY,
	PIPE,
	PATH_ONLY,
	WRITE_ONLY,
	READ_ONLY,
	SOCKET,
	DEVICE,
	N_KINDS
};

static int bad_file(enum kind kind)
{
	AUTO_CLOSE int file = memfd_create("file", MFD_CLOEXEC);
	char name[32];
	int fds[2];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", file);
	switch (kind) {
	case DIRECTORY:
		return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case PIPE:
		if (pipe2(fds, O_CLOEXEC) < 0)
			return -1;
		close(fds[1]);
		return fds[0];
	case PATH_ONLY:
		return open(name, O_PATH | O_CLOEXEC);
	case WRITE_ONLY:
		return open(name, O_WRONLY | O_CLOEXEC);
	case READ_ONLY:
		return open(name, O_RDONLY | O_CLOEXEC);
	case SOCKET:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	default:
		return open("/dev/zero", O_RDWR | O_CLOEXEC);
	}
}

#define NO_IMAGE                                                                       \
	(1 << DIRECTORY | 1 << PIPE | 1 << PATH_ONLY | 1 << WRITE_ONLY | 1 << SOCKET | \
	 1 << DEVICE)

static int create_with(struct client *client, size_t offset, int fd, struct err *err)
{
	struct vm_config c;
	int handle, r, *field;

	if (guest_config(&c, "hello", "", err) < 0)
		return 1;
	/* Beside a bootloader there is no kernel. */
	if (offset == offsetof(struct vm_config, bootloader))
		close(TAKE_FD(c.kernel));
	field = (int *)(void *)((char *)&c + offset);
	cleanup_close(field);
	*field = fd;
	r = client_create_vm(client, &c, &handle, NULL, err);
	vm_config_free(&c);
	if (r == 0)
		close(handle);
	return r;
}

static void test_descriptors_that_are_no_files_are_refused_by_their_key(void **state)
{
	static const struct {
		const char *name;
		size_t offset;
		unsigned refused;
	} fields[] = {
#define FIELD(f, kinds) { #f, offsetof(struct vm_config, f), kinds }
		FIELD(kernel, NO_IMAGE),
		FIELD(initrd, NO_IMAGE),
		FIELD(bootloader, NO_IMAGE),
		FIELD(bios_key, NO_IMAGE),
		FIELD(console_out, 1 << DIRECTORY | 1 << PATH_ONLY | 1 << READ_ONLY),
		FIELD(console_in, 1 << DIRECTORY | 1 << PATH_ONLY | 1 << WRITE_ONLY),
		FIELD(log, 1 << DIRECTORY | 1 << PATH_ONLY | 1 << READ_ONLY),
		FIELD(ramdump, 1 << DIRECTORY | 1 << PATH_ONLY | 1 << READ_ONLY),
		FIELD(tap, NO_IMAGE & ~(1 << DEVICE)),
#undef FIELD
	};
	struct client *client;
	struct err why;
	size_t fds;

	(void)state;
	start_manager(0);
	client = new_client();
	fds = settled_fds(client);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		for (enum kind kind = 0; kind < N_KINDS; kind++) {
			int r;

			if (!(fields[i].refused & 1u << kind))
				continue;
			why.msg[0] = '\0';
			r = create_with(client, fields[i].offset, bad_file(kind), &why);
			if (r != -EBADMSG || strncmp(why.msg, fields[i].name,
						     strlen(fields[i].name)) != 0)
				fail_msg("%s, kind %d: %d: %s", fields[i].name, kind, r,
					 why.msg);
		}
	is_served(client);
	until_fds(fds);
	client_free(client);
	end_manager();
}

static void test_disks_that_cannot_be_written_are_refused_by_their_key(void **state)
{
	struct config_partition part = { .image = -1, .writable = true };
	struct config_disk disk = { .image = -1 };
	struct err err = { "" };
	struct client *client;
	struct vm_config c;
	char label[] = "part";
	int handle;

	(void)state;
	start_manager(0);
	client = new_client();
	assert_int_equal(guest_config(&c, "hello", "", &err), 0);
	c.disks = &disk;
	c.n_disks = 1;
	disk.image = bad_file(READ_ONLY);
	disk.writable = true;
	assert_int_equal(client_create_vm(client, &c, &handle, NULL, &err), -EBADMSG);
	assert_memory_equal(err.msg, "disks[0].image", 14);
	close(disk.image);
	disk = (struct config_disk){ .image = -1,
				     .partitions = &part,
				     .n_partitions = 1 };
	part.image = bad_file(READ_ONLY);
	part.label = label;
	assert_int_equal(client_create_vm(client, &c, &handle, NULL, &err), -EBADMSG);
	assert_memory_equal(err.msg, "disks[0].partitions[0]", 22);
	close(part.image);
	c.disks = NULL;
	c.n_disks = 0;
	vm_config_free(&c);
	is_served(client);
	client_free(client);
	end_manager();
}

/* --- files by index -------------------------------------------------------- */

static int pass(struct client *client, int fd, unsigned n, uint32_t *ret_first,
		struct err *err)
{
	sd_bus_message *m = NULL, *reply = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	int r;

	assert_return_code(sd_bus_message_new_method_call(
				   client_bus(client), &m, NULL, MANAGER_PATH,
				   MANAGER_INTERFACE, "PassFiles"),
			   0);
	sd_bus_message_open_container(m, 'a', "h");
	while (n--)
		sd_bus_message_append(m, "h", fd);
	sd_bus_message_close_container(m);
	r = sd_bus_call(client_bus(client), m, UINT64_MAX, &error, &reply);
	if (r >= 0)
		sd_bus_message_read(reply, "u", ret_first);
	else
		snprintf(err->msg, sizeof(err->msg), "%s: %s", error.name,
			 error.message);
	sd_bus_error_free(&error);
	sd_bus_message_unref(m);
	sd_bus_message_unref(reply);
	return r < 0 ? r : 0;
}

/* With the kernel, and the initrd, by index. */
static int create_by_index(struct client *client, uint32_t kernel, uint32_t initrd,
			   struct err *err)
{
	sd_bus_message *reply = NULL;
	int r, fd;

	r = client_call(client_bus(client), MANAGER_PATH, MANAGER_INTERFACE, "CreateVm",
			&reply, err, "a{sv}", 2, "kernel", "u", kernel, "initrd", "u",
			initrd);
	if (r == 0 && client_take_fd(reply, &fd, err) == 0)
		close(fd);
	sd_bus_message_unref(reply);
	return r;
}

static void test_each_file_that_was_passed_is_taken_once(void **state)
{
	AUTO_FREE char *kernel = rig_guest("hello");
	AUTO_CLOSE int fd = open(kernel, O_RDONLY | O_CLOEXEC);
	AUTO_CLOSE int pipe = bad_file(PIPE);
	struct err why = { "" };
	struct client *client;
	uint32_t first = 9;
	size_t fds;

	(void)state;
	start_manager(0);
	client = new_client();
	fds = settled_fds(client);
	assert_int_equal(create_by_index(client, 0, 1, &why), -EBADMSG);
	assert_int_equal(pass(client, fd, 2, &first, &why), 0);
	assert_int_equal(first, 0);
	assert_int_equal(pass(client, fd, 2, &first, &why), 0);
	assert_int_equal(first, 2);
	until_fds(fds + 4);
	assert_int_equal(create_by_index(client, 1, 3, &why), 0);
	/* All four are gone with it. */
	until_fds(fds);
	assert_int_equal(create_by_index(client, 0, 2, &why), -EBADMSG);
	assert_int_equal(pass(client, fd, 2, &first, &why), 0);
	assert_int_equal(first, 0);
	assert_int_equal(create_by_index(client, 0, 0, &why), -EBADMSG);
	assert_int_equal(create_by_index(client, 0, 1, &why), -EBADMSG);
	assert_int_equal(pass(client, fd, 2, &first, &why), 0);
	assert_int_equal(create_by_index(client, 0, UINT32_MAX, &why), -EBADMSG);
	/* One bad file, and nothing of the call is kept. */
	assert_true(pass(client, pipe, 1, &first, &why) < 0);
	until_fds(fds);
	client_free(client);
	end_manager();
}

static void test_a_vm_may_have_more_files_than_a_message(void **state)
{
	enum { EACH = 100, DISKS = 3 };
	struct config_partition parts[DISKS][EACH];
	struct config_disk disks[DISKS];
	static char labels[EACH][8];
	struct client *client;
	struct guest g = { 0 };
	struct vm_config c;
	int handle;

	(void)state;
	start_manager(0);
	client = new_client();
	must(guest_config(&c, "hello", "end=halt", &err));
	for (unsigned i = 0; i < DISKS * EACH; i++) {
		int fd = memfd_create("part", MFD_CLOEXEC);

		assert_return_code(fd, errno);
		assert_return_code(ftruncate(fd, 4096), errno);
		snprintf(labels[i % EACH], 8, "p%u", i % EACH);
		parts[i / EACH][i % EACH] = (struct config_partition){
			.label = labels[i % EACH], .image = fd, .writable = i % 2
		};
	}
	for (unsigned i = 0; i < DISKS; i++)
		disks[i] = (struct config_disk){ .image = -1,
						 .partitions = parts[i],
						 .n_partitions = EACH,
						 .writable = true };
	c.disks = disks;
	c.n_disks = DISKS;
	must(client_create_vm(client, &c, &handle, &g.cid, &err));
	c.disks = NULL;
	c.n_disks = 0;
	vm_config_free(&c);
	for (unsigned i = 0; i < DISKS * EACH; i++)
		close(parts[i / EACH][i % EACH].image);
	must(guest_open(handle, &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_call(&g, "Stop", &err));
	guest_drop(&g);
	client_free(client);
	end_manager();
}

/* --- bytes ----------------------------------------------------------------- */

#define GREETING "\0AUTH ANONYMOUS\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"

/* The bytes of a call, as sd-bus would send them behind the greeting. */
static size_t call_bytes(uint8_t *ret, size_t max, const char *member,
			 const char *types, ...)
{
	__attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *m = NULL;
	__attribute__((cleanup(sd_bus_flush_close_unrefp))) sd_bus *bus = NULL;
	static const char answer[] = "OK 0123456789abcdef0123456789abcdef\r\n"
				     "AGREE_UNIX_FD\r\n";
	uint64_t cookie; /* that is asked for: an answer is expected */
	int pair[2];
	ssize_t n;
	va_list ap;
	uint8_t *begin;

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			   errno);
	must(client_open(pair[0], &bus, &err));
	assert_int_equal(send(pair[1], answer, sizeof(answer) - 1, 0),
			 sizeof(answer) - 1);
	assert_return_code(sd_bus_message_new_method_call(bus, &m, NULL, MANAGER_PATH,
							  MANAGER_INTERFACE, member),
			   0);
	va_start(ap, types);
	assert_return_code(sd_bus_message_appendv(m, types, ap), 0);
	va_end(ap);
	assert_return_code(sd_bus_send(bus, m, &cookie), 0);
	assert_return_code(sd_bus_flush(bus), 0);
	n = recv(pair[1], ret, max, 0);
	close(pair[1]);
	begin = memmem(ret, n > 0 ? (size_t)n : 0, "BEGIN\r\n", 7);
	assert_non_null(begin);
	n -= begin + 7 - ret;
	memmove(ret, begin + 7, (size_t)n);
	return (size_t)n;
}

/* Send it after a greeting, and read until the manager hangs up. */
static void send_bytes(const uint8_t *bytes, size_t len)
{
	AUTO_CLOSE int s = dial();
	char answer[4096];
	struct pollfd p = { s, POLLIN, 0 };

	(void)!send(s, GREETING, sizeof(GREETING) - 1, MSG_NOSIGNAL);
	(void)!send(s, bytes, len, MSG_NOSIGNAL);
	shutdown(s, SHUT_WR);
	do
		if (poll(&p, 1, RIG_PATIENCE * 1000) != 1)
			fail_msg("the manager does not hang up");
	while (recv(s, answer, sizeof(answer), 0) > 0);
}

static void test_malformed_messages_end_their_connection_only(void **state)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	uint8_t good[4096], bad[4096];
	struct client *client;
	size_t len, fds;

	(void)state;
	start_manager(0);
	client = new_client();
	fds = settled_fds(client);
	len = call_bytes(good, sizeof(good), "CreateVm", "a{sv}", 3, "params", "s", "a",
			 "memory_mib", "t", (uint64_t)32, "disks", "aa{sv}", 1, 1,
			 "writable", "b", 1);
	for (size_t i = 0; i < len; i++)
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			memcpy(bad, good, len);
			bad[i] = values[v];
			send_bytes(bad, len);
		}
	/* Cut short, at each length. */
	for (size_t i = 0; i < len; i++)
		send_bytes(good, i);
	is_served(client);
	until_fds(fds);
	client_free(client);
	end_manager();
}

static void test_a_descriptor_that_is_not_there_is_refused(void **state)
{
	uint8_t bytes[4096];
	struct client *client;
	size_t len;

	(void)state;
	start_manager(0);
	client = new_client();
	/* As the call has none, its only index is out of range. */
	len = call_bytes(bytes, sizeof(bytes), "PassFiles", "ah", 1, STDIN_FILENO);
	send_bytes(bytes, len);
	is_served(client);
	client_free(client);
	end_manager();
}

/* --- too much -------------------------------------------------------------- */

static void test_a_huge_string_is_refused_and_not_kept(void **state)
{
	enum { MIB = 32 };
	AUTO_FREE char *text = malloc((MIB << 20) + 1);
	struct client *client, *other;
	struct err err = { "" };
	long before;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', MIB << 20);
	text[MIB << 20] = '\0';
	start_manager(0);
	client = new_client();
	other = new_client();
	is_served(other);
	before = resident_kib(manager);
	for (int i = 0; i < 4; i++)
		assert_true(client_call(client_bus(client), MANAGER_PATH,
					MANAGER_INTERFACE, "CreateVm", NULL, &err,
					"a{sv}", 1, "params", "s", text) < 0);
	print_message("%s\n", err.msg);
	is_served(other);
	client_free(client);
	is_served(other);
	assert_true(!RIG_MEASURES_MEMORY || resident_kib(manager) - before < 4096);
	client_free(other);
	end_manager();
}

static void test_who_never_reads_is_sent_away(void **state)
{
	uint8_t call[4096];
	struct client *client;
	size_t len, sent = 0;
	struct pollfd p;
	long before;
	ssize_t n;

	(void)state;
	start_manager(0);
	client = new_client();
	is_served(client);
	before = resident_kib(manager);
	len = call_bytes(call, sizeof(call), "GetInfo", "");
	p = (struct pollfd){ dial(), POLLOUT, 0 };
	(void)!send(p.fd, GREETING, sizeof(GREETING) - 1, MSG_NOSIGNAL);
	do {
		if (poll(&p, 1, RIG_PATIENCE * 1000) != 1)
			fail_msg("it still listens after %zu bytes", sent);
		n = send(p.fd, call, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		/* Whole messages, or what follows is another's middle. */
		if (n > 0 && (size_t)n < len) {
			n = send(p.fd, call + n, len - (size_t)n, MSG_NOSIGNAL);
		}
		sent += n > 0 ? (size_t)n : 0;
	} while (n >= 0 || errno == EAGAIN);
	close(p.fd);
	is_served(client);
	assert_true(!RIG_MEASURES_MEMORY || resident_kib(manager) - before < 16384);
	print_message("sent away after %zu KiB\n", sent >> 10);
	client_free(client);
	end_manager();
}

static void test_a_thousand_connections_keep_nobody_out(void **state)
{
	enum { N = 1000 };
	struct client *client, *late = NULL;
	int s[N], open_ones = 0;
	size_t fds;

	(void)state;
	start_manager(0);
	client = new_client();
	fds = settled_fds(client);
	for (int i = 0; i < N; i++)
		s[i] = dial();
	is_served(client);
	for (int i = 0; i < N; i++) {
		struct pollfd p = { s[i], POLLIN, 0 };

		open_ones += poll(&p, 1, 0) == 0;
	}
	/* Those that are turned away see it at once, but for what still waits. */
	assert_in_range(rig_fds(manager), fds, fds + 300);
	print_message("%d of %d connections are kept\n", open_ones, N);
	for (int i = 0; i < N; i++)
		close(s[i]);
	until_fds(fds);
	late = new_client();
	is_served(late);
	is_served(client);
	client_free(late);
	client_free(client);
	end_manager();
}

static void test_without_descriptors_there_are_no_more_vms_for_a_while(void **state)
{
	enum { FILES = 96, VMS = 64 };
	struct client *client;
	struct err why = { "" };
	struct guest g = { 0 };
	int handles[VMS], n = 0, r;

	(void)state;
	start_manager(FILES);
	client = new_client();
	must(guest_create(client, "agent", "tell=r", &g, &err));
	must(guest_call(&g, "Start", &err));
	do
		r = guest_create_handle(client, "hello", "", &handles[n], NULL, &why);
	while (r == 0 && ++n < VMS);
	print_message("%d more VMs, and then: %s\n", n, why.msg);
	assert_in_range(n, 1, VMS - 1);
	assert_int_equal(r, -EDQUOT);
	is_served(client);
	must(guest_wait_ready(&g, &err));
	while (n > 0)
		close(handles[--n]);
	for (double start = rig_ms(); r == -EDQUOT;) {
		assert_true(rig_ms() < start + RIG_PATIENCE * 1e3);
		r = guest_create_handle(client, "hello", "", &handles[0], NULL, &why);
	}
	assert_int_equal(r, 0);
	must(guest_echo(&g, &err));
	close(handles[0]);
	guest_drop(&g);
	client_free(client);
	end_manager();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_descriptors_that_are_no_files_are_refused_by_their_key),
		TEST(test_disks_that_cannot_be_written_are_refused_by_their_key),
		TEST(test_each_file_that_was_passed_is_taken_once),
		TEST(test_a_vm_may_have_more_files_than_a_message),
		TEST(test_malformed_messages_end_their_connection_only),
		TEST(test_a_descriptor_that_is_not_there_is_refused),
		TEST(test_a_huge_string_is_refused_and_not_kept),
		TEST(test_who_never_reads_is_sent_away),
		TEST(test_a_thousand_connections_keep_nobody_out),
		TEST(test_without_descriptors_there_are_no_more_vms_for_a_while),
#undef TEST
	};

	cmocka_set_test_filter(getenv("TEST"));
	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
