/*
 * Split virtqueues; see queue.h. Section numbers are virtio 1.2's.
 *
 * Ring fields are little-endian and naturally aligned (vq_start() checks), so
 * each is one atomic access. Descriptors are copied to the stack before they
 * are looked at; indirect tables too, one descriptor at a time, as a chain
 * visits each at most once.
 */
#include "virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>

#include "base/bytes.h"

#define DESC_SIZE sizeof(struct vring_desc)
#define BITS 64u

static uint16_t load16(const void *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED));
}

static void store16(void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELAXED);
}

/* A full barrier: our store is visible to the guest before we load. */
static void smp_mb(void)
{
	__sync_synchronize();
}

/* Section 2.7.6: flags, idx, ring[size], used_event. */
static struct vring_avail *avail_ring(const struct vq *q)
{
	return q->avail;
}

static const void *used_event(const struct vq *q)
{
	return &avail_ring(q)->ring[q->size];
}

/* Section 2.7.8: flags, idx, ring[size], avail_event. */
static struct vring_used *used_ring(const struct vq *q)
{
	return q->used;
}

static void *avail_event(const struct vq *q)
{
	return &used_ring(q)->ring[q->size];
}

/* --- start and stop -------------------------------------------------------- */

/* The host address of a ring, or NULL and the reason why not. */
static void *map_ring(const struct gmem *mem, gpa_t gpa, uint64_t len, unsigned align,
		      const char *bad_align, const char *bad_place,
		      const char **ret_why)
{
	void *p = NULL;

	if (gpa.v % align) {
		*ret_why = bad_align;
		return NULL;
	}
	p = gmem_slice(mem, gpa, len);
	if (!p)
		*ret_why = bad_place;
	return p;
}

int vq_start(struct vq *q, const struct gmem *mem, const struct vq_cfg *cfg,
	     bool event_idx, bool indirect, const char **ret_why)
{
	struct vq_cfg c = *cfg;
	struct vq n = { .mem = mem, .event_idx = event_idx, .indirect = indirect };

	if (c.size == 0 || c.size > VQ_MAX_SIZE || (c.size & (c.size - 1))) {
		*ret_why = "queue size not allowed";
		return -EINVAL;
	}
	n.size = c.size;
	/* With the event fields at the ends, whether negotiated or not. */
	n.desc = map_ring(mem, c.desc, DESC_SIZE * c.size, 16,
			  "descriptor table misaligned", "descriptor table not in RAM",
			  ret_why);
	n.avail = map_ring(mem, c.avail, 6 + 2ull * c.size, 2,
			   "available ring misaligned", "available ring not in RAM",
			   ret_why);
	n.used = map_ring(mem, c.used, 6 + 8ull * c.size, 4, "used ring misaligned",
			  "used ring not in RAM", ret_why);
	if (!n.desc || !n.avail || !n.used)
		return -EINVAL;
	*q = n;
	return 0;
}

void vq_stop(struct vq *q)
{
	*q = (struct vq){ 0 };
}

/* --- taking chains --------------------------------------------------------- */

/* A descriptor table: the queue's, or an indirect one. */
struct table {
	const unsigned char *desc;
	unsigned n;
};

static struct vring_desc load_desc(const struct table *t, unsigned i)
{
	struct vring_desc d;

	memcpy(&d, t->desc + i * DESC_SIZE, sizeof(d));
	/* The copy is taken now; the compiler must not go back for a second one. */
	__asm__ volatile("" ::: "memory");
	d.addr = le64toh(d.addr);
	d.len = le32toh(d.len);
	d.flags = le16toh(d.flags);
	d.next = le16toh(d.next);
	return d;
}

/* Functions that return text: NULL, or the rule that the guest broke. */

