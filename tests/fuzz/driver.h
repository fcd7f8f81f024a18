/* What the fuzzers of virtio devices share: their input, and a driver for it. */
#pragma once

#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"

struct input {
	const uint8_t *p;
	size_t left;
};

/* The next @len bytes; zeroes after the end. */
static inline void take(struct input *in, void *buf, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(buf, 0, len);
	memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
}

static inline uint8_t take_byte(struct input *in)
{
	uint8_t b;

	take(in, &b, 1);
	return b;
}

static inline uint16_t take16(struct input *in)
{
	uint8_t b[2];

	take(in, b, 2);
	return le16_get(b);
}

/*
 * All features but @without, and @n queues of @size (0: the largest), of a device that
 * was reset. Without MSI-X: registers take most of a fake machine's time.
 */
static inline void go(struct fake_driver *d, uint64_t without, unsigned n,
		      uint16_t size)
{
	assert(fake_driver_negotiate(d, fake_driver_offered(d) & ~without));
	for (unsigned q = 0; q < n; q++)
		fake_driver_queue(d, q, size);
	fake_driver_ok(d);
}

/* The first @n descriptors of queue @q, as the input has them. */
static inline void take_descs(struct input *in, struct fake_driver *d, unsigned q,
			      unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct fake_desc desc;

		take(in, &desc, sizeof(desc));
		d->q[q].desc[i].addr = desc.addr;
		d->q[q].desc[i].len = desc.len;
		d->q[q].desc[i].flags = desc.flags;
		d->q[q].desc[i].next = desc.next;
	}
}

static inline bool broken(struct fake_driver *d)
{
	return fake_status(d) & FAKE_NEEDS_RESET;
}
