/* One D-Bus connection, served; see peer.h. */
#include "service/common/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Messages served at a time, so that one peer does not keep the others waiting. */
#define TURN 64

struct peer {
	const struct peer_ops *ops;
	void *userdata;
	int fd; /* the bus' once there is one */
	sd_bus *bus;
	sd_event *event;
	sd_event_source *io, *timer;
	bool gone; /* told, or not to be told any more */
	bool more; /* there may be something left to serve */
	bool busy; /* in sd_bus_process(): what frees the peer leaves it to that */
	bool freed;
};

/* --- what tools ask a message bus ----------------------------------------------- */

static int on_hello(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)userdata;
	(void)ret_error;
	return sd_bus_reply_method_return(m, "s", ":1.1");
}

static int on_nothing(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)userdata;
	(void)ret_error;
	return sd_bus_reply_method_return(m, "");
}

static int on_get_name_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
	(void)userdata;
	(void)ret_error;
	return sd_bus_reply_method_return(m, "s", ":1.0");
}

static const sd_bus_vtable bus_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("Hello", "", "s", on_hello, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("AddMatch", "s", "", on_nothing, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("RemoveMatch", "s", "", on_nothing, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD("GetNameOwner", "s", "s", on_get_name_owner,
		      SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END
};

/* --- the connection -------------------------------------------------------------- */

static void peer_gone(struct peer *p)
{
	if (p->gone)
		return;
	p->gone = true;
	p->io = sd_event_source_disable_unref(p->io);
	p->timer = sd_event_source_disable_unref(p->timer);
	p->ops->gone(p, p->userdata);
}

static void peer_destroy(struct peer *p)
{
	sd_event_source_disable_unref(p->io);
	sd_event_source_disable_unref(p->timer);
	if (p->bus)
		sd_bus_close_unref(p->bus);
	else
		close(p->fd);
	sd_event_unref(p->event);
	free(p);
}

static int start_bus(struct peer *p)
{
	__attribute__((cleanup(sd_bus_unrefp))) sd_bus *bus = NULL;
	sd_id128_t id;
	int r;

	r = sd_id128_randomize(&id);
	if (r >= 0)
		r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_server(bus, 1, id);
	if (r >= 0)
		r = sd_bus_set_anonymous(bus, 1);
	if (r >= 0)
		r = sd_bus_negotiate_fds(bus, 1);
	if (r >= 0)
		r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/DBus",
					     "org.freedesktop.DBus", bus_vtable, p);
	for (size_t i = 0; r >= 0 && i < p->ops->n_objects; i++)
		r = sd_bus_add_object_vtable(bus, NULL, p->ops->objects[i].path,
					     p->ops->objects[i].interface,
					     p->ops->objects[i].vtable, p->userdata);
	if (r >= 0)
		r = sd_bus_set_fd(bus, p->fd, p->fd);
	if (r < 0)
		return r;
	r = sd_bus_start(bus);
	/* Failed or not, the fd is the bus' now. */
	p->bus = TAKE_PTR(bus);
	return r;
}

/* It takes what it asks for, and not the answers. */
static bool is_choked(const struct peer *p)
{
	uint64_t queued = 0;

	return sd_bus_get_n_queued_write(p->bus, &queued) >= 0 &&
	       queued > PEER_MAX_QUEUED;
}

/*
 * sd-bus keeps what it has read and not looked at, and does not tell: so it is run
 * until it says that nothing is left, if need be in several turns.
 */
static void serve(struct peer *p)
{
	int turns = 0, r;

	p->busy = true;
	do
		r = sd_bus_process(p->bus, NULL);
	while (r > 0 && !p->freed && sd_bus_is_open(p->bus) && !is_choked(p) &&
	       ++turns < TURN);
	p->busy = false;
	p->more = r > 0;
	if (p->freed)
		peer_destroy(p);
	else if (r < 0 || !sd_bus_is_open(p->bus) || is_choked(p))
		peer_gone(p);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct peer *p = arg;
	ssize_t n;
	char byte;

	(void)source;
	(void)events;
	if (!p->bus) {
		n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		/* Held, and let go without a word; or it speaks. */
		if (n <= 0 || start_bus(p) < 0) {
			peer_gone(p);
			return 0;
		}
	}
	serve(p);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	(void)source;
	(void)usec;
	serve(arg);
	return 0;
}

/* What to wait for, asked before each wait: handlers of other peers send, too. */
static int on_prepare(sd_event_source *source, void *arg)
{
	struct peer *p = arg;
	uint64_t until = UINT64_MAX;
	int events;

	if (!p->bus)
		return 0;
	if (is_choked(p)) {
		peer_gone(p);
		return 0;
	}
	events = sd_bus_get_events(p->bus);
	if (events < 0)
		events = EPOLLIN; /* it is closed: serve() finds that */
	sd_event_source_set_io_events(source, (uint32_t)events);
	if (p->more || sd_bus_get_timeout(p->bus, &until) < 0)
		until = 0;
	if (until == UINT64_MAX)
		return sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	sd_event_source_set_time(p->timer, until);
	return sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

int peer_new(sd_event *event, int fd, const struct peer_ops *ops, void *userdata,
	     struct peer **ret_peer, struct err *err)
{
	struct peer *p = calloc(1, sizeof(*p));
	int r;

	if (!p) {
		close(fd);
		return err_sys(err, -ENOMEM, "a connection");
	}
	p->ops = ops;
	p->userdata = userdata;
	p->fd = fd;
	p->event = sd_event_ref(event);
	r = sd_event_add_io(event, &p->io, fd, EPOLLIN, on_io, p);
	if (r >= 0)
		r = sd_event_source_set_prepare(p->io, on_prepare);
	if (r >= 0)
		r = sd_event_add_time(event, &p->timer, CLOCK_MONOTONIC, 0, 0, on_timer,
				      p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
	if (r < 0) {
		peer_destroy(p);
		return err_sys(err, r, "a connection");
	}
	*ret_peer = p;
	return 0;
}

void peer_free(struct peer *p)
{
	if (!p)
		return;
	p->gone = true;
	p->io = sd_event_source_disable_unref(p->io);
	p->timer = sd_event_source_disable_unref(p->timer);
	if (p->busy)
		p->freed = true;
	else
		peer_destroy(p);
}

sd_bus *peer_bus(struct peer *p)
{
	return p->bus;
}

int peer_fd(const struct peer *p)
{
	return p->fd;
}
