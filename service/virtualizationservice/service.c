/* Connections, and users; see service.h. */
#include "service/virtualizationservice/service.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/unix.h"
#include "dbus/global.h"
#include "dbus/global_vtable.h"
#include "service/common/bus_error.h"

#define TAG "service"
/* Those who may not call are told so; but only as many at a time. */
#define MAX_REFUSED 64
/* A private service is started by somebody who calls. */
#define FIRST_CALL_US (10 * 1000000ULL)

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since Linux 6.16 */
#endif

static const struct peer_object objects[] = {
	{ GLOBAL_PATH, GLOBAL_INTERFACE, global_vtable },
};

/* --- users ------------------------------------------------------------------- */

static struct user *user_get(struct service *s, uid_t uid)
{
	struct user *user;

	LIST_FOREACH(user, &s->users, entry)
	{
		if (user->uid == uid)
			return user;
	}
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	user->limits = conf_limits(s->conf, uid);
	LIST_INSERT_HEAD(&s->users, user, entry);
	return user;
}

static unsigned *count_cids(void *userdata, uid_t uid)
{
	struct user *user = user_get(userdata, uid);

	return user ? &user->cids : NULL;
}

/* --- the end of a private service -------------------------------------------- */

/* The lock is kept until all is removed that the next service there would use. */
static void remove_name(struct service *s)
{
	if (s->lock_fd < 0)
		s->lock_fd = unix_lock(s->name);
	unix_remove(s->name);
}

/* With nothing left to serve or to clear away, and nobody who waits to be accepted. */
static void end_if_idle(void *userdata)
{
	struct service *s = userdata;
	struct pollfd waiting = { .fd = s->listen_fd, .events = POLLIN };

	if (!s->ends || s->first_call || !LIST_EMPTY(&s->conns) ||
	    cids_lingering(s->cids) || cgroups_busy(s->cgroups))
		return;
	/* Whoever comes while we wait for the lock is somebody who waits, too. */
	if (s->lock_fd < 0)
		s->lock_fd = unix_lock(s->name);
	if (poll(&waiting, 1, 0) != 0) {
		cleanup_close(&s->lock_fd);
		s->lock_fd = -1;
		return;
	}
	remove_name(s);
	sd_event_exit(s->event, 0);
}

static int on_first_call_missing(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct service *s = userdata;

	(void)source;
	(void)usec;
	s->first_call = sd_event_source_disable_unref(s->first_call);
	end_if_idle(s);
	return 0;
}

/* --- connections ------------------------------------------------------------- */

static void conn_free(struct conn *conn)
{
	struct service *s = conn->service;

	LIST_REMOVE(conn, entry);
	openings_drop(conn);
	contexts_drop(conn);
	if (conn->user)
		conn->user->connections--;
	else
		s->n_refused--;
	cleanup_close(&conn->caller.pidfd);
	peer_free(conn->peer);
	free(conn);
}

static void on_gone(struct peer *peer, void *userdata)
{
	struct conn *conn = userdata;
	struct service *s = conn->service;

	(void)peer;
	conn_free(conn);
	end_if_idle(s);
}

int conn_check(struct conn *conn, sd_bus_error *ret_error)
{
	struct service *s = conn->service;

	if (!conn->user)
		return bus_error_set(ret_error, conn->refusal_code, &conn->refusal);
	/* Who only connects may be asking whether the socket is a dead one's. */
	s->first_call = sd_event_source_disable_unref(s->first_call);
	return 0;
}

/* Let the one who has called in, or tell him why not, or close where many are told. */
static int admit(struct service *s, struct conn *conn, int fd)
{
	struct user *user = NULL;
	int r;

	r = rights_ask(&s->rights, fd, &conn->caller, &conn->refusal);
	if (r == 0) {
		user = user_get(s, conn->caller.uid);
		if (!user)
			return -ENOMEM;
		if (user->connections >= user->limits.connections)
			r = err_set(
				&conn->refusal, -EDQUOT,
				"user %u: has %u connections, and may not have more",
				user->uid, user->connections);
	}
	if (r < 0 || !user) {
		log_debug(TAG, "refused: %s", conn->refusal.msg);
		if (s->n_refused >= MAX_REFUSED)
			return r;
		conn->refusal_code = r;
		s->n_refused++;
		return 0;
	}
	conn->user = user;
	user->connections++;
	return 0;
}

static const struct peer_ops peer_ops = {
	.objects = objects,
	.n_objects = ARRAY_SIZE(objects),
	.gone = on_gone,
};

