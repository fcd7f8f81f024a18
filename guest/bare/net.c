/*
 * virtio-net (virtio 1.2, 5.1): answers ARP and ICMP echo requests for whatever address
 * they are, until it has answered as many as the word pings=N says. irq=poll|intx|msix.
 */
#include "apic.h"
#include "bare.h"
#include "virtio.h"

enum {
	TYPE_NET = 1,
	RX = 0,
	TX = 1,
	FEATURE_MAC = 1 << 5,
	HEADER = 12,
	MTU = 1514,
	PATIENCE = 10,
	/* In an Ethernet frame: */
	ETHERTYPE = 12,
	ARP_OPERATION = 20,
	ARP_SENDER = 22,
	ARP_TARGET = 32,
	ARP_LEN = 42,
	IP_PROTOCOL = 23,
	IP_SENDER = 26,
	IP_TARGET = 30,
	ICMP_TYPE = 34,
	ICMP_CHECKSUM = 36,
	ICMP_LEN = 42,
};

static struct virtio dev;
static uint8_t in[HEADER + MTU], out[HEADER + MTU];
static uint8_t mac[6];

static unsigned big16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* The answer to an ARP request, in @f itself. */
static void answer_arp(uint8_t *f)
{
	uint8_t asked[4];

	memcpy(asked, f + ARP_TARGET + 6, 4);
	memcpy(f + ARP_TARGET, f + ARP_SENDER, 10);
	memcpy(f + ARP_SENDER, mac, 6);
	memcpy(f + ARP_SENDER + 6, asked, 4);
	f[ARP_OPERATION + 1] = 2;
}

static void answer_echo(uint8_t *f)
{
	unsigned sum = big16(f + ICMP_CHECKSUM) + 0x800;
	uint8_t sender[4];

	memcpy(sender, f + IP_SENDER, 4);
	memcpy(f + IP_SENDER, f + IP_TARGET, 4);
	memcpy(f + IP_TARGET, sender, 4);
	f[ICMP_TYPE] = 0;
	sum += sum >> 16;
	f[ICMP_CHECKSUM] = (uint8_t)(sum >> 8);
	f[ICMP_CHECKSUM + 1] = (uint8_t)sum;
}

static bool send(const uint8_t *frame, size_t len)
{
	struct segment s[] = { { out, HEADER, false },
			       { out + HEADER, (uint32_t)len, false } };

	memset(out, 0, HEADER);
	memcpy(out + HEADER, frame, len);
	memcpy(out + HEADER, frame + 6, 6);
	memcpy(out + HEADER + 6, mac, 6);
	return test_check(vq_request(&dev.vq[TX], s, 2) == 0, "send", "no completion");
}

/* 1: an echo was answered, 0: something else came, -1: an error. */
static int answer_one(void)
{
	struct segment s = { in, sizeof(in), true };
	int64_t len = vq_request(&dev.vq[RX], &s, 1);
	uint8_t *f = in + HEADER;

	/* Whoever sets the host's end up may take a while. */
	for (unsigned i = 0; i < PATIENCE && len < 0; i++)
		len = vq_wait(&dev.vq[RX]);
	if (len < 0) {
		test_fail("receive", "nothing comes");
		return -1;
	}
	cpu_barrier();
	if (len < HEADER + ETHERTYPE + 2 || big16(in + HEADER - 2) != 0x0100) {
		test_fail("receive", "%ld bytes, number of buffers %04x", len,
			  big16(in + HEADER - 2));
		return -1;
	}
	len -= HEADER;
	if (big16(f + ETHERTYPE) == 0x806 && len >= ARP_LEN &&
	    big16(f + ARP_OPERATION) == 1) {
		answer_arp(f);
		return send(f, (size_t)len) ? 0 : -1;
	}
	if (big16(f + ETHERTYPE) == 0x800 && len >= ICMP_LEN && f[IP_PROTOCOL] == 1 &&
	    f[ICMP_TYPE] == 8) {
		answer_echo(f);
		return send(f, (size_t)len) ? 1 : -1;
	}
	return 0;
}

static bool setup(void)
{
	enum virtio_irq irq = arg_is("irq", "poll")   ? VIRTIO_POLL
			      : arg_is("irq", "intx") ? VIRTIO_INTX
						      : VIRTIO_MSIX;
	const char *why;

	if (!virtio_open(&dev, TYPE_NET, 0, &why)) {
		test_fail("open", "%s", why);
		return false;
	}
	if (!virtio_negotiate(&dev, FEATURE_MAC) || !virtio_use_irq(&dev, irq)) {
		test_fail("set up", "status %02x", virtio_status(&dev));
		return false;
	}
	if (!virtio_queue(&dev, RX, &why) || !virtio_queue(&dev, TX, &why)) {
		test_fail("queues", "%s", why);
		return false;
	}
	virtio_ready(&dev);
	return true;
}

void guest_main(void)
{
	uint64_t pings = arg_number("pings", 1);

	apic_init();
	if (!setup())
		return;
	memcpy(mac, (uint8_t[]){ 2, 0, 0, 0, 0, 1 }, sizeof(mac));
	for (unsigned i = 0; i < sizeof(mac) && (dev.features & FEATURE_MAC); i++)
		mac[i] = mmio_read8(dev.config + i);
	print("address %02x:%02x:%02x:%02x:%02x:%02x\n", mac[0], mac[1], mac[2], mac[3],
	      mac[4], mac[5]);
	while (pings > 0) {
		int r = answer_one();

		if (r < 0)
			return;
		pings -= (unsigned)r;
	}
	test_pass("answers");
}