static const char *add_segment(const struct vq *q, const struct vring_desc *d,
			       struct vq_chain *c)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	uint64_t *sum = writable ? &c->in_len : &c->out_len;
	struct iovec *iov;
	void *p;

	if (d->len == 0)
		return NULL;
	if (!writable && c->n_in)
		return "readable descriptor after a writable one";
	if (c->n_out + c->n_in == VQ_MAX_SEGS)
		return "too many segments";
	if (*sum + d->len > UINT32_MAX)
		return "chain of 4 GiB or more";
	p = gmem_slice(q->mem, GPA(d->addr), d->len);
	if (!p)
		return "buffer not in RAM";
	iov = &c->iov[c->n_out + c->n_in];
	iov->iov_base = p;
	iov->iov_len = d->len;
	*sum += d->len;
	if (writable)
		c->n_in++;
	else
		c->n_out++;
	return NULL;
}

/* Section 2.7.5.3. The descriptor's WRITE flag is ignored, as it demands. */
static const char *open_indirect(const struct vq *q, const struct vring_desc *d,
				 struct table *ret_table)
{
	const void *p;

	if (!q->indirect)
		return "indirect descriptor without the feature";
	if (d->flags & VRING_DESC_F_NEXT)
		return "indirect descriptor with a successor";
	if (d->len == 0 || d->len % DESC_SIZE)
		return "indirect table of a fractional size";
	if (d->len / DESC_SIZE > VQ_MAX_SEGS)
		return "indirect table too long";
	p = gmem_slice(q->mem, GPA(d->addr), d->len);
	if (!p)
		return "indirect table not in RAM";
	ret_table->desc = p;
	ret_table->n = (unsigned)(d->len / DESC_SIZE);
	return NULL;
}

static const char *walk(const struct vq *q, unsigned head, struct vq_chain *c)
{
	struct table table = { .desc = q->desc, .n = q->size };
	unsigned i = head, left = table.n;
	bool nested = false;
	const char *why;

	/* A chain that visits more descriptors than there are has a loop. */
	while (left--) {
		struct vring_desc d = load_desc(&table, i);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (nested)
				return "nested indirect table";
			nested = true;
			why = open_indirect(q, &d, &table);
			if (why)
				return why;
			i = 0;
			left = table.n;
			continue;
		}
		why = add_segment(q, &d, c);
		if (why)
			return why;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return NULL;
		i = d.next;
		if (i >= table.n)
			return "next descriptor out of range";
	}
	return "descriptor chain with a loop";
}

static uint16_t available(const struct vq *q)
{
	/* Acquire: entries and descriptors are read after the index. */
	uint16_t idx = __atomic_load_n(&avail_ring(q)->idx, __ATOMIC_ACQUIRE);

	return (uint16_t)(le16toh(idx) - q->next_avail);
}

bool vq_pending(const struct vq *q)
{
	return q->size && !q->broken && available(q);
}

static int break_rule(struct vq *q, const char *why)
{
	q->broken = true;
	q->why = why;
	return -EPROTO;
}

int vq_pop(struct vq *q, struct vq_chain *ret_chain)
{
	struct vq_chain *c = ret_chain;
	const char *why;
	unsigned n, head;
	uint64_t bit;

	if (!q->size || q->broken)
		return 0;
	n = available(q);
	if (n == 0)
		return 0;
	if (n > q->size)
		return break_rule(q, "available index jumped");
	head = load16(&avail_ring(q)->ring[q->next_avail % q->size]);
	if (head >= q->size)
		return break_rule(q, "head out of range");
	bit = 1ull << head % BITS;
	if (q->in_flight[head / BITS] & bit)
		return break_rule(q, "head is already in flight");

	c->head = (uint16_t)head;
	c->n_out = c->n_in = 0;
	c->out_len = c->in_len = 0;
	why = walk(q, head, c);
	if (why)
		return break_rule(q, why);
	q->in_flight[head / BITS] |= bit;
	q->next_avail++;
	return 1;
}

/* --- giving them back ------------------------------------------------------ */

static void put_used(struct vq *q, const struct vq_done *d)
{
	struct vring_used_elem *e;
	uint64_t bit = 1ull << d->head % BITS;

	assert(d->head < q->size && (q->in_flight[d->head / BITS] & bit));
	q->in_flight[d->head / BITS] &= ~bit;
	e = &used_ring(q)->ring[q->next_used % q->size];
	__atomic_store_n(&e->id, htole32(d->head), __ATOMIC_RELAXED);
	__atomic_store_n(&e->len, htole32(d->written), __ATOMIC_RELAXED);
	q->next_used++;
	if (q->next_used == q->signalled_used)
		q->signalled_wrapped = true;
}

