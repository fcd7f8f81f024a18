/* A VM's console, between vmm and whoever looks at it; see console.h. */
#include "service/virtmgr/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "service/virtmgr/stream.h"

#define TAIL 4096u
#define LINE 256u /* of the log; longer ones are several */
#define MAX_ATTACHED 64u
/* What may wait for who reads slowly. */
#define MAX_OUT (256u << 10)
#define MAX_ATTACHED_OUT (64u << 10)
#define MAX_INPUT 4096u /* no more is read while some waits */
/* When the VM has ended: how much of vmm's is looked at, in pieces, and how long a
 * client's reader may take. */
#define MAX_REST 16
#define REST (64u << 10)
#define STALL_MS 50
#define FLUSH_MS 500

struct attached {
	LIST_ENTRY(attached) in_list;
	struct stream *stream;
};

LIST_HEAD(attached_list, attached);

struct console {
	sd_event *event;
	int child_fd;
	struct stream *vmm, *out, *in; /* NULL: it has gone */
	struct attached_list attached;
	unsigned n_attached;
	char *tail; /* the last bytes of output, a ring; NULL: there was none */
	size_t tail_at, tail_len;
	/* Without an out. */
	bool logs;
	char *tag;
	char *line;
	size_t line_len;
};

/* --- the log --------------------------------------------------------------------- */

static void log_line(struct console *c)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

	for (size_t i = 0; i < c->line_len; i++)
		if ((unsigned char)c->line[i] < 0x20 || c->line[i] == 0x7f)
			c->line[i] = '?';
	/* log_msg() waits for a reader, and a guest has many lines. */
	if (poll(&p, 1, 0) > 0)
		log_info(c->tag, "%.*s", (int)c->line_len, c->line);
	free(TAKE_PTR(c->line));
	c->line_len = 0;
}

static void log_output(struct console *c, const uint8_t *buf, size_t len)
{
	for (; len > 0; buf++, len--) {
		if (*buf == '\r')
			continue;
		if (!c->line)
			c->line = malloc(LINE);
		if (!c->line)
			return;
		if (*buf != '\n')
			c->line[c->line_len++] = (char)*buf;
		if (*buf == '\n' || c->line_len == LINE)
			log_line(c);
	}
}

/* --- output ---------------------------------------------------------------------- */

static void remember(struct console *c, const uint8_t *buf, size_t len)
{
	if (!c->tail)
		c->tail = malloc(TAIL);
	if (!c->tail)
		return;
	if (len > TAIL) {
		buf += len - TAIL;
		len = TAIL;
	}
	for (size_t i = 0; i < len; i++)
		c->tail[(c->tail_at + i) % TAIL] = (char)buf[i];
	c->tail_at = (c->tail_at + len) % TAIL;
	c->tail_len = c->tail_len + len < TAIL ? c->tail_len + len : TAIL;
}

static void on_output(void *arg, struct stream *s, const uint8_t *buf, size_t len)
{
	struct console *c = arg;
	struct attached *a;

	(void)s;
	remember(c, buf, len);
	if (c->out)
		stream_write(c->out, buf, len);
	if (c->logs)
		log_output(c, buf, len);
	LIST_FOREACH(a, &c->attached, in_list)
	stream_write(a->stream, buf, len);
}

/* --- input ----------------------------------------------------------------------- */

static void pause_input(struct console *c, bool pause)
{
	struct attached *a;

	if (c->in)
		stream_pause(c->in, pause);
	LIST_FOREACH(a, &c->attached, in_list)
	stream_pause(a->stream, pause);
}

static void on_input(void *arg, struct stream *s, const uint8_t *buf, size_t len)
{
	struct console *c = arg;

	(void)s;
	if (!c->vmm)
		return;
	stream_write(c->vmm, buf, len);
	if (stream_is_full(c->vmm))
		pause_input(c, true);
}

static void on_input_drained(void *arg, struct stream *s)
{
	(void)s;
	pause_input(arg, false);
}

/* --- ends ------------------------------------------------------------------------ */

static void on_vmm_gone(void *arg, struct stream *s)
{
	struct console *c = arg;

	stream_free(s);
	c->vmm = NULL;
	/* Nobody takes input: what never ends would be read for ever. */
	stream_free(TAKE_PTR(c->in));
	/* That others hang up is still to be heard. */
	pause_input(c, false);
}

static void on_client_gone(void *arg, struct stream *s)
{
	struct console *c = arg;

	if (c->out == s)
		c->out = NULL;
	else
		c->in = NULL;
	stream_free(s);
}

static void detach(struct console *c, struct attached *a)
{
	LIST_REMOVE(a, in_list);
	c->n_attached--;
	stream_free(a->stream);
	free(a);
}

static void on_attached_gone(void *arg, struct stream *s)
{
	struct console *c = arg;
	struct attached *a;

	LIST_FOREACH(a, &c->attached, in_list)
	if (a->stream == s)
		break;
	if (a)
		detach(c, a);
}

