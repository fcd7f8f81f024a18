/*
 * virtualizationservice: what there is to one host, or to one user, of VMs. See
 * service.h for what it does, virtualizationservice(8) for how it is used.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/process.h"
#include "base/unix.h"
#include "service/common/paths.h"
#include "service/virtualizationservice/service.h"

#define PROGRAM "virtualizationservice"
#define MIB (1024UL * 1024)
/* A peer makes us keep messages of up to 128 MiB; that is never to be all memory. */
#define DATA_MAX (512 * MIB)
/*
 * For all that is not larger than SMALL, taken beforehand, so that no peer's large
 * messages leave none for the others, or for sd-bus, which aborts where it lacks a
 * little: what begun messages of that size take on all connections of a user.
 */
#define SMALL (128 * 1024)
#define RESERVED 768 /* of them */

struct options {
	char *config, *socket, *private, *cids, *log_level;
	uint64_t ready_fd;
	bool check, detach, help;
};

#define FIELD(name) .key = #name, .offset = offsetof(struct options, name)
static const struct opt table[] = {
	{ FIELD(config), .type = OPT_STR, .arg = "FILE",
	  .help = "The configuration instead of " SERVICE_CONFIG },
	{ FIELD(check), .type = OPT_BOOL,
	  .help = "Tell what is wrong with the configuration, and end" },
	{ FIELD(socket), .type = OPT_STR, .arg = "PATH",
	  .help = "Where to listen; what it keeps lies beside. Default: " SERVICE_RUN_DIR
		  "/" SERVICE_SOCKET_NAME },
	{ FIELD(private), .type = OPT_STR, .arg = "DIR",
	  .help = "Serve this user only, at DIR/" SERVICE_SOCKET_NAME
		  ", until the last connection closes" },
	{ FIELD(cids), .type = OPT_STR, .arg = "A-B",
	  .help = "Give these CIDs only, of 2048 to 65535" },
	{ .key = "log-level",
	  .offset = offsetof(struct options, log_level),
	  .type = OPT_STR,
	  .arg = "LEVEL",
	  .help = "off, error, warn, info or debug (default info)" },
	{ .key = "ready-fd",
	  .offset = offsetof(struct options, ready_fd),
	  .type = OPT_U64,
	  .min = 3,
	  .max = INT_MAX,
	  .arg = "N",
	  .help = "Write \"o\" there when it listens, or what prevents it" },
	{ FIELD(detach), .type = OPT_BOOL, .help = "Go into the background" },
	{ FIELD(help), .type = OPT_BOOL, .help = "Show this help" },
	{ 0 },
};

static int parse_options(int argc, char **argv, struct options *o, struct err *err)
{
	struct opt_seen seen = { 0 };

	for (int i = 1; i < argc; i++) {
		const char *name = argv[i] + 2, *value = NULL;
		const struct opt *opt = NULL;
		size_t len;
		int r;

		if (strncmp(argv[i], "--", 2) == 0) {
			len = strcspn(name, "=");
			opt = opt_find(table, name, len);
			value = name[len] ? name + len + 1 : NULL;
		}
		if (!opt)
			return err_set(err, -EINVAL, "%s: there is no such option",
				       argv[i]);
		if (!value && opt->type != OPT_BOOL) {
			value = argv[++i];
			if (!value)
				return err_set(err, -EINVAL, "--%s: needs a value",
					       opt->key);
		}
		r = opt_set(table, opt, value, o, &seen, err);
		if (r < 0)
			return err_prefix(err, r, "--%s", opt->key);
	}
	if (o->private && o->socket)
		return err_set(err, -EINVAL, "--private: does not go with --socket");
	return 0;
}

