/* Vsock over descriptors that a manager passes: nothing has a path. */
#include "base/connector.h"
#include "tests/unit/vsock_rig.h"

/* A rig whose device has one end of a socket pair; returns the manager's. */
static int with_manager(void **state, int type)
{
	struct env *e = new_env();
	struct vsock_cfg cfg = { .cid = CID, .backend = VSOCK_UNIX };
	struct err err;
	int pair[2], r;

	/* Inherited: the device's end is not close-on-exec. */
	assert_int_equal(socketpair(AF_UNIX, type, 0, pair), 0);
	cfg.fd = (uint64_t)pair[1];
	r = virtio_vsock_class.create(&cfg, &e->host.host, &e->dev, &err);
	close(pair[1]);
	e->rx = fake_alloc(&e->host, RX_SLOTS * RX_SIZE, 1);
	e->tx = fake_alloc(&e->host, TX_AREA, 1);
	*state = e;
	if (type != SOCK_SEQPACKET) {
		assert_int_equal(r, -EINVAL);
		assert_non_null(strstr(err.msg, "--vsock: fd /proc/self/fd/"));
		close(pair[0]);
		return -1;
	}
	if (r < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	return pair[0];
}

static void make_stream(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, pair),
			 0);
}

/* The guest's request arrives; returns its id. */
static uint64_t asked(struct env *e, int manager, uint32_t port)
{
	uint64_t id;
	uint32_t got;

	fake_run(&e->host);
	assert_int_equal(connector_next(manager, &id, &got), 1);
	assert_int_equal(got, port);
	assert_true(id >= CONNECTOR_FIRST_ID);
	return id;
}

/* Offers a stream for @port; returns the client's end. */
static int offered(struct env *e, int manager, uint32_t port)
{
	int pair[2];

	make_stream(pair);
	assert_int_equal(connector_offer(manager, port, pair[1]), 0);
	close(pair[1]);
	fake_run(&e->host);
	return pair[0];
}

static void the_manager_answers_the_guest(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET), pair[2];
	struct env *e = *state;

	start(e);
	says(e, REQUEST, GUEST, HOST);
	make_stream(pair);
	assert_int_equal(connector_answer(manager, asked(e, manager, HOST), pair[1]),
			 0);
	close(pair[1]);
	hears_op(e, RESPONSE);
	sends(e, "ready\n", 6);
	reads(pair[0], "ready\n");
	write_all(pair[0], "fine", 4);
	hears_data(e, "fine");
	close(pair[0]);
	close(manager);
}

static void the_manager_refuses_the_guest(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET);
	struct env *e = *state;

	start(e);
	says(e, REQUEST, GUEST, 22);
	assert_int_equal(
		connector_answer(manager, asked(e, manager, 22), -ECONNREFUSED), 0);
	hears_of(e, RST, GUEST, 22);
	close(manager);
}

static void an_offer_connects_to_the_guest(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET), fd;
	struct env *e = *state;
	uint32_t host;

	start(e);
	fd = offered(e, manager, 0xfffffffe);
	assert_true(hears(e));
	assert_int_equal(e->got.op, REQUEST);
	assert_int_equal(e->got.dst_port, 0xfffffffe);
	host = e->got.src_port;
	reads_nothing(fd);
	says(e, RESPONSE, 0xfffffffe, host);
	reads(fd, "OK 1073741824\n");
	sends_on(e, 0xfffffffe, host, "hello", 5);
	reads(fd, "hello");
	close(fd);
	close(manager);
}

static void a_port_that_refuses_closes_what_was_offered(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET), fd;
	struct env *e = *state;

	start(e);
	fd = offered(e, manager, 5);
	assert_true(hears(e));
	says(e, RST, 5, e->got.src_port);
	reads_end(fd);
	close(fd);
	close(manager);
}

static void a_client_that_leaves_early_is_no_harm(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET);
	struct env *e = *state;
	uint32_t host;

	start(e);
	close(offered(e, manager, 5));
	assert_true(hears(e));
	host = e->got.src_port;
	says(e, RESPONSE, 5, host);
	hears_of(e, RST, 5, host);
	close(manager);
}

static void what_is_offered_waits_for_the_driver(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET), fd;
	struct env *e = *state;

	fd = offered(e, manager, 5);
	reads_nothing(fd);
	start(e);
	fake_run(&e->host);
	assert_true(hears(e));
	assert_int_equal(e->got.op, REQUEST);
	says(e, RESPONSE, 5, e->got.src_port);
	reads(fd, "OK 1073741824\n");
	close(fd);
	close(manager);
}

static void but_not_for_ever(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET), fd;
	struct env *e = *state;

	fd = offered(e, manager, 5);
	pass(e, 12);
	reads_end(fd);
	close(fd);
	close(manager);
}

static void more_offers_than_connections_are_closed(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET), fd[2];
	struct env *e = *state;

	start_empty(e);
	make_stream(fd);
	for (unsigned i = 0; i < 1100; i++) {
		assert_int_equal(connector_offer(manager, i, fd[1]), 0);
		fake_run(&e->host);
	}
	reads_nothing(fd[0]);
	close(fd[1]);
	fake_driver_reset(&e->d);
	fake_run(&e->host);
	reads_end(fd[0]);
	close(fd[0]);
	close(manager);
}

static void without_its_manager_the_guest_is_alone(void **state)
{
	int manager = with_manager(state, SOCK_SEQPACKET);
	struct env *e = *state;

	start(e);
	says(e, REQUEST, GUEST, HOST);
	fake_run(&e->host);
	close(manager);
	hears_op(e, RST);
	says(e, REQUEST, GUEST, HOST);
	hears_op(e, RST);
}

static void a_stream_is_no_way_to_a_manager(void **state)
{
	with_manager(state, SOCK_STREAM);
}

static void one_of_path_and_fd_must_be_given(void **state)
{
	char path[] = "/tmp/none";
	struct vsock_cfg cfg = { .cid = CID, .backend = VSOCK_UNIX };
	struct err err;

	(void)state;
	assert_int_equal(virtio_vsock_class.check(&cfg, &err), -EINVAL);
	assert_string_equal(err.msg, "backend=unix needs path= or fd=");
	cfg.path = path;
	assert_int_equal(virtio_vsock_class.check(&cfg, &err), 0);
	cfg.fd = 7;
	assert_int_equal(virtio_vsock_class.check(&cfg, &err), -EINVAL);
	assert_string_equal(err.msg, "backend=unix needs path= or fd=, not both");
	cfg.path = NULL;
	assert_int_equal(virtio_vsock_class.check(&cfg, &err), 0);
	cfg.backend = VSOCK_VHOST;
	assert_int_equal(virtio_vsock_class.check(&cfg, &err), -EINVAL);
	assert_string_equal(err.msg, "fd= is not for backend=vhost");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALONE(the_manager_answers_the_guest),
		ALONE(the_manager_refuses_the_guest),
		ALONE(an_offer_connects_to_the_guest),
		ALONE(a_port_that_refuses_closes_what_was_offered),
		ALONE(a_client_that_leaves_early_is_no_harm),
		ALONE(what_is_offered_waits_for_the_driver),
		ALONE(but_not_for_ever),
		ALONE(more_offers_than_connections_are_closed),
		ALONE(without_its_manager_the_guest_is_alone),
		ALONE(a_stream_is_no_way_to_a_manager),
		cmocka_unit_test(one_of_path_and_fd_must_be_given),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
