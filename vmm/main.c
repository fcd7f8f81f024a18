/*
 * The vmm program: subcommands, and the order in which a VM's process comes to
 * be: parse, open everything, namespaces, fork; in the child: KVM, memory,
 * guest, jail, run.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "vmm/arch.h"
#include "vmm/config.h"
#include "vmm/control_client.h"
#include "vmm/create_composite.h"
#include "vmm/exit.h"
#include "vmm/jail.h"
#include "vmm/machine.h"
#include "vmm/status.h"
#include "vmm/supervise.h"

#ifndef VMM_VERSION
#define VMM_VERSION "0.1"
#endif

#ifdef SANITIZED
/* The search for leaks needs ptrace, which the jail forbids; unit tests do it. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static const char usage[] =
	"Usage: vmm [--log-level LEVEL] run [OPTION]... KERNEL\n"
	"                                    boot a kernel in a VM\n"
	"       vmm run --help               all options\n"
	"       vmm create_composite PATH [LABEL:FILE[:writable][:GUID]]...\n"
	"                                    make a disk of files as partitions\n"
	"       vmm stop|suspend|resume|powerbtn|balloon|balloon_stats|disk|dump|status ... SOCKET\n"
	"                                    command a running VM; each has a --help\n"
	"       vmm --version\n";

static void complain(const struct err *err)
{
	fprintf(stderr, "vmm: %s\n", err->msg);
}

/* The VM's own process. */
static int vm_process(void *arg)
{
	struct machine *m = arg;
	struct machine_result result;
	struct err err;
	int status;

	if (machine_load(m, &err) < 0 || machine_run(m, &result, &err) < 0) {
		complain(&err);
		report_end(machine_report(m), VM_END_ERROR, 0, err.msg);
		return EXIT_ERROR;
	}
	status = exit_status(result.end, result.detail);
	if (status == EXIT_ERROR || status == EXIT_CRASH || status == EXIT_PANIC ||
	    status == EXIT_WATCHDOG)
		log_error("vm", "%s", result.sentence);
	else
		log_info("vm", "%s", result.sentence);
	return status;
}

/* Namespaces, unless the host refuses them and the user can do without. */
static int enter_namespaces(const struct config *cfg, struct err *err)
{
	int r;

	if (cfg->disable_sandbox)
		return 0;
	r = jail_namespaces(err);
	if (r < 0 && !cfg->require_sandbox) {
		log_warn("jail", "%s; going on with less", err->msg);
		r = 0;
	}
	return r;
}

static void raise_memlock(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	/* Root may, for now; in a user namespace it counts as anybody. */
	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		process_raise_limit(RLIMIT_MEMLOCK);
}

static void tell_how_to_leave(const struct config *cfg, const struct machine *m)
{
	if (cfg->escape_key && machine_wants_terminal(m) && isatty(STDIN_FILENO))
		log_info("terminal", "Ctrl-%c x ends the VM", cfg->escape_key | 0x40);
}

static int run(const struct config *cfg, int null_fd, int status_fd,
	       struct death *ret_death, struct err *err)
{
	struct supervised vm = {
		.run = vm_process,
		.limit = cfg->timeout,
		.null_fd = null_fd,
		.status_fd = status_fd,
	};
	struct machine *m = NULL;
	int r;

	log_init(cfg->log_level, cfg->name);
	/* A guest decides how many interrupts, and so descriptors, there are. */
	process_raise_limit(RLIMIT_NOFILE);
	if (cfg->lock_guest_memory)
		raise_memlock();
	r = keep_open(&cfg->keep_fds, &vm.keep, err);
	if (r == 0)
		r = machine_new(cfg, &m, err);
	if (r == 0)
		r = file_close_inherited(err);
	if (r == 0)
		r = machine_start_broker(m, &vm.broker, err);
	if (r == 0)
		r = enter_namespaces(cfg, err);
	if (r == 0) {
		vm.arg = m;
		vm.terminal = machine_wants_terminal(m);
		vm.report = machine_report(m);
		tell_how_to_leave(cfg, m);
		r = supervise(&vm, ret_death, err);
	}
	if (r < 0)
		machine_free(m);
	return r;
}

