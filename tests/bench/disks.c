/*
 * Disk requests through the real block device and a driver for it, beside a bare
 * io_uring loop on the same file.
 *
 *   disks [-n ROUNDS] [-t MS] [-c] FILE COMPOSITE
 *
 * The three take turns, MS milliseconds each, round after round. -c: through the page
 * cache; else direct I/O. Of FILE and COMPOSITE the bytes from 1 MiB to the end less
 * 1 MiB are used, and overwritten.
 *
 * The device runs on one thread with its driver, as if KVM took no time: a kick is what
 * an ioeventfd makes of it, and an interrupt wakes the driver by its eventfd, as a vCPU
 * would be woken. What the table shows is thus what the device costs.
 */
#undef NDEBUG
#include <assert.h>
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/disk.h"
#include "disk/engine.h"
#include "tests/unit/fake_driver.h"
#include "virtio/blk.h"

#define MAX_DEPTH 32
#define MAX_ROUNDS 200
#define MAX_LEN (1u << 20)
#define EDGE (1u << 20)

struct load {
	const char *name;
	bool write, random;
	unsigned len, depth;
};

static const struct load loads[] = {
	{ "4 KiB random read, depth 1", false, true, 4096, 1 },
	{ "4 KiB random read, depth 32", false, true, 4096, 32 },
	{ "4 KiB random write, depth 1", true, true, 4096, 1 },
	{ "4 KiB random write, depth 32", true, true, 4096, 32 },
	{ "1 MiB read, depth 1", false, false, MAX_LEN, 1 },
	{ "1 MiB read, depth 32", false, false, MAX_LEN, 32 },
	{ "1 MiB write, depth 1", true, false, MAX_LEN, 1 },
	{ "1 MiB write, depth 32", true, false, MAX_LEN, 32 },
};

static uint64_t span; /* of bytes that are used */
static uint64_t at; /* of a sequential load */
static uint64_t seed = 88172645463325252u;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t next_off(const struct load *l)
{
	uint64_t off = at;

	if (l->random) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		return EDGE + seed % (span / l->len) * l->len;
	}
	at = off + 2 * l->len <= span ? off + l->len : 0;
	return EDGE + off;
}

/* --- the bare loop --------------------------------------------------------- */

struct bare {
	struct io_uring ring;
	struct gmem mem;
	unsigned char *buffers;
};

static void bare_init(struct bare *b, const char *path, bool direct)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };
	int fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	struct gmem_range range = { GPA(0), (uint64_t)MAX_DEPTH * MAX_LEN };
	struct err e = { "" };

	if (fd < 0)
		err(1, "%s", path);
	if (io_uring_queue_init_params(64, &b->ring, &p) < 0 &&
	    io_uring_queue_init(64, &b->ring, 0) < 0)
		errx(1, "no io_uring");
	if (io_uring_register_files(&b->ring, &fd, 1) < 0)
		errx(1, "io_uring: cannot register a file");
	/* The same kind of memory as a guest's: huge pages make a difference. */
	if (gmem_map(&b->mem, &range, 1, &e) < 0)
		errx(1, "%s", e.msg);
	b->buffers = gmem_slice(&b->mem, GPA(0), range.len);
	memset(b->buffers, 1, (size_t)MAX_DEPTH * MAX_LEN);
}

static void bare_submit(struct bare *b, const struct load *l, uint64_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
	void *buf = b->buffers + slot * MAX_LEN;

	assert(sqe);
	if (l->write)
		io_uring_prep_write(sqe, 0, buf, l->len, next_off(l));
	else
		io_uring_prep_read(sqe, 0, buf, l->len, next_off(l));
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->user_data = slot;
}

/* Requests a second. */
static double bare_run(struct bare *b, const struct load *l, uint64_t ns)
{
	uint64_t start = now_ns(), n = 0;
	unsigned in_flight = l->depth;
	struct io_uring_cqe *cqes[MAX_DEPTH];

	for (unsigned i = 0; i < l->depth; i++)
		bare_submit(b, l, i);
	while (in_flight > 0) {
		bool more;
		unsigned got;

		assert(io_uring_submit_and_wait(&b->ring, 1) >= 0);
		more = now_ns() - start < ns;
		got = io_uring_peek_batch_cqe(&b->ring, cqes, MAX_DEPTH);
		for (unsigned i = 0; i < got; i++) {
			if (cqes[i]->res != (int)l->len)
				errx(1, "bare: %d instead of %u", cqes[i]->res, l->len);
			in_flight--;
			n++;
			if (more) {
				bare_submit(b, l, cqes[i]->user_data);
				in_flight++;
			}
		}
		io_uring_cq_advance(&b->ring, got);
	}
	return (double)n * 1e9 / (double)(now_ns() - start);
}

