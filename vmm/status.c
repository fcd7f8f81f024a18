/* Where the status object goes; see status.h. */
#include "vmm/status.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define LIMIT_S 5
/* After the limit, again and again: an alarm just before write() is lost. */
#define REPEAT_US 100000

int status_open(const char *where, struct err *err)
{
	char path[64];

	if (where[strspn(where, "0123456789")] == '\0') {
		snprintf(path, sizeof(path), "/proc/self/fd/%.20s", where);
		where = path;
	}
	return file_open("status object", where,
			 O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK, err);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static time_t seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* Whatever @fd is, and whether or not it blocks: the alarm interrupts all calls. */
static int write_all(int fd, const char *text)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	time_t end = seconds_now() + LIMIT_S;
	size_t len = strlen(text);
	ssize_t n;

	while (len > 0 && seconds_now() < end) {
		n = write(fd, text, len);
		if (n < 0 && errno == EAGAIN) {
			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return -errno;
		} else if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return len > 0 ? -ETIMEDOUT : 0;
}

int status_write(int fd, const char *text, struct err *err)
{
	const struct itimerval limit = { { 0, REPEAT_US }, { LIMIT_S, 0 } },
			       none = { 0 };
	struct sigaction action = { .sa_handler = on_alarm };
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaction(SIGALRM, &action, NULL);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	setitimer(ITIMER_REAL, &limit, NULL);
	r = write_all(fd, text);
	setitimer(ITIMER_REAL, &none, NULL);
	close(fd);
	return r < 0 ? err_sys(err, r, "status object: lost") : 0;
}
