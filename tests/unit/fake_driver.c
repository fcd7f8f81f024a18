/* A virtio-pci driver for unit tests; see fake_driver.h. */
#undef NDEBUG
#include "tests/unit/fake_driver.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"

#define CONFIG_ADDRESS 0xcf8u
#define CONFIG_DATA 0xcfcu
#define WAIT_MS 10000

/* --- configuration space --------------------------------------------------- */

static uint64_t select_config(struct fake_driver *d, unsigned off)
{
	fake_out(d->host, DEV_PIO, CONFIG_ADDRESS,
		 0x80000000u | d->slot << 11 | (off & 0xfc), 4);
	return CONFIG_DATA + (off & 3);
}

uint32_t fake_pci_in(struct fake_driver *d, unsigned off, size_t len)
{
	return (uint32_t)fake_in(d->host, DEV_PIO, select_config(d, off), len);
}

void fake_pci_out(struct fake_driver *d, unsigned off, uint32_t value, size_t len)
{
	fake_out(d->host, DEV_PIO, select_config(d, off), value, len);
}

static uint64_t region(struct fake_driver *d, unsigned cap)
{
	assert(fake_pci_in(d, cap + 4, 1) == 0); /* all in BAR 0 */
	return d->bar + fake_pci_in(d, cap + 8, 4);
}

static void read_vendor_cap(struct fake_driver *d, unsigned cap)
{
	switch (fake_pci_in(d, cap + 3, 1)) {
	case 1:
		d->common = region(d, cap);
		break;
	case 2:
		d->notify = region(d, cap);
		d->notify_multiplier = fake_pci_in(d, cap + 16, 4);
		break;
	case 3:
		d->isr = region(d, cap);
		break;
	case 4:
		d->device = region(d, cap);
		d->device_len = fake_pci_in(d, cap + 12, 4);
		break;
	case 5:
		d->pci_cfg_cap = cap;
		break;
	}
}

static void read_caps(struct fake_driver *d)
{
	unsigned cap = fake_pci_in(d, 0x34, 1);

	assert(fake_pci_in(d, 6, 2) & 0x10);
	for (unsigned n = 0; cap; n++) {
		unsigned id = fake_pci_in(d, cap, 1);

		assert(n < 48 && cap >= 0x40 && !(cap & 3));
		if (id == 0x09)
			read_vendor_cap(d, cap);
		if (id == 0x11) {
			uint32_t table = fake_pci_in(d, cap + 4, 4);
			uint32_t pba = fake_pci_in(d, cap + 8, 4);

			assert(!(table & 7) && !(pba & 7)); /* both in BAR 0 */
			d->msix_cap = cap;
			d->n_vectors = (fake_pci_in(d, cap + 2, 2) & 0x7ff) + 1;
			d->msix_table = d->bar + table;
			d->msix_pba = d->bar + pba;
		}
		cap = fake_pci_in(d, cap + 1, 1);
	}
	assert(d->common && d->notify && d->isr && d->device && d->pci_cfg_cap);
	assert(d->msix_cap);
}

void fake_driver_find(struct fake_driver *d, struct fake_host *host, uint16_t id,
		      unsigned nth)
{
	*d = (struct fake_driver){ .host = host };
	for (;; d->slot++) {
		assert(d->slot < PCI_MAX_SLOTS); /* not found */
		if (fake_pci_in(d, 0, 4) == ((0x1040u + id) << 16 | 0x1af4) &&
		    nth-- == 0)
			break;
	}
	d->bar = fake_pci_in(d, 0x10, 4);
	assert(d->bar && !(d->bar & 0xf));
	fake_pci_out(d, 4, fake_pci_in(d, 4, 2) | 6, 2);
	read_caps(d);
}

/* --- registers ------------------------------------------------------------- */

uint64_t fake_common_in(struct fake_driver *d, unsigned reg, size_t len)
{
	return fake_in(d->host, DEV_MMIO, d->common + reg, len);
}

void fake_common_out(struct fake_driver *d, unsigned reg, uint64_t value, size_t len)
{
	fake_out(d->host, DEV_MMIO, d->common + reg, value, len);
}

