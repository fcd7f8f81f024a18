/* The balloon, by the control socket; see control_balloon.h. */
#include "vmm/control_balloon.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "virtio/balloon.h"

/* The guest's changes of the size are seen that soon. */
#define TICK_MS 50

/* Who waits for an answer. */
struct waiter {
	struct control_conn *conn; /* NULL: nobody */
	bool stats; /* for these; otherwise for the size, which is: */
	uint64_t target;
	uint64_t until_ms;
};

struct control_balloon {
	struct device *dev;
	int timer_fd; /* ticks while somebody waits */
	struct loop_watch *watch;
	/* No connection has two requests at a time. */
	struct waiter waiters[CONTROL_MAX_CONNECTIONS];
};

/* --- answers --------------------------------------------------------------- */

static json_t *pack_stats(const struct balloon_stats *s, uint64_t actual)
{
	/* As crosvm calls them, in its order; it knows two that Linux does not tell. */
	static const struct {
		const char *name;
		unsigned tag;
	} fields[] = {
		{ "swap_in", VIRTIO_BALLOON_S_SWAP_IN },
		{ "swap_out", VIRTIO_BALLOON_S_SWAP_OUT },
		{ "major_faults", VIRTIO_BALLOON_S_MAJFLT },
		{ "minor_faults", VIRTIO_BALLOON_S_MINFLT },
		{ "free_memory", VIRTIO_BALLOON_S_MEMFREE },
		{ "total_memory", VIRTIO_BALLOON_S_MEMTOT },
		{ "available_memory", VIRTIO_BALLOON_S_AVAIL },
		{ "disk_caches", VIRTIO_BALLOON_S_CACHES },
		{ "hugetlb_allocations", VIRTIO_BALLOON_S_HTLB_PGALLOC },
		{ "hugetlb_failures", VIRTIO_BALLOON_S_HTLB_PGFAIL },
		{ "shared_memory", BALLOON_STATS_MAX },
		{ "unevictable_memory", BALLOON_STATS_MAX },
	};
	json_t *stats = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		unsigned tag = fields[i].tag;
		bool told = tag < BALLOON_STATS_MAX && (s->valid & 1u << tag);

		/* Some guests tell ones where they do not know; JSON has 63 bits. */
		json_object_set_new(stats, fields[i].name,
				    told && s->value[tag] <= INT64_MAX
					    ? json_integer((json_int_t)s->value[tag])
					    : json_null());
	}
	return json_pack("{s:{s:o,s:I}}", "BalloonStats", "stats", stats,
			 "balloon_actual", (json_int_t)actual);
}

static void answer_stats(struct control_balloon *b, struct control_conn *conn)
{
	struct balloon_state state;
	struct err why;

	virtio_balloon_get(b->dev, &state);
	if (state.age_ms != UINT64_MAX) {
		control_reply(conn, pack_stats(&state.stats, state.actual));
		return;
	}
	err_set(&why, -ENODATA, "the guest does not tell statistics of its memory");
	control_fail(conn, &why);
}

static void answer_late(struct control_balloon *b, const struct waiter *w)
{
	struct balloon_state state;
	struct err why;

	virtio_balloon_get(b->dev, &state);
	err_set(&why, -ETIMEDOUT,
		"the guest has given up %" PRIu64 " of %" PRIu64 " bytes after %d s",
		state.actual, w->target, BALLOON_ADJUST_MS / 1000);
	control_fail(w->conn, &why);
}

/* --- waiting --------------------------------------------------------------- */

static void set_timer(const struct control_balloon *b, bool on)
{
	const struct timespec tick = { .tv_nsec = on ? TICK_MS * 1000000L : 0 };
	const struct itimerspec t = { tick, tick };

	timerfd_settime(b->timer_fd, 0, &t, NULL);
}

static void wait_for(struct control_balloon *b, const struct waiter *waiter)
{
	size_t i = 0;

	while (b->waiters[i].conn)
		i++;
	b->waiters[i] = *waiter;
	control_later(waiter->conn);
	set_timer(b, true);
}

/* One answer ends the wait of all for statistics. */
static void on_stats(void *arg, const struct balloon_stats *stats)
{
	struct control_balloon *b = arg;

	(void)stats; /* they are the last ones now */
	for (size_t i = 0; i < ARRAY_SIZE(b->waiters); i++)
		if (b->waiters[i].conn && b->waiters[i].stats)
			answer_stats(b, TAKE_PTR(b->waiters[i].conn));
}

/* Whether @w has had its answer. */
static bool look(struct control_balloon *b, const struct waiter *w, uint64_t now,
		 uint64_t actual)
{
	if (!w->stats && actual == w->target)
		control_reply(w->conn, NULL);
	else if (now < w->until_ms)
		return false;
	else if (w->stats)
		answer_stats(b, w->conn);
	else
		answer_late(b, w);
	return true;
}

static void on_tick(void *arg, uint32_t events)
{
	struct control_balloon *b = arg;
	bool stats = false, any = false;
	struct balloon_state state;
	uint64_t count, now = clock_ms();

	(void)events;
	if (read(b->timer_fd, &count, sizeof(count)) != sizeof(count))
		return;
	virtio_balloon_get(b->dev, &state);
	for (size_t i = 0; i < ARRAY_SIZE(b->waiters); i++) {
		struct waiter *w = &b->waiters[i];

		if (w->conn && look(b, w, now, state.actual))
			w->conn = NULL;
		stats |= w->conn && w->stats;
		any |= w->conn != NULL;
	}
	if (!stats)
		virtio_balloon_stats(b->dev, NULL, NULL);
	if (!any)
		set_timer(b, false);
}

/* --- requests -------------------------------------------------------------- */

void control_balloon_adjust(struct control_balloon *b, struct control_conn *conn,
			    uint64_t bytes, bool wait)
{
	struct balloon_state state;
	struct err why;

	if (virtio_balloon_set(b->dev, bytes, &why) < 0) {
		control_fail(conn, &why);
		return;
	}
	/* In whole pages. */
	virtio_balloon_get(b->dev, &state);
	if (!wait || state.actual == state.target) {
		control_reply(conn, NULL);
		return;
	}
	wait_for(b, &(struct waiter){ .conn = conn,
				      .target = state.target,
				      .until_ms = clock_ms() + BALLOON_ADJUST_MS });
}

void control_balloon_stats(struct control_balloon *b, struct control_conn *conn)
{
	int r = virtio_balloon_stats(b->dev, on_stats, b);

	/* -EBUSY: another one has asked, and we shall have the answer too. */
	if (r < 0 && r != -EBUSY)
		answer_stats(b, conn);
	else
		wait_for(b,
			 &(struct waiter){ .conn = conn,
					   .stats = true,
					   .until_ms = clock_ms() + BALLOON_STATS_MS });
}

int control_balloon_new(struct device *dev, struct loop *loop,
			struct control_balloon **ret_balloon, struct err *err)
{
	struct control_balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_sys(err, -ENOMEM, "control socket");
	b->dev = dev;
	b->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r = b->timer_fd < 0
		    ? err_sys(err, -errno, "control socket: timer")
		    : loop_add(loop, b->timer_fd, EPOLLIN, on_tick, b, &b->watch, err);
	if (r < 0) {
		control_balloon_free(b);
		return r;
	}
	*ret_balloon = b;
	return 0;
}

void control_balloon_free(struct control_balloon *b)
{
	if (!b)
		return;
	virtio_balloon_stats(b->dev, NULL, NULL);
	loop_del(b->watch);
	cleanup_close(&b->timer_fd);
	free(b);
}
