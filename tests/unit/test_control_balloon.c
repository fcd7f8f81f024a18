/* vmm/control_balloon.c: with a guest that answers soon, late, and never */
#include "vmm/control_balloon.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/unix.h"
#include "tests/unit/fake_driver.h"
#include "virtio/balloon.h"

#define BALLOON_ID 5
#define STATS_QUEUE 2
#define CONFIG_TARGET 0
#define CONFIG_ACTUAL 4
#define PAGE 4096u
#define TOLD                                                                    \
	"{\"BalloonStats\":{\"stats\":{\"swap_in\":null,\"swap_out\":null,"     \
	"\"major_faults\":null,\"minor_faults\":null,\"free_memory\":%u,"       \
	"\"total_memory\":null,\"available_memory\":null,\"disk_caches\":null," \
	"\"hugetlb_allocations\":null,\"hugetlb_failures\":null,"               \
	"\"shared_memory\":null,\"unevictable_memory\":null},"                  \
	"\"balloon_actual\":%u}}"

struct rig {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	struct control *control;
	struct control_balloon *balloon;
	struct unix_name name;
	char dir[64], path[96];
	gpa_t buffer; /* of the guest's statistics */
};

static void on_request(void *ctx, struct control_conn *conn,
		       struct control_request *request)
{
	struct rig *r = ctx;

	if (request->kind == CONTROL_BALLOON_ADJUST)
		control_balloon_adjust(r->balloon, conn, request->bytes, request->wait);
	else
		control_balloon_stats(r->balloon, conn);
}

static int setup(void **state)
{
	static const struct virtio_balloon_cfg cfg;
	struct rig *r = calloc(1, sizeof(*r));
	struct loop *loop;
	int fd;

	fake_host_init(&r->host, "balloon", 4 << 20);
	loop = r->host.host.loop;
	assert_int_equal(
		virtio_balloon_class.create(&cfg, &r->host.host, &r->dev, NULL), 0);
	r->buffer = fake_alloc(&r->host, 64, 8);
	strcpy(r->dir, "/tmp/vmm-control-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/s", r->dir);
	fd = unix_listen("", r->path, SOCK_SEQPACKET, &r->name, NULL);
	assert_return_code(fd, errno);
	assert_int_equal(control_new(loop, fd, false, on_request, r, &r->control, NULL),
			 0);
	assert_int_equal(control_balloon_new(r->dev, loop, &r->balloon, NULL), 0);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	control_balloon_free(r->balloon);
	control_free(r->control);
	virtio_balloon_class.free(r->dev);
	fake_host_free(&r->host);
	unix_remove(&r->name);
	rmdir(r->dir);
	free(r);
	return 0;
}

static void start(struct rig *r)
{
	fake_driver_start(&r->d, &r->host, BALLOON_ID, FAKE_ALL_FEATURES);
}

/* The guest's statistics: what memory is free. */
static void tell(struct rig *r, uint64_t free_memory)
{
	struct fake_seg seg = { r->buffer, 10, false };
	uint8_t *stat = fake_ptr(&r->host, r->buffer, 10);

	le16_put(stat, 4 /* VIRTIO_BALLOON_S_MEMFREE */);
	le64_put(stat + 2, free_memory);
	fake_submit(&r->d, STATS_QUEUE, &seg, 1);
	fake_kick(&r->d, STATS_QUEUE);
}

static int ask(struct rig *r, const char *request)
{
	int fd = unix_connect("", r->path, SOCK_SEQPACKET,
			      &(struct unix_patience){ .seconds = 5 }, NULL);

	assert_return_code(fd, errno);
	assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
	fake_run(&r->host);
	return fd;
}