uint8_t fake_status(struct fake_driver *d)
{
	return (uint8_t)fake_common_in(d, FAKE_STATUS, 1);
}

uint64_t fake_config_in(struct fake_driver *d, unsigned off, size_t len)
{
	return fake_in(d->host, DEV_MMIO, d->device + off, len);
}

void fake_config_out(struct fake_driver *d, unsigned off, uint64_t value, size_t len)
{
	fake_out(d->host, DEV_MMIO, d->device + off, value, len);
}

uint8_t fake_isr(struct fake_driver *d)
{
	return (uint8_t)fake_in(d->host, DEV_MMIO, d->isr, 1);
}

void fake_driver_reset(struct fake_driver *d)
{
	fake_common_out(d, FAKE_STATUS, 0, 1);
	assert(fake_status(d) == 0);
	memset(d->q, 0, sizeof(d->q));
	d->features = 0;
}

uint64_t fake_driver_offered(struct fake_driver *d)
{
	uint64_t low;

	fake_common_out(d, FAKE_DEVICE_FEATURE_SELECT, 0, 4);
	low = fake_common_in(d, FAKE_DEVICE_FEATURE, 4);
	fake_common_out(d, FAKE_DEVICE_FEATURE_SELECT, 1, 4);
	return low | fake_common_in(d, FAKE_DEVICE_FEATURE, 4) << 32;
}

bool fake_driver_negotiate(struct fake_driver *d, uint64_t features)
{
	uint8_t status = FAKE_ACKNOWLEDGE;

	fake_common_out(d, FAKE_STATUS, status, 1);
	status |= FAKE_DRIVER;
	fake_common_out(d, FAKE_STATUS, status, 1);
	for (unsigned i = 0; i < 2; i++) {
		fake_common_out(d, FAKE_DRIVER_FEATURE_SELECT, i, 4);
		fake_common_out(d, FAKE_DRIVER_FEATURE, (uint32_t)(features >> 32 * i),
				4);
	}
	status |= FAKE_FEATURES_OK;
	fake_common_out(d, FAKE_STATUS, status, 1);
	d->features = features;
	return fake_status(d) & FAKE_FEATURES_OK;
}

uint32_t fake_msi_data(const struct fake_driver *d, unsigned v)
{
	return 0x4000 + d->slot * 64 + v;
}

void fake_driver_msix(struct fake_driver *d)
{
	fake_pci_out(d, d->msix_cap + 2, 0xc000, 2); /* enabled, all masked */
	for (unsigned v = 0; v < d->n_vectors; v++) {
		uint64_t entry = d->msix_table + 16 * v;

		fake_out(d->host, DEV_MMIO, entry, 0xfee00000, 4);
		fake_out(d->host, DEV_MMIO, entry + 4, 0, 4);
		fake_out(d->host, DEV_MMIO, entry + 8, fake_msi_data(d, v), 4);
		fake_out(d->host, DEV_MMIO, entry + 12, 0, 4);
	}
	fake_pci_out(d, d->msix_cap + 2, 0x8000, 2);
	d->msix = true;
	fake_common_out(d, FAKE_CONFIG_VECTOR, 0, 2);
	assert(fake_common_in(d, FAKE_CONFIG_VECTOR, 2) == 0);
}

