/* The process that connects to Unix sockets and removes them; see broker.h. */
#include "vmm/broker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/connector.h"
#include "vmm/jail.h"

/* Where it keeps its socket; the directories come behind it. */
#define CHANNEL STDIN_FILENO

/* --- in the process --------------------------------------------------------- */

static void serve(const char *prefix)
{
	uint64_t id;
	uint32_t port;

	while (connector_next(CHANNEL, &id, &port) > 0) {
		AUTO_CLOSE int sock = *prefix ? connector_dial(prefix, port)
					      : -ECONNREFUSED;

		if (connector_answer(CHANNEL, id, sock) < 0)
			return;
	}
}

/*
 * Keep the channel and the directories, and nothing else. None is overwritten before it
 * is moved: the standard descriptors are nobody's, and only the last goes beyond them.
 */
static int keep_ours(struct broker *b)
{
	int n = CHANNEL;

	static_assert(ARRAY_SIZE(b->names) <= 3, "they would overwrite one another");
	if (dup2(b->far_fd, n++) < 0)
		return -errno;
	for (unsigned i = 0; i < b->n_names; i++, n++) {
		if (dup2(b->names[i].dir_fd, n) < 0)
			return -errno;
		b->names[i].dir_fd = n;
	}
	return close_range((unsigned)n, ~0u, 0) < 0 ? -errno : 0;
}

static _Noreturn void broker(struct broker *b, bool jail)
{
	struct err err;
	sigset_t all;
	int r;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "vmm-broker", 0, 0, 0);
	r = keep_ours(b);
	if (r == 0 && jail)
		r = jail_broker(&err);
	if (send(CHANNEL, &r, sizeof(r), MSG_NOSIGNAL) < 0 || r < 0)
		_exit(1);
	serve(b->prefix);
	for (unsigned i = 0; i < b->n_names; i++)
		unix_remove(&b->names[i]);
	_exit(0);
}

/* --- in the one that starts it ---------------------------------------------- */

void broker_init(struct broker *b)
{
	*b = (struct broker){ .fd = -1, .far_fd = -1 };
}

void broker_add_name(struct broker *b, struct unix_name *name)
{
	if (name->dir_fd < 0)
		return;
	assert(!b->pid && b->n_names < ARRAY_SIZE(b->names));
	b->names[b->n_names++] = *name;
	name->dir_fd = -1;
}

static int make_pair(struct broker *b, struct err *err)
{
	int pair[2];

	if (b->fd >= 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "broker");
	b->fd = pair[0];
	b->far_fd = pair[1];
	return 0;
}

int broker_connector(struct broker *b, const char *prefix, int *ret_fd, struct err *err)
{
	int fd, r = make_pair(b, err);

	/* One device asks for it, and there is one of its kind. */
	assert(!b->pid && !b->prefix[0] && strlen(prefix) < sizeof(b->prefix));
	if (r < 0)
		return r;
	fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(err, -errno, "broker");
	memcpy(b->prefix, prefix, strlen(prefix));
	*ret_fd = fd;
	return 0;
}

int broker_start(struct broker *b, bool jail, struct err *err)
{
	int r;

	if (!b->n_names && !b->prefix[0])
		return 0;
	r = make_pair(b, err);
	if (r < 0)
		return r;
	b->pid = fork();
	if (b->pid == 0)
		broker(b, jail);
	if (b->pid < 0) {
		b->pid = 0;
		return err_sys(err, -errno, "broker");
	}
	close(TAKE_FD(b->far_fd));
	if (recv(b->fd, &r, sizeof(r), 0) != sizeof(r))
		r = -EPIPE;
	if (r < 0) {
		waitpid(b->pid, NULL, 0);
		b->pid = 0;
		return err_sys(err, r, "broker");
	}
	for (unsigned i = 0; i < b->n_names; i++)
		close(b->names[i].dir_fd);
	b->n_names = 0;
	return 0;
}

void broker_free(struct broker *b)
{
	cleanup_close(&b->fd);
	cleanup_close(&b->far_fd);
	if (b->pid)
		waitpid(b->pid, NULL, 0);
	for (unsigned i = 0; i < b->n_names; i++)
		unix_remove(&b->names[i]);
	broker_init(b);
}
