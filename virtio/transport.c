/*
 * The registers of the virtio PCI transport (virtio 1.2 section 4.1): BAR 0,
 * its capabilities, and the window to it in configuration space. Runs on vCPU
 * threads with dev.lock held.
 *
 * The common configuration is read in any width; a write counts when it is one
 * whole register, or half of a 64-bit one, as section 4.1.3.1 demands of
 * drivers. What the guest writes when it may not is ignored.
 */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "virtio/transport.h"

#define COMMON 0x0000u
#define COMMON_LEN sizeof(struct virtio_pci_common_cfg)
#define ISR 0x1000u
#define CONFIG 0x2000u
#define REGION_LEN 0x1000u
#define MSIX_TABLE 0x6000u
#define MSIX_PBA 0x7000u

/* --- common configuration -------------------------------------------------- */

/* The selected queue, or NULL where there is none. */
static struct virtio_queue_regs *selected(const struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;

	return t->queue_select < v->n_queues ? &t->q[t->queue_select] : NULL;
}

static uint32_t feature_half(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

static uint8_t get_status(const struct virtio_transport *t)
{
	bool broken = __atomic_load_n(&t->needs_reset, __ATOMIC_ACQUIRE);

	return t->status | (broken ? VIRTIO_NEEDS_RESET : 0);
}

static void common_read(const struct virtio_dev *v, uint64_t off, void *buf, size_t len)
{
	const struct virtio_transport *t = v->transport;
	const struct virtio_queue_regs *q = selected(v);
	struct virtio_pci_common_cfg c = {
		.device_feature_select = htole32(t->device_feature_select),
		.device_feature =
			htole32(feature_half(v->offered, t->device_feature_select)),
		.guest_feature_select = htole32(t->driver_feature_select),
		.guest_feature = htole32(
			feature_half(t->driver_features, t->driver_feature_select)),
		.msix_config =
			htole16(__atomic_load_n(&t->config_vector, __ATOMIC_RELAXED)),
		.num_queues = htole16((uint16_t)v->n_queues),
		.device_status = get_status(t),
		.config_generation = t->config_generation,
		.queue_select = htole16(t->queue_select),
	};

	if (q) {
		c.queue_size = htole16(q->cfg.size);
		c.queue_msix_vector =
			htole16(__atomic_load_n(&q->vector, __ATOMIC_RELAXED));
		c.queue_enable = htole16(q->enabled);
		c.queue_notify_off = htole16(t->queue_select);
		c.queue_desc_lo = htole32((uint32_t)q->cfg.desc.v);
		c.queue_desc_hi = htole32((uint32_t)(q->cfg.desc.v >> 32));
		c.queue_avail_lo = htole32((uint32_t)q->cfg.avail.v);
		c.queue_avail_hi = htole32((uint32_t)(q->cfg.avail.v >> 32));
		c.queue_used_lo = htole32((uint32_t)q->cfg.used.v);
		c.queue_used_hi = htole32((uint32_t)(q->cfg.used.v >> 32));
	}
	for (size_t i = 0; i < len && off + i < sizeof(c); i++)
		((uint8_t *)buf)[i] = ((const uint8_t *)&c)[off + i];
}

static void set_driver_features(struct virtio_dev *v, uint32_t value)
{
	struct virtio_transport *t = v->transport;
	unsigned shift = 32 * t->driver_feature_select;

	if (t->driver_feature_select > 1 || (t->status & VIRTIO_FEATURES_OK))
		return;
	t->driver_features &= ~(0xffffffffull << shift);
	t->driver_features |= (uint64_t)value << shift;
}

static bool features_acceptable(const struct virtio_dev *v)
{
	uint64_t f = v->transport->driver_features;

	return !(f & ~v->offered) && (f & VIRTIO_F_VERSION_1);
}

/*
 * Bits are only ever added; 0 resets. FEATURES_OK sticks only for features that
 * we offer, DRIVER_OK only after it.
 */
static void set_status(struct virtio_dev *v, uint8_t value)
{
	struct virtio_transport *t = v->transport;
	uint8_t new = value &(uint8_t)~t->status;

	if (value == 0) {
		virtio_restart(v);
		return;
	}
	t->status |= new &(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FAILED);
	if ((new &VIRTIO_FEATURES_OK) && features_acceptable(v)) {
		v->acked = t->driver_features;
		t->status |= VIRTIO_FEATURES_OK;
	}
	if ((new &VIRTIO_DRIVER_OK) && (t->status & VIRTIO_FEATURES_OK)) {
		t->status |= VIRTIO_DRIVER_OK;
		virtio_start(v);
	}
}

static void set_vector(const struct virtio_dev *v, uint16_t *vector, uint16_t value)
{
	/* One that does not exist reads back as none: section 4.1.5.1.2. */
	if (value >= v->pci.n_vectors)
		value = VIRTIO_NO_VECTOR;
	__atomic_store_n(vector, value, __ATOMIC_RELAXED);
}

static void enable_queue(struct virtio_dev *v, struct virtio_queue_regs *q)
{
	unsigned size = q->cfg.size;

	if (size == 0 || (size & (size - 1)) ||
	    size > v->queue_size[v->transport->queue_select]) {
		log_guest(&v->transport->refused, v->dev.host->name,
			  "queue %u cannot have size %u", v->transport->queue_select,
			  size);
		return;
	}
	q->enabled = true;
}

static void set_half(gpa_t *addr, unsigned half, uint32_t value)
{
	unsigned shift = 32 * half;

	addr->v &= ~(0xffffffffull << shift);
	addr->v |= (uint64_t)value << shift;
}

static void queue_write(struct virtio_dev *v, unsigned reg, uint32_t value)
{
	struct virtio_queue_regs *q = selected(v);

	if (!q)
		return;
	if (reg == VIRTIO_PCI_COMMON_Q_MSIX) {
		set_vector(v, &q->vector, (uint16_t)value);
		virtio_rewire(v, v->transport->queue_select);
		return;
	}
	/* What is enabled, or could have been, is frozen until a reset. */
	if (q->enabled || (v->transport->status & VIRTIO_DRIVER_OK))
		return;
	switch (reg) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		q->cfg.size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			enable_queue(v, q);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		set_half(&q->cfg.desc, reg == VIRTIO_PCI_COMMON_Q_DESCHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		set_half(&q->cfg.avail, reg == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		set_half(&q->cfg.used, reg == VIRTIO_PCI_COMMON_Q_USEDHI, value);
		break;
	}
}

/* The width of the register at @off; 0: there is none. Halves of 64 bits are 4. */
static size_t register_width(uint64_t off)
{
	switch (off) {
	case VIRTIO_PCI_COMMON_STATUS:
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return 2;
	default:
		return off < COMMON_LEN && off % 4 == 0 ? 4 : 0;
	}
}

static void common_write(struct virtio_dev *v, uint64_t off, uint64_t value, size_t len)
{
	struct virtio_transport *t = v->transport;

	if (len == 8 && off >= VIRTIO_PCI_COMMON_Q_DESCLO && off % 8 == 0) {
		common_write(v, off, (uint32_t)value, 4);
		common_write(v, off + 4, value >> 32, 4);
		return;
	}
	if (len != register_width(off))
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		t->device_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		t->driver_feature_select = (uint32_t)value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		set_driver_features(v, (uint32_t)value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		set_vector(v, &t->config_vector, (uint16_t)value);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		set_status(v, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		t->queue_select = (uint16_t)value;
		break;
	default:
		queue_write(v, (unsigned)off, (uint32_t)value);
	}
}

/* --- the BAR --------------------------------------------------------------- */

/* Reading clears, and lowers the wire: section 4.1.4.5. */
static uint8_t take_isr(struct virtio_dev *v)
{
	struct virtio_transport *t = v->transport;
	uint8_t isr;

	pthread_mutex_lock(&t->isr_lock);
	isr = t->isr;
	t->isr = 0;
	pci_intx_set(&v->pci, false);
	pthread_mutex_unlock(&t->isr_lock);
	return isr;
}

void virtio_read(struct device *dev, unsigned win, uint64_t off, void *buf, size_t len)
{
	struct virtio_dev *v = (struct virtio_dev *)dev;

	memset(buf, 0, len);
	if (pci_msix_read(&v->pci, win, off, buf, len))
		return;
	if (off < COMMON + COMMON_LEN)
		common_read(v, off - COMMON, buf, len);
	else if (off == ISR)
		*(uint8_t *)buf = take_isr(v);
	else if (off >= CONFIG && off < CONFIG + v->config_len)
		memcpy(buf, v->config + (off - CONFIG),
		       len < v->config_len - (off - CONFIG)
			       ? len
			       : v->config_len - (off - CONFIG));
}

void virtio_write(struct device *dev, unsigned win, uint64_t off, const void *buf,
		  size_t len)
{
	struct virtio_dev *v = (struct virtio_dev *)dev;
	uint8_t bytes[8] = { 0 };

	if (len > sizeof(bytes) || pci_msix_write(&v->pci, win, off, buf, len))
		return;
	memcpy(bytes, buf, len);
	if (off < COMMON + COMMON_LEN)
		common_write(v, off - COMMON, le64_get(bytes), len);
	else if (off >= CONFIG && range_within(off - CONFIG, len, v->config_len) &&
		 v->ops->config_write)
		v->ops->config_write(v, off - CONFIG, buf, len);
	else if (off >= VIRTIO_NOTIFY &&
		 off < VIRTIO_NOTIFY + v->n_queues * VIRTIO_NOTIFY_MULTIPLIER)
		(void)eventfd_write(
			v->kick_fds[(off - VIRTIO_NOTIFY) / VIRTIO_NOTIFY_MULTIPLIER],
			1);
}

/* --- capabilities ---------------------------------------------------------- */

/* Section 4.1.4.9: an access to the BAR by way of configuration space. */
static bool cfg_window(const struct virtio_dev *v, unsigned off, size_t len,
		       uint32_t *ret_off, uint32_t *ret_len)
{
	const uint8_t *cap = v->pci.config + v->transport->pci_cfg_cap;
	unsigned data = v->transport->pci_cfg_cap + sizeof(struct virtio_pci_cap);

	if (off >= data + 4 || off + len <= data)
		return false;
	*ret_off = le32_get(cap + VIRTIO_PCI_CAP_OFFSET);
	*ret_len = le32_get(cap + VIRTIO_PCI_CAP_LENGTH);
	return cap[VIRTIO_PCI_CAP_BAR] == VIRTIO_BAR &&
	       (*ret_len == 1 || *ret_len == 2 || *ret_len == 4) &&
	       *ret_off % *ret_len == 0 &&
	       range_within(*ret_off, *ret_len, VIRTIO_BAR_SIZE);
}

static void config_reading(struct pci_func *f, unsigned off, size_t len)
{
	struct virtio_dev *v = (struct virtio_dev *)f->dev;
	uint8_t *data = f->config + v->transport->pci_cfg_cap +
			sizeof(struct virtio_pci_cap);
	uint32_t bar_off, bar_len;

	if (cfg_window(v, off, len, &bar_off, &bar_len))
		virtio_read(&v->dev, VIRTIO_BAR, bar_off, data, bar_len);
}

static void config_written(struct pci_func *f, unsigned off, size_t len)
{
	struct virtio_dev *v = (struct virtio_dev *)f->dev;
	const uint8_t *data = f->config + v->transport->pci_cfg_cap +
			      sizeof(struct virtio_pci_cap);
	struct virtio_transport *t = v->transport;
	bool msix = pci_msix_enabled(f);
	uint32_t bar_off, bar_len;

	if (msix != t->msix) {
		t->msix = msix;
		for (unsigned i = 0; i < v->n_queues; i++)
			virtio_rewire(v, i);
	}
	if (cfg_window(v, off, len, &bar_off, &bar_len))
		virtio_write(&v->dev, VIRTIO_BAR, bar_off, data, bar_len);
}

static void bar_mapped(struct pci_func *f, unsigned bar, bool on)
{
	struct virtio_dev *v = (struct virtio_dev *)f->dev;

	(void)bar;
	/* The machine forgets notifications with the window. */
	for (unsigned i = 0; i < v->n_queues; i++)
		v->transport->q[i].notify = false;
	if (on && (v->transport->status & VIRTIO_DRIVER_OK))
		virtio_add_notifies(v);
}

/* Section 4.1.4; @extra goes behind it, 0 where the structure has none. */
static unsigned add_cap(struct virtio_dev *v, uint8_t type, uint32_t off, uint32_t len,
			uint32_t extra)
{
	struct virtio_pci_notify_cap c = {
		.cap = { .cap_len = sizeof(c.cap),
			 .cfg_type = type,
			 .bar = VIRTIO_BAR,
			 .offset = htole32(off),
			 .length = htole32(len) },
		.notify_off_multiplier = htole32(extra),
	};

	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG)
		c.cap.cap_len = sizeof(c);
	return pci_add_cap(&v->pci, 0x09 /* vendor specific */, &c, c.cap.cap_len);
}

int virtio_add_registers(struct virtio_dev *v)
{
	struct pci_func *f = &v->pci;
	uint8_t *wmask;
	int r;

	pci_add_bar(f, VIRTIO_BAR, VIRTIO_BAR_SIZE);
	r = pci_add_msix(f, v->n_queues + 1, VIRTIO_BAR, MSIX_TABLE, MSIX_PBA);
	if (r < 0)
		return r;
	add_cap(v, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, COMMON_LEN, 0);
	add_cap(v, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_NOTIFY, REGION_LEN,
		VIRTIO_NOTIFY_MULTIPLIER);
	add_cap(v, VIRTIO_PCI_CAP_ISR_CFG, ISR, REGION_LEN, 0);
	add_cap(v, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG, REGION_LEN, 0);
	v->transport->pci_cfg_cap = add_cap(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0);
	wmask = f->wmask + v->transport->pci_cfg_cap;
	wmask[VIRTIO_PCI_CAP_BAR] = 0xff;
	/* Offset, length and the data behind them. */
	memset(wmask + VIRTIO_PCI_CAP_OFFSET, 0xff, 12);
	f->config_reading = config_reading;
	f->config_written = config_written;
	f->bar_mapped = bar_mapped;
	return 0;
}
