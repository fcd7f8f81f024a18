/*
 * A block device over an image in memory, with a fault layer between, on the test's
 * own thread or one of its own; and a driver for it. For tests of virtio/blk*.c.
 */
#pragma once

#include "tests/unit/fake_driver.h"
#include "tests/unit/fault_disk.h"
#include "virtio/blk_io.h"

#define RIG_BLK_ID 2
#define RIG_SECTORS 2048u
#define RIG_SIZE (RIG_SECTORS * 512)
#define RIG_DATA (256u << 10)

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

struct rig {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev; /* NULL until rig_start() */
	struct blk *blk; /* the same */
	struct fault *fault; /* below it */
	int image;
	unsigned char *map; /* of the image, which holds rig_pattern() at first */
	char path[32];
	struct virtio_blk_cfg cfg;
	gpa_t header, data, status;
	pthread_t thread;
	bool threaded;
	int release_fd; /* of rig_release() */
};

extern enum engine_kind rig_kind; /* that the tests are run with */

/* cmocka's: *state is the rig. */
int rig_set_up(void **state);
int rig_tear_down(void **state);

/* Make the device, if there is none, and drive it up to DRIVER_OK. */
void rig_start(struct rig *e, uint64_t features);
/* The same, with the device's loop on a thread of its own. */
void rig_start_threaded(struct rig *e, uint64_t features);
void rig_create(struct rig *e);

unsigned char rig_pattern(uint64_t off);
void *rig_data(struct rig *e);
/* A header, and a status byte that is UNTOUCHED. */
void rig_put_header(struct rig *e, uint32_t type, uint64_t sector);
uint8_t rig_status(struct rig *e);

/* One request in three segments, or two without data. */
uint8_t rig_request(struct rig *e, unsigned q, uint32_t type, uint64_t sector,
		    uint32_t len, uint32_t *ret_used);

/* The same steps alone: as fake_kick() and fake_wait_used(), whatever the thread. */
void rig_kick(struct rig *e, unsigned q);
uint32_t rig_wait_used(struct rig *e, unsigned q, uint16_t *ret_head);

/* Wait until queue @q has nothing in flight, or the device is broken. */
void rig_settle(struct rig *e, unsigned q);
bool rig_broken(struct rig *e);

/* Let the requests that fault_hold() holds go on, whatever thread the device has. */
void rig_release(struct rig *e);
unsigned rig_held(struct rig *e);
