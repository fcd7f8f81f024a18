/*
 * virtio balloon; see balloon.h. All on the loop's thread, but for registers.
 *
 * What the guest puts into the balloon, or reports as free, is discarded, and reads as
 * zeroes if it is touched all the same: that harms nobody but the guest. Discarding is
 * what it asks for, however often, so only the loop's time must be guarded.
 *
 * The statistics queue works backwards: the guest gives a buffer with statistics, and
 * getting it back is the request for new ones.
 *
 * Queues that belong to features are numbered without gaps by Linux and with gaps by
 * the specification; both work, for there is only one meaning left for the others.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "virtio/virtio.h"

#define BALLOON_ID 5
#define BALLOON_QUEUE_SIZE 128
#define PAGE_SHIFT 12 /* section 5.5.6: whatever pages the guest has */
/* Page numbers of one request that are looked at; Linux sends 256. */
#define MAX_PFNS (16u << 10)
/*
 * Requests before the loop's other watches have a turn; so many page numbers, each of
 * which may be a system call, count as one more.
 */
#define BUDGET 16u
#define PFNS_PER_TURN 1024u

enum { INFLATE, DEFLATE, STATS, QUEUES_MAX = 5 };

#define F_STATS_VQ (1ull << 1)
#define F_DEFLATE_ON_OOM (1ull << 2)
#define F_PAGE_REPORTING (1ull << 5)

/* Device configuration, section 5.5.4. */
enum { CONFIG_NUM_PAGES = 0, CONFIG_ACTUAL = 4, CONFIG_LEN = 8 };

#define STAT_LEN 10u /* section 5.5.6.3: 16 bits of tag, 64 of value */

struct balloon {
	struct virtio_dev v; /* first */

	/* Under io_lock. */
	struct vq_chain chain; /* too large for a stack */
	bool held; /* the guest's statistics buffer, whose head is: */
	uint16_t held_head;
	bool have_stats;
	struct balloon_stats stats;
	struct timespec stats_time;
	balloon_stats_fn *done; /* who waits for statistics, or NULL */
	void *done_arg;

	struct log_limit bad_pfn, many_pfns;
};

/* --- the balloon ----------------------------------------------------------- */

/* Pages that follow one another, either way, go in one call. */
struct run {
	uint64_t first, n;
};

static bool run_add(struct run *run, uint64_t pfn)
{
	if (run->n == 0 || pfn + 1 == run->first)
		run->first = pfn;
	else if (pfn != run->first + run->n)
		return false;
	run->n++;
	return true;
}

static void run_discard(struct balloon *b, const struct run *run)
{
	if (run->n > 0 &&
	    !gmem_discard(b->v.dev.host->mem, GPA(run->first << PAGE_SHIFT),
			  run->n << PAGE_SHIFT))
		log_guest(&b->bad_pfn, b->v.dev.host->name, "page 0x%llx is not in RAM",
			  (unsigned long long)run->first);
}

static void inflate(struct balloon *b)
{
	uint64_t n = b->chain.out_len / 4;
	struct run run = { 0 };
	uint8_t part[1024];

	if (n > MAX_PFNS) {
		log_guest(&b->many_pfns, b->v.dev.host->name, "request of %llu pages",
			  (unsigned long long)n);
		n = MAX_PFNS;
	}
	for (uint64_t i = 0; i < n; i++) {
		size_t at = i * 4 % sizeof(part);
		uint32_t pfn;

		if (at == 0)
			vq_read(&b->chain, i * 4, part, sizeof(part));
		pfn = le32_get(part + at);
		if (run_add(&run, pfn))
			continue;
		run_discard(b, &run);
		run = (struct run){ pfn, 1 };
	}
	run_discard(b, &run);
}

/* Section 5.5.6.7: the buffers themselves are the free pages. */
static void report(struct balloon *b)
{
	const struct gmem *mem = b->v.dev.host->mem;

	for (unsigned i = b->chain.n_out; i < b->chain.n_out + b->chain.n_in; i++) {
		const struct iovec *iov = &b->chain.iov[i];

		gmem_discard(
			mem,
			GPA((uint64_t)((unsigned char *)iov->iov_base - mem->base)),
			iov->iov_len);
	}
}

