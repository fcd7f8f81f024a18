/*
 * Files that clients hand over, checked before anything starts, and disks made of them.
 *
 * Nothing is opened by a name, and vmm gets the very open files that the client passed.
 * A disk of partitions is a composite disk whose tables live in memory (memfds) and
 * whose parts are named /proc/self/fd/N with vmm's numbers.
 */
#pragma once

#include "base/err.h"
#include "service/common/vm_config.h"
#include "service/virtmgr/launch.h"

enum {
	FILE_READ = 1 << 0, /* its descriptor must be able to */
	FILE_WRITE = 1 << 1,
	FILE_BLOCK = 1 << 2, /* a block device will do, too */
};

/* A regular file that can do this, or -EBADMSG with a sentence like "is a directory".
 */
int images_check(int fd, unsigned what, struct err *err);

/*
 * Append an argument --block for each disk, and the descriptors that it needs, which
 * are taken from @c. -EBADMSG with a sentence that begins with the key's path.
 */
int images_launch(struct vm_config *c, struct launch *l, struct err *err);
