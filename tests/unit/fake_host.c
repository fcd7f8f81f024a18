/* The machine that unit tests lend to devices; see fake_host.h. */
#undef NDEBUG
#include "tests/unit/fake_host.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/connector.h"

#define ALLOC_BASE 0x10000u

static struct fake_window *find_window(struct fake_host *f, const struct device *dev,
				       unsigned win)
{
	for (size_t i = 0; i < FAKE_MAX_WINDOWS; i++) {
		if (f->windows[i].dev == dev && f->windows[i].win == win)
			return &f->windows[i];
	}
	return NULL;
}

static int fake_map(void *ctx, struct device *dev, unsigned win, enum dev_space space,
		    uint64_t base, uint64_t len)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);
	struct fake_window *slot = NULL;

	assert(len > 0 && !find_window(f, dev, win));
	for (size_t i = 0; i < FAKE_MAX_WINDOWS; i++) {
		const struct fake_window *w = &f->windows[i];

		if (!w->dev) {
			slot = slot ? slot : &f->windows[i];
			continue;
		}
		if (w->space == space && base < w->base + w->len &&
		    w->base < base + len)
			return -EEXIST;
	}
	if (space == DEV_MMIO && gmem_slice(&f->mem, GPA(base), 1))
		return -ERANGE;
	assert(slot);
	*slot = (struct fake_window){ dev, win, space, base, len };
	return 0;
}

static void fake_unmap(void *ctx, struct device *dev, unsigned win)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);
	struct fake_window *w = find_window(f, dev, win);

	assert(w);
	*w = (struct fake_window){ 0 };
	for (size_t i = 0; i < FAKE_MAX_NOTIFIES; i++) {
		if (f->notifies[i].dev == dev && f->notifies[i].win == win)
			f->notifies[i] = (struct fake_notify){ 0 };
	}
}

static int fake_notify(void *ctx, struct device *dev, unsigned win, uint64_t off,
		       int fd, bool on)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);
	const struct fake_window *w = find_window(f, dev, win);
	struct fake_notify *free = NULL, *found = NULL;

	if (f->no_notify)
		return -ENOSYS;
	for (size_t i = 0; i < FAKE_MAX_NOTIFIES; i++) {
		struct fake_notify *n = &f->notifies[i];

		if (n->dev == dev && n->win == win && n->off == off)
			found = n;
		else if (!n->dev && !free)
			free = n;
	}
	if (!on) {
		if (!found)
			return -ENOENT;
		*found = (struct fake_notify){ 0 };
		return 0;
	}
	if (found)
		return -EEXIST;
	if (!w)
		return -ENOENT;
	assert(free && off < w->len);
	*free = (struct fake_notify){ dev, win, off, fd };
	return 0;
}

static void fake_irq(void *ctx, unsigned gsi, bool level)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);

	assert(gsi < FAKE_GSIS);
	if (level && !f->level[gsi])
		f->rises[gsi]++;
	f->level[gsi] = level;
}

static int fake_msi_new(void *ctx, unsigned *ret_id, int *ret_fd, struct err *err)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);
	struct fake_msi *m;

	if (f->n_msis == FAKE_MAX_MSIS)
		return err_set(err, -ENOSPC, "no MSI left");
	m = &f->msis[f->n_msis];
	m->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(m->fd >= 0);
	m->masked = true;
	*ret_id = f->n_msis++;
	*ret_fd = m->fd;
	return 0;
}

static int fake_msi_set(void *ctx, unsigned id, uint64_t addr, uint32_t data,
			bool masked)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);

	assert(id < f->n_msis);
	f->msis[id].addr = addr;
	f->msis[id].data = data;
	f->msis[id].masked = masked;
	return 0;
}

static int fake_pci_add(void *ctx, struct pci_func *func, struct err *err)
{
	struct fake_host *f = ctx;

	return pci_bus_add(&f->bus, func, err);
}

static void on_request(void *arg, uint32_t events)
{
	struct fake_host *f = arg;
	uint32_t port;
	uint64_t id;
	int sock;

	(void)events;
	if (connector_next(f->connector, &id, &port) <= 0) {
		loop_set(f->dialling, 0);
		return;
	}
	sock = f->dial ? f->dial(f->dial_arg, port) : connector_dial(f->prefix, port);
	assert(connector_answer(f->connector, id, sock) == 0);
	if (sock >= 0)
		close(sock);
}

static int fake_connector(void *ctx, const char *prefix, struct unix_name *made,
			  int *ret_fd, struct err *err)
{
	struct fake_host *f = ctx;
	int pair[2];

	f->made = *made;
	assert(f->connector < 0 && strlen(prefix) < sizeof(f->prefix));
	snprintf(f->prefix, sizeof(f->prefix), "%s", prefix);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "connector");
	f->connector = pair[0];
	*ret_fd = pair[1];
	return loop_add(f->host.loop, f->connector, EPOLLIN, on_request, f,
			&f->dialling, err);
}

