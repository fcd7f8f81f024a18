/* Handles of VMs: who has one, has the VM, and the last one takes it along. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "tests/vm/guest_vm.h"
#include "tests/vm/service_rig.h"

static struct client *new_client(void)
{
	struct client *client = NULL;

	must(client_spawn(NULL, &client, &err));
	return client;
}

static void send_fd(int socket, int fd)
{
	union {
		struct cmsghdr header;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 'h';
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	/* The manager hangs up on what is no D-Bus, perhaps before the second. */
	if (sendmsg(socket, &m, MSG_NOSIGNAL) != 1 && errno != EPIPE)
		_exit(90);
}

static int receive_fd(int socket)
{
	union {
		struct cmsghdr header;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int fd;

	assert_int_equal(recvmsg(socket, &m, MSG_CMSG_CLOEXEC), 1);
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	return fd;
}

/* A process that makes a VM, gives its handle away, and waits until it is killed. */
static pid_t creator(int *ret_handle, bool start)
{
	int pair[2];
	pid_t pid;

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			   errno);
	pid = fork();
	if (pid == 0) {
		struct client *client;
		struct guest g = { 0 };
		struct err err;
		int handle;

		close(pair[0]);
		if (client_spawn(NULL, &client, &err) < 0 ||
		    guest_create(client, "agent", "tell=r", &g, &err) < 0 ||
		    (start && guest_call(&g, "Start", &err) < 0) ||
		    guest_stream(&g, "Clone", 0, &handle, &err) < 0) {
			fprintf(stderr, "creator: %s\n", err.msg);
			_exit(91);
		}
		send_fd(pair[1], handle);
		pause();
	}
	assert_return_code(pid, errno);
	close(pair[1]);
	*ret_handle = receive_fd(pair[0]);
	close(pair[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_a_vm_outlives_its_creator_with_whom_has_a_handle(void **state)
{
	struct guest g = { 0 };
	uint32_t now = 0;
	int handle;
	pid_t pid;

	(void)state;
	pid = creator(&handle, true);
	end(pid);
	must(guest_open(handle, &g, &err));
	must(guest_wait_ready(&g, &err));
	must(guest_echo(&g, &err));
	must(guest_state(&g, &now, &err));
	assert_int_equal(now, VM_READY);
	must(guest_order(&g, 'f', true, &err));
	must(guest_wait(&g, &g.n_finished, &err));
	guest_drop(&g);
	print_message("gone %.0f ms after its last handle\n", rig_nothing_left());
}

static void test_a_vm_that_did_not_start_outlives_its_creator_too(void **state)
{
	struct guest g = { 0 };
	int handle;
	pid_t pid;

	(void)state;
	pid = creator(&handle, false);
	end(pid);
	must(guest_open(handle, &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_wait_ready(&g, &err));
	must(guest_echo(&g, &err));
	guest_drop(&g);
}

static void test_a_handle_that_is_only_held_keeps_the_vm(void **state)
{
	struct client *client = new_client();
	struct guest g = { 0 };
	struct rig_process list[8];
	int held, held_too;

	(void)state;
	must(guest_create(client, "agent", "tell=r", &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_stream(&g, "Clone", 0, &held, &err));
	held_too = dup(held);
	client_free(client);
	guest_drop(&g);
	close(held);
	/* Whatever would end it now, has had its chance. */
	rig_sleep_ms(300);
	assert_true(rig_processes(RIG_VMM, list, 8) > 0);
	must(guest_open(held_too, &g, &err));
	must(guest_wait_ready(&g, &err));
	must(guest_echo(&g, &err));
	guest_drop(&g);
}

static void test_a_handle_in_a_message_that_nobody_reads_keeps_the_vm(void **state)
{
	struct client *client = new_client();
	struct rig_process list[8];
	struct guest g = { 0 };
	int pair[2], handle;

	(void)state;
	must(guest_create_handle(client, "agent", "tell=r", &handle, NULL, &err));
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			   errno);
	send_fd(pair[1], handle);
	close(handle);
	close(pair[1]);
	client_free(client);
	rig_sleep_ms(300);
	assert_int_equal(rig_processes(RIG_VIRTMGR, list, 8), 1);
	must(guest_open(receive_fd(pair[0]), &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_wait_ready(&g, &err));
	must(guest_echo(&g, &err));
	guest_drop(&g);
	close(pair[0]);
}

static void test_a_handle_lost_in_a_message_kills_the_vm(void **state)
{
	struct client *client = new_client();
	struct guest g = { 0 };
	int pair[2], held;

	(void)state;
	must(guest_create(client, "agent", "tell=r", &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_stream(&g, "Clone", 0, &held, &err));
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
			   errno);
	send_fd(pair[1], held);
	close(held);
	guest_drop(&g);
	close(pair[0]);
	close(pair[1]);
	/* Its client is still there, and so is its manager; the VM is not. */
	for (int i = 0; rig_leases() && i < RIG_PATIENCE * 100; i++)
		rig_sleep_ms(10);
	assert_int_equal(rig_leases(), 0);
	assert_int_equal(rig_processes(RIG_VMM, NULL, 0), 0);
	client_free(client);
}

/* A handle sent over itself is a circle that only the kernel can see. */
static void test_a_handle_sent_over_itself_kills_the_vm(void **state)
{
	struct client *client = new_client();
	struct guest g = { 0 };
	int held;

	(void)state;
	must(guest_create(client, "agent", "tell=r", &g, &err));
	must(guest_call(&g, "Start", &err));
	must(guest_stream(&g, "Clone", 0, &held, &err));
	send_fd(held, held);
	send_fd(held, sd_bus_get_fd(g.bus));
	close(held);
	guest_drop(&g);
	client_free(client);
}

/* A VM's console, log and files may be anything that its client has. */
static void console_is(bool start, int (*get)(struct client *, struct guest *))
{
	struct client *client = new_client();
	struct guest first = { 0 }, g = { 0 };
	struct vm_config c;
	struct err why;
	int handle, r;

	must(guest_create(client, "agent", "tell=r", &first, &err));
	must(guest_config(&c, "agent", "tell=r", &err));
	c.console_out = get(client, &first);
	c.console_in = dup(c.console_out);
	assert_return_code(c.console_in, errno);
	r = client_create_vm(client, &c, &handle, &g.cid, &why);
	vm_config_free(&c);
	if (r == 0) {
		must(guest_open(handle, &g, &err));
		if (start)
			must(guest_call(&g, "Start", &err));
	} else {
		print_message("refused: %s\n", why.msg);
	}
	guest_drop(&first);
	guest_drop(&g);
	client_free(client);
}

static int get_clone(struct client *client, struct guest *g)
{
	int fd = -1;

	(void)client;
	must(guest_stream(g, "Clone", 0, &fd, &err));
	return fd;
}

static int get_handle(struct client *client, struct guest *g)
{
	(void)client;
	return dup(sd_bus_get_fd(g->bus));
}

static int get_manager(struct client *client, struct guest *g)
{
	(void)g;
	return dup(sd_bus_get_fd(client_bus(client)));
}

static int get_console(struct client *client, struct guest *g)
{
	int fd = -1;

	(void)client;
	must(guest_call(g, "Start", &err));
	must(guest_stream(g, "AttachConsole", 0, &fd, &err));
	return fd;
}

static void test_a_clone_as_a_console_does_not_keep_a_vm(void **state)
{
	(void)state;
	console_is(true, get_clone);
}

static void test_a_handle_as_a_console_does_not_keep_a_vm(void **state)
{
	(void)state;
	console_is(true, get_handle);
	assert_true(rig_nothing_left() >= 0);
	console_is(false, get_handle);
}

/*
 * What comes for the client then is the guest's input, and what the guest says is a
 * call of the client's: it asked for that. It may wait for ever, but not leave a VM
 * behind.
 */
static void test_the_managers_own_connection_as_a_console_keeps_nothing(void **state)
{
	static const double delays[] = { 1, 10, 300 };

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(delays); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			console_is(i % 2, get_manager);
			_exit(0);
		}
		assert_return_code(pid, errno);
		assert_true(rig_process(RIG_VIRTMGR) > 0);
		rig_sleep_ms(delays[i / 2]);
		end(pid);
		assert_true(rig_nothing_left() >= 0);
	}
}

static void test_another_vms_console_as_a_console_keeps_nothing(void **state)
{
	(void)state;
	console_is(true, get_console);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_teardown(name, rig_clean)
		TEST(test_a_vm_outlives_its_creator_with_whom_has_a_handle),
		TEST(test_a_vm_that_did_not_start_outlives_its_creator_too),
		TEST(test_a_handle_that_is_only_held_keeps_the_vm),
		TEST(test_a_handle_in_a_message_that_nobody_reads_keeps_the_vm),
		TEST(test_a_handle_lost_in_a_message_kills_the_vm),
		TEST(test_a_handle_sent_over_itself_kills_the_vm),
		TEST(test_a_clone_as_a_console_does_not_keep_a_vm),
		TEST(test_a_handle_as_a_console_does_not_keep_a_vm),
		TEST(test_the_managers_own_connection_as_a_console_keeps_nothing),
		TEST(test_another_vms_console_as_a_console_keeps_nothing),
#undef TEST
	};

	return cmocka_run_group_tests(tests, rig_setup, rig_teardown);
}
