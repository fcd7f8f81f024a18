/* The jail; see jail.h. */
#include "vmm/jail.h"

#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"

#include "seccomp_filters.h"

#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

/* --- namespaces ---------------------------------------------------------- */

static int write_file(const char *path, const char *text)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* We stay who we are, the only user there is. */
static int map_ids(uid_t uid, gid_t gid)
{
	char text[64];
	int r;

	snprintf(text, sizeof(text), "%u %u 1\n", uid, uid);
	r = write_file("/proc/self/uid_map", text);
	if (r < 0)
		return r;
	r = write_file("/proc/self/setgroups", "deny\n");
	if (r < 0 && r != -ENOENT)
		return r;
	snprintf(text, sizeof(text), "%u %u 1\n", gid, gid);
	return write_file("/proc/self/gid_map", text);
}

/*
 * Make an empty, read-only directory the root. It is mounted over /proc, which
 * every host has: nothing must be installed for the jail. Where we run in a chroot that
 * is no mount point there is nothing to pivot from: then the old root is out of reach
 * as soon as capabilities are gone.
 */
static int empty_root(void)
{
	static const char over[] = "/proc";

	/* What is mounted here must not appear in the host's namespace. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 &&
	    mount(NULL, over, NULL, MS_PRIVATE, NULL) < 0)
		return -errno;
	if (mount("none", over, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY,
		  "size=4k,nr_inodes=2,mode=555") < 0 ||
	    chdir(over) < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") == 0) {
		if (umount2(".", MNT_DETACH) < 0)
			return -errno;
	} else if (chroot(".") < 0) {
		return -errno;
	}
	return chdir("/") < 0 ? -errno : 0;
}

int jail_namespaces(struct err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int r;

	if (unshare(CLONE_NEWUSER | NAMESPACES) == 0) {
		r = map_ids(uid, gid);
		if (r < 0)
			return err_sys(err, r, "sandbox: user namespace");
	} else if (unshare(NAMESPACES) < 0) {
		/* Root may have them also where user namespaces are forbidden. */
		return err_sys(err, -errno,
			       "sandbox: this host gives us no namespaces");
	}
	r = empty_root();
	return r < 0 ? err_sys(err, r, "sandbox: cannot leave the host's file system")
		     : 0;
}

/* --- Landlock ------------------------------------------------------------ */

/* Newer than the oldest headers we build with. */
#define LL_FS_TRUNCATE (1ull << 14) /* ABI 3 */
#define LL_FS_IOCTL_DEV (1ull << 15) /* ABI 5 */
#define LL_NET_ALL 3ull /* ABI 4: bind, connect */
#define LL_SCOPE_ALL 3ull /* ABI 6: abstract sockets, signals */

struct landlock_ruleset {
	uint64_t fs, net, scoped;
};

/*
 * Forbid whatever the kernel can forbid, but @may of the file system; what is open
 * stays usable.
 */
static int landlock(uint64_t may)
{
	struct landlock_ruleset set = { .fs = ((1ull << 13) - 1) & ~may };
	AUTO_CLOSE int fd = -1;
	size_t size = sizeof(set.fs);
	long abi;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
		      LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return -errno;
	if (abi >= 2)
		set.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		set.fs |= LL_FS_TRUNCATE;
	if (abi >= 4) {
		set.net = LL_NET_ALL;
		size = offsetof(struct landlock_ruleset, scoped);
	}
	if (abi >= 5)
		set.fs |= LL_FS_IOCTL_DEV;
	if (abi >= 6) {
		set.scoped = LL_SCOPE_ALL;
		size = sizeof(set);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return -errno;
	return 0;
}

/* --- capabilities -------------------------------------------------------- */

/* @keep: the mask of those to keep, where they are there; all below 32. */
static int drop_capabilities(uint32_t keep)
{
	struct __user_cap_header_struct head = { .version =
							 _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct now[2] = { 0 }, left[2] = { 0 };

	/* The bounding set too, as far as we may; no_new_privs covers the rest. */
	for (int cap = 0; cap <= 63; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			break;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (keep && syscall(SYS_capget, &head, now) < 0)
		return -errno;
	left[0].permitted = left[0].effective = now[0].permitted & keep;
	return syscall(SYS_capset, &head, left) < 0 ? -errno : 0;
}

static int confine(uint64_t fs_may, uint32_t keep, bool all, struct err *err)
{
	struct rlimit no_core = { 0, 0 };
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "sandbox: no_new_privs");
	r = landlock(fs_may);
	if (r < 0 && all)
		return err_sys(err, r, "sandbox: Landlock");
	if (r < 0)
		log_debug("jail", "no Landlock: %s", strerrordesc_np(-r));
	r = drop_capabilities(keep);
	if (r < 0)
		return err_sys(err, r, "sandbox: capabilities");
	/* Guest memory is nobody's business: no core file, no debugger. */
	setrlimit(RLIMIT_CORE, &no_core);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}

int jail_process(bool all, struct err *err)
{
	int r = confine(0, 0, all, err);

	if (r < 0)
		return r;
	/*
	 * glibc opens /proc/sys/vm/overcommit_memory when it first gives a thread's
	 * heap back in part, which kills a worker: never do that.
	 */
	mallopt(M_TRIM_THRESHOLD, -1);
	return 0;
}

/* --- seccomp ------------------------------------------------------------- */

int jail_thread(enum jail_kind kind, struct err *err)
{
	static const struct {
		const struct sock_filter *code;
		size_t len;
	} filters[] = {
		[JAIL_MAIN] = { filter_main, ARRAY_SIZE(filter_main) },
		[JAIL_VCPU] = { filter_vcpu, ARRAY_SIZE(filter_vcpu) },
		[JAIL_WORKER] = { filter_worker, ARRAY_SIZE(filter_worker) },
		[JAIL_BROKER] = { filter_broker, ARRAY_SIZE(filter_broker) },
	};
	/* The kernel only reads the code, but its struct is not const. */
	struct sock_fprog prog = {
		.len = (unsigned short)filters[kind].len,
		.filter = (struct sock_filter *)(uintptr_t)filters[kind].code,
	};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return err_sys(err, -errno, "sandbox: seccomp filter");
	return 0;
}

int jail_broker(struct err *err)
{
	/* It removes files; and root may pass others' permissions. */
	int r = confine(LANDLOCK_ACCESS_FS_REMOVE_FILE, 1u << CAP_DAC_OVERRIDE, false,
			err);

	return r < 0 ? r : jail_thread(JAIL_BROKER, err);
}
