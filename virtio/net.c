/*
 * virtio network device (virtio 1.2 section 5.1) over a tap of the host: the device's
 * life and its options. Packets are in net_io.c, unless the host's kernel moves them
 * (vhost-net). One pair of queues, and no control queue: nothing to switch at run time.
 */
#include "virtio/net.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "virtio/net_io.h"
#include "base/tap.h"

#define NET_ID 1
#define NET_QUEUE_SIZE 256
#define MAC_LEN 6
/* Section 5.1.4: MAC, status, number of queue pairs; the last two are not offered. */
#define CONFIG_LEN 10

/* What taps can do; vhost-net knows nothing of these. */
#define TAP_FEATURES                                                           \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | \
	 NET_F_GUEST_ECN | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN)

/* --- start and stop -------------------------------------------------------- */

static unsigned offloads(uint64_t acked)
{
	/* The others make no sense without it, and the tap refuses them. */
	if (!(acked & NET_F_GUEST_CSUM))
		return 0;
	return TUN_F_CSUM | (acked & NET_F_GUEST_TSO4 ? TUN_F_TSO4 : 0) |
	       (acked & NET_F_GUEST_TSO6 ? TUN_F_TSO6 : 0) |
	       (acked & NET_F_GUEST_ECN ? TUN_F_TSO_ECN : 0);
}

static int set_backends(const struct net *n, int fd, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < NET_QUEUES; i++) {
		struct vhost_vring_file backend = { .index = i, .fd = fd };

		r = VHOST_IOCTL(&n->vhost, VHOST_NET_SET_BACKEND, &backend, err);
	}
	return r;
}

static void net_start(struct virtio_dev *v)
{
	struct net *n = (struct net *)v;
	struct err err;
	int r = 0;

	tap_set_offloads(n->tap, offloads(v->acked));
	net_io_start(n);
	if (n->has_vhost)
		r = vhost_start(&n->vhost, &err);
	if (r == 0 && n->has_vhost)
		r = set_backends(n, n->tap, &err);
	if (r < 0)
		virtio_broken(v, err.msg);
}

static void net_stop(struct virtio_dev *v)
{
	struct net *n = (struct net *)v;

	if (n->has_vhost) {
		/* When it returns, no work of the kernel's is under way any more. */
		(void)set_backends(n, -1, NULL);
		vhost_stop(&n->vhost);
	}
	tap_set_offloads(n->tap, 0);
}

/* The kernel keeps its place in the rings. */
static void net_suspend(struct virtio_dev *v)
{
	const struct net *n = (struct net *)v;

	if (n->has_vhost)
		(void)set_backends(n, -1, NULL);
}

static void net_resume(struct virtio_dev *v)
{
	struct net *n = (struct net *)v;
	struct err err;

	if (!n->has_vhost)
		net_io_resume(n);
	else if (set_backends(n, n->tap, &err) < 0)
		virtio_broken(v, err.msg);
}

static void net_rewire(struct virtio_dev *v, unsigned q)
{
	struct net *n = (struct net *)v;

	if (n->has_vhost)
		vhost_rewire(&n->vhost, q);
}

static const struct virtio_ops net_ops = {
	.id = NET_ID,
	.pci_class = 0x020000, /* network, Ethernet */
	.start = net_start,
	.kick = net_io_kick,
	.stop = net_stop,
	.suspend = net_suspend,
	.resume = net_resume,
	.rewire = net_rewire,
};

static int net_prepare(struct device *dev, struct err *err)
{
	struct net *n = (struct net *)dev;
	int r = n->has_vhost ? vhost_prepare(&n->vhost, err) : 0;

	return r < 0 ? err_prefix(err, r, "%s", dev->host->name) : 0;
}

static void net_free(struct device *dev)
{
	struct net *n = (struct net *)dev;

	virtio_free(&n->v);
	loop_del(n->watch);
	if (n->has_vhost)
		vhost_close(&n->vhost);
	cleanup_close(&n->tap);
	free(n);
}

/* --- creation -------------------------------------------------------------- */

static bool parse_mac(const char *text, uint8_t *ret_mac)
{
	unsigned b[MAC_LEN];
	int end = 0;

	/* Digits first, for sscanf would take signs and blanks. */
	if (strspn(text, "0123456789abcdefABCDEF:") != 17 || text[17] ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4],
		   &b[5], &end) != MAC_LEN ||
	    end != 17)
		return false;
	for (unsigned i = 0; i < MAC_LEN; i++)
		ret_mac[i] = (uint8_t)b[i];
	return true;
}

/* "7" is a shorter name of /proc/self/fd/7. */
static void fd_path(const char *text, char *buf, size_t size)
{
	snprintf(buf, size, "%s%s", strchr(text, '/') ? "" : "/proc/self/fd/", text);
}

static int net_check(const void *cfg_, struct err *err)
{
	static const uint8_t zeroes[MAC_LEN];
	const struct virtio_net_cfg *cfg = cfg_;
	uint8_t mac[MAC_LEN];
	char path[64];

	if (!cfg->tap_fd == !cfg->tap_name)
		return err_set(err, -EINVAL, "needs tap-fd or tap-name, and not both");
	if (cfg->tap_fd) {
		fd_path(cfg->tap_fd, path, sizeof(path));
		if (!file_is_inherited(path))
			return err_set(err, -EINVAL,
				       "tap-fd: \"%s\" is not a file descriptor",
				       cfg->tap_fd);
	}
	if (!cfg->mac)
		return 0;
	if (!parse_mac(cfg->mac, mac))
		return err_set(err, -EINVAL,
			       "mac: \"%s\" is not like 02:00:00:12:34:56", cfg->mac);
	if ((mac[0] & 1) || !memcmp(mac, zeroes, MAC_LEN))
		return err_set(err, -EINVAL, "mac: %s cannot be an interface's address",
			       cfg->mac);
	return 0;
}

