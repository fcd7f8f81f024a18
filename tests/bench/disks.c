/*
 * Disk requests through the real block device and a driver for it, beside a bare
 * io_uring loop on the same file.
 *
 *   disks [-n ROUNDS] [-t MS] [-c] FILE
 *
 * The composite is the same file in four parts, so that all work on the same blocks of
 * the disk. The three take turns, MS milliseconds each, round after round. -c: through
 * the page cache; else direct I/O. FILE, a multiple of 4 MiB, is overwritten, but for
 * its first and last MiB.
 *
 * The device runs on one thread with its driver, as if KVM took no time: a kick is what
 * an ioeventfd makes of it. An interrupt costs the device the write to its eventfd;
 * whom that wakes is another thread's cost in a VM, so here the driver looks at the
 * used ring after each turn of the device's loop. What the table shows is thus what the
 * device costs.
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "disk/composite.h"
#include "disk/disk.h"
#include "disk/engine.h"
#include "disk/proto.h"
#include "tests/bench/rounds.h"
#include "tests/unit/fake_driver.h"
#include "virtio/blk.h"

#define MAX_DEPTH 32
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

/* Guest memory, of which all use the same: how it lies in the host's matters. */
static struct fake_host host;
static gpa_t data; /* MAX_DEPTH buffers of MAX_LEN bytes */

static void memory_init(void)
{
	uint64_t len = (uint64_t)MAX_DEPTH * MAX_LEN;

	fake_host_init(&host, "disks", 64 << 20);
	data = fake_alloc(&host, len, 4096);
	memset(fake_ptr(&host, data, len), 1, len);
}

static void *buffer(uint64_t slot)
{
	return fake_ptr(&host, GPA(data.v + slot * MAX_LEN), MAX_LEN);
}

/* --- the bare loop --------------------------------------------------------- */

struct bare {
	struct io_uring ring;
};

static void bare_init(struct bare *b, const char *path, bool direct)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER |
					      IORING_SETUP_DEFER_TASKRUN };
	int fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));

	if (fd < 0)
		err(1, "%s", path);
	if (io_uring_queue_init_params(64, &b->ring, &p) < 0 &&
	    io_uring_queue_init(64, &b->ring, 0) < 0)
		errx(1, "no io_uring");
	if (io_uring_register_files(&b->ring, &fd, 1) < 0)
		errx(1, "io_uring: cannot register a file");
}

static void bare_submit(struct bare *b, const struct load *l, uint64_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
	void *buf = buffer(slot);

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
	struct fake_driver d;
	struct device *dev;
	struct virtio_blk_cfg cfg;
	gpa_t headers, status;
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
	unsigned char *header = fake_ptr(&host, GPA(t->headers.v + 16 * slot), 16);
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
			if (*(unsigned char *)fake_ptr(&host, GPA(t->status.v + slot),
						       1))
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
}

/* The @nth disk of the machine. */
static void target_init(struct target *t, unsigned nth, char *path, int format,
			bool direct)
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
	if (virtio_blk_class.create(&t->cfg, &host.host, &t->dev, &e) < 0 ||
	    virtio_blk_class.prepare(t->dev, &e) < 0 ||
	    virtio_blk_class.thread_start(t->dev, &e) < 0)
		errx(1, "%s", e.msg);
	fake_driver_find(&t->d, &host, 2, nth);
	fake_driver_reset(&t->d);
	assert(fake_driver_negotiate(&t->d, fake_driver_offered(&t->d)));
	fake_driver_msix(&t->d);
	fake_driver_queue(&t->d, 0, 0);
	fake_driver_ok(&t->d);
	t->headers = fake_alloc(&host, 16 * MAX_DEPTH, 16);
	t->status = fake_alloc(&host, MAX_DEPTH, 1);
	q = &t->d.q[0];
	for (uint16_t i = 0; i < MAX_DEPTH; i++) {
		volatile struct fake_desc *desc = &q->desc[3 * i];

		desc[0].addr = t->headers.v + 16u * i;
		desc[0].len = 16;
		desc[0].flags = FAKE_F_NEXT;
		desc[0].next = (uint16_t)(3 * i + 1);
		desc[1].addr = data.v + (uint64_t)i * MAX_LEN;
		desc[1].next = (uint16_t)(3 * i + 2);
		desc[2].addr = t->status.v + i;
		desc[2].len = 1;
		desc[2].flags = FAKE_F_WRITE;
	}
}

