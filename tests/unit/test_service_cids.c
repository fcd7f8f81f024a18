/* CIDs and leases: who has one, who does not, and what is left of a killed service. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "service/virtualizationservice/cids.h"

#define USER 1000
#define OTHER 1001

struct rig {
	char dir[64];
	struct cids *cids;
	unsigned user, other, rest; /* counts */
	sd_event *event;
	bool freed;
};

static unsigned *count(void *userdata, uid_t uid)
{
	struct rig *rig = userdata;

	return uid == USER ? &rig->user : uid == OTHER ? &rig->other : &rig->rest;
}

static void freed(void *userdata)
{
	struct rig *rig = userdata;

	rig->freed = true;
	sd_event_exit(rig->event, 0);
}

static const struct cids_ops ops = { .count = count, .freed = freed };

static void start(struct rig *rig, uint32_t first, uint32_t last)
{
	struct err err = { "" };

	if (cids_new(rig->dir, first, last, first, &ops, rig, &rig->cids, &err) < 0)
		fail_msg("%s", err.msg);
}

/* As after kill -9: nothing was cleared away, and nothing is remembered. */
static void start_anew(struct rig *rig, uint32_t first, uint32_t last)
{
	cids_free(rig->cids);
	rig->user = rig->other = rig->rest = 0;
	start(rig, first, last);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	/* In memory, as /run is. */
	strcpy(rig->dir, "/dev/shm/test_cids_XXXXXX");
	if (!mkdtemp(rig->dir))
		assert_non_null(mkdtemp(strcpy(rig->dir, "/tmp/test_cids_XXXXXX")));
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;
	char command[128];

	cids_free(rig->cids);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

static uint32_t take(struct rig *rig, int *ret_lease)
{
	struct err err = { "" };
	uint32_t cid;

	if (cids_take(rig->cids, USER, &cid, ret_lease, &err) < 0)
		fail_msg("%s", err.msg);
	return cid;
}

static bool lease_exists(const struct rig *rig, uint32_t cid)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/cid/%u", rig->dir, cid);
	return access(path, F_OK) == 0;
}

static void read_lease(int lease, char line[static CID_LEASE_LEN])
{
	ssize_t n = pread(lease, line, CID_LEASE_LEN - 1, 0);

	assert_true(n > 0);
	line[n] = '\0';
}

static void test_cids_move_on_and_wrap(void **state)
{
	struct rig *rig = *state;
	int lease;

	start(rig, 3000, 3002);
	for (uint32_t i = 0; i < 7; i++) {
		uint32_t cid = take(rig, &lease);

		assert_int_equal(cid, 3000 + i % 3);
		assert_int_equal(rig->user, 1);
		close(lease);
		cids_give_back(rig->cids, cid);
		assert_int_equal(rig->user, 0);
		assert_false(lease_exists(rig, cid));
	}
}

static void test_the_last_cid_of_all_is_followed_by_the_first(void **state)
{
	struct rig *rig = *state;
	int lease[2];

	assert_int_equal(cids_new(rig->dir, CID_FIRST, CID_LAST, CID_LAST, &ops, rig,
				  &rig->cids, NULL),
			 0);
	assert_int_equal(take(rig, &lease[0]), 65535);
	assert_int_equal(take(rig, &lease[1]), 2048);
	close(lease[0]);
	close(lease[1]);
}

static void test_a_cid_that_is_in_use_is_stepped_over(void **state)
{
	struct rig *rig = *state;
	int leases[3], again;

	start(rig, 3000, 3002);
	for (int i = 0; i < 3; i++)
		take(rig, &leases[i]);
	close(leases[1]);
	cids_give_back(rig->cids, 3001);
	assert_int_equal(take(rig, &again), 3001);
	close(again);
	close(leases[0]);
	close(leases[2]);
}

static void test_without_a_free_cid_there_is_an_error(void **state)
{
	struct rig *rig = *state;
	struct err err = { "" };
	int lease, none;
	uint32_t cid;

	start(rig, 3000, 3000);
	take(rig, &lease);
	assert_int_equal(cids_take(rig->cids, USER, &cid, &none, &err), -EDQUOT);
	assert_non_null(strstr(err.msg, "in use"));
	assert_int_equal(rig->user, 1);
	close(lease);
}

static void test_a_cid_is_not_free_while_somebody_has_its_lease(void **state)
{
	struct rig *rig = *state;
	struct err err;
	int lease, copy, none;
	uint32_t cid;

	start(rig, 3000, 3000);
	cid = take(rig, &lease);
	copy = dup(lease);
	close(lease);
	cids_give_back(rig->cids, cid);
	assert_int_equal(cids_lingering(rig->cids), 1);
	assert_int_equal(rig->user, 1);
	assert_int_equal(cids_take(rig->cids, OTHER, &cid, &none, &err), -EDQUOT);
	close(copy);
	/* It is looked for when it is needed. */
	assert_int_equal(take(rig, &lease), 3000);
	assert_int_equal(cids_lingering(rig->cids), 0);
	assert_int_equal(rig->user, 1);
	close(lease);
}

