/*
 * The attacks' frame. Words: attack=NAME|all, dev=blk|rng|con|balloon|net|vsock (the
 * device to attack). One line an attack: PASS if the device works again after it.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_vsock.h>

#include "apic.h"
#include "bare.h"
#include "hostile.h"

struct virtio dev;
struct vq *vq;
unsigned device_type;

static const char *attack_name;
static bool attack_failed;

bool fresh(uint64_t features)
{
	bool second = device_type == TYPE_CONSOLE || device_type == TYPE_NET ||
		      device_type == TYPE_VSOCK;
	const char *why;

	if (!virtio_reset(&dev) || !virtio_negotiate(&dev, features))
		return false;
	vq = &dev.vq[second ? 1 : 0];
	for (struct vq *q = &dev.vq[0]; q <= vq; q++)
		if (!virtio_queue(&dev, q->index, &why))
			return false;
	virtio_ready(&dev);
	return true;
}

void settle(void)
{
	struct wait w = wait_briefly();
	uint16_t used = vq->used->idx;

	while (vq->used->idx == used &&
	       !(virtio_status(&dev) & VIRTIO_CONFIG_S_NEEDS_RESET) && wait_more(&w))
		;
}

void wrong(const char *why, ...)
{
	va_list ap;

	va_start(ap, why);
	attack_failed = true;
	print("FAIL %s: ", attack_name);
	print_va(why, ap);
	print_char('\n');
	va_end(ap);
}

void notify(uint16_t value)
{
	cpu_fence();
	mmio_write16(vq->notify, value);
}

/* One request that any such device must be able to do. */
static bool good_request(void)
{
	static struct virtio_blk_outhdr header;
	static uint8_t data[512], status;
	const struct segment block[] = { { &header, sizeof(header), false },
					 { data, sizeof(data), true },
					 { &status, 1, true } };
	const struct segment random = { data, 16, true };
	const struct segment text = { data, 1, false };
	const struct segment packet = { data, sizeof(struct virtio_vsock_hdr), false };

	header = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_IN };
	status = 0xee;
	data[0] = '.';
	switch (device_type) {
	case TYPE_BLOCK:
		return vq_request(vq, block, 3) == 513 && status == VIRTIO_BLK_S_OK;
	case TYPE_ENTROPY:
		return vq_request(vq, &random, 1) > 0;
	case TYPE_VSOCK: /* from nobody to nobody */
		memset(data, 0, sizeof(struct virtio_vsock_hdr));
		return vq_request(vq, &packet, 1) >= 0;
	default:
		return vq_request(vq, &text, 1) >= 0;
	}
}

static unsigned run(const struct attack *list, const char *only)
{
	unsigned n = 0;

	for (const struct attack *a = list; a->name; a++) {
		if (!text_equal(only, "all") && !text_equal(only, a->name))
			continue;
		if (a->only && a->only != device_type)
			continue;
		n++;
		attack_name = a->name;
		attack_failed = false;
		if (!fresh(0)) {
			test_fail(a->name, "the device does not start before it");
			continue;
		}
		a->run();
		if (!fresh(0))
			test_fail(a->name,
				  "afterwards the device cannot be set up: "
				  "status %02x",
				  virtio_status(&dev));
		else if (!good_request())
			test_fail(a->name,
				  "afterwards a good request fails: status %02x",
				  virtio_status(&dev));
		else if (attack_failed)
			test_fail(a->name, "see above");
		else
			test_pass(a->name);
	}
	return n;
}

void guest_main(void)
{
	char only[32];
	const char *why;
	unsigned n;

	apic_init();
	if (!arg_text("attack", only, sizeof(only)))
		memcpy(only, "all", sizeof("all"));
	device_type = arg_is("dev", "rng")	 ? TYPE_ENTROPY
		      : arg_is("dev", "con")	 ? TYPE_CONSOLE
		      : arg_is("dev", "balloon") ? TYPE_BALLOON
		      : arg_is("dev", "net")	 ? TYPE_NET
		      : arg_is("dev", "vsock")	 ? TYPE_VSOCK
						 : TYPE_BLOCK;
	if (!virtio_open(&dev, device_type, 0, &why)) {
		test_fail("open", "%s", why);
		return;
	}
	virtio_use_irq(&dev, VIRTIO_POLL);
	n = run(ring_attacks, only) + run(transport_attacks, only) +
	    run(platform_attacks, only);
	test_check(n > 0, "attacks made", "none is called %s", only);
}