/* --- statistics ------------------------------------------------------------ */

static void read_stats(struct balloon *b)
{
	struct balloon_stats s = { 0 };
	uint8_t stat[STAT_LEN];

	/* Whatever the length: one of each kind is all that can be told. */
	for (unsigned i = 0; i < BALLOON_STATS_MAX; i++) {
		uint16_t tag;

		if (vq_read(&b->chain, i * STAT_LEN, stat, STAT_LEN) < STAT_LEN)
			break;
		tag = le16_get(stat);
		if (tag >= BALLOON_STATS_MAX)
			continue;
		s.valid |= 1u << tag;
		s.value[tag] = le64_get(stat + 2);
	}
	b->stats = s;
	b->have_stats = true;
	clock_gettime(CLOCK_MONOTONIC, &b->stats_time);
}

/* A buffer came: keep it, and give an older one back, which should not be there. */
static void hold(struct balloon *b)
{
	read_stats(b);
	if (b->held) {
		vq_push(&b->v.queues[STATS], b->held_head, 0);
		virtio_signal(&b->v, STATS);
	}
	b->held = true;
	b->held_head = b->chain.head;
}

/* io_lock held, and given up during the call. */
static void tell(struct balloon *b)
{
	struct balloon_stats stats = b->stats;
	balloon_stats_fn *done = b->done;

	if (!done)
		return;
	b->done = NULL;
	pthread_mutex_unlock(&b->v.io_lock);
	done(b->done_arg, &stats);
	pthread_mutex_lock(&b->v.io_lock);
}

/* --- queues ---------------------------------------------------------------- */

/* What serving the chain at hand takes of the budget. */
static unsigned cost(const struct balloon *b, unsigned n)
{
	uint64_t pfns = n == INFLATE ? b->chain.out_len / 4 : 0;

	return 1 + (unsigned)((pfns < MAX_PFNS ? pfns : MAX_PFNS) / PFNS_PER_TURN);
}

/* The chain at hand; false: it is kept. */
static bool serve(struct balloon *b, unsigned n)
{
	if (n == STATS && (b->v.acked & F_STATS_VQ)) {
		hold(b);
		return false;
	}
	if (n == INFLATE)
		inflate(b);
	else if (n != DEFLATE && (b->v.acked & F_PAGE_REPORTING))
		report(b);
	return true;
}

static void balloon_kick(struct virtio_dev *v, unsigned n)
{
	struct balloon *b = (struct balloon *)v;
	struct vq *q = &v->queues[n];
	unsigned budget = BUDGET;
	bool told = false;
	int r = 0;

	do {
		vq_kicks(q, false);
		while (budget > 0 && (r = vq_pop(q, &b->chain)) > 0) {
			unsigned spent = cost(b, n);

			if (serve(b, n)) {
				vq_push(q, b->chain.head, 0);
				virtio_signal(v, n);
			} else {
				told = true;
			}
			budget -= spent < budget ? spent : budget;
		}
		if (r < 0) {
			virtio_broken(v, q->why);
			return;
		}
	} while (vq_kicks(q, true) && budget > 0);
	if (budget == 0)
		(void)eventfd_write(v->kick_fd, 1);
	/* Last, for the device may be another one when it returns. */
	if (told)
		tell(b);
}

/* --- life ------------------------------------------------------------------ */

/* Everything is the guest's again, whatever its driver said. */
static void balloon_stop(struct virtio_dev *v)
{
	struct balloon *b = (struct balloon *)v;

	b->held = false;
	le32_put(v->config + CONFIG_ACTUAL, 0);
}

static void balloon_config_write(struct virtio_dev *v, uint64_t off, const void *buf,
				 size_t len)
{
	if (off >= CONFIG_ACTUAL)
		memcpy(v->config + off, buf, len);
}

