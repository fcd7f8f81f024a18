/* Linux taps; see tap.h and Linux Documentation/networking/tuntap.rst. Any thread. */
#include "base/tap.h"

#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/file.h"

#define FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

void tap_set_offloads(int fd, unsigned offloads)
{
	/* Fails where the tap has gone; then no packet comes either. */
	(void)ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads);
}

static int set_up(int fd, const char *name, struct err *err)
{
	int len = TAP_HDR_LEN, fl = fcntl(fd, F_GETFL);

	/* Not as inherited: what the last user has set stays with the file. */
	if (fl < 0 || fcntl(fd, F_SETFL, fl | O_NONBLOCK) < 0 ||
	    ioctl(fd, TUNSETVNETHDRSZ, &len) < 0 || ioctl(fd, TUNSETOFFLOAD, 0ul) < 0)
		return err_sys(err, -errno, "tap %s", name);
	return 0;
}

int tap_open(const char *name, struct err *err)
{
	struct ifreq ifr = { .ifr_flags = FLAGS };
	AUTO_CLOSE int fd = file_open("tap", "/dev/net/tun", O_RDWR | O_NONBLOCK, err);
	int r;

	if (fd < 0)
		return fd;
	if (!*name || strlen(name) >= sizeof(ifr.ifr_name))
		return err_set(err, -EINVAL, "tap %s: a name has 1 to %zu bytes", name,
			       sizeof(ifr.ifr_name) - 1);
	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		r = -errno;
		if (r == -EPERM)
			return err_set(err, r,
				       "tap %s: not allowed; as root: ip tuntap add %s"
				       " mode tap user USER",
				       name, name);
		if (r == -EINVAL)
			return err_set(err, r,
				       "tap %s: is another kind of interface, or a tap"
				       " with several queues",
				       name);
		return err_sys(err, r, "tap %s", name);
	}
	r = set_up(fd, name, err);
	return r < 0 ? r : TAKE_FD(fd);
}

int tap_inherit(const char *path, struct err *err)
{
	AUTO_CLOSE int fd = file_open("tap", path, O_RDWR, err);
	struct ifreq ifr = { 0 };
	int r;

	if (fd < 0)
		return fd;
	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_set(err, -EINVAL, "tap %s: is not a tap", path);
	if ((ifr.ifr_flags & (FLAGS | IFF_TUN)) != FLAGS)
		return err_set(err, -EINVAL,
			       "tap %s: must have IFF_TAP, IFF_NO_PI and IFF_VNET_HDR",
			       path);
	r = set_up(fd, path, err);
	return r < 0 ? r : TAKE_FD(fd);
}
