/*
 * virtio entropy device (virtio 1.2 section 5.4): random bytes from the host's
 * kernel, written straight into the guest's buffers on the loop's thread.
 */
#include "virtio/list.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "virtio/virtio.h"

#define RNG_ID 4
#define RNG_QUEUE_SIZE 64
/* What one request may take of the loop's time; the used length tells the guest. */
#define RNG_MAX_LEN (64u << 10)
/* Requests before the loop's other watches have a turn. */
#define RNG_BUDGET 16

struct rng {
	struct virtio_dev v; /* first */
	struct vq_chain chain; /* too large for a stack; under io_lock */
};

/* Returns the number of bytes filled. Readable segments are nobody's business. */
static uint32_t fill(const struct vq_chain *c)
{
	size_t done = 0;

	for (unsigned i = c->n_out; i < c->n_out + c->n_in && done < RNG_MAX_LEN; i++) {
		size_t room = RNG_MAX_LEN - done;
		size_t want = c->iov[i].iov_len < room ? c->iov[i].iov_len : room;
		ssize_t n = getrandom(c->iov[i].iov_base, want, 0);

		if (n > 0)
			done += (size_t)n;
		/* Cut short by a signal: what is there will do. */
		if (n < (ssize_t)want)
			break;
	}
	return (uint32_t)done;
}

static void rng_kick(struct virtio_dev *v, unsigned n)
{
	struct rng *rng = (struct rng *)v;
	struct vq *q = &v->queues[n];
	unsigned budget = RNG_BUDGET;
	int r;

	do {
		vq_kicks(q, false);
		while ((r = vq_pop(q, &rng->chain)) > 0) {
			vq_push(q, rng->chain.head, fill(&rng->chain));
			virtio_signal(v, n);
			if (--budget == 0) {
				if (vq_kicks(q, true))
					eventfd_write(v->kick_fd, 1);
				return;
			}
		}
		if (r < 0) {
			virtio_broken(v, q->why);
			return;
		}
	} while (vq_kicks(q, true));
}

static const struct virtio_ops rng_ops = {
	.id = RNG_ID,
	.pci_class = 0x00ff00, /* unclassified, other */
	.kick = rng_kick,
};

static void rng_free(struct device *dev)
{
	struct rng *rng = (struct rng *)dev;

	virtio_free(&rng->v);
	free(rng);
}

static int rng_create(const void *cfg, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	int r;

	(void)cfg;
	if (!rng)
		return err_sys(err, -ENOMEM, "%s", host->name);
	rng->v.n_queues = 1;
	rng->v.queue_size[0] = RNG_QUEUE_SIZE;
	r = virtio_init(&rng->v, &virtio_rng_class, &rng_ops, host, err);
	if (r < 0) {
		rng_free(&rng->v.dev);
		return r;
	}
	*ret_dev = &rng->v.dev;
	return 0;
}

const struct dev_class virtio_rng_class = {
	.name = "rng",
	.help = "a source of random numbers for the guest",
	.flags = DEV_DEFAULT,
	.create = rng_create,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = rng_free,
};
