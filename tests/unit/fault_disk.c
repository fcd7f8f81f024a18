/* A disk that makes trouble; see fault_disk.h. */
#undef NDEBUG
#include "tests/unit/fault_disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OPS (DISK_ZERO + 1)
#define SECTOR 512u

struct rule {
	unsigned skip, count;
	int error;
	uint64_t bytes;
};

/* A change that was not flushed yet: in the order of submission. */
struct change {
	struct change *next;
	uint64_t off, len;
	unsigned char *data;
	uint64_t completed; /* when, in vain or not, by fault.clock; 0: not yet */
};

struct passed {
	struct disk_req req; /* the one below */
	struct disk_req *outer;
	struct fault *f;
	struct passed *next; /* held */
	struct change *change; /* that it makes */
	uint64_t submitted; /* when, by fault.clock */
	struct iovec *iov; /* of a request that was cut */
	int error; /* that it ends with; 0: as it comes */
};

struct fault {
	struct disk disk; /* first */
	struct disk *next;
	struct rule rules[OPS];
	unsigned counts[OPS];
	bool hold;
	unsigned n_held;
	struct passed *held;
	uint64_t clock;
	unsigned char *stable; /* NULL: not tracked */
	struct change *first, **last;
};

/* --- what is stable -------------------------------------------------------- */

static struct change *add_change(struct fault *f, const struct disk_req *req)
{
	struct change *c = calloc(1, sizeof(*c));
	uint64_t at = 0;

	assert(c);
	c->off = req->off;
	c->len = req->len;
	c->data = calloc(1, req->len);
	assert(c->data);
	for (unsigned i = 0; req->op == DISK_WRITE && i < req->n_iov; i++) {
		memcpy(c->data + at, req->iov[i].iov_base, req->iov[i].iov_len);
		at += req->iov[i].iov_len;
	}
	*f->last = c;
	f->last = &c->next;
	return c;
}

/* A flush has succeeded that was submitted at @when. */
static void make_stable(struct fault *f, uint64_t when)
{
	struct change **at = &f->first;

	while (*at) {
		struct change *c = *at;

		if (!c->completed || c->completed > when) {
			at = &c->next;
			continue;
		}
		memcpy(f->stable + c->off, c->data, c->len);
		*at = c->next;
		free(c->data);
		free(c);
	}
	f->last = at;
}

void fault_track(struct fault *f, const void *image)
{
	f->stable = malloc(f->disk.size);
	assert(f->stable);
	memcpy(f->stable, image, f->disk.size);
}

void fault_power_cut(struct fault *f, unsigned chance, unsigned seed, void *ret_image)
{
	unsigned char *image = ret_image;
	uint32_t x = seed * 2654435761u + 1;

	memcpy(image, f->stable, f->disk.size);
	for (const struct change *c = f->first; c; c = c->next)
		for (uint64_t at = 0; at < c->len; at += SECTOR) {
			uint64_t len = c->len - at < SECTOR ? c->len - at : SECTOR;

			x = x * 1664525 + 1013904223;
			if ((x >> 8) % 100 < chance)
				memcpy(image + c->off + at, c->data + at, len);
		}
}

/* --- requests -------------------------------------------------------------- */

static void end(struct passed *p, int result)
{
	struct fault *f = p->f;
	struct disk_req *outer = p->outer;

	if (p->error)
		result = p->error;
	/* What failed half way was done in part, and by now. */
	if (p->change)
		p->change->completed = ++f->clock;
	if (p->req.op == DISK_FLUSH && result == 0 && f->stable)
		make_stable(f, p->submitted);
	free(p->iov);
	free(p);
	outer->done(outer, result);
}

static void on_done(struct disk_req *req, int result)
{
	end((struct passed *)req, result);
}

/* Only the first @bytes bytes. */
static void cut(struct passed *p, uint64_t bytes)
{
	unsigned n = 0;

	p->iov = calloc(p->req.n_iov, sizeof(*p->iov));
	assert(p->iov);
	if (bytes < p->req.len)
		p->req.len = bytes;
	for (uint64_t left = p->req.len; left > 0; n++) {
		p->iov[n] = p->req.iov[n];
		if (p->iov[n].iov_len > left)
			p->iov[n].iov_len = left;
		left -= p->iov[n].iov_len;
	}
	p->req.iov = p->iov;
	p->req.n_iov = n;
}

static void fault_submit(struct disk *d, struct disk_req *req)
{
	struct fault *f = (struct fault *)d;
	struct rule *rule = &f->rules[req->op];
	struct passed *p = calloc(1, sizeof(*p));
	bool nothing = false;

	assert(p);
	f->counts[req->op]++;
	p->f = f;
	p->outer = req;
	p->req = (struct disk_req){
		.op = req->op,
		.unmap = req->unmap,
		.off = req->off,
		.len = req->len,
		.iov = req->iov,
		.n_iov = req->n_iov,
		.done = on_done,
	};
	if (rule->skip > 0) {
		rule->skip--;
	} else if (rule->count > 0) {
		rule->count--;
		p->error = rule->error;
		nothing = rule->bytes == 0 || req->n_iov == 0;
		if (!nothing)
			cut(p, rule->bytes);
	}
	if (f->stable && !nothing && (req->op == DISK_WRITE || req->op == DISK_ZERO))
		p->change = add_change(f, &p->req);
	p->submitted = ++f->clock;
	if (nothing) {
		end(p, 0);
	} else if (f->hold) {
		p->next = f->held;
		f->held = p;
		f->n_held++;
	} else {
		disk_submit(f->next, &p->req);
	}
}

static int fault_attach(struct disk *d, struct engine *engine, struct err *err)
{
	return disk_attach(((struct fault *)d)->next, engine, err);
}

/* Not for a disk that is tracked. */
static int fault_resize(struct disk *d, uint64_t size, struct err *err)
{
	struct fault *f = (struct fault *)d;
	int r = disk_resize(f->next, size, err);

	assert(!f->stable);
	d->size = f->next->size;
	return r;
}

static void fault_close(struct disk *d)
{
	struct fault *f = (struct fault *)d;

	assert(f->n_held == 0);
	for (struct change *c = f->first, *next; c; c = next) {
		next = c->next;
		free(c->data);
		free(c);
	}
	disk_close(f->next);
	free(f->stable);
	free(f);
}

static const struct disk_ops fault_ops = {
	.name = "faulty",
	.attach = fault_attach,
	.submit = fault_submit,
	.resize = fault_resize,
	.close = fault_close,
};

struct fault *fault_new(struct disk *next)
{
	struct fault *f = calloc(1, sizeof(*f));

	assert(f);
	f->disk = *next;
	f->disk.ops = &fault_ops;
	f->disk.name = strdup(next->name);
	f->next = next;
	f->last = &f->first;
	return f;
}

struct disk *fault_disk(struct fault *f)
{
	return &f->disk;
}

void fault_fail(struct fault *f, enum disk_op op, unsigned skip, unsigned count,
		int error, uint64_t bytes)
{
	f->rules[op] = (struct rule){ skip, count, error, bytes };
}

void fault_hold(struct fault *f, bool on)
{
	f->hold = on;
}

unsigned fault_held(const struct fault *f)
{
	return f->n_held;
}

void fault_release(struct fault *f)
{
	struct passed *p;

	f->hold = false;
	while ((p = f->held)) {
		f->held = p->next;
		f->n_held--;
		disk_submit(f->next, &p->req);
	}
}

unsigned fault_count(const struct fault *f, enum disk_op op)
{
	return f->counts[op];
}