static void tell(int status_fd, const struct death *d, uint64_t run_time_ms)
{
	char *json = report_json(d, arch_register_names, run_time_ms);
	struct err err;

	if (status_write(status_fd, json ?: "", &err) < 0)
		complain(&err);
	free(json);
}

static int run_command(char **args, enum log_level level, int null_fd)
{
	uint64_t start = clock_ms();
	struct config cfg = { 0 };
	struct death death = { .status = EXIT_ERROR };
	int status_fd = -1;
	struct err err;
	int r = config_parse(&cfg, args, &err);
	bool bad = r == -EINVAL;

	if (!cfg.log_filter)
		cfg.log_level = level;
	if (r == -ECANCELED) {
		config_help(stdout);
		config_free(&cfg);
		return EXIT_STOP;
	}
	/* A reader that goes away, or a full file, is an error of a write. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (cfg.status_fd)
		status_fd = status_open(cfg.status_fd, r < 0 ? NULL : &err);
	if (r == 0 && cfg.status_fd && status_fd < 0)
		r = status_fd;
	if (r == 0)
		r = run(&cfg, null_fd, status_fd, &death, &err);
	if (r < 0) {
		complain(&err);
		report_died(NULL, bad ? EXIT_ARGS : EXIT_ERROR,
			    bad ? "bad-arguments" : "start-failed", "host", err.msg,
			    &death);
	}
	if (status_fd >= 0)
		tell(status_fd, &death, clock_ms() - start);
	config_free(&cfg);
	return death.status;
}

/*
 * The options before the command, which are crosvm's; @args comes to stand behind them.
 * There is no syslog to do without, or to be tagged in.
 */
static int parse_global(char ***args, enum log_level *level, struct err *err)
{
	static const char *const options[] = { "--extended-status", "--no-syslog",
					       "--syslog-tag", "--log-level" };

	for (char *arg; (arg = **args); (*args)++) {
		size_t i, len = strcspn(arg, "=");
		const char *value = arg[len] ? arg + len + 1 : NULL;
		int r = 0;

		for (i = 0; i < ARRAY_SIZE(options); i++)
			if (strlen(options[i]) == len && !memcmp(arg, options[i], len))
				break;
		if (i == ARRAY_SIZE(options) || (i < 2 && value))
			return 0;
		if (i >= 2 && !value)
			value = *++*args;
		if (i >= 2 && !value)
			return err_set(err, -EINVAL, "%s: needs a value", arg);
		if (i == 3)
			r = log_parse_filter(value, level, err);
		if (r < 0)
			return err_prefix(err, r, "--log-level");
	}
	return 0;
}

int main(int argc, char **argv)
{
	enum log_level level = LOG_LEVEL_INFO;
	int null_fd = process_open_null();
	char **args = argv + 1;
	struct err err;

	if (null_fd < 0) {
		fprintf(stderr, "vmm: /dev/null: %s\n", strerrordesc_np(-null_fd));
		return EXIT_ERROR;
	}
	if (argc >= 2 && parse_global(&args, &level, &err) < 0) {
		complain(&err);
		return EXIT_ARGS;
	}
	if (*args && !strcmp(*args, "run"))
		return run_command(args + 1, level, null_fd);
	if (*args && !strcmp(*args, "create_composite"))
		return create_composite(args + 1);
	if (*args && control_client_knows(*args))
		return control_client(args);
	if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage, stdout);
		return EXIT_STOP;
	}
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("vmm " VMM_VERSION);
		return EXIT_STOP;
	}
	if (*args)
		fprintf(stderr, "vmm: %s: unknown command\n", *args);
	fputs(usage, stderr);
	return EXIT_ARGS;
}
