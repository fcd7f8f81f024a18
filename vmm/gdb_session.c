/* gdb's commands; see gdb_session.h. gdb's manual, appendix E. */
#include "vmm/gdb_session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define PAGE 4096u
#define MEMORY_MAX (GDB_PACKET_MAX / 2)
#define SIGNAL_INT 2 /* as gdb numbers them */
#define SIGNAL_TRAP 5

static void reply(struct gdb_session *s, const char *text)
{
	gdb_tx_begin(&s->tx);
	gdb_tx_text(&s->tx, text, strlen(text));
	gdb_tx_end(&s->tx);
}

static void reply_error(struct gdb_session *s, int error)
{
	gdb_tx_begin(&s->tx);
	gdb_tx_printf(&s->tx, "E%02x", (unsigned)(-error) & 0xff);
	gdb_tx_end(&s->tx);
}

static void reply_result(struct gdb_session *s, int r)
{
	if (r < 0)
		reply_error(s, r);
	else
		reply(s, "OK");
}

/* --- threads ------------------------------------------------------------- */

/* A thread's number; *@ret is -1 for all of them, or any. */
static bool thread(const struct gdb_session *s, const char **p, int *ret)
{
	uint64_t number;

	if (gdb_word(p, "-1")) {
		*ret = -1;
		return true;
	}
	if (!gdb_number(p, &number) || number > s->n_cpus)
		return false;
	*ret = (int)number - 1;
	return true;
}

static void cmd_select(struct gdb_session *s, const char *p)
{
	char what = *p++;
	int cpu;

	if ((what != 'g' && what != 'c') || !thread(s, &p, &cpu)) {
		reply_error(s, -EINVAL);
		return;
	}
	if (what == 'c')
		s->step_cpu = cpu;
	else if (cpu >= 0)
		s->cpu = (unsigned)cpu;
	reply(s, "OK");
}

static void cmd_alive(struct gdb_session *s, const char *p)
{
	int cpu;

	reply_result(s, thread(s, &p, &cpu) && cpu >= 0 ? 0 : -EINVAL);
}

static void cmd_threads(struct gdb_session *s, const char *p)
{
	(void)p;
	gdb_tx_begin(&s->tx);
	for (unsigned i = 0; i < s->n_cpus; i++)
		gdb_tx_printf(&s->tx, "%c%x", i ? ',' : 'm', i + 1);
	gdb_tx_end(&s->tx);
}

static void cmd_no_more_threads(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, "l");
}

static void cmd_thread_info(struct gdb_session *s, const char *p)
{
	char text[32];
	int cpu;

	if (!thread(s, &p, &cpu) || cpu < 0) {
		reply_error(s, -EINVAL);
		return;
	}
	gdb_tx_begin(&s->tx);
	gdb_tx_hex(&s->tx, text, (size_t)snprintf(text, sizeof(text), "vCPU %d", cpu));
	gdb_tx_end(&s->tx);
}

static void cmd_current_thread(struct gdb_session *s, const char *p)
{
	if (*p) { /* qCRC and the like */
		reply(s, "");
		return;
	}
	gdb_tx_begin(&s->tx);
	gdb_tx_printf(&s->tx, "QC%x", s->cpu + 1);
	gdb_tx_end(&s->tx);
}

/* --- registers and memory ------------------------------------------------ */

static size_t regs_size(const struct gdb_session *s)
{
	size_t off = 0, len = 0;

	for (size_t i = 0; s->ops->reg(i, &off, &len); i++)
		;
	return off + len;
}

static void cmd_get_regs(struct gdb_session *s, const char *p)
{
	unsigned char regs[ARCH_DEBUG_REGS_MAX];
	int r = s->ops->get_regs(s->ctx, s->cpu, regs);

	(void)p;
	if (r < 0) {
		reply_error(s, r);
		return;
	}
	gdb_tx_begin(&s->tx);
	gdb_tx_hex(&s->tx, regs, regs_size(s));
	gdb_tx_end(&s->tx);
}

static void cmd_set_regs(struct gdb_session *s, const char *p)
{
	unsigned char regs[ARCH_DEBUG_REGS_MAX];

	if (gdb_bytes(&p, regs, regs_size(s)) && !*p)
		reply_result(s, s->ops->set_regs(s->ctx, s->cpu, regs));
	else
		reply_error(s, -EINVAL);
}

static void cmd_get_reg(struct gdb_session *s, const char *p)
{
	unsigned char regs[ARCH_DEBUG_REGS_MAX];
	size_t off, len;
	uint64_t number;
	int r;

	if (!gdb_number(&p, &number) || *p || !s->ops->reg(number, &off, &len)) {
		reply_error(s, -EINVAL);
		return;
	}
	r = s->ops->get_regs(s->ctx, s->cpu, regs);
	if (r < 0) {
		reply_error(s, r);
		return;
	}
	gdb_tx_begin(&s->tx);
	gdb_tx_hex(&s->tx, regs + off, len);
	gdb_tx_end(&s->tx);
}

