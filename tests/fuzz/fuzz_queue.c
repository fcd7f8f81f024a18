/*
 * A virtio device under a guest that writes any bytes into its rings, registers
 * and configuration space.
 *
 * Input: a byte of settings, then operations of 8 bytes: which (1), width (1),
 * offset (2), value (4); see operate(). Settings: bits 0 to 2, log2 of the queue
 * size; bit 3, start the queues first; bit 4, no EVENT_IDX; bit 5, no INDIRECT;
 * bit 6, the host refuses notifications.
 *
 * The device gives back what it takes, at once or later, filled; every segment
 * has to lie in RAM.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tests/unit/fake_driver.h"

#define ID 42
#define QUEUES 2
#define RAM_SIZE 0x10000u
/* Where the rings of queue n are, and RAM that operations reach: 512 bytes each. */
#define RINGS(n) (0x1000u + 0x200u * (n))
#define BUDGET 64 /* chains a kick; a buffer may cover the ring that it is in */

static struct fake_host host;
static struct fake_driver driver;
static struct {
	struct virtio_dev v; /* first */
	struct vq_chain chain;
	uint16_t kept[QUEUES][VQ_MAX_SIZE]; /* heads that wait */
	unsigned n_kept[QUEUES];
} dev;

static void check_chain(const struct vq_chain *c)
{
	uint64_t out = 0, in = 0;

	assert(c->n_out + c->n_in <= VQ_MAX_SEGS);
	for (unsigned i = 0; i < c->n_out + c->n_in; i++) {
		uint64_t at =
			(uint64_t)((unsigned char *)c->iov[i].iov_base - host.mem.base);

		assert(c->iov[i].iov_len > 0);
		assert(gmem_slice(&host.mem, GPA(at), c->iov[i].iov_len));
		*(i < c->n_out ? &out : &in) += c->iov[i].iov_len;
	}
	assert(out == c->out_len && in == c->in_len);
}

static void give_back(struct virtio_dev *v, unsigned n)
{
	while (dev.n_kept[n])
		vq_push(&v->queues[n], dev.kept[n][--dev.n_kept[n]], 1);
	virtio_signal(v, n);
}

static void kick(struct virtio_dev *v, unsigned n)
{
	struct vq *q = &v->queues[n];
	unsigned char bytes[16];
	struct iovec iov[VQ_MAX_SEGS];
	int r = 0;

	vq_kicks(q, false);
	for (unsigned i = 0; i < BUDGET && (r = vq_pop(q, &dev.chain)) == 1; i++) {
		uint64_t middle = dev.chain.in_len / 2;

		check_chain(&dev.chain);
		vq_read(&dev.chain, dev.chain.out_len / 2, bytes, sizeof(bytes));
		vq_write(&dev.chain, middle, bytes, sizeof(bytes));
		vq_slices(&dev.chain, true, middle, dev.chain.in_len - middle, iov);
		assert(dev.n_kept[n] < q->size);
		dev.kept[n][dev.n_kept[n]++] = dev.chain.head;
		if (dev.chain.head & 1)
			give_back(v, n);
	}
	if (r < 0)
		virtio_broken(v, q->why);
	else
		vq_kicks(q, true);
}

static void stop(struct virtio_dev *v)
{
	(void)v;
	memset(dev.n_kept, 0, sizeof(dev.n_kept));
}

static void config_write(struct virtio_dev *v, uint64_t off, const void *buf,
			 size_t len)
{
	assert(range_within(off, len, v->config_len));
	memcpy(v->config + off, buf, len);
	virtio_config_changed(v);
}

static const struct virtio_ops ops = {
	.id = ID,
	.kick = kick,
	.stop = stop,
	.config_write = config_write,
};

static const struct dev_class class = {
	.name = "queue",
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
};

