/*
 * The minimal agent of a guest: runs the payload, and tells the host's manager of it.
 *
 *	agent [--echo PORT] -- COMMAND [ARGUMENT]...
 *
 * It tells that it started; that it is ready, when PORT, where each connection of the
 * host gets back what it sends, is served; and when COMMAND has ended, with which
 * status (128 + n: by signal n), which is its own, too. Without a host that listens it
 * warns, and does the same.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* In a process of its own, and one for each connection, which end with this one. */
static int serve(unsigned port)
{
	int s = vsock_address(SOCK_STREAM, VMADDR_CID_ANY, port, bind), peer;
	pid_t pid;

	if (s < 0 || listen(s, 64) < 0)
		return -1;
	pid = fork();
	if (pid != 0) {
		close(s);
		return pid < 0 ? -1 : 0;
	}
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((peer = accept4(s, NULL, NULL, SOCK_CLOEXEC)) >= 0 ||
	       errno == ECONNABORTED || errno == EINTR) {
		if (peer >= 0 && fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			echo(peer);
			_exit(0);
		}
		if (peer >= 0)
			close(peer);
	}
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

int main(int argc, char **argv)
{
	unsigned long port = 0;
	int at = 1, status;
	char *end = NULL;

	if (at + 1 < argc && strcmp(argv[at], "--echo") == 0) {
		port = strtoul(argv[at + 1], &end, 10);
		at += 2;
	}
	if (at + 1 >= argc || strcmp(argv[at], "--") != 0 ||
	    (end && (*end || port < 1 || port >= VMADDR_PORT_ANY))) {
		fprintf(stderr,
			"usage: agent [--echo PORT] -- COMMAND [ARGUMENT]...\n");
		return BAD_ARGUMENTS;
	}
	connect_to_host();
	tell("started");
	if (port && serve((unsigned)port) < 0) {
		warn("the echo port");
		tell("error %d port %lu: %s", ERROR_UNKNOWN, port, strerror(errno));
		return BAD_ARGUMENTS;
	}
	tell("ready");
	status = run(argv + at + 1);
	tell("finished %d", status);
	return status;
}