static int open_vhost(struct net *n, const struct virtio_net_cfg *cfg, const char *name,
		      struct err *err)
{
	const char *device = cfg->vhost_device ?: "/dev/vhost-net";
	int r;

	if (cfg->vhost == NET_VHOST_OFF)
		return 0;
	r = vhost_open(&n->vhost, name, device, err);
	n->has_vhost = r == 0;
	if (r == 0)
		return 0;
	vhost_close(&n->vhost);
	if (cfg->vhost == NET_VHOST_ON)
		return r;
	log_debug(name, "without vhost: %s", err->msg);
	return 0;
}

static int init(struct net *n, const struct virtio_net_cfg *cfg,
		const struct dev_host *host, struct err *err)
{
	int r = open_vhost(n, cfg, host->name, err);

	if (r < 0)
		return r;
	n->v.offered = TAP_FEATURES | NET_F_MRG_RXBUF;
	if (n->has_vhost)
		n->v.offered &= TAP_FEATURES | n->vhost.features;
	if (cfg->mac && parse_mac(cfg->mac, n->v.config))
		n->v.offered |= NET_F_MAC;
	n->v.n_queues = NET_QUEUES;
	n->v.queue_size[NET_RX] = n->v.queue_size[NET_TX] = NET_QUEUE_SIZE;
	n->v.config_len = CONFIG_LEN;
	r = virtio_init(&n->v, &virtio_net_class, &net_ops, host, err);
	if (r == 0 && n->has_vhost)
		return vhost_attach(&n->vhost, &n->v, NET_RX, err);
	if (r == 0)
		r = loop_add(host->loop, n->tap, 0, net_io_tap, n, &n->watch, err);
	return r;
}

int virtio_net_new(const struct virtio_net_cfg *cfg, int tap,
		   const struct dev_host *host, struct device **ret_dev,
		   struct err *err)
{
	struct net *n = calloc(1, sizeof(*n));
	int r;

	if (!n) {
		close(tap);
		return err_sys(err, -ENOMEM, "%s", host->name);
	}
	n->tap = tap;
	r = init(n, cfg, host, err);
	if (r < 0) {
		net_free(&n->v.dev);
		return r;
	}
	*ret_dev = &n->v.dev;
	return 0;
}

static int net_create(const void *cfg_, const struct dev_host *host,
		      struct device **ret_dev, struct err *err)
{
	const struct virtio_net_cfg *cfg = cfg_;
	char path[64];
	int tap;

	if (cfg->tap_name) {
		tap = tap_open(cfg->tap_name, err);
	} else {
		fd_path(cfg->tap_fd, path, sizeof(path));
		tap = tap_inherit(path, err);
	}
	return tap < 0 ? tap : virtio_net_new(cfg, tap, host, ret_dev, err);
}

static const char *const vhost_wishes[] = {
	[NET_VHOST_AUTO] = "auto", [NET_VHOST_ON] = "on", [NET_VHOST_OFF] = "off", NULL
};

static const struct opt net_opts[] = {
	{ .key = "tap-name",
	  .type = OPT_STR,
	  .offset = offsetof(struct virtio_net_cfg, tap_name),
	  .max = IFNAMSIZ - 1,
	  .arg = "NAME",
	  .help = "the host's tap interface, made when missing" },
	{ .key = "tap-fd",
	  .type = OPT_STR,
	  .offset = offsetof(struct virtio_net_cfg, tap_fd),
	  .arg = "N",
	  .help = "or a descriptor of one, with IFF_NO_PI and IFF_VNET_HDR" },
	{ .key = "mac",
	  .type = OPT_STR,
	  .offset = offsetof(struct virtio_net_cfg, mac),
	  .arg = "ADDRESS",
	  .help = "the guest's address; without it the guest makes one up" },
	{ .key = "vhost-net",
	  .type = OPT_ENUM,
	  .flags = OPT_BARE,
	  .offset = offsetof(struct virtio_net_cfg, vhost),
	  .names = vhost_wishes,
	  .def = NET_VHOST_AUTO,
	  .help = "let the host's kernel move packets; auto: where it has /dev/vhost-net" },
	{ .key = "vhost-device",
	  .type = OPT_STR,
	  .offset = offsetof(struct virtio_net_cfg, vhost_device),
	  .arg = "FILE",
	  .help = "instead of /dev/vhost-net" },
	{ .key = NULL },
};

const struct dev_class virtio_net_class = {
	.name = "net",
	.help = "a network interface",
	.flags = DEV_REPEAT | DEV_THREAD,
	.opts = net_opts,
	.cfg_size = sizeof(struct virtio_net_cfg),
	.check = net_check,
	.create = net_create,
	.prepare = net_prepare,
	.read = virtio_read,
	.write = virtio_write,
	.reset = virtio_reset,
	.pause = virtio_pause,
	.free = net_free,
};
