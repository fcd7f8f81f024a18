/* Attacks by what lies in the rings (virtio 1.2, 2.7) and in a request. */
#include <linux/virtio_blk.h>

#include "acpi.h"
#include "apic.h"
#include "bare.h"
#include "hostile.h"
#include "smp.h"

#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)

enum {
	PAGE = 4096,
	TABLE = 1024,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE
};

static struct virtio_blk_outhdr header;
static uint8_t status, page[PAGE] __attribute__((aligned(PAGE)));
static struct vring_desc table[TABLE];

static void desc(unsigned i, const volatile void *addr, uint32_t len, uint16_t flags,
		 uint16_t next)
{
	vq->rings->desc[i] = (struct vring_desc){ (uintptr_t)addr, len, flags, next };
}

static void offer(uint16_t head)
{
	vq->avail->ring[vq->next_avail++ % vq->size] = head;
	cpu_barrier();
	vq->avail->idx = vq->next_avail;
}

static void offer_and_wait(uint16_t head)
{
	offer(head);
	notify(vq->index);
	settle();
}

/* Descriptor 0 begins a request of type `type`; the chain goes on with descriptor 1. */
static uint16_t begin(uint32_t type)
{
	header = (struct virtio_blk_outhdr){ .type = type };
	if (device_type != TYPE_BLOCK)
		return 1;
	desc(0, &header, sizeof(header), NEXT, 1);
	return 0;
}

/* The request's one piece of data is evil; in both directions. */
static void evil(uint64_t features, uint64_t addr, uint32_t len, uint16_t flags)
{
	for (int out = 0; out < 2; out++) {
		uint16_t head;

		fresh(features);
		head = begin(out ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN);
		desc(1, (void *)addr, len,
		     (uint16_t)(flags | (out ? 0 : WRITE) |
				(device_type == TYPE_BLOCK ? NEXT : 0)),
		     2);
		desc(2, &status, 1, WRITE, 0);
		offer_and_wait(head);
	}
}

static void loop(void)
{
	uint16_t head = begin(VIRTIO_BLK_T_IN);

	desc(1, page, 16, WRITE | NEXT, 2);
	desc(2, page, 16, WRITE | NEXT, 1);
	offer_and_wait(head);
	fresh(0);
	desc(0, page, 16, NEXT, 0);
	offer_and_wait(0);
	fresh(0);
	desc(0, page, 0, NEXT, 0);
	offer_and_wait(0);
}

static void next_outside(void)
{
	static const uint16_t next[] = { 0xffff, 0x8000, VQ_SIZE, VQ_SIZE + 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(next); i++) {
		uint16_t head;

		fresh(0);
		head = begin(VIRTIO_BLK_T_IN);
		desc(1, page, 16, WRITE | NEXT, next[i]);
		offer_and_wait(head);
	}
}

static void head_outside(void)
{
	static const uint16_t heads[] = { 0xffff, 0x8000, VQ_SIZE, 256 };

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++) {
		fresh(0);
		offer_and_wait(heads[i]);
	}
}

static void avail_jump(void)
{
	static const uint16_t jumps[] = { VQ_SIZE + 1, 0x8000, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
		fresh(0);
		desc(0, page, 16, WRITE, 0);
		vq->avail->idx = jumps[i];
		notify(vq->index);
		settle();
		/* … and back again. */
		vq->avail->idx = 0;
		notify(vq->index);
		settle();
	}
}

static void zero_length(void)
{
	evil(0, (uintptr_t)page, 0, 0);
	evil(0, 0, 0, 0);
	evil(0, ~0ull, 0, 0);
	fresh(0);
	desc(0, page, 0, 0, 0);
	offer_and_wait(0);
	fresh(0);
	desc(0, page, 0, WRITE, 0);
	offer_and_wait(0);
}

static void wrap(void)
{
	evil(0, ~0xfffull, 0x2000, 0);
	evil(0, ~0ull, 1, 0);
	evil(0, ~0ull, 0xffffffff, 0);
	evil(0, 1ull << 63, 512, 0);
}

static void hole(void)
{
	uint64_t top = 0, high = 0;

	for (unsigned i = 0; i < boot.ranges; i++) {
		uint64_t end = boot.range[i].start + boot.range[i].size;

		if (boot.range[i].type == BOOT_RAM && end > high)
			high = end;
		if (boot.range[i].type == BOOT_RAM && end > top && end <= 0xd0000000)
			top = end;
	}
	evil(0, top - 8, PAGE, 0);
	evil(0, top, 512, 0);
	evil(0, high - 8, 512, 0);
	evil(0, 0xd0000000, 512, 0);
	evil(0, dev.common, 512, 0);
	evil(0, acpi_ecam(), 512, 0);
	evil(0, acpi_ioapic(), 512, 0);
	evil(0, 0xfee00000, 512, 0);
	evil(0, 0xfffffe00, 1024, 0);
	evil(0, 1ull << 40, 512, 0);
	evil(0, 1ull << 52, 512, 0);
	evil(0, 0xa0000, 512, 0);
}

