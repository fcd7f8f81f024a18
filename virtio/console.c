/*
 * virtio console (virtio 1.2 section 5.3): no MULTIPORT, no SIZE, no emergency
 * write, so two queues and nothing to configure.
 *
 * Output goes to the chardev, which never blocks. Input comes from it on the
 * loop's thread, like kicks, and waits there while the guest offers no buffers.
 *
 * Linux throws away what arrives between its first buffers and the moment when its
 * terminal exists, and nothing tells us of that moment: so input also waits until the
 * guest has written something, or has had its buffers for a second.
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "base/cleanup.h"
#include "virtio/virtio.h"

#define CONSOLE_ID 3
#define CONSOLE_RX 0
#define CONSOLE_TX 1
#define CONSOLE_QUEUE_SIZE 256
#define CONSOLE_CONFIG_LEN 12 /* section 5.3.4: of features that are not offered */
#define CONSOLE_GRACE_S 1

/* Whether the guest gets input: see above. */
enum listening { DEAF, WAKING, LISTENING };

struct console {
	struct virtio_dev v; /* first */
	struct chardev *chr;
	int timer_fd; /* ends WAKING */
	struct loop_watch *timer;
	/* Under io_lock. */
	enum listening listening;
	bool starved; /* input waits for chardev_resume() */
	struct vq_chain chain; /* too large for a stack */
};

static size_t console_input(void *arg, const uint8_t *buf, size_t len)
{
	struct console *c = arg;
	struct vq *q = &c->v.queues[CONSOLE_RX];
	AUTO_LOCK(&c->v.io_lock);
	size_t done = 0;

	while (c->v.running && c->listening == LISTENING && done < len) {
		int r = vq_pop(q, &c->chain);
		size_t n;

		if (r == 0 && vq_kicks(q, true))
			continue;
		if (r == 0)
			break;
		if (r > 0 && c->chain.in_len == 0) {
			/* Not given back, or such buffers could come for ever. */
			virtio_broken(&c->v, "receive buffer that is not writable");
			break;
		}
		if (r < 0) {
			virtio_broken(&c->v, q->why);
			break;
		}
		n = vq_write(&c->chain, 0, buf + done, len - done);
		vq_push(q, c->chain.head, (uint32_t)n);
		done += n;
	}
	if (done > 0)
		virtio_signal(&c->v, CONSOLE_RX);
	c->starved = done < len;
	return done;
}

static void transmit(struct console *c)
{
	struct vq *q = &c->v.queues[CONSOLE_TX];
	/* Then let the loop's other watches have a turn. */
	unsigned budget = q->size;
	int r;

	do {
		vq_kicks(q, false);
		while ((r = vq_pop(q, &c->chain)) > 0) {
			for (unsigned i = 0; i < c->chain.n_out; i++)
				chardev_write(c->chr, c->chain.iov[i].iov_base,
					      c->chain.iov[i].iov_len);
			vq_push(q, c->chain.head, 0);
			virtio_signal(&c->v, CONSOLE_TX);
			if (--budget == 0) {
				if (vq_kicks(q, true))
					eventfd_write(c->v.kick_fd, 1);
				return;
			}
		}
		if (r < 0) {
			virtio_broken(&c->v, q->why);
			return;
		}
	} while (vq_kicks(q, true));
}

/* io_lock held. */
static void take_input(struct console *c)
{
	if (c->starved && c->listening == LISTENING) {
		c->starved = false;
		chardev_resume(c->chr);
	}
}

static void on_grace_over(void *arg, uint32_t events)
{
	struct console *c = arg;
	AUTO_LOCK(&c->v.io_lock);
	uint64_t count;

	(void)events;
	if (read(c->timer_fd, &count, sizeof(count)) != sizeof(count))
		return;
	/* A reset meanwhile has made it deaf again. */
	if (c->listening == WAKING)
		c->listening = LISTENING;
	take_input(c);
}

static void console_start(struct virtio_dev *v)
{
	((struct console *)v)->listening = DEAF;
}

static void console_kick(struct virtio_dev *v, unsigned n)
{
	const struct itimerspec grace = { .it_value.tv_sec = CONSOLE_GRACE_S };
	struct console *c = (struct console *)v;

	if (n == CONSOLE_TX) {
		transmit(c);
		c->listening = LISTENING;
	} else if (c->listening == DEAF) {
		c->listening = WAKING;
		timerfd_settime(c->timer_fd, 0, &grace, NULL);
	}
	take_input(c);
}

static void console_resume(struct virtio_dev *v)
{
	take_input((struct console *)v);
}

static const struct virtio_ops console_ops = {
	.id = CONSOLE_ID,
	.pci_class = 0x078000, /* communication, other */
	.start = console_start,
	.kick = console_kick,
	.resume = console_resume,
};

static void console_free(struct device *dev)
{
	struct console *c = (struct console *)dev;

	virtio_free(&c->v);
	loop_del(c->timer);
	cleanup_close(&c->timer_fd);
	free(c);
}

static int console_create(const void *cfg_, const struct dev_host *host,
			  struct device **ret_dev, struct err *err)
{
	const struct virtio_console_cfg *cfg = cfg_;
	struct console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_sys(err, -ENOMEM, "%s", host->name);
	c->chr = cfg->chr;
	c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (c->timer_fd < 0) {
		free(c);
		return err_sys(err, -errno, "%s: timer", host->name);
	}
	c->v.n_queues = 2;
	for (unsigned i = 0; i < c->v.n_queues; i++)
		c->v.queue_size[i] = cfg->queue_size[i] ?: CONSOLE_QUEUE_SIZE;
	c->v.config_len = CONSOLE_CONFIG_LEN;
	r = virtio_init(&c->v, &virtio_console_class, &console_ops, host, err);
	if (r == 0)
		r = loop_add(host->loop, c->timer_fd, EPOLLIN, on_grace_over, c,
			     &c->timer, err);
	if (r < 0) {
		console_free(&c->v.dev);
		return r;
	}
	chardev_attach(c->chr, console_input, c);
	*ret_dev = &c->v.dev;
	return 0;
}

const struct dev_class virtio_console_class = {
	.name = "virtio-console",
	.help = "a console for the guest",
	.cfg_size = sizeof(struct virtio_console_cfg),
	.create = console_create,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = console_free,
};
