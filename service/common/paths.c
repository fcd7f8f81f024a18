/* Where programs and folders are; see paths.h. Any thread. */
#include "service/common/paths.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef BINDIR
#define BINDIR "/usr/local/bin"
#endif

char *paths_program(const char *name)
{
	char self[4096], variable[64], *path, *slash;
	const char *given;
	ssize_t n;
	size_t i;

	for (i = 0; name[i] && i < sizeof(variable) - 1; i++)
		variable[i] = (char)toupper((unsigned char)name[i]);
	variable[i] = '\0';
	given = secure_getenv(variable);
	if (given && *given)
		return strdup(given);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash &&
		    asprintf(&path, "%.*s/%s", (int)(slash - self), self, name) >= 0) {
			if (access(path, X_OK) == 0)
				return path;
			free(path);
		}
	}
	return asprintf(&path, BINDIR "/%s", name) < 0 ? NULL : path;
}

/* A folder of ours that nobody else can write, made if @make. */
static int own_dir(const char *path, bool make, struct err *err)
{
	struct stat st;

	if (make && mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "%s", path);
	if (lstat(path, &st) < 0)
		return err_sys(err, -errno, "%s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return err_set(err, -EACCES,
			       "%s: is not a folder that only this user can write",
			       path);
	return 0;
}

int paths_private_dir(char **ret_path, struct err *err)
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	AUTO_FREE char *base = NULL;
	AUTO_FREE char *path = NULL;
	int r;

	if (runtime && *runtime == '/')
		base = strdup(runtime);
	else if (asprintf(&base, "/run/user/%u", geteuid()) < 0)
		base = NULL;
	if (!base)
		return err_sys(err, -ENOMEM, "the private service's folder");
	r = own_dir(base, false, NULL) == 0
		    ? asprintf(&path, "%s/virtualizationservice", base)
		    : asprintf(&path, "/tmp/virtualizationservice-%u", geteuid());
	if (r < 0) {
		path = NULL;
		return err_sys(err, -ENOMEM, "the private service's folder");
	}
	r = own_dir(path, true, err);
	if (r == 0)
		*ret_path = TAKE_PTR(path);
	return r;
}
