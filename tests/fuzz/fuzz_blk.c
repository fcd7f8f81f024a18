/*
 * Requests of any shape against the block device, through real rings.
 *
 * Input: a byte of settings, then requests. A request is a byte (bits 0 and 1:
 * the queue, bit 2: raw, bits 4 to 6: descriptors less one), then
 *   - raw: that many descriptors as the ring has them, and a head;
 *   - otherwise: the 16 bytes of a header, and two bytes for each descriptor:
 *     length and, in the top bit, whether it is writable.
 * The image's requests are carried out by system calls, so all is over when the loop
 * is quiet. As long as there was no raw request, which may make the device overwrite
 * rings and headers, what comes back is held against what the specification wants.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/driver.h"
#include "disk/engine.h"
#include "virtio/blk.h"

#define QUEUES 4
#define MAX_DESCS 8
#define SECTORS 64u
#define SPAN (1u << 15) /* more than a descriptor's 15 bits of length */

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
#define MAX_RANGES 32
enum { OK = 0, IOERR = 1, UNSUPP = 2 };

static struct fake_host host;
static struct device *disks[2]; /* the second is read-only */
static struct fake_driver driver;
static int image;
static gpa_t buffers; /* MAX_DESCS * SPAN bytes */
static uint64_t first_free;

static void set_up(void)
{
	static char path[32], id[] = "fuzz";
	static struct virtio_blk_cfg cfg[2] = {
		{ .path = path,
		  .id = id,
		  .block_size = 512,
		  .sparse = true,
		  .executor = ENGINE_SYNC },
		{ .path = path,
		  .read_only = true,
		  .block_size = 512,
		  .executor = ENGINE_SYNC },
	};

	image = memfd_create("image", 0);
	assert(ftruncate(image, SECTORS * 512) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
	fake_host_init(&host, "blk0", 2 << 20);
	for (unsigned i = 0; i < 2; i++) {
		int r = virtio_blk_class.create(&cfg[i], &host.host, &disks[i], NULL);

		assert(r == 0);
		r = virtio_blk_class.prepare(disks[i], NULL);
		assert(r == 0);
		r = virtio_blk_class.thread_start(disks[i], NULL);
		assert(r == 0);
	}
	buffers = fake_alloc(&host, MAX_DESCS * SPAN, 1);
	first_free = host.next_alloc;
}

static void start(unsigned settings)
{
	host.next_alloc = first_free;
	/* Both: the other one's rings lie where the new ones will. */
	for (unsigned i = 0; i < 2; i++) {
		fake_driver_find(&driver, &host, 2, (settings & 1) ^ 1 ^ i);
		fake_driver_reset(&driver);
	}
	fake_run(&host);
	go(&driver, settings & 2 ? VIRTIO_F_EVENT_IDX : 0, QUEUES, 16);
}

static void raw_request(struct input *in, unsigned q, unsigned n)
{
	take_descs(in, &driver, q, n);
	fake_avail(&driver, q, take_byte(in));
	fake_kick(&driver, q);
}

/*
 * The status that is right for @len bytes of ranges, which the request has in its
 * readable segments behind the header.
 */
static uint8_t expected_ranges(uint32_t type, const uint8_t *p, uint32_t len)
{
	bool fits = true;

	if (len == 0 || len % 16 || len > MAX_RANGES * 16)
		return IOERR;
	for (; len > 0; p += 16, len -= 16) {
		uint64_t sector = le64_get(p);

		if (le32_get(p + 12) & ~(type == DISCARD ? 0u : 1u))
			return UNSUPP;
		if (sector > SECTORS || le32_get(p + 8) > SECTORS - sector)
			fits = false;
	}
	return fits ? OK : IOERR;
}

/*
 * The status that is right for a request with this header and these lengths; @ranges:
 * the readable bytes behind the header, as many as matter.
 */
static uint8_t expected(const uint8_t *header, const uint8_t *ranges, uint32_t out,
			uint32_t in, bool ro)
{
	uint64_t sector = le64_get(header + 8);
	uint32_t len;

	if (out < 16)
		return IOERR;
	switch (le32_get(header)) {
	case FLUSH:
	case GET_ID:
		return OK;
	case DISCARD:
	case WRITE_ZEROES:
		return ro ? UNSUPP
			  : expected_ranges(le32_get(header), ranges, out - 16);
	case IN:
		len = in - 1;
		break;
	case OUT:
		if (ro)
			return IOERR;
		len = out - 16;
		break;
	default:
		return UNSUPP;
	}
	return len % 512 == 0 && sector <= SECTORS && len / 512 <= SECTORS - sector
		       ? OK
		       : IOERR;
}

static void request(struct input *in, unsigned q, unsigned n, bool ro, bool check)
{
	struct fake_vq *vq = &driver.q[q];
	const volatile struct fake_used_elem *used;
	uint8_t header[16], lens[2 * MAX_DESCS], ranges[MAX_RANGES * 16], *last = NULL;
	uint32_t out_len = 0, in_len = 0, put = 0, kept = 0;
	bool ordered = true;
	uint8_t want;

	take(in, header, sizeof(header));
	take(in, lens, 2 * n);
	for (unsigned i = 0; i < n; i++) {
		gpa_t gpa = GPA(buffers.v + i * SPAN);
		uint8_t *p = fake_ptr(&host, gpa, SPAN);
		uint16_t len = le16_get(lens + 2 * i) & 0x7fff;
		bool writable = lens[2 * i + 1] & 0x80;

		if (writable && len) {
			in_len += len;
			last = p + len - 1;
			*last = 0xee;
		}
		if (!writable && len) {
			uint32_t part = len < 16 - put ? len : 16 - put;

			ordered = ordered && !in_len;
			out_len += len;
			memcpy(p, header + put, part);
			put += part;
			/* What the device will find behind the header. */
			p += part;
			part = len - part;
			if (part > sizeof(ranges) - kept)
				part = sizeof(ranges) - kept;
			memcpy(ranges + kept, p, part);
			kept += part;
		}
		vq->desc[i].addr = gpa.v;
		vq->desc[i].len = len;
		vq->desc[i].flags = (uint16_t)((writable ? FAKE_F_WRITE : 0) |
					       (i + 1 < n ? FAKE_F_NEXT : 0));
		vq->desc[i].next = (uint16_t)(i + 1);
	}
	fake_avail(&driver, q, 0);
	fake_kick(&driver, q);
	if (!check)
		return;

	if (!ordered || !in_len) {
		assert(broken(&driver));
		return;
	}
	assert(!broken(&driver));
	assert(vq->used[1] == vq->avail_idx);
	used = (const volatile struct fake_used_elem *)&vq->used[2];
	used += (uint16_t)(vq->avail_idx - 1) % vq->size;
	want = expected(header, ranges, out_len, in_len, ro);
	assert(*last == want);
	assert(used->id == 0);
	assert(used->len >= 1 && used->len <= in_len);
	if (want == OK && le32_get(header) == IN)
		assert(used->len == in_len);
	else if (want != OK || le32_get(header) != GET_ID)
		assert(used->len == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t settings = take_byte(&in);
	bool check = true;
	struct stat st;

	if (!disks[0])
		set_up();
	start(settings);
	while (in.left > 0 && !broken(&driver)) {
		uint8_t op = take_byte(&in);
		unsigned q = op & 3, n = (op >> 4 & 7) + 1;

		if (op & 4) {
			check = false;
			raw_request(&in, q, n);
		} else {
			request(&in, q, n, settings & 1, check);
		}
	}
	assert(fstat(image, &st) == 0 && st.st_size == SECTORS * 512);
	return 0;
}
