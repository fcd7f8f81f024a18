/*
 * The block device when things go wrong below it, or end in the middle: faults,
 * resets and resizes with requests in flight, power cuts, kill -9.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "tests/unit/blk_rig.h"

static void pause_ms(long ms)
{
	const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* --- errors of the host ---------------------------------------------------- */

static void an_error_fails_its_request_and_the_disk_goes_on(void **state)
{
	static const int errors[] = { -EIO, -ENOSPC, -ENOMEM, -ESTALE };
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		fault_fail(e->fault, DISK_WRITE, 1, 1, errors[i], 0);
		fault_fail(e->fault, DISK_READ, 1, 1, errors[i], 0);
		fault_fail(e->fault, DISK_DISCARD, 0, 1, errors[i], 0);
		assert_int_equal(rig_request(e, 0, OUT, 0, 1024, NULL), OK);
		assert_int_equal(rig_request(e, 1, OUT, 0, 1024, NULL), IOERR);
		assert_int_equal(rig_request(e, 0, OUT, 0, 1024, NULL), OK);
		assert_int_equal(rig_request(e, 0, IN, 0, 1024, NULL), OK);
		assert_int_equal(rig_request(e, 1, IN, 0, 1024, NULL), IOERR);
		assert_int_equal(rig_request(e, 0, IN, 0, 1024, NULL), OK);
		le64_put(rig_data(e), 0);
		le64_put((char *)rig_data(e) + 8, 8);
		assert_int_equal(rig_request(e, 0, DISCARD, 0, 16, NULL), IOERR);
		assert_int_equal(rig_request(e, 0, DISCARD, 0, 16, NULL), OK);
	}
	assert_int_equal(rig_request(e, 0, FLUSH, 0, 0, NULL), OK);
	assert_false(rig_broken(e));
}

static void a_write_that_stops_half_way_is_an_error(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	memset(rig_data(e), 'x', 4096);
	fault_fail(e->fault, DISK_WRITE, 0, 1, -ENOSPC, 1536);
	assert_int_equal(rig_request(e, 0, OUT, 8, 4096, NULL), IOERR);
	assert_int_equal(e->map[8 * 512 + 1535], 'x');
	assert_int_equal(e->map[8 * 512 + 1536], rig_pattern(8 * 512 + 1536));
}

/* --- many in flight -------------------------------------------------------- */

/* Reads of one sector each into buffers of their own, 1024 bytes apart. */
static void submit_reads(struct rig *e, unsigned q, unsigned n)
{
	/* Not while the device may be reading it. */
	if (le64_get((char *)fake_ptr(&e->host, e->header, 16) + 8) != 77)
		rig_put_header(e, IN, 77);
	for (unsigned i = 0; i < n; i++) {
		struct fake_seg segs[] = {
			{ e->header, 16, false },
			{ GPA(e->data.v + 1024 * (i % 256)), 512, true },
			{ GPA(e->data.v + 1024 * (i % 256) + 512), 1, true },
		};

		fake_submit_indirect(&e->d, q, segs, 3);
	}
}

static void kick(struct rig *e, unsigned q)
{
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[q], q, 2);
}

static void more_requests_than_contexts_are_all_served(void **state)
{
	struct rig *e = *state;

	rig_start(e, FAKE_ALL_FEATURES);
	fault_hold(e->fault, true);
	for (unsigned q = 0; q < 4; q++) {
		submit_reads(e, q, 200);
		fake_kick(&e->d, q);
	}
	assert_int_equal(rig_held(e), BLK_MAX_IN_FLIGHT);
	rig_release(e);
	for (unsigned q = 0; q < 4; q++)
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(fake_wait_used(&e->d, q, NULL), 513);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(((unsigned char *)rig_data(e))[1024 * i + 512], OK);
	/* It asks to be kicked for what comes now. */
	fake_run(&e->host);
	for (unsigned q = 0; q < 4; q++) {
		submit_reads(e, q, 1);
		assert_true(
			fake_wants_kick(&e->d, q, (uint16_t)(e->d.q[q].avail_idx - 1)));
	}
}

