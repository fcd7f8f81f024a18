/*
 * The two ends of the lab's one channel, a virtio-serial port. tests/lab/run
 * starts the host end, which runs QEMU, relays stdin, stdout, stderr, the
 * terminal's size and the exit status, and enforces the limits. L1's init
 * starts the other end ("lab agent") as PID 1; it mounts the host's root and
 * runs the job. tests/lab/README.md tells the whole story.
 *
 * A frame is a 32-bit little-endian word, length | type << 24, and the data:
 * J the job (NUL-terminated strings), I stdin (empty: its end), W rows, columns;
 * back come R agent waits for a job, S job started, O stdout, E stderr, X status.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 32768, LAB_FAILED = 125, TIMED_OUT = 124 };

static bool write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 &&
		    errno == EAGAIN) /* the caller's stdout may be non-blocking */
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			return false;
		else if (n > 0)
			p += n, len -= n;
	}
	return true;
}

static uint32_t frame_head(char type, size_t len)
{
	return (uint32_t)type << 24 | (uint32_t)len;
}

/* ---- the end in L1 ---------------------------------------------------- */

/* L1 panics when PID 1 ends, QEMU exits, and the host end prints the console. */
static void __attribute__((noreturn)) agent_die(const char *what)
{
	printf("lab agent: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	usleep(200000); /* the console sends from a buffer */
	_exit(1);
}

static void agent_send(int port, char type, const void *data, size_t len)
{
	uint32_t head = frame_head(type, len);

	if (!write_all(port, &head, sizeof(head)) || !write_all(port, data, len))
		agent_die("port");
}

static void agent_read(int port, void *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(port, (char *)data + done, len - done);

		if (n <= 0)
			agent_die("port");
		done += n;
	}
}

/* Returns the data, NUL-terminated. */
static char *agent_receive(int port, char *ret_type, size_t *ret_len)
{
	uint32_t head;
	char *data;

	agent_read(port, &head, sizeof(head));
	*ret_type = (char)(head >> 24);
	*ret_len = head & 0xffffff;
	data = calloc(1, *ret_len + 1);
	if (!data)
		agent_die("memory");
	agent_read(port, data, *ret_len);
	return data;
}

static void agent_mount(const char *source, const char *target, const char *type,
			unsigned long flags, const char *data)
{
	mkdir(target, 0755);
	if (mount(source, target, type, flags, data))
		agent_die(target);
}

/* The host's root, copy-on-write, becomes the root; "/" stays the root of the
 * mount namespace (no chroot), or user namespaces could not be made in it. */
