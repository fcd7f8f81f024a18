/*
 * The lab's end on the host, started by tests/lab/run: it runs QEMU, relays stdin,
 * stdout, stderr, the terminal's size and the exit status of the job, and enforces the
 * limits. tests/lab/README.md tells the whole story.
 */
#include "lab.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

enum { LAB_FAILED = 125, TIMED_OUT = 124 };

static struct {
	volatile pid_t qemu, parent;
	struct timespec deadline;
	int channel, console, monitor;
	char tail[16384];
	size_t tail_len;
	bool verbose, raw;
	struct termios saved;
	volatile sig_atomic_t resized;
} host;

static double seconds_left(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(t->tv_sec - now.tv_sec) +
	       (double)(t->tv_nsec - now.tv_nsec) / 1e9;
}

static struct timespec in_seconds(int s)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += s;
	return t;
}

/* Async-signal-safe, as the next two are. */
static void host_clean(void)
{
	if (host.qemu > 0) {
		kill(host.qemu, SIGKILL);
		waitpid(host.qemu, NULL, 0);
		host.qemu = 0;
	}
	if (host.raw)
		tcsetattr(0, TCSADRAIN, &host.saved);
	host.raw = false;
}

static void on_signal(int sig)
{
	host_clean();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* A handler, so that neither a full stdout nor anything else can delay it. */
static void on_tick(int sig)
{
	static const char msg[] = "lab: the time limit has ended it\n";
	int saved = errno;

	(void)sig;
	if (host.parent && getppid() != host.parent) {
		host_clean();
		_exit(LAB_FAILED);
	}
	if (host.deadline.tv_sec && seconds_left(&host.deadline) <= 0) {
		host_clean();
		(void)!write(2, msg, sizeof(msg) - 1);
		_exit(TIMED_OUT);
	}
	errno = saved;
}

static void on_resize(int sig)
{
	(void)sig;
	host.resized = 1;
}

static void __attribute__((noreturn)) host_fail(const char *why)
{
	host_clean();
	if (host.tail_len && !host.verbose) {
		fprintf(stderr, "lab: the end of L1's console:\n");
		write_all(2, host.tail, host.tail_len);
		fprintf(stderr, "\n");
	}
	fprintf(stderr, "lab: %s\n", why);
	exit(LAB_FAILED);
}

/* Keeps the last bytes of what QEMU and L1's console say. False at the end. */
static bool host_console(int fd)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	size_t keep = sizeof(host.tail) - sizeof(buf);

	if (n <= 0)
		return false;
	if (host.verbose)
		write_all(2, buf, n);
	if (host.tail_len > keep) {
		memmove(host.tail, host.tail + host.tail_len - keep, keep);
		host.tail_len = keep;
	}
	memcpy(host.tail + host.tail_len, buf, n);
	host.tail_len += n;
	return true;
}

static void host_spawn(char **argv, const char *dir)
{
	int channel[2], monitor[2], console[2];
	pid_t self = getpid();

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) ||
	    pipe2(console, O_CLOEXEC))
		host_fail(strerror(errno));
	host.qemu = fork();
	if (host.qemu < 0)
		host_fail(strerror(errno));
	if (host.qemu == 0) {
		int null = open("/dev/null", O_RDWR);
		int fds[] = { null, console[1], console[1], channel[1], monitor[1] };

		signal(SIGALRM, SIG_DFL);
		setsid(); /* the terminal's signals are for the host end only */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != self)
			_exit(1);
		for (int i = 0; i < 5; i++) /* out of the way of 0 to 4 */
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
		for (int i = 0; i < 5; i++)
			dup2(fds[i], i);
		if (dir && chdir(dir))
			dprintf(2, "%s: %s\n", dir, strerror(errno)), _exit(1);
		execvp(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(1);
	}
	close(channel[1]);
	close(monitor[1]);
	close(console[1]);
	host.channel = channel[0];
	host.monitor = monitor[0];
	host.console = console[0];
}

static void host_reap(void)
{
	host_clean();
	while (host_console(host.console))
		;
	close(host.channel);
	close(host.monitor);
	close(host.console);
}

struct buf {
	char *data;
	size_t len, size;
};