/* The answer to what was asked, however long it takes; then the connection ends. */
static const char *answer(struct rig *r, int fd)
{
	static char text[1024];
	ssize_t n;

	do {
		fake_run(&r->host);
		n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
		if (n < 0)
			usleep(1000);
	} while (n < 0 && errno == EAGAIN);
	assert_true(n > 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static bool answered(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0;
}

#define ADJUST(n, wait)                                     \
	"{\"BalloonCommand\":{\"Adjust\":{\"num_bytes\":" n \
	",\"wait_for_success\":" wait "}}}"
#define STATS "{\"BalloonCommand\":\"Stats\"}"

static void a_size_is_asked_of_the_guest(void **state)
{
	struct rig *r = *state;

	start(r);
	assert_string_equal(answer(r, ask(r, ADJUST("1048577", "false"))), "\"Ok\"");
	assert_int_equal(fake_config_in(&r->d, CONFIG_TARGET, 4), 256);
	assert_int_equal(fake_interrupts(&r->d, 0), 1);
	assert_non_null(strstr(answer(r, ask(r, ADJUST("4194305", "false"))),
			       "more than the guest's 4 MiB"));
	assert_int_equal(fake_config_in(&r->d, CONFIG_TARGET, 4), 256);
}

static void who_waits_is_answered_when_the_guest_is_there(void **state)
{
	struct rig *r = *state;
	int fd;

	start(r);
	fd = ask(r, ADJUST("1048577", "true"));
	assert_false(answered(fd));
	fake_config_out(&r->d, CONFIG_ACTUAL, 200, 4);
	usleep(120000);
	fake_run(&r->host);
	assert_false(answered(fd));
	fake_config_out(&r->d, CONFIG_ACTUAL, 256, 4);
	assert_string_equal(answer(r, fd), "\"Ok\"");
	/* And at once where it is there already. */
	fd = ask(r, ADJUST("1048576", "true"));
	assert_true(answered(fd));
	assert_string_equal(answer(r, fd), "\"Ok\"");
}

static void statistics_are_fresh(void **state)
{
	struct rig *r = *state;
	char want[512];
	int first, second;

	start(r);
	tell(r, 111);
	fake_config_out(&r->d, CONFIG_ACTUAL, 2, 4);
	first = ask(r, STATS);
	second = ask(r, STATS);
	assert_false(answered(first));
	/* The guest has its buffer back, once, and fills it again. */
	fake_wait_used(&r->d, STATS_QUEUE, NULL);
	assert_false(fake_used(&r->d, STATS_QUEUE, NULL, NULL));
	tell(r, 222);
	snprintf(want, sizeof(want), TOLD, 222, 2 * PAGE);
	assert_string_equal(answer(r, first), want);
	assert_string_equal(answer(r, second), want);
	first = ask(r, STATS);
	fake_wait_used(&r->d, STATS_QUEUE, NULL);
	tell(r, 333);
	snprintf(want, sizeof(want), TOLD, 333, 2 * PAGE);
	assert_string_equal(answer(r, first), want);
}

static void a_guest_that_does_not_answer_has_said_its_last(void **state)
{
	struct rig *r = *state;
	char want[512];
	int fd;

	start(r);
	tell(r, 111);
	snprintf(want, sizeof(want), TOLD, 111, 0);
	fd = ask(r, STATS);
	assert_string_equal(answer(r, fd), want);
	/* Nor does it matter that it answers now, or that it has no buffer to give. */
	assert_string_equal(answer(r, ask(r, STATS)), want);
	tell(r, 444);
	fake_run(&r->host);
	fd = ask(r, STATS);
	fake_wait_used(&r->d, STATS_QUEUE, NULL);
	tell(r, 555);
	snprintf(want, sizeof(want), TOLD, 555, 0);
	assert_string_equal(answer(r, fd), want);
}

static void a_guest_without_a_driver_is_told_of(void **state)
{
	struct rig *r = *state;

	assert_non_null(strstr(answer(r, ask(r, STATS)), "does not tell statistics"));
}

static void values_that_json_cannot_hold_are_unknown(void **state)
{
	struct rig *r = *state;
	int fd;

	start(r);
	tell(r, 1);
	fd = ask(r, STATS);
	fake_wait_used(&r->d, STATS_QUEUE, NULL);
	tell(r, UINT64_MAX);
	assert_non_null(strstr(answer(r, fd), "\"free_memory\":null"));
}

static void who_leaves_while_waiting_does_no_harm(void **state)
{
	struct rig *r = *state;

	start(r);
	tell(r, 1);
	close(ask(r, STATS));
	close(ask(r, ADJUST("1048576", "true")));
	fake_wait_used(&r->d, STATS_QUEUE, NULL);
	tell(r, 2);
	fake_config_out(&r->d, CONFIG_ACTUAL, 256, 4);
	usleep(120000);
	fake_run(&r->host);
	assert_string_equal(answer(r, ask(r, ADJUST("0", "false"))), "\"Ok\"");
	/* And the machine may end while somebody waits. */
	close(ask(r, ADJUST("4096", "true")));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_size_is_asked_of_the_guest),
		TEST(who_waits_is_answered_when_the_guest_is_there),
		TEST(statistics_are_fresh),
		TEST(a_guest_that_does_not_answer_has_said_its_last),
		TEST(a_guest_without_a_driver_is_told_of),
		TEST(values_that_json_cannot_hold_are_unknown),
		TEST(who_leaves_while_waiting_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
