/*
 * virtio-blk (virtio 1.2, 5.2) end to end. Words: queues=N, irq=poll|intx|msix,
 * indirect=0|1, eventidx=0|1 (features to use; 1: they must be offered), ro=0|1,
 * disk=N, high=1 (a buffer above 4 GiB, which there must be).
 *
 * Queue q fills sectors 8q to 8q+7 with lines "qQQ sSSSSSSSSSS" of 16 bytes, which the
 * host's test then finds in the image; with ro=1 it finds what it put there.
 */
#include <linux/virtio_blk.h>

#include "apic.h"
#include "bare.h"
#include "virtio.h"

enum { SECTOR = 512, LINE = 16, PER_QUEUE = 8, TYPE_BLOCK = 2, PIECES = 3 };

/* How a queue's 8 sectors are cut into requests that are in flight together. */
static const struct {
	unsigned first, count;
} pieces[PIECES] = { { 0, 1 }, { 1, 2 }, { 3, 5 } };

struct request {
	struct virtio_blk_outhdr header;
	uint8_t status;
};

static struct virtio dev;
static struct request requests[VQ_MAX][PIECES];
static uint8_t written[VQ_MAX][PER_QUEUE * SECTOR];
static uint8_t seen[VQ_MAX][PER_QUEUE * SECTOR];
static unsigned queues;
static uint64_t capacity;

static bool add(unsigned q, struct request *r, uint32_t type, uint64_t sector,
		void *data, uint32_t len)
{
	/* Data in two pieces, of which neither is a whole number of sectors. */
	uint32_t cut = len > 100 ? 100 : len;
	bool in = type != VIRTIO_BLK_T_OUT;
	struct segment s[4] = { { &r->header, sizeof(r->header), false } };
	unsigned n = 1;

	r->header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	r->status = 0xee;
	if (len)
		s[n++] = (struct segment){ data, cut, in };
	if (len > cut)
		s[n++] = (struct segment){ (uint8_t *)data + cut, len - cut, in };
	s[n++] = (struct segment){ &r->status, 1, true };
	return vq_add(&dev.vq[q], s, n);
}

/* One request, waited for; its status byte, or 0xee when it never came back. */
static uint8_t request(unsigned q, uint32_t type, uint64_t sector, void *data,
		       uint32_t len)
{
	struct request *r = &requests[q][0];

	if (!add(q, r, type, sector, data, len))
		return 0xee;
	vq_kick(&dev.vq[q]);
	vq_wait(&dev.vq[q]);
	cpu_barrier();
	return *(volatile uint8_t *)&r->status;
}

static void fill(unsigned q)
{
	for (unsigned i = 0; i < PER_QUEUE; i++) {
		unsigned sector = q * PER_QUEUE + i;
		char line[LINE] = "qQQ s0000000000";
		uint64_t words[2];

		line[1] = (char)('0' + q / 10);
		line[2] = (char)('0' + q % 10);
		line[LINE - 1] = '\n';
		for (unsigned at = LINE - 2; sector; at--, sector /= 10)
			line[at] = (char)('0' + sector % 10);
		memcpy(words, line, LINE);
		for (unsigned at = 0; at < SECTOR; at += LINE)
			memcpy(&written[q][i * SECTOR + at], words, LINE);
	}
}

/* All pieces of all queues at once. */
static bool transfer(uint32_t type, uint8_t (*data)[PER_QUEUE * SECTOR],
		     const char *what)
{
	for (unsigned q = 0; q < queues; q++) {
		for (unsigned i = 0; i < PIECES; i++)
			if (!add(q, &requests[q][i], type,
				 q * PER_QUEUE + pieces[i].first,
				 &data[q][pieces[i].first * SECTOR],
				 pieces[i].count * SECTOR)) {
				test_fail(what, "queue %u is full", q);
				return false;
			}
		vq_kick(&dev.vq[q]);
	}
	for (unsigned q = 0; q < queues; q++)
		for (unsigned i = 0; i < PIECES; i++)
			if (vq_wait(&dev.vq[q]) < 0) {
				test_fail(what, "queue %u: completion %u is missing", q,
					  i);
				return false;
			}
	cpu_barrier();
	for (unsigned q = 0; q < queues; q++)
		for (unsigned i = 0; i < PIECES; i++)
			if (requests[q][i].status != VIRTIO_BLK_S_OK) {
				test_fail(what, "queue %u: status %u", q,
					  requests[q][i].status);
				return false;
			}
	return true;
}