static void buf_add(struct buf *b, const void *data, size_t len)
{
	if (b->len + len > b->size) {
		b->size = (b->len + len) * 2;
		b->data = realloc(b->data, b->size);
		if (!b->data)
			host_fail("out of memory");
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void buf_drop(struct buf *b, size_t len)
{
	memmove(b->data, b->data + len, b->len - len);
	b->len -= len;
}

static void buf_frame(struct buf *b, char type, const void *data, size_t len)
{
	uint32_t head = frame_head(type, len);

	buf_add(b, &head, sizeof(head));
	buf_add(b, data, len);
}

struct options {
	const char *state, *kernel, *cwd;
	bool save, tty, out, tmpfs_tmp;
	int timeout;
};

static void host_job(const struct options *o, char **command, struct buf *out)
{
	struct buf job = { 0 };
	unsigned char seed[32];
	char text[256];
	int n_env = 0;
	char *p = text;

	if (getentropy(seed, sizeof(seed)))
		host_fail("no randomness");
	p += sprintf(p, "%lld", (long long)time(NULL)) + 1;
	for (int i = 0; i < 32; i++)
		p += sprintf(p, "%02x", seed[i]);
	p += 1 + sprintf(p + 1, "%s%s%s", o->tmpfs_tmp ? "t" : "", o->out ? "o" : "",
			 o->tty ? "y" : "");
	buf_add(&job, text, p + 1 - text);
	buf_add(&job, o->kernel, strlen(o->kernel) + 1);
	buf_add(&job, o->cwd, strlen(o->cwd) + 1);
	while (environ[n_env])
		n_env++;
	buf_add(&job, text, sprintf(text, "%d", n_env) + 1);
	for (char **e = environ; *e; e++)
		buf_add(&job, *e, strlen(*e) + 1);
	for (; *command; command++)
		buf_add(&job, *command, strlen(*command) + 1);
	if (job.len > 0xffffff)
		host_fail("the command and its environment exceed 16 MiB");
	buf_frame(out, 'J', job.data, job.len);
	free(job.data);
}

static void host_raw(void)
{
	struct termios t;

	if (tcgetattr(0, &host.saved))
		return; /* not a terminal */
	t = host.saved;
	cfmakeraw(&t);
	host.raw = true;
	tcsetattr(0, TCSADRAIN, &t);
	signal(SIGWINCH, on_resize);
	host.resized = 1;
}

/* Upon the save's end, which is an event, QEMU is told to quit. */
static const char save[] =
	"{'execute':'qmp_capabilities'}"
	"{'execute':'migrate-set-parameters','arguments':{'max-bandwidth':100000000000}}"
	"{'execute':'migrate-set-capabilities','arguments':{'capabilities':"
	"[{'capability':'events','state':true}]}}"
	"{'execute':'migrate','arguments':{'uri':'exec:cat >vmstate'}}";

static void host_monitor(void)
{
	static const char saved[] = "\"status\": \"completed\"",
			  quit[] = "{'execute':'quit'}";

	if (host_console(host.monitor) &&
	    memmem(host.tail, host.tail_len, saved, sizeof(saved) - 1))
		write_all(host.monitor, quit, sizeof(quit) - 1);
}

/* What QEMU says of a CPU that stands still may tell why it does. */
static void host_ask(void)
{
	static const char ask[] =
		"{'execute':'qmp_capabilities'}"
		"{'execute':'human-monitor-command','arguments':{'command-line':'info registers'}}"
		"{'execute':'human-monitor-command','arguments':{'command-line':'info lapic'}}";
	struct timespec end = in_seconds(5);

	write_all(host.monitor, ask, sizeof(ask) - 1);
	while (seconds_left(&end) > 0) {
		struct pollfd p = { .fd = host.monitor, .events = POLLIN };

		if (poll(&p, 1, 1000) > 0 && !host_console(host.monitor))
			break;
	}
}

/* How long L1 may say nothing before it is given up: it may have little of a CPU. */
#define SILENCE_S 150

/* Handles the complete frames in in. Returns the job's status, or -1. */
static int host_frames(struct buf *in, const struct options *o, bool *started)
{
	int status = -1;
	size_t at = 0;

	while (in->len - at >= 4) {
		uint32_t head;
		size_t len;
		char *data = in->data + at + 4;

		memcpy(&head, in->data + at, 4);
		len = head & 0xffffff;
		if (in->len - at - 4 < len)
			break;
		at += 4 + len;
		switch (head >> 24) {
		case 'R':
			if (o->save)
				write_all(host.monitor, save, sizeof(save) - 1);
			break;
		case 'S':
			*started = true;
			if (o->tty)
				host_raw();
			break;
		case 'O':
			write_all(1, data, len);
			break;
		case 'E':
			write_all(2, data, len);
			break;
		case 'X':
			if (len == sizeof(status))
				memcpy(&status, data, len);
			break;
		}
	}
	buf_drop(in, at);
	return status;
}

/* Runs one QEMU to the job's end and returns the status; or returns -1 where
 * L1 was not there within start_limit seconds or QEMU has gone before the job
 * had started. With o->save: 0 when QEMU has ended by itself. */
static int host_run(char **argv, const char *dir, const struct options *o,
		    char **command, int start_limit)
{
	struct timespec start = in_seconds(start_limit),
			silence = in_seconds(SILENCE_S), beat = in_seconds(HEARTBEAT_S);
	struct buf in = { 0 }, out = { 0 };
	bool started = false, eof = false;
	int status = -1;

	host_spawn(argv, dir);
	if (!o->save)
		host_job(o, command, &out);
	while (status < 0) {
		char chunk[CHUNK];
		struct pollfd p[] = {
			{ .fd = host.channel,
			  .events = POLLIN | (out.len ? POLLOUT : 0) },
			{ .fd = host.console, .events = POLLIN },
			{ .fd = host.monitor, .events = POLLIN },
			{ .fd = started && !eof && !out.len ? 0 : -1,
			  .events = POLLIN },
		};
		ssize_t n;

		if (!started && seconds_left(&start) <= 0)
			break;
		if (started && seconds_left(&silence) <= 0) {
			host_ask();
			host_fail("L1 has stopped: nothing was heard of it any more");
		}
		if (started && !out.len && seconds_left(&beat) <= 0) {
			buf_frame(&out, 'H', NULL, 0);
			beat = in_seconds(HEARTBEAT_S);
		}
		if (started && host.resized) {
			struct winsize w;

			host.resized = 0;
			if (!ioctl(0, TIOCGWINSZ, &w))
				buf_frame(&out, 'W', &w, sizeof(w));
			continue;
		}
		if (poll(p, 4, 1000) < 0)
			continue;
		if (p[1].revents)
			host_console(host.console);
		if (p[2].revents)
			host_monitor();
		if (p[0].revents & POLLOUT) {
			n = send(host.channel, out.data, out.len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n > 0)
				buf_drop(&out, n);
		}
		if (p[3].revents) {
			n = read(0, chunk, sizeof(chunk));
			if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
				buf_frame(&out, 'I', chunk, n > 0 ? n : 0);
				eof = n <= 0;
			}
		}
		if (p[0].revents & (POLLIN | POLLHUP)) {
			n = recv(host.channel, chunk, sizeof(chunk), MSG_DONTWAIT);
			if (n > 0) {
				buf_add(&in, chunk, n);
				silence = in_seconds(SILENCE_S);
			} else if (n == 0 || errno != EAGAIN) {
				break;
			}
			status = host_frames(&in, o, &started);
		}
	}
	if (o->save && seconds_left(&start) > 0 &&
	    waitpid(host.qemu, &status, 0) == host.qemu)
		host.qemu = 0;
	if (started && status < 0) {
		while (host_console(host.console))
			;
		host_fail("L1 has ended before the command did");
	}
	host_reap();
	free(in.data);
	free(out.data);
	return status;
}

/* Joins two NULL-terminated lists. */
static char **join(char **a, char **b)
{
	size_t n = 0, m = 0;
	char **all;

	while (a[n])
		n++;
	while (b[m])
		m++;
	all = calloc(n + m + 1, sizeof(*all));
	if (!all)
		host_fail("out of memory");
	memcpy(all, a, n * sizeof(*a));
	memcpy(all + n, b, m * sizeof(*b));
	return all;
}

/* lab [OPTION]... -- QEMU's words -- those for a restore -- those for a cold
 * start -- COMMAND: each list ends at the next "--". */
int main(int argc, char **argv)
{
	struct sigaction tick = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	struct itimerval period = { { 0, 500000 }, { 0, 500000 } };
	struct options o = { 0 };
	char **list[4];
	int c, status = -1;

	while ((c = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && c <= 2)
		fcntl(c, F_SETFD, 0); /* was closed: nothing of ours may land there */
	close(c);
	while ((c = getopt(argc, argv, "+sd:k:c:t:p:ovyT")) != -1) {
		switch (c) {
		case 's':
			o.save = true;
			break;
		case 'd':
			o.state = optarg;
			break;
		case 'k':
			o.kernel = optarg;
			break;
		case 'c':
			o.cwd = optarg;
			break;
		case 't':
			o.timeout = atoi(optarg);
			break;
		case 'p':
			host.parent = atoi(optarg);
			break;
		case 'o':
			o.out = true;
			break;
		case 'v':
			host.verbose = true;
			break;
		case 'y':
			o.tty = true;
			break;
		case 'T':
			o.tmpfs_tmp = true;
			break;
		default:
			host_fail("tests/lab/run and lab.c do not agree");
		}
	}
	for (int i = 0; i < 4; i++) {
		list[i] = argv + optind;
		while (i < 3 && optind < argc && strcmp(argv[optind], "--"))
			optind++;
		if (i < 3)
			argv[optind++] = NULL;
	}
	if (!o.kernel || !o.cwd || (!o.save && !list[3][0]))
		host_fail("tests/lab/run and lab.c do not agree");

	if (o.timeout)
		host.deadline = in_seconds(o.timeout);
	sigaction(SIGALRM, &tick, NULL);
	setitimer(ITIMER_REAL, &period, NULL);
	for (int i = 0; i < 4; i++) {
		static const int end[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

		if (signal(end[i], on_signal) == SIG_IGN) /* nohup, background */
			signal(end[i], SIG_IGN);
	}
	signal(SIGTTIN, SIG_IGN); /* a read in the background then ends stdin */
	signal(SIGTTOU, SIG_IGN);

	if (o.state && !o.save) {
		status = host_run(join(list[0], list[1]), o.state, &o, list[3], 30);
		if (status >= 0)
			return status;
		fprintf(stderr, "lab: the snapshot does not start; starting cold\n");
		if (chdir(o.state) == 0)
			unlink("vmstate"); /* the next run makes a new one */
	}
	status = host_run(join(list[0], list[2]), o.save ? o.state : NULL, &o, list[3],
			  180);
	if (status < 0)
		host_fail("L1 has not come up");
	if (o.save && status)
		host_fail("QEMU has failed");
	return status;
}