static void cmd_set_reg(struct gdb_session *s, const char *p)
{
	unsigned char regs[ARCH_DEBUG_REGS_MAX], value[64];
	size_t off, len;
	uint64_t number;
	int r;

	if (!gdb_number(&p, &number) || !gdb_word(&p, "=") ||
	    !s->ops->reg(number, &off, &len) || len > sizeof(value) ||
	    !gdb_bytes(&p, value, len) || *p) {
		reply_error(s, -EINVAL);
		return;
	}
	r = s->ops->get_regs(s->ctx, s->cpu, regs);
	if (r == 0) {
		memcpy(regs + off, value, len);
		r = s->ops->set_regs(s->ctx, s->cpu, regs);
	}
	reply_result(s, r);
}

static bool range(const char **p, uint64_t *ret_addr, uint64_t *ret_len)
{
	return gdb_number(p, ret_addr) && gdb_word(p, ",") && gdb_number(p, ret_len);
}

/* How much of @len bytes at @addr lies in its page. */
static size_t in_page(uint64_t addr, size_t len)
{
	size_t left = PAGE - addr % PAGE;

	return len < left ? len : left;
}

/* As much as there is: gdb asks again for the rest, and is told no. */
static void cmd_read(struct gdb_session *s, const char *p)
{
	unsigned char buf[MEMORY_MAX];
	uint64_t addr, want;
	size_t done = 0;
	int r = 0;

	if (!range(&p, &addr, &want) || *p) {
		reply_error(s, -EINVAL);
		return;
	}
	if (want > sizeof(buf))
		want = sizeof(buf);
	while (done < want) {
		size_t n = in_page(addr + done, want - done);

		r = s->ops->read(s->ctx, s->cpu, addr + done, buf + done, n);
		if (r < 0)
			break;
		done += n;
	}
	if (r < 0 && done == 0) {
		reply_error(s, r);
		return;
	}
	gdb_tx_begin(&s->tx);
	gdb_tx_hex(&s->tx, buf, done);
	gdb_tx_end(&s->tx);
}

static void cmd_write(struct gdb_session *s, const char *p)
{
	unsigned char buf[MEMORY_MAX];
	uint64_t addr, len;
	int r = 0;

	if (!range(&p, &addr, &len) || len > sizeof(buf) || !gdb_word(&p, ":") ||
	    !gdb_bytes(&p, buf, len) || *p) {
		reply_error(s, -EINVAL);
		return;
	}
	for (size_t done = 0, n; r == 0 && done < len; done += n) {
		n = in_page(addr + done, len - done);
		r = s->ops->write(s->ctx, s->cpu, addr + done, buf + done, n);
	}
	reply_result(s, r);
}

/* --- break- and watchpoints ---------------------------------------------- */

static struct gdb_point *find_point(struct gdb_session *s, const struct gdb_point *like)
{
	for (size_t i = 0; i < ARCH_DEBUG_POINTS; i++)
		if (s->points[i].type == like->type &&
		    (!like->type || (s->points[i].addr == like->addr &&
				     s->points[i].len == like->len)))
			return &s->points[i];
	return NULL;
}

/* The text behind Z or z. -ENOTSUP: of a kind that we do not have. */
static int parse_point(const char *p, struct gdb_point *ret)
{
	if (*p < '0' || *p > '4')
		return -ENOTSUP;
	ret->type = *p++;
	if (!gdb_word(&p, ",") || !range(&p, &ret->addr, &ret->len))
		return -EINVAL;
	/* Of a breakpoint it is the kind, of which there is one; conditions are gdb's.
	 */
	if (ret->type <= '1')
		ret->len = 1;
	else if (*p || ret->len > 8 ||
		 !arch_debug_can_watch(ret->addr, (unsigned)ret->len))
		return -EINVAL;
	return 0;
}

static void cmd_insert(struct gdb_session *s, const char *p)
{
	struct gdb_point point, *place;
	int r = parse_point(p, &point);

	if (r == -ENOTSUP) {
		reply(s, "");
		return;
	}
	/* gdb may insert the same one twice. */
	if (r == 0 && !find_point(s, &point)) {
		place = find_point(s, &(struct gdb_point){ 0 });
		if (place)
			*place = point;
		else
			r = -ENOSPC;
	}
	reply_result(s, r);
}

