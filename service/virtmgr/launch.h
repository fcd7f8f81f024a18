/*
 * The command line and descriptors of one vmm, and its start.
 *
 * Whatever vmm is to touch is a descriptor that it inherits. Each gets its number in
 * the child when it is added, from 3 on, so that arguments, and composite images, can
 * name it before there is a child.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"

struct launch;

int launch_new(const char *program, struct launch **ret_launch, struct err *err);
void launch_free(struct launch *l); /* takes NULL; closes the fds that it was given */

/*
 * The child has @fd, which is taken even on failure, under the number that is returned.
 * -errno without room for it.
 */
int launch_fd(struct launch *l, int fd);
/* The same for a descriptor that stays the caller's: a copy is taken. */
int launch_fd_copy(struct launch *l, int fd);
/* The number that the next one will have. */
int launch_next_fd(const struct launch *l);

/*
 * Copy @text, which speaks as the child does, to @buf, with the names that files had
 * when they were added where it says /proc/self/fd/N. A memfd has the name that its
 * maker gave it. Names are UTF-8 without control characters; of long ones "..." and the
 * end. A text that does not fit ends in "...", too: @size is at least 4.
 */
void launch_name_files(const struct launch *l, const char *text, char *buf,
		       size_t size);

/* Append an argument. 0 or -ENOMEM; after one failure, launch_start() fails, too. */
int launch_arg(struct launch *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Run it, in the cgroup @cgroup_fd (a folder, or -1), as a child that is killed when
 * this process dies. stdin and stdout are /dev/null, stderr is @stderr_fd (stays the
 * caller's). The process and a pidfd of it. Of @l nothing is left but names.
 */
int launch_start(struct launch *l, int cgroup_fd, int stderr_fd, pid_t *ret_pid,
		 int *ret_pidfd, struct err *err);
