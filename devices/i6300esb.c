/*
 * The watchdog timer of Intel's 6300ESB I/O controller hub, whose driver every
 * distribution has (Intel 300641-004, chapter 16). It counts down twice, from preload
 * values 1 and 2, and ends the VM when the second count runs out.
 *
 * Registers on vCPU threads, the timer on the loop's, both under dev->lock. Not there:
 * the interrupt at the end of the first count, which Linux turns off and which goes to
 * an interrupt controller of the hub's own; GIS_ACTIVE tells of it.
 */
#include "devices/list.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/timerfd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "devices/pci.h"

/* Of configuration space. */
#define CONFIG 0x60
#define CONFIG_BITS 0x27 /* no output, clock, interrupt type */
#define CONFIG_FAST (1 << 2) /* counts at the PCI clock / 2^5, else / 2^15 */
#define CONFIG_NO_OUTPUT (1 << 5) /* the second count's end is only noted */
#define LOCK 0x68
#define LOCK_BITS 0x07
#define LOCK_LOCKED (1 << 0) /* this register stays as it is until a reset */
#define LOCK_ENABLE (1 << 1)
#define LOCK_FREE_RUNNING (1 << 2) /* counts again and again */

/* Of BAR 0. */
#define PRELOAD1 0x00
#define PRELOAD2 0x04
#define PRELOAD_MASK 0xfffff
#define GIS 0x08 /* general interrupt status */
#define GIS_ACTIVE (1 << 0) /* the first count ran out; written as one, cleared */
#define RELOAD 0x0c
#define RELOAD_COUNT (1 << 8)
#define RELOAD_TIMEOUT (1 << 9) /* the second count ran out; as GIS_ACTIVE */
#define BAR_SIZE 4096

/* Written to RELOAD, they let the next write to it or to a preload value through. */
#define UNLOCK1 0x80
#define UNLOCK2 0x86
enum { CLOSED, HALF_OPEN, OPEN };

#define PCI_CLOCK_NS 30u
/* A guest that counts microseconds must not keep the loop from its other work. */
#define MIN_COUNT_NS 1000000u

struct i6300esb {
	struct device dev;
	struct pci_func pci;
	int timer_fd;
	struct loop_watch *watch;
	int unlock;
	unsigned stage; /* 1 or 2; 0: not counting */
	uint32_t preload[2];
	bool active, timeout; /* GIS_ACTIVE, RELOAD_TIMEOUT */
	struct timespec left; /* of a count that is suspended; else 0 */
};

static void set_timer(struct i6300esb *w, struct timespec t)
{
	const struct itimerspec once = { .it_value = t };

	/* Cannot fail. It also forgets an end that the loop has not seen yet. */
	timerfd_settime(w->timer_fd, 0, &once, NULL);
}

/* Begin to count for @stage; 0: stop. */
static void count(struct i6300esb *w, unsigned stage)
{
	unsigned shift = w->pci.config[CONFIG] & CONFIG_FAST ? 5 : 15;
	uint64_t ns = 0;

	w->stage = stage;
	if (stage) {
		ns = ((uint64_t)w->preload[stage - 1] * PCI_CLOCK_NS) << shift;
		ns = ns < MIN_COUNT_NS ? MIN_COUNT_NS : ns;
	}
	set_timer(w, (struct timespec){ (time_t)(ns / 1000000000),
					(long)(ns % 1000000000) });
}

static void on_timer(void *arg, uint32_t events)
{
	struct i6300esb *w = arg;
	uint64_t n;

	(void)events;
	AUTO_LOCK(&w->dev.lock);
	/* Reloaded or stopped meanwhile? */
	if (read(w->timer_fd, &n, sizeof(n)) != sizeof(n))
		return;
	if (w->stage == 1) {
		w->active = true;
		count(w, 2);
		return;
	}
	w->timeout = true;
	if (!(w->pci.config[CONFIG] & CONFIG_NO_OUTPUT))
		w->dev.host->ops->end(w->dev.host->ctx, VM_END_WATCHDOG, 0);
	count(w, w->pci.config[LOCK] & LOCK_FREE_RUNNING ? 1 : 0);
}

static void config_written(struct pci_func *f, unsigned off, size_t len)
{
	struct i6300esb *w = (struct i6300esb *)f->dev;
	bool enabled = f->config[LOCK] & LOCK_ENABLE;

	if (off > LOCK || off + len <= LOCK)
		return;
	if (f->config[LOCK] & LOCK_LOCKED)
		f->wmask[LOCK] = 0;
	if (enabled != (w->stage != 0))
		count(w, enabled ? 1 : 0);
}

static uint32_t reg_read(const struct i6300esb *w, uint64_t reg)
{
	switch (reg) {
	case PRELOAD1:
		return w->preload[0];
	case PRELOAD2:
		return w->preload[1];
	case GIS:
		return w->active ? GIS_ACTIVE : 0;
	case RELOAD:
		return w->timeout ? RELOAD_TIMEOUT : 0;
	}
	return 0;
}