/* --- through the device ---------------------------------------------------- */

struct target {
	struct fake_host host;
	struct fake_driver d;
	struct device *dev;
	struct virtio_blk_cfg cfg;
	gpa_t headers, data, status;
	const struct load *load;
	uint64_t start, ns, n;
	unsigned in_flight;
};

static void target_kick(struct target *t)
{
	(void)eventfd_write(((struct virtio_dev *)t->dev)->kick_fd, 1);
}

/* Descriptors 3n to 3n + 2 are slot n's. */
static void target_submit(struct target *t, unsigned slot)
{
	struct fake_vq *q = &t->d.q[0];
	volatile struct fake_desc *desc = &q->desc[3 * slot];
	unsigned char *header = fake_ptr(&t->host, GPA(t->headers.v + 16 * slot), 16);
	const struct load *l = t->load;

	le32_put(header, l->write);
	le64_put(header + 8, next_off(l) / 512);
	desc[1].len = l->len;
	desc[1].flags = (uint16_t)(FAKE_F_NEXT | (l->write ? 0 : FAKE_F_WRITE));
	fake_avail(&t->d, 0, (uint16_t)(3 * slot));
	t->in_flight++;
}

/* Take what is done and submit as much again. */
static void target_collect(struct target *t)
{
	struct fake_vq *q = &t->d.q[0];
	bool more = now_ns() - t->start < t->ns;
	uint16_t old = q->avail_idx;

	do {
		while (__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) != q->used_idx) {
			const volatile struct fake_used_elem *e;
			unsigned slot;

			e = (const volatile struct fake_used_elem *)&q->used[2] +
			    q->used_idx % q->size;
			slot = e->id / 3;
			if (*(unsigned char *)fake_ptr(&t->host,
						       GPA(t->status.v + slot), 1))
				errx(1, "a request failed");
			q->used_idx++;
			t->in_flight--;
			t->n++;
			if (more)
				target_submit(t, slot);
		}
		__atomic_store_n(&q->avail[2 + q->size], q->used_idx, __ATOMIC_SEQ_CST);
	} while (__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) != q->used_idx);
	if (q->avail_idx != old && fake_wants_kick(&t->d, 0, old))
		target_kick(t);
	if (t->in_flight == 0)
		loop_stop(t->host.host.loop);
}

static void on_interrupt(void *arg, uint32_t events)
{
	(void)events;
	target_collect(arg);
}

static void target_init(struct target *t, char *path, int format, bool direct)
{
	struct err e = { "" };
	struct fake_vq *q;

	t->cfg = (struct virtio_blk_cfg){
		.path = path,
		.format = format,
		.direct = direct,
		.sparse = true,
		.block_size = direct ? 4096 : 512,
		.executor = ENGINE_URING,
	};
	fake_host_init(&t->host, path, 64 << 20);
	if (virtio_blk_class.create(&t->cfg, &t->host.host, &t->dev, &e) < 0 ||
	    virtio_blk_class.prepare(t->dev, &e) < 0 ||
	    virtio_blk_class.thread_start(t->dev, &e) < 0)
		errx(1, "%s", e.msg);
	fake_driver_start(&t->d, &t->host, 2, FAKE_ALL_FEATURES);
	t->headers = fake_alloc(&t->host, 16 * MAX_DEPTH, 16);
	t->status = fake_alloc(&t->host, MAX_DEPTH, 1);
	t->data = fake_alloc(&t->host, (uint64_t)MAX_DEPTH * MAX_LEN, 4096);
	memset(fake_ptr(&t->host, t->data, (uint64_t)MAX_DEPTH * MAX_LEN), 1,
	       (size_t)MAX_DEPTH * MAX_LEN);
	q = &t->d.q[0];
	for (uint16_t i = 0; i < MAX_DEPTH; i++) {
		volatile struct fake_desc *desc = &q->desc[3 * i];

		desc[0].addr = t->headers.v + 16u * i;
		desc[0].len = 16;
		desc[0].flags = FAKE_F_NEXT;
		desc[0].next = (uint16_t)(3 * i + 1);
		desc[1].addr = t->data.v + (uint64_t)i * MAX_LEN;
		desc[1].next = (uint16_t)(3 * i + 2);
		desc[2].addr = t->status.v + i;
		desc[2].len = 1;
		desc[2].flags = FAKE_F_WRITE;
	}
	/* Vector 1 is queue 0's. */
	for (unsigned i = 0; i < t->host.n_msis; i++)
		if (t->host.msis[i].data == fake_msi_data(&t->d, 1) &&
		    loop_add(t->host.host.loop, t->host.msis[i].fd, EPOLLIN | EPOLLET,
			     on_interrupt, t, NULL, &e) < 0)
			errx(1, "%s", e.msg);
}

