/*
 * The early VMs of this host: who may have one, and its CID, as the host's files say.
 * Their format and places are in early_virtmgr(1). Where anything is wrong in any of
 * them none counts, so that a mistake is found by whoever makes it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define EARLY_VMS_MAX_BYTES 65536 /* of a file */

struct early_vm {
	char *name, *path; /* path: absolute, of the program that may have it */
	uint32_t cid;
	char *file; /* where it is written */
	unsigned line;
};

struct early_vms {
	struct early_vm *list;
	size_t n;
};

void early_vms_free(struct early_vms *vms); /* harmless on zeroes */

/*
 * Add the entries of one file, of which @file is the name, with CIDs from @first to
 * @last. -EINVAL with "FILE: line N: ...", -ENOMEM.
 */
int early_vms_parse(struct early_vms *vms, const char *file, uint32_t first,
		    uint32_t last, const char *text, size_t len, struct err *err);

/*
 * Read all files. @root: NULL, or a folder in place of /, where they may also belong to
 * this user and not to root. -errno.
 */
int early_vms_load(struct early_vms *vms, const char *root, struct err *err);

/* NULL: there is none. */
const struct early_vm *early_vms_find(const struct early_vms *vms, const char *name);
