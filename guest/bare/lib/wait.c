/*
 * Bounded waits. The TSC's rate is not known: these are 2-6 seconds and as many
 * milliseconds on any machine of today. The turns bound a machine whose TSC stands still.
 */
#include "bare.h"

struct wait wait_start(void)
{
	return (struct wait){ .until = cpu_tsc() + 12000000000u, .turns = 100000000 };
}

struct wait wait_briefly(void)
{
	return (struct wait){ .until = cpu_tsc() + 12000000u, .turns = 100000 };
}

bool wait_more(struct wait *wait)
{
	cpu_pause();
	return wait->turns-- && (int64_t)(wait->until - cpu_tsc()) > 0;
}