void fake_driver_queue(struct fake_driver *d, unsigned n, uint16_t size)
{
	struct fake_vq *q = &d->q[n];
	uint64_t off;

	assert(n < VIRTIO_MAX_QUEUES);
	fake_common_out(d, FAKE_QUEUE_SELECT, n, 2);
	if (size)
		fake_common_out(d, FAKE_QUEUE_SIZE, size, 2);
	memset(q, 0, sizeof(*q));
	q->size = (uint16_t)fake_common_in(d, FAKE_QUEUE_SIZE, 2);
	assert(q->size && q->size <= VQ_MAX_SIZE && (!size || q->size == size));

	q->desc_gpa = fake_alloc(d->host, 16ull * q->size, 16);
	q->avail_gpa = fake_alloc(d->host, 6 + 2ull * q->size, 2);
	q->used_gpa = fake_alloc(d->host, 6 + 8ull * q->size, 4);
	q->desc = fake_ptr(d->host, q->desc_gpa, 16ull * q->size);
	q->avail = fake_ptr(d->host, q->avail_gpa, 6 + 2ull * q->size);
	q->used = fake_ptr(d->host, q->used_gpa, 6 + 8ull * q->size);
	fake_common_out(d, FAKE_QUEUE_DESC, (uint32_t)q->desc_gpa.v, 4);
	fake_common_out(d, FAKE_QUEUE_DESC + 4, q->desc_gpa.v >> 32, 4);
	fake_common_out(d, FAKE_QUEUE_DRIVER, (uint32_t)q->avail_gpa.v, 4);
	fake_common_out(d, FAKE_QUEUE_DRIVER + 4, q->avail_gpa.v >> 32, 4);
	fake_common_out(d, FAKE_QUEUE_DEVICE, (uint32_t)q->used_gpa.v, 4);
	fake_common_out(d, FAKE_QUEUE_DEVICE + 4, q->used_gpa.v >> 32, 4);
	if (d->msix) {
		fake_common_out(d, FAKE_QUEUE_VECTOR, n + 1, 2);
		assert(fake_common_in(d, FAKE_QUEUE_VECTOR, 2) == n + 1);
	}
	off = fake_common_in(d, FAKE_QUEUE_NOTIFY_OFF, 2);
	d->kick_addr[n] = d->notify + off * d->notify_multiplier;
	fake_common_out(d, FAKE_QUEUE_ENABLE, 1, 2);
	assert(fake_common_in(d, FAKE_QUEUE_ENABLE, 2) == 1);
}

void fake_driver_ok(struct fake_driver *d)
{
	fake_common_out(d, FAKE_STATUS, fake_status(d) | FAKE_DRIVER_OK, 1);
	assert(fake_status(d) & FAKE_DRIVER_OK);
}

static void start(struct fake_driver *d, struct fake_host *host, uint16_t id,
		  uint64_t features, bool msix)
{
	unsigned n;

	fake_driver_find(d, host, id, 0);
	fake_driver_reset(d);
	assert(fake_driver_negotiate(d, features & fake_driver_offered(d)));
	if (msix)
		fake_driver_msix(d);
	n = (unsigned)fake_common_in(d, FAKE_NUM_QUEUES, 2);
	assert(n <= VIRTIO_MAX_QUEUES);
	for (unsigned i = 0; i < n; i++)
		fake_driver_queue(d, i, 0);
	fake_driver_ok(d);
	assert(!(fake_status(d) & FAKE_NEEDS_RESET));
}

void fake_driver_start(struct fake_driver *d, struct fake_host *host, uint16_t id,
		       uint64_t features)
{
	start(d, host, id, features, true);
}

void fake_driver_start_intx(struct fake_driver *d, struct fake_host *host, uint16_t id,
			    uint64_t features)
{
	start(d, host, id, features, false);
}

/* --- rings ----------------------------------------------------------------- */

static uint16_t take_desc(struct fake_vq *q)
{
	for (uint16_t i = 0; i < q->size; i++) {
		if (!q->busy[i]) {
			q->busy[i] = true;
			return i;
		}
	}
	assert(false); /* no free descriptor */
	return 0;
}

void fake_avail(struct fake_driver *d, unsigned n, uint16_t head)
{
	struct fake_vq *q = &d->q[n];

	q->avail[2 + q->avail_idx % q->size] = head;
	q->avail_idx++;
	__atomic_store_n(&q->avail[1], q->avail_idx, __ATOMIC_RELEASE);
}

uint16_t fake_submit(struct fake_driver *d, unsigned n, const struct fake_seg *segs,
		     unsigned n_segs)
{
	struct fake_vq *q = &d->q[n];
	uint16_t head, i;

	assert(n_segs > 0 && q->size);
	head = i = take_desc(q);
	for (unsigned s = 0; s < n_segs; s++) {
		bool last = s + 1 == n_segs;

		q->next[i] = last ? head : take_desc(q);
		q->desc[i].addr = segs[s].addr.v;
		q->desc[i].len = segs[s].len;
		q->desc[i].flags = (uint16_t)((segs[s].writable ? FAKE_F_WRITE : 0) |
					      (last ? 0 : FAKE_F_NEXT));
		q->desc[i].next = last ? 0 : q->next[i];
		i = q->next[i];
	}
	fake_avail(d, n, head);
	return head;
}

