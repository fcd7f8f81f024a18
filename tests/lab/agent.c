/*
 * The lab's end in L1, the emulated host: started by its init as PID 1, before the
 * snapshot. When a job arrives it mounts the host's root, runs the job and relays what
 * goes in and comes out. tests/lab/README.md tells the whole story.
 */
#include "lab.h"

#include <fcntl.h>
#include <linux/random.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

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

		/* A job that does not read keeps the host's from being read. */
		if (poll(p, 5, 2 * HEARTBEAT_S * 1000) == 0)
			agent_send(port, 'H', NULL, 0);
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
			} else if (type == 'H') {
				agent_send(port, 'H', NULL, 0);
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

int main(void)
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