static int parse_cids(const char *text, struct service_setup *setup, struct err *err)
{
	AUTO_FREE char *first = text ? strdup(text) : NULL;
	char *last = first ? strchr(first, '-') : NULL;
	uint64_t a, b;

	setup->first_cid = CID_FIRST;
	setup->last_cid = CID_LAST;
	if (!text)
		return 0;
	if (last)
		*last++ = '\0';
	if (!last || opt_number(first, &a) < 0 || opt_number(last, &b) < 0 ||
	    a < CID_FIRST || b > CID_LAST || a > b)
		return err_set(err, -EINVAL, "--cids: %s: is no range within %d-%d",
			       text, CID_FIRST, CID_LAST);
	setup->first_cid = (uint32_t)a;
	setup->last_cid = (uint32_t)b;
	return 0;
}

/* --- the socket -------------------------------------------------------------- */

/* systemd's, or one of our own. */
static int get_socket(const struct options *o, const char *path, struct unix_name *name,
		      struct err *err)
{
	int n = sd_listen_fds(1);

	*name = (struct unix_name){ .dir_fd = -1 };
	if (n == 0)
		return unix_listen("socket", path, SOCK_STREAM, name, err);
	if (n < 0)
		return err_sys(err, n, "the socket that was passed");
	if (n > 1 || o->private ||
	    sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0)
		return err_set(err, -EINVAL,
			       "what was passed is not one socket to listen at");
	n = fcntl(SD_LISTEN_FDS_START, F_GETFL);
	if (n < 0 || fcntl(SD_LISTEN_FDS_START, F_SETFL, n | O_NONBLOCK) < 0)
		return err_sys(err, -errno, "the socket that was passed");
	return SD_LISTEN_FDS_START;
}

/* Make the folder that is lacking, not those above it. */
static int make_folder(const char *path, mode_t mode, struct err *err)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "%s", path);
	return 0;
}

/*
 * Everybody may connect, to be told that he may not call. Done when all is ready: it is
 * what managers who wait for us notice.
 */
static int open_to_callers(const struct unix_name *name, bool private, struct err *err)
{
	if (name->dir_fd >= 0 &&
	    fchmodat(name->dir_fd, name->base, private ? 0600 : 0666, 0) < 0)
		return err_sys(err, -errno, "%s", name->base);
	return 0;
}

/* --- the process ------------------------------------------------------------- */

#ifndef SANITIZED
/* The heap serves what it has room for, however large that is: so it gets room in
 * pieces, with something between them that is never freed. */
static void reserve(void)
{
	static void *pieces[RESERVED];
	void *volatile between; /* or the compiler would see no use in it */

	mallopt(M_TRIM_THRESHOLD, INT_MAX);
	mallopt(M_MMAP_MAX, 0);
	for (size_t i = 0; i < RESERVED; i++) {
		pieces[i] = malloc(SMALL);
		between = malloc(1);
	}
	(void)between;
	for (size_t i = 0; i < RESERVED; i++)
		free(pieces[i]);
	mallopt(M_MMAP_MAX, INT_MAX);
	mallopt(M_MMAP_THRESHOLD, SMALL);
}

/* Beyond it, messages do not get the memory, and their senders are disconnected. */
static void bound_memory(void)
{
	struct rlimit limit;

	reserve();
	if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur > DATA_MAX) {
		limit.rlim_cur = DATA_MAX;
		(void)setrlimit(RLIMIT_DATA, &limit);
	}
}
#else
static void bound_memory(void)
{
}
#endif

/* 0 in the process that goes on. */
static int detach(struct err *err)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(err, -errno, "fork");
	if (pid > 0)
		_exit(0);
	if (setsid() < 0)
		return err_sys(err, -errno, "setsid");
	return 0;
}

/* Let go of the terminal, or pipe, of who started us: he may be gone long before. */
static void leave_stdio(void)
{
	AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		(void)dup2(null, fd);
}

static void tell_ready(struct options *o, const char *text)
{
	int fd = (int)o->ready_fd;

	if (!fd)
		return;
	if (write(fd, text, strlen(text)) < 0)
		log_debug(PROGRAM, "ready-fd: %m");
	close(fd);
	o->ready_fd = 0;
}

