/* A block device for tests; see blk_rig.h. */
#undef NDEBUG
#include "tests/unit/blk_rig.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/cleanup.h"

enum engine_kind rig_kind;

unsigned char rig_pattern(uint64_t off)
{
	return (unsigned char)(off / 512 * 7 + off);
}

int rig_set_up(void **state)
{
	struct rig *e = calloc(1, sizeof(*e));

	e->image = memfd_create("image", 0);
	e->release_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(ftruncate(e->image, RIG_SIZE) == 0);
	e->map = mmap(NULL, RIG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, e->image, 0);
	assert(e->map != MAP_FAILED);
	for (uint64_t i = 0; i < RIG_SIZE; i++)
		e->map[i] = rig_pattern(i);
	snprintf(e->path, sizeof(e->path), "/proc/self/fd/%d", e->image);
	e->cfg = (struct virtio_blk_cfg){
		.path = e->path,
		.block_size = 512,
		.sparse = true,
		.executor = (int)rig_kind,
	};
	*state = e;
	return 0;
}

int rig_tear_down(void **state)
{
	struct rig *e = *state;

	if (e->threaded) {
		loop_stop(e->host.host.loop);
		pthread_join(e->thread, NULL);
	} else if (e->dev) {
		virtio_blk_class.thread_stop(e->dev);
	}
	if (e->dev) {
		virtio_blk_class.free(e->dev);
		fake_host_free(&e->host);
	}
	munmap(e->map, RIG_SIZE);
	close(e->image);
	close(e->release_fd);
	free(e);
	return 0;
}

/* --- the device ------------------------------------------------------------ */

/* Everything but the device's thread. */
static void make(struct rig *e)
{
	struct disk_cfg cfg = {
		.path = e->path,
		.read_only = e->cfg.read_only,
		.sparse = e->cfg.sparse,
		.block_size = (uint32_t)e->cfg.block_size,
	};
	struct disk *disk;
	struct err err = { "" };

	fake_host_init(&e->host, "blk0", 8 << 20);
	if (disk_open(&cfg, &disk, &err) < 0)
		fail_msg("%s", err.msg);
	e->fault = fault_new(disk);
	if (virtio_blk_new(&e->cfg, fault_disk(e->fault), &e->host.host, &e->dev,
			   &err) < 0)
		fail_msg("%s", err.msg);
	e->blk = (struct blk *)e->dev;
	if (virtio_blk_class.prepare(e->dev, &err) < 0) {
		print_message("skip: %s\n", err.msg);
		virtio_blk_class.free(e->dev);
		fake_host_free(&e->host);
		e->dev = NULL;
		skip();
	}
	e->header = fake_alloc(&e->host, 16, 16);
	e->status = fake_alloc(&e->host, 1, 1);
	e->data = fake_alloc(&e->host, RIG_DATA, 4096);
}

void rig_create(struct rig *e)
{
	struct err err = { "" };

	make(e);
	if (virtio_blk_class.thread_start(e->dev, &err) < 0)
		fail_msg("%s", err.msg);
}

void rig_start(struct rig *e, uint64_t features)
{
	if (!e->dev)
		rig_create(e);
	fake_driver_start(&e->d, &e->host, RIG_BLK_ID, features);
}

static void on_release(void *arg, uint32_t events)
{
	struct rig *e = arg;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(e->release_fd, &n);
	pthread_mutex_lock(&e->blk->v.io_lock);
	fault_release(e->fault);
	pthread_mutex_unlock(&e->blk->v.io_lock);
	blk_complete(e->blk, 0);
}

static void *device_thread(void *arg)
{
	struct rig *e = arg;
	struct err err;
	int r;

	r = virtio_blk_class.thread_start(e->dev, &err);
	assert(r == 0);
	r = loop_run(e->host.host.loop, &err);
	assert(r == 0);
	virtio_blk_class.thread_stop(e->dev);
	return NULL;
}

void rig_start_threaded(struct rig *e, uint64_t features)
{
	if (!e->dev) {
		make(e);
		assert(loop_add(e->host.host.loop, e->release_fd, EPOLLIN, on_release,
				e, NULL, NULL) == 0);
		assert(pthread_create(&e->thread, NULL, device_thread, e) == 0);
		e->threaded = true;
	}
	fake_driver_start(&e->d, &e->host, RIG_BLK_ID, features);
}

void rig_release(struct rig *e)
{
	if (e->threaded)
		(void)eventfd_write(e->release_fd, 1);
	else
		on_release(e, 0);
}

unsigned rig_held(struct rig *e)
{
	AUTO_LOCK(&e->blk->v.io_lock);

	return fault_held(e->fault);
}

/* --- requests -------------------------------------------------------------- */

void *rig_data(struct rig *e)
{
	return fake_ptr(&e->host, e->data, RIG_DATA);
}

void rig_put_header(struct rig *e, uint32_t type, uint64_t sector)
{
	unsigned char *h = fake_ptr(&e->host, e->header, 16);

	le32_put(h, type);
	le32_put(h + 4, 0x5a5a5a5a);
	le64_put(h + 8, sector);
	*(unsigned char *)fake_ptr(&e->host, e->status, 1) = UNTOUCHED;
}

uint8_t rig_status(struct rig *e)
{
	return *(unsigned char *)fake_ptr(&e->host, e->status, 1);
}

static bool from_driver(uint32_t type)
{
	return type == OUT || type == DISCARD || type == WRITE_ZEROES;
}

uint8_t rig_request(struct rig *e, unsigned q, uint32_t type, uint64_t sector,
		    uint32_t len, uint32_t *ret_used)
{
	struct fake_seg segs[3] = { { e->header, 16, false } };
	unsigned n = 1;
	uint32_t used;

	rig_put_header(e, type, sector);
	if (len)
		segs[n++] = (struct fake_seg){ e->data, len, !from_driver(type) };
	segs[n++] = (struct fake_seg){ e->status, 1, true };
	fake_submit(&e->d, q, segs, n);
	rig_kick(e, q);
	used = rig_wait_used(e, q, NULL);
	if (ret_used)
		*ret_used = used;
	return rig_status(e);
}

void rig_kick(struct rig *e, unsigned q)
{
	fake_out(&e->host, DEV_MMIO, e->d.kick_addr[q], q, 2);
	if (!e->threaded)
		fake_run(&e->host);
}

/* Give the device time, and its loop a turn where nobody else does. */
static void breathe(struct rig *e, unsigned i)
{
	const struct timespec pause = { .tv_nsec = 100000 };

	assert(i < 100000);
	if (i > 0)
		nanosleep(&pause, NULL);
	if (!e->threaded)
		fake_run(&e->host);
}

uint32_t rig_wait_used(struct rig *e, unsigned q, uint16_t *ret_head)
{
	uint32_t len = 0;

	for (unsigned i = 0; !fake_used(&e->d, q, ret_head, &len); i++)
		breathe(e, i);
	return len;
}

void rig_settle(struct rig *e, unsigned q)
{
	const struct fake_vq *vq = &e->d.q[q];

	for (unsigned i = 0; !rig_broken(e); i++) {
		if (__atomic_load_n(&vq->used[1], __ATOMIC_ACQUIRE) == vq->avail_idx)
			return;
		breathe(e, i);
	}
}

bool rig_broken(struct rig *e)
{
	return fake_status(&e->d) & FAKE_NEEDS_RESET;
}
