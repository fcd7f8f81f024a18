/* virtio-blk, driven by the bare-metal library; see blk.h. */
#include "blk.h"

#include <linux/virtio_blk.h>

#include "bare.h"
#include "pci.h"
#include "virtio.h"

enum { TYPE_BLOCK = 2, VENDOR = 0x1af4, DEVICE = 0x1042 };

/* Each is some seconds: a busy host is not a broken disk. */
#define PATIENCE 20

static struct virtio dev;
static int current = -1;
static bool stuck; /* a device did not stop, and may write to memory at any time */

static bool open_disk(int index)
{
	const char *why;

	if (current == index)
		return true;
	blk_stop();
	if (stuck || !virtio_open(&dev, TYPE_BLOCK, (unsigned)index, &why) ||
	    !virtio_negotiate(&dev, 1ull << VIRTIO_BLK_F_FLUSH) ||
	    !virtio_use_irq(&dev, VIRTIO_POLL) || !virtio_queue(&dev, 0, &why))
		return false;
	virtio_ready(&dev);
	current = index;
	return true;
}

void blk_stop(void)
{
	if (current >= 0 && !virtio_reset(&dev))
		stuck = true;
	current = -1;
}

static bool request(uint32_t type, uint64_t sector, void *data, uint64_t n)
{
	static struct virtio_blk_outhdr header;
	static volatile uint8_t status;
	const struct segment s[] = {
		{ &header, sizeof(header), false },
		{ data, (uint32_t)(n * SECTOR_SIZE), type == VIRTIO_BLK_T_IN },
		{ (uint8_t *)(uintptr_t)&status, 1, true },
	};
	const struct segment no_data[] = { s[0], s[2] };
	int64_t used = -1;

	header = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	status = 0xff;
	if (!(n ? vq_add(&dev.vq[0], s, 3) : vq_add(&dev.vq[0], no_data, 2)))
		return false;
	vq_kick(&dev.vq[0]);
	for (int i = 0; used < 0 && i < PATIENCE; i++)
		used = vq_wait(&dev.vq[0]);
	/* Whatever it still has in hand, it must not write once its memory is used
	 * again. */
	if (used < 0)
		blk_stop();
	cpu_barrier();
	return used >= 0 && status == VIRTIO_BLK_S_OK;
}

static bool read_disk(void *ctx, uint64_t sector, void *buf, uint64_t n)
{
	return open_disk((int)(intptr_t)ctx) &&
	       request(VIRTIO_BLK_T_IN, sector, buf, n);
}

/* On stable storage when it returns. */
static bool write_disk(void *ctx, uint64_t sector, const void *buf, uint64_t n)
{
	return open_disk((int)(intptr_t)ctx) &&
	       request(VIRTIO_BLK_T_OUT, sector, (void *)(uintptr_t)buf, n) &&
	       (!(dev.features >> VIRTIO_BLK_F_FLUSH & 1) ||
		request(VIRTIO_BLK_T_FLUSH, 0, NULL, 0));
}

size_t blk_find(struct blk ret_disks[DISKS_MAX])
{
	size_t n = 0;

	while (n < DISKS_MAX && pci_find(VENDOR, DEVICE, (unsigned)n) >= 0) {
		struct blk *b = &ret_disks[n];

		*b = (struct blk){ read_disk, write_disk, (void *)(uintptr_t)n, 0 };
		if (open_disk((int)n) && dev.config_length >= 8)
			b->sectors = mmio_read32(dev.config) |
				     (uint64_t)mmio_read32(dev.config + 4) << 32;
		n++;
	}
	return n;
}
