/*
 * The minimal agent of a guest: runs the payload, and tells the host's manager of it.
 *
 *	agent [--echo PORT] [--shell PORT|fd=N] -- COMMAND [ARGUMENT]...
 *
 * It tells that it started; that it is ready, when the ports are served; and when
 * COMMAND has ended, with which status (128 + n: by signal n), which is its own, too.
 * Without a host that listens it warns, and does the same.
 *
 * At the port of --echo each connection of the host gets back what it sends. At that of
 * --shell it gets a shell with the agent's rights (vm shell), so without that option
 * there is none. fd=N is a socket that listens already.
 *
 * To tell is to send lines to port CID of the host (whose CID is 2), CID being the
 * guest's: "started", "ready", "finished STATUS", "error CODE SENTENCE".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent/shell.h"

enum { BAD_ARGUMENTS = 125, NOT_STARTED = 127, ERROR_UNKNOWN = 0 };

static int host = -1;

static void warn(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
}

/* One line to the host, in one piece. */
__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	if (host >= 0 && send(host, line, (size_t)n, MSG_NOSIGNAL) != n) {
		warn("the host");
		close(host);
		host = -1;
	}
}

static int vsock_address(int type, unsigned cid, unsigned port,
			 int (*use)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = cid,
				 .svm_port = port };
	int s = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);

	if (s >= 0 && use(s, (struct sockaddr *)&a, sizeof(a)) < 0) {
		int error = errno;

		close(s);
		errno = error;
		return -1;
	}
	return s;
}

static void connect_to_host(void)
{
	int device = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
	unsigned cid;

	if (device < 0 || ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
		warn("/dev/vsock");
	else if ((host = vsock_address(SOCK_STREAM, VMADDR_CID_HOST, cid, connect)) < 0)
		warn("the host");
	if (device >= 0)
		close(device);
}

/* --- the echo ----------------------------------------------------------------- */

static void echo(int s)
{
	static char buf[65536];
	ssize_t n;

	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		for (ssize_t sent = 0, m; sent < n; sent += m) {
			m = send(s, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL);
			if (m < 0)
				return;
		}
}

static void echo_serve(int listener)
{
	int peer;

	signal(SIGCHLD, SIG_IGN);
	while ((peer = agent_accept(listener)) >= 0) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			echo(peer);
			_exit(0);
		}
		close(peer);
	}
}

/* --- ports ---------------------------------------------------------------------- */

struct port {
	const char *option;
	void (*serve)(int listener); /* makes a process for each connection */
	const char *text; /* NULL: not wanted */
	unsigned long number; /* of the port, or of the descriptor */
	bool is_fd;
};

int agent_accept(int listener)
{
	int peer;

	do
		peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (peer < 0 && (errno == ECONNABORTED || errno == EINTR));
	return peer;
}

static bool parse_port(struct port *p, const char *text)
{
	char *end;

	p->is_fd = strncmp(text, "fd=", 3) == 0;
	p->text = text;
	text += p->is_fd ? 3 : 0;
	p->number = strtoul(text, &end, 10);
	return end != text && !*end &&
	       p->number < (p->is_fd ? 65536 : VMADDR_PORT_ANY) &&
	       p->number >= (p->is_fd ? 3 : 1);
}

/* In a process of its own, which ends with this one, and so do its. */
static int serve(const struct port *p)
{
	int s = p->is_fd ? (int)p->number
			 : vsock_address(SOCK_STREAM, VMADDR_CID_ANY,
					 (unsigned)p->number, bind);
	pid_t pid;

	if (s < 0 || fcntl(s, F_SETFD, FD_CLOEXEC) < 0 || listen(s, 64) < 0)
		return -1;
	pid = fork();
	if (pid != 0) {
		close(s);
		return pid < 0 ? -1 : 0;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	p->serve(s);
	warn("accept");
	_exit(1);
}

/* --- the payload -------------------------------------------------------------- */

static int run(char **argv)
{
	int status, r;
	pid_t pid;

	r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (r) {
		errno = r;
		warn(argv[0]);
		tell("error %d %s: %s", ERROR_UNKNOWN, argv[0], strerror(r));
		return NOT_STARTED;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return NOT_STARTED;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static struct port ports[] = {
	{ .option = "--echo", .serve = echo_serve },
	{ .option = "--shell", .serve = shell_serve },
};

#define N_PORTS (sizeof(ports) / sizeof(*ports))

/* Where COMMAND is, or 0. */
static int parse(int argc, char **argv)
{
	int at = 1;

	for (; at + 1 < argc && strcmp(argv[at], "--") != 0; at += 2) {
		struct port *p = ports;

		while (p < ports + N_PORTS && strcmp(argv[at], p->option) != 0)
			p++;
		if (p == ports + N_PORTS || p->text || !parse_port(p, argv[at + 1]))
			return 0;
	}
	return at + 1 < argc ? at + 1 : 0;
}

int main(int argc, char **argv)
{
	int command = parse(argc, argv), status, fd;

	if (!command) {
		fprintf(stderr, "usage: agent [--echo PORT] [--shell PORT|fd=N] "
				"-- COMMAND [ARGUMENT]...\n");
		return BAD_ARGUMENTS;
	}
	/* What was closed becomes /dev/null: a shell's pipes must not be taken for it.
	 */
	while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd < 3)
		fcntl(fd, F_SETFD, 0);
	if (fd >= 0)
		close(fd);
	connect_to_host();
	tell("started");
	for (size_t i = 0; i < N_PORTS; i++)
		if (ports[i].text && serve(&ports[i]) < 0) {
			int error = errno;

			warn(ports[i].option);
			tell("error %d port %s: %s", ERROR_UNKNOWN, ports[i].text,
			     strerror(error));
			return BAD_ARGUMENTS;
		}
	tell("ready");
	status = run(argv + command);
	tell("finished %d", status);
	return status;
}
