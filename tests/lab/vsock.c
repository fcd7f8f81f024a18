/*
 * The other end of the vsock tests: runs in the guest and on the host, one against
 * the other. A static program; see usage() for what it does.
 *
 * Services, each on a port of its own: what a connection to it sees is told where
 * it is served below.
 */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

enum { ECHO = 5000, SINK, SOURCE, HANGUP, SEQPACKET, RUN, NOBODY };

#define CHUNK 65536u

struct report { /* in the byte order of the machine, which both ends are on */
	uint64_t bytes, sum;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
	va_list ap;
	int error = errno;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	printf(" (%s)\n", strerror(error));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- sockets --------------------------------------------------------------- */

/*
 * On the host of backend=unix, $VSOCK_UNIX is SOCKET: the guest is reached there, and
 * what it connects to is SOCKET_PORT. Streams only.
 */
static bool unix_address(unsigned port, struct sockaddr_un *a)
{
	const char *path = getenv("VSOCK_UNIX");

	if (!path)
		return false;
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (port)
		snprintf(a->sun_path, sizeof(a->sun_path), "%s_%u", path, port);
	else
		snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	return true;
}

static int dial_unix(const struct sockaddr_un *a, unsigned port)
{
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	char c = 0;

	if (connect(s, (const struct sockaddr *)a, sizeof(*a)) == 0 &&
	    dprintf(s, "CONNECT %u\n", port) > 0)
		while (recv(s, &c, 1, 0) == 1 && c != '\n')
			;
	if (c == '\n')
		return s;
	close(s);
	errno = ECONNRESET;
	return -1;
}

static int dial_type(unsigned cid, unsigned port, int type)
{
	struct sockaddr_un u;
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = cid,
				 .svm_port = port };
	int s;

	if (unix_address(0, &u))
		return dial_unix(&u, port);
	s = socket(AF_VSOCK, type, 0);
	if (s >= 0 && connect(s, (struct sockaddr *)&a, sizeof(a)) == 0)
		return s;
	if (s >= 0) {
		int error = errno;

		close(s);
		errno = error;
	}
	return -1;
}

static int dial(unsigned cid, unsigned port)
{
	int s = dial_type(cid, port, SOCK_STREAM);

	if (s < 0)
		fail("connect to %u:%u", cid, port);
	return s;
}

static int listen_on(unsigned port, int type)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK,
				 .svm_cid = VMADDR_CID_ANY,
				 .svm_port = port };
	struct sockaddr_un u;
	bool local = unix_address(port, &u);
	int s = socket(local ? AF_UNIX : AF_VSOCK, type, 0);

	if (s < 0 ||
	    (local ? bind(s, (struct sockaddr *)&u, sizeof(u)) < 0
		   : bind(s, (struct sockaddr *)&a, sizeof(a)) < 0) ||
	    listen(s, 256) < 0) {
		if (type == SOCK_SEQPACKET)
			return -1; /* not every kernel has it */
		fail("listen on %u", port);
	}
	return s;
}

