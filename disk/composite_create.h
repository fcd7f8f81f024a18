/*
 * Making composite disks: a GPT disk whose partitions are files.
 *
 * From block 0: MBR and GPT (40 blocks), the partitions, each on a multiple of 4 KiB,
 * the backup GPT (40 blocks). The tables are files of their own, and so is the filler,
 * 4096 zeroes, which fills read-only partitions up to 4 KiB; a writable one of another
 * size is refused, for its end would have nowhere to be kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "disk/gpt.h"

#define COMPOSITE_ALIGN 4096
#define COMPOSITE_FILLER_LEN COMPOSITE_ALIGN

struct composite_source {
	const char *label; /* UTF-8, not empty; unique within 36 units of UTF-16 */
	const char *path; /* as the image will name it, UTF-8 */
	uint64_t size; /* bytes that the guest sees */
	bool writable;
	struct guid guid; /* zero: a random one */
	struct guid type; /* zero: gpt_type_linux */
};

/*
 * Parse LABEL:FILE[:writable][:GUID] in place; *@ret points into @text. The third
 * field may be empty. -EINVAL with a sentence that names the argument.
 */
int composite_source_parse(char *text, struct composite_source *ret, struct err *err);

/* How the image will name the files that hold its parts. */
struct composite_names {
	const char *header, *footer, *filler;
};

struct composite_image {
	unsigned char *spec; /* allocated: the image itself */
	size_t spec_len;
	uint64_t size; /* of the disk */
	unsigned char header[GPT_AREA_LEN], footer[GPT_AREA_LEN];
};

/*
 * Lay out a disk; nothing is opened. Up to 128 partitions, even none. -EINVAL with a
 * sentence that names the partition, -ENOMEM.
 */
int composite_build(const struct composite_source *sources, size_t n,
		    const struct composite_names *names,
		    struct composite_image **ret_image, struct err *err);
void composite_image_free(struct composite_image *im); /* takes NULL */

/*
 * Write the image @path and beside it PATH.header, PATH.footer and PATH.filler; each
 * appears whole or not at all, and on failure none stays. Those of an older composite
 * are replaced, and on failure are what they were; -EEXIST where something else is.
 * -EINVAL also for a file that two partitions have and one may write. The sources'
 * sizes are found by opening them as a composite disk would (their size is not looked
 * at); relative paths are relative to the current folder, and the image names them so
 * that it works from anywhere: by an absolute path, unless the image is in the current
 * folder, too, and they can be moved together.
 */
int composite_create(const char *path, const struct composite_source *sources, size_t n,
		     struct err *err);