/* --- attaching ------------------------------------------------------------------- */

static void write_tail(const struct console *c, struct stream *s)
{
	size_t start, first;

	if (!c->tail)
		return;
	start = (c->tail_at + TAIL - c->tail_len) % TAIL;
	first = c->tail_len < TAIL - start ? c->tail_len : TAIL - start;

	stream_write(s, c->tail + start, first);
	stream_write(s, c->tail, c->tail_len - first);
}

int console_attach(struct console *c, int *ret_fd, struct err *err)
{
	static const struct stream_ops ops = { .input = on_input,
					       .gone = on_attached_gone };
	AUTO_FREE struct attached *a = NULL;
	int pair[2], r;

	if (c->n_attached == MAX_ATTACHED)
		return err_set(err, -EDQUOT, "console: %u streams are attached",
			       MAX_ATTACHED);
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_sys(err, -ENOMEM, "console");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "console");
	r = stream_new(c->event, pair[0], MAX_ATTACHED_OUT, &ops, c, &a->stream, err);
	if (r < 0) {
		close(pair[1]);
		return r;
	}
	write_tail(c, a->stream);
	stream_pause(a->stream, c->vmm && stream_is_full(c->vmm));
	LIST_INSERT_HEAD(&c->attached, a, in_list);
	c->n_attached++;
	TAKE_PTR(a);
	*ret_fd = pair[1];
	return 0;
}

/* --- its life -------------------------------------------------------------------- */

static int open_vmm(struct console *c, struct err *err)
{
	static const struct stream_ops ops = { .input = on_output,
					       .drained = on_input_drained,
					       .gone = on_vmm_gone };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, -errno, "console");
	c->child_fd = pair[1];
	return stream_new(c->event, pair[0], MAX_INPUT, &ops, c, &c->vmm, err);
}

int console_check(int fd, bool output, const char *key, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags >= 0 && !(flags & O_PATH) && fstat(fd, &st) == 0 &&
	    !S_ISDIR(st.st_mode) &&
	    (flags & O_ACCMODE) != (output ? O_RDONLY : O_WRONLY))
		return 0;
	return err_set(err, -EBADMSG, "%s: is not open for %s", key,
		       output ? "writing" : "reading");
}

static int open_client(struct console *c, int out, int in, struct err *err)
{
	static const struct stream_ops out_ops = { .gone = on_client_gone },
				       in_ops = { .input = on_input,
						  .gone = on_client_gone };
	AUTO_CLOSE int mine = in;
	int r = 0;

	if (out >= 0)
		r = console_check(out, true, "console_out", err);
	if (out >= 0 && r < 0)
		close(out);
	else if (out >= 0)
		r = stream_new(c->event, out, MAX_OUT, &out_ops, c, &c->out, err);
	if (r == 0 && in >= 0)
		r = console_check(in, false, "console_in", err);
	if (r == 0 && in >= 0)
		r = stream_new(c->event, TAKE_FD(mine), 0, &in_ops, c, &c->in, err);
	return r;
}

int console_new(sd_event *event, int out, int in, const char *tag,
		struct console **ret_console, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		cleanup_close(&out);
		cleanup_close(&in);
		return err_sys(err, -ENOMEM, "console");
	}
	c->event = sd_event_ref(event);
	c->child_fd = -1;
	c->logs = out < 0;
	LIST_INIT(&c->attached);
	r = open_client(c, out, in, err);
	if (r == 0)
		r = open_vmm(c, err);
	if (r == 0 && !(c->tag = strdup(tag)))
		r = err_sys(err, -ENOMEM, "console");
	if (r < 0) {
		console_free(c);
		return r;
	}
	*ret_console = c;
	return 0;
}

int console_take_child_fd(struct console *c)
{
	return TAKE_FD(c->child_fd);
}

/* What vmm wrote last, and what waits, as far as its readers can take it. */
static void write_rest(struct console *c)
{
	uint64_t start = clock_ms(), passed = 0;
	bool more = true;

	for (unsigned i = 0; more && i < MAX_REST; i++) {
		more = c->vmm && stream_read(c->vmm, REST);
		passed = clock_ms() - start;
		if (c->out)
			stream_flush(c->out, STALL_MS,
				     passed < FLUSH_MS ? (int)(FLUSH_MS - passed) : 0);
	}
	if (c->line_len)
		log_line(c);
}

void console_free(struct console *c)
{
	struct attached *a;

	if (!c)
		return;
	write_rest(c);
	while ((a = LIST_FIRST(&c->attached))) {
		stream_flush(a->stream, 0, 0);
		detach(c, a);
	}
	stream_free(c->vmm);
	stream_free(c->out);
	stream_free(c->in);
	cleanup_close(&c->child_fd);
	sd_event_unref(c->event);
	free(c->tail);
	free(c->tag);
	free(c->line);
	free(c);
}
