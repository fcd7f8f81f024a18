/* A target for gdb sessions; see fake_target.h. */
#undef NDEBUG
#include "tests/unit/fake_target.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static bool fake_reg(size_t number, size_t *ret_off, size_t *ret_len)
{
	static const size_t off[] = { 0, 8, 12 }, len[] = { 8, 4, 16 };

	if (number >= 3)
		return false;
	*ret_off = off[number];
	*ret_len = len[number];
	return true;
}

static int fake_get_regs(void *ctx, unsigned cpu, void *buf)
{
	struct fake_target *t = ctx;

	assert(!t->running && cpu < FAKE_CPUS);
	memcpy(buf, t->regs[cpu], FAKE_REGS_SIZE);
	return 0;
}

static int fake_set_regs(void *ctx, unsigned cpu, const void *buf)
{
	struct fake_target *t = ctx;

	assert(!t->running && cpu < FAKE_CPUS);
	memcpy(t->regs[cpu], buf, FAKE_REGS_SIZE);
	return 0;
}

/* Never more than a page at once. */
static unsigned char *find(struct fake_target *t, unsigned cpu, uint64_t addr,
			   size_t len)
{
	assert(!t->running && cpu < FAKE_CPUS && len > 0);
	assert(addr / 4096 == (addr + len - 1) / 4096);
	if (addr < FAKE_MEMORY || addr >= FAKE_MEMORY + FAKE_MEMORY_SIZE ||
	    addr / 4096 == FAKE_MISSING / 4096)
		return NULL;
	return t->memory + (addr - FAKE_MEMORY);
}

static int fake_read(void *ctx, unsigned cpu, uint64_t addr, void *buf, size_t len)
{
	const unsigned char *p = find(ctx, cpu, addr, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

static int fake_write(void *ctx, unsigned cpu, uint64_t addr, const void *buf,
		      size_t len)
{
	unsigned char *p = find(ctx, cpu, addr, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}

static void fake_resume(void *ctx, const struct arch_debug_point *points,
			const enum gdb_action *actions)
{
	struct fake_target *t = ctx;

	assert(!t->running);
	t->running = true;
	t->resumed++;
	memcpy(t->points, points, sizeof(t->points));
	memcpy(t->actions, actions, sizeof(t->actions));
}

static void fake_interrupt(void *ctx)
{
	struct fake_target *t = ctx;

	assert(t->running);
	t->running = false;
	t->interrupted++;
	gdb_session_stopped(&t->session, t->session.cpu, 0, true);
}

static void fake_kill(void *ctx)
{
	struct fake_target *t = ctx;

	assert(!t->running);
	t->killed = true;
}

static const struct gdb_target_ops ops = {
	.reg = fake_reg,
	.get_regs = fake_get_regs,
	.set_regs = fake_set_regs,
	.read = fake_read,
	.write = fake_write,
	.resume = fake_resume,
	.interrupt = fake_interrupt,
	.kill = fake_kill,
};

void fake_target_start(struct fake_target *t)
{
	memset(t, 0, sizeof(*t));
	t->session = (struct gdb_session){
		.ops = &ops, .ctx = t, .xml = "<target/>", .n_cpus = FAKE_CPUS
	};
	gdb_session_start(&t->session);
}