static uint64_t wanted_features(void)
{
	uint64_t wanted = 1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_RO |
			  1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_BLK_SIZE;

	if (arg_number("indirect", 0))
		wanted |= 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	if (arg_number("eventidx", 0))
		wanted |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	return wanted;
}

static bool setup(void)
{
	enum virtio_irq irq = arg_is("irq", "msix")   ? VIRTIO_MSIX
			      : arg_is("irq", "intx") ? VIRTIO_INTX
						      : VIRTIO_POLL;
	const char *why;

	if (!virtio_negotiate(&dev, wanted_features())) {
		test_fail("set up", "FEATURES_OK does not stay");
		return false;
	}
	if (!virtio_use_irq(&dev, irq)) {
		test_fail("set up", "MSI-X is refused");
		return false;
	}
	for (unsigned q = 0; q < queues; q++)
		if (!virtio_queue(&dev, q, &why)) {
			test_fail("set up", "queue %u: %s", q, why);
			return false;
		}
	virtio_ready(&dev);
	return true;
}

static bool has(unsigned feature)
{
	return dev.features >> feature & 1;
}

static void facts(void)
{
	char id[21] = "";
	uint8_t status;

	print("capacity %lu\n", capacity);
	if (has(VIRTIO_BLK_F_MQ))
		print("queues %u\n",
		      mmio_read16(dev.config +
				  offsetof(struct virtio_blk_config, num_queues)));
	if (has(VIRTIO_BLK_F_BLK_SIZE))
		print("block size %u\n",
		      mmio_read32(dev.config +
				  offsetof(struct virtio_blk_config, blk_size)));
	status = request(0, VIRTIO_BLK_T_GET_ID, 0, id, VIRTIO_BLK_ID_BYTES);
	if (test_check(status == VIRTIO_BLK_S_OK, "id", "status %u", status))
		print("id %s\n", id);
}

static void refused(const char *what, uint32_t type, uint64_t sector, uint32_t len,
		    uint8_t expected)
{
	uint8_t status = request(0, type, sector, seen[0], len);

	test_check(status == expected, what, "status %u, not %u", status, expected);
}

static void errors(void)
{
	refused("read at the end", VIRTIO_BLK_T_IN, capacity, SECTOR,
		VIRTIO_BLK_S_IOERR);
	refused("read across the end", VIRTIO_BLK_T_IN, capacity - 1, 2 * SECTOR,
		VIRTIO_BLK_S_IOERR);
	refused("write at the end", VIRTIO_BLK_T_OUT, capacity, SECTOR,
		VIRTIO_BLK_S_IOERR);
	refused("sector that overflows", VIRTIO_BLK_T_IN, 1ull << 55, SECTOR,
		VIRTIO_BLK_S_IOERR);
	refused("largest sector", VIRTIO_BLK_T_OUT, ~0ull, SECTOR, VIRTIO_BLK_S_IOERR);
	refused("unknown type", 99, 0, SECTOR, VIRTIO_BLK_S_UNSUPP);
}

static void read_write(void)
{
	for (unsigned q = 0; q < queues; q++)
		fill(q);
	if (!transfer(VIRTIO_BLK_T_OUT, written, "write") ||
	    !transfer(VIRTIO_BLK_T_IN, seen, "read"))
		return;
	for (unsigned q = 0; q < queues; q++)
		if (memcmp(written[q], seen[q], sizeof(seen[q]))) {
			test_fail("read back", "queue %u read other bytes", q);
			return;
		}
	test_pass("write and read back");
}

static void flush(void)
{
	uint8_t status = request(queues - 1, VIRTIO_BLK_T_FLUSH, 0, NULL, 0);

	test_check(has(VIRTIO_BLK_F_FLUSH), "flush offered", "it is not");
	test_check(status == VIRTIO_BLK_S_OK, "flush", "status %u", status);
}

