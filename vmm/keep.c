/* Descriptors that are only kept; see keep.h. */
#include "vmm/keep.h"

#include <errno.h>
#include <stdio.h>

#include "base/file.h"

int keep_open(const struct opt_list *numbers, struct keep *ret, struct err *err)
{
	char path[64];

	if (numbers->n > KEEP_MAX)
		return err_set(err, -E2BIG, "--keep-fd: more than %d", KEEP_MAX);
	for (ret->n = 0; ret->n < numbers->n; ret->n++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%.20s", numbers->v[ret->n]);
		/* As it is: whatever may be done with it is not done. */
		ret->fds[ret->n] = file_open("--keep-fd", path, O_PATH | O_DIRECTORY,
					     err);
		if (ret->fds[ret->n] < 0)
			return ret->fds[ret->n];
	}
	return 0;
}