uint16_t fake_submit_indirect(struct fake_driver *d, unsigned n,
			      const struct fake_seg *segs, unsigned n_segs)
{
	struct fake_vq *q = &d->q[n];
	gpa_t gpa = fake_alloc(d->host, 16ull * n_segs, 16);
	struct fake_desc *table = fake_ptr(d->host, gpa, 16ull * n_segs);
	uint16_t head = take_desc(q);

	for (unsigned s = 0; s < n_segs; s++) {
		bool last = s + 1 == n_segs;

		table[s] = (struct fake_desc){
			.addr = segs[s].addr.v,
			.len = segs[s].len,
			.flags = (uint16_t)((segs[s].writable ? FAKE_F_WRITE : 0) |
					    (last ? 0 : FAKE_F_NEXT)),
			.next = (uint16_t)(last ? 0 : s + 1),
		};
	}
	q->next[head] = head;
	q->desc[head].addr = gpa.v;
	q->desc[head].len = 16 * n_segs;
	q->desc[head].flags = FAKE_F_INDIRECT;
	q->desc[head].next = 0;
	fake_avail(d, n, head);
	return head;
}

void fake_kick(struct fake_driver *d, unsigned n)
{
	fake_out(d->host, DEV_MMIO, d->kick_addr[n], n, 2);
	fake_run(d->host);
}

bool fake_wants_kick(struct fake_driver *d, unsigned n, uint16_t old_idx)
{
	const struct fake_vq *q = &d->q[n];
	uint16_t event;

	if (!(d->features & VIRTIO_F_EVENT_IDX))
		return !(q->used[0] & 1);
	event = q->used[2 + 4 * q->size];
	return (uint16_t)(q->avail_idx - event - 1) <
	       (uint16_t)(q->avail_idx - old_idx);
}

bool fake_used(struct fake_driver *d, unsigned n, uint16_t *ret_head, uint32_t *ret_len)
{
	struct fake_vq *q = &d->q[n];
	const volatile struct fake_used_elem *e;
	uint16_t head, i, next;

	if (__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) == q->used_idx)
		return false;
	e = (const volatile struct fake_used_elem *)&q->used[2] + q->used_idx % q->size;
	assert(e->id < q->size && q->busy[e->id]);
	head = (uint16_t)e->id;
	for (i = head;; i = next) {
		next = q->next[i];
		q->busy[i] = false;
		if (next == head)
			break;
	}
	q->used_idx++;
	if (d->features & VIRTIO_F_EVENT_IDX)
		__atomic_store_n(&q->avail[2 + q->size], q->used_idx, __ATOMIC_SEQ_CST);
	if (ret_head)
		*ret_head = head;
	if (ret_len)
		*ret_len = e->len;
	return true;
}

uint32_t fake_wait_used(struct fake_driver *d, unsigned n, uint16_t *ret_head)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint32_t len = 0;

	for (unsigned i = 0; !fake_used(d, n, ret_head, &len); i++) {
		assert(i < WAIT_MS);
		if (i > 0)
			nanosleep(&ms, NULL);
		fake_run(d->host);
	}
	return len;
}

uint32_t fake_request(struct fake_driver *d, unsigned n, const struct fake_seg *segs,
		      unsigned n_segs)
{
	uint16_t head = fake_submit(d, n, segs, n_segs), got;
	uint32_t len;

	fake_kick(d, n);
	len = fake_wait_used(d, n, &got);
	assert(got == head);
	return len;
}

unsigned fake_interrupts(struct fake_driver *d, unsigned v)
{
	const struct fake_host *f = d->host;

	if (!d->msix)
		return fake_isr(d);
	for (unsigned i = 0; i < f->n_msis; i++) {
		if (f->msis[i].data == fake_msi_data(d, v))
			return fake_msi_count(d->host, i);
	}
	return 0;
}

gpa_t fake_put(struct fake_host *host, const void *data, size_t len)
{
	gpa_t gpa = fake_alloc(host, len, 1);

	memcpy(fake_ptr(host, gpa, len), data, len);
	return gpa;
}