static void cmd_remove(struct gdb_session *s, const char *p)
{
	struct gdb_point point, *place;
	int r = parse_point(p, &point);

	if (r == -ENOTSUP) {
		reply(s, "");
		return;
	}
	place = r == 0 ? find_point(s, &point) : NULL;
	if (place)
		*place = (struct gdb_point){ 0 };
	reply_result(s, r);
}

/* --- running and stopping ------------------------------------------------ */

static void resume(struct gdb_session *s, const enum gdb_action *actions)
{
	static const enum arch_debug_kind kinds[] = { ARCH_DEBUG_EXEC, ARCH_DEBUG_EXEC,
						      ARCH_DEBUG_WRITE,
						      ARCH_DEBUG_ACCESS,
						      ARCH_DEBUG_ACCESS };
	struct arch_debug_point points[ARCH_DEBUG_POINTS] = { 0 };

	for (size_t i = 0; i < ARCH_DEBUG_POINTS; i++)
		if (s->points[i].type)
			points[i] = (struct arch_debug_point){
				.kind = kinds[s->points[i].type - '0'],
				.addr = s->points[i].addr,
				.len = (unsigned)s->points[i].len,
			};
	s->running = true;
	s->ops->resume(s->ctx, points, actions);
}

static void fill(enum gdb_action *actions, enum gdb_action with)
{
	for (size_t i = 0; i < GDB_MAX_CPUS; i++)
		actions[i] = with;
}

/* "c" and "s"; gdb itself prefers vCont, and addresses it sets by registers. */
static void cmd_continue(struct gdb_session *s, const char *p)
{
	enum gdb_action actions[GDB_MAX_CPUS];

	fill(actions, GDB_RUN);
	if (*p)
		reply_error(s, -EINVAL);
	else
		resume(s, actions);
}

static void cmd_step(struct gdb_session *s, const char *p)
{
	enum gdb_action actions[GDB_MAX_CPUS];

	fill(actions, GDB_HOLD);
	actions[s->step_cpu >= 0 ? (unsigned)s->step_cpu : s->cpu] = GDB_STEP;
	if (*p)
		reply_error(s, -EINVAL);
	else
		resume(s, actions);
}

/* One "c:2" of vCont: for the threads that no earlier one spoke of. */
static bool action(const struct gdb_session *s, const char **p, bool *spoken,
		   enum gdb_action *actions)
{
	char what = *(*p)++;
	uint64_t sig;
	int cpu = -1;

	/* Signals that gdb would deliver mean nothing to a vCPU. */
	if ((what == 'C' || what == 'S') && !gdb_number(p, &sig))
		return false;
	if (!strchr("cCsS", what) || !what)
		return false;
	if (gdb_word(p, ":") && !thread(s, p, &cpu))
		return false;
	for (unsigned i = 0; i < s->n_cpus; i++) {
		if (spoken[i] || (cpu >= 0 && (unsigned)cpu != i))
			continue;
		spoken[i] = true;
		actions[i] = what == 'c' || what == 'C' ? GDB_RUN : GDB_STEP;
	}
	return true;
}

static void cmd_vcont(struct gdb_session *s, const char *p)
{
	enum gdb_action actions[GDB_MAX_CPUS];
	bool spoken[GDB_MAX_CPUS] = { false }, any = false;

	fill(actions, GDB_HOLD);
	do
		if (!action(s, &p, spoken, actions)) {
			reply_error(s, -EINVAL);
			return;
		}
	while (gdb_word(&p, ";"));
	for (unsigned i = 0; i < s->n_cpus; i++)
		any |= spoken[i];
	if (*p || !any)
		reply_error(s, -EINVAL);
	else
		resume(s, actions);
}

static void cmd_vcont_what(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, "vCont;c;C;s;S");
}

static void cmd_why(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, s->stop);
}

static void cmd_detach(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, "OK");
	s->detached = true;
}

static void cmd_kill(struct gdb_session *s, const char *p)
{
	(void)p;
	s->ops->kill(s->ctx);
}

static void cmd_vkill(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, "OK");
	s->ops->kill(s->ctx);
}

/* --- about the stub itself ----------------------------------------------- */

static void cmd_supported(struct gdb_session *s, const char *p)
{
	(void)p;
	gdb_tx_begin(&s->tx);
	gdb_tx_printf(&s->tx,
		      "PacketSize=%x;qXfer:features:read+;vContSupported+;"
		      "swbreak+;hwbreak+;QStartNoAckMode+",
		      GDB_PACKET_MAX);
	gdb_tx_end(&s->tx);
}

static void cmd_no_ack(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, "OK");
	s->no_ack = true;
}

