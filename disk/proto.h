/*
 * What a composite disk image says, as a protobuf message:
 *
 *   enum ReadWriteCapability { READ_ONLY = 0; READ_WRITE = 1; }
 *   message ComponentDisk {
 *     string file_path = 1; uint64 offset = 2;
 *     ReadWriteCapability read_write_capability = 3; uint64 file_offset = 4;
 *   }
 *   message CompositeDisk {
 *     uint64 version = 1; repeated ComponentDisk component_disks = 2; uint64 length =
 * 3;
 *   }
 *
 * Stricter than protobuf libraries, because a path decides what is opened: a NUL or
 * bad UTF-8 in a path, an unknown capability, a known field of another wire type
 * and a number of more than 64 bits are errors. As everywhere, unknown fields are
 * skipped, absent ones are 0, and the last one of several counts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PROTO_MAX_COMPONENTS 1024

struct proto_component {
	char *path; /* never NULL, perhaps empty */
	uint64_t offset, file_offset; /* bytes, unchecked */
	bool writable;
};

struct proto_composite {
	uint64_t version, length;
	size_t n;
	struct proto_component *components;
};

/*
 * Decode @len bytes. -EINVAL with a sentence that says what is wrong, -ENOMEM; *@ret
 * is untouched then.
 */
int proto_decode(const void *buf, size_t len, struct proto_composite *ret,
		 struct err *err);
void proto_free(struct proto_composite *c); /* harmless on a struct of zeroes */

/*
 * Encode, as protobuf libraries would. -EINVAL: a path is not UTF-8; -ENOMEM.
 * The caller frees *@ret_buf.
 */
int proto_encode(const struct proto_composite *c, unsigned char **ret_buf,
		 size_t *ret_len, struct err *err);
