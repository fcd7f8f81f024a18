/* vmm create_composite; see create_composite.h and disk/composite_create.h. */
#include "vmm/create_composite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/composite_create.h"
#include "vmm/exit.h"

static const char help[] =
	"Usage: vmm create_composite PATH [LABEL:FILE[:writable][:GUID]]...\n"
	"Make PATH, a composite disk: a GPT disk whose partitions are the files, in that\n"
	"order; without any its table is empty. Beside it PATH.header, PATH.footer and\n"
	"PATH.filler hold what is around them. An older composite disk there is replaced, but\n"
	"no other file.\n"
	"\n"
	"  LABEL     the partition's name, cut after 36 characters; all differ\n"
	"  FILE      raw, Android sparse (not writable), or a block device\n"
	"  writable  the guest may write; then FILE is taken as raw, and its size must be\n"
	"            a multiple of 4096 (others are filled up with zeroes)\n"
	"  GUID      of the partition; without it a random one, LABEL:FILE::GUID for one\n"
	"            that is not writable\n"
	"\n"
	"Relative names are relative to the current folder. PATH works from any folder; where\n"
	"it is itself in the current one, it can be moved together with the files.\n"
	"Use it with: vmm run --block PATH,format=composite\n";

static int complain(const struct err *err, int status)
{
	fprintf(stderr, "vmm: create_composite: %s\n", err->msg);
	return status;
}

static int parse_all(char **args, struct composite_source *sources, size_t n,
		     struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		int r = composite_source_parse(args[i], &sources[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

int create_composite(char **args)
{
	struct composite_source *sources;
	struct err err = { "" };
	int status = EXIT_STOP;
	size_t n = 0;

	if (args[0] && (!strcmp(args[0], "--help") || !strcmp(args[0], "-h"))) {
		fputs(help, stdout);
		return EXIT_STOP;
	}
	if (args[0] && args[0][0] == '-') {
		err_set(&err, -EINVAL, "%s: unknown option", args[0]);
		return complain(&err, EXIT_ARGS);
	}
	if (!args[0]) {
		err_set(&err, -EINVAL, "no PATH given (see --help)");
		return complain(&err, EXIT_ARGS);
	}
	while (args[1 + n])
		n++;
	sources = calloc(n + 1, sizeof(*sources));
	if (!sources) {
		err_sys(&err, -ENOMEM, "%s", args[0]);
		return complain(&err, EXIT_ERROR);
	}
	if (parse_all(args + 1, sources, n, &err) < 0)
		status = complain(&err, EXIT_ARGS);
	else if (composite_create(args[0], sources, n, &err) < 0)
		status = complain(&err, EXIT_ERROR);
	free(sources);
	return status;
}