static void test_a_lease_that_is_let_go_is_noticed(void **state)
{
	struct rig *rig = *state;
	int lease;
	uint32_t cid;

	start(rig, 3000, 3001);
	assert_return_code(sd_event_new(&rig->event), 0);
	assert_int_equal(cids_watch(rig->cids, rig->event, NULL), 0);
	cid = take(rig, &lease);
	cids_give_back(rig->cids, cid);
	close(lease);
	assert_return_code(sd_event_loop(rig->event), 0);
	assert_true(rig->freed);
	assert_false(lease_exists(rig, cid));
	assert_int_equal(rig->user, 0);
	cids_free(rig->cids);
	rig->cids = NULL;
	sd_event_unref(rig->event);
}

static void test_a_service_started_anew_gives_out_nothing_that_is_in_use(void **state)
{
	struct rig *rig = *state;
	int held, dropped, more[2];

	start(rig, 3000, 3003);
	assert_int_equal(take(rig, &held), 3000);
	assert_int_equal(take(rig, &dropped), 3001);
	close(dropped);
	start_anew(rig, 3000, 3003);
	assert_int_equal(rig->user, 1);
	assert_false(lease_exists(rig, 3001));
	assert_int_equal(take(rig, &more[0]), 3002);
	close(more[0]);
	cids_give_back(rig->cids, 3002);
	assert_int_equal(take(rig, &more[0]), 3003);
	assert_int_equal(take(rig, &more[1]), 3001);
	close(held);
	close(more[0]);
	close(more[1]);
}

static void test_a_service_started_anew_does_not_reuse_the_last_cid(void **state)
{
	struct rig *rig = *state;
	int lease;
	uint32_t cid;

	start(rig, 3000, 3010);
	cid = take(rig, &lease);
	close(lease);
	cids_give_back(rig->cids, cid);
	start_anew(rig, 3000, 3010);
	assert_int_equal(take(rig, &lease), cid + 1);
	close(lease);
}

static void test_who_has_the_lease_adopts_its_cid_once(void **state)
{
	struct rig *rig = *state;
	char line[CID_LEASE_LEN];
	struct err err = { "" };
	int lease;
	uint32_t cid;

	start(rig, 3000, 3001);
	cid = take(rig, &lease);
	read_lease(lease, line);
	assert_int_equal(cids_adopt(rig->cids, cid, USER, line, &err), -EBADFD);
	start_anew(rig, 3000, 3001);
	assert_int_equal(cids_adopt(rig->cids, cid, USER, line, &err), 0);
	assert_int_equal(cids_lingering(rig->cids), 0);
	assert_int_equal(rig->user, 1);
	assert_int_equal(cids_adopt(rig->cids, cid, USER, line, &err), -EBADFD);
	close(lease);
	cids_give_back(rig->cids, cid);
	assert_int_equal(rig->user, 0);
	assert_false(lease_exists(rig, cid));
}

static void test_who_has_another_lease_or_none_adopts_nothing(void **state)
{
	struct rig *rig = *state;
	char mine[CID_LEASE_LEN], line[CID_LEASE_LEN];
	struct err err = { "" };
	int lease[2];
	uint32_t cid[2];

	start(rig, 3000, 3005);
	for (int i = 0; i < 2; i++)
		cid[i] = take(rig, &lease[i]);
	read_lease(lease[0], mine);
	read_lease(lease[1], line);
	start_anew(rig, 3000, 3005);
	assert_int_equal(cids_adopt(rig->cids, cid[1], USER, mine, &err), -EINVAL);
	assert_int_equal(cids_adopt(rig->cids, cid[1], OTHER, line, &err), -EINVAL);
	assert_int_equal(cids_adopt(rig->cids, cid[1], USER, "", &err), -EINVAL);
	assert_int_equal(cids_adopt(rig->cids, 3004, USER, mine, &err), -EINVAL);
	assert_int_equal(cids_adopt(rig->cids, 70000, USER, mine, &err), -EINVAL);
	assert_int_equal(cids_adopt(rig->cids, UINT32_MAX, USER, mine, &err), -EINVAL);
	assert_int_equal(cids_lingering(rig->cids), 2);
	close(lease[0]);
	/* Known, but not held. */
	assert_int_equal(cids_adopt(rig->cids, cid[0], USER, mine, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "nobody"));
	assert_int_equal(cids_lingering(rig->cids), 1);
	assert_int_equal(rig->user, 1);
	close(lease[1]);
}

