/* The option --vsock, and which backend makes its device; see vsock.h. */
#include "virtio/vsock.h"

#include <errno.h>

#include "virtio/list.h"

static const char *const backends[] = {
	[VSOCK_VHOST] = "vhost", [VSOCK_UNIX] = "unix", NULL
};

static const struct opt vsock_opts[] = {
	{ .key = "cid",
	  .type = OPT_U64,
	  .flags = OPT_FIRST | OPT_REQUIRED,
	  .min = 3,
	  .max = 0xfffffffe,
	  .offset = offsetof(struct vsock_cfg, cid),
	  .arg = "CID",
	  .help = "the guest's address" },
	{ .key = "backend",
	  .type = OPT_ENUM,
	  .names = backends,
	  .def = VSOCK_VHOST,
	  .offset = offsetof(struct vsock_cfg, backend),
	  .arg = "KIND",
	  .help = "the host's AF_VSOCK, or unix sockets" },
	{ .key = "device",
	  .type = OPT_STR,
	  .offset = offsetof(struct vsock_cfg, device),
	  .arg = "FILE",
	  .help = "for backend=vhost: instead of /dev/vhost-vsock" },
	{ .key = "path",
	  .type = OPT_STR,
	  .offset = offsetof(struct vsock_cfg, path),
	  .arg = "SOCKET",
	  .help = "for backend=unix: the guest's port P is reached there by "
		  "\"CONNECT P\\n\", and the host's at SOCKET_P" },
	{ .key = "fd",
	  .type = OPT_U64,
	  .min = 3,
	  .max = INT32_MAX,
	  .offset = offsetof(struct vsock_cfg, fd),
	  .arg = "N",
	  .help = "for backend=unix, without a path: the inherited socket of a manager, "
		  "who makes all connections" },
	{ 0 },
};

static int vsock_check(const void *arg, struct err *err)
{
	const struct vsock_cfg *cfg = arg;
	const char *alien = cfg->device ? "device" : NULL;

	if (cfg->backend == VSOCK_UNIX && !cfg->path == !cfg->fd)
		return err_set(err, -EINVAL, "backend=unix needs path= or fd=%s",
			       cfg->path ? ", not both" : "");
	if (cfg->backend == VSOCK_VHOST)
		alien = cfg->path ? "path" : cfg->fd ? "fd" : NULL;
	return alien ? err_set(err, -EINVAL, "%s= is not for backend=%s", alien,
			       backends[cfg->backend])
		     : 0;
}

static int vsock_create(const void *arg, const struct dev_host *host,
			struct device **ret_dev, struct err *err)
{
	const struct vsock_cfg *cfg = arg;

	if (cfg->backend == VSOCK_UNIX)
		return vsock_unix_create(cfg, host, ret_dev, err);
	return vsock_vhost_create(cfg, host, ret_dev, err);
}

const struct dev_class virtio_vsock_class = {
	.name = "vsock",
	.help = "sockets between guest and host",
	.opts = vsock_opts,
	.cfg_size = sizeof(struct vsock_cfg),
	.check = vsock_check,
	.create = vsock_create,
};
