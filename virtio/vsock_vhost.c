/* The host kernel's vsock backend: not built yet. */
#include "virtio/vsock.h"

#include <errno.h>

int vsock_vhost_create(const void *cfg, const struct dev_host *host,
		       struct device **ret_dev, struct err *err)
{
	(void)cfg, (void)host, (void)ret_dev;
	return err_set(err, -EINVAL, "--vsock: backend=vhost is not built");
}