static int run(struct options *o, struct service_setup *setup, struct err *err)
{
	__attribute__((cleanup(sd_event_unrefp))) sd_event *event = NULL;
	struct service *service = NULL;
	sigset_t signals;
	int r;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	r = sd_event_new(&event);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
	/* It never waits for anybody; should it, systemd starts another. */
	if (r >= 0)
		r = sd_event_set_watchdog(event, 1);
	if (r < 0) {
		close(setup->listen_fd);
		unix_remove(setup->name);
		return err_sys(err, r, "the event loop");
	}
	r = service_new(event, setup, &service, err);
	if (r == 0)
		r = open_to_callers(setup->name, setup->private, err);
	if (r == 0) {
		tell_ready(o, "o");
		if (o->detach)
			leave_stdio();
		sd_notify(0, "READY=1");
		r = sd_event_loop(event);
		if (r < 0)
			err_sys(err, r, "the event loop");
	}
	service_free(service);
	return r;
}

static int load(const struct options *o, struct conf *conf, struct err *err)
{
	int r;

	/* What the host's administrator limits is the host's service. */
	if (o->private && !o->config)
		return 0;
	r = conf_load(conf, o->config ?: SERVICE_CONFIG, !o->config, err);
	if (r < 0)
		return r;
	r = conf_resolve(conf, err);
	return r < 0 ? err_prefix(err, r, "%s", o->config ?: SERVICE_CONFIG) : 0;
}

/* Where to listen; allocated, or NULL. */
static char *get_path(const struct options *o)
{
	char *path;

	if (!o->private)
		return strdup(o->socket ?: SERVICE_RUN_DIR "/" SERVICE_SOCKET_NAME);
	return asprintf(&path, "%s/" SERVICE_SOCKET_NAME, o->private) < 0 ? NULL : path;
}

/* The folder it is in; allocated, or NULL. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int serve(struct options *o, struct conf *conf, struct err *err)
{
	struct unix_name name = { .dir_fd = -1 };
	struct service_setup setup = { .conf = conf,
				       .private = o->private,
				       .name = &name };
	AUTO_FREE char *path = get_path(o);
	AUTO_FREE char *folder = path ? folder_of(path) : NULL;
	int r;

	if (!folder)
		return err_sys(err, -ENOMEM, "the socket");
	r = parse_cids(o->cids, &setup, err);
	if (r == 0)
		r = make_folder(folder, o->private ? 0700 : 0755, err);
	if (r == 0 && o->detach)
		r = detach(err);
	if (r < 0)
		return r;
	process_raise_limit(RLIMIT_NOFILE);
	bound_memory();
	setup.folder = folder;
	setup.listen_fd = r = get_socket(o, path, &name, err);
	if (r == -EADDRINUSE && o->detach) {
		/* Another manager was faster, and that is as good. */
		tell_ready(o, "o");
		return 0;
	}
	if (r < 0)
		return r;
	return run(o, &setup, err);
}

int main(int argc, char **argv)
{
	enum log_level level = LOG_LEVEL_INFO;
	struct options o = { 0 };
	struct err err = { "" };
	struct conf conf;
	int null_fd = process_open_null(), r;

	if (null_fd < 0) {
		fprintf(stderr, PROGRAM ": /dev/null: %s\n", strerrordesc_np(-null_fd));
		return 1;
	}
	close(null_fd);
	conf_init(&conf);
	signal(SIGPIPE, SIG_IGN);
	r = parse_options(argc, argv, &o, &err);
	if (r == 0 && o.log_level)
		r = log_parse_filter(o.log_level, &level, &err);
	log_init(level, NULL);
	if (r == 0 && o.help) {
		printf("usage: " PROGRAM " [OPTION...]\n\n");
		opt_help_options(table, stdout, 2);
	} else if (r == 0) {
		r = load(&o, &conf, &err);
		if (r == 0 && !o.check)
			r = serve(&o, &conf, &err);
	}
	if (r < 0) {
		if (!o.ready_fd)
			fprintf(stderr, PROGRAM ": %s\n", err.msg);
		tell_ready(&o, err.msg);
	}
	conf_free(&conf);
	opt_free(table, &o);
	return r < 0;
}