/* One queue that is always full leaves the others their turn. */
static void a_busy_queue_starves_no_other(void **state)
{
	struct rig *e = *state;
	unsigned rounds = 0;

	rig_start(e, FAKE_ALL_FEATURES);
	fault_hold(e->fault, true);
	submit_reads(e, 0, 256);
	fake_kick(&e->d, 0);
	assert_int_equal(rig_held(e), 256);
	submit_reads(e, 9, 1);
	fake_kick(&e->d, 9);
	while (!fake_used(&e->d, 9, NULL, NULL)) {
		uint16_t head;

		assert_true(rounds++ < 1000);
		rig_release(e);
		while (fake_used(&e->d, 0, &head, NULL))
			submit_reads(e, 0, 1);
		rig_kick(e, 0);
		pause_ms(1);
		fake_run(&e->host);
		fault_hold(e->fault, true);
	}
	rig_release(e);
	rig_settle(e, 0);
}

struct resetter {
	struct rig *e;
	bool done;
};

static void *reset_thread(void *arg)
{
	struct resetter *r = arg;

	fake_common_out(&r->e->d, FAKE_STATUS, 0, 1);
	__atomic_store_n(&r->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void a_reset_waits_for_what_is_in_flight(void **state)
{
	struct rig *e = *state;

	for (unsigned round = 0; round < 5; round++) {
		struct resetter r = { .e = e };
		static unsigned char before[RIG_DATA];
		volatile uint16_t *used;
		pthread_t thread;

		rig_start_threaded(e, FAKE_ALL_FEATURES);
		pthread_mutex_lock(&e->blk->v.io_lock);
		fault_hold(e->fault, true);
		pthread_mutex_unlock(&e->blk->v.io_lock);
		used = e->d.q[1].used;
		memset(rig_data(e), UNTOUCHED, RIG_DATA);
		submit_reads(e, 1, 100);
		kick(e, 1);
		while (rig_held(e) < 100)
			pause_ms(1);
		assert_int_equal(pthread_create(&thread, NULL, reset_thread, &r), 0);
		pause_ms(20);
		assert_false(__atomic_load_n(&r.done, __ATOMIC_ACQUIRE));
		rig_release(e);
		pthread_join(thread, NULL);
		assert_int_equal(fake_status(&e->d), 0);

		/* The memory is the driver's again. */
		memcpy(before, rig_data(e), RIG_DATA);
		memset((void *)(uintptr_t)&used[1], 0x5a, 2);
		pause_ms(20);
		assert_memory_equal(before, rig_data(e), RIG_DATA);
		assert_int_equal(used[1], 0x5a5a);
		e->host.next_alloc = e->data.v + RIG_DATA;
	}
	rig_start_threaded(e, FAKE_ALL_FEATURES);
	assert_int_equal(rig_request(e, 0, IN, 3, 512, NULL), OK);
}

/* --- suspended -------------------------------------------------------------- */

struct suspender {
	struct rig *e;
	bool done;
};

static void *suspend_thread(void *arg)
{
	struct suspender *s = arg;

	virtio_blk_class.pause(s->e->dev, DEV_SUSPENDED);
	__atomic_store_n(&s->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void a_suspended_disk_has_nothing_in_flight(void **state)
{
	struct rig *e = *state;
	struct suspender s = { .e = e };
	static unsigned char before[RIG_DATA];
	pthread_t thread;

	rig_start_threaded(e, FAKE_ALL_FEATURES);
	pthread_mutex_lock(&e->blk->v.io_lock);
	fault_hold(e->fault, true);
	pthread_mutex_unlock(&e->blk->v.io_lock);
	submit_reads(e, 1, 100);
	kick(e, 1);
	while (rig_held(e) < 100)
		pause_ms(1);
	assert_int_equal(pthread_create(&thread, NULL, suspend_thread, &s), 0);
	pause_ms(20);
	assert_false(__atomic_load_n(&s.done, __ATOMIC_ACQUIRE));
	rig_release(e);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 100; i++)
		assert_true(fake_used(&e->d, 1, NULL, NULL));

	/* Nothing new is taken, nor written, until it goes on. */
	memset(rig_data(e), UNTOUCHED, RIG_DATA);
	memcpy(before, rig_data(e), RIG_DATA);
	submit_reads(e, 1, 50);
	kick(e, 1);
	submit_reads(e, 7, 50);
	kick(e, 7);
	pause_ms(20);
	assert_false(fake_used(&e->d, 1, NULL, NULL));
	assert_memory_equal(before, rig_data(e), RIG_DATA);
	virtio_blk_class.pause(e->dev, DEV_RUNS);
	for (unsigned i = 0; i < 50; i++) {
		rig_wait_used(e, 1, NULL);
		rig_wait_used(e, 7, NULL);
	}
	assert_int_equal(rig_request(e, 0, IN, 3, 512, NULL), OK);
}

/* Whatever moment it is: no request is lost, and none stays behind. */
static void suspending_at_any_moment_loses_nothing(void **state)
{
	struct rig *e = *state;

	rig_start_threaded(e, FAKE_ALL_FEATURES);
	for (unsigned round = 0; round < 200; round++) {
		unsigned q = round % BLK_QUEUES;

		submit_reads(e, q, 100);
		kick(e, q);
		if (round & 1)
			sched_yield();
		virtio_blk_class.pause(e->dev, DEV_SUSPENDED);
		assert_int_equal(e->blk->in_flight, 0);
		if (round % 3 == 0) {
			submit_reads(e, q, 1);
			kick(e, q);
		}
		virtio_blk_class.pause(e->dev, DEV_RUNS);
		for (unsigned i = 0; i < 100 + (round % 3 == 0); i++)
			rig_wait_used(e, q, NULL);
	}
	assert_false(rig_broken(e));
}

static void a_suspended_disk_can_be_resized(void **state)
{
	struct rig *e = *state;
	struct err err = { "" };

	rig_start_threaded(e, FAKE_ALL_FEATURES);
	virtio_blk_class.pause(e->dev, DEV_SUSPENDED);
	submit_reads(e, 2, 10);
	kick(e, 2);
	assert_int_equal(virtio_blk_resize(e->dev, 2 * RIG_SIZE, &err), 0);
	pause_ms(5);
	assert_false(fake_used(&e->d, 2, NULL, NULL));
	virtio_blk_class.pause(e->dev, DEV_RUNS);
	for (unsigned i = 0; i < 10; i++)
		rig_wait_used(e, 2, NULL);
}

/* Not held: the host is as fast as it is. */
static void resets_at_any_moment_are_clean(void **state)
{
	struct rig *e = *state;

	for (unsigned round = 0; round < 50; round++) {
		unsigned q = round % BLK_QUEUES;
		volatile uint16_t *used;
		uint16_t idx;

		rig_start_threaded(e, FAKE_ALL_FEATURES);
		used = e->d.q[q].used;
		submit_reads(e, q, 100);
		kick(e, q);
		if (round & 1)
			sched_yield();
		fake_common_out(&e->d, FAKE_STATUS, 0, 1);
		idx = used[1];
		memset(rig_data(e), UNTOUCHED, RIG_DATA);
		pause_ms(1);
		assert_int_equal(used[1], idx);
		for (unsigned i = 0; i < RIG_DATA; i += 512)
			assert_int_equal(((unsigned char *)rig_data(e))[i], UNTOUCHED);
		e->host.next_alloc = e->data.v + RIG_DATA;
	}
}

static void the_end_of_the_thread_waits_for_what_is_in_flight(void **state)
{
	struct rig *e = *state;

	rig_start_threaded(e, FAKE_ALL_FEATURES);
	for (unsigned q = 0; q < 4; q++) {
		submit_reads(e, q, 200);
		kick(e, q);
	}
	/* As the machine does it at its end. */
	loop_stop(e->host.host.loop);
	pthread_join(e->thread, NULL);
	e->threaded = false;
	assert_int_equal(e->blk->in_flight, 0);
	virtio_blk_class.reset(e->dev);
}

static void *release_thread(void *arg)
{
	pause_ms(20);
	rig_release(arg);
	return NULL;
}

static void a_resize_waits_for_what_is_in_flight(void **state)
{
	struct rig *e = *state;
	pthread_t thread;
	struct err err;

	rig_start_threaded(e, FAKE_ALL_FEATURES);
	pthread_mutex_lock(&e->blk->v.io_lock);
	fault_hold(e->fault, true);
	pthread_mutex_unlock(&e->blk->v.io_lock);
	submit_reads(e, 0, 100);
	kick(e, 0);
	while (rig_held(e) < 100)
		pause_ms(1);
	assert_int_equal(pthread_create(&thread, NULL, release_thread, e), 0);
	assert_int_equal(virtio_blk_resize(e->dev, RIG_SIZE / 2, &err), 0);
	/* Otherwise a write could make the file long again behind our back. */
	assert_int_equal(rig_held(e), 0);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(rig_wait_used(e, 0, NULL), 513);
	assert_int_equal(rig_request(e, 0, IN, RIG_SECTORS / 2, 512, NULL), IOERR);
	assert_int_equal(rig_request(e, 1, IN, 0, 512, NULL), OK);
	assert_int_equal(virtio_blk_resize(e->dev, RIG_SIZE, &err), 0);
}

/* --- what is there after the end ------------------------------------------- */

/*
 * A load of writes and zeroings of whole blocks, one at a time for each block, and
 * flushes. Every word of a write is its number. What it has done is told in memory
 * that outlives its process.
 */
#define BLOCK 4096u
#define BLOCKS 64u
#define SLOTS 16
#define MAX_WRITES 200000u

struct history {
	uint32_t n; /* numbers given so far; they begin with 1 */
	uint32_t acked[BLOCKS]; /* the last one that must be there, or a later one */
	uint32_t completed[BLOCKS];
	struct {
		uint8_t block;
		bool zero;
	} writes[MAX_WRITES];
};

struct slot {
	gpa_t header, data, status;
	bool busy;
	uint32_t type;
	unsigned q, block;
	uint16_t head;
	uint32_t number;
	uint32_t snapshot[BLOCKS]; /* a flush: what was complete before it */
};

struct load {
	struct rig *e;
	struct history *h;
	bool until_flush; /* only a flush makes writes count */
	uint32_t random;
	bool block_busy[BLOCKS];
	struct slot slots[SLOTS];
};

static uint32_t next_random(struct load *l)
{
	l->random = l->random * 1664525 + 1013904223;
	return l->random >> 8;
}

static struct load *new_load(struct rig *e, struct history *h, uint32_t seed)
{
	struct load *l = calloc(1, sizeof(*l));

	l->e = e;
	l->h = h;
	l->random = seed;
	for (unsigned i = 0; i < SLOTS; i++) {
		l->slots[i].header = fake_alloc(&e->host, 16, 16);
		l->slots[i].data = fake_alloc(&e->host, BLOCK, 16);
		l->slots[i].status = fake_alloc(&e->host, 1, 1);
	}
	return l;
}

static void start_write(struct load *l, struct slot *s)
{
	struct history *h = l->h;
	uint32_t *words = fake_ptr(&l->e->host, s->data, BLOCK);

	do
		s->block = next_random(l) % BLOCKS;
	while (l->block_busy[s->block]);
	l->block_busy[s->block] = true;
	s->type = next_random(l) % 8 ? OUT : WRITE_ZEROES;
	assert_true(h->n + 1 < MAX_WRITES);
	s->number = h->n + 1;
	h->writes[s->number].block = (uint8_t)s->block;
	h->writes[s->number].zero = s->type != OUT;
	/* Before the device knows of it. */
	__atomic_store_n(&h->n, s->number, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < BLOCK / 4; i++)
		words[i] = s->number;
	if (s->type != OUT) {
		le64_put(words, s->block * BLOCK / 512);
		words[2] = BLOCK / 512;
		words[3] = next_random(l) & 1;
	}
}

static void start_slot(struct load *l, struct slot *s)
{
	struct rig *e = l->e;
	unsigned char *header = fake_ptr(&e->host, s->header, 16);
	struct fake_seg segs[3] = { { s->header, 16, false } };
	unsigned n = 1;

	s->q = next_random(l) % BLK_QUEUES;
	s->busy = true;
	if (next_random(l) % 16 == 0) {
		s->type = FLUSH;
		memcpy(s->snapshot, l->h->completed, sizeof(s->snapshot));
	} else {
		start_write(l, s);
		segs[n++] = (struct fake_seg){ s->data, s->type == OUT ? BLOCK : 16,
					       false };
	}
	segs[n++] = (struct fake_seg){ s->status, 1, true };
	le32_put(header, s->type);
	le64_put(header + 8, s->type == OUT ? s->block * BLOCK / 512 : 0);
	s->head = fake_submit(&e->d, s->q, segs, n);
	kick(e, s->q);
}

static void end_slot(struct load *l, struct slot *s)
{
	bool ok = *(unsigned char *)fake_ptr(&l->e->host, s->status, 1) == OK;
	struct history *h = l->h;

	s->busy = false;
	if (s->type != FLUSH) {
		l->block_busy[s->block] = false;
		if (ok)
			h->completed[s->block] = s->number;
		if (ok && !l->until_flush)
			h->acked[s->block] = s->number;
		return;
	}
	for (unsigned b = 0; ok && l->until_flush && b < BLOCKS; b++)
		if (s->snapshot[b] > h->acked[b])
			h->acked[b] = s->snapshot[b];
}

static void run_load(struct load *l, unsigned steps)
{
	struct rig *e = l->e;
	uint16_t head;

	for (unsigned i = 0; i < steps; i++) {
		struct slot *s = &l->slots[next_random(l) % SLOTS];

		if (!s->busy)
			start_slot(l, s);
		if (next_random(l) % 4 == 0)
			fake_run(&e->host);
		for (unsigned q = 0; q < BLK_QUEUES; q++)
			while (fake_used(&e->d, q, &head, NULL))
				for (unsigned k = 0; k < SLOTS; k++)
					if (l->slots[k].busy && l->slots[k].q == q &&
					    l->slots[k].head == head)
						end_slot(l, &l->slots[k]);
	}
}

/*
 * Every sector holds, whole, the last change that must be there or a later one. Returns
 * for how many blocks there was one.
 */
static unsigned check_history(const struct history *h, const void *image)
{
	const uint32_t *words = image;
	unsigned acked = 0;

	for (unsigned b = 0; b < BLOCKS; b++) {
		acked += h->acked[b] > 0;
		for (unsigned s = 0; s < BLOCK / 512; s++) {
			const uint32_t *w = words + b * (BLOCK / 4) + s * 128;
			bool good = w[0] == 0 && h->acked[b] == 0;

			for (unsigned i = 1; i < 128; i++)
				if (w[i] != w[0])
					fail_msg("block %u sector %u is torn", b, s);
			for (uint32_t n = h->acked[b] ? h->acked[b] : 1;
			     !good && n <= h->n; n++)
				good = h->writes[n].block == b &&
				       w[0] == (h->writes[n].zero ? 0 : n);
			if (!good)
				fail_msg("block %u sector %u holds %u, not %u or later",
					 b, s, w[0], h->acked[b]);
		}
	}
	return acked;
}

static void acknowledged_flushes_survive_a_power_cut(void **state)
{
	struct rig *e = *state;
	struct history *h = calloc(1, sizeof(*h));
	unsigned char *image = malloc(RIG_SIZE);
	struct load *l;
	unsigned acked = 0;

	memset(e->map, 0, RIG_SIZE);
	rig_start(e, FAKE_ALL_FEATURES);
	fault_track(e->fault, e->map);
	l = new_load(e, h, 12345);
	l->until_flush = true;
	for (unsigned round = 0; round < 200; round++) {
		/* The host may do things in any order, and fail. */
		fault_hold(e->fault, round % 3 == 0);
		if (round % 7 == 0)
			fault_fail(e->fault, DISK_WRITE, 3, 1, -EIO, 1024);
		run_load(l, 50);
		rig_release(e);
		run_load(l, 10);
		fault_power_cut(e->fault, round % 5 * 25, round, image);
		acked = check_history(h, image);
	}
	assert_int_equal(acked, BLOCKS);
	for (unsigned q = 0; q < BLK_QUEUES; q++)
		rig_settle(e, q);
	free(image);
	free(l);
	free(h);
}

static void a_driver_without_flush_needs_none(void **state)
{
	struct rig *e = *state;
	struct history *h = calloc(1, sizeof(*h));
	unsigned char *image = malloc(RIG_SIZE);
	struct load *l;

	memset(e->map, 0, RIG_SIZE);
	rig_start(e, FAKE_ALL_FEATURES & ~BLK_F_FLUSH);
	fault_track(e->fault, e->map);
	l = new_load(e, h, 54321);
	for (unsigned round = 0; round < 50; round++) {
		run_load(l, 50);
		fault_power_cut(e->fault, 0, round, image);
		for (unsigned b = 0; b < BLOCKS; b++)
			if (h->acked[b] && h->writes[h->acked[b]].zero)
				h->acked[b] = 0; /* only writes are stable at once */
		check_history(h, image);
	}
	for (unsigned q = 0; q < BLK_QUEUES; q++)
		rig_settle(e, q);
	free(image);
	free(l);
	free(h);
}

/* The child: a device under load, until it is killed. */
static void run_until_killed(const char *path, struct history *h, uint32_t seed)
{
	void *state;
	struct rig *e;
	struct load *l;

	rig_set_up(&state);
	e = state;
	snprintf(e->path, sizeof(e->path), "%s", path);
	e->cfg.lock = true;
	rig_start(e, FAKE_ALL_FEATURES);
	l = new_load(e, h, seed);
	for (;;)
		run_load(l, 100);
}

static void a_kill_loses_nothing_that_was_complete(void **state)
{
	unsigned char *image = malloc(RIG_SIZE);
	char path[] = "/tmp/kill.XXXXXX";
	int fd = mkstemp(path);
	size_t len = sizeof(struct history);
	struct rig *e = *state;

	assert_true(fd >= 0);
	for (unsigned round = 0; round < 8; round++) {
		struct history *h = mmap(NULL, len, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		struct disk_cfg cfg = { .path = path, .lock = true, .block_size = 512 };
		struct disk *disk;
		struct err err = { "" };
		pid_t pid;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(ftruncate(fd, RIG_SIZE), 0);
		pid = fork();
		if (pid == 0) {
			run_until_killed(path, h, round + 1);
			_exit(1);
		}
		while (__atomic_load_n(&h->n, __ATOMIC_SEQ_CST) < 200)
			pause_ms(1);
		pause_ms(1 + 3 * round);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		/* When the lock is free, the kernel has finished or dropped all. */
		if (disk_open(&cfg, &disk, &err) < 0)
			fail_msg("%s", err.msg);
		assert_int_equal(pread(fd, image, RIG_SIZE, 0), RIG_SIZE);
		disk_close(disk);
		assert_true(check_history(h, image) > 0);
		munmap(h, len);
	}
	(void)e;
	free(image);
	close(fd);
	unlink(path);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_error_fails_its_request_and_the_disk_goes_on),
		TEST(a_write_that_stops_half_way_is_an_error),
		TEST(more_requests_than_contexts_are_all_served),
		TEST(a_busy_queue_starves_no_other),
		TEST(a_reset_waits_for_what_is_in_flight),
		TEST(a_suspended_disk_has_nothing_in_flight),
		TEST(suspending_at_any_moment_loses_nothing),
		TEST(a_suspended_disk_can_be_resized),
		TEST(resets_at_any_moment_are_clean),
		TEST(the_end_of_the_thread_waits_for_what_is_in_flight),
		TEST(a_resize_waits_for_what_is_in_flight),
		TEST(acknowledged_flushes_survive_a_power_cut),
		TEST(a_driver_without_flush_needs_none),
		TEST(a_kill_loses_nothing_that_was_complete),
	};
	int failed;

	rig_kind = ENGINE_URING;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rig_kind = ENGINE_SYNC;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