static void cmd_features(struct gdb_session *s, const char *p)
{
	size_t size = strlen(s->xml);
	uint64_t off, len;

	if (!gdb_word(&p, "target.xml:") || !range(&p, &off, &len) || *p) {
		reply(s, "E00");
		return;
	}
	if (off > size)
		off = size;
	if (len > size - off)
		len = size - off;
	if (len > GDB_PACKET_MAX - 1)
		len = GDB_PACKET_MAX - 1;
	gdb_tx_begin(&s->tx);
	gdb_tx_text(&s->tx, off + len < size ? "m" : "l", 1);
	gdb_tx_text(&s->tx, s->xml + off, len);
	gdb_tx_end(&s->tx);
}

/* It was there before gdb came: to quit is to detach. */
static void cmd_attached(struct gdb_session *s, const char *p)
{
	(void)p;
	reply(s, "1");
}

/* --- the conversation ---------------------------------------------------- */

/* The first whose name a packet begins with. */
static const struct {
	const char *name;
	void (*run)(struct gdb_session *s, const char *args);
} commands[] = {
	{ "m", cmd_read },
	{ "M", cmd_write },
	{ "g", cmd_get_regs },
	{ "G", cmd_set_regs },
	{ "p", cmd_get_reg },
	{ "P", cmd_set_reg },
	{ "Z", cmd_insert },
	{ "z", cmd_remove },
	{ "H", cmd_select },
	{ "T", cmd_alive },
	{ "?", cmd_why },
	{ "c", cmd_continue },
	{ "s", cmd_step },
	{ "D", cmd_detach },
	{ "k", cmd_kill },
	{ "vCont?", cmd_vcont_what },
	{ "vCont;", cmd_vcont },
	{ "vKill;", cmd_vkill },
	{ "qfThreadInfo", cmd_threads },
	{ "qsThreadInfo", cmd_no_more_threads },
	{ "qThreadExtraInfo,", cmd_thread_info },
	{ "qC", cmd_current_thread },
	{ "qAttached", cmd_attached },
	{ "qSupported", cmd_supported },
	{ "qXfer:features:read:", cmd_features },
	{ "QStartNoAckMode", cmd_no_ack },
};

static void packet(struct gdb_session *s)
{
	const char *p = s->rx.text;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (gdb_word(&p, commands[i].name)) {
			commands[i].run(s, p);
			return;
		}
	reply(s, "");
}

void gdb_session_start(struct gdb_session *s)
{
	s->running = s->no_ack = s->detached = false;
	s->cpu = 0;
	s->step_cpu = -1;
	memset(s->points, 0, sizeof(s->points));
	snprintf(s->stop, sizeof(s->stop), "T%02xthread:1;", SIGNAL_TRAP);
	s->rx = (struct gdb_rx){ 0 };
	s->tx = (struct gdb_tx){ 0 };
}

void gdb_session_byte(struct gdb_session *s, uint8_t byte)
{
	bool no_ack = s->no_ack;

	switch (gdb_rx_byte(&s->rx, byte)) {
	case GDB_NOTHING:
		return;
	case GDB_INTERRUPT:
		if (s->running)
			s->ops->interrupt(s->ctx);
		return;
	case GDB_CORRUPT:
		if (!no_ack)
			gdb_tx_raw(&s->tx, '-');
		return;
	case GDB_PACKET:
		if (!no_ack)
			gdb_tx_raw(&s->tx, '+');
		if (!s->running)
			packet(s);
	}
}

static const char *point_words(const struct gdb_point *p, char *buf, size_t size)
{
	static const char *const words[] = { "swbreak:", "hwbreak:", "watch:",
					     "rwatch:", "awatch:" };

	if (p->type <= '1')
		snprintf(buf, size, "%s;", words[p->type - '0']);
	else
		snprintf(buf, size, "%s%" PRIx64 ";", words[p->type - '0'], p->addr);
	return buf;
}

void gdb_session_stopped(struct gdb_session *s, unsigned cpu, unsigned points,
			 bool interrupted)
{
	char words[32] = "";

	for (size_t i = 0; i < ARCH_DEBUG_POINTS; i++)
		if ((points & 1u << i) && s->points[i].type) {
			point_words(&s->points[i], words, sizeof(words));
			break;
		}
	s->running = false;
	s->cpu = cpu;
	snprintf(s->stop, sizeof(s->stop), "T%02xthread:%x;%s",
		 interrupted ? SIGNAL_INT : SIGNAL_TRAP, cpu + 1, words);
	reply(s, s->stop);
}

void gdb_session_ended(struct gdb_session *s, int status)
{
	if (!s->running)
		return;
	gdb_tx_begin(&s->tx);
	gdb_tx_printf(&s->tx, "W%02x", (unsigned)status & 0xff);
	gdb_tx_end(&s->tx);
}