static double target_run(struct target *t, const struct load *l, uint64_t ns)
{
	t->load = l;
	t->ns = ns;
	t->n = 0;
	t->start = now_ns();
	for (unsigned i = 0; i < l->depth; i++)
		target_submit(t, i);
	target_kick(t);
	while (t->in_flight > 0) {
		if (loop_turn(host.host.loop) < 0)
			errx(1, "the event loop failed");
		target_collect(t);
	}
	return (double)t->n * 1e9 / (double)(now_ns() - t->start);
}

#define PARTS 4

/* A composite of @path in parts, which it holds anyway in this order. */
static char *make_composite(char *path, uint64_t size)
{
	static char name[32];
	struct proto_component parts[PARTS];
	struct proto_composite c = { 2, size, PARTS, parts };
	int fd = memfd_create("composite", 0);
	unsigned char *buf;
	size_t len;

	for (unsigned i = 0; i < PARTS; i++)
		parts[i] = (struct proto_component){
			.path = path,
			.offset = i * size / PARTS,
			.file_offset = i * size / PARTS,
			.writable = true,
		};
	if (fd < 0 || proto_encode(&c, &buf, &len, NULL) < 0 ||
	    write(fd, COMPOSITE_MAGIC, COMPOSITE_MAGIC_LEN) != COMPOSITE_MAGIC_LEN ||
	    write(fd, buf, len) != (ssize_t)len)
		errx(1, "cannot make a composite image");
	free(buf);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return name;
}

/* --- the table ------------------------------------------------------------- */

struct column {
	double rate[MAX_ROUNDS], ratio[MAX_ROUNDS];
};

static void print_column(struct column *c, unsigned n)
{
	printf("  %9.0f", percentile(c->rate, n, 50));
	print_ratio(c->ratio, n);
}

static void measure(const struct load *l, struct bare *bare, struct target *raw,
		    struct target *composite, unsigned rounds, uint64_t ns)
{
	static const unsigned char orders[6][3] = {
		{ 0, 1, 2 }, { 2, 1, 0 }, { 1, 2, 0 },
		{ 0, 2, 1 }, { 2, 0, 1 }, { 1, 0, 2 },
	};
	static struct column a, b, c, d;

	for (unsigned i = 0; i < rounds; i++) {
		/* In all orders: what went before has an effect. */
		for (unsigned k = 0; k < 3; k++)
			switch (orders[i % 6][k]) {
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
	print_column(&b, rounds);
	print_column(&c, rounds);
	putchar(' ');
	print_ratio(d.ratio, rounds);
	putchar('\n');
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct bare bare;
	static struct target raw, composite;
	unsigned rounds = 12;
	char *path;
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
	if (optind + 1 != argc || rounds < 1 || rounds > MAX_ROUNDS)
		errx(2, "usage: disks [-n ROUNDS] [-t MS] [-c] FILE");
	path = realpath(argv[optind], NULL);
	if (!path || stat(path, &st) < 0)
		err(1, "%s", argv[optind]);
	span = align_down((uint64_t)st.st_size - 2 * EDGE, MAX_LEN);
	memory_init();
	bare_init(&bare, path, direct);
	target_init(&raw, 0, path, DISK_RAW, direct);
	target_init(&composite, 1, make_composite(path, (uint64_t)st.st_size),
		    DISK_COMPOSITE, direct);
	printf("%-28s %9s  %-30s  %-30s  %s\n", direct ? "direct I/O" : "page cache",
	       "bare /s", "raw /s, x bare", "composite /s, x bare", "x raw");
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++)
		measure(&loads[i], &bare, &raw, &composite, rounds, ms * 1000000);
	return 0;
}