static void test_two_leases_never_hold_the_same(void **state)
{
	struct rig *rig = *state;
	char line[2][CID_LEASE_LEN];
	int lease;

	start(rig, 3000, 3000);
	for (int i = 0; i < 2; i++) {
		take(rig, &lease);
		read_lease(lease, line[i]);
		close(lease);
		cids_give_back(rig->cids, 3000);
	}
	assert_string_not_equal(line[0], line[1]);
}

static void test_a_lease_cannot_be_written_and_is_not_inherited(void **state)
{
	struct rig *rig = *state;
	struct stat st;
	int lease;

	start(rig, 3000, 3001);
	take(rig, &lease);
	assert_int_equal(fcntl(lease, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(lease, F_GETFD), FD_CLOEXEC);
	assert_return_code(fstat(lease, &st), errno);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(lease);
}

static void test_what_is_no_lease_in_the_folder_is_left_alone(void **state)
{
	struct rig *rig = *state;
	char path[128];
	int lease;

	start(rig, 3000, 3001);
	snprintf(path, sizeof(path), "%s/cid/3001", rig->dir);
	assert_return_code(symlink("/etc/passwd", path), errno);
	snprintf(path, sizeof(path), "%s/cid/note", rig->dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	cids_free(rig->cids);
	start(rig, 3000, 3002);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(take(rig, &lease), 3000);
	close(lease);
}

static void test_ten_thousand_rounds_leave_nothing(void **state)
{
	struct rig *rig = *state;
	uint32_t last = 0;

	start(rig, CID_FIRST, CID_FIRST + 4000);
	for (int i = 0; i < 10000; i++) {
		int lease;
		uint32_t cid = take(rig, &lease);

		assert_int_not_equal(cid, last);
		last = cid;
		close(lease);
		cids_give_back(rig->cids, cid);
	}
	assert_int_equal(rig->user, 0);
	assert_int_equal(cids_lingering(rig->cids), 0);
	cids_free(rig->cids);
	rig->cids = NULL;
	assert_false(lease_exists(rig, last));
	assert_int_equal(rmdir(strcat(rig->dir, "/cid")), -1);
	assert_int_equal(errno, ENOENT);
	*strrchr(rig->dir, '/') = '\0';
}

/* The leases of one would look stale to another. */
static void test_the_folder_is_locked_as_long_as_the_service_runs(void **state)
{
	struct rig *rig = *state;
	char path[128];
	int fd;

	start(rig, 3000, 3001);
	snprintf(path, sizeof(path), "%s/cid", rig->dir);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_return_code(fd, errno);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	cids_free(rig->cids);
	rig->cids = NULL;
	assert_return_code(flock(fd, LOCK_EX | LOCK_NB), errno);
	close(fd);
}

static void *start_thread(void *arg)
{
	struct rig *rig = arg;

	start(rig, 3000, 3001);
	return NULL;
}

static void test_one_that_waits_for_another_to_end_gets_its_folder(void **state)
{
	struct rig *rig = *state;
	struct cids *first;
	pthread_t thread;
	int lease;

	start(rig, 3000, 3001);
	first = rig->cids;
	assert_int_equal(pthread_create(&thread, NULL, start_thread, rig), 0);
	usleep(50000); /* until it waits: the first takes the folder away */
	cids_free(first);
	assert_int_equal(pthread_join(thread, NULL), 0);
	take(rig, &lease);
	close(lease);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_cids_move_on_and_wrap),
		TEST(test_the_last_cid_of_all_is_followed_by_the_first),
		TEST(test_a_cid_that_is_in_use_is_stepped_over),
		TEST(test_without_a_free_cid_there_is_an_error),
		TEST(test_a_cid_is_not_free_while_somebody_has_its_lease),
		TEST(test_a_lease_that_is_let_go_is_noticed),
		TEST(test_a_service_started_anew_gives_out_nothing_that_is_in_use),
		TEST(test_a_service_started_anew_does_not_reuse_the_last_cid),
		TEST(test_who_has_the_lease_adopts_its_cid_once),
		TEST(test_who_has_another_lease_or_none_adopts_nothing),
		TEST(test_two_leases_never_hold_the_same),
		TEST(test_a_lease_cannot_be_written_and_is_not_inherited),
		TEST(test_what_is_no_lease_in_the_folder_is_left_alone),
		TEST(test_ten_thousand_rounds_leave_nothing),
		TEST(test_the_folder_is_locked_as_long_as_the_service_runs),
		TEST(test_one_that_waits_for_another_to_end_gets_its_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
