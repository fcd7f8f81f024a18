/*
 * virtio-balloon (virtio 1.2, 5.5): fills as many pages as the host asks for, gives
 * them up, and fills them again; a character on COM1 leads from one step to the next,
 * so that the host can see its memory fall and rise. Words: by=report reports the pages
 * as free instead.
 */
#include "bare.h"
#include "virtio.h"

enum {
	TYPE_BALLOON = 5,
	INFLATE = 0,
	DEFLATE = 1,
	STATISTICS = 2,
	REPORT = 3,
	PFNS = 256,
	PAGE = 4096,
	FEATURE_STATISTICS = 1 << 1,
	FEATURE_REPORTING = 1 << 5,
};

static const uintptr_t memory = 32 << 20;
static struct virtio dev;

static bool step(const char *name)
{
	print("%s\n", name);
	return test_check(print_read() >= 0, name, "nobody wants the next step");
}

static bool send(unsigned queue, uint32_t pages)
{
	static uint32_t pfns[PFNS];
	bool ok = true;

	for (uint32_t at = 0; ok && at < pages; at += PFNS) {
		uint32_t n = pages - at < PFNS ? pages - at : PFNS;
		struct segment s = { pfns, n * 4, false };

		/* Downwards, as Linux has them. */
		for (uint32_t i = 0; i < n; i++)
			pfns[i] = (uint32_t)(memory / PAGE) + pages - 1 - at - i;
		ok = vq_request(&dev.vq[queue], &s, 1) >= 0;
	}
	return test_check(ok, queue == INFLATE ? "inflate" : "deflate",
			  "no completion");
}

static bool report(uint32_t pages)
{
	struct segment s = { (void *)memory, pages * PAGE, true };

	return test_check(vq_request(&dev.vq[REPORT], &s, 1) >= 0, "report",
			  "no completion");
}

static bool setup(bool reporting)
{
	const char *why;

	if (!virtio_open(&dev, TYPE_BALLOON, 0, &why)) {
		test_fail("open", "%s", why);
		return false;
	}
	if (!virtio_negotiate(&dev, FEATURE_STATISTICS | FEATURE_REPORTING) ||
	    !virtio_use_irq(&dev, VIRTIO_POLL)) {
		test_fail("set up", "status %02x", virtio_status(&dev));
		return false;
	}
	for (unsigned i = 0; i <= (reporting ? REPORT : STATISTICS); i++)
		if (!virtio_queue(&dev, i, &why)) {
			test_fail("queue", "%s", why);
			return false;
		}
	virtio_ready(&dev);
	return true;
}

void guest_main(void)
{
	bool reporting = arg_is("by", "report");
	uint32_t pages;

	if (!setup(reporting))
		return;
	pages = mmio_read32(dev.config);
	print("target: %u pages\n", pages);
	memset((void *)memory, 1, (size_t)pages * PAGE);
	if (!step("full"))
		return;
	if (reporting ? !report(pages) : !send(INFLATE, pages))
		return;
	mmio_write32(dev.config + 4, pages);
	test_check(mmio_read32(dev.config + 4) == pages, "actual size",
		   "not as it was written");
	if (!step("given"))
		return;
	if (!reporting && !send(DEFLATE, pages))
		return;
	memset((void *)memory, 2, (size_t)pages * PAGE);
	step("taken");
}