static void own_rings(void)
{
	evil(0, (uintptr_t)vq->rings->desc, 512, 0);
	evil(0, (uintptr_t)vq->avail, 512, 0);
	evil(0, (uintptr_t)vq->used, 512, 0);
	evil(0, (uintptr_t)&header, sizeof(header), 0);
}

static void huge(void)
{
	evil(0, (uintptr_t)page, 0xffffffff, 0);
	evil(0, (uintptr_t)page, 0x80000000, 0);
	fresh(0);
	begin(VIRTIO_BLK_T_IN);
	for (unsigned i = 1; i < vq->size; i++)
		desc(i, page, 0x7fffffff,
		     (uint16_t)(WRITE | (i + 1u < vq->size ? NEXT : 0)),
		     (uint16_t)(i + 1));
	offer_and_wait(0);
}

/* Descriptor 0 names a table of n entries, each `len` long, of memory that is not used.
 */
static void offer_table(unsigned n, uint32_t len, uint16_t flags)
{
	for (unsigned i = 0; i < n; i++)
		table[i] = (struct vring_desc){
			.addr = len > PAGE ? 0x1800000 : (uintptr_t)page,
			.len = len,
			.flags = (uint16_t)(WRITE | (i + 1 < n ? NEXT : 0)),
			.next = (uint16_t)(i + 1),
		};
	if (device_type == TYPE_BLOCK) {
		header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
		table[0].addr = (uintptr_t)&header;
		table[0].len = sizeof(header);
		table[0].flags &= (uint16_t)~WRITE;
	}
	desc(0, table, (uint32_t)(n * sizeof(table[0])), flags, 0);
	offer_and_wait(0);
}

/* 255 pieces of 17 MiB add up to more than 32 bits can say; all of them are in RAM. */
static void sum(void)
{
	if (device_type == TYPE_CONSOLE)
		return;
	fresh(INDIRECT);
	offer_table(256, 17 << 20, VRING_DESC_F_INDIRECT);
	fresh(INDIRECT);
	offer_table(TABLE, 4 << 20, VRING_DESC_F_INDIRECT);
}

static void indirect(void)
{
	static const uint32_t lengths[] = { 0,		1,	    15,	       17,
					    0xfffffff0, 0x10000010, 16 * 65536 };

	/* Not agreed on. */
	offer_table(2, 16, VRING_DESC_F_INDIRECT);
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		fresh(INDIRECT);
		desc(0, table, lengths[i], VRING_DESC_F_INDIRECT, 0);
		offer_and_wait(0);
	}
	fresh(INDIRECT);
	offer_table(3, 16, VRING_DESC_F_INDIRECT | NEXT);
	fresh(INDIRECT);
	offer_table(3, 16, VRING_DESC_F_INDIRECT | WRITE);
	/* Longer than the queue, and longer than any queue. */
	fresh(INDIRECT);
	offer_table(VQ_SIZE + 4, 16, VRING_DESC_F_INDIRECT);
	fresh(INDIRECT);
	offer_table(TABLE, 16, VRING_DESC_F_INDIRECT);
}

static void indirect_where(void)
{
	static const uint64_t where[] = { 0xd0000000, 0xfee00000, ~0xfull, 1ull << 50,
					  0xfffffff8 };

	for (unsigned i = 0; i < ARRAY_SIZE(where); i++) {
		fresh(INDIRECT);
		desc(0, (void *)where[i], 64, VRING_DESC_F_INDIRECT, 0);
		offer_and_wait(0);
	}
	fresh(INDIRECT);
	desc(0, (uint8_t *)table + 1, 64, VRING_DESC_F_INDIRECT, 0);
	offer_and_wait(0);
	/* The queue's own descriptors as a table. */
	fresh(INDIRECT);
	desc(0, vq->rings->desc, 64, VRING_DESC_F_INDIRECT, 0);
	offer_and_wait(0);
}

