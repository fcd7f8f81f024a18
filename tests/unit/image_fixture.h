/*
 * Image files for unit tests, in a folder of their own that is the current one from
 * image_setup() to image_teardown().
 */
#pragma once

#include <sys/types.h>

#include "disk/disk.h"
#include "disk/proto.h"

int image_setup(void **state);
int image_teardown(void **state);

/* Make a file, or a new one in its place. */
void image_file(const char *name, const void *buf, size_t len);
/* Of @len bytes that differ from those of other seeds. */
void image_pattern(const char *name, size_t len, unsigned seed);
unsigned char image_pattern_byte(size_t off, unsigned seed);

/* The whole of a file, allocated. */
unsigned char *image_read(const char *name, size_t *ret_len);

/* An inherited descriptor, and its name; the caller closes it. */
int image_fd(const char *name, int flags);
const char *image_fd_path(int fd);

/* A composite image. */
void image_composite(const char *name, uint64_t version, uint64_t length,
		     const struct proto_component *c, size_t n);

/*
 * A sparse image: @size blocks of 4096 bytes that a letter of @chunks stands for each
 * chunk: R data (as image_pattern_byte() of the offset), F a fill, N nothing, C a
 * checksum; all of one block, and F of two.
 */
void image_sparse(const char *name, const char *chunks, unsigned seed);
#define IMAGE_SPARSE_FILL "\xde\xad\xbe\xef"

/* Open it, or fail the test. */
struct disk *image_open(const struct disk_cfg *cfg);

/* Opening must fail with @code and a sentence with @why and, if not NULL, @and. */
void image_refused(const struct disk_cfg *cfg, int code, const char *why,
		   const char *and);
