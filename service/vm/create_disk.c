/* vm create-disk: a composite disk in the file system. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "disk/composite_create.h"
#include "service/vm/command.h"

static int create_disk(const struct command *c, const void *opts, char **args,
		       struct err *err)
{
	AUTO_FREE struct composite_source *sources = NULL;
	size_t n = 0;
	int r;

	(void)c;
	(void)opts;
	while (args[1 + n])
		n++;
	sources = calloc(n + 1, sizeof(*sources));
	if (!sources)
		return err_sys(err, -ENOMEM, "%s", args[0]);
	for (size_t i = 0; i < n; i++) {
		r = composite_source_parse(args[1 + i], &sources[i], err);
		if (r < 0)
			return r;
	}
	r = composite_create(args[0], sources, n, err);
	if (r == -EINVAL) { /* the files are wrong, and not the arguments */
		fprintf(stderr, "vm: %s\n", err->msg);
		return STATUS_ERROR;
	}
	return r;
}

const struct command command_create_disk = {
	.name = "create-disk",
	.synopsis = "PATH LABEL:FILE[:writable][:GUID]...",
	.help = "Make a composite disk, whose partitions are the files.\n"
		"Beside PATH, which a configuration names as a disk's image, PATH.header,\n"
		"PATH.footer and PATH.filler hold what is around the files. An older composite disk\n"
		"there is replaced, but no other file.\n",
	.min = 2,
	.max = 1 + 128,
	.run = create_disk,
};