static void agent_root(const char *kernel, bool tmpfs_tmp, bool out)
{
	char link[512], modules[4096];
	struct utsname u;

	agent_mount("hostroot", "/lo", "9p", MS_RDONLY,
		    "trans=virtio,version=9p2000.L,msize=262144,cache=loose");
	agent_mount("root", "/r", "overlay", 0,
		    "lowerdir=/lo,upperdir=/ov/u,workdir=/ov/w");
	agent_mount("/proc", "/r/proc", NULL, MS_MOVE, NULL);
	agent_mount("/sys", "/r/sys", NULL, MS_MOVE, NULL);
	agent_mount("/dev", "/r/dev", NULL, MS_MOVE, NULL);
	agent_mount("run", "/r/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	if (tmpfs_tmp)
		agent_mount("tmp", "/r/tmp", "tmpfs", MS_NOSUID | MS_NODEV,
			    "mode=1777");
	if (mkdir("/r/run/lab-out", 0755))
		agent_die("/run/lab-out");
	if (out)
		agent_mount("out", "/r/run/lab-out", "9p", 0,
			    "trans=virtio,version=9p2000.L,msize=262144,cache=mmap");
	if (chdir("/r") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
		agent_die("/r");
	uname(&u);
	snprintf(link, sizeof(link), "/lib/modules/%s", u.release);
	snprintf(modules, sizeof(modules), "%s%s", kernel, link);
	mkdir("/lib/modules", 0755);
	if (symlink(modules, link) && errno != EEXIST)
		agent_die(link);
}

struct job {
	pid_t pid;
	int in, out, err; /* our ends; with a terminal in and out are its master */
	bool tty;
};

static void job_start(struct job *j, char **argv, char **env)
{
	int in[2], out[2], err[2];

	if (j->tty) {
		in[1] = out[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (in[1] < 0 || grantpt(in[1]) || unlockpt(in[1]))
			agent_die("pseudo terminal");
		in[0] = out[1] = err[1] = open(ptsname(in[1]), O_RDWR | O_CLOEXEC);
		err[0] = -1;
	} else if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
		   pipe2(err, O_CLOEXEC)) {
		agent_die("pipe");
	}
	j->pid = fork();
	if (j->pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		setsid();
		if (j->tty)
			ioctl(in[0], TIOCSCTTY, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		environ = env;
		execvp(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (j->pid < 0)
		agent_die("fork");
	close(in[0]);
	if (!j->tty)
		close(out[1]), close(err[1]);
	j->in = in[1];
	j->out = out[0];
	j->err = err[0];
	fcntl(j->in, F_SETFL, O_NONBLOCK);
	fcntl(j->out, F_SETFL, O_NONBLOCK);
	if (j->err >= 0)
		fcntl(j->err, F_SETFL, O_NONBLOCK);
}

/* Forwards what there is; false at the end of the stream. */
static bool job_forward(int fd, int port, char type)
{
	static char buf[CHUNK];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0)
		agent_send(port, type, buf, n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Relays until the job has ended and all it wrote is on its way. */
static int job_relay(struct job *j, int port, int chld)
{
	char *data = NULL, type;
	size_t len = 0, done = 0;
	int status = 0, code;

	while (j->pid) {
		struct pollfd p[] = {
			{ .fd = chld, .events = POLLIN },
			{ .fd = j->out, .events = POLLIN },
			{ .fd = j->err, .events = POLLIN },
			{ .fd = data ? j->in : -1, .events = POLLOUT },
			{ .fd = data ? -1 : port, .events = POLLIN },
		};

		poll(p, 5, -1);
		if (p[0].revents) {
			struct signalfd_siginfo info;
			pid_t pid;

			read(chld, &info, sizeof(info));
			while ((pid = waitpid(-1, &code, WNOHANG)) > 0)
				if (pid == j->pid)
					j->pid = 0, status = code;
		}
		if (p[1].revents && !job_forward(j->out, port, 'O'))
			j->out = -1;
		if (p[2].revents && !job_forward(j->err, port, 'E'))
			j->err = -1;
		if (p[3].revents) {
			ssize_t n = write(j->in, data + done, len - done);

			done += n > 0 ? n : 0;
			if (done == len || (n < 0 && errno != EAGAIN))
				free(data), data = NULL;
		}
		if (p[4].revents) {
			data = agent_receive(port, &type, &len);
			done = 0;
			if (type == 'I' && len == 0 && j->tty) {
				*data = 4; /* ^D */
				len = 1;
			} else if (type == 'I' && len == 0) {
				close(j->in);
				j->in = -1;
			} else if (type == 'W' && j->tty) {
				ioctl(j->in, TIOCSWINSZ, data);
			}
			if (type != 'I' || len == 0)
				free(data), data = NULL;
		}
	}
	for (int fd = j->out; fd >= 0; fd = job_forward(fd, port, 'O') ? fd : -1)
		if (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1,
			 j->tty ? 100 : 0) <= 0)
			break;
	for (int fd = j->err; fd >= 0; fd = job_forward(fd, port, 'E') ? fd : -1)
		if (poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) <= 0)
			break;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The job's strings: seconds, 32 random bytes in hex, flags (t tmpfs on /tmp,
 * o out export, y terminal), kernel directory, working directory, number of
 * variables, the variables, the command's words. */
static int agent(void)
{
	struct job job = { 0 };
	struct {
		int entropy_count, buf_size;
		char buf[64];
	} seed = { .entropy_count = 256, .buf_size = 64 };
	int port, chld, random, code, n_env, n = 0;
	char *data, *flags, *kernel, *cwd, **words, **env, type;
	sigset_t set;
	size_t len;

	while ((port = open("/dev/vport0p1", O_RDWR | O_CLOEXEC)) < 0)
		usleep(10000);
	agent_send(port, 'R', NULL, 0);
	data = agent_receive(port, &type, &len); /* the snapshot is taken in here */

	words = calloc(len + 2, sizeof(*words));
	for (char *p = data; words && p < data + len; p += strlen(p) + 1)
		words[n++] = p;
	if (type != 'J' || n < 7)
		agent_die("job");
	clock_settime(CLOCK_REALTIME, &(struct timespec){ .tv_sec = atoll(words[0]) });
	if (strlen(words[1]) == sizeof(seed.buf))
		memcpy(seed.buf, words[1], sizeof(seed.buf));
	random = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (random < 0 || ioctl(random, RNDADDENTROPY, &seed) ||
	    ioctl(random, RNDRESEEDCRNG))
		agent_die("/dev/urandom");
	close(random);
	flags = words[2];
	kernel = words[3];
	cwd = words[4];
	n_env = atoi(words[5]);
	env = calloc(n_env + 2, sizeof(*env));
	if (n_env < 0 || n < 7 + n_env || !env)
		agent_die("job");
	env[0] = "OUT=/run/lab-out";
	for (int i = 0; i < n_env; i++)
		env[i + 1] = words[6 + i];

	agent_root(kernel, strchr(flags, 't'), strchr(flags, 'o'));
	if (chdir(cwd))
		agent_die(cwd);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	chld = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	job.tty = strchr(flags, 'y');
	agent_send(port, 'S', NULL, 0);
	job_start(&job, words + 6 + n_env, env);
	code = job_relay(&job, port, chld);
	sync(); /* what is in $OUT */
	agent_send(port, 'X', &code, sizeof(code));
	for (;;)
		pause();
}

/* ---- the end on the host ---------------------------------------------- */

static struct {
	volatile pid_t qemu, parent;
	struct timespec deadline;
	int channel, console, monitor;
	char tail[8192];
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
	struct timespec start = in_seconds(start_limit);
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
			if (n > 0)
				buf_add(&in, chunk, n);
			else if (n == 0 || errno != EAGAIN)
				break;
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

	if (argc == 2 && !strcmp(argv[1], "agent"))
		return agent();
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