static void set_up(void)
{
	int r;

	fake_host_init(&host, "queue0", RAM_SIZE);
	dev.v.n_queues = QUEUES;
	dev.v.queue_size[0] = 256;
	dev.v.queue_size[1] = 16;
	dev.v.config_len = 24;
	r = virtio_init(&dev.v, &class, &ops, &host.host, NULL);
	assert(r == 0);
}

/* What the settings ask for, up to DRIVER_OK. */
static void start(uint8_t settings)
{
	uint64_t features = fake_driver_offered(&driver);

	if (settings & 1 << 4)
		features &= ~VIRTIO_F_EVENT_IDX;
	if (settings & 1 << 5)
		features &= ~VIRTIO_F_INDIRECT_DESC;
	assert(fake_driver_negotiate(&driver, features));
	fake_driver_msix(&driver);
	for (unsigned i = 0; i < QUEUES; i++) {
		unsigned size = 1u << (settings & 7);

		if (size > dev.v.queue_size[i])
			size = dev.v.queue_size[i];
		fake_common_out(&driver, FAKE_QUEUE_SELECT, i, 2);
		fake_common_out(&driver, FAKE_QUEUE_SIZE, size, 2);
		fake_common_out(&driver, FAKE_QUEUE_DESC, RINGS(3 * i), 8);
		fake_common_out(&driver, FAKE_QUEUE_DRIVER, RINGS(3 * i + 1), 8);
		fake_common_out(&driver, FAKE_QUEUE_DEVICE, RINGS(3 * i + 2), 8);
		fake_common_out(&driver, FAKE_QUEUE_VECTOR, i + 1, 2);
		fake_common_out(&driver, FAKE_QUEUE_ENABLE, 1, 2);
	}
	fake_driver_ok(&driver);
}

static void operate(uint8_t which, uint8_t width, uint16_t off, uint32_t value)
{
	size_t len = 1 + width % 8;
	uint64_t wide = (uint64_t)value << 32 | value;

	switch (which % 8) {
	case 0: /* the rings */
	case 1:
		memcpy(host.mem.base + 0x1000 + off % 0xc00, &value, len < 4 ? len : 4);
		break;
	case 2: /* anywhere in RAM */
		memcpy(host.mem.base + off % (RAM_SIZE - 3), &value, len < 4 ? len : 4);
		break;
	case 3: /* the BAR, as it was assigned */
		fake_out(&host, DEV_MMIO, driver.bar + (off & 0x7fff), wide, len);
		break;
	case 4:
		fake_in(&host, DEV_MMIO, driver.bar + (off & 0x7fff), len);
		break;
	case 5: /* configuration space */
		fake_out(&host, DEV_MMIO,
			 PCI_ECAM_BASE + (driver.slot << 15) + (off & 0xfff), wide,
			 len);
		break;
	case 6:
		fake_in(&host, DEV_MMIO,
			PCI_ECAM_BASE + (driver.slot << 15) + (off & 0xfff), len);
		break;
	case 7: /* time passes */
		if (value & 1)
			fake_out(&host, DEV_MMIO, driver.notify + 4 * (off % QUEUES), 0,
				 2);
		fake_run(&host);
		pthread_mutex_lock(&dev.v.io_lock);
		if (value & 2 && dev.v.running)
			give_back(&dev.v, off % QUEUES);
		pthread_mutex_unlock(&dev.v.io_lock);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!host.host.ops)
		set_up();
	if (size < 1)
		return 0;
	virtio_reset(&dev.v.dev);
	le32_put(dev.v.pci.config + 0x10, PCI_WINDOW_BASE);
	memset(host.mem.base, 0, RAM_SIZE);
	fake_driver_find(&driver, &host, ID, 0);
	host.no_notify = data[0] & 1 << 6;
	if (data[0] & 1 << 3)
		start(data[0]);
	for (size_t i = 1; i + 8 <= size; i += 8)
		operate(data[i], data[i + 1], le16_get(data + i + 2),
			le32_get(data + i + 4));
	fake_run(&host);
	return 0;
}