static void indirect_nested(void)
{
	fresh(INDIRECT);
	table[0] = (struct vring_desc){ (uintptr_t)&table[4], 32, VRING_DESC_F_INDIRECT,
					0 };
	table[4] = (struct vring_desc){ (uintptr_t)table, 32, VRING_DESC_F_INDIRECT,
					0 };
	desc(0, table, 16, VRING_DESC_F_INDIRECT, 0);
	offer_and_wait(0);
	/* A loop inside, and a link out of the table. */
	fresh(INDIRECT);
	table[0] = (struct vring_desc){ (uintptr_t)page, 16, NEXT, 1 };
	table[1] = (struct vring_desc){ (uintptr_t)page, 16, NEXT | WRITE, 0 };
	desc(0, table, 32, VRING_DESC_F_INDIRECT, 0);
	offer_and_wait(0);
	fresh(INDIRECT);
	table[1].next = 2;
	desc(0, table, 32, VRING_DESC_F_INDIRECT, 0);
	offer_and_wait(0);
	fresh(INDIRECT);
	table[1].next = 0xffff;
	desc(0, table, 32, VRING_DESC_F_INDIRECT, 0);
	offer_and_wait(0);
}

static void direction(void)
{
	/* All writable, all readable, readable behind writable, unknown flags. */
	static const uint16_t flags[][3] = {
		{ WRITE, WRITE, WRITE },
		{ 0, 0, 0 },
		{ WRITE, 0, WRITE },
		{ 0, WRITE, 0 },
		{ 0, 0xfff8 | WRITE, 0xfff8 | WRITE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		fresh(0);
		begin(VIRTIO_BLK_T_IN);
		desc(0, &header, sizeof(header), (uint16_t)(flags[i][0] | NEXT), 1);
		desc(1, page, 512, (uint16_t)(flags[i][1] | NEXT), 2);
		desc(2, &status, 1, (uint16_t)(flags[i][2] & ~NEXT), 0);
		offer_and_wait(0);
	}
}

static void same_head_twice(void)
{
	uint16_t head = begin(VIRTIO_BLK_T_IN);

	desc(1, page, 512, (uint16_t)(WRITE | (device_type == TYPE_BLOCK ? NEXT : 0)),
	     2);
	desc(2, &status, 1, WRITE, 0);
	for (unsigned i = 0; i < vq->size; i++)
		offer(head);
	notify(vq->index);
	settle();
	/* Edited while the device may be at it. */
	for (unsigned i = 0; i < 8; i++) {
		offer(head);
		notify(vq->index);
		desc(1, (void *)(uintptr_t)0xd0000000, 0xffffffff, WRITE | NEXT,
		     0xffff);
		desc(1, page, 512, WRITE | NEXT, 2);
	}
	settle();
}

static void used_ring(void)
{
	for (unsigned i = 0; i < 8; i++) {
		vq->used->idx = (uint16_t)(i * 0x1fff);
		vq->used->flags = 0xffff;
		desc(0, page, 16, WRITE, 0);
		offer_and_wait(0);
	}
}

static void event_words(void)
{
	static const uint16_t words[] = { 0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
		fresh(EVENT_IDX);
		vq->avail->flags = 0xffff;
		vq->avail->ring[vq->size] = words[i];
		vq->used->ring[vq->size].id = words[i];
		begin(VIRTIO_BLK_T_IN);
		desc(1, page, 512, WRITE | NEXT, 2);
		desc(2, &status, 1, WRITE, 0);
		offer_and_wait(device_type == TYPE_BLOCK ? 0 : 1);
	}
}

/* A request of this type with one piece of data and a status of these lengths. */
static void block_request(uint32_t type, uint64_t sector, uint32_t header_len,
			  uint32_t len, uint32_t status_len)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;

	fresh(0);
	header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	desc(0, &header, header_len, NEXT, 1);
	desc(1, page, len, (uint16_t)((in ? WRITE : 0) | NEXT), 2);
	desc(2, &status, status_len, WRITE, 0);
	offer_and_wait(0);
}

static void block_lengths(void)
{
	static const uint32_t lengths[] = { 0, 1, 8, 15, 17, 511, 513, 4095 };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		block_request(VIRTIO_BLK_T_IN, 0, sizeof(header), lengths[i], 1);
		block_request(VIRTIO_BLK_T_OUT, 8, sizeof(header), lengths[i], 1);
		block_request(VIRTIO_BLK_T_GET_ID, 0, sizeof(header), lengths[i], 1);
		block_request(VIRTIO_BLK_T_FLUSH, 0, sizeof(header), lengths[i], 1);
	}
	block_request(VIRTIO_BLK_T_IN, 0, 0, 512, 1);
	block_request(VIRTIO_BLK_T_IN, 0, 15, 512, 1);
	block_request(VIRTIO_BLK_T_IN, 0, sizeof(header), 512, 0);
	block_request(VIRTIO_BLK_T_IN, 0, sizeof(header), 512, 512);
	/* A header only; a status only. */
	fresh(0);
	desc(0, &header, sizeof(header), 0, 0);
	offer_and_wait(0);
	fresh(0);
	desc(0, &status, 1, WRITE, 0);
	offer_and_wait(0);
}

