#include "virtio/vsock.h"

#include <errno.h>

int vsock_unix_create(const void *cfg, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	(void)cfg, (void)host, (void)ret_dev;
	return err_set(err, -ENOTSUP, "--vsock: backend=unix is not built");
}
