/*
 * Opening what the user names.
 *
 * "/proc/self/fd/N" means the file descriptor N that the caller inherited: it
 * is duplicated, not reopened, so its access mode and offset are kept. It must
 * be open and not close-on-exec, or it was not meant for us.
 */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Open @path with @flags (O_CLOEXEC and O_NOCTTY are added; mode 0666 when
 * creating). Returns the fd, or -errno with a sentence "@what PATH: reason". An
 * inherited fd whose access mode does not allow what @flags ask for gives -EACCES
 * (O_PATH asks for nothing); its other flags stay as they are. A directory gives
 * -EISDIR without O_DIRECTORY. Opening a FIFO never blocks, with or without somebody at
 * its other end; reads and writes do, unless @flags say O_NONBLOCK.
 */
int file_open(const char *what, const char *path, int flags, struct err *err);

/*
 * The same, and the file must be a regular one, or -EINVAL; its size goes to
 * *@ret_size.
 */
int file_open_regular(const char *what, const char *path, int flags, uint64_t *ret_size,
		      struct err *err);

/*
 * The same to write what is the user's alone: a file, made or emptied, that nobody else
 * may open any more (0600). What is inherited or no regular file stays as it is. The
 * umask is changed meanwhile, so there must be no other thread.
 */
int file_open_private(const char *what, const char *path, struct err *err);

/*
 * Close what this program inherited and has no use for: every descriptor above
 * stderr that is not close-on-exec, which all of ours are.
 */
int file_close_inherited(struct err *err);

/* Whether @path is exactly /proc/self/fd/N: an inherited descriptor's name. */
bool file_is_inherited(const char *path);

/*
 * Read all of @path, which may be a pipe of the shell's making; *@ret_text is allocated
 * and not ended by a NUL. -EFBIG: it has more than @max bytes.
 */
int file_read_text(const char *what, const char *path, size_t max, char **ret_text,
		   size_t *ret_len, struct err *err);

/* Read exactly @len bytes at @off; -ENODATA when the file ends before that. */
int file_read_at(int fd, void *buf, size_t len, uint64_t off);