static void block_types(void)
{
	static const uint64_t sectors[] = { 0, 1ull << 54, 1ull << 55, ~0ull,
					    ~0ull >> 9 };

	for (uint32_t type = 0; type < 20; type++)
		if (type != VIRTIO_BLK_T_OUT)
			block_request(type, 0, sizeof(header), 512, 1);
	block_request(0x80000000 | VIRTIO_BLK_T_OUT, 0, sizeof(header), 512, 1);
	block_request(~0u, ~0ull, sizeof(header), 512, 1);
	for (unsigned i = 1; i < ARRAY_SIZE(sectors); i++) {
		block_request(VIRTIO_BLK_T_IN, sectors[i], sizeof(header), 512, 1);
		block_request(VIRTIO_BLK_T_OUT, sectors[i], sizeof(header), 512, 1);
	}
	/* Discard and write zeroes: segments that overflow, with all flags. */
	for (unsigned i = 0; i < ARRAY_SIZE(sectors); i++) {
		struct virtio_blk_discard_write_zeroes *s = (void *)page;

		*s = (struct virtio_blk_discard_write_zeroes){ sectors[i] | 1ull << 40,
							       0xffffffff, 0xffffffff };
		block_request(VIRTIO_BLK_T_DISCARD, 0, sizeof(header), sizeof(*s), 1);
		block_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(header), sizeof(*s),
			      1);
		block_request(VIRTIO_BLK_T_DISCARD, 0, sizeof(header), PAGE, 1);
		block_request(VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(header), 17, 1);
	}
	memset(page, 0, sizeof(page));
}

static void reset_in_flight(void)
{
	for (unsigned i = 0; i < 16; i++) {
		uint16_t head = begin(VIRTIO_BLK_T_IN);

		desc(1, page, 512,
		     (uint16_t)(WRITE | (device_type == TYPE_BLOCK ? NEXT : 0)), 2);
		desc(2, &status, 1, WRITE, 0);
		for (unsigned j = 0; j < 4; j++)
			offer(head);
		notify(vq->index);
		if (i & 1)
			virtio_reset(&dev);
		fresh(i & 2 ? EVENT_IDX : 0);
	}
}

static volatile bool race_over;

/* Runs on the other processors: the chain is never twice the same. */
static void spoil(unsigned number)
{
	(void)number;
	while (!race_over) {
		volatile struct vring_desc *d = &vq->rings->desc[1];

		d->addr = 0xd0000000;
		d->len = 0xffffffff;
		d->next = 0xffff;
		d->flags = WRITE | NEXT | VRING_DESC_F_INDIRECT;
		d->flags = WRITE | NEXT;
		d->next = 2;
		d->len = 512;
		d->addr = (uintptr_t)page;
		header.type ^= VIRTIO_BLK_T_GET_ID;
	}
}

static void race(void)
{
	unsigned expected, up = smp_start(spoil, &expected);

	if (up == 0)
		print("race: there is one processor only\n");
	for (unsigned i = 0; up && i < 20; i++) {
		uint16_t head;

		fresh(INDIRECT);
		head = begin(VIRTIO_BLK_T_IN);
		desc(1, page, 512, WRITE | NEXT, 2);
		desc(2, &status, 1, WRITE, 0);
		offer_and_wait(head);
	}
	race_over = true;
	settle();
}

const struct attack ring_attacks[] = {
	{ "loop", loop, 0 },
	{ "next-outside", next_outside, 0 },
	{ "head-outside", head_outside, 0 },
	{ "avail-jump", avail_jump, 0 },
	{ "zero-length", zero_length, 0 },
	{ "wrap", wrap, 0 },
	{ "hole", hole, 0 },
	{ "own-rings", own_rings, 0 },
	{ "huge", huge, 0 },
	{ "sum", sum, 0 },
	{ "indirect", indirect, 0 },
	{ "indirect-where", indirect_where, 0 },
	{ "indirect-nested", indirect_nested, 0 },
	{ "direction", direction, 0 },
	{ "same-head-twice", same_head_twice, 0 },
	{ "used-ring", used_ring, 0 },
	{ "event-words", event_words, 0 },
	{ "block-lengths", block_lengths, TYPE_BLOCK },
	{ "block-types", block_types, TYPE_BLOCK },
	{ "reset-in-flight", reset_in_flight, 0 },
	{ "race", race, 0 },
	{ 0 },
};
