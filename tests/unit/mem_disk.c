/* A disk in memory; see mem_disk.h. */
#include "tests/unit/mem_disk.h"

#include <stdlib.h>
#include <string.h>

static void carry_out(struct mem_disk *m, struct disk_req *req)
{
	unsigned char *p = m->bytes + req->off;

	if (req->op == DISK_ZERO || req->op == DISK_DISCARD)
		memset(p, 0, req->len);
	for (unsigned i = 0; i < req->n_iov; i++) {
		if (req->op == DISK_READ)
			memcpy(req->iov[i].iov_base, p, req->iov[i].iov_len);
		else
			memcpy(p, req->iov[i].iov_base, req->iov[i].iov_len);
		p += req->iov[i].iov_len;
	}
}

static void finish(struct mem_disk *m, struct disk_req *req)
{
	if (!m->fail)
		carry_out(m, req);
	req->done(req, m->fail);
}

static void mem_submit(struct disk *d, struct disk_req *req)
{
	struct mem_disk *m = (struct mem_disk *)d;

	m->n_seen[req->op]++;
	m->last = req;
	if (m->hold) {
		req->next = m->held;
		m->held = req;
	} else {
		finish(m, req);
	}
}

unsigned mem_disk_finish(struct mem_disk *m)
{
	unsigned n = 0;

	for (; m->held; n++) {
		struct disk_req *req = m->held;

		m->held = req->next;
		finish(m, req);
	}
	return n;
}

static void mem_close(struct disk *d)
{
	free(((struct mem_disk *)d)->bytes);
	free(d);
}

static const struct disk_ops mem_ops = {
	.name = "mem",
	.submit = mem_submit,
	.close = mem_close,
};

struct mem_disk *mem_disk_new(const char *name, uint64_t size)
{
	struct mem_disk *m = calloc(1, sizeof(*m));

	m->disk = (struct disk){ .ops = &mem_ops,
				 .size = size,
				 .sparse = true,
				 .align = 1,
				 .name = strdup(name) };
	m->bytes = calloc(1, size);
	return m;
}
