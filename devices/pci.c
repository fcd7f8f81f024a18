/*
 * PCI functions; see pci.h. Bytes of the configuration space that other threads
 * look at (the command register, MSI-X control) are stored and loaded
 * atomically; everything else is under the owner's lock.
 */
#include "devices/pci.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/bytes.h"

#define FIRST_CAP 0x40u
#define MSIX_ENTRY 16u

static uint16_t config16(const struct pci_func *f, unsigned off)
{
	return (uint16_t)(__atomic_load_n(&f->config[off], __ATOMIC_RELAXED) |
			  __atomic_load_n(&f->config[off + 1], __ATOMIC_RELAXED) << 8);
}

static void config_set(struct pci_func *f, unsigned off, uint8_t v)
{
	__atomic_store_n(&f->config[off], v, __ATOMIC_RELAXED);
}

/* --- construction ---------------------------------------------------------- */

void pci_func_init(struct pci_func *f, struct device *dev, const struct pci_ids *ids)
{
	f->dev = dev;
	f->cap_end = FIRST_CAP;
	pthread_mutex_init(&f->intx_lock, NULL);

	le16_put(f->config + PCI_VENDOR_ID, ids->vendor);
	le16_put(f->config + PCI_DEVICE_ID, ids->device);
	le32_put(f->config + PCI_CLASS_REVISION, ids->class << 8 | ids->revision);
	le16_put(f->config + PCI_SUBSYSTEM_VENDOR_ID, ids->sub_vendor);
	le16_put(f->config + PCI_SUBSYSTEM_ID, ids->sub_device);
	f->config[PCI_INTERRUPT_PIN] = 1;

	le16_put(f->wmask + PCI_COMMAND,
		 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	f->wmask[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_func_free(struct pci_func *f)
{
	free(f->vectors);
	f->vectors = NULL;
	f->n_vectors = 0;
	pthread_mutex_destroy(&f->intx_lock);
}

void pci_add_bar(struct pci_func *f, unsigned bar, uint32_t size)
{
	assert(bar < PCI_NUM_BARS && !f->bar_size[bar]);
	assert(size >= 4096 && !(size & (size - 1)));
	f->bar_size[bar] = size;
	/* The fixed zeroes below the size are how guests learn it. */
	le32_put(f->wmask + PCI_BASE_ADDRESS_0 + 4 * bar, ~(size - 1));
}

unsigned pci_add_cap(struct pci_func *f, uint8_t id, const void *cap, size_t len)
{
	unsigned off = f->cap_end;

	assert(len >= 2 && off + len <= PCI_CONFIG_SIZE);
	memcpy(f->config + off, cap, len);
	f->config[off] = id;
	f->config[off + 1] = 0;
	if (f->last_cap)
		f->config[f->last_cap + 1] = (uint8_t)off;
	else
		f->config[PCI_CAPABILITY_LIST] = (uint8_t)off;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->last_cap = off;
	f->cap_end = (unsigned)align_up(off + len, 4);
	return off;
}

int pci_add_msix(struct pci_func *f, unsigned n, unsigned bar, uint32_t table,
		 uint32_t pba)
{
	uint8_t cap[PCI_CAP_MSIX_SIZEOF] = { 0 };

	assert(n >= 1 && n <= 2048 && bar < PCI_NUM_BARS && !(table & 7) && !(pba & 7));
	f->vectors = calloc(n, sizeof(*f->vectors));
	if (!f->vectors)
		return -ENOMEM;
	f->n_vectors = n;
	for (unsigned i = 0; i < n; i++) {
		f->vectors[i].fd = -1;
		f->vectors[i].ctrl = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	f->msix_bar = bar;
	f->msix_table = table;
	f->msix_pba = pba;
	le16_put(cap + PCI_MSIX_FLAGS, (uint16_t)(n - 1));
	le32_put(cap + PCI_MSIX_TABLE, table | bar);
	le32_put(cap + PCI_MSIX_PBA, pba | bar);
	f->msix_cap = pci_add_cap(f, PCI_CAP_ID_MSIX, cap, sizeof(cap));
	le16_put(f->wmask + f->msix_cap + PCI_MSIX_FLAGS,
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	return 0;
}

int pci_bus_add(struct pci_bus *bus, struct pci_func *f, struct err *err)
{
	const char *name = f->dev->host->name;
	uint32_t addr[PCI_NUM_BARS] = { 0 };
	uint64_t next = bus->next_bar ? bus->next_bar : PCI_WINDOW_BASE;
	unsigned slot = 0;

	while (slot < PCI_MAX_SLOTS && bus->slots[slot])
		slot++;
	if (slot == PCI_MAX_SLOTS)
		return err_set(err, -ENOSPC, "%s: all %d PCI slots are taken", name,
			       PCI_MAX_SLOTS);
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		if (!f->bar_size[i])
			continue;
		next = align_up(next, f->bar_size[i]);
		if (next + f->bar_size[i] > PCI_WINDOW_END)
			return err_set(err, -ENOSPC,
				       "%s: no PCI memory is left for %" PRIu32
				       " bytes",
				       name, f->bar_size[i]);
		addr[i] = (uint32_t)next;
		next += f->bar_size[i];
	}
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		if (f->bar_size[i])
			le32_put(f->config + PCI_BASE_ADDRESS_0 + 4 * i, addr[i]);
	}
	bus->next_bar = (uint32_t)next;
	bus->slots[slot] = f;
	f->slot = slot;
	f->window_end = bus->pc ? PCI_PC_WINDOW_END : PCI_WINDOW_END;
	f->config[PCI_INTERRUPT_LINE] = PCI_INTX_GSI(slot);
	return 0;
}

/* --- BARs ------------------------------------------------------------------ */

/* Where the guest's registers say that @bar is; 0: not decoded, or not allowed. */
static uint32_t bar_wanted(const struct pci_func *f, unsigned bar)
{
	uint32_t addr = le32_get(f->config + PCI_BASE_ADDRESS_0 + 4 * bar);

	if (!(config16(f, PCI_COMMAND) & PCI_COMMAND_MEMORY) ||
	    addr < PCI_WINDOW_BASE ||
	    !range_within(addr, f->bar_size[bar], f->window_end))
		return 0;
	return addr;
}

static void bar_unmap(struct pci_func *f, unsigned bar)
{
	const struct dev_host *host = f->dev->host;

	if (!f->bar_addr[bar])
		return;
	if (f->bar_mapped)
		f->bar_mapped(f, bar, false);
	f->bar_addr[bar] = 0;
	host->ops->unmap(host->ctx, f->dev, bar);
}

static void bar_map(struct pci_func *f, unsigned bar, uint32_t addr)
{
	const struct dev_host *host = f->dev->host;
	int r;

	r = host->ops->map(host->ctx, f->dev, bar, DEV_MMIO, addr, f->bar_size[bar]);
	if (r < 0) {
		log_guest(&f->refused, host->name,
			  "BAR %u cannot be at 0x%" PRIx32 ": %s", bar, addr,
			  strerror(-r));
		return;
	}
	f->bar_addr[bar] = addr;
	if (f->bar_mapped)
		f->bar_mapped(f, bar, true);
}

static void update_bars(struct pci_func *f)
{
	for (unsigned i = 0; i < PCI_NUM_BARS; i++) {
		uint32_t addr = f->bar_size[i] ? bar_wanted(f, i) : 0;

		if (addr == f->bar_addr[i])
			continue;
		bar_unmap(f, i);
		if (addr)
			bar_map(f, i, addr);
	}
}

/* --- interrupts ------------------------------------------------------------ */

bool pci_msix_enabled(const struct pci_func *f)
{
	return f->n_vectors &&
	       (config16(f, f->msix_cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE);
}

/* intx_lock held. */
static void drive_intx(struct pci_func *f)
{
	const struct dev_host *host = f->dev->host;
	bool level = f->intx_asserted && !pci_msix_enabled(f) &&
		     !(config16(f, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE);

	if (level == f->intx_level)
		return;
	f->intx_level = level;
	host->ops->irq(host->ctx, PCI_INTX_GSI(f->slot), level);
}

void pci_intx_set(struct pci_func *f, bool level)
{
	pthread_mutex_lock(&f->intx_lock);
	f->intx_asserted = level;
	drive_intx(f);
	pthread_mutex_unlock(&f->intx_lock);
}

/* A source of the machine's, made when a vector is first unmasked. */
static bool vector_open(struct pci_func *f, struct pci_msix_vector *v)
{
	const struct dev_host *host = f->dev->host;
	struct err err = { "" };
	int fd;

	if (v->fd >= 0)
		return true;
	if (host->ops->msi_new(host->ctx, &v->msi_id, &fd, &err) < 0) {
		log_guest(&f->refused, host->name, "%s", err.msg);
		return false;
	}
	/* Release: whoever sees the fd may signal it. */
	__atomic_store_n(&v->fd, fd, __ATOMIC_SEQ_CST);
	if (__atomic_exchange_n(&v->early, false, __ATOMIC_SEQ_CST))
		(void)eventfd_write(fd, 1);
	return true;
}

static bool vector_unmasked(const struct pci_func *f, const struct pci_msix_vector *v)
{
	uint16_t flags = config16(f, f->msix_cap + PCI_MSIX_FLAGS);

	return (flags & PCI_MSIX_FLAGS_ENABLE) && !(flags & PCI_MSIX_FLAGS_MASKALL) &&
	       !(v->ctrl & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* Tell the machine about a vector whose entry or masks the guest has written. */
static void update_vector(struct pci_func *f, struct pci_msix_vector *v)
{
	const struct dev_host *host = f->dev->host;
	bool live = vector_unmasked(f, v);
	int r;

	/* What a masked vector would send does not matter yet. */
	if ((!live && !v->live) || !vector_open(f, v))
		return;
	v->live = live;
	r = host->ops->msi_set(host->ctx, v->msi_id, v->addr, v->data, !live);
	if (r < 0)
		log_guest(&f->refused, host->name,
			  "MSI 0x%" PRIx64 " 0x%" PRIx32 ": %s", v->addr, v->data,
			  strerror(-r));
}

static void update_vectors(struct pci_func *f)
{
	for (unsigned i = 0; i < f->n_vectors; i++) {
		if (vector_unmasked(f, &f->vectors[i]) != f->vectors[i].live)
			update_vector(f, &f->vectors[i]);
	}
}

void pci_msix_signal(struct pci_func *f, unsigned v)
{
	int fd;

	if (v >= f->n_vectors)
		return;
	fd = __atomic_load_n(&f->vectors[v].fd, __ATOMIC_ACQUIRE);
	if (fd < 0) {
		__atomic_store_n(&f->vectors[v].early, true, __ATOMIC_SEQ_CST);
		fd = __atomic_load_n(&f->vectors[v].fd, __ATOMIC_SEQ_CST);
	}
	/* Full counters cannot be: that takes 2^64 signals. */
	if (fd >= 0)
		(void)eventfd_write(fd, 1);
}

int pci_msix_fd(struct pci_func *f, unsigned v)
{
	return v < f->n_vectors && vector_open(f, &f->vectors[v]) ? f->vectors[v].fd
								  : -1;
}

static uint32_t entry_get(const struct pci_msix_vector *v, unsigned field)
{
	switch (field) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		return (uint32_t)v->addr;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		return (uint32_t)(v->addr >> 32);
	case PCI_MSIX_ENTRY_DATA:
		return v->data;
	default:
		return v->ctrl;
	}
}

static void entry_set(struct pci_msix_vector *v, unsigned field, uint32_t value)
{
	switch (field) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		v->addr = (v->addr & ~0xffffffffull) | (value & ~3u);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		v->addr = (v->addr & 0xffffffffull) | (uint64_t)value << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		v->data = value;
		break;
	default:
		v->ctrl = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
}

/* 32 pending bits: signals that wait in the eventfds of masked vectors. */
static uint32_t pending_bits(const struct pci_func *f, unsigned first)
{
	unsigned n = f->n_vectors > first ? f->n_vectors - first : 0;
	struct pollfd fds[32];
	uint32_t bits = 0;

	if (n > 32)
		n = 32;
	for (unsigned i = 0; i < n; i++) {
		const struct pci_msix_vector *v = &f->vectors[first + i];

		/* A negative fd is skipped by poll(). */
		fds[i] = (struct pollfd){ .fd = v->live ? -1 : v->fd,
					  .events = POLLIN };
	}
	if (poll(fds, n, 0) < 0)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		if ((fds[i].revents & POLLIN) ||
		    __atomic_load_n(&f->vectors[first + i].early, __ATOMIC_RELAXED))
			bits |= 1u << i;
	}
	return bits;
}

enum msix_part { MSIX_NEITHER, MSIX_TABLE, MSIX_PBA };

/* Which structure [off, ...) of @bar starts in; *@ret_off becomes relative to it. */
static enum msix_part msix_part(const struct pci_func *f, unsigned bar, uint64_t off,
				unsigned *ret_off)
{
	unsigned table_len = f->n_vectors * MSIX_ENTRY;
	unsigned pba_len = (f->n_vectors + 63) / 64 * 8;

	if (!f->n_vectors || bar != f->msix_bar)
		return MSIX_NEITHER;
	if (off >= f->msix_table && off - f->msix_table < table_len) {
		*ret_off = (unsigned)(off - f->msix_table);
		return MSIX_TABLE;
	}
	if (off >= f->msix_pba && off - f->msix_pba < pba_len) {
		*ret_off = (unsigned)(off - f->msix_pba);
		return MSIX_PBA;
	}
	return MSIX_NEITHER;
}

/* Aligned double and quad words only: PCI 3.0, section 6.8.2. */
static bool msix_width_ok(unsigned off, size_t len)
{
	return (len == 4 || len == 8) && !(off & (len - 1));
}

bool pci_msix_read(struct pci_func *f, unsigned bar, uint64_t off, void *buf,
		   size_t len)
{
	unsigned at = 0;
	enum msix_part part = msix_part(f, bar, off, &at);

	if (part == MSIX_NEITHER)
		return false;
	if (!msix_width_ok(at, len)) {
		memset(buf, 0xff, len);
		return true;
	}
	for (size_t i = 0; i < len; i += 4, at += 4) {
		uint32_t v = part == MSIX_TABLE
				     ? entry_get(&f->vectors[at / MSIX_ENTRY],
						 at % MSIX_ENTRY)
				     : pending_bits(f, at * 8);

		le32_put((uint8_t *)buf + i, v);
	}
	return true;
}

bool pci_msix_write(struct pci_func *f, unsigned bar, uint64_t off, const void *buf,
		    size_t len)
{
	unsigned at = 0;
	enum msix_part part = msix_part(f, bar, off, &at);
	struct pci_msix_vector *v;

	if (part == MSIX_NEITHER)
		return false;
	if (part == MSIX_PBA || !msix_width_ok(at, len))
		return true;
	v = &f->vectors[at / MSIX_ENTRY];
	for (size_t i = 0; i < len; i += 4)
		entry_set(v, (unsigned)((at + i) % MSIX_ENTRY),
			  le32_get((const uint8_t *)buf + i));
	update_vector(f, v);
	return true;
}

/* --- configuration space --------------------------------------------------- */

void pci_config_read(struct pci_func *f, unsigned off, void *buf, size_t len)
{
	uint8_t *p = buf;

	if (f->config_reading && off < PCI_CONFIG_SIZE)
		f->config_reading(f, off, len);
	for (size_t i = 0; i < len; i++, off++) {
		/* Above: no extended capabilities, which a header of 0 says. */
		p[i] = off < PCI_CONFIG_SIZE ? f->config[off] : 0;
		if (off == PCI_STATUS) {
			pthread_mutex_lock(&f->intx_lock);
			p[i] |= f->intx_asserted ? PCI_STATUS_INTERRUPT : 0;
			pthread_mutex_unlock(&f->intx_lock);
		}
	}
}

/* Whether [off, off + len) touches the @n bytes at @at. */
static bool touches(unsigned off, size_t len, unsigned at, unsigned n)
{
	return off < at + n && off + len > at;
}

void pci_config_write(struct pci_func *f, unsigned off, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < len && off + i < PCI_CONFIG_SIZE; i++) {
		uint8_t mask = f->wmask[off + i];

		config_set(f, off + (unsigned)i,
			   (uint8_t)((f->config[off + i] & ~mask) | (p[i] & mask)));
	}
	if (touches(off, len, PCI_COMMAND, 2) ||
	    touches(off, len, PCI_BASE_ADDRESS_0, 4 * PCI_NUM_BARS))
		update_bars(f);
	if (f->n_vectors && touches(off, len, f->msix_cap + PCI_MSIX_FLAGS, 2))
		update_vectors(f);
	/* Interrupt Disable or MSI-X Enable may have changed. */
	pthread_mutex_lock(&f->intx_lock);
	drive_intx(f);
	pthread_mutex_unlock(&f->intx_lock);
	if (f->config_written && off < PCI_CONFIG_SIZE)
		f->config_written(f, off, len);
}

void pci_func_reset(struct pci_func *f)
{
	/* The command register and the capabilities; BARs and interrupt line stay. */
	for (unsigned i = PCI_COMMAND; i < PCI_CONFIG_SIZE; i++) {
		if (i < PCI_COMMAND + 2 || i >= FIRST_CAP)
			config_set(f, i, f->config[i] & (uint8_t)~f->wmask[i]);
	}
	update_bars(f);
	for (unsigned i = 0; i < f->n_vectors; i++) {
		struct pci_msix_vector *v = &f->vectors[i];
		struct pollfd pfd = { .fd = v->fd, .events = POLLIN };
		eventfd_t old;

		v->addr = 0;
		v->data = 0;
		v->ctrl = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		update_vector(f, v);
		/* What was pending is not, after a reset. */
		__atomic_store_n(&v->early, false, __ATOMIC_RELAXED);
		if (poll(&pfd, 1, 0) == 1)
			(void)eventfd_read(v->fd, &old);
	}
	pci_intx_set(f, false);
}