static void read_only(void)
{
	uint8_t status = request(0, VIRTIO_BLK_T_IN, 0, seen[0], SECTOR);

	test_check(has(VIRTIO_BLK_F_RO), "read-only offered", "it is not");
	seen[0][LINE - 1] = '\0';
	if (test_check(status == VIRTIO_BLK_S_OK, "read", "status %u", status))
		print("first line %s\n", (const char *)seen[0]);
	fill(0);
	status = request(0, VIRTIO_BLK_T_OUT, 0, written[0], SECTOR);
	test_check(status == VIRTIO_BLK_S_IOERR, "write refused", "status %u", status);
}

/* An interrupt that is masked is kept, and comes when it is let through. */
static void masked(void)
{
	struct vq *vq = &dev.vq[0];
	struct wait w = wait_start();
	unsigned before, entry = 1;
	bool pending, came;

	virtio_mask(&dev, entry, true);
	add(0, &requests[0][0], VIRTIO_BLK_T_IN, 0, seen[0], SECTOR);
	before = vq->irqs;
	vq_kick(vq);
	while (vq->used->idx == vq->last_used && wait_more(&w))
		;
	w = wait_start();
	while (!virtio_pending(&dev, entry) && wait_more(&w))
		;
	pending = virtio_pending(&dev, entry);
	test_check(vq->irqs == before, "masked interrupt", "it came");
	virtio_mask(&dev, entry, false);
	came = apic_sleep_until_changed(&vq->irqs, before);
	test_check(pending, "masked interrupt is pending", "it is not");
	if (test_check(came, "and comes in the end", "it does not"))
		vq_wait(vq);
}

static void above_4_gib(void)
{
	const uint64_t high = (1ull << 32) + 0x5000;
	uint8_t *window = mem_window(high), status;

	memset(window, 0, SECTOR);
	status = request(0, VIRTIO_BLK_T_IN, 0, (void *)high, SECTOR);
	test_check(status == VIRTIO_BLK_S_OK && !memcmp(window, written[0], SECTOR),
		   "buffer above 4 GiB", "status %u, or other bytes", status);
}

/* Reads are under way when the device is reset; it must come back as good as new. */
static void reset_in_flight(void)
{
	for (unsigned q = 0; q < queues; q++) {
		for (unsigned i = 0; i < PIECES; i++)
			add(q, &requests[q][i], VIRTIO_BLK_T_IN, 0, seen[q], SECTOR);
		vq_kick(&dev.vq[q]);
	}
	if (!test_check(virtio_reset(&dev), "reset", "it does not end") || !setup())
		return;
	memset(seen[0], 0, SECTOR);
	if (request(0, VIRTIO_BLK_T_IN, 0, seen[0], SECTOR) != VIRTIO_BLK_S_OK)
		test_fail("work after reset", "the read fails");
	else
		test_check(!memcmp(seen[0], written[0], SECTOR), "work after reset",
			   "the read brings other bytes");
}

void guest_main(void)
{
	const char *why;
	uint64_t missing;

	apic_init();
	queues = (unsigned)arg_number("queues", 1);
	if (queues == 0 || queues > VQ_MAX)
		queues = VQ_MAX;
	if (!virtio_open(&dev, TYPE_BLOCK, (unsigned)arg_number("disk", 0), &why)) {
		test_fail("open", "%s", why);
		return;
	}
	if (!setup())
		return;
	missing = wanted_features() & ~dev.offered &
		  (1ull << VIRTIO_RING_F_INDIRECT_DESC |
		   1ull << VIRTIO_RING_F_EVENT_IDX);
	test_check(!missing, "features offered", "%lx is missing", missing);
	capacity = mmio_read32(dev.config) | (uint64_t)mmio_read32(dev.config + 4)
						     << 32;
	facts();
	if (arg_number("ro", 0)) {
		read_only();
		return;
	}
	read_write();
	flush();
	errors();
	if (dev.irq != VIRTIO_POLL) {
		test_check(dev.vq[0].irqs > 0, "interrupts", "none came");
		masked();
	}
	if (arg_number("high", 0))
		above_4_gib();
	reset_in_flight();
}