static double target_run(struct target *t, const struct load *l, uint64_t ns)
{
	struct err e = { "" };

	t->load = l;
	t->ns = ns;
	t->n = 0;
	t->start = now_ns();
	for (unsigned i = 0; i < l->depth; i++)
		target_submit(t, i);
	target_kick(t);
	if (loop_run(t->host.host.loop, &e) < 0)
		errx(1, "%s", e.msg);
	return (double)t->n * 1e9 / (double)(now_ns() - t->start);
}

/* --- the table ------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The @percent-th percentile; sorts. */
static double percentile(double *v, unsigned n, unsigned percent)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[(n - 1) * percent / 100];
}

struct column {
	double rate[MAX_ROUNDS], ratio[MAX_ROUNDS];
};

static void print_ratio(struct column *c, unsigned n)
{
	double mid = percentile(c->ratio, n, 50);

	printf("  %9.0f %5.2f (%4.2f-%4.2f)", percentile(c->rate, n, 50), mid,
	       percentile(c->ratio, n, 25), percentile(c->ratio, n, 75));
}

static void measure(const struct load *l, struct bare *bare, struct target *raw,
		    struct target *composite, unsigned rounds, uint64_t ns)
{
	static struct column a, b, c, d;

	for (unsigned i = 0; i < rounds; i++) {
		/* In another order each time: what went before has an effect. */
		for (unsigned k = 0; k < 3; k++)
			switch ((i + k) % 3) {
			case 0:
				a.rate[i] = bare_run(bare, l, ns);
				break;
			case 1:
				b.rate[i] = target_run(raw, l, ns);
				break;
			case 2:
				c.rate[i] = target_run(composite, l, ns);
				break;
			}
		b.ratio[i] = b.rate[i] / a.rate[i];
		c.ratio[i] = c.rate[i] / a.rate[i];
		d.ratio[i] = d.rate[i] = c.rate[i] / b.rate[i];
	}
	printf("%-28s %9.0f", l->name, percentile(a.rate, rounds, 50));
	print_ratio(&b, rounds);
	print_ratio(&c, rounds);
	printf("  %5.2f (%4.2f-%4.2f)\n", percentile(d.ratio, rounds, 50),
	       percentile(d.ratio, rounds, 25), percentile(d.ratio, rounds, 75));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct bare bare;
	static struct target raw, composite;
	unsigned rounds = 10;
	uint64_t ms = 100;
	bool direct = true;
	struct stat st;
	int c;

	while ((c = getopt(argc, argv, "n:t:c")) >= 0)
		switch (c) {
		case 'n':
			rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			ms = strtoul(optarg, NULL, 10);
			break;
		case 'c':
			direct = false;
			break;
		default:
			return 2;
		}
	if (optind + 2 != argc || rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "usage: disks [-n ROUNDS] [-t MS] [-c] FILE COMPOSITE");
	if (stat(argv[optind], &st) < 0)
		err(1, "%s", argv[optind]);
	span = align_down((uint64_t)st.st_size - 2 * EDGE, MAX_LEN);
	bare_init(&bare, argv[optind], direct);
	target_init(&raw, argv[optind], DISK_RAW, direct);
	target_init(&composite, argv[optind + 1], DISK_COMPOSITE, direct);
	printf("%-28s %9s  %-30s  %-30s  %s\n", direct ? "direct I/O" : "page cache",
	       "bare /s", "raw /s, x bare", "composite /s, x bare", "x raw");
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++)
		measure(&loads[i], &bare, &raw, &composite, rounds, ms * 1000000);
	return 0;
}
