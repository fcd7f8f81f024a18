/*
 * virtio-console without multiport (virtio 1.2, 5.3): queue 0 brings input, queue 1
 * takes output. Words: console=N (which of them), lines=N (how many to write), flood=N
 * (so many times 64 KiB more), read=1 (posts a buffer, and says on both consoles which
 * line came), size=N (the largest queue that must be offered), irq=poll|intx|msix.
 */
#include "apic.h"
#include "bare.h"
#include "virtio.h"

enum { TYPE_CONSOLE = 3, RECEIVE = 0, TRANSMIT = 1, LONGEST = 256, FLOOD = 65536 };

static struct virtio dev;
static char buffer[LONGEST], line[LONGEST];

/* Copied first: the device cannot be asked to keep a literal from changing. */
static bool say(const char *text)
{
	static char out[LONGEST];
	size_t n = text_length(text);
	struct segment s = { out, (uint32_t)n, false };

	memcpy(out, text, n);
	return vq_request(&dev.vq[TRANSMIT], &s, 1) >= 0;
}

static bool flood(void)
{
	static char much[FLOOD];
	struct segment s = { much, sizeof(much), false };

	memset(much, 'x', sizeof(much));
	return vq_request(&dev.vq[TRANSMIT], &s, 1) >= 0;
}

/* A line may come in several buffers. */
static bool hear(void)
{
	size_t n = 0;

	while (n == 0 || line[n - 1] != '\n') {
		struct segment s = { buffer, sizeof(buffer), true };
		int64_t len = vq_request(&dev.vq[RECEIVE], &s, 1);

		if (len <= 0 || n + (size_t)len >= sizeof(line)) {
			test_fail("read", "used length %ld behind %lu bytes", len,
				  (uint64_t)n);
			return false;
		}
		cpu_barrier();
		memcpy(line + n, buffer, (size_t)len);
		n += (size_t)len;
	}
	line[n] = '\0';
	return true;
}

void guest_main(void)
{
	enum virtio_irq irq = arg_is("irq", "poll")   ? VIRTIO_POLL
			      : arg_is("irq", "intx") ? VIRTIO_INTX
						      : VIRTIO_MSIX;
	const char *why;
	bool said = true;

	apic_init();
	if (!virtio_open(&dev, TYPE_CONSOLE, (unsigned)arg_number("console", 0),
			 &why)) {
		test_fail("open", "%s", why);
		return;
	}
	if (!virtio_negotiate(&dev, 0) || !virtio_use_irq(&dev, irq)) {
		test_fail("set up", "status %02x", virtio_status(&dev));
		return;
	}
	if (arg_has("size"))
		test_check(virtio_queue_max(&dev, TRANSMIT) == arg_number("size", 0),
			   "queue size", "it is %u", virtio_queue_max(&dev, TRANSMIT));
	if (!virtio_queue(&dev, RECEIVE, &why) || !virtio_queue(&dev, TRANSMIT, &why)) {
		test_fail("queues", "%s", why);
		return;
	}
	virtio_ready(&dev);
	for (uint64_t i = arg_number("lines", 1); i && said; i--)
		said = say("hello from the console guest\n");
	for (uint64_t i = arg_number("flood", 0); i && said; i--)
		said = flood();
	test_check(said, "write", "the device does not take it");
	if (!arg_number("read", 0) || !hear())
		return;
	print("got %s", line);
	test_check(say("got ") && say(line), "answer", "the device does not take it");
}
