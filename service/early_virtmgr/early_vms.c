/* The files of early VMs; see early_vms.h. */
#include "service/early_virtmgr/early_vms.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"

#define WHAT "early VMs"
#define PATTERN "early_vms*.xml"

/* CIDs differ by who writes the files, so that none has to know the others'. */
static const struct place {
	const char *folder;
	uint32_t first, last;
} places[] = {
	{ "/usr/lib/avf", 100, 199 },
	{ "/usr/local/lib/avf", 200, 299 },
	{ "/etc/avf", 300, 399 },
};

void early_vms_free(struct early_vms *vms)
{
	for (size_t i = 0; i < vms->n; i++) {
		free(vms->list[i].name);
		free(vms->list[i].path);
		free(vms->list[i].file);
	}
	free(vms->list);
	*vms = (struct early_vms){ 0 };
}

/* Who may write there decides who has CIDs. */
static int check_owner(const char *path, int fd, const char *root, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, WHAT " %s", path);
	if (st.st_uid != 0 && !(root && st.st_uid == geteuid()))
		return err_set(err, -EACCES,
			       WHAT " %s: belongs to user %u, not to root", path,
			       st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_set(err, -EACCES,
			       WHAT " %s: others than its owner may write to it", path);
	return 0;
}

static int load_file(struct early_vms *vms, const struct place *place, const char *path,
		     const char *root, struct err *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_CLOSE int fd = -1;
	uint64_t size;
	int r;

	fd = r = file_open_regular(WHAT, path, O_RDONLY, &size, err);
	if (r >= 0)
		r = check_owner(path, fd, root, err);
	if (r < 0)
		return r;
	if (size > EARLY_VMS_MAX_BYTES)
		return err_set(err, -EFBIG, WHAT " %s: is larger than 64 KiB", path);
	text = malloc(size + 1);
	if (!text)
		return err_sys(err, -ENOMEM, WHAT " %s", path);
	r = file_read_at(fd, text, size, 0);
	if (r < 0)
		return err_sys(err, r, WHAT " %s", path);
	return early_vms_parse(vms, path, place->first, place->last, text, size, err);
}

static int is_ours(const struct dirent *e)
{
	return fnmatch(PATTERN, e->d_name, 0) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_files(struct early_vms *vms, const struct place *place,
		      const char *folder, const char *root, struct err *err)
{
	struct dirent **names;
	int n = scandir(folder, &names, is_ours, by_name), r = 0;

	if (n < 0)
		return err_sys(err, -errno, WHAT " %s", folder);
	for (int i = 0; i < n; i++) {
		AUTO_FREE char *path = NULL;

		if (r == 0 && asprintf(&path, "%s/%s", folder, names[i]->d_name) < 0) {
			path = NULL;
			r = err_sys(err, -ENOMEM, WHAT " %s", folder);
		}
		if (r == 0)
			r = load_file(vms, place, path, root, err);
		free(names[i]);
	}
	free(names);
	return r;
}

static int load_place(struct early_vms *vms, const struct place *place,
		      const char *root, struct err *err)
{
	AUTO_FREE char *folder = NULL;
	AUTO_CLOSE int fd = -1;
	int r;

	if (asprintf(&folder, "%s%s", root ?: "", place->folder) < 0) {
		folder = NULL;
		return err_sys(err, -ENOMEM, WHAT);
	}
	fd = r = file_open(WHAT, folder, O_RDONLY | O_DIRECTORY, err);
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		r = check_owner(folder, fd, root, err);
	return r < 0 ? r : load_files(vms, place, folder, root, err);
}

int early_vms_load(struct early_vms *vms, const char *root, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++)
		r = load_place(vms, &places[i], root, err);
	return r;
}

const struct early_vm *early_vms_find(const struct early_vms *vms, const char *name)
{
	for (size_t i = 0; i < vms->n; i++)
		if (strcmp(vms->list[i].name, name) == 0)
			return &vms->list[i];
	return NULL;
}
