/* What the guest's agent tells; see payload.h. */
#include "service/virtmgr/payload.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "disk/utf8.h"

struct stream {
	struct payload *payload;
	sd_event_source *io;
	int fd;
	size_t len;
	char buf[PAYLOAD_MAX_LINE];
};

struct payload {
	sd_event *event;
	const struct vsock_ops *ops;
	void *userdata;
	unsigned lines; /* so far */
	bool *freed; /* set when it is, within a call of ops */
	struct stream *streams[PAYLOAD_MAX_STREAMS];
};

/* --- a line ---------------------------------------------------------------------- */

/* A number at @*s, which is moved behind it. */
static bool take_code(const char **s, const char *end, int32_t *ret)
{
	const char *p = *s;
	bool minus = p < end && *p == '-';
	int64_t value = 0;

	p += minus;
	if (p == end || *p < '0' || *p > '9')
		return false;
	for (; p < end && *p >= '0' && *p <= '9'; p++) {
		value = value * 10 + (*p - '0');
		if (value > (int64_t)INT32_MAX + minus)
			return false;
	}
	*ret = (int32_t)(minus ? -value : value);
	*s = p;
	return true;
}

static bool is_plain(const char *s, const char *end)
{
	uint32_t code;
	size_t n;

	for (; s < end; s += n) {
		n = utf8_decode(s, (size_t)(end - s), &code);
		if (n == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0))
			return false;
	}
	return true;
}

int payload_parse(const char *line, size_t len, struct payload_line *ret)
{
	static const struct {
		const char *word;
		bool code, message;
	} kinds[] = {
		[PAYLOAD_STARTED] = { "started", false, false },
		[PAYLOAD_READY] = { "ready", false, false },
		[PAYLOAD_FINISHED] = { "finished ", true, false },
		[PAYLOAD_ERROR] = { "error ", true, true },
	};
	const char *s = line, *end = line + len;
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		n = strlen(kinds[i].word);
		if (len >= n && !memcmp(line, kinds[i].word, n))
			break;
	}
	if (i == ARRAY_SIZE(kinds) || len >= sizeof(ret->message))
		return -EBADMSG;
	s += n;
	ret->event = (enum payload_event)i;
	ret->code = 0;
	ret->message[0] = '\0';
	if (kinds[i].code && !take_code(&s, end, &ret->code))
		return -EBADMSG;
	if (kinds[i].message && s < end && *s == ' ' && is_plain(s + 1, end)) {
		s++;
		memcpy(ret->message, s, (size_t)(end - s));
		ret->message[end - s] = '\0';
		s = end;
	} else if (kinds[i].message) {
		return -EBADMSG;
	}
	return s == end ? 0 : -EBADMSG;
}

/* --- streams --------------------------------------------------------------------- */

static void stream_free(struct stream *s)
{
	struct payload *p = s->payload;

	for (size_t i = 0; i < PAYLOAD_MAX_STREAMS; i++)
		if (p->streams[i] == s)
			p->streams[i] = NULL;
	sd_event_source_disable_unref(s->io);
	close(s->fd);
	free(s);
}

/* Tell of one line: 0, -EBADMSG, or 1: there is no payload any more. */
static int tell(struct payload *p, const char *text, size_t len)
{
	struct payload_line line;
	bool freed = false;

	if (payload_parse(text, len, &line) < 0 || ++p->lines > PAYLOAD_MAX_LINES)
		return -EBADMSG;
	p->freed = &freed;
	p->ops->payload(p->userdata, line.event, line.code, line.message);
	if (freed)
		return 1;
	p->freed = NULL;
	return 0;
}

/* Tell of all lines that are whole. */
static int tell_all(struct stream *s)
{
	char *start = s->buf, *end;
	size_t left = s->len;
	int r = 0;

	while (r == 0 && (end = memchr(start, '\n', left))) {
		r = tell(s->payload, start, (size_t)(end - start));
		left -= (size_t)(end + 1 - start);
		start = end + 1;
	}
	if (r != 0)
		return r;
	memmove(s->buf, start, left);
	s->len = left;
	return left == sizeof(s->buf) ? -EBADMSG : 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct stream *s = userdata;
	ssize_t n = recv(fd, s->buf + s->len, sizeof(s->buf) - s->len, MSG_DONTWAIT);
	int r;

	(void)source;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		stream_free(s);
		return 0;
	}
	s->len += (size_t)n;
	r = tell_all(s);
	if (r < 0) {
		log_debug("payload",
			  "the agent's connection is closed, for what it says");
		stream_free(s);
	}
	return 0;
}

bool payload_takes(const struct payload *p)
{
	if (p->lines >= PAYLOAD_MAX_LINES)
		return false;
	for (size_t i = 0; i < PAYLOAD_MAX_STREAMS; i++)
		if (!p->streams[i])
			return true;
	return false;
}

void payload_add(struct payload *p, int fd)
{
	struct stream *s = payload_takes(p) ? calloc(1, sizeof(*s)) : NULL;
	size_t i = 0;

	if (!s) {
		close(fd);
		return;
	}
	s->payload = p;
	s->fd = fd;
	if (sd_event_add_io(p->event, &s->io, fd, EPOLLIN, on_readable, s) < 0) {
		stream_free(s);
		return;
	}
	while (p->streams[i])
		i++;
	p->streams[i] = s;
}

int payload_new(sd_event *event, const struct vsock_ops *ops, void *userdata,
		struct payload **ret_payload, struct err *err)
{
	struct payload *p = calloc(1, sizeof(*p));

	if (!p)
		return err_sys(err, -ENOMEM, "payload");
	p->event = sd_event_ref(event);
	p->ops = ops;
	p->userdata = userdata;
	*ret_payload = p;
	return 0;
}

void payload_free(struct payload *p)
{
	if (!p)
		return;
	if (p->freed)
		*p->freed = true;
	for (size_t i = 0; i < PAYLOAD_MAX_STREAMS; i++)
		if (p->streams[i])
			stream_free(p->streams[i]);
	sd_event_unref(p->event);
	free(p);
}
