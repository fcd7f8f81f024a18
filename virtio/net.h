/*
 * virtio network device: --net tap-name=NAME,... (virtio 1.2 section 5.1).
 */
#pragma once

#include "devices/device.h"

enum net_vhost { NET_VHOST_AUTO, NET_VHOST_ON, NET_VHOST_OFF };

struct virtio_net_cfg {
	char *tap_fd, *tap_name; /* one of them: N or /proc/self/fd/N; an interface */
	char *mac; /* aa:bb:cc:dd:ee:ff; NULL: the guest makes one up */
	int vhost; /* enum net_vhost */
	char *vhost_device; /* NULL: /dev/vhost-net */
};

extern const struct dev_class virtio_net_class;

/* The device over a tap that is open already, which it takes, also on failure. */
int virtio_net_new(const struct virtio_net_cfg *cfg, int tap,
		   const struct dev_host *host, struct device **ret_dev,
		   struct err *err);
