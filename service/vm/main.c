/* The vm program: its table of subcommands. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/process.h"
#include "service/vm/command.h"

#ifndef VMM_VERSION
#define VMM_VERSION "0.1"
#endif

static const struct command *const commands[] = {
	&command_run,
	&command_check,
	&command_list,
	&command_info,
	&command_console,
	&command_shell,
	&command_stop,
	&command_powerbtn,
	&command_suspend,
	&command_resume,
	&command_balloon,
	&command_dump,
	&command_create_partition,
	&command_create_disk,
};

static void usage(FILE *out)
{
	fputs("Usage: vm COMMAND ...        (vm COMMAND --help tells more)\n\n", out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = commands[i];

		fprintf(out, "  %-16s  %.*s\n", c->name, (int)strcspn(c->help, "\n"),
			c->help);
	}
}

static void help(const struct command *c)
{
	printf("Usage: vm %s %s\n%s", c->name, c->synopsis, c->help);
	if (c->opts) {
		putchar('\n');
		opt_help_options(c->opts, stdout, 2);
	}
}

static int run_command(const struct command *c, char **args)
{
	static const struct opt none[] = { { 0 } };
	const struct opt *table = c->opts ?: none;
	void *opts = calloc(1, c->opts_size + 1);
	struct err err = { "" };
	int r = -ENOMEM;

	if (!opts) {
		err_sys(&err, r, "vm");
	} else {
		opt_defaults(table, opts);
		r = command_parse(c, opts, args, &err);
		if (r == 0)
			r = c->run(c, opts, args, &err);
		opt_free(table, opts);
		free(opts);
	}
	if (r == -ECANCELED) {
		help(c);
		return STATUS_OK;
	}
	if (r >= 0)
		return r;
	fprintf(stderr, "vm: %s\n", err.msg);
	return r == -EINVAL || r == -EBADMSG ? STATUS_BAD_ARGUMENTS : STATUS_ERROR;
}

/* What could not be written is a failure, though all else went well. */
static int finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "vm: stdout: %s\n", strerror(errno));
	return status == STATUS_OK ? STATUS_ERROR : status;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int null_fd = process_open_null();

	if (null_fd < 0) {
		fprintf(stderr, "vm: /dev/null: %s\n", strerrordesc_np(-null_fd));
		return STATUS_ERROR;
	}
	close(null_fd);
	/* A configuration may name thousands of files. */
	process_raise_limit(RLIMIT_NOFILE);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i]->name, name) == 0)
			return finish(run_command(commands[i], argv + 2));
	if (argc == 2 && (!strcmp(name, "--help") || !strcmp(name, "-h"))) {
		usage(stdout);
		return finish(STATUS_OK);
	}
	if (argc == 2 && !strcmp(name, "--version")) {
		puts("vm " VMM_VERSION);
		return finish(STATUS_OK);
	}
	if (*name)
		fprintf(stderr, "vm: %s: unknown command\n", name);
	usage(stderr);
	return STATUS_BAD_ARGUMENTS;
}