void vq_push_all(struct vq *q, const struct vq_done *done, unsigned n)
{
	if (!q->size || q->broken)
		return;
	for (unsigned i = 0; i < n; i++)
		put_used(q, &done[i]);
	/* Release: buffers and the elements are visible before the index. */
	__atomic_store_n(&used_ring(q)->idx, htole16(q->next_used), __ATOMIC_RELEASE);
}

void vq_push(struct vq *q, uint16_t head, uint32_t written)
{
	vq_push_all(q, &(struct vq_done){ head, written }, 1);
}

/* Section 2.7.7. */
bool vq_should_signal(struct vq *q)
{
	uint16_t old = q->signalled_used, new = q->next_used;
	bool wrapped = q->signalled_wrapped;

	if (!q->size || q->broken || (old == new && !wrapped))
		return false;
	q->signalled_used = new;
	q->signalled_wrapped = false;
	/*
	 * The guest enables interrupts, then looks at the used index; we have
	 * stored the index, then look at whether they are enabled. Without a
	 * full barrier both could miss the other's store.
	 */
	smp_mb();
	if (!q->event_idx)
		return !(load16(&avail_ring(q)->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	return wrapped || vring_need_event(load16(used_event(q)), new, old);
}

/* Section 2.7.10. */
bool vq_kicks(struct vq *q, bool on)
{
	if (!q->size || q->broken)
		return false;
	if (!q->event_idx)
		store16(&used_ring(q)->flags, on ? 0 : VRING_USED_F_NO_NOTIFY);
	else if (on)
		store16(avail_event(q), q->next_avail);
	/* With EVENT_IDX, an old event index keeps the guest quiet: nothing to do. */
	if (!on)
		return false;
	/* The other side of the same race: store our wish, then look again. */
	smp_mb();
	return available(q) != 0;
}

/* --- the bytes of a chain -------------------------------------------------- */

unsigned vq_slices(const struct vq_chain *c, bool writable, uint64_t off, uint64_t len,
		   struct iovec *ret_iov)
{
	const struct iovec *v = writable ? c->iov + c->n_out : c->iov;
	unsigned n = writable ? c->n_in : c->n_out, used = 0;

	if (!range_within(off, len, writable ? c->in_len : c->out_len))
		return 0;
	for (unsigned i = 0; i < n && len > 0; i++) {
		uint64_t part = v[i].iov_len;

		if (off >= part) {
			off -= part;
			continue;
		}
		part = part - off < len ? part - off : len;
		ret_iov[used].iov_base = (unsigned char *)v[i].iov_base + off;
		ret_iov[used].iov_len = part;
		used++;
		len -= part;
		off = 0;
	}
	return used;
}

/* Copy between @buf and a part, as much as there is. */
static size_t copy(const struct vq_chain *c, bool writable, uint64_t off, void *buf,
		   size_t len)
{
	uint64_t total = writable ? c->in_len : c->out_len;
	struct iovec iov[VQ_MAX_SEGS];
	unsigned char *p = buf;
	unsigned n;

	if (off >= total)
		return 0;
	if (len > total - off)
		len = total - off;
	n = vq_slices(c, writable, off, len, iov);
	for (unsigned i = 0; i < n; i++) {
		if (writable)
			memcpy(iov[i].iov_base, p, iov[i].iov_len);
		else
			memcpy(p, iov[i].iov_base, iov[i].iov_len);
		p += iov[i].iov_len;
	}
	return len;
}

size_t vq_read(const struct vq_chain *c, uint64_t off, void *buf, size_t len)
{
	return copy(c, false, off, buf, len);
}

size_t vq_write(const struct vq_chain *c, uint64_t off, const void *buf, size_t len)
{
	/* Only read from: the part is the destination. */
	return copy(c, true, off, (void *)(uintptr_t)buf, len);
}
