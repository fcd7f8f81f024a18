/* A manager's program; see program.h. */
#include "service/virtmgr/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/process.h"
#include "base/unix.h"
#include "service/virtmgr/manager.h"

#ifndef VMM_VERSION
#define VMM_VERSION "0.1"
#endif

#define EXIT_USAGE 2

static int parse_fd(const char *name, const char *text, int *ret, struct err *err)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || *end || n <= STDERR_FILENO || n > INT32_MAX)
		return err_set(err, -EINVAL, "%s: \"%s\" is not a descriptor's number",
			       name, text);
	if (fcntl((int)n, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, -EINVAL, "%s: descriptor %ld is not open", name, n);
	*ret = (int)n;
	return 0;
}

/* 1: there is nothing more to do. */
static int parse(const struct program *p, struct program_options *o, int argc,
		 char **argv, struct err *err)
{
	int c, r = 0;

	while (r == 0 && (c = getopt_long(argc, argv, "h", p->options, NULL)) != -1) {
		switch (c) {
		case 'r':
			r = parse_fd("--rpc-server-fd", optarg, &o->rpc_fd, err);
			break;
		case 'y':
			r = parse_fd("--ready-fd", optarg, &o->ready_fd, err);
			break;
		case 'l':
			o->listen = optarg;
			break;
		case 'R':
			o->root = optarg;
			break;
		case 'd':
			o->detach = true;
			break;
		case 'L':
			r = log_parse_filter(optarg, &o->log_level, err);
			break;
		case 'h':
			fputs(p->usage, stdout);
			return 1;
		case 'V':
			printf("%s " VMM_VERSION "\n", p->name);
			return 1;
		default:
			return err_set(err, -EINVAL, "see %s --help", p->name);
		}
	}
	if (r == 0 && optind < argc)
		r = err_set(err, -EINVAL, "%s: is one argument too many", argv[optind]);
	if (r == 0 && (o->rpc_fd >= 0) == (o->listen != NULL))
		r = err_set(err, -EINVAL, "%s is needed", p->needed);
	return r;
}

/*
 * Go on in a child, in a session of its own; this process ends when that is ready, with
 * the status 0, or when it has ended before. Returns what to tell it by.
 */
static int detach(struct err *err)
{
	int fds[2];
	pid_t pid;
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "--detach");
	pid = fork();
	if (pid < 0)
		return err_sys(err, -errno, "--detach");
	if (pid > 0) {
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 1 ? 0 : 1);
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

static void tell_ready(int *fd)
{
	if (*fd >= 0 && write(*fd, "o", 1) < 0)
		log_debug("main", "nobody waits for us to be ready");
	cleanup_close(fd);
	*fd = -1;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si,
		     void *arg)
{
	(void)source;
	(void)si;
	manager_end(arg);
	return 0;
}

static int watch_signals(sd_event *event, struct manager *m, struct err *err)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t set;
	int r = 0;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; r >= 0 && i < sizeof(signals) / sizeof(signals[0]); i++)
		r = sd_event_add_signal(event, NULL, signals[i], on_signal, m);
	return r < 0 ? err_sys(err, r, "signals") : 0;
}

static int serve(struct program_options *o, sd_event *event, struct manager *m,
		 int *detached, struct err *err)
{
	struct unix_name name = { .dir_fd = -1 };
	int fd, r;

	r = watch_signals(event, m, err);
	if (r == 0 && o->listen) {
		fd = unix_listen("--listen", o->listen, SOCK_STREAM, &name, err);
		r = fd < 0 ? fd : manager_listen(m, fd, err);
	} else if (r == 0) {
		r = manager_add_client(m, TAKE_FD(o->rpc_fd), err);
	}
	if (r == 0) {
		tell_ready(&o->ready_fd);
		tell_ready(detached);
		r = sd_event_loop(event);
		if (r < 0)
			err_sys(err, r, "the event loop");
	}
	unix_remove(&name);
	return r;
}

static int run(const struct program *p, struct program_options *o, struct err *err)
{
	struct registry *registry = NULL;
	sd_event *event = NULL;
	struct manager *m = NULL;
	int detached = -1, r = 0;

	if (o->detach) {
		detached = detach(err);
		if (detached < 0)
			return detached;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	/* A client's terminal may be another job's: its use fails, and stops nobody. */
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	/* Files of VMs come as descriptors, thousands of them if need be. */
	process_raise_limit(RLIMIT_NOFILE);
	r = sd_event_new(&event);
	if (r < 0)
		err_sys(err, r, "the event loop");
	else
		r = p->new_registry(event, o, &registry, err);
	if (r == 0)
		r = manager_new(event, registry, &m, err);
	if (r == 0)
		r = serve(o, event, m, &detached, err);
	manager_free(m);
	sd_event_unref(event);
	return r;
}

int program_main(const struct program *p, int argc, char **argv)
{
	struct program_options o = { .rpc_fd = -1,
				     .ready_fd = -1,
				     .log_level = LOG_LEVEL_WARN };
	struct err err = { "" };
	int null_fd = process_open_null(), r;

	if (null_fd < 0) {
		fprintf(stderr, "%s: /dev/null: %s\n", p->name,
			strerrordesc_np(-null_fd));
		return EXIT_FAILURE;
	}
	close(null_fd);
	r = parse(p, &o, argc, argv, &err);
	if (r == 1)
		return EXIT_SUCCESS;
	log_init(o.log_level, NULL);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", p->name, err.msg);
		return EXIT_USAGE;
	}
	r = run(p, &o, &err);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", p->name, err.msg);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
