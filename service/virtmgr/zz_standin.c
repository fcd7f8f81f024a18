/* What stands in for parts that are not here yet, and yields to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service/virtmgr/console.h"
#include "service/virtmgr/vsock.h"

#define WEAK __attribute__((weak))

WEAK int vsock_new(sd_event *event, int mode, uint32_t cid, const struct vsock_ops *ops,
		   void *userdata, struct vsock **ret_vsock, struct err *err)
{
	(void)event, (void)mode, (void)cid, (void)ops, (void)userdata, (void)err;
	*ret_vsock = NULL;
	return 0;
}
WEAK void vsock_free(struct vsock *v)
{
	(void)v;
}
WEAK const char *vsock_kind(const struct vsock *v)
{
	(void)v;
	return "none";
}
WEAK int vsock_launch(struct vsock *v, struct launch *l, struct err *err)
{
	(void)v, (void)l, (void)err;
	return 0;
}
WEAK int vsock_connect(struct vsock *v, uint32_t port, vsock_connected_fn *done,
		       void *arg, struct err *err)
{
	(void)v, (void)port, (void)done, (void)arg;
	return err_set(err, -ENOTSUP, "not here yet");
}

struct console {
	int out, ours, theirs;
	sd_event_source *source;
};
static int on_output(sd_event_source *s, int fd, uint32_t events, void *arg)
{
	struct console *c = arg;
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)events;
	if (n <= 0)
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
	else if (c->out >= 0 && write(c->out, buf, (size_t)n) < 0)
		return 0;
	return 0;
}
WEAK int console_new(sd_event *event, int out, int in, const char *tag,
		     struct console **ret_console, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int fds[2];

	(void)tag, (void)err;
	if (in >= 0)
		close(in);
	if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*c = (struct console){ .out = out, .ours = fds[0], .theirs = fds[1] };
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	sd_event_add_io(event, &c->source, fds[0], EPOLLIN, on_output, c);
	*ret_console = c;
	return 0;
}
WEAK void console_free(struct console *c)
{
	if (!c)
		return;
	on_output(c->source, c->ours, 0, c);
	sd_event_source_disable_unref(c->source);
	close(c->ours);
	if (c->theirs >= 0)
		close(c->theirs);
	if (c->out >= 0)
		close(c->out);
	free(c);
}
WEAK int console_take_child_fd(struct console *c)
{
	int fd = c->theirs;

	c->theirs = -1;
	return fd;
}
WEAK int console_attach(struct console *c, int *ret_fd, struct err *err)
{
	(void)c, (void)ret_fd;
	return err_set(err, -ENOTSUP, "not here yet");
}