static int conn_new(struct service *s, int fd, struct err *err)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	const int no = 0;
	int r;

	if (!conn) {
		close(fd);
		return err_sys(err, -ENOMEM, "a connection");
	}
	conn->service = s;
	conn->caller.pidfd = -1;
	/*
	 * No method takes a descriptor. One of a file system of the caller's could
	 * make close() wait for him, and a great many leave us without; where Linux
	 * lets us, none gets in.
	 */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
	r = admit(s, conn, fd);
	if (r < 0) {
		close(fd);
		cleanup_close(&conn->caller.pidfd);
		free(conn);
		return r;
	}
	LIST_INSERT_HEAD(&s->conns, conn, entry);
	r = peer_new(s->event, fd, &peer_ops, conn, &conn->peer, err);
	if (r < 0)
		conn_free(conn);
	return r;
}

static int on_caller(sd_event_source *source, int listen_fd, uint32_t events,
		     void *userdata)
{
	struct service *s = userdata;
	int fd = unix_accept(listen_fd, &s->spare_fd);

	(void)source;
	(void)events;
	if (fd < 0)
		log_debug(TAG, "accept: %s", strerrordesc_np(-fd));
	if (fd < 0 || conn_new(s, fd, NULL) < 0)
		end_if_idle(s);
	return 0;
}

/* --- the service ------------------------------------------------------------- */

static const struct cids_ops cids_ops = { .count = count_cids, .freed = end_if_idle };

static int listen_at(struct service *s, struct err *err)
{
	const int no = 0;
	int r;

	/* Those who wait already were accepted by the kernel with what it has now. */
	(void)setsockopt(s->listen_fd, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
	s->spare_fd = eventfd(0, EFD_CLOEXEC);
	if (s->spare_fd < 0)
		return err_sys(err, -errno, "the service");
	r = sd_event_add_io(s->event, &s->listener, s->listen_fd, EPOLLIN, on_caller,
			    s);
	if (r >= 0 && s->ends)
		r = sd_event_add_time_relative(s->event, &s->first_call,
					       CLOCK_MONOTONIC, FIRST_CALL_US, 0,
					       on_first_call_missing, s);
	return r < 0 ? err_sys(err, r, "the service") : 0;
}

int service_new(sd_event *event, struct service_setup *setup,
		struct service **ret_service, struct err *err)
{
	struct service *s = calloc(1, sizeof(*s));
	uint32_t range = setup->last_cid - setup->first_cid + 1;
	/* Private services of different users do not know one another. */
	uint32_t start = setup->first_cid +
			 (setup->private ? (getuid() * 2654435761U) % range : 0);
	int r;

	if (!s) {
		close(setup->listen_fd);
		unix_remove(setup->name);
		return err_sys(err, -ENOMEM, "the service");
	}
	s->event = sd_event_ref(event);
	TAILQ_INIT(&s->contexts);
	s->conf = setup->conf;
	s->name = setup->name;
	s->listen_fd = setup->listen_fd;
	s->lock_fd = -1;
	s->spare_fd = -1;
	s->ends = setup->private;
	rights_init(&s->rights, s->conf, setup->private);
	s->cgroups = cgroups_new(event, end_if_idle, s);
	if (!s->cgroups)
		r = err_sys(err, -ENOMEM, "the service");
	else
		r = cids_new(setup->folder, setup->first_cid, setup->last_cid, start,
			     &cids_ops, s, &s->cids, err);
	if (r == 0)
		r = cids_watch(s->cids, event, err);
	if (r == 0)
		r = listen_at(s, err);
	if (r < 0) {
		service_free(s);
		return r;
	}
	*ret_service = s;
	return 0;
}

void service_free(struct service *s)
{
	if (!s)
		return;
	s->stopping = true;
	remove_name(s);
	while (!LIST_EMPTY(&s->conns))
		conn_free(LIST_FIRST(&s->conns));
	sd_event_source_disable_unref(s->listener);
	sd_event_source_disable_unref(s->first_call);
	cleanup_close(&s->listen_fd);
	cleanup_close(&s->spare_fd);
	cgroups_free(s->cgroups);
	cids_free(s->cids);
	cleanup_close(&s->lock_fd);
	while (!LIST_EMPTY(&s->users)) {
		struct user *user = LIST_FIRST(&s->users);

		LIST_REMOVE(user, entry);
		free(user);
	}
	sd_event_unref(s->event);
	free(s);
}