static const struct virtio_ops balloon_ops = {
	.id = BALLOON_ID,
	.pci_class = 0x00ff00, /* unclassified, other */
	.kick = balloon_kick,
	.stop = balloon_stop,
	.config_write = balloon_config_write,
};

/* The field has room for 16 TiB. */
static void set_target(struct balloon *b, uint64_t bytes)
{
	uint64_t pages = bytes >> PAGE_SHIFT;

	le32_put(b->v.config + CONFIG_NUM_PAGES,
		 pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX);
}

int virtio_balloon_set(struct device *dev, uint64_t bytes, struct err *err)
{
	struct balloon *b = (struct balloon *)dev;
	uint64_t size = gmem_size(dev->host->mem);

	if (bytes > size)
		return err_set(err, -EINVAL,
			       "%s: %llu MiB are more than the guest's %llu MiB",
			       dev->host->name, (unsigned long long)bytes >> 20,
			       (unsigned long long)size >> 20);
	AUTO_LOCK(&dev->lock);
	set_target(b, bytes);
	virtio_config_changed(&b->v);
	return 0;
}

static uint64_t config_bytes(const struct balloon *b, unsigned field)
{
	return (uint64_t)le32_get(b->v.config + field) << PAGE_SHIFT;
}

void virtio_balloon_get(struct device *dev, struct balloon_state *ret)
{
	struct balloon *b = (struct balloon *)dev;
	uint64_t size = gmem_size(dev->host->mem);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	AUTO_LOCK(&dev->lock);
	AUTO_LOCK(&b->v.io_lock);
	ret->target = config_bytes(b, CONFIG_NUM_PAGES);
	ret->actual = config_bytes(b, CONFIG_ACTUAL);
	if (ret->actual > size)
		ret->actual = size;
	ret->stats = b->stats;
	ret->age_ms = UINT64_MAX;
	if (b->have_stats)
		ret->age_ms =
			(uint64_t)((now.tv_sec - b->stats_time.tv_sec) * 1000 +
				   (now.tv_nsec - b->stats_time.tv_nsec) / 1000000);
}

int virtio_balloon_stats(struct device *dev, balloon_stats_fn *done, void *arg)
{
	struct balloon *b = (struct balloon *)dev;
	AUTO_LOCK(&b->v.io_lock);

	if (!done) {
		b->done = NULL;
		return 0;
	}
	if (b->done)
		return -EBUSY;
	if (!b->v.running || !b->held)
		return -ENOTCONN;
	b->done = done;
	b->done_arg = arg;
	b->held = false;
	vq_push(&b->v.queues[STATS], b->held_head, 0);
	virtio_signal(&b->v, STATS);
	return 0;
}

static void balloon_free(struct device *dev)
{
	struct balloon *b = (struct balloon *)dev;

	virtio_free(&b->v);
	free(b);
}

static int balloon_create(const void *cfg_, const struct dev_host *host,
			  struct device **ret_dev, struct err *err)
{
	const struct virtio_balloon_cfg *cfg = cfg_;
	struct balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_sys(err, -ENOMEM, "%s", host->name);
	b->v.offered = F_STATS_VQ | F_DEFLATE_ON_OOM;
	b->v.n_queues = STATS + 1;
	if (cfg->page_reporting) {
		b->v.offered |= F_PAGE_REPORTING;
		b->v.n_queues = QUEUES_MAX;
	}
	for (unsigned i = 0; i < b->v.n_queues; i++)
		b->v.queue_size[i] = BALLOON_QUEUE_SIZE;
	b->v.config_len = CONFIG_LEN;
	set_target(b, cfg->start);
	r = virtio_init(&b->v, &virtio_balloon_class, &balloon_ops, host, err);
	if (r < 0) {
		balloon_free(&b->v.dev);
		return r;
	}
	*ret_dev = &b->v.dev;
	return 0;
}

const struct dev_class virtio_balloon_class = {
	.name = "balloon",
	.help = "a device by which the guest gives memory back",
	.flags = DEV_DEFAULT,
	.create = balloon_create,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = balloon_free,
};
