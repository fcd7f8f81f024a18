/* Scheduling hints; see sched.h. */
#include "vmm/sched.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

/* The kernel's headers have these, but contradict <sched.h>, which has not. */
struct uclamp_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t deadline[3];
	uint32_t util_min, util_max;
};
#define FLAG_KEEP_ALL 0x18 /* policy and parameters */
#define FLAG_UTIL_CLAMP_MIN 0x20
#define FULL_CAPACITY 1024

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif
#define SCOPE_THREAD_GROUP 1

/* A wish: a host that cannot grant it runs the VM all the same. */
static void boost(void)
{
	struct uclamp_attr attr = {
		.size = sizeof(attr),
		.flags = FLAG_KEEP_ALL | FLAG_UTIL_CLAMP_MIN,
		.util_min = FULL_CAPACITY,
	};

	if (syscall(SYS_sched_setattr, 0, &attr, 0) < 0)
		log_warn("vm", "--boost-uclamp: %s", strerrordesc_np(errno));
}

int sched_apply(const struct config *cfg, struct err *err)
{
	if (cfg->boost_uclamp)
		boost();
	/* ENODEV: no core has a second thread that could be shared. */
	if (cfg->core_scheduling &&
	    prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, SCOPE_THREAD_GROUP, 0) < 0 &&
	    errno != ENODEV) {
		if (errno == EINVAL)
			return err_set(err, -EINVAL,
				       "--core-scheduling: this host's kernel lacks it "
				       "(CONFIG_SCHED_CORE)");
		return err_sys(err, -errno, "--core-scheduling");
	}
	return 0;
}