static void fake_panicked(void *ctx, bool handles)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);

	f->panics++;
	f->handled += handles;
}

static void fake_end(void *ctx, enum vm_end end, unsigned detail)
{
	struct fake_host *f = ctx;
	AUTO_LOCK(&f->lock);

	if (f->end != VM_END_NONE)
		return;
	f->end = end;
	f->end_detail = detail;
}

static const struct dev_host_ops fake_ops = {
	.map = fake_map,
	.unmap = fake_unmap,
	.notify = fake_notify,
	.irq = fake_irq,
	.msi_new = fake_msi_new,
	.msi_set = fake_msi_set,
	.pci_add = fake_pci_add,
	.connector = fake_connector,
	.panicked = fake_panicked,
	.end = fake_end,
};

void fake_host_init(struct fake_host *f, const char *name, uint64_t mem_size)
{
	struct err err = { "" };
	int r;

	*f = (struct fake_host){ .next_alloc = ALLOC_BASE,
				 .connector = -1,
				 .made.dir_fd = -1 };
	pthread_mutex_init(&f->lock, NULL);
	f->host = (struct dev_host){
		.ops = &fake_ops, .ctx = f, .mem = &f->mem, .name = name
	};
	r = loop_new(&f->host.loop, &err);
	assert(r == 0);
	if (mem_size) {
		struct gmem_range range = { .gpa = GPA(0), .len = mem_size };

		r = gmem_map(&f->mem, &range, 1, &err);
		assert(r == 0);
	}
	f->bridge_cfg.bus = &f->bus;
	r = pci_host_class.create(&f->bridge_cfg, &f->host, &f->bridge, &err);
	assert(r == 0);
}

void fake_host_free(struct fake_host *f)
{
	pci_host_class.free(f->bridge);
	for (unsigned i = 0; i < f->n_msis; i++)
		close(f->msis[i].fd);
	loop_free(f->host.loop);
	cleanup_close(&f->connector);
	unix_remove(&f->made);
	gmem_unmap(&f->mem);
	pthread_mutex_destroy(&f->lock);
}

/* Copy out the window that holds the access; false when there is none. */
static bool claim(struct fake_host *f, enum dev_space space, uint64_t addr, size_t len,
		  struct fake_window *ret)
{
	AUTO_LOCK(&f->lock);

	assert(len >= 1 && len <= 8);
	for (size_t i = 0; i < FAKE_MAX_WINDOWS; i++) {
		const struct fake_window *w = &f->windows[i];

		if (w->dev && w->space == space && addr >= w->base &&
		    range_within(addr - w->base, len, w->len)) {
			*ret = *w;
			return true;
		}
	}
	return false;
}

uint64_t fake_in(struct fake_host *f, enum dev_space space, uint64_t addr, size_t len)
{
	uint64_t all_ones = ~0ull >> (64 - 8 * len);
	unsigned char buf[8] = { 0 };
	struct fake_window w;

	if (!claim(f, space, addr, len, &w) || !w.dev->class->read)
		return all_ones;
	AUTO_LOCK(&w.dev->lock);
	w.dev->class->read(w.dev, w.win, addr - w.base, buf, len);
	return le64_get(buf);
}

void fake_out(struct fake_host *f, enum dev_space space, uint64_t addr, uint64_t value,
	      size_t len)
{
	unsigned char buf[8];
	struct fake_window w;
	int fd = -1;

	if (!claim(f, space, addr, len, &w))
		return;
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < FAKE_MAX_NOTIFIES; i++) {
		const struct fake_notify *n = &f->notifies[i];

		if (n->dev == w.dev && n->win == w.win && n->off == addr - w.base)
			fd = n->fd;
	}
	pthread_mutex_unlock(&f->lock);
	if (fd >= 0) {
		(void)eventfd_write(fd, 1);
		return;
	}
	if (!w.dev->class->write)
		return;
	le64_put(buf, value);
	AUTO_LOCK(&w.dev->lock);
	w.dev->class->write(w.dev, w.win, addr - w.base, buf, len);
}

void fake_run(struct fake_host *f)
{
	int n;

	do
		n = loop_poll(f->host.loop);
	while (n > 0);
	assert(n == 0);
}

gpa_t fake_alloc(struct fake_host *f, uint64_t len, uint64_t align)
{
	gpa_t gpa = GPA(align_up(f->next_alloc, align));

	memset(fake_ptr(f, gpa, len), 0, len);
	f->next_alloc = gpa.v + len;
	return gpa;
}

void *fake_ptr(struct fake_host *f, gpa_t gpa, uint64_t len)
{
	void *p = gmem_slice(&f->mem, gpa, len);

	assert(p);
	return p;
}

unsigned fake_msi_count(struct fake_host *f, unsigned id)
{
	eventfd_t n;
	AUTO_LOCK(&f->lock);

	assert(id < f->n_msis);
	if (f->msis[id].masked || eventfd_read(f->msis[id].fd, &n) < 0)
		return 0;
	return (unsigned)n;
}
