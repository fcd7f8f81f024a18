/* Requests to one vmm; see requests.h. */
#include "service/virtmgr/requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

struct request {
	struct request *next;
	char *text;
	int fd;
	requests_done_fn *done;
	void *arg;
};

struct requests {
	int fd; /* -1: over */
	sd_event_source *source;
	struct request *first, **last; /* the first is under way */
	unsigned n;
};

static void free_request(struct request *r)
{
	if (!r)
		return;
	free(r->text);
	cleanup_close(&r->fd);
	free(r);
}

static void answer(struct requests *q, int r, json_t *reply, const struct err *err)
{
	struct request *first = q->first;

	q->first = first->next;
	if (!q->first)
		q->last = &q->first;
	q->n--;
	first->done(first->arg, r, reply, err);
	free_request(first);
}

static void hang_up(struct requests *q)
{
	struct err err;

	q->source = sd_event_source_disable_unref(q->source);
	cleanup_close(&q->fd);
	q->fd = -1;
	err_set(&err, -ECONNRESET, "the VM has ended");
	while (q->first)
		answer(q, -ECONNRESET, NULL, &err);
}

static int send_first(struct requests *q)
{
	const struct request *r = q->first;
	union {
		struct cmsghdr head;
		char buf[CMSG_SPACE(sizeof(int))];
	} c = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
			  .cmsg_level = SOL_SOCKET,
			  .cmsg_type = SCM_RIGHTS } };
	struct iovec iov = { .iov_base = r->text, .iov_len = strlen(r->text) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(CMSG_DATA(&c.head), &r->fd, sizeof(r->fd));
	if (r->fd >= 0) {
		msg.msg_control = c.buf;
		msg.msg_controllen = sizeof(c.buf);
	}
	/* There is room: vmm has taken all that was sent before. */
	return sendmsg(q->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct requests *q = arg;
	AUTO_FREE char *text = NULL;
	json_t *reply = NULL;
	struct err err = { "" };
	ssize_t n = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	int r;

	(void)source;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n > 0 && n <= CONTROL_MAX_PACKET)
		text = malloc((size_t)n);
	/* An answer to nothing, or a giant one, is not from vmm as we know it. */
	if (!text || !q->first || recv(fd, text, (size_t)n, MSG_DONTWAIT) != n) {
		hang_up(q);
		return 0;
	}
	r = control_parse_reply(text, (size_t)n, &reply, &err);
	answer(q, r, reply, &err);
	json_decref(reply);
	if (q->first && q->fd >= 0 && send_first(q) < 0)
		hang_up(q);
	return 0;
}

int requests_new(sd_event *event, int fd, struct requests **ret_requests,
		 struct err *err)
{
	struct requests *q = calloc(1, sizeof(*q));
	int r;

	if (!q) {
		close(fd);
		return err_sys(err, -ENOMEM, "the VM's control connection");
	}
	q->fd = fd;
	q->last = &q->first;
	r = sd_event_add_io(event, &q->source, fd, EPOLLIN, on_answer, q);
	if (r < 0) {
		requests_free(q);
		return err_sys(err, r, "the VM's control connection");
	}
	*ret_requests = q;
	return 0;
}

void requests_free(struct requests *q)
{
	if (!q)
		return;
	hang_up(q);
	free(q);
}

static int add(struct requests *q, const struct control_request *request,
	       requests_done_fn *done, void *arg, struct err *err)
{
	struct request *r;

	if (q->fd < 0)
		return err_set(err, -ECONNRESET, "the VM has ended");
	if (q->n == REQUESTS_MAX)
		return err_set(err, -EDQUOT, "%u requests wait for this VM already",
			       REQUESTS_MAX);
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_sys(err, -ENOMEM, "a request");
	*r = (struct request){
		.text = control_print(request), .fd = -1, .done = done, .arg = arg
	};
	if (!r->text) {
		free_request(r);
		return err_sys(err, -ENOMEM, "a request");
	}
	r->fd = request->fd;
	*q->last = r;
	q->last = &r->next;
	if (q->n++ > 0 || send_first(q) == 0)
		return 0;
	/* It has gone; that it has is still to be read. */
	q->first = NULL;
	q->last = &q->first;
	q->n = 0;
	r->fd = -1;
	free_request(r);
	return err_set(err, -ECONNRESET, "the VM has ended");
}

int requests_add(struct requests *q, const struct control_request *request,
		 requests_done_fn *done, void *arg, struct err *err)
{
	int r = add(q, request, done, arg, err);

	if (r < 0)
		cleanup_close(&request->fd);
	return r;
}
