/*
 * The kernel's vhost-vsock and vhost-net for unit tests: it stands in for ioctl()
 * wherever the request is one of vhost's, keeps the rules of the real one, and records
 * what it was told. What it does with rings, the test does by hand: signal call[], read
 * kick[].
 */
#pragma once

#include <linux/vhost.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_VHOST_FEATURES 0x130000002ull /* VERSION_1, both of rings, SEQPACKET */

struct fake_vhost {
	uint64_t offered; /* features */
	unsigned long
		fail; /* the request that fails, 0: none; once, as all below ... */
	int fail_errno;
	unsigned fail_after; /* ... behind so many that do not */
	/* Called in the middle of a start. */
	void (*meanwhile)(void *arg);
	void *arg;

	bool owned, running;
	uint64_t features, cid;
	unsigned n_regions;
	struct vhost_memory_region regions[8];
	struct {
		unsigned num, base;
		struct vhost_vring_addr addr;
		int call, kick, err;
		int backend; /* of vhost-net */
	} q[2];
	unsigned n_calls; /* ioctls in all */
	unsigned n_starts, n_stops;
};

/* Of this test program; to be reset with fake_vhost_init() before each test. */
extern struct fake_vhost fake_vhost;
void fake_vhost_init(void);