static void i6300esb_read(struct device *dev, unsigned win, uint64_t off, void *buf,
			  size_t len)
{
	struct i6300esb *w = (struct i6300esb *)dev;
	uint8_t regs[16] = { 0 };

	(void)win;
	memset(buf, 0, len);
	for (unsigned reg = 0; reg < sizeof(regs); reg += 4)
		le32_put(regs + reg, reg_read(w, reg));
	if (range_within(off, len, sizeof(regs)))
		memcpy(buf, regs + off, len);
}

/* A write to a register that is open for one. */
static void reg_write(struct i6300esb *w, uint64_t reg, uint32_t v)
{
	if (reg != RELOAD) {
		w->preload[reg == PRELOAD2] = v & PRELOAD_MASK;
		return;
	}
	if (v & RELOAD_TIMEOUT)
		w->timeout = false;
	if ((v & RELOAD_COUNT) && w->stage)
		count(w, 1);
}

static void i6300esb_write(struct device *dev, unsigned win, uint64_t off,
			   const void *buf, size_t len)
{
	struct i6300esb *w = (struct i6300esb *)dev;
	uint8_t bytes[8] = { 0 };
	uint32_t v;

	(void)win;
	memcpy(bytes, buf, len);
	v = le32_get(bytes);
	if (off == GIS) {
		if (v & GIS_ACTIVE)
			w->active = false;
	} else if (off == RELOAD && v == UNLOCK1) {
		w->unlock = HALF_OPEN;
	} else if (off == RELOAD && v == UNLOCK2 && w->unlock == HALF_OPEN) {
		w->unlock = OPEN;
	} else if (off == PRELOAD1 || off == PRELOAD2 || off == RELOAD) {
		if (w->unlock == OPEN)
			reg_write(w, off, v);
		w->unlock = CLOSED;
	}
}

static bool is_set(struct timespec t)
{
	return t.tv_sec || t.tv_nsec;
}

static void stop_counting(struct i6300esb *w)
{
	struct itimerspec now = { 0 };

	if (!w->stage || is_set(w->left))
		return;
	timerfd_gettime(w->timer_fd, &now);
	w->left = now.it_value;
	/* Has it run out just now? Then that is for later. */
	if (!is_set(w->left))
		w->left.tv_nsec = 1;
	set_timer(w, (struct timespec){ 0 });
}

/* A guest that stands still cannot feed it. */
static void i6300esb_pause(struct device *dev, enum dev_pause how)
{
	struct i6300esb *w = (struct i6300esb *)dev;

	AUTO_LOCK(&dev->lock);
	if (how != DEV_RUNS) {
		stop_counting(w);
		return;
	}
	if (is_set(w->left))
		set_timer(w, w->left);
	w->left = (struct timespec){ 0 };
}

static void i6300esb_reset(struct device *dev)
{
	struct i6300esb *w = (struct i6300esb *)dev;

	w->pci.wmask[LOCK] = LOCK_BITS;
	pci_func_reset(&w->pci);
	w->preload[0] = w->preload[1] = PRELOAD_MASK;
	w->unlock = CLOSED;
	w->active = w->timeout = false;
	w->left = (struct timespec){ 0 };
	count(w, 0);
}

static void i6300esb_free(struct device *dev)
{
	struct i6300esb *w = (struct i6300esb *)dev;

	loop_del(w->watch);
	cleanup_close(&w->timer_fd);
	pci_func_free(&w->pci);
	free(w);
}

static int i6300esb_create(const void *cfg, const struct dev_host *host,
			   struct device **ret_dev, struct err *err)
{
	static const struct pci_ids ids = {
		.vendor = 0x8086,
		.device = 0x25ab,
		.class = 0x088000, /* system peripheral, other */
	};
	struct i6300esb *w = calloc(1, sizeof(*w));
	int r = 0;

	(void)cfg;
	if (!w)
		return err_sys(err, -ENOMEM, "%s", host->name);
	device_init(&w->dev, &i6300esb_class, host);
	pci_func_init(&w->pci, &w->dev, &ids);
	w->pci.config[PCI_INTERRUPT_PIN] = 0;
	w->pci.wmask[CONFIG] = CONFIG_BITS;
	w->pci.config_written = config_written;
	pci_add_bar(&w->pci, 0, BAR_SIZE);
	w->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (w->timer_fd < 0)
		r = err_sys(err, -errno, "%s", host->name);
	if (r == 0)
		r = loop_add(host->loop, w->timer_fd, EPOLLIN, on_timer, w, &w->watch,
			     err);
	if (r == 0)
		r = host->ops->pci_add(host->ctx, &w->pci, err);
	if (r < 0) {
		i6300esb_free(&w->dev);
		return r;
	}
	i6300esb_reset(&w->dev);
	*ret_dev = &w->dev;
	return 0;
}

const struct dev_class i6300esb_class = {
	.name = "watchdog",
	.help = "a watchdog (i6300esb) that ends the VM, with status 36, when a guest "
		"that has started it does not feed it",
	.flags = DEV_BARE,
	.create = i6300esb_create,
	.read = i6300esb_read,
	.write = i6300esb_write,
	.reset = i6300esb_reset,
	.pause = i6300esb_pause,
	.free = i6300esb_free,
};
