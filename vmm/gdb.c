/* The debugger's door; see gdb.h. What gdb says is vmm/gdb_session.c's. */
#include "vmm/gdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix.h"
#include "vmm/gdb_session.h"
#include "vmm/machine_struct.h"

struct gdb {
	struct machine *m;
	int listen_fd, event_fd;
	int spare_fd; /* see unix_accept() */
	struct loop_watch *listening;

	int fd; /* -1: no gdb is there */
	struct loop_watch *watch;
	size_t taken, received; /* of in, by the session and from gdb */
	char in[4096];

	bool stopped; /* we hold the machine */
	struct arch_debug_point points[ARCH_DEBUG_POINTS]; /* as the vCPUs have them */
	char *xml;
	struct gdb_session session;
};

/* --- the socket ---------------------------------------------------------- */

static int listen_tcp(uint16_t port, struct err *err)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				   0);
	int on = 1;

	/* Connections inherit the second one: packets are small, and each is awaited.
	 */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
		return err_sys(err, -errno, "gdb port %u", port);
	return TAKE_FD(fd);
}

int gdb_open(const struct config *cfg, struct broker *broker, struct gdb **ret_gdb,
	     struct err *err)
{
	struct gdb *g = calloc(1, sizeof(*g));
	struct unix_name name = { .dir_fd = -1 };
	int r;

	if (!g)
		return err_sys(err, -ENOMEM, "gdb");
	g->fd = g->listen_fd = g->event_fd = g->spare_fd = -1;
	if (cfg->gdb_port)
		r = listen_tcp(cfg->gdb_port, err);
	else
		r = unix_listen("gdb", cfg->gdb, SOCK_STREAM, &name, err);
	if (r < 0) {
		gdb_close(g);
		return r;
	}
	broker_add_name(broker, &name);
	g->listen_fd = r;
	*ret_gdb = g;
	return 0;
}

/* --- the machine as gdb's target ----------------------------------------- */

static void stop_vcpus(struct gdb *g)
{
	if (g->stopped)
		return;
	machine_hold(g->m);
	g->stopped = true;
}

static void resume_vcpus(struct gdb *g)
{
	if (!g->stopped)
		return;
	machine_release(g->m);
	g->stopped = false;
}

static int target_get_regs(void *ctx, unsigned cpu, void *buf)
{
	struct gdb *g = ctx;

	return arch_debug_get_regs(&g->m->vcpus[cpu], buf);
}

static int target_set_regs(void *ctx, unsigned cpu, const void *buf)
{
	struct gdb *g = ctx;

	return arch_debug_set_regs(&g->m->vcpus[cpu], buf);
}

static int target_read(void *ctx, unsigned cpu, uint64_t addr, void *buf, size_t len)
{
	struct gdb *g = ctx;
	const struct gmem *mem = &g->m->host.mem;
	uint64_t gpa;
	int r = arch_debug_translate(&g->m->vcpus[cpu], mem, addr, &gpa);

	return r < 0 ? r : gmem_read(mem, GPA(gpa), buf, len);
}

static int target_write(void *ctx, unsigned cpu, uint64_t addr, const void *buf,
			size_t len)
{
	struct gdb *g = ctx;
	const struct gmem *mem = &g->m->host.mem;
	uint64_t gpa;
	int r = arch_debug_translate(&g->m->vcpus[cpu], mem, addr, &gpa);

	return r < 0 ? r : gmem_write(mem, GPA(gpa), buf, len);
}

static void forget_hit(struct vcpu *v)
{
	v->hit = false;
	v->hit_points = 0;
}

static void tell_stop(struct gdb *g, struct vcpu *v, bool interrupted)
{
	unsigned points = v->hit_points;

	forget_hit(v);
	gdb_session_stopped(&g->session, v->id, points, interrupted);
}

/*
 * When several vCPUs have met something, gdb is told of one. A breakpoint is met again,
 * but what a watchpoint saw would be lost: @points are those that gdb wants now.
 */
static bool tell_waiting(struct gdb *g, const struct arch_debug_point *points)
{
	for (unsigned i = 0; i < g->m->n_vcpus * ARCH_DEBUG_POINTS; i++) {
		struct vcpu *v = &g->m->vcpus[i / ARCH_DEBUG_POINTS];
		unsigned j = i % ARCH_DEBUG_POINTS;

		if ((v->hit_points & 1u << j) && points[j].len &&
		    points[j].kind != ARCH_DEBUG_EXEC &&
		    points[j].addr == g->points[j].addr) {
			tell_stop(g, v, false);
			return true;
		}
	}
	return false;
}

static void set_vcpus(struct gdb *g, const struct arch_debug_point *points,
		      const enum gdb_action *actions)
{
	memcpy(g->points, points, sizeof(g->points));
	for (unsigned i = 0; i < g->m->n_vcpus; i++) {
		struct vcpu *v = &g->m->vcpus[i];
		int r = arch_debug_set(v, points, actions[i] == GDB_STEP);

		if (r < 0)
			log_warn("gdb", "vCPU %u: KVM sets no breakpoints: %s", i,
				 strerrordesc_np(-r));
		forget_hit(v);
		vcpu_hold(v, actions[i] == GDB_HOLD);
	}
}

static void target_resume(void *ctx, const struct arch_debug_point *points,
			  const enum gdb_action *actions)
{
	struct gdb *g = ctx;

	if (tell_waiting(g, points))
		return;
	set_vcpus(g, points, actions);
	resume_vcpus(g);
}

