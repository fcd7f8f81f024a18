/* One vmm, running; see process.h. */
#include "service/virtmgr/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Of a line of stderr; what is longer goes on in another line. */
#define LINE_MAX_LEN 600

struct process {
	const struct process_ops *ops;
	void *userdata;
	pid_t pid;
	int pid_fd, stderr_fd, status_fd; /* -1: over */
	sd_event_source *pid_source, *stderr_source, *status_source;
	siginfo_t how;
	char *object; /* what has come of it */
	size_t object_len;
	size_t line_len;
	char line[LINE_MAX_LEN + 1], last[LINE_MAX_LEN + 1];
};

static void stop_watching(sd_event_source **source, int *fd)
{
	*source = sd_event_source_disable_unref(*source);
	cleanup_close(fd);
	*fd = -1;
}

/* Must be what a callback does last. */
static int maybe_ended(struct process *p)
{
	struct death_signs signs;

	if (p->pid_fd >= 0 || p->stderr_fd >= 0 || p->status_fd >= 0)
		return 0;
	signs = (struct death_signs){ .wait_code = p->how.si_code,
				      .wait_status = p->how.si_status,
				      .object = p->object,
				      .object_len = p->object_len,
				      .last_words = p->last,
				      .killed_for = -1 };
	p->ops->ended(p->userdata, &signs);
	return 0;
}

static int on_pid(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct process *p = arg;

	(void)source;
	(void)events;
	/* Somebody else's wait for any child would leave nothing to know. */
	if (waitid(P_PIDFD, (id_t)fd, &p->how, WEXITED) < 0)
		p->how = (siginfo_t){ 0 };
	stop_watching(&p->pid_source, &p->pid_fd);
	return maybe_ended(p);
}

/* --- stderr ------------------------------------------------------------------- */

static void end_line(struct process *p)
{
	p->line[p->line_len] = '\0';
	if (p->line_len > 0) {
		memcpy(p->last, p->line, p->line_len + 1);
		p->ops->line(p->userdata, p->line);
	}
	p->line_len = 0;
}

static void take_text(struct process *p, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '\n' || p->line_len == LINE_MAX_LEN)
			end_line(p);
		if (c != '\n')
			p->line[p->line_len++] = c >= ' ' && c < 0x7f ? c : '?';
	}
}

static int on_stderr(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct process *p = arg;
	char text[1024];
	ssize_t n = read(fd, text, sizeof(text));

	(void)source;
	(void)events;
	if (n > 0)
		take_text(p, text, (size_t)n);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	end_line(p);
	stop_watching(&p->stderr_source, &p->stderr_fd);
	return maybe_ended(p);
}

/* --- the status object -------------------------------------------------------- */

static void take_object(struct process *p, const char *text, size_t len)
{
	char *more;

	/* Kept reading, or vmm would wait; one byte too many makes it no object. */
	if (p->object_len + len > DEATHS_MAX_OBJECT)
		len = DEATHS_MAX_OBJECT + 1 - p->object_len;
	more = realloc(p->object, p->object_len + len);
	if (!more || len == 0)
		return;
	memcpy(more + p->object_len, text, len);
	p->object = more;
	p->object_len += len;
}

static int on_status(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct process *p = arg;
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text));

	(void)source;
	(void)events;
	if (n > 0)
		take_object(p, text, (size_t)n);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 0;
	stop_watching(&p->status_source, &p->status_fd);
	return maybe_ended(p);
}

/* --- life --------------------------------------------------------------------- */

/* A pipe of which the child has the end @ret_theirs. */
static int open_pipe(int *ret_ours, int *ret_theirs)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* Theirs blocks: it is for who expects a usual stderr. */
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	*ret_ours = fds[0];
	*ret_theirs = fds[1];
	return 0;
}

static int start(struct process *p, struct launch *l, int cgroup_fd, struct err *err)
{
	AUTO_CLOSE int theirs = -1;
	int status_fd = -1, number, r;

	r = open_pipe(&p->stderr_fd, &theirs);
	if (r == 0)
		r = open_pipe(&p->status_fd, &status_fd);
	if (r < 0)
		return err_sys(err, r, "a pipe to vmm");
	number = launch_fd(l, status_fd);
	if (number >= 0)
		launch_arg(l, "--status-fd=%d", number);
	return launch_start(l, cgroup_fd, theirs, &p->pid, &p->pid_fd, err);
}

static int watch(struct process *p, sd_event *event, struct err *err)
{
	int r = sd_event_add_io(event, &p->pid_source, p->pid_fd, EPOLLIN, on_pid, p);

	if (r >= 0)
		r = sd_event_add_io(event, &p->stderr_source, p->stderr_fd, EPOLLIN,
				    on_stderr, p);
	if (r >= 0)
		r = sd_event_add_io(event, &p->status_source, p->status_fd, EPOLLIN,
				    on_status, p);
	return r < 0 ? err_sys(err, r, "vmm's process") : 0;
}

int process_start(sd_event *event, struct launch *l, int cgroup_fd,
		  const struct process_ops *ops, void *userdata,
		  struct process **ret_process, struct err *err)
{
	struct process *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_sys(err, -ENOMEM, "vmm's process");
	p->ops = ops;
	p->userdata = userdata;
	p->pid_fd = p->stderr_fd = p->status_fd = -1;
	r = start(p, l, cgroup_fd, err);
	if (r == 0)
		r = watch(p, event, err);
	if (r < 0) {
		process_free(p);
		return r;
	}
	*ret_process = p;
	return 0;
}

void process_free(struct process *p)
{
	if (!p)
		return;
	if (p->pid_fd >= 0) {
		process_kill(p);
		/* Immediate, but for what the kernel has to give back. */
		waitid(P_PIDFD, (id_t)p->pid_fd, &p->how, WEXITED);
	}
	stop_watching(&p->pid_source, &p->pid_fd);
	stop_watching(&p->stderr_source, &p->stderr_fd);
	stop_watching(&p->status_source, &p->status_fd);
	free(p->object);
	free(p);
}

pid_t process_pid(const struct process *p)
{
	return p->pid;
}

void process_kill(struct process *p)
{
	if (p->pid_fd >= 0)
		syscall(SYS_pidfd_send_signal, p->pid_fd, SIGKILL, NULL, 0);
}