/* As much as there is before the end, at most @len; -1 for an error. */
static ssize_t get(int s, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = recv(s, (char *)buf + done, len - done, 0);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static bool put(int s, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = send(s, (const char *)buf + done, len - done, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static bool at_end(int s)
{
	char c;

	return recv(s, &c, 1, 0) == 0;
}

/* --- bytes that can be checked --------------------------------------------- */

static void fill(uint64_t *buf, size_t bytes, uint64_t *seed)
{
	for (size_t i = 0; i < bytes / 8; i++) {
		*seed ^= *seed << 13;
		*seed ^= *seed >> 7;
		*seed ^= *seed << 17;
		buf[i] = *seed;
	}
}

/* Depends on every bit and its place. */
static void add(struct report *r, const uint64_t *buf, size_t bytes)
{
	for (size_t i = 0; i < bytes / 8; i++)
		r->sum = (r->sum << 7 | r->sum >> 57) * 0x9e3779b97f4a7c15 + buf[i];
	r->bytes += bytes;
}

/* @bytes is a multiple of 8. */
static bool produce(int s, uint64_t bytes, struct report *r)
{
	static __thread uint64_t buf[CHUNK / 8];
	uint64_t seed = bytes + 0x1234567;

	while (bytes > 0) {
		size_t n = bytes < CHUNK ? bytes : CHUNK;

		fill(buf, n, &seed);
		add(r, buf, n);
		if (!put(s, buf, n))
			return false;
		bytes -= n;
	}
	return true;
}

static bool consume(int s, struct report *r)
{
	static __thread uint64_t buf[CHUNK / 8];
	ssize_t n;

	while ((n = get(s, buf, CHUNK)) > 0)
		add(r, buf, (size_t)n);
	return n == 0;
}

/* --- services -------------------------------------------------------------- */

/* Everything comes back; when the client has ended, so do we. */
static void serve_echo(int s)
{
	char buf[16384];
	ssize_t n;

	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		if (!put(s, buf, (size_t)n))
			return;
	shutdown(s, SHUT_WR);
}

/* When the client has ended, what came. */
static void serve_sink(int s)
{
	struct report r = { 0, 0 };

	if (consume(s, &r))
		put(s, &r, sizeof(r));
}

/* The client says how much. When it has come and we have ended, what we sent. */
static void serve_source(int s)
{
	struct report r = { 0, 0 }, back = { 0, 0 };
	uint64_t bytes;

	if (get(s, &bytes, sizeof(bytes)) != sizeof(bytes) || !produce(s, bytes, &r))
		return;
	shutdown(s, SHUT_WR);
	/* The other direction is still open. */
	if (get(s, &back, sizeof(back)) == sizeof(back) &&
	    memcmp(&back, &r, sizeof(r)) != 0)
		printf("source: the other end got %llu bytes, not %llu, or other ones\n",
		       (unsigned long long)back.bytes, (unsigned long long)r.bytes);
}

/* Closes on the first byte, whatever else there is. */
static void serve_hangup(int s)
{
	char c;

	recv(s, &c, 1, 0);
}

static void serve_seqpacket(int s)
{
	char buf[16384];
	ssize_t n;

	while ((n = recv(s, buf, sizeof(buf), 0)) > 0)
		if (send(s, buf, (size_t)n, MSG_NOSIGNAL) != n)
			return;
}

/* Words, each ended by a NUL: a command. Its output, then a NUL and its status. */
static void serve_run(int s)
{
	char words[4096], *argv[64];
	unsigned char tail[2] = { 0, 255 };
	ssize_t n = get(s, words, sizeof(words) - 1);
	int argc = 0, status;
	pid_t pid;

	words[n < 0 ? 0 : n] = '\0';
	for (char *p = words; p < words + n && argc < 63; p += strlen(p) + 1)
		argv[argc++] = p;
	argv[argc] = NULL;
	pid = fork();
	if (pid == 0) {
		dup2(s, 1);
		dup2(s, 2);
		execvp(argv[0], argv);
		fail("%s", argv[0]);
	}
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		tail[1] = (unsigned char)WEXITSTATUS(status);
	put(s, tail, sizeof(tail));
}

struct service {
	unsigned port;
	int type;
	void (*serve)(int s);
	int socket;
};

static struct service services[] = {
	{ ECHO, SOCK_STREAM, serve_echo, -1 },
	{ SINK, SOCK_STREAM, serve_sink, -1 },
	{ SOURCE, SOCK_STREAM, serve_source, -1 },
	{ HANGUP, SOCK_STREAM, serve_hangup, -1 },
	{ SEQPACKET, SOCK_SEQPACKET, serve_seqpacket, -1 },
	{ RUN, SOCK_STREAM, serve_run, -1 },
};
#define N_SERVICES (sizeof(services) / sizeof(services[0]))

struct job {
	const struct service *service;
	int socket;
};

static void *job_thread(void *arg)
{
	struct job *j = arg;

	j->service->serve(j->socket);
	close(j->socket);
	free(j);
	return NULL;
}

static void serve(void)
{
	struct pollfd fds[N_SERVICES];
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (unsigned i = 0; i < N_SERVICES; i++)
		fds[i] = (struct pollfd){ .fd = listen_on(services[i].port,
							  services[i].type),
					  .events = POLLIN };
	printf("vsock: serving\n");
	for (;;) {
		poll(fds, N_SERVICES, -1);
		for (unsigned i = 0; i < N_SERVICES; i++) {
			struct job *j;
			int s;

			if (!fds[i].revents)
				continue;
			s = accept4(fds[i].fd, NULL, NULL, SOCK_CLOEXEC);
			j = malloc(sizeof(*j));
			if (s < 0 || !j)
				continue;
			*j = (struct job){ &services[i], s };
			if (pthread_create(&t, &attr, job_thread, j) != 0)
				fail("thread");
		}
	}
}

/* --- tests ----------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* @n messages of many lengths, one after the other; the median of 64 bytes' time. */
static void test_echo(unsigned cid, unsigned n)
{
	static char out[16384], in[sizeof(out)];
	double *us = calloc(n, sizeof(*us));
	int s = dial(cid, ECHO);

	for (unsigned i = 0; i < n; i++) {
		size_t len = i % 2 ? i * 37 % sizeof(out) + 1 : 64;
		double start;

		memset(out, (int)i, len);
		start = now();
		if (!put(s, out, len) || get(s, in, len) != (ssize_t)len)
			fail("message %u of %zu bytes", i, len);
		us[i / 2] = len == 64 ? (now() - start) * 1e6 : us[i / 2];
		if (memcmp(in, out, len) != 0)
			fail("message %u came back changed", i);
	}
	qsort(us, (n + 1) / 2, sizeof(*us), by_value);
	printf("echo: %.1f us\n", us[(n + 1) / 4]);
	close(s);
}

static void test_short(unsigned cid, unsigned n)
{
	double start = now();

	for (unsigned i = 0; i < n; i++) {
		int s = dial(cid, ECHO);
		unsigned back = ~i;

		if (!put(s, &i, sizeof(i)) || get(s, &back, sizeof(back)) != 4 ||
		    back != i)
			fail("connection %u", i);
		close(s);
	}
	printf("short: %.1f us each\n", (now() - start) * 1e6 / n);
}

static void test_many(unsigned cid, unsigned n)
{
	int *s = calloc(n, sizeof(*s));
	unsigned back;

	for (unsigned i = 0; i < n; i++)
		s[i] = dial(cid, ECHO);
	for (unsigned i = 0; i < n; i++)
		if (!put(s[i], &i, sizeof(i)))
			fail("connection %u", i);
	for (unsigned i = n; i-- > 0;)
		if (get(s[i], &back, sizeof(back)) != sizeof(back) || back != i)
			fail("connection %u answers %u", i, back);
	for (unsigned i = 0; i < n; i += 2)
		close(s[i]);
	for (unsigned i = 1; i < n; i += 2)
		if (!put(s[i], &i, sizeof(i)) || get(s[i], &back, 4) != 4 || back != i)
			fail("connection %u, after others closed", i);
}

static void speed(const char *what, uint64_t bytes, double start)
{
	printf("%s: %.1f MiB/s\n", what, (double)bytes / 1048576 / (now() - start));
}

static void test_send(unsigned cid, unsigned mib)
{
	uint64_t bytes = (uint64_t)mib << 20;
	struct report r = { 0, 0 }, back = { 0, 0 };
	double start = now();
	int s = dial(cid, SINK);

	if (!produce(s, bytes, &r) || shutdown(s, SHUT_WR) < 0)
		fail("sending, after %llu bytes", (unsigned long long)r.bytes);
	if (get(s, &back, sizeof(back)) != sizeof(back) ||
	    memcmp(&back, &r, sizeof(r)) != 0)
		fail("sink: %llu bytes came, or others than were sent",
		     (unsigned long long)back.bytes);
	speed("send", bytes, start);
}

static void test_recv(unsigned cid, unsigned mib)
{
	uint64_t bytes = (uint64_t)mib << 20, seed = bytes + 0x1234567, left;
	static uint64_t want[CHUNK / 8], buf[CHUNK / 8];
	struct report r = { 0, 0 };
	double start = now();
	int s = dial(cid, SOURCE);

	if (!put(s, &bytes, sizeof(bytes)))
		fail("source");
	for (left = bytes; left > 0; left -= CHUNK) {
		fill(want, CHUNK, &seed);
		if (get(s, buf, CHUNK) != CHUNK || memcmp(buf, want, CHUNK) != 0)
			fail("source: wrong or none, with %llu bytes left",
			     (unsigned long long)left);
		add(&r, buf, CHUNK);
	}
	if (!at_end(s))
		fail("source: no end");
	speed("recv", bytes, start);
	/* It has half-closed; we may still send. */
	if (!put(s, &r, sizeof(r)))
		fail("sending to one that has half-closed");
}

static void test_half(unsigned cid, unsigned n)
{
	char buf[8];
	int s;

	for (unsigned i = 0; i < n; i++) {
		s = dial(cid, ECHO);
		if (!put(s, "goodbye", 8) || shutdown(s, SHUT_WR) < 0)
			fail("half-close");
		if (send(s, "x", 1, MSG_NOSIGNAL) >= 0 || errno != EPIPE)
			fail("sending after the end");
		if (get(s, buf, 8) != 8 || memcmp(buf, "goodbye", 8) != 0)
			fail("what was sent before the end did not come back");
		if (!at_end(s))
			fail("no end came back");
		close(s);
	}
}

static void test_reset(unsigned cid, unsigned n)
{
	static char block[CHUNK];
	int s;

	for (unsigned i = 0; i < n; i++) {
		if (dial_type(cid, NOBODY, SOCK_STREAM) >= 0 || errno != ECONNRESET)
			fail("connect to a port where nobody listens");
		s = dial(cid, HANGUP);
		while (put(s, block, sizeof(block)))
			;
		if (errno != EPIPE && errno != ECONNRESET)
			fail("sending to one that has hung up");
		close(s);
		/* We close while there is more to come. */
		s = dial(cid, SOURCE);
		if (!put(s, &(uint64_t){ 8 << 20 }, 8) || get(s, block, 8) != 8)
			fail("source");
		close(s);
	}
}

static void test_seqpacket(unsigned cid, unsigned n)
{
	static char out[16384], in[sizeof(out)];
	int s = dial_type(cid, SEQPACKET, SOCK_SEQPACKET);

	if (s < 0)
		fail("connect");
	for (unsigned i = 0; i < n; i++) {
		size_t len[2] = { i * 211 % sizeof(out) + 1, i % 100 + 1 };

		/* Two at once, so that they could run together. */
		memset(out, (int)i, sizeof(out));
		for (unsigned k = 0; k < 2; k++)
			if (send(s, out, len[k], MSG_NOSIGNAL) != (ssize_t)len[k])
				fail("message %u of %zu bytes", i, len[k]);
		for (unsigned k = 0; k < 2; k++)
			if (recv(s, in, sizeof(in), 0) != (ssize_t)len[k] ||
			    memcmp(in, out, len[k]) != 0)
				fail("message %u of %zu bytes came back changed", i,
				     len[k]);
	}
	close(s);
}

/* --- the rest -------------------------------------------------------------- */

/* Runs a command where @cid is; returns its status. */
static int run(unsigned cid, char **words)
{
	unsigned char buf[4096], tail[2] = { 0, 0 };
	int s = dial(cid, RUN);
	size_t held = 0;
	ssize_t n;

	for (; *words; words++)
		if (!put(s, *words, strlen(*words) + 1))
			fail("run");
	shutdown(s, SHUT_WR);
	while ((n = recv(s, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (held == 2)
				putchar(tail[0]);
			tail[0] = held ? tail[1] : buf[i];
			tail[1] = buf[i];
			held += held < 2;
		}
		fflush(stdout);
	}
	if (held < 2 || tail[0] != 0)
		fail("run: ended early");
	return tail[1];
}

static void pump(int a, int b)
{
	struct pollfd fds[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
	char buf[4096];

	for (;;) {
		poll(fds, 2, -1);
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			if (!fds[i].revents)
				continue;
			n = recv(fds[i].fd, buf, sizeof(buf), 0);
			if (n <= 0 || !put(fds[!i].fd, buf, (size_t)n))
				return;
		}
	}
}

/*
 * One connection of vsock_test's control channel, which is TCP: from TCP @port here to
 * vsock @port of @cid, or (@cid 0) from vsock @port to TCP @port here.
 */
static void relay(unsigned cid, unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int s = socket(AF_INET, SOCK_STREAM, 0), other, one = 1;

	if (cid == 0) {
		other = listen_on(port, SOCK_STREAM);
		printf("relaying\n");
		other = accept(other, NULL, NULL);
		while (connect(s, (struct sockaddr *)&a, sizeof(a)) < 0) {
			close(s);
			usleep(50000);
			s = socket(AF_INET, SOCK_STREAM, 0);
		}
		pump(s, other);
		return;
	}
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 1) < 0)
		fail("TCP port %u", port);
	printf("relaying\n");
	s = accept(s, NULL, NULL);
	while ((other = dial_type(cid, port, SOCK_STREAM)) < 0)
		usleep(50000);
	pump(s, other);
}

static const struct {
	const char *name;
	void (*test)(unsigned cid, unsigned n);
} tests[] = {
	{ "echo", test_echo },	 { "short", test_short },	  { "many", test_many },
	{ "send", test_send },	 { "recv", test_recv },		  { "half", test_half },
	{ "reset", test_reset }, { "seqpacket", test_seqpacket },
};

static void usage(void)
{
	printf("usage: vsock serve\n"
	       "       vsock run CID COMMAND...\n"
	       "       vsock relay CID|0 PORT\n"
	       "       vsock echo|short|many|send|recv|half|reset|seqpacket CID NUMBER\n");
	exit(2);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "serve"))
		serve();
	if (argc < 4)
		usage();
	if (!strcmp(argv[1], "run"))
		return run((unsigned)atoi(argv[2]), argv + 3);
	if (!strcmp(argv[1], "relay")) {
		relay((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
		return 0;
	}
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (strcmp(argv[1], tests[i].name) != 0)
			continue;
		tests[i].test((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
		return 0;
	}
	usage();
}