static void target_interrupt(void *ctx)
{
	struct gdb *g = ctx;

	stop_vcpus(g);
	tell_stop(g, &g->m->vcpus[g->session.cpu], true);
}

static void target_kill(void *ctx)
{
	struct gdb *g = ctx;

	machine_end(g->m, VM_END_KILLED, 0, "killed by gdb");
}

static const struct gdb_target_ops target_ops = {
	.reg = arch_debug_reg,
	.get_regs = target_get_regs,
	.set_regs = target_set_regs,
	.read = target_read,
	.write = target_write,
	.resume = target_resume,
	.interrupt = target_interrupt,
	.kill = target_kill,
};

/* --- the connection ------------------------------------------------------ */

static void disconnect(struct gdb *g)
{
	static const struct arch_debug_point none[ARCH_DEBUG_POINTS];
	enum gdb_action run[GDB_MAX_CPUS];

	loop_del(g->watch);
	close(g->fd);
	g->watch = NULL;
	g->fd = -1;
	stop_vcpus(g);
	for (size_t i = 0; i < GDB_MAX_CPUS; i++)
		run[i] = GDB_RUN;
	set_vcpus(g, none, run);
	resume_vcpus(g);
	loop_set(g->listening, EPOLLIN);
	log_info("gdb", "gone; the guest goes on");
}

/* Send what is to be sent; false: the connection is gone. */
static bool flush(struct gdb *g)
{
	struct gdb_tx *tx = &g->session.tx;

	while (tx->sent < tx->len) {
		ssize_t n = write(g->fd, tx->text + tx->sent, tx->len - tx->sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return false;
		tx->sent += (size_t)n;
	}
	return !tx->overflow;
}

/* Commands are taken one by one: the next when the last one's answer is sent. */
static void serve(struct gdb *g)
{
	struct gdb_session *s = &g->session;
	bool alive;

	while ((alive = flush(g)) && s->tx.sent == s->tx.len && !s->detached &&
	       g->taken < g->received)
		gdb_session_byte(s, (uint8_t)g->in[g->taken++]);
	if (!alive || (s->detached && s->tx.sent == s->tx.len))
		disconnect(g);
	else
		loop_set(g->watch, s->tx.sent < s->tx.len ? EPOLLOUT : EPOLLIN);
}

static void on_client(void *arg, uint32_t events)
{
	struct gdb *g = arg;
	ssize_t n;

	if (!(events & EPOLLOUT)) {
		n = read(g->fd, g->in, sizeof(g->in));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		if (n <= 0) {
			disconnect(g);
			return;
		}
		g->taken = 0;
		g->received = (size_t)n;
	}
	serve(g);
}

static void on_connect(void *arg, uint32_t events)
{
	struct gdb *g = arg;
	struct err err;
	int fd;

	(void)events;
	fd = unix_accept(g->listen_fd, &g->spare_fd);
	if (fd < 0)
		return;
	g->fd = fd;
	g->taken = g->received = 0;
	if (loop_add(g->m->loop, g->fd, EPOLLIN, on_client, g, &g->watch, &err) < 0) {
		log_warn("gdb", "%s", err.msg);
		close(g->fd);
		g->fd = -1;
		return;
	}
	stop_vcpus(g);
	gdb_session_start(&g->session);
	loop_set(g->listening, 0); /* the next one waits in the queue */
	log_info("gdb", "attached; the guest stands still");
}

/* A vCPU has met something, and is held. */
static void on_hit(void *arg, uint32_t events)
{
	struct gdb *g = arg;
	eventfd_t n;

	(void)events;
	(void)eventfd_read(g->event_fd, &n);
	if (!g->session.running || g->fd < 0)
		return;
	stop_vcpus(g);
	for (unsigned i = 0; i < g->m->n_vcpus; i++)
		if (g->m->vcpus[i].hit) {
			tell_stop(g, &g->m->vcpus[i], false);
			serve(g);
			return;
		}
	/* It was told as an interrupt's, and gdb has let it go on since. */
	resume_vcpus(g);
}

/* On the vCPU's thread. */
static void tell_hit(void *ctx, struct vcpu *v)
{
	struct machine *m = ctx;

	(void)v;
	(void)eventfd_write(m->gdb->event_fd, 1);
}

int gdb_start(struct gdb *g, struct machine *m, struct err *err)
{
	int r;

	g->m = m;
	stop_vcpus(g);
	g->xml = arch_debug_xml();
	g->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (!g->xml || g->event_fd < 0 || g->spare_fd < 0)
		return err_sys(err, g->xml ? -errno : -ENOMEM, "gdb");
	g->session = (struct gdb_session){
		.ops = &target_ops, .ctx = g, .xml = g->xml, .n_cpus = m->n_vcpus
	};
	m->shared.debug = tell_hit;
	r = loop_add(m->loop, g->event_fd, EPOLLIN, on_hit, g, NULL, err);
	if (r == 0)
		r = loop_add(m->loop, g->listen_fd, EPOLLIN, on_connect, g,
			     &g->listening, err);
	if (r == 0)
		log_info("gdb", "the guest waits for a debugger");
	return r;
}

void gdb_ended(struct gdb *g, int status)
{
	if (!g || g->fd < 0)
		return;
	gdb_session_ended(&g->session, status);
	(void)flush(g);
}

void gdb_close(struct gdb *g)
{
	if (!g)
		return;
	cleanup_close(&g->fd);
	cleanup_close(&g->listen_fd);
	cleanup_close(&g->event_fd);
	cleanup_close(&g->spare_fd);
	free(g->xml);
	free(g);
}
