/* Configuration files, and "vm check"; see config_file.h. */
#include "service/vm/config_file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "service/vm/command.h"
#include "service/vm/json_config.h"

#define MAX_FILE (1u << 20)

static int open_file(void *arg, const char *what, const char *path, bool writable,
		     struct err *err)
{
	AUTO_CLOSE int fd = file_open(what, path, writable ? O_RDWR : O_RDONLY, err);
	struct stat st;

	(void)arg;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "%s %s", what, path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -ENOTBLK,
			       "%s %s: is not a regular file or block device", what,
			       path);
	return TAKE_FD(fd);
}

static void tell(void *arg, bool warning, const char *sentence)
{
	struct err *last = arg;

	if (warning) {
		fprintf(stderr, "vm: %s\n", sentence);
		return;
	}
	if (*last->msg)
		fprintf(stderr, "vm: %s\n", last->msg);
	err_set(last, 0, "%s", sentence);
}

int config_file_load(const char *path, struct vm_config *c, struct err *err)
{
	static const struct json_config_ops ops = { open_file, tell };
	AUTO_FREE char *text = NULL;
	size_t len;
	int r;

	r = file_read_text("configuration", path, MAX_FILE, &text, &len, err);
	if (r < 0)
		return r;
	*err = (struct err){ "" };
	return json_config_parse(path, text, len, &ops, err, c);
}

static int check(const struct command *c, const void *opts, char **args,
		 struct err *err)
{
	struct vm_config config;
	int r;

	(void)c;
	(void)opts;
	vm_config_init(&config);
	r = config_file_load(args[0], &config, err);
	vm_config_free(&config);
	if (r == 0)
		printf("%s: no faults\n", args[0]);
	return r;
}

const struct command command_check = {
	.name = "check",
	.synopsis = "CONFIG",
	.help = "Tell all that is wrong with a VM's configuration file.\n"
		"Syntax with line and column, meaning with the path of the key, and files that\n"
		"cannot be opened. See vm(1) for the keys.\n",
	.min = 1,
	.max = 1,
	.run = check,
};
